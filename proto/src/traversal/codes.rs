//! One-time codes on their way through a rendezvous, which passes on what the two ends say.

use std::time::Instant;

use super::{RendezvousId, Traversal};
use crate::control::ToRendezvous;

impl Traversal {
    /// Asks a rendezvous for the number of a code: [`Event::CodeOpened`](super::Event::CodeOpened) follows. False if it
    /// cannot be said now.
    pub fn open_code(&mut self, id: RendezvousId, now: Instant) -> bool {
        self.say(id, ToRendezvous::OpenCode, now)
    }

    /// Says something to the other end of a code. False if it cannot be said now.
    pub fn say_to_code(&mut self, id: RendezvousId, number: u16, message: Vec<u8>, now: Instant) -> bool {
        self.say(id, ToRendezvous::Code { number, message }, now)
    }

    /// Ends a code. Not to be said now, it ends by itself.
    pub fn close_code(&mut self, id: RendezvousId, number: u16, now: Instant) {
        self.say(id, ToRendezvous::CloseCode { number }, now);
    }
}
