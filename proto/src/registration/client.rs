//! The peer's side of its registration at one rendezvous.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::control::{ChannelFull, Opened, PeerChannel, ToPeer, ToRendezvous};
use crate::datagram::{CONTROL, Header, Transmit};
use crate::keepalive::{self, FromRendezvous};
use crate::registration::{KEEPALIVE_INTERVAL, SignInAnswer};
use crate::seal::{RegistrationSecret, TagKey};

/// Every third keepalive asks for an answer: so a rendezvous that is gone is noticed within three intervals, and two
/// thirds of the answers, which cost it most, are saved.
const ASK_EVERY: u64 = 3;
/// A keepalive that asked and got no answer is repeated after these; then the rendezvous is not there. Together 7 s.
const ASK_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3)];
/// The driver's sign-in ends in success or failure within this, or is taken for failed.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(10);
/// First pause after a failed sign-in; pauses double up to the longest, each shortened at random by up to half, so
/// that a million peers do not return in the same second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Our latest datagrams, control included, that an "unknown slot" may be about: a wave of invitations and some keepalives.
const REMEMBERED_ECHOES: usize = 16;

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
    /// The rendezvous knows us no more, or does not answer; signing in anew follows by itself.
    Unregistered,
    /// The rendezvous says something.
    Control(ToPeer),
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Pausing { until: Instant },
    SigningIn { until: Instant },
    Registered,
}

struct Active {
    remote: SocketAddr,
    slot: u32,
    key: TagKey,
    counter: u64,
    echoes: VecDeque<u64>,
    next_keepalive: Instant,
    /// The unanswered question: how often it was asked, and when to ask again.
    asked: Option<(usize, Instant)>,
    /// Whether a move waits for its confirmation.
    moving: bool,
    observed: SocketAddr,
    channel: PeerChannel,
}

