//! Leaves a mapping before it ends: the NAT drops it at an age, whatever is sent.

use std::time::Instant;

use knothole_proto::candidate;

use super::Engine;

#[cfg(test)]
mod tests;

impl Engine {
    /// Our mapping is about to end.
    pub(super) fn handle_renewal_due(&mut self, now: Instant) {
        // Through a stream and on loopback there is no mapping. One that the router made on request has a lifetime of its
        // own, and leads to the port that there is.
        let granted = self.surroundings.mapped().external.is_some_and(candidate::is_public);
        if self.allow_loopback || granted || self.rendezvous.iter().any(|rendezvous| rendezvous.tunnel.is_some()) {
            return tracing::debug!("the NAT is about to drop our mapping, and there is nothing to be renewed");
        }
        self.renew(now);
    }

    /// Goes on from a fresh port. What still comes to the former one is heard meanwhile.
    pub(super) fn renew(&mut self, now: Instant) {
        if let Err(error) = self.socket.renew() {
            // The next keepalive finds the new mapping.
            return tracing::warn!(%error, "the NAT is about to drop our mapping, and there is no fresh port");
        }
        tracing::info!("the NAT is about to drop our mapping: going on from a fresh port");
        self.refresh_hosts(now);
        self.traversal.handle_network_change(now);
    }
}
