//! Leaves a mapping before it ends: the NAT drops it at an age, whatever is sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::candidate;

use super::Engine;
use super::lifetime::PREFERRED;

#[cfg(test)]
mod tests;

/// Between two renewals at least: the carriers that are known for it keep a mapping for 50 s. A rendezvous that says every
/// time that it sees us elsewhere must not have us change ports, and disturb all contacts, all the time.
const SHORTEST: Duration = Duration::from_secs(20);

/// What is to be weighed before a port is left.
#[derive(Debug, Clone, Copy)]
struct Circumstances {
    /// As the rendezvous sees us.
    observed: Option<SocketAddr>,
    /// What the router opened for us on request.
    granted: Option<SocketAddr>,
    /// Whether a rendezvous is spoken to through a stream.
    streams: bool,
    /// Since the last renewal.
    since: Option<Duration>,
}

impl Circumstances {
    fn allow(&self) -> bool {
        // Over IPv6 there is no mapping, on loopback neither, and through a stream it is TCP's.
        let mapped = self.observed.is_some_and(|observed| observed.is_ipv4() && !observed.ip().is_loopback());
        // A mapping on request has a lifetime of its own, and leads to the port that there is.
        let granted = self.granted.is_some_and(candidate::is_public);
        mapped && !granted && !self.streams && self.since.is_none_or(|since| since >= SHORTEST)
    }
}

impl Engine {
    /// Our mapping is about to end.
    pub(super) fn handle_renewal_due(&mut self, now: Instant) {
        let circumstances = Circumstances {
            observed: self.traversal.observed(PREFERRED),
            granted: self.surroundings.mapped().external,
            streams: self.rendezvous.iter().any(|rendezvous| rendezvous.tunnel.is_some()),
            since: self.mappings.renewed.map(|renewed| now.saturating_duration_since(renewed)),
        };
        if self.allow_loopback || !circumstances.allow() {
            return tracing::debug!(
                ?circumstances,
                "the NAT is about to drop our mapping, and there is nothing to be renewed"
            );
        }
        self.renew(now);
    }

    /// Goes on from a fresh port. What still comes to the former one is heard meanwhile.
    pub(super) fn renew(&mut self, now: Instant) {
        self.mappings.renewed = Some(now);
        if let Err(error) = self.socket.renew() {
            // The next keepalive finds the new mapping.
            return tracing::warn!(%error, "the NAT is about to drop our mapping, and there is no fresh port");
        }
        tracing::info!("the NAT is about to drop our mapping: going on from a fresh port");
        self.refresh_hosts(now);
        self.traversal.handle_network_change(now);
    }
}