/// One peer's registration at one rendezvous, from its first sign-in through every loss.
pub struct Client {
    interval: Duration,
    phase: Phase,
    pause: Duration,
    active: Option<Active>,
    random: ChaCha12Rng,
    outgoing: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Client {
    /// A registration that begins with a sign-in at once.
    #[must_use]
    pub fn new(seed: [u8; 32], now: Instant) -> Self {
        Self {
            interval: KEEPALIVE_INTERVAL,
            phase: Phase::Pausing { until: now },
            pause: FIRST_PAUSE,
            active: None,
            random: ChaCha12Rng::from_seed(seed),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Seconds between keepalives, for the sign-in request.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Our address as the rendezvous sees it, while registered.
    #[must_use]
    pub fn observed(&self) -> Option<SocketAddr> {
        self.active.as_ref().map(|active| active.observed)
    }

    /// Where the rendezvous is, while registered.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.active.as_ref().map(|active| active.remote)
    }

    /// The sign-in succeeded: `remote` is the rendezvous' address, `secret` is from the TLS exporter.
    pub fn handle_signed_in(
        &mut self,
        remote: SocketAddr,
        answer: &SignInAnswer,
        secret: &RegistrationSecret,
        now: Instant,
    ) {
        match *answer {
            SignInAnswer::Registered { slot, observed, .. } => {
                self.phase = Phase::Registered;
                self.pause = FIRST_PAUSE;
                self.active = Some(Active {
                    remote,
                    slot,
                    key: TagKey::new(secret),
                    counter: 0,
                    echoes: VecDeque::with_capacity(REMEMBERED_ECHOES),
                    next_keepalive: now + self.interval,
                    asked: None,
                    moving: false,
                    observed,
                    channel: PeerChannel::of_peer(secret, slot),
                });
                self.events.push_back(Event::Registered { observed });
            }
            SignInAnswer::Refused { retry_after_s } => {
                self.pause = self.pause.max(Duration::from_secs(retry_after_s.into())).min(LONGEST_PAUSE);
                self.handle_sign_in_failed(now);
            }
        }
    }

    /// The sign-in failed; the next follows after a pause.
    pub fn handle_sign_in_failed(&mut self, now: Instant) {
        if matches!(self.phase, Phase::SigningIn { .. }) {
            self.pause_then_sign_in(now);
        }
    }

    fn pause_then_sign_in(&mut self, now: Instant) {
        let shortened = self.pause.mul_f64(1.0 - f64::from(self.random.next_u32() >> 1) / f64::from(u32::MAX));
        self.phase = Phase::Pausing { until: now + shortened };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn lose(&mut self) {
        if self.active.take().is_some() {
            self.events.push_back(Event::Unregistered);
        }
    }

    /// Takes one of Knothole's datagrams that came from `from`.
    pub fn handle_datagram(&mut self, from: SocketAddr, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_mut().filter(|active| active.remote == from && active.slot == header.slot)
        else {
            return;
        };
        if header.kind == CONTROL {
            match active.channel.handle(header, datagram) {
                Opened::Fresh(Some(ToPeer::Closing)) => {
                    // The acknowledgement is the last that goes this way.
                    while let Some(payload) = active.channel.poll_transmit(now) {
                        active.transmit(payload, &mut self.outgoing);
                    }
                    self.lose();
                    self.pause_then_sign_in(now);
                }
                Opened::Fresh(Some(message)) => self.events.push_back(Event::Control(message)),
                Opened::Fresh(None) | Opened::Repeated | Opened::Invalid => {}
            }
            return;
        }
        match keepalive::parse_from_rendezvous(&active.key, header, datagram) {
            Some(FromRendezvous::Observed { counter, address }) if counter <= active.counter => {
                // An answer to nothing is a replay.
                let expected = active.asked.take().is_some() || std::mem::take(&mut active.moving);
                if expected && active.observed != address {
                    active.observed = address;
                    self.events.push_back(Event::Registered { observed: address });
                }
            }
            Some(FromRendezvous::Challenge { token }) => {
                active.counter += 1;
                active.moving = true;
                let payload = keepalive::moved(&active.key, active.slot, active.counter, token);
                active.transmit(payload, &mut self.outgoing);
            }
            Some(FromRendezvous::UnknownSlot { echo }) if active.echoes.contains(&echo) => {
                self.lose();
                self.phase = Phase::Pausing { until: now };
            }
            _ => {}
        }
    }

    /// Says something to the rendezvous.
    ///
    /// # Errors
    /// [`ChannelFull`] while not registered, or when too much is unacknowledged.
    pub fn send(&mut self, message: ToRendezvous, now: Instant) -> Result<(), ChannelFull> {
        self.active.as_mut().ok_or(ChannelFull)?.channel.send(message, now)
    }

    /// Whether the rendezvous has acknowledged all that was said.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.channel.is_idle())
    }

    /// Since when we have been asking where we are, if no answer has come yet.
    #[must_use]
    pub fn unanswered_since(&self) -> Option<Instant> {
        let (times, again) = self.active.as_ref()?.asked?;
        again.checked_sub(ASK_AGAIN.iter().take(times).sum())
    }

    /// The network may have changed: asks at once where we are.
    pub fn handle_network_change(&mut self, now: Instant) {
        match (&mut self.active, self.phase) {
            (Some(active), _) => active.ask(0, now, &mut self.outgoing),
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
            let active = self.active.as_mut()?;
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
            Phase::Pausing { until } if until <= now => {
                self.phase = Phase::SigningIn { until: now + SIGN_IN_PATIENCE };
                self.events.push_back(Event::SignIn);
            }
            Phase::SigningIn { until } if until <= now => self.handle_sign_in_failed(now),
            Phase::Registered => self.keep_alive(now),
            _ => {}
        }
    }

    fn keep_alive(&mut self, now: Instant) {
        let Some(active) = self.active.as_mut() else { return };
        active.channel.handle_timeout(now);
        // A control message that nobody acknowledges is a reason to ask whether anybody is there.
        if active.channel.take_lost() && active.asked.is_none() {
            active.ask(0, now, &mut self.outgoing);
        }
        match active.asked {
            Some((tries, again)) if again <= now && tries >= ASK_AGAIN.len() => {
                self.lose();
                self.phase = Phase::Pausing { until: now };
                return;
            }
            Some((tries, again)) if again <= now => active.ask(tries, now, &mut self.outgoing),
            _ => {}
        }
        if active.next_keepalive <= now {
            active.next_keepalive = now + self.interval;
            if active.asked.is_none() && (active.counter + 1).is_multiple_of(ASK_EVERY) {
                active.ask(0, now, &mut self.outgoing);
            } else {
                active.keepalive(false, &mut self.outgoing);
            }
        }
    }
}

impl Active {
    fn ask(&mut self, tries: usize, now: Instant, outgoing: &mut VecDeque<Transmit>) {
        let wait = ASK_AGAIN.get(tries).copied().unwrap_or(Duration::ZERO);
        self.asked = Some((tries + 1, now + wait));
        self.keepalive(true, outgoing);
    }

    fn keepalive(&mut self, asks: bool, outgoing: &mut VecDeque<Transmit>) {
        self.counter += 1;
        let payload = keepalive::keepalive(&self.key, self.slot, self.counter, asks);
        self.transmit(payload, outgoing);
    }

    fn transmit(&mut self, payload: Vec<u8>, outgoing: &mut VecDeque<Transmit>) {
        self.remember(&payload);
        outgoing.push_back(Transmit { to: self.remote, ttl: None, payload });
    }

    fn remember(&mut self, datagram: &[u8]) {
        if self.echoes.len() == REMEMBERED_ECHOES {
            self.echoes.pop_front();
        }
        self.echoes.extend(keepalive::echo(datagram));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::server::{Challenger, Outcome, Registration};

    const RENDEZVOUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 3478);
    const SLOT: u32 = 4;

    fn observed(port: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 1], port))
    }

    struct World {
        client: Client,
        server: Registration,
        challenger: Challenger,
        now: Instant,
    }

    fn registered() -> World {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let mut client = Client::new([1; 32], now);
        client.handle_timeout(now);
        assert_eq!(client.poll_event(), Some(Event::SignIn));
        let secret = RegistrationSecret([2; 32]);
        let answer = SignInAnswer::Registered { slot: SLOT, lifetime_s: 40, observed: observed(1) };
        client.handle_signed_in(RENDEZVOUS, &answer, &secret, now);
        assert_eq!(client.poll_event(), Some(Event::Registered { observed: observed(1) }));
        let peer = crate::identity::PeerId::new([3; 32]);
        let server = Registration::new(peer, &secret, observed(1), Duration::from_secs(40), now);
        World { client, server, challenger: Challenger::new([4; 16], now), now }
    }

    impl World {
        /// Advances to the next deadline and returns what the client sends then.
        fn advance(&mut self) -> Vec<Transmit> {
            self.now = self.client.poll_timeout().unwrap().max(self.now);
            self.client.handle_timeout(self.now);
            std::iter::from_fn(|| self.client.poll_transmit(self.now)).collect()
        }

        /// Lets the server have a datagram that seems to come from this port, and the client have its answer.
        fn exchange(&mut self, transmit: &Transmit, port: u16) {
            let header = Header::parse(&transmit.payload).unwrap();
            let outcome = self.server.handle(header, &transmit.payload, observed(port), self.now, &self.challenger);
            if let Outcome::Answer(answer) | Outcome::Challenge(answer) | Outcome::Moved(answer) = outcome {
                self.client.handle_datagram(RENDEZVOUS, Header::parse(&answer).unwrap(), &answer, self.now);
            }
        }
    }

    #[test]
    fn keepalives_come_every_interval_and_each_third_is_answered() {
        let mut world = registered();
        let start = world.now;
        for n in 1..=9 {
            let sent = world.advance();
            assert_eq!(sent.len(), 1);
            assert_eq!(world.now, start + KEEPALIVE_INTERVAL * n);
            assert_eq!(world.client.active.as_ref().unwrap().asked.is_some(), n % 3 == 0, "keepalive {n}");
            world.exchange(&sent[0], 1);
        }
        assert_eq!(world.client.poll_event(), None);
    }

    #[test]
    fn it_is_known_since_when_a_question_is_unanswered() {
        let mut world = registered();
        world.client.handle_network_change(world.now);
        let (asked, first) = (world.now, world.client.poll_transmit(world.now).unwrap());
        for _ in 0..3 {
            assert_eq!(world.client.unanswered_since(), Some(asked));
            world.advance();
        }
        world.exchange(&first, 1);
        assert_eq!(world.client.unanswered_since(), None);
    }

    #[test]
    fn a_new_mapping_moves_the_registration_within_one_keepalive() {
        let mut world = registered();
        let sent = world.advance();
        world.exchange(&sent[0], 2);
        let answer = world.client.poll_transmit(world.now).unwrap();
        world.exchange(&answer, 2);
        assert_eq!(world.client.poll_event(), Some(Event::Registered { observed: observed(2) }));
        assert_eq!(world.server.address(), observed(2));
    }

    #[test]
    fn a_rendezvous_that_does_not_answer_is_left_within_three_intervals_and_seven_seconds() {
        let mut world = registered();
        let start = world.now;
        while world.client.poll_event() != Some(Event::Unregistered) {
            world.advance();
        }
        assert!(world.now - start <= KEEPALIVE_INTERVAL * 3 + Duration::from_secs(7));
        world.advance();
        assert_eq!(world.client.poll_event(), Some(Event::SignIn));
    }

    #[test]
    fn an_unknown_slot_is_believed_only_with_the_echo_of_what_was_sent() {
        let mut world = registered();
        let sent = world.advance();
        let forged = keepalive::unknown_slot(SLOT, &[0; 32]).unwrap();
        world.client.handle_datagram(RENDEZVOUS, Header::parse(&forged).unwrap(), &forged, world.now);
        assert_eq!(world.client.poll_event(), None);
        let error = keepalive::unknown_slot(SLOT, &sent[0].payload).unwrap();
        world.client.handle_datagram(RENDEZVOUS, Header::parse(&error).unwrap(), &error, world.now);
        assert_eq!(world.client.poll_event(), Some(Event::Unregistered));
        world.advance();
        assert_eq!(world.client.poll_event(), Some(Event::SignIn), "at once, without a pause");
    }

    #[test]
    fn failed_sign_ins_pause_longer_and_longer_up_to_a_minute() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let mut now = Instant::now();
        let mut client = Client::new([1; 32], now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let due = client.poll_timeout().unwrap();
            pauses.push(due - now);
            now = due;
            client.handle_timeout(now);
            assert_eq!(client.poll_event(), Some(Event::SignIn));
            client.handle_sign_in_failed(now);
        }
        assert_eq!(pauses[0], Duration::ZERO);
        assert!(pauses[1] <= FIRST_PAUSE && pauses[1] >= FIRST_PAUSE / 2);
        assert!(pauses[11] <= LONGEST_PAUSE && pauses[11] >= LONGEST_PAUSE / 2);
    }
}
