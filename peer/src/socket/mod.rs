//! The peer's one UDP port: what it receives is told apart, what QUIC sends is sent where the contact is.
//!
//! QUIC is given constant made-up addresses ([`VirtualAddress`]) for contacts and rendezvous; [`Routes`] says where
//! each of them really is: straight at an address, or behind a rendezvous that relays for the two ([`Route`]). A change
//! of path is one call there, which neither QUIC nor the conversation notices.
//! [`Activity`] tells whether the present path still answers.
//!
//! What arrives is sorted by its first byte (RFC 7983, RFC 9443): QUIC from an admitted source goes to QUIC,
//! a relay frame of an admitted channel is unwrapped and is its contact's; STUN and Knothole's other datagrams go to the
//! engine as [`Arrival`]s, everything else is dropped and counted.
//!
//! A hard NAT is crossed with many sockets at once ([`Socket::open_bases`]): each is one more mapping. What comes to one
//! of them takes the same way, and a route may begin at it.
//!
//! Not here: which path is best, whether a source may be admitted, what an arrival means. Nor is there a task: the
//! socket moves when the QUIC endpoint over it polls, and without an endpoint nothing arrives.

mod activity;
mod bases;
mod counters;
mod demultiplex;
mod frames;
mod port;
mod quic;
mod renewal;
mod route;
mod routes;
#[cfg(test)]
mod tests;
mod tunnels;
mod virtual_address;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use knothole_proto::datagram::{Kind, RELAY, RELAY_HEADER, classify, parse_relay};
use knothole_proto::path::Base;
use quinn::udp::RecvMeta;
use tokio::sync::mpsc;

pub(crate) use activity::{Activity, SILENCE_MS};
use bases::Bases;
pub(crate) use counters::{Counter, Counters};
use demultiplex::{Origin, Waiting, sift};
use port::{Port, bind_families};
pub(crate) use route::Route;
use route::normal;
pub(crate) use routes::Routes;
pub(crate) use tunnels::{TunnelEnd, Tunnels};
pub(crate) use virtual_address::VirtualAddress;

/// How many arrivals wait for the engine. Checks of a full birthday search (256 sockets, bounded in rate) fit;
/// a stranger's flood does not grow beyond it.
const ARRIVALS: usize = 1024;

/// A datagram that is not QUIC's: STUN or Knothole's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Our socket that it came to.
    pub base: Base,
    /// The real address that it came from. Nothing vouches for it.
    pub from: SocketAddr,
    /// The datagram, its first byte included; never empty.
    pub datagram: Vec<u8>,
}

/// The UDP port of a peer, in both address families where the system has both.
#[derive(Debug)]
pub(crate) struct Socket {
    /// One or two, IPv4 first.
    ports: Vec<Port>,
    bases: Bases,
    routes: Routes,
    tunnels: Tunnels,
    counters: Counters,
    arrivals: mpsc::Sender<Arrival>,
    /// What was received and goes to QUIC next. Only the one that polls takes the lock.
    waiting: Mutex<Waiting>,
    /// The one that polls, while there is nothing for it.
    poller: Mutex<Option<Waker>>,
    /// Counts the polls, so that the families take turns to be asked first.
    turn: AtomicUsize,
}

impl Socket {
    /// Binds the same port in both families, on every interface: `port`, or any if it is 0 or taken. A family that the
    /// system does not have is gone without.
    ///
    /// # Errors
    /// Neither family can be bound. Must be called within a Tokio runtime.
    pub(crate) fn bind(port: u16) -> io::Result<(Arc<Self>, mpsc::Receiver<Arrival>)> {
        let (sender, arrivals) = mpsc::channel(ARRIVALS);
        let socket = Self {
            ports: bind_families(port)?,
            bases: Bases::default(),
            routes: Routes::new(Instant::now()),
            tunnels: Tunnels::new(),
            counters: Counters::default(),
            arrivals: sender,
            waiting: Mutex::default(),
            poller: Mutex::default(),
            turn: AtomicUsize::new(0),
        };
        Ok((Arc::new(socket), arrivals))
    }

    /// The port number: IPv4's, where the system has that. The same in both families until [`Self::renew`].
    #[must_use]
    pub(crate) fn port(&self) -> u16 {
        self.bases.main().map_or_else(|| self.ports.first().map_or(0, Port::number), |fresh| fresh.port().number())
    }

    /// Whether this system has the address family of `address`.
    #[must_use]
    pub(crate) fn reaches(&self, address: SocketAddr) -> bool {
        self.port_for(address).is_some()
    }

    /// The map between virtual and real addresses.
    #[must_use]
    pub(crate) const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The rendezvous that are reached through streams.
    #[must_use]
    pub(crate) const fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// What was dropped, and what failed.
    #[cfg(test)]
    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Opens further IPv4 sockets, each at a port of the system's choice: `count`, or as many as the system and `BASES`
    /// allow. No number is given twice before all others have been. Must be called within a Tokio runtime.
    #[must_use]
    pub(crate) fn open_bases(&self, count: usize) -> Vec<Base> {
        self.bases.open(count)
    }

