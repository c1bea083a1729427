//! The peer's side of its registration at one rendezvous.

mod active;
mod comeback;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::control::{ChannelFull, Opened, ToPeer, ToRendezvous};
use crate::datagram::{CONTROL, Header, RETURNED, TICKET, Transmit};
use crate::keepalive::{self, FromRendezvous, Wishes};
use crate::registration::echo::Requests;
use crate::registration::ticket::{self, Resumption};
use crate::registration::{Profile, SignInAnswer};
use crate::seal::RegistrationSecret;
use active::{Active, Held};

/// The driver's sign-in ends in success or failure within this, or is taken for failed.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(10);
/// First pause after a failed attempt; pauses double up to the longest, each shortened at random by up to half, so
/// that a million peers do not return in the same second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Several reasons to ask within this are one: a hundred paths may be lost in one moment.
const SAME_MOMENT: Duration = Duration::from_millis(200);

/// What the driver must know or do.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Sign in over QUIC now, then call `handle_signed_in` or `handle_sign_in_failed`.
    SignIn,
    /// The rendezvous knows us and sees us at this address (also after it changed).
    Registered {
        /// Our address as the rendezvous sees it.
        observed: SocketAddr,
    },
    /// The rendezvous knows us no more, or does not answer; we try to come back without being asked.
    Unregistered,
    /// The rendezvous does not acknowledge what it was told, though it may still know us: what is urgent goes another
    /// way. Followed by [`Event::Unregistered`], or by nothing if it answers after all.
    Doubtful,
    /// The rendezvous says something.
    Control(ToPeer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Pausing {
        until: Instant,
    },
    SigningIn {
        until: Instant,
    },
    Registered,
    /// The rendezvous was lost; it is asked whether it still knows us. Repetitions so far, and when the next is due.
    Asking {
        tries: usize,
        again: Instant,
    },
    /// The rendezvous forgot us; it was shown our ticket.
    Returning {
        tries: usize,
        again: Instant,
        nonce: u64,
        token: u64,
    },
}

