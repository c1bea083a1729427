//! A port of our own on the router: asked for by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP-IGD, renewed before it expires,
//! asked for anew when the network changes, and given back at the end.
//!
//! It makes a peer reachable from behind anything on the other side. Routers answer slowly, wrongly or not at all: all
//! of it happens in a task of its own, and a router that has none of the protocols costs a few datagrams and no word. What a
//! router says is a claim: the driver offers only public addresses.

mod gateway;
#[cfg(test)]
mod tests;
mod upnp;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::network::Picture;

/// How long the answer to a question that is wanted no more is waited for, should it grant a port: a router on the LAN takes
/// milliseconds.
const ANSWER: Duration = Duration::from_millis(150);

/// How long a mapping is asked for: NAT-PMP's recommendation (RFC 6886 section 3.3). It outlives a peer that dies without
/// giving it back by no more than that.
const LIFETIME: Duration = Duration::from_secs(7200);
/// Mappings are renewed when half their lifetime has passed (RFC 6887 section 11.2.1), but not more often than this,
/// whatever the router says …
const SHORTEST_RENEWAL: Duration = Duration::from_secs(30);
/// … and more often than this: a router that restarts forgets, and not all say so.
const LONGEST_RENEWAL: Duration = Duration::from_secs(1200);
/// A router that had nothing is asked again after this: somebody may have turned it on.
const RETRY: Duration = Duration::from_secs(1800);
/// How long giving a mapping back may take; the program may be waiting to end.
const FAREWELL: Duration = Duration::from_millis(500);

/// A protocol by which routers open ports, as `netcheck` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// UPnP's Internet Gateway Device.
    Upnp,
}

impl Protocol {
    /// Its name in `netcheck`.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pcp => "pcp",
            Self::NatPmp => "nat-pmp",
            Self::Upnp => "upnp",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// What leads to our port from outside, as the router says. Not believed to be public yet.
    pub external: Option<SocketAddr>,
    /// What the router speaks.
    pub protocols: Vec<Protocol>,
}

/// Where routers are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    /// The router, if it is not to be taken from the system's routes.
    pub gateway: Option<Ipv4Addr>,
    /// Where UPnP devices are asked for: the SSDP group, 239.255.255.250:1900.
    pub ssdp: SocketAddr,
    /// How long they may take to answer.
    pub patience: Duration,
    /// What renewals are not more often than.
    pub shortest_renewal: Duration,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            gateway: None,
            ssdp: SocketAddr::from(([239, 255, 255, 250], 1900)),
            // SSDP's devices wait up to the 3 s that the search allows them.
            patience: Duration::from_millis(3500),
            shortest_renewal: SHORTEST_RENEWAL,
        }
    }
}

/// A mapping that a router granted.
enum Lease {
    Gateway(gateway::Lease),
    Upnp(upnp::Lease),
}

impl Lease {
    fn external(&self) -> SocketAddr {
        match self {
            Self::Gateway(lease) => lease.external(),
            Self::Upnp(lease) => lease.external(),
        }
    }

    fn lifetime(&self) -> Duration {
        match self {
            Self::Gateway(lease) => lease.lifetime(),
            Self::Upnp(lease) => lease.lifetime(),
        }
    }

    async fn renew(&mut self) -> bool {
        match self {
            Self::Gateway(lease) => lease.renew().await,
            Self::Upnp(lease) => lease.renew().await,
        }
    }

    async fn give_back(self) {
        let given = async {
            match self {
                Self::Gateway(lease) => lease.give_back().await,
                Self::Upnp(lease) => lease.give_back().await,
            }
        };
        if timeout(FAREWELL, given).await.is_err() {
            tracing::debug!("the router did not take our port back in time");
        }
    }
}

/// Keeps one UDP port open on whatever router there is.
#[derive(Debug)]
pub(crate) struct PortMapping {
    port: u16,
    search: Search,
}

/// Where we are behind a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    gateway: Ipv4Addr,
    local: Ipv4Addr,
}

impl PortMapping {
    /// For our UDP port.
    #[must_use]
    pub(crate) const fn new(port: u16, search: Search) -> Self {
        Self { port, search }
    }

    /// Keeps the port open and tells what comes of it, until the pictures end or nobody listens.
    pub(crate) async fn run(self, mut pictures: watch::Receiver<Picture>, mapped: mpsc::Sender<Mapped>) {
        let mut told = Mapped::default();
        loop {
            let place = self.place(&pictures.borrow_and_update());
            let mut asking = std::pin::pin!(self.ask(place));
            let found = tokio::select! {
                found = &mut asking => Ok(found),
                changed = pictures.changed() => Err(changed.is_ok()),
                () = mapped.closed() => Err(false),
            };
            let (lease, protocols) = match found {
                Ok(found) => found,
                Err(goes_on) => {
                    // What the router is granting at this moment must not be forgotten.
                    if let Ok((Some(lease), _)) = timeout(ANSWER, asking).await {
                        lease.give_back().await;
                    }
                    if goes_on {
                        continue;
                    }
                    return;
                }
            };
            tell(&mapped, &mut told, Mapped { external: lease.as_ref().map(Lease::external), protocols }).await;
            if !self.hold(lease, place, &mut pictures, &mapped, &mut told).await {
                return;
            }
        }
    }

