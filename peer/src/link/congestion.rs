//! Congestion control that begins anew when the path beneath a connection changes.
//!
//! QUIC sees one constant address and would carry a window learnt on one path over to another: bursts into a slow
//! relay, or crawling on a fast direct path after losses elsewhere (RFC 9000 section 9.4 has it reset on migration).

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

use crate::socket::Activity;

/// Makes the controllers of connections to one virtual address.
pub(super) struct PerPath {
    activity: Arc<Activity>,
    each: Arc<CubicConfig>,
}

impl PerPath {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, each: Arc::new(CubicConfig::default()) }
    }
}

impl ControllerFactory for PerPath {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let epoch = self.activity.epoch();
        let present = self.each.clone().build(now, current_mtu);
        Box::new(Renewed { paths: self, present, epoch, since: now, mtu: current_mtu, in_flight: 0, stranded: 0 })
    }
}

/// The controller of the present path. News of what was sent on an earlier one neither grows nor shrinks its window.
///
/// What was in flight on the earlier path takes no room on this one, but QUIC still counts it. Until something sent on
/// this path is acknowledged, by which QUIC finds out what was lost before, the window is larger by that much.
struct Renewed {
    paths: Arc<PerPath>,
    present: Box<dyn Controller>,
    epoch: u64,
    since: Instant,
    mtu: u16,
    /// What QUIC counts as in flight, or more: sent acknowledgements are in it until the next one that comes.
    in_flight: u64,
    stranded: u64,
}

impl Renewed {
    fn is_present(&self) -> bool {
        self.paths.activity.epoch() == self.epoch
    }

    /// What would be stranded by a change of path now.
    fn at_stake(&self) -> u64 {
        self.in_flight.min(self.present.window() + self.stranded)
    }

    fn renew(&mut self, now: Instant) {
        let epoch = self.paths.activity.epoch();
        if epoch != self.epoch {
            self.stranded = self.at_stake();
            self.present = self.paths.each.clone().build(now, self.mtu);
            (self.epoch, self.since) = (epoch, now);
        }
    }
}

impl Controller for Renewed {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.renew(now);
        self.in_flight = self.in_flight.saturating_add(bytes);
        self.present.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.renew(now);
        if sent >= self.since {
            self.stranded = 0;
            self.present.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.renew(now);
        self.in_flight = in_flight;
        self.present.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.renew(now);
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        if sent >= self.since {
            self.present.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.present.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.is_present() {
            self.present.window() + self.stranded
        } else {
            self.present.initial_window() + self.at_stake()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.present.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { paths: self.paths.clone(), present: self.present.clone_box(), ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.present.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::socket::{Routes, VirtualAddress};

    #[test]
    fn the_window_is_the_first_one_again_after_a_change_of_route_and_old_losses_do_not_count() {
        let contact = VirtualAddress::new(1);
        let begin = Instant::now();
        let routes = Routes::new(begin);
        let mut control = Arc::new(PerPath::new(routes.activity(contact))).build(begin, 1200);
        let first = control.window();
        let later = |ms| begin + Duration::from_millis(ms);
        control.on_congestion_event(later(10), later(5), false, 1200);
        let shrunk = control.window();
        assert!(shrunk < first);

        routes.set_route(contact, Some(SocketAddr::from(([192, 0, 2, 1], 5)).into()));
        assert_eq!(control.window(), first, "at once");
        control.on_sent(later(20), 1200, 7);
        control.on_congestion_event(later(30), later(15), true, 9000);
        assert_eq!(control.window(), first, "what was lost on the old path says nothing of the new");
        control.on_congestion_event(later(40), later(25), false, 1200);
        assert_eq!(control.window(), shrunk);
    }

    #[test]
    fn what_is_in_flight_on_the_old_path_does_not_keep_the_new_one_waiting() {
        let contact = VirtualAddress::new(1);
        let begin = Instant::now();
        let routes = Routes::new(begin);
        let mut control = Arc::new(PerPath::new(routes.activity(contact))).build(begin, 1200);
        let first = control.window();
        control.on_sent(begin, 6000, 5);
        routes.set_route(contact, Some(SocketAddr::from(([192, 0, 2, 1], 5)).into()));
        assert_eq!(control.window(), first + 6000, "at once");
        control.on_sent(begin + Duration::from_millis(1), 1200, 6);
        assert_eq!(control.window(), first + 6000, "and until the new path has answered");
        control.on_sent(begin + Duration::from_millis(2), 1_000_000, 900);
        routes.set_route(contact, None);
        assert_eq!(control.window(), 2 * first + 6000, "never more than the windows allowed");
    }
}
