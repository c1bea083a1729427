//! Echoes that peers asked for, to find out how long their NATs keep a mapping: one at a time for each registration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::datagram::Header;
use knothole_proto::registration::echo::parse_request;
use knothole_proto::registration::server::Outcome;

use crate::policy::LocalSocket;
use crate::server::Server;

/// Echoes waiting in all: some 100 bytes each, 6 MB. A search takes minutes in months, so that of a million peers few do it
/// at a time; one that finds no room gets no answer, and tries again later.
const MAX_ECHOES: usize = 1 << 16;

/// The echoes that are waiting for their time.
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    due: BTreeMap<(Instant, u32), Waiting>,
    /// When each registration's echo is due.
    by_slot: BTreeMap<u32, Instant>,
}

#[derive(Debug)]
struct Waiting {
    local: LocalSocket,
    to: SocketAddr,
    counter: u64,
}

impl Echoes {
    /// Lets an echo wait, in place of an earlier one of the slot. False: there are too many.
    fn insert(&mut self, slot: u32, when: Instant, waiting: Waiting) -> bool {
        self.forget(slot);
        let room = self.due.len() < MAX_ECHOES;
        if room {
            self.by_slot.insert(slot, when);
            self.due.insert((when, slot), waiting);
        }
        room
    }

    /// Whoever has the slot now did not ask for it.
    pub(crate) fn forget(&mut self, slot: u32) {
        if let Some(when) = self.by_slot.remove(&slot) {
            self.due.remove(&(when, slot));
        }
    }

    fn pop_due(&mut self, now: Instant) -> Option<(u32, Waiting)> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let (_, slot) = *first.key();
        self.by_slot.remove(&slot);
        Some((slot, first.remove()))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((when, _), _)| *when)
    }
}

impl Server {
    /// A peer asks for an echo, from whatever address.
    pub(crate) fn handle_echo(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: LocalSocket,
        header: Header,
        datagram: &[u8],
    ) {
        let Some(delay_s) = parse_request(header, datagram) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        let outcome = self.registry.at(header.slot, now).map(|entry| entry.registration.handle_echo(header, datagram));
        match outcome {
            Some(Outcome::Answer(answer)) => {
                let waiting = Waiting { local, to: from, counter: header.number };
                if self.echoes.insert(header.slot, now + Duration::from_secs(delay_s.into()), waiting) {
                    self.counters.echoes += 1;
                    self.outbox.push(local, from, answer);
                }
            }
            Some(Outcome::Unauthentic) | None => self.answer_unknown_slot(now, from, local, header, datagram),
            Some(_) => self.counters.dropped_repeated += 1,
        }
    }

    /// Sends the echoes whose time has come; those of registrations that have ended are dropped.
    pub(crate) fn send_echoes(&mut self, now: Instant) {
        while let Some((slot, Waiting { local, to, counter })) = self.echoes.pop_due(now) {
            if let Some(entry) = self.registry.at(slot, now) {
                let echo = entry.registration.echo(slot, counter);
                self.outbox.push(local, to, echo);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_has_one_echo_at_a_time_and_all_of_them_are_bounded() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let waiting = |counter| Waiting { local: LocalSocket(0), to: ([192, 0, 2, 1], 9).into(), counter };
        let mut echoes = Echoes::default();
        assert!(echoes.insert(1, at(60), waiting(1)));
        assert!(echoes.insert(2, at(50), waiting(2)));
        assert!(echoes.insert(1, at(40), waiting(3)));
        assert_eq!(echoes.poll_timeout(), Some(at(40)));
        assert!(echoes.pop_due(at(39)).is_none());
        let slots = std::iter::from_fn(|| echoes.pop_due(at(60))).map(|(slot, waiting)| (slot, waiting.counter));
        assert_eq!(slots.collect::<Vec<_>>(), [(1, 3), (2, 2)]);
        assert_eq!((echoes.due.len(), echoes.by_slot.len()), (0, 0));
        let limit = u32::try_from(MAX_ECHOES).unwrap();
        assert!((0..limit).all(|slot| echoes.insert(slot, at(1), waiting(1))));
        assert!(!echoes.insert(limit, at(1), waiting(1)));
        assert!(echoes.insert(7, at(2), waiting(1)), "in place of its own");
        assert_eq!(echoes.due.len(), MAX_ECHOES);
    }
}
