//! Sending: which check is due, what was asked and not yet answered, and when a round is over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::Rng;

use super::agent::Agent;
use super::remote::{Remote, Series};
use super::watch::Duty;
use super::{Event, Pair, Transmit};
use crate::candidate::IntroductionId;
use crate::stun::TransactionId;
use crate::stun::check;

/// How long a series of checks lasts, and with it a round: both sides have heard of each other long before, and whatever
/// changes later brings a new introduction.
pub(super) const ROUND: Duration = Duration::from_secs(10);

/// Between checks (RFC 8445 section 14.2 calls it Ta and allows 5 ms): 76 bytes each make 122 kbit/s.
const PACE: Duration = Duration::from_millis(5);

/// Checks that may be unanswered at once: a second of them at full pace, longer than any round trip worth having.
const MAX_TRANSACTIONS: usize = 200;

/// After this an answer is not waited for any more: the round it belongs to is over.
const TRANSACTION_LIFE: Duration = ROUND;

impl Agent {
    /// When to call [`handle_timeout`](Agent::handle_timeout); `None` if nothing is to be done until something comes in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = |pair, series: &Series| {
            let due = series.due(self.opens(pair));
            self.pace.map_or(due, |pace| due.max(pace)).min(series.until)
        };
        let series = self.remotes.iter().filter_map(|r| r.series.as_ref().map(|series| due(r.pair(), series)));
        let selected = self.selected.as_ref();
        let watch = selected.and_then(|selected| Some(selected.watch.poll_timeout(self.heard(selected.pair)?)));
        let series = series.min();
        let verdict = self.verdict.filter(|_| series.is_none());
        let heir = self.heir().map(|(at, _)| at);
        [series, watch, verdict, heir].into_iter().flatten().min()
    }

    /// Does whatever is due. Every public `handle_*` ends here, so that nothing waits for a timer that has come already.
    pub(super) fn advance(&mut self, now: Instant) {
        self.transactions.expire(now);
        self.watch_over(now);
        if let Some((_, heir)) = self.heir().filter(|(at, _)| *at <= now) {
            self.select(heir, now);
        }
        for remote in &mut self.remotes {
            remote.series.take_if(|series| series.until <= now);
        }
        self.check_next(now);
        let running = self.remotes.iter().any(|remote| remote.series.is_some());
        if !running && self.verdict.is_some_and(|verdict| verdict <= now) {
            self.verdict = None;
            self.events.push_back(Event::Failed);
        }
    }

    /// Without a path at the end of the round, the owner is told.
    pub(super) fn await_verdict(&mut self, now: Instant) {
        if self.selected.is_none() {
            self.verdict = Some(now + ROUND);
        }
    }

    /// Sends one of the checks that are due: first ones before repetitions, then by the address' priority.
    fn check_next(&mut self, now: Instant) {
        if self.pace.is_some_and(|pace| now < pace) {
            return;
        }
        let due = self.remotes.iter().enumerate().filter_map(|(index, remote)| {
            let series = remote.series.as_ref()?;
            let rank = (!series.is_new(), u8::MAX - remote.candidate.priority());
            (series.due(self.opens(remote.pair())) <= now).then_some((rank, index))
        });
        let Some((_, index)) = due.min() else { return };
        let pair = self.remotes[index].pair();
        let opener = self.opens(pair).is_some_and(|opens| now < opens);
        let mut repeated = false;
        if let Some(series) = &mut self.remotes[index].series {
            repeated = series.is_odd();
            series.sent(opener, now);
        }
        self.pace = Some(now + PACE);
        self.send_check(pair, repeated, opener.then_some(self.config.opener_ttl), now);
    }

    /// Until when only openers may go to an address.
    fn opens(&self, pair: Pair) -> Option<Instant> {
        let needed = self.remote(pair).is_some_and(Remote::needs_opener);
        if needed { self.introductions.opens(pair.remote) } else { None }
    }

    /// Does what the selected path needs. Its checks are not paced: they go to an address in use.
    fn watch_over(&mut self, now: Instant) {
        while let Some(pair) = self.selected.as_ref().map(|selected| selected.pair) {
            let interval = self.consent_interval();
            let Some(heard) = self.heard(pair) else { return };
            let Some(selected) = &mut self.selected else { return };
            match selected.watch.handle_timeout(heard, interval, now) {
                Duty::Nothing => return,
                Duty::GiveUp => return self.lose(now),
                Duty::Check => self.send_check(pair, true, None, now),
            }
        }
    }

    /// When the selected path was last known to work.
    fn heard(&self, pair: Pair) -> Option<Instant> {
        let since = self.selected.as_ref()?.since;
        Some(self.remote(pair)?.heard.map_or(since, |heard| heard.max(since)))
    }

    /// Sends a check. Its key is that under which the remote was last heard, if that was since the newest introduction, for
    /// the other side may not have learnt of a newer one; else the newest, or, when `repeated`, the former if there
    /// is one: then the other side may have restarted and know only the newest.
    pub(super) fn send_check(&mut self, to: Pair, repeated: bool, ttl: Option<u8>, now: Instant) {
        let Some(newest) = self.introductions.newest() else { return };
        let proven = self.remote(to).and_then(|remote| {
            let sure = repeated || remote.heard.is_some_and(|heard| heard >= newest.began);
            remote.proven.filter(|_| sure).and_then(|id| self.introductions.find(&id))
        });
        let (introduction, key) = proven.map_or((newest.id, newest.key), |proven| (proven.id, proven.key));
        let mut id = TransactionId([0; 12]);
        self.rng.fill_bytes(&mut id.0);
        self.transactions.remember(Transaction { id, pair: to, introduction, sent: now });
        let payload = check::request(id, &introduction, &key);
        self.transmits.push_back(Transmit { base: to.base, to: to.remote, ttl, payload });
    }
}

