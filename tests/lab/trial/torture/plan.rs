//! What is done to two peers and their rendezvous, and when: all of it from a seed.

use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::NAMES;

/// A blow is delayed by up to this after its moment has come, so that it does not always follow a message.
const DELAY_MS: u32 = 300;

/// Who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// Alice's process, or Bob's.
    Peer(usize),
    Rendezvous,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// `kill -9`, and a new start at once.
    Kill(Victim),
    /// The devices of some get other addresses.
    Move(&'static [usize]),
    /// A peer's disk is full until it has refused some messages, and in the middle of it the peer may be killed.
    FullDisk { side: usize, killed: bool },
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(Victim::Peer(side)) => write!(f, "kill {}", NAMES[*side]),
            Self::Kill(Victim::Rendezvous) => f.write_str("kill rendezvous"),
            Self::Move(sides) => {
                let names: Vec<_> = sides.iter().map(|side| NAMES[*side]).collect();
                write!(f, "move {}", names.join(" and "))
            }
            Self::FullDisk { side, killed: false } => write!(f, "fill disk of {}", NAMES[*side]),
            Self::FullDisk { side, killed: true } => write!(f, "fill disk of {0}, kill {0}", NAMES[*side]),
        }
    }
}

/// A blow, and the number of messages that both have written when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) written: usize,
    pub(super) delay: Duration,
    pub(super) blow: Blow,
}

/// The blows in order, for so many messages of both together.
pub(super) fn plan(seed: u64, messages: usize, kills: usize) -> Vec<Moment> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut moments = Vec::new();
    let mut at = |low: usize, high: usize, blow: Blow| {
        let share = low + rng.next_u32() as usize % (high - low).max(1);
        let delay = Duration::from_millis((rng.next_u32() % DELAY_MS).into());
        // The extent is in thousandths of all messages.
        moments.push(Moment { written: messages * share / 1000, delay, blow });
    };
    // Each moves, then both in one moment; each disk is full once.
    at(150, 250, Blow::Move(&[0]));
    at(400, 500, Blow::Move(&[1]));
    at(700, 800, Blow::Move(&[0, 1]));
    at(300, 400, Blow::FullDisk { side: 0, killed: false });
    at(550, 650, Blow::FullDisk { side: 1, killed: true });
    let victims = [Victim::Peer(0), Victim::Rendezvous, Victim::Peer(1)];
    let mut choice = ChaCha8Rng::seed_from_u64(seed ^ u64::MAX);
    // The kill in the middle of the full disk is one of them.
    for n in 1..kills {
        // Each once at least; then whomever it hits.
        let victim = if n <= victims.len() { n } else { choice.next_u32() as usize } % victims.len();
        at(20, 980, Blow::Kill(victims[victim]));
    }
    moments.sort_by_key(|moment| moment.written);
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_plan_and_everybody_gets_his_share() {
        let all = plan(7, 20_000, 50);
        assert_eq!(all, plan(7, 20_000, 50));
        assert_ne!(all, plan(8, 20_000, 50));
        let count = |wanted: fn(&Blow) -> bool| all.iter().filter(|moment| wanted(&moment.blow)).count();
        assert_eq!(count(|blow| matches!(blow, Blow::Kill(_) | Blow::FullDisk { killed: true, .. })), 50);
        assert_eq!(count(|blow| matches!(blow, Blow::Move(_))), 3);
        for victim in [Victim::Peer(0), Victim::Peer(1), Victim::Rendezvous] {
            assert!(all.iter().any(|moment| moment.blow == Blow::Kill(victim)), "{victim:?}");
        }
        assert!(all.is_sorted_by_key(|moment| moment.written));
        assert!(all.iter().all(|moment| moment.written < 20_000));
    }
}
