//! Coming back to a rendezvous that was lost: asking whether it still knows us, showing our ticket, or signing in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::Rng;

use super::{Client, Event, Phase, SIGN_IN_PATIENCE, seconds};
use crate::datagram::Header;
use crate::keepalive::Wishes;
use crate::registration::ticket;

/// A question to a rendezvous that was lost, and a ticket shown, are repeated after these: most round trips fit into the
/// first, and after 3 s in all another way is tried.
pub(super) const REPETITIONS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(1500)];
/// Of the attempts after a loss the first and then every fourth is a sign-in, which looks the name up anew; the others are
/// a question of 32 bytes to where the rendezvous was, so that it is not buried in handshakes when it comes back.
const SIGN_IN_EVERY: u32 = 4;

impl Client {
    pub(super) fn handle_returned(&mut self, from: SocketAddr, header: Header, datagram: &[u8], now: Instant) {
        let (Phase::Returning { nonce, .. }, Some(held)) = (self.phase, &self.ticket) else { return };
        if let Some((secret, observed)) = ticket::parse_returned(&held.resumption, nonce, header, datagram) {
            self.begin(from, header.slot, &secret, observed, now);
        }
    }

    /// The rendezvous has no slot for us, or does not like our ticket.
    pub(super) fn handle_unknown(&mut self, token: Option<u64>, now: Instant) {
        self.lose();
        let known = if let Phase::Returning { tries, nonce, .. } = self.phase { Some((tries, nonce)) } else { None };
        let (tries, nonce) = known.unwrap_or_else(|| (0, self.random.next_u64()));
        match token {
            Some(token) if self.ticket.is_some() && tries < REPETITIONS.len() => {
                self.phase = Phase::Returning { tries, again: now, nonce, token };
                self.show(now);
            }
            _ => {
                self.ticket = None;
                self.sign_in_next(now);
            }
        }
    }

    pub(super) fn sign_in_next(&mut self, now: Instant) {
        self.attempts = 0;
        self.phase = Phase::Pausing { until: now };
    }

    /// Shows the ticket, once more if it is due.
    pub(super) fn show(&mut self, now: Instant) {
        let Phase::Returning { tries, again, nonce, token } = self.phase else { return };
        let (Some(wait), Some(active), Some(held)) = (REPETITIONS.get(tries), &mut self.active, &self.ticket) else {
            return self.sign_in_next(now);
        };
        if again <= now {
            active.show(held, nonce, token, (seconds(self.interval), self.unseen), &mut self.outgoing);
            self.phase = Phase::Returning { tries: tries + 1, again: now + *wait, nonce, token };
        }
    }

    pub(super) fn attempt(&mut self, now: Instant) {
        let asks = self.active.is_some() && !self.attempts.is_multiple_of(SIGN_IN_EVERY);
        self.attempts += 1;
        if asks {
            self.phase = Phase::Asking { tries: 0, again: now };
            self.ask_lost(now);
        } else {
            self.phase = Phase::SigningIn { until: now + SIGN_IN_PATIENCE };
            self.events.push_back(Event::SignIn);
        }
    }

    pub(super) fn ask_lost(&mut self, now: Instant) {
        let (Phase::Asking { tries, .. }, wishes) = (self.phase, self.wishes(now)) else { return };
        let (Some(wait), Some(active)) = (REPETITIONS.get(tries), &mut self.active) else {
            return self.pause_then_attempt(now);
        };
        active.keepalive(Wishes { asks: true, ..wishes }, &mut self.outgoing);
        self.phase = Phase::Asking { tries: tries + 1, again: now + *wait };
    }
}
