//! What was tried between which networks, and what came of it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::identity::PeerId;

/// Before the next attempt after one, two, and more in vain. What fails twice will most likely fail again, unless somebody's
/// network changes, and then its address does.
const PAUSES: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(30 * 60)];
/// After so many in vain there is none any more between these two addresses.
const MAX_IN_VAIN: u8 = 6;
/// Pairs of networks remembered, the latest: some contacts, each at home, at work and on the way.
const MAX_REMEMBERED: usize = 256;
/// Failures are forgotten when the last is so long ago: somebody may have bought another router, and six attempts a day harm
/// nobody's.
const FORGIVEN: Duration = Duration::from_secs(24 * 60 * 60);
/// How what is stored is written. What another version wrote is found out anew.
const VERSION: u8 = 1;

/// Two networks and who is in the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Networks {
    pub(crate) ours: IpAddr,
    pub(crate) peer: PeerId,
    pub(crate) theirs: IpAddr,
}

/// How an attempt goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tactic {
    /// The ports of the next mappings are foreseen.
    Prediction,
    /// They are foreseen on both sides.
    Meeting,
    /// Many sockets and many probes within a known block.
    BlockBirthday,
    /// The same over all ports.
    Birthday,
}

/// What is remembered of a pair of networks, for the owner to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Our address as rendezvous see it.
    pub ours: IpAddr,
    /// The contact.
    pub peer: PeerId,
    /// Its address as rendezvous see it.
    pub theirs: IpAddr,
    /// What was tried last.
    pub tactic: Tactic,
    /// Seconds since it last worked.
    pub worked_s_ago: Option<u32>,
    /// Seconds since it last failed.
    pub failed_s_ago: Option<u32>,
    /// Failures since it last worked.
    pub failures: u8,
}

/// Whether to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chance {
    /// Now: nothing speaks against it.
    Now,
    /// Now, and soon: it worked before.
    Known,
    /// Not before; it failed the last time.
    At(Instant),
    /// It failed too often.
    Never,
}

struct Entry {
    networks: Networks,
    tactic: Tactic,
    worked: Option<Instant>,
    failed: Option<Instant>,
    failures: u8,
}

/// The memory of a peer.
#[derive(Default)]
pub struct Memory(Vec<Entry>);

impl Memory {
    /// What is remembered, as seconds before `now`: instants mean nothing to another process.
    #[must_use]
    pub fn remembered(&self, now: Instant) -> Vec<Remembered> {
        let ago = |at: Instant| u32::try_from(now.saturating_duration_since(at).as_secs()).unwrap_or(u32::MAX);
        let remembered = |entry: &Entry| Remembered {
            ours: entry.networks.ours,
            peer: entry.networks.peer,
            theirs: entry.networks.theirs,
            tactic: entry.tactic,
            worked_s_ago: entry.worked.map(ago),
            failed_s_ago: entry.failed.map(ago),
            failures: entry.failures,
        };
        self.0.iter().map(remembered).collect()
    }

    /// Takes what an earlier process remembered, the latest 256. Failures of which the last is a day ago are forgiven; of times
    /// before this machine's start some systems know nothing.
    #[must_use]
    pub fn recall(remembered: &[Remembered], now: Instant) -> Self {
        let at = |ago: Option<u32>| now.checked_sub(Duration::from_secs(ago?.into()));
        let entry = |remembered: &Remembered| {
            let &Remembered { ours, peer, theirs, tactic, worked_s_ago, failed_s_ago, failures } = remembered;
            let networks = Networks { ours, peer, theirs };
            let forgiven = failed_s_ago.is_none_or(|ago| Duration::from_secs(ago.into()) >= FORGIVEN);
            let failures = if forgiven { 0 } else { failures };
            Entry { networks, tactic, worked: at(worked_s_ago), failed: at(failed_s_ago), failures }
        };
        Self(remembered.iter().rev().take(MAX_REMEMBERED).rev().map(entry).collect())
    }

