//! What is done when its time has come: keepalives, questions, and another attempt to come back.

use std::time::Instant;

use super::{Client, Event, Phase, first, seconds};
use crate::keepalive::Wishes;

impl Client {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Pausing { until } if until <= now => self.attempt(now),
            Phase::SigningIn { until } if until <= now => self.handle_sign_in_failed(now),
            Phase::Asking { again, .. } if again <= now => self.ask_lost(now),
            Phase::Returning { again, .. } if again <= now => self.show(now),
            Phase::Registered => self.keep_alive(now),
            _ => {}
        }
    }

    pub(super) fn wishes(&self, now: Instant) -> Wishes {
        let renews = self.ticket.as_ref().is_some_and(|held| held.is_old(now));
        Wishes { asks: false, renews, interval_s: seconds(self.interval) }
    }

    fn keep_alive(&mut self, now: Instant) {
        let (wishes, again) = (self.wishes(now), self.profile.ask_again());
        let every = self.profile.asks_every(self.interval);
        let Some(active) = self.active.as_mut() else { return };
        active.channel.handle_timeout(now);
        // A control message that nobody acknowledges is a reason to ask whether anybody is there.
        let doubtful = active.channel.is_doubtful();
        let begins = doubtful && !std::mem::replace(&mut active.doubtful, doubtful);
        if (active.channel.take_lost() || begins) && active.asked.is_none() {
            active.ask(wishes, 1, now + first(again), &mut self.outgoing);
        }
        if begins {
            self.events.push_back(Event::Doubtful);
        }
        match active.asked {
            Some((tries, due)) if due <= now => {
                let Some(wait) = again.get(tries) else {
                    self.lose();
                    return self.sign_in_next(now);
                };
                active.ask(wishes, tries + 1, now + *wait, &mut self.outgoing);
                if tries == 1 {
                    self.events.push_back(Event::Doubtful);
                }
            }
            _ => {}
        }
        if active.next_keepalive <= now {
            active.next_keepalive = now + self.interval;
            if active.asked.is_none() && (active.counter + 1).is_multiple_of(every) {
                active.ask(wishes, 1, now + first(again), &mut self.outgoing);
            } else {
                active.keepalive(wishes, &mut self.outgoing);
            }
        }
    }
}
