//! The introductions under which a contact's checks are valid, and when each allows packets at full TTL.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Role;
use super::round::ROUND;
use crate::candidate::{CheckKey, IntroductionId, MAX_CANDIDATES};

/// How many introductions stay valid: one in use, its mirror image when both sides invite at once, and the same pair
/// again while a retry overtakes it.
const MAX_INTRODUCTIONS: usize = 4;

/// How long an invitee sends nothing but openers. The word that the inviter is ready takes one trip through the
/// rendezvous, most often under 200 ms; after a second it is lost, and a spoilt port beats no attempt.
const OPENING: Duration = Duration::from_secs(1);

/// One introduction.
pub(super) struct Introduction {
    pub(super) id: IntroductionId,
    pub(super) key: CheckKey,
    role: Role,
    pub(super) began: Instant,
    /// The other side was heard, or is known to have sent its openers.
    opened: bool,
    /// The addresses it named: at most [`MAX_CANDIDATES`].
    named: Vec<SocketAddr>,
}

impl Introduction {
    /// The addresses that the other side named in it.
    pub(super) fn named(&self) -> &[SocketAddr] {
        &self.named
    }
}

/// The latest introductions, newest last.
#[derive(Default)]
pub(super) struct Introductions(VecDeque<Introduction>);

impl Introductions {
    /// Adds one; false if it is known already. The oldest is forgotten, but not `proven`, under which the selected path
    /// answers: of the newer ones the other side may never have heard.
    pub(super) fn add(
        &mut self,
        id: IntroductionId,
        key: CheckKey,
        role: Role,
        proven: Option<IntroductionId>,
        now: Instant,
    ) -> bool {
        if self.find(&id).is_some() {
            return false;
        }
        if self.0.len() == MAX_INTRODUCTIONS {
            let oldest = self.0.iter().position(|introduction| Some(introduction.id) != proven);
            self.0.remove(oldest.unwrap_or_default());
        }
        self.0.push_back(Introduction { id, key, role, began: now, opened: false, named: Vec::new() });
        true
    }

    pub(super) fn find(&self, id: &IntroductionId) -> Option<&Introduction> {
        self.0.iter().find(|introduction| introduction.id == *id)
    }

    pub(super) fn newest(&self) -> Option<&Introduction> {
        self.0.back()
    }

    /// The newest that the other side knows, too: an inviter hears of it last, and an invitee's word is on its way until
    /// the inviter is heard.
    pub(super) fn shared(&self) -> Option<&Introduction> {
        self.0.iter().rev().find(|introduction| introduction.role == Role::Inviter || introduction.opened)
    }

    /// Counts an address against the introduction's bound; false if it is full, unknown, or named that address before.
    pub(super) fn name(&mut self, id: &IntroductionId, address: SocketAddr) -> bool {
        let introduction = self.0.iter_mut().find(|introduction| introduction.id == *id);
        let Some(Introduction { named, .. }) = introduction else { return false };
        let fresh = named.len() < MAX_CANDIDATES && !named.contains(&address);
        if fresh {
            named.push(address);
        }
        fresh
    }

    /// Notes that the other side has opened its router in this introduction.
    pub(super) fn open(&mut self, id: &IntroductionId) {
        if let Some(introduction) = self.0.iter_mut().find(|introduction| introduction.id == *id) {
            introduction.opened = true;
        }
    }

    /// Until when only openers may go to an address; `None` if it was never so. Any introduction of this round that
    /// named the address and is open suffices: when both sides invite at once, each is the invitee of one.
    pub(super) fn opens(&self, address: SocketAddr) -> Option<Instant> {
        let round = self.newest()?.began;
        let mut earliest: Option<Instant> = None;
        for introduction in &self.0 {
            if introduction.began + ROUND < round || !introduction.named.contains(&address) {
                continue;
            }
            if introduction.role == Role::Inviter || introduction.opened {
                return None;
            }
            let opens = introduction.began + OPENING;
            earliest = Some(earliest.map_or(opens, |earliest| earliest.min(opens)));
        }
        earliest
    }
}