/// A check that awaits its answer. Every repetition is a transaction of its own, so that an answer tells a round trip
/// without doubt which sending it belongs to.
pub(super) struct Transaction {
    id: TransactionId,
    pub(super) pair: Pair,
    pub(super) introduction: IntroductionId,
    pub(super) sent: Instant,
}

/// The unanswered checks, oldest first.
#[derive(Default)]
pub(super) struct Transactions(VecDeque<Transaction>);

impl Transactions {
    pub(super) fn find(&self, id: &TransactionId) -> Option<&Transaction> {
        self.0.iter().find(|transaction| transaction.id == *id)
    }

    pub(super) fn forget(&mut self, id: &TransactionId) {
        self.0.retain(|transaction| transaction.id != *id);
    }

    fn remember(&mut self, transaction: Transaction) {
        if self.0.len() == MAX_TRANSACTIONS {
            self.0.pop_front();
        }
        self.0.push_back(transaction);
    }

    fn expire(&mut self, now: Instant) {
        while self.0.front().is_some_and(|oldest| oldest.sent + TRANSACTION_LIFE <= now) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0.shrink_to_fit(); // an idle contact keeps no buffer
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How many series of checks the contact's own checks may still begin, at addresses that it shows and we cannot verify.
pub(super) struct Allowance {
    left: u32,
    refilled: Option<Instant>,
}

impl Allowance {
    /// At once: a contact behind a NAT that gives each destination a port shows one address for each of ours.
    const BURST: u32 = 8;
    /// Between refills: more often than this no NAT moves.
    const REFILL: Duration = Duration::from_secs(10);

    pub(super) fn take(&mut self, now: Instant) -> bool {
        let refilled = *self.refilled.get_or_insert(now);
        let periods = now.saturating_duration_since(refilled).as_secs() / Self::REFILL.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(periods).min(Self::BURST);
        self.refilled = refilled.checked_add(Self::REFILL.saturating_mul(periods));
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: Self::BURST, refilled: None }
    }
}
