//! When to invite a contact, and when to take an invitation up: both sides of one contact's introductions.
//!
//! The machine does not know rendezvous, addresses or keys; it decides *when*, its owner says *what* to *whom*.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::candidate::IntroductionId;

/// An invitation that nobody answers is over after this: the control channel is at its last repetition then.
const PATIENCE: Duration = Duration::from_secs(11);
/// First pause after an invitation that led nowhere; pauses double up to the longest, ± 20 % by chance. The contact
/// invites us when it comes back, so that a long pause costs nothing but the rare case that both invitations failed.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// However impatient the owner, two invitations are this far apart.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Invitations from one contact that are taken up in quick succession, each worth a round of checks …
const ACCEPT_BURST: u32 = 8;
/// … and how long it takes to earn another.
const ACCEPT_INTERVAL: Duration = Duration::from_secs(2);

/// What the owner must do or know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Send an invitation with this name through the rendezvous; then report what came of it.
    Invite {
        /// Its name.
        introduction: IntroductionId,
        /// Whether somebody waits for it: then what is to be said may follow close behind. False where we ask again by
        /// ourselves.
        eager: bool,
    },
    /// The latest invitation was not answered.
    Unanswered,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing is wanted, or the contact is reached.
    Idle,
    /// Wanted, but there is nobody to send an invitation through.
    Waiting,
    /// Wanted, and due at this instant.
    Pausing { until: Instant },
    /// Invited; no answer yet.
    Inviting { introduction: IntroductionId, until: Instant },
    /// Accepted: the checks have until then to find a path.
    Introduced { until: Instant },
}

/// The introductions of one contact.
#[derive(Debug)]
pub struct Invitation {
    phase: Phase,
    eager: bool,
    pause: Duration,
    last: Option<Instant>,
    /// Our latest invitation, until it is taken up.
    outstanding: Option<IntroductionId>,
    /// Full when in the past; each acceptance moves it one interval into the future.
    accepts_again: Option<Instant>,
    random: ChaCha12Rng,
    event: Option<Event>,
}

