//! The peer's side of its registration at one rendezvous.

mod active;
mod comeback;
mod incoming;
#[cfg(test)]
mod tests;
mod timeouts;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::control::{ChannelFull, ToPeer, ToRendezvous};
use crate::datagram::Transmit;
use crate::keepalive::Wishes;
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
    unseen: bool,
    registrations: u64,
    returned: bool,
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
            unseen: false,
            registrations: 0,
            returned: false,
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
        self.registrations += 1;
        self.returned = matches!(self.phase, Phase::Returning { .. });
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

    /// Says something to the rendezvous; the message's number is for [`is_outstanding`](Self::is_outstanding).
    ///
    /// # Errors
    /// [`ChannelFull`] while not registered, or when too much is unacknowledged.
    pub fn send(&mut self, message: ToRendezvous, now: Instant) -> Result<u64, ChannelFull> {
        self.registered_mut().ok_or(ChannelFull)?.channel.send(message, now)
    }

    /// Numbers our registrations: another number, another registration, of which the rendezvous knows nothing but that.
    #[must_use]
    pub const fn registration(&self) -> u64 {
        self.registrations
    }

    /// Whether the latest registration came about by our ticket.
    #[must_use]
    pub const fn has_returned(&self) -> bool {
        self.returned
    }

    /// Whether the message of this number, of the present registration, is on its way: neither acknowledged nor given up.
    #[must_use]
    pub fn is_outstanding(&self, number: u64) -> bool {
        self.registered().is_some_and(|active| active.channel.is_outstanding(number))
    }

    /// Registers as one who is away for all whom it has not named, from the next registration on.
    pub const fn set_unseen(&mut self, unseen: bool) {
        self.unseen = unseen;
    }

    /// Whether it does.
    #[must_use]
    pub const fn is_unseen(&self) -> bool {
        self.unseen
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

    /// Something that went through the rendezvous was not answered: asks whether it is there, unless it is being asked
    /// already. To begin anew each time would never come to an end.
    pub fn handle_doubt(&mut self, now: Instant) {
        if self.registered().is_some_and(|active| active.asked.is_none()) {
            self.handle_network_change(now);
        }
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
}

fn first(repetitions: &[Duration]) -> Duration {
    repetitions.first().copied().unwrap_or_default()
}

/// Whole seconds, at least one.
fn seconds(interval: Duration) -> u16 {
    u16::try_from(interval.as_secs()).unwrap_or(u16::MAX).max(1)
}