    /// Closes a further socket, with all that went and came by it. The main one stays.
    pub(crate) fn close_base(&self, base: Base) {
        if self.bases.close(base) {
            self.routes.leave(base);
        }
    }

    /// Sends one of our own datagrams from a socket of ours, now or never: what the kernel has no room for, or refuses, is counted and lost
    /// like any datagram may be.
    ///
    /// With `ttl` it lives for so many hops (1–255), where the system can limit a single datagram (Linux);
    /// elsewhere it goes with the system's ordinary limit.
    pub(crate) fn send(&self, base: Base, to: SocketAddr, datagram: &[u8], ttl: Option<u8>) {
        let to = normal(to);
        if base == Base::MAIN && self.tunnels.send(to, datagram, &self.counters) {
            return;
        }
        let send = |port: &Port| port.send(to, datagram, ttl, &self.counters);
        let sent = match base {
            Base::MAIN => self.by_main(to, send),
            base => self.bases.towards(base, to).map(|further| send(further.port())),
        };
        if sent.is_none() {
            self.counters.dropped_no_route.increase();
        }
    }

    fn port_for(&self, address: SocketAddr) -> Option<&Port> {
        self.ports.iter().find(|port| port.is_ipv6() == address.is_ipv6())
    }

    /// Leaves in a received buffer what is QUIC's, under the virtual address of who sent it.
    fn sort(&self, base: Base, buffer: &mut [u8], meta: &mut RecvMeta, waiting: &mut Waiting) {
        let from = normal(meta.addr);
        // One look-up serves all that the kernel coalesced, as long as the channel is the same.
        let mut last = None;
        if meta.len == 0 {
            self.counters.dropped_unknown_kind.increase();
        }
        sift(buffer, meta, waiting, |datagram| {
            let (source, header) = self.source(base, from, datagram)?;
            let address = match last {
                Some((known, address)) if known == source => address,
                _ => last.insert((source, self.routes.heard(source))).1,
            };
            if address.is_none() && !self.pass_unknown(from, source, datagram) {
                self.unknown(source).increase();
            }
            address.map(|address| Origin { address, header })
        });
        // QUIC would send from the address that it was reached at; the route decides that.
        meta.dst_ip = None;
    }

    /// The way that a QUIC datagram came, and how many bytes stand before it. `None` for other datagrams, which go
    /// where they belong.
    fn source(&self, base: Base, from: SocketAddr, datagram: &[u8]) -> Option<(Route, usize)> {
        let &first = datagram.first()?;
        match classify(first) {
            Kind::Quic => return Some((Route::Direct { base, remote: from }, 0)),
            Kind::Knothole if first == RELAY => match parse_relay(datagram) {
                Some((channel, _)) => return Some((Route::Relay { rendezvous: from, channel }, RELAY_HEADER)),
                None => self.counters.dropped_unknown_kind.increase(),
            },
            Kind::Stun | Kind::Knothole => {
                if self.arrivals.try_send(Arrival { base, from, datagram: datagram.to_vec() }).is_err() {
                    self.counters.dropped_queue_full.increase();
                }
            }
            Kind::Unknown => self.counters.dropped_unknown_kind.increase(),
        }
        None
    }

    /// A frame of a channel that nobody has admitted, from a rendezvous of ours, may be right behind the invitation with
    /// which the channel comes: the engine sees it after that, and calls [`Self::receive`].
    fn pass_unknown(&self, from: SocketAddr, source: Route, datagram: &[u8]) -> bool {
        source.is_relay()
            && self.routes.owner(from).is_some()
            && self.arrivals.try_send(Arrival { base: Base::MAIN, from, datagram: datagram.to_vec() }).is_ok()
    }

    /// Takes a relay frame that came as an arrival, since its channel was not admitted then. If it is by now, what is in
    /// it goes to QUIC as if it came now; else it is dropped and counted.
    pub(crate) fn receive(&self, arrival: &Arrival) {
        let Some((channel, _)) = parse_relay(&arrival.datagram) else { return };
        let Some(address) = self.routes.heard(Route::Relay { rendezvous: normal(arrival.from), channel }) else {
            return self.counters.dropped_unknown_channel.increase();
        };
        let origin = Origin { address, header: RELAY_HEADER };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_one(origin, &arrival.datagram);
        if let Some(poller) = self.poller.lock().unwrap_or_else(PoisonError::into_inner).take() {
            poller.wake();
        }
    }

    const fn unknown(&self, source: Route) -> &Counter {
        if source.is_relay() { &self.counters.dropped_unknown_channel } else { &self.counters.dropped_unknown_source }
    }
}
