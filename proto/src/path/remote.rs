//! One remote address as it is reached from one base: what is known of it, and the series of checks that is running to it.

use std::time::{Duration, Instant};

use super::round::ROUND;
use super::{Base, Pair};
use crate::candidate::{Candidate, CandidateKind, IntroductionId, is_private};

/// The gap before the first repetition: about a round trip across a continent, so that most answers come before it.
const FIRST_GAP: Duration = Duration::from_millis(40);
/// The longest gap: a path that opens late (the other side was slow) is still found within a second.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// Openers to an address: the second is for the case that the first is lost. They die on the way, so no third is needed
/// to be heard.
const OPENERS: u8 = 2;
/// Between the openers: apart enough not to be dropped by the same full queue.
const OPENER_GAP: Duration = Duration::from_millis(5);
/// A check that is triggered sooner than this after the last one would only double it.
const TRIGGER_GAP: Duration = Duration::from_millis(20);
/// Checks in a series to a named candidate: the growing gaps need 16 in ten seconds, two openers come before them, and
/// each triggered check restarts the gaps.
pub(super) const SENDS: u8 = 24;
/// Checks in a series that only a check from that address began. It is answered within a round trip or not at all, and a
/// hostile contact can forge sources: 8 checks span 1.7 s.
pub(super) const TRIGGERED_SENDS: u8 = 8;

/// Looks at a private path that seemed slower, each after twice the time of the one before: 16 s in all, longer than a machine is
/// busy with a start, and six checks are cheap beside a router in the way for good.
const LOOKS: u8 = 6;
/// Before the first of them.
const LOOK_GAP: Duration = Duration::from_millis(250);

/// A remote address, reached from one base.
pub(super) struct Remote {
    pub(super) base: Base,
    pub(super) candidate: Candidate,
    pub(super) series: Option<Series>,
    /// When it last answered a check of ours, which makes it valid; `None` before that, and after it was lost.
    pub(super) answered: Option<Instant>,
    /// When anything authenticated last came from it.
    pub(super) heard: Option<Instant>,
    /// The introduction under which it was last heard: the other side surely knows that one.
    pub(super) proven: Option<IntroductionId>,
    pub(super) rtt: Option<Duration>,
    /// How often it was looked at again although it had seemed slower than the path in use.
    looks: u8,
    /// When the next of those looks is due.
    look: Option<Instant>,
    /// Whether the owner was told to admit it.
    pub(super) admitted: bool,
}

impl Remote {
    pub(super) fn new(base: Base, candidate: Candidate) -> Self {
        Self {
            base,
            candidate,
            series: None,
            answered: None,
            heard: None,
            proven: None,
            rtt: None,
            looks: 0,
            look: None,
            admitted: false,
        }
    }

    pub(super) const fn pair(&self) -> Pair {
        Pair::new(self.base, self.candidate.address)
    }

    /// Begins a series of checks at this time, or gives the running one a new start without crowding its last check.
    pub(super) fn begin(&mut self, budget: u8, at: Instant) {
        let first_gap = self.rtt.map_or(FIRST_GAP, |rtt| (rtt * 3 / 2).clamp(FIRST_GAP, LONGEST_GAP));
        let last = self.series.as_ref().and_then(|series| series.last);
        let next = last.map_or(at, |last| at.max(last + first_gap));
        self.series = Some(Series { budget, openers: 0, step: 0, first_gap, next, last, until: at + ROUND });
    }

    /// Has it checked once more after a while, as long as that was not done often: one slow answer may be a busy machine's.
    pub(super) fn look_again(&mut self, now: Instant) {
        // Answers to checks of before change nothing.
        let due = match self.look {
            Some(due) => due,
            None if self.looks == LOOKS => return,
            None => {
                self.looks += 1;
                now + LOOK_GAP * (1 << (self.looks - 1))
            }
        };
        self.look = Some(due);
        self.begin(TRIGGERED_SENDS, due);
    }

    /// Takes one sample of the round trip, smoothed as in RFC 6298 section 2; that of another look counts alone, for it is
    /// to correct one that was not believed.
    pub(super) fn measure(&mut self, sample: Duration, now: Instant) {
        let afresh = self.look.take_if(|due| *due <= now).is_some();
        let former = self.rtt.filter(|_| !afresh);
        self.rtt = Some(former.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
    }

    /// Whether openers must precede a check: the address is that of somebody's NAT.
    pub(super) fn needs_opener(&self) -> bool {
        let behind_nat = matches!(self.candidate.kind, CandidateKind::ServerReflexive | CandidateKind::PortMapped);
        behind_nat && !is_private(self.candidate.address.ip())
    }
}

/// A series of checks to one address, with gaps that grow.
pub(super) struct Series {
    budget: u8,
    openers: u8,
    step: u32,
    first_gap: Duration,
    next: Instant,
    last: Option<Instant>,
    pub(super) until: Instant,
}

impl Series {
    /// When the next check is due, if only openers may be sent until `opens`.
    pub(super) fn due(&self, opens: Option<Instant>) -> Instant {
        let next = match opens {
            _ if self.budget == 0 => self.until,
            Some(opens) if self.openers >= OPENERS => self.next.max(opens),
            _ => self.next,
        };
        next.min(self.until)
    }

    /// Notes that a check goes out.
    pub(super) fn sent(&mut self, opener: bool, now: Instant) {
        self.budget = self.budget.saturating_sub(1);
        self.last = Some(now);
        if opener {
            self.openers += 1;
            self.next = now + OPENER_GAP;
        } else {
            // Fixed point, so that every machine computes the same: 1.6 = 8/5, and 8 steps pass the longest gap.
            let gap = (0..self.step.min(8)).fold(self.first_gap, |gap, _| gap * 8 / 5);
            self.next = now + gap.min(LONGEST_GAP);
            self.step += 1;
        }
    }

    /// Brings the next check forward: the other side was heard from this address.
    pub(super) fn trigger(&mut self, now: Instant) {
        if self.last.is_none_or(|last| last + TRIGGER_GAP <= now) {
            self.next = now;
            self.step = 0;
        }
    }

    /// Whether an odd number of checks went out: those are the turns of the second key, if there are two.
    pub(super) fn is_odd(&self) -> bool {
        self.step % 2 == 1
    }

    /// Whether nothing went out yet: first checks precede repetitions.
    pub(super) fn is_new(&self) -> bool {
        self.last.is_none()
    }
}
