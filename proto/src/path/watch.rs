//! Watching over the selected path: consent while it is idle (RFC 7675), and quick checks when the owner is in doubt.

use std::time::{Duration, Instant};

/// Before the first repetition of an unanswered consent check; it doubles: 15, 16, 18 and 22 s, so that three may be lost.
const CONSENT_REPETITION: Duration = Duration::from_secs(1);
/// Quick checks in distress: with 10 % loss each way a living path fails them all once in 770 times.
const QUICK_CHECKS: u8 = 4;
/// The least gap between quick checks, so that one burst of loss does not take them all.
const QUICK_GAP: Duration = Duration::from_millis(50);
/// The least time in which a quick check may be answered: a wireless link that wakes up takes 300 ms.
const QUICK_DEADLINE: Duration = Duration::from_millis(400);

/// What is to be done about the selected path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Nothing,
    Check,
    GiveUp,
}

/// The timers of the selected path.
pub(super) struct Watch {
    /// After this much silence consent has expired (RFC 7675 section 5.1).
    expiry: Duration,
    consent: Instant,
    /// When the first check went out that nothing was heard after.
    asked: Option<Instant>,
    repetitions: u32,
    distress: Option<Distress>,
}

struct Distress {
    next: Instant,
    gap: Duration,
    left: u8,
    deadline: Instant,
}

impl Watch {
    pub(super) fn new(interval: Duration, expiry: Duration, now: Instant) -> Self {
        Self { expiry, consent: now + interval, asked: None, repetitions: 0, distress: None }
    }

    /// The owner is in doubt. Doubting again changes nothing.
    pub(super) fn doubt(&mut self, rtt: Duration, now: Instant) {
        let patience = (rtt * 3).max(QUICK_DEADLINE);
        // All four go out in the first three quarters, so that three can be answered even at the measured round trip.
        let gap = (rtt * 3 / 2).max(QUICK_GAP).min(patience / 4);
        self.distress.get_or_insert(Distress { next: now, gap, left: QUICK_CHECKS, deadline: now + patience });
    }

    /// Whether quick checks are under way.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.distress.is_some()
    }

    /// A check was answered.
    pub(super) fn answered(&mut self) {
        self.distress = None;
    }

    /// What is due, one thing at a time: call again until there is nothing. `heard` is when anything was last heard on the
    /// path, `interval` the next jittered interval of consent checks.
    pub(super) fn handle_timeout(&mut self, heard: Instant, interval: Duration, now: Instant) -> Duty {
        if now >= heard + self.expiry || self.distress.as_ref().is_some_and(|distress| now >= distress.deadline) {
            return Duty::GiveUp;
        }
        if let Some(distress) = &mut self.distress
            && distress.left > 0
            && now >= distress.next
        {
            distress.left -= 1;
            distress.next = now + distress.gap;
            return Duty::Check;
        }
        if now < self.consent {
            return Duty::Nothing;
        }
        if self.asked.is_some_and(|asked| heard >= asked) {
            self.asked = None;
            self.repetitions = 0;
        }
        if self.asked.is_none() && heard + interval > now {
            self.consent = heard + interval;
            return Duty::Nothing;
        }
        self.asked.get_or_insert(now);
        self.consent = now + CONSENT_REPETITION * (1 << self.repetitions.min(4));
        self.repetitions += 1;
        Duty::Check
    }

    pub(super) fn poll_timeout(&self, heard: Instant) -> Instant {
        let quick = self.distress.iter().map(|d| if d.left > 0 { d.next.min(d.deadline) } else { d.deadline });
        quick.fold(self.consent.min(heard + self.expiry), Instant::min)
    }
}