    /// Renews a lease as long as it can be and the network is the same, and gives it back then. False if all is over.
    async fn hold(
        &self,
        lease: Option<Lease>,
        place: Option<Place>,
        pictures: &mut watch::Receiver<Picture>,
        mapped: &mpsc::Sender<Mapped>,
        told: &mut Mapped,
    ) -> bool {
        let Some(mut lease) = lease else {
            return tokio::select! {
                () = sleep(RETRY) => true,
                changed = pictures.changed() => changed.is_ok(),
                () = mapped.closed() => false,
            };
        };
        loop {
            let renewal = (lease.lifetime() / 2).clamp(self.search.shortest_renewal, LONGEST_RENEWAL);
            let goes_on = tokio::select! {
                () = sleep(renewal) => true,
                changed = pictures.changed() => changed.is_ok(),
                () = mapped.closed() => false,
            };
            if !goes_on {
                lease.give_back().await;
                return false;
            }
            let here = self.place(&pictures.borrow_and_update());
            if here != place {
                tell(mapped, told, Mapped::default()).await;
                lease.give_back().await;
                return true;
            }
            // Also after a change elsewhere: the router may have restarted, and forgotten us.
            if !lease.renew().await {
                return true;
            }
            tell(mapped, told, Mapped { external: Some(lease.external()), protocols: told.protocols.clone() }).await;
        }
    }

    /// Where we are, if that is behind a router: a machine with a public address needs no port opened.
    fn place(&self, picture: &Picture) -> Option<Place> {
        let routes = picture.gateways().iter().filter_map(|gateway| match gateway.address {
            std::net::IpAddr::V4(v4) if !v4.is_unspecified() => Some(v4),
            _ => None,
        });
        let gateway = self.search.gateway.or_else(|| routes.clone().next());
        // Where the system does not tell its router, UPnP may find one all the same.
        let gateway = gateway.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let toward = if gateway.is_unspecified() { *self.ssdp_v4().ip() } else { gateway };
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((toward, gateway::PORT)).ok()?;
        match socket.local_addr().ok()?.ip() {
            std::net::IpAddr::V4(local) if knothole_proto::candidate::is_private(local.into()) || is_shared(local) => {
                Some(Place { gateway, local })
            }
            _ => None,
        }
    }

    fn ssdp_v4(&self) -> std::net::SocketAddrV4 {
        match self.search.ssdp {
            SocketAddr::V4(v4) => v4,
            SocketAddr::V6(_) => std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        }
    }

    /// Asks by every protocol at once. A port that is granted is had at once, whatever else the router may speak: asking on
    /// could be cut short, and the port be forgotten.
    async fn ask(&self, place: Option<Place>) -> (Option<Lease>, Vec<Protocol>) {
        let Some(place) = place else { return (None, Vec::new()) };
        let gateway = async {
            if place.gateway.is_unspecified() {
                return Vec::new();
            }
            gateway::ask(place.gateway, place.local, self.port).await
        };
        let mut device = std::pin::pin!(upnp::search(self.search.ssdp, self.search.patience, place.gateway));
        let mut gateway = std::pin::pin!(gateway);
        let (answers, early) = tokio::select! {
            answers = &mut gateway => (answers, None),
            device = &mut device => (gateway.await, Some(device)),
        };
        let mut protocols: Vec<_> = answers.iter().map(gateway::Answer::protocol).collect();
        if let Some(lease) = answers.into_iter().find_map(gateway::Answer::lease) {
            return (Some(Lease::Gateway(lease)), protocols);
        }
        let found = match early {
            Some(found) => found,
            None => device.await,
        };
        let Some(device) = found else { return (None, protocols) };
        protocols.push(Protocol::Upnp);
        let lease = upnp::map(device, SocketAddr::from((place.local, self.port))).await;
        (lease.map(Lease::Upnp), protocols)
    }
}

/// RFC 6598: a carrier's own addresses, behind its NAT.
const fn is_shared(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [100, 64..=127, ..])
}

async fn tell(mapped: &mpsc::Sender<Mapped>, told: &mut Mapped, news: Mapped) {
    if *told != news {
        *told = news.clone();
        // Nobody listening is seen by the caller.
        let _ = mapped.send(news).await;
    }
}
