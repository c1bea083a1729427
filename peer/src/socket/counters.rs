//! What the socket dropped, and what failed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// The count so far.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn increase(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// The datagrams that a socket did not pass on, by reason.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// QUIC datagrams from sources that nobody admitted.
    pub dropped_unknown_source: Counter,
    /// Relay frames of channels that nobody admitted.
    pub dropped_unknown_channel: Counter,
    /// Datagrams whose first byte means nothing here, empty ones, and relay frames without QUIC in them.
    pub dropped_unknown_kind: Counter,
    /// STUN and Knothole datagrams that came faster than they were taken.
    pub dropped_queue_full: Counter,
    /// Transmissions of QUIC's to a virtual address that has no route, or one of an address family that is missing
    /// here.
    pub dropped_no_route: Counter,
    /// Our own datagrams, and ends of relayed transmissions, for which the kernel had no room.
    pub dropped_no_room: Counter,
    /// Datagrams for a rendezvous that is reached by TCP, which did not keep up.
    pub dropped_tunnel_full: Counter,
    /// Transmissions that the system refused, for want of a network for instance.
    pub send_errors: Counter,
    /// Errors that the system reported instead of datagrams.
    pub receive_errors: Counter,
    /// Where to, and how much.
    #[cfg(test)]
    pub sent: Sent,
}

/// What was handed to the kernel, by port of destination; relay frames, which go to a rendezvous, are not counted.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Sent(std::sync::Mutex<std::collections::BTreeMap<u16, u64>>);

#[cfg(test)]
impl Sent {
    pub(super) fn note(&self, to: std::net::SocketAddr) {
        *self.0.lock().unwrap().entry(to.port()).or_default() += 1;
    }

    /// Transmissions to this port so far.
    #[must_use]
    pub(crate) fn to(&self, port: u16) -> u64 {
        self.0.lock().unwrap().get(&port).copied().unwrap_or_default()
    }
}