    /// Forgets a contact; whether anything was known of it.
    pub(crate) fn forget(&mut self, peer: &PeerId) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.networks.peer != *peer);
        self.0.len() != before
    }

    pub(crate) fn chance(&self, networks: Networks) -> Chance {
        let Some(entry) = self.0.iter().find(|entry| entry.networks == networks) else { return Chance::Now };
        let pause = PAUSES[usize::from(entry.failures.saturating_sub(1)).min(PAUSES.len() - 1)];
        match entry.failed.map(|failed| failed + pause) {
            _ if entry.failures >= MAX_IN_VAIN => Chance::Never,
            Some(at) if entry.failures > 0 => Chance::At(at),
            _ if entry.worked.is_some() => Chance::Known,
            _ => Chance::Now,
        }
    }

    pub(crate) fn note(&mut self, networks: Networks, tactic: Tactic, worked: bool, now: Instant) {
        let old = self.0.iter().position(|entry| entry.networks == networks).map(|index| self.0.remove(index));
        let mut entry = old.unwrap_or(Entry { networks, tactic, worked: None, failed: None, failures: 0 });
        entry.tactic = tactic;
        if worked {
            (entry.worked, entry.failures) = (Some(now), 0);
        } else {
            (entry.failed, entry.failures) = (Some(now), entry.failures.saturating_add(1));
        }
        if self.0.len() == MAX_REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(entry);
    }
}

/// What is remembered, as it stands in the peer's store: with the time, in seconds since 1970.
#[must_use]
pub fn to_bytes(remembered: &[Remembered], unix_s: u64) -> Vec<u8> {
    // Serialising numbers and addresses into memory cannot fail.
    postcard::to_allocvec(&(VERSION, unix_s, remembered)).unwrap_or_default()
}

/// Reads what [`to_bytes`] wrote, as it is at this later time; `None` for anything else.
#[must_use]
pub fn from_bytes(bytes: &[u8], unix_s: u64) -> Option<Vec<Remembered>> {
    let (read, rest) = postcard::take_from_bytes::<(u8, u64, Vec<Remembered>)>(bytes).ok()?;
    let (version, written_s, mut remembered) = read;
    // A clock that was set back has not moved.
    let passed = u32::try_from(unix_s.saturating_sub(written_s)).unwrap_or(u32::MAX);
    for Remembered { worked_s_ago, failed_s_ago, .. } in &mut remembered {
        for ago in [worked_s_ago, failed_s_ago].into_iter().flatten() {
            *ago = ago.saturating_add(passed);
        }
    }
    (version == VERSION && rest.is_empty()).then_some(remembered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(failed_s_ago: u32) -> Remembered {
        Remembered {
            ours: [203, 0, 113, 1].into(),
            peer: PeerId::new([2; 32]),
            theirs: [198, 51, 100, 1].into(),
            tactic: Tactic::Birthday,
            worked_s_ago: Some(7),
            failed_s_ago: Some(failed_s_ago),
            failures: 6,
        }
    }

    #[test]
    fn what_is_stored_ages_and_garbage_is_nothing() {
        let bytes = to_bytes(&[remembered(5)], 1_000);
        let later = from_bytes(&bytes, 1_060).unwrap();
        assert_eq!(later, [Remembered { worked_s_ago: Some(67), ..remembered(65) }]);
        assert_eq!(from_bytes(&bytes, 900).unwrap(), [remembered(5)], "the clock was set back");
        assert_eq!(from_bytes(&bytes[1..], 1_060), None);
        assert_eq!(from_bytes(&[&bytes[..], &[0]].concat(), 1_060), None);
        let other = [&[VERSION + 1], &bytes[1..]].concat();
        assert_eq!(from_bytes(&other, 1_060), None, "another version");
    }

    #[test]
    fn failures_are_forgiven_after_a_day_and_forgotten_with_the_contact() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let Remembered { ours, peer, theirs, .. } = remembered(0);
        let networks = Networks { ours, peer, theirs };
        assert_eq!(Memory::recall(&[remembered(60)], now).chance(networks), Chance::Never);
        let mut memory = Memory::recall(&[remembered(86_400)], now);
        assert_ne!(memory.chance(networks), Chance::Never);
        assert!(memory.forget(&peer) && !memory.forget(&peer));
        assert_eq!(memory.remembered(now), []);
    }
}