impl Invitation {
    /// A contact that is not wanted yet.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            phase: Phase::Idle,
            eager: false,
            pause: FIRST_PAUSE,
            last: None,
            outstanding: None,
            accepts_again: None,
            random: ChaCha12Rng::from_seed(seed),
            event: None,
        }
    }

    /// The contact is wanted now: something is to be said, its path died, or a person asks. Ends a pause.
    pub fn invite(&mut self, now: Instant) {
        self.eager = true;
        self.invite_soon(now);
    }

    /// Ends a pause without anybody having asked for it anew.
    pub fn invite_soon(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Idle | Phase::Waiting | Phase::Pausing { .. }) {
            let earliest = self.last.map_or(now, |last| now.max(last + SHORTEST_INTERVAL));
            self.phase = Phase::Pausing { until: earliest };
        }
    }

    /// What the contact was told with the last invitation is not so any more: another goes out, also in the middle of
    /// checks. Not while one is out or due: call again when that is over.
    pub fn renew(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Idle | Phase::Introduced { .. }) {
            self.phase = Phase::Idle;
            self.invite(now);
        }
    }

    /// Whether an invitation is out, or checks follow from one.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Inviting { .. } | Phase::Introduced { .. })
    }

    /// Whether the contact is wanted and nothing is under way to reach it: `invite` would begin something.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Pausing { .. })
    }

    /// Whether the contact was asked for in vain, and is to be asked again by and by: nobody has wanted it anew.
    #[must_use]
    pub const fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Pausing { .. }) && !self.eager
    }

    /// Whether an invitation is out and unanswered.
    #[must_use]
    pub const fn is_inviting(&self) -> bool {
        matches!(self.phase, Phase::Inviting { .. })
    }

    /// Whether the invitation of this name is out and unanswered.
    #[must_use]
    pub fn is_inviting_by(&self, name: IntroductionId) -> bool {
        matches!(self.phase, Phase::Inviting { introduction, .. } if introduction == name)
    }

    /// Whether our latest invitation has not been taken up, or not yet.
    #[must_use]
    pub const fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    /// The invitation could not be sent, for no rendezvous knows us. `invite` is to be called when one does.
    pub fn handle_unsent(&mut self) {
        self.phase = Phase::Waiting;
        self.last = None;
    }

    /// The contact took our invitation up. `false` if we sent none of this name: then nothing may follow from it. It counts
    /// also when the contact was reached in the meantime, by an invitation of its own.
    pub fn handle_accepted(&mut self, introduction: IntroductionId, now: Instant) -> bool {
        if self.outstanding.take_if(|ours| *ours == introduction).is_none() {
            return false;
        }
        if matches!(self.phase, Phase::Inviting { .. }) {
            self.phase = Phase::Introduced { until: now + PATIENCE };
        }
        true
    }

    /// The contact is absent, or the rendezvous refused. `false` if we sent no invitation of this name.
    pub fn handle_declined(&mut self, introduction: IntroductionId, now: Instant) -> bool {
        match self.phase {
            Phase::Inviting { introduction: ours, .. } if ours == introduction => {
                self.pause(now);
                true
            }
            _ => false,
        }
    }

    /// The contact invites us. `true`: accept; `false`: it did so too often.
    pub fn handle_invited(&mut self, now: Instant) -> bool {
        let from = self.accepts_again.map_or(now, |at| at.max(now));
        if from.duration_since(now) >= ACCEPT_INTERVAL * ACCEPT_BURST {
            return false;
        }
        self.accepts_again = Some(from + ACCEPT_INTERVAL);
        // Its invitation serves as well as ours would; ours, if out, goes on and harms nothing.
        if self.is_waiting() {
            self.phase = Phase::Introduced { until: now + PATIENCE };
        }
        true
    }

    /// There is a path.
    pub fn handle_reached(&mut self) {
        self.phase = Phase::Idle;
        self.pause = FIRST_PAUSE;
    }

    /// The checks found none.
    pub fn handle_unreachable(&mut self, now: Instant) {
        if !self.is_waiting() {
            self.pause(now);
        }
    }

    /// The contact is wanted no more.
    pub fn cancel(&mut self) {
        self.phase = Phase::Idle;
        self.outstanding = None;
        self.event = None;
    }

    fn pause(&mut self, now: Instant) {
        let chance = f64::from(self.random.next_u32()) / f64::from(u32::MAX);
        self.phase = Phase::Pausing { until: now + self.pause.mul_f64(0.8 + 0.4 * chance) };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// What the owner must do next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle | Phase::Waiting => None,
            Phase::Pausing { until } | Phase::Inviting { until, .. } | Phase::Introduced { until } => Some(until),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Pausing { until } if until <= now => {
                let mut introduction = [0; 12];
                self.random.fill_bytes(&mut introduction);
                let introduction = IntroductionId(introduction);
                self.phase = Phase::Inviting { introduction, until: now + PATIENCE };
                self.last = Some(now);
                self.outstanding = Some(introduction);
                let eager = std::mem::take(&mut self.eager);
                self.event = Some(Event::Invite { introduction, eager });
            }
            Phase::Inviting { until, .. } if until <= now => {
                self.pause(now);
                self.event = Some(Event::Unanswered);
            }
            Phase::Introduced { until } if until <= now => self.pause(now),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        Instant::now()
    }

    fn next_invitation(invitation: &mut Invitation) -> (Instant, IntroductionId) {
        loop {
            let due = invitation.poll_timeout().unwrap();
            invitation.handle_timeout(due);
            if let Some(Event::Invite { introduction, .. }) = invitation.poll_event() {
                return (due, introduction);
            }
        }
    }

    #[test]
    fn an_invitation_goes_out_at_once_and_rests_when_the_contact_is_reached() {
        let now = now();
        let mut invitation = Invitation::new([1; 32]);
        assert_eq!(invitation.poll_timeout(), None);
        invitation.invite(now);
        let (at, introduction) = next_invitation(&mut invitation);
        assert_eq!(at, now);
        assert!(!invitation.handle_accepted(IntroductionId([0; 12]), now), "not one of ours");
        assert!(invitation.handle_accepted(introduction, now));
        invitation.handle_reached();
        assert_eq!(invitation.poll_timeout(), None);
    }

    #[test]
    fn an_absent_contact_is_asked_for_more_and_more_rarely_but_at_once_when_wanted_anew() {
        let start = now();
        let mut invitation = Invitation::new([1; 32]);
        invitation.invite(start);
        let mut at = start;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let (due, introduction) = next_invitation(&mut invitation);
            pauses.push(due - at);
            at = due;
            assert!(invitation.handle_declined(introduction, at));
        }
        assert!(pauses[1] >= FIRST_PAUSE.mul_f64(0.8) && pauses[1] <= FIRST_PAUSE.mul_f64(1.2));
        assert!(pauses[11] >= LONGEST_PAUSE.mul_f64(0.8) && pauses[11] <= LONGEST_PAUSE.mul_f64(1.2));
        invitation.invite(at);
        assert_eq!(next_invitation(&mut invitation).0, at + SHORTEST_INTERVAL, "but never twice a second");
    }

    #[test]
    fn an_acceptance_counts_once_also_when_the_contact_was_reached_before_it_came() {
        let now = now();
        let mut invitation = Invitation::new([1; 32]);
        invitation.invite(now);
        let (_, introduction) = next_invitation(&mut invitation);
        invitation.handle_reached();
        assert!(invitation.handle_accepted(introduction, now));
        assert!(!invitation.handle_accepted(introduction, now));
        assert_eq!(invitation.poll_timeout(), None);
    }

    #[test]
    fn what_could_not_be_sent_goes_out_as_soon_as_there_is_a_way() {
        let start = now();
        let mut invitation = Invitation::new([1; 32]);
        invitation.invite(start);
        next_invitation(&mut invitation);
        invitation.handle_unsent();
        assert!(invitation.is_waiting());
        assert_eq!(invitation.poll_timeout(), None);
        let later = start + Duration::from_millis(120);
        invitation.invite(later);
        assert_eq!(next_invitation(&mut invitation).0, later);
    }

    #[test]
    fn an_unanswered_invitation_is_sent_again() {
        let start = now();
        let mut invitation = Invitation::new([1; 32]);
        invitation.invite(start);
        let (_, first) = next_invitation(&mut invitation);
        let (at, second) = next_invitation(&mut invitation);
        assert_ne!(first, second);
        assert!(at - start >= PATIENCE);
    }

    #[test]
    fn only_an_invitation_that_somebody_waits_for_is_eager() {
        let start = now();
        let mut invitation = Invitation::new([1; 32]);
        let eager = |invitation: &mut Invitation| {
            invitation.handle_timeout(invitation.poll_timeout().unwrap());
            invitation.poll_event().unwrap()
        };
        invitation.invite(start);
        assert!(matches!(eager(&mut invitation), Event::Invite { eager: true, .. }));
        assert_eq!(eager(&mut invitation), Event::Unanswered);
        assert!(matches!(eager(&mut invitation), Event::Invite { eager: false, .. }), "we ask again by ourselves");
        assert_eq!(eager(&mut invitation), Event::Unanswered);
        invitation.invite(start);
        assert!(matches!(eager(&mut invitation), Event::Invite { eager: true, .. }));
    }

    #[test]
    fn a_contact_that_invites_without_end_is_not_followed_without_end() {
        let now = now();
        let mut invitation = Invitation::new([1; 32]);
        let accepted = (0..1000).filter(|_| invitation.handle_invited(now)).count();
        assert_eq!(accepted, ACCEPT_BURST as usize);
        assert!(invitation.handle_invited(now + ACCEPT_INTERVAL));
        assert!(!invitation.handle_invited(now + ACCEPT_INTERVAL));
    }
}