/// One peer's registration at one rendezvous, from its first sign-in through every loss.
pub struct Client {
    profile: Profile,
    interval: Duration,
    phase: Phase,
    pause: Duration,
    /// Attempts to come back since the registration was lost.
    attempts: u32,
    /// The registration; after a loss the last one, which the rendezvous may still know.
    active: Option<Active>,
    ticket: Option<Held>,
    random: ChaCha12Rng,
    outgoing: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Client {
    /// A registration that begins with a sign-in at once.
    #[must_use]
    pub fn new(seed: [u8; 32], now: Instant) -> Self {
        Self {
            profile: Profile::Default,
            interval: Profile::Default.interval(),
            phase: Phase::Pausing { until: now },
            pause: FIRST_PAUSE,
            attempts: 0,
            active: None,
            ticket: None,
            random: ChaCha12Rng::from_seed(seed),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Keeps alive as this profile says from now on, every `interval` (whole seconds).
    pub fn set_keepalive(&mut self, profile: Profile, interval: Duration, now: Instant) {
        if (self.profile, self.interval) == (profile, interval) {
            return;
        }
        (self.profile, self.interval) = (profile, interval);
        // The rendezvous learns of it with the next keepalive, so that comes at once.
        if let Some(active) = &mut self.active {
            active.next_keepalive = active.next_keepalive.min(now);
        }
    }

    /// Between keepalives, for the sign-in request.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Our address as the rendezvous sees it, while registered.
    #[must_use]
    pub fn observed(&self) -> Option<SocketAddr> {
        self.registered().map(|active| active.observed)
    }

    /// Where the rendezvous is, or was when it was last heard.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.active.as_ref().map(|active| active.remote)
    }

    /// Our slot there, while registered.
    #[must_use]
    pub fn slot(&self) -> Option<u32> {
        self.registered().map(|active| active.slot)
    }

    /// Whether there is a reason to believe that the rendezvous does not hear us at the moment.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.registered().is_none_or(|active| active.channel.is_doubtful() || active.asked.is_some_and(|(n, _)| n > 1))
    }

    fn registered(&self) -> Option<&Active> {
        self.active.as_ref().filter(|_| self.phase == Phase::Registered)
    }

    fn registered_mut(&mut self) -> Option<&mut Active> {
        self.active.as_mut().filter(|_| self.phase == Phase::Registered)
    }

    /// The sign-in succeeded: `remote` is the rendezvous' address, `secret` is from the TLS exporter.
    pub fn handle_signed_in(
        &mut self,
        remote: SocketAddr,
        answer: &SignInAnswer,
        secret: &RegistrationSecret,
        now: Instant,
    ) {
        match answer {
            SignInAnswer::Registered { slot, observed, ticket, .. } => {
                let sound = !ticket.is_empty() && ticket.len() <= ticket::MAX_TICKET;
                let resumption = Resumption::of(secret);
                self.ticket = sound.then(|| Held { ticket: ticket.clone(), resumption, since: now });
                self.begin(remote, *slot, secret, *observed, now);
            }
            SignInAnswer::Refused { retry_after_s } => {
                self.pause = self.pause.max(Duration::from_secs((*retry_after_s).into())).min(LONGEST_PAUSE);
                self.handle_sign_in_failed(now);
            }
        }
    }

    fn begin(
        &mut self,
        remote: SocketAddr,
        slot: u32,
        secret: &RegistrationSecret,
        observed: SocketAddr,
        now: Instant,
    ) {
        self.active = Some(Active::new(remote, slot, secret, observed, now + self.interval));
        self.found(observed);
    }

    /// The rendezvous knows us.
    fn found(&mut self, observed: SocketAddr) {
        self.phase = Phase::Registered;
        self.pause = FIRST_PAUSE;
        self.attempts = 0;
        self.events.push_back(Event::Registered { observed });
    }

    /// The sign-in failed; the next attempt follows after a pause.
    pub fn handle_sign_in_failed(&mut self, now: Instant) {
        if matches!(self.phase, Phase::SigningIn { .. }) {
            self.pause_then_attempt(now);
        }
    }

    fn pause_then_attempt(&mut self, now: Instant) {
        let shortened = self.pause.mul_f64(1.0 - f64::from(self.random.next_u32() >> 1) / f64::from(u32::MAX));
        self.phase = Phase::Pausing { until: now + shortened };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn lose(&mut self) {
        if self.phase == Phase::Registered {
            self.events.push_back(Event::Unregistered);
        }
    }

    /// Takes one of Knothole's datagrams that came from `from`.
    pub fn handle_datagram(&mut self, from: SocketAddr, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_ref().filter(|active| active.remote == from) else { return };
        match header.kind {
            RETURNED => self.handle_returned(from, header, datagram, now),
            _ if active.slot != header.slot => {}
            CONTROL => self.handle_control(header, datagram, now),
            TICKET => self.handle_ticket(header, datagram, now),
            _ => self.handle_answer(header, datagram, now),
        }
    }

    fn handle_control(&mut self, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_mut().filter(|_| self.phase == Phase::Registered) else { return };
        match active.channel.handle(header, datagram) {
            Opened::Fresh(Some(ToPeer::Closing)) => {
                // The acknowledgement is the last that goes this way.
                while let Some(payload) = active.channel.poll_transmit(now) {
                    active.transmit(payload, &mut self.outgoing);
                }
                self.lose();
                // It may be there again in a moment, and open our ticket.
                self.attempts = 1;
                self.pause_then_attempt(now);
            }
            Opened::Fresh(Some(message)) => self.events.push_back(Event::Control(message)),
            Opened::Fresh(None) | Opened::Repeated | Opened::Invalid => {}
        }
    }

    fn handle_ticket(&mut self, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_mut().filter(|active| active.renewing == Some(header.number)) else { return };
        if let Some(ticket) = ticket::parse_renewed(&active.key, header, datagram) {
            active.renewing = None;
            active.asked = None;
            let resumption = Resumption::of(&active.secret);
            self.ticket = Some(Held { ticket: ticket.to_vec(), resumption, since: now });
        }
    }

    fn handle_answer(&mut self, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_mut() else { return };
        match keepalive::parse_from_rendezvous(&active.key, header, datagram) {
            // One that is not later than the last is a replay, and so is an answer to nothing.
            Some(FromRendezvous::Observed { counter, address }) if active.is_answer(counter) => {
                let (asked, moved) = (active.asked.take().is_some(), std::mem::take(&mut active.moving));
                if moved {
                    // What it was told from there is not acknowledged here.
                    active.channel.repeat(now);
                }
                if asked || moved {
                    active.channel.hurry(now);
                }
                let changed = std::mem::replace(&mut active.observed, address) != address;
                match self.phase {
                    Phase::Registered if (asked || moved) && changed => {
                        self.events.push_back(Event::Registered { observed: address });
                    }
                    Phase::Registered | Phase::Returning { .. } => {}
                    Phase::Asking { .. } | Phase::SigningIn { .. } | Phase::Pausing { .. } => self.found(address),
                }
            }
            Some(FromRendezvous::Challenge { token }) => {
                active.prove(token, &mut self.outgoing);
                // Should it be lost, a question follows.
                active.asked.get_or_insert((1, now + first(self.profile.ask_again())));
            }
            Some(FromRendezvous::UnknownSlot { echo, token }) if active.sent(echo) => self.handle_unknown(token, now),
            _ => {}
        }
    }

    /// Says something to the rendezvous.
    ///
    /// # Errors
    /// [`ChannelFull`] while not registered, or when too much is unacknowledged.
    pub fn send(&mut self, message: ToRendezvous, now: Instant) -> Result<(), ChannelFull> {
        self.registered_mut().ok_or(ChannelFull)?.channel.send(message, now)
    }

    /// What a spare socket of ours sends to have an echo after `delay_s` seconds, within
    /// [`DELAY_RANGE_S`](crate::registration::echo::DELAY_RANGE_S); `None` while not registered.
    pub fn echo_requests(&mut self, delay_s: u16) -> Option<Requests> {
        Some(self.registered_mut()?.echo_requests(delay_s))
    }

    /// Whether the rendezvous has acknowledged all that was said.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.registered().is_none_or(|active| active.channel.is_idle())
    }

    /// Since when we have been asking where we are, if no answer has come yet.
    #[must_use]
    pub fn unanswered_since(&self) -> Option<Instant> {
        let (times, again, repetitions) = match self.phase {
            Phase::Registered => {
                self.active.as_ref()?.asked.map(|(times, at)| (times, at, self.profile.ask_again()))?
            }
            Phase::Asking { tries, again } => (tries, again, &comeback::REPETITIONS[..]),
            Phase::Pausing { .. } | Phase::SigningIn { .. } | Phase::Returning { .. } => return None,
        };
        again.checked_sub(repetitions.iter().take(times).sum())
    }

    /// The network may have changed: asks at once where we are.
    pub fn handle_network_change(&mut self, now: Instant) {
        let (wishes, again) = (self.wishes(now), now + first(self.profile.ask_again()));
        match (&mut self.active, self.phase) {
            (Some(active), Phase::Registered) => {
                let just_asked = |(tries, at): (usize, Instant)| tries == 1 && at + SAME_MOMENT > again;
                if !active.asked.is_some_and(just_asked) {
                    active.ask(wishes, 1, again, &mut self.outgoing);
                }
            }
            (Some(_), Phase::Pausing { .. }) => {
                self.pause = FIRST_PAUSE;
                self.phase = Phase::Asking { tries: 0, again: now };
                self.ask_lost(now);
            }
            // Whichever is answered first counts.
            (Some(active), Phase::SigningIn { .. }) => {
                active.keepalive(Wishes { asks: true, ..wishes }, &mut self.outgoing);
            }
            (Some(_), Phase::Asking { .. }) => {
                self.phase = Phase::Asking { tries: 0, again: now };
                self.ask_lost(now);
            }
            (Some(_), Phase::Returning { nonce, token, .. }) => {
                self.phase = Phase::Returning { tries: 0, again: now, nonce, token };
                self.show(now);
            }
            (None, Phase::Pausing { .. }) => {
                self.pause = FIRST_PAUSE;
                self.phase = Phase::Pausing { until: now };
            }
            (None, _) => {}
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.outgoing.pop_front().or_else(|| {
            let active = self.registered_mut()?;
            let payload = active.channel.poll_transmit(now)?;
            active.remember(&payload);
            Some(Transmit { to: active.remote, ttl: None, payload })
        })
    }

    /// The next thing that the driver must know or do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.phase, &self.active) {
            (Phase::Pausing { until } | Phase::SigningIn { until }, _) => Some(until),
            (Phase::Asking { again, .. } | Phase::Returning { again, .. }, _) => Some(again),
            (Phase::Registered, None) => None,
            (Phase::Registered, Some(active)) => {
                let asked = active.asked.map(|(_, again)| again);
                [Some(active.next_keepalive), asked, active.channel.poll_timeout()].into_iter().flatten().min()
            }
        }
    }

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

    fn wishes(&self, now: Instant) -> Wishes {
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

fn first(repetitions: &[Duration]) -> Duration {
    repetitions.first().copied().unwrap_or_default()
}

/// Whole seconds, at least one.
fn seconds(interval: Duration) -> u16 {
    u16::try_from(interval.as_secs()).unwrap_or(u16::MAX).max(1)
}
