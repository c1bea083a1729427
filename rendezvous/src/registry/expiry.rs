//! When to look at a slot again: a timing wheel of one-second ticks that a keepalive never touches.
//!
//! A slot is armed for when it would expire, and looked at then; if a keepalive came meanwhile, it is armed anew. So a
//! registration is looked at once a lifetime, however often it is kept alive. Whether a registration *has* expired is
//! told by its own time, exactly; the wheel only frees what nobody may use any more.

use std::time::{Duration, Instant};

use knothole_proto::registration::LONGEST_LIFETIME_S;

/// How late a slot may come free. A tick of a full rendezvous looks at some 30,000 slots, a few milliseconds.
const TICK: Duration = Duration::from_secs(1);
/// Ticks in a turn: above the longest lifetime, so that every slot is armed within one turn.
const TURN: usize = 2048;
const _: () = assert!(TURN > LONGEST_LIFETIME_S as usize + 2);

/// The end of a list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Wheel {
    start: Instant,
    /// All ticks before this one have been worked off.
    tick: u64,
    /// The first slot of each tick's list.
    heads: Vec<u32>,
    /// The slot after each slot in its list. A slot is in one list at most.
    next: Vec<u32>,
    /// How many slots are in lists.
    armed: usize,
    /// No list before this tick's has a slot in it.
    earliest: u64,
}

impl Wheel {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, tick: 0, heads: vec![NONE; TURN], next: Vec::new(), armed: 0, earliest: 0 }
    }

    /// Arms a slot that is not armed for the first tick at or after `when`.
    pub(super) fn arm(&mut self, slot: u32, when: Instant) {
        let after = when.saturating_duration_since(self.start);
        let tick = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        let tick = tick.clamp(self.tick, self.tick + TURN as u64 - 1);
        let index = slot as usize;
        if self.next.len() <= index {
            self.next.resize(index + 1, NONE);
        }
        if let (Some(head), Some(next)) = (self.heads.get_mut(position(tick)), self.next.get_mut(index)) {
            *next = std::mem::replace(head, slot);
            self.earliest = if self.armed == 0 { tick } else { self.earliest.min(tick) };
            self.armed += 1;
        }
    }

    /// The next slot that is due; it is armed no more.
    pub(super) fn due(&mut self, now: Instant) -> Option<u32> {
        let passed = now.saturating_duration_since(self.start).as_secs() / TICK.as_secs();
        if self.armed == 0 {
            self.tick = self.tick.max(passed);
            return None;
        }
        self.tick = self.tick.max(self.earliest.min(passed));
        while self.tick <= passed {
            let head = self.heads.get_mut(position(self.tick))?;
            if *head != NONE {
                let slot = *head;
                *head = self.next.get(slot as usize).copied().unwrap_or(NONE);
                self.armed -= 1;
                return Some(slot);
            }
            self.tick += 1;
        }
        if self.earliest < self.tick {
            self.earliest = self.first_armed();
        }
        None
    }

    fn first_armed(&self) -> u64 {
        let armed = |tick: &u64| self.heads.get(position(*tick)).is_some_and(|head| *head != NONE);
        (self.tick..self.tick + TURN as u64).find(armed).unwrap_or(self.tick)
    }

    /// When `due` has something to say at the earliest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.armed > 0).then(|| self.start + Duration::from_secs(self.earliest.max(self.tick)))
    }
}

fn position(tick: u64) -> usize {
    // The remainder is below TURN.
    (tick % TURN as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        Instant::now()
    }

    fn all_due(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| wheel.due(now)).collect()
    }

    #[test]
    fn a_slot_is_due_at_its_time_never_before_and_at_most_a_tick_late() {
        let start = start();
        let mut wheel = Wheel::new(start);
        for (slot, ms) in [(0, 1_000), (1, 40_000), (2, 40_001), (3, 1_200_000)] {
            wheel.arm(slot, start + Duration::from_millis(ms));
        }
        let mut seen = Vec::new();
        while let Some(at) = wheel.poll_timeout() {
            for slot in all_due(&mut wheel, at) {
                seen.push((slot, (at - start).as_secs()));
            }
        }
        assert_eq!(seen, [(0, 1), (1, 40), (2, 41), (3, 1_200)]);
    }

    #[test]
    fn many_turns_and_long_silences_lose_nothing() {
        let start = start();
        let mut wheel = Wheel::new(start);
        let mut now = start;
        for round in 0..50_u32 {
            wheel.arm(round, now + Duration::from_secs(u64::from(round) * 24));
            now += Duration::from_secs(u64::from(round % 7) * 1_000);
            for slot in all_due(&mut wheel, now) {
                wheel.arm(slot, now + Duration::from_secs(100));
            }
        }
        let mut last = all_due(&mut wheel, now + Duration::from_secs(2_000));
        last.sort_unstable();
        assert_eq!(last, (0..50).collect::<Vec<_>>());
        assert_eq!(wheel.poll_timeout(), None);
    }

    #[test]
    fn what_is_armed_for_the_past_is_due_at_once() {
        let start = start();
        let mut wheel = Wheel::new(start);
        let now = start + Duration::from_secs(100);
        assert_eq!(wheel.due(now), None);
        wheel.arm(5, start + Duration::from_secs(3));
        assert_eq!(all_due(&mut wheel, now), [5]);
    }
}
