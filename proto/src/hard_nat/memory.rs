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

    /// Takes what an earlier process remembered. Times before this machine's start are forgotten.
    #[must_use]
    pub fn recall(remembered: &[Remembered], now: Instant) -> Self {
        let at = |ago: Option<u32>| now.checked_sub(Duration::from_secs(ago?.into()));
        let entry = |remembered: &Remembered| {
            let &Remembered { ours, peer, theirs, tactic, worked_s_ago, failed_s_ago, failures } = remembered;
            let networks = Networks { ours, peer, theirs };
            Entry { networks, tactic, worked: at(worked_s_ago), failed: at(failed_s_ago), failures }
        };
        Self(remembered.iter().rev().take(MAX_REMEMBERED).rev().map(entry).collect())
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
