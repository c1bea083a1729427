//! Closing: every peer is told, so that it looks for another rendezvous now and not when its keepalives go unanswered.

use std::time::Instant;

use knothole_proto::control::ToPeer;

use crate::server::Server;

/// Peers told and not yet heard from: a control channel each, a few kilobytes. With a round trip of 0.1 s, 40,000 peers
/// are told in a second; whoever is not told notices within three keepalives.
const MAX_UNACKNOWLEDGED: usize = 4096;

/// How far the telling has come.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// Slots below this one have been told.
    cursor: u32,
    pub(crate) unacknowledged: usize,
}

impl Server {
    /// Begins to close: refuses whatever is new and tells every peer [`ToPeer::Closing`]. Go on driving the machine
    /// until [`is_closed`](Self::is_closed), or until patience ends.
    pub fn closing(&mut self) {
        self.closing.get_or_insert_default();
    }

    /// Whether every peer has been told and has acknowledged, or is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let all_told = |closing: &Closing| closing.cursor >= self.registry.slots() && closing.unacknowledged == 0;
        self.closing.as_ref().is_some_and(all_told)
    }

    /// Nobody will be heard any more: letters that were on their way to somebody become orders to the disk, as if those
    /// registrations had ended. The orders are to be done before the process ends.
    pub fn stopping(&mut self, now: Instant) {
        for slot in 0..self.registry.slots() {
            self.keep_unacknowledged(now, slot);
        }
    }

    /// Tells the next peer; false if none is left or enough are told for now.
    pub(crate) fn tell_next(&mut self, now: Instant) -> bool {
        loop {
            let Some(closing) = self.closing.as_mut() else { return false };
            if closing.cursor >= self.registry.slots() || closing.unacknowledged >= MAX_UNACKNOWLEDGED {
                return false;
            }
            let slot = closing.cursor;
            closing.cursor += 1;
            if self.say(now, slot, ToPeer::Closing) {
                self.mark_told(now, slot);
                return true;
            }
        }
    }

    fn mark_told(&mut self, now: Instant, slot: u32) {
        let line = self.registry.at(slot, now).and_then(|entry| entry.line.as_mut());
        if let (Some(line), Some(closing)) = (line, self.closing.as_mut()) {
            line.told = true;
            closing.unacknowledged += 1;
        }
    }
}
