//! Contacts on one LAN, by multicast DNS (RFC 6762, RFC 6763): announces this peer on private networks and reports who else
//! announces. What an announcement says and hides stands in [`knothole_proto::lan`].
//!
//! A salt lives as long as the network looks the same: on another network this peer cannot be recognised as the one that
//! was here, and contacts that stay check anew. What is announced is random but for the port and the addresses; the
//! machine's name is not in it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::identity::{PeerId, base32_bytes, base32_text};
use knothole_proto::lan::{Announcement, LanSalt, LanTag, MAX_ADDRESSES, tag};
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::{mpsc, watch};

use crate::network::Picture;

/// The service, under which every Knothole peer announces itself.
const SERVICE: &str = "_knothole._udp.local.";

/// How long the last word on a LAN may take. Whoever misses it finds out by checks.
const FAREWELL: Duration = Duration::from_millis(300);

/// Announcements that are looked at in a second. A LAN with so many peers that come at once is under attack, and each
/// is compared with every contact.
const AT_ONCE: u32 = 64;

/// What was heard on the LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The network has changed: this peer announces under another salt, and nobody is known to be here.
    Began(LanSalt),
    /// Somebody announces.
    Announced(Announcement),
    /// Whoever announced with this salt has left.
    Left(LanSalt),
}

/// Announces `me` at `port` on whatever private networks there are, and reports what is heard, until the pictures end or
/// nobody listens. `chance` gives a new salt. A network where multicast DNS cannot run is gone without.
pub(crate) async fn discover(
    me: PeerId,
    port: u16,
    mut pictures: watch::Receiver<Picture>,
    heard: mpsc::Sender<Heard>,
    chance: impl Fn() -> LanSalt,
) {
    loop {
        let picture = pictures.borrow_and_update().clone();
        let salt = chance();
        if heard.send(Heard::Began(salt)).await.is_err() {
            return;
        }
        let discovery = Discovery::start(me, port, salt, &picture);
        if let Err(error) = &discovery {
            tracing::debug!(%error, "contacts on this LAN are not looked for");
        }
        let discovery = discovery.ok().flatten();
        let goes_on = tokio::select! {
            changed = pictures.changed() => changed.is_ok(),
            () = report(discovery.as_ref(), salt, &heard) => false,
        };
        if let Some(discovery) = discovery {
            discovery.stop().await;
        }
        if !goes_on {
            return;
        }
    }
}

/// Passes on what is heard. Returns when nobody listens.
async fn report(discovery: Option<&Discovery>, ours: LanSalt, heard: &mpsc::Sender<Heard>) {
    if let Some(discovery) = discovery {
        let mut second = (Instant::now(), 0);
        while let Ok(event) = discovery.events.recv_async().await {
            if second.0.elapsed() >= Duration::from_secs(1) {
                second = (Instant::now(), 0);
            }
            second.1 += 1;
            if second.1 > AT_ONCE {
                continue;
            }
            let news = match event {
                ServiceEvent::ServiceResolved(service) => parse(&service).map(Heard::Announced),
                ServiceEvent::ServiceRemoved(_, name) => salt_of(&name).map(Heard::Left),
                _ => None,
            };
            let own =
                matches!(&news, Some(Heard::Announced(Announcement { salt, .. }) | Heard::Left(salt)) if *salt == ours);
            if let Some(news) = news.filter(|_| !own)
                && heard.send(news).await.is_err()
            {
                return;
            }
        }
    }
    heard.closed().await;
}

struct Discovery {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    name: String,
}

impl Discovery {
    /// `None` where there is no private network.
    fn start(me: PeerId, port: u16, salt: LanSalt, picture: &Picture) -> Result<Option<Self>, mdns_sd::Error> {
        let lan: Vec<_> = picture.lan().collect();
        if lan.is_empty() {
            return Ok(None);
        }
        let daemon = ServiceDaemon::new()?;
        // On the networks of the picture alone; another picture brings another daemon, so it need not look for changes.
        let interfaces: Vec<_> = lan.iter().map(|one| IfKind::Name(one.interface.clone())).collect();
        daemon.set_ip_check_interval(0)?;
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(interfaces.clone())?;
        let name = base32_text(&salt.0);
        let texts = [("t", base32_text(&tag(salt, &me).0))];
        let addresses: Vec<_> = lan.iter().map(|one| one.address).take(MAX_ADDRESSES).collect();
        let mut service =
            ServiceInfo::new(SERVICE, &name, &format!("{name}.local."), &addresses[..], port, &texts[..])?;
        // Probing for others of the same name would cost most of a second; two of these names are never the same.
        service.set_requires_probe(false);
        service.set_interfaces(interfaces);
        let name = service.get_fullname().to_owned();
        daemon.register(service)?;
        let events = daemon.browse(SERVICE)?;
        Ok(Some(Self { daemon, events, name }))
    }

    /// Says on the LAN that this peer leaves.
    async fn stop(self) {
        let farewell = async {
            if let Ok(done) = self.daemon.unregister(&self.name) {
                let _ = done.recv_async().await;
            }
            if let Ok(done) = self.daemon.shutdown() {
                let _ = done.recv_async().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

fn parse(service: &ResolvedService) -> Option<Announcement> {
    let salt = salt_of(service.get_fullname())?;
    let tag = LanTag(base32_bytes(service.get_property_val_str("t")?).ok()?.try_into().ok()?);
    let port = service.get_port();
    let addresses = service.get_addresses().iter().map(|ip| SocketAddr::new(ip.to_ip_addr(), port));
    let mut addresses: Vec<_> = addresses.take(MAX_ADDRESSES).collect();
    addresses.sort_unstable();
    Some(Announcement { salt, tag, addresses })
}

/// The first label of an instance's name is its salt.
fn salt_of(name: &str) -> Option<LanSalt> {
    let label = name.split('.').next()?;
    Some(LanSalt(base32_bytes(label).ok()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_read_back_and_shows_neither_id_nor_machine() {
        let (me, salt) = (PeerId::new([7; 32]), LanSalt([9; 12]));
        let name = base32_text(&salt.0);
        let address: std::net::IpAddr = "10.0.0.7".parse().unwrap();
        let texts = [("t", base32_text(&tag(salt, &me).0))];
        let service =
            ServiceInfo::new(SERVICE, &name, &format!("{name}.local."), &[address][..], 4711, &texts[..]).unwrap();
        let resolved = service.as_resolved_service();
        let read = parse(&resolved).unwrap();
        assert_eq!(read, Announcement { salt, tag: tag(salt, &me), addresses: vec!["10.0.0.7:4711".parse().unwrap()] });
        assert!(!format!("{resolved:?}").contains(&me.to_string()[..8]));
    }

    #[test]
    fn other_names_under_the_service_are_passed_over() {
        for name in ["printer._knothole._udp.local.", "", "a._knothole._udp.local."] {
            assert_eq!(salt_of(name), None, "{name}");
        }
    }
}
