//! The agent: what comes in, and what it does to the set of remotes and to the choice among them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::introduction::Introductions;
use super::remote::{Remote, SENDS, TRIGGERED_SENDS};
use super::round::{Allowance, Transactions};
use super::select::Selected;
use super::{Base, Config, Event, Pair, Path, Role, Transmit};
use crate::candidate::{Candidate, CandidateKind, CheckKey, IntroductionId, is_reachable};
use crate::stun::check::{self, Peek};
use crate::stun::{TransactionId, canonical};

/// Remotes remembered: two introductions' worth, the one in use and the one that replaces it.
pub(super) const MAX_REMOTES: usize = 32;

/// Answers that wait for the owner to send them. It drains after every batch, and a batch of received datagrams is 64.
const MAX_TRANSMITS: usize = 64;

/// Finds and keeps the direct path to one contact. The [module](super) is its specification.
pub struct Agent {
    pub(super) config: Config,
    pub(super) rng: ChaCha12Rng,
    pub(super) introductions: Introductions,
    pub(super) remotes: Vec<Remote>,
    pub(super) selected: Option<Selected>,
    pub(super) transactions: Transactions,
    /// No check to a new address before this.
    pub(super) pace: Option<Instant>,
    /// When to say that there is no path, unless there is one or a series still runs.
    pub(super) verdict: Option<Instant>,
    allowance: Allowance,
    observed: Option<SocketAddr>,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) events: VecDeque<Event>,
}

impl Agent {
    /// An agent that knows no introduction yet. The seed must be secret and used once: it makes the transaction ids.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self {
            config,
            rng: ChaCha12Rng::from_seed(seed),
            introductions: Introductions::default(),
            remotes: Vec::new(),
            selected: None,
            transactions: Transactions::default(),
            pace: None,
            verdict: None,
            allowance: Allowance::default(),
            observed: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins a round of checks. Of `remotes` the first [`MAX_CANDIDATES`](crate::candidate::MAX_CANDIDATES) that
    /// [`is_reachable`] accepts are used. An introduction that is known already only adds candidates: control messages
    /// may be repeated.
    pub fn introduce(
        &mut self,
        introduction: IntroductionId,
        key: CheckKey,
        role: Role,
        remotes: &[Candidate],
        now: Instant,
    ) {
        let selected = self.selected.as_ref().and_then(|selected| self.remote(selected.pair));
        let proven = selected.and_then(|remote| remote.proven);
        if self.introductions.add(introduction, key, role, proven, now) {
            self.contest(now);
            self.await_verdict(now);
        }
        self.add_candidates(introduction, remotes, now);
    }

    /// Adds candidates that became known later to an introduction, within its bound. An unknown introduction is ignored,
    /// and so is an address that it named before. Whoever names new addresses may have left the old ones.
    pub fn add_candidates(&mut self, introduction: IntroductionId, remotes: &[Candidate], now: Instant) {
        let mut fresh = false;
        for candidate in remotes {
            let candidate = Candidate { address: canonical(candidate.address), ..*candidate };
            let usable = is_reachable(candidate.address, self.config.allow_loopback);
            if usable && self.introductions.name(&introduction, candidate.address) {
                let remote = self.remember(Base::MAIN, candidate);
                remote.candidate.kind = candidate.kind;
                remote.begin(SENDS, now);
                fresh = true;
            }
        }
        if fresh && self.selected.as_ref().is_some_and(|selected| selected.contested.is_none()) {
            self.contest(now);
        }
        self.advance(now);
    }

    /// The rendezvous relayed that the other side has sent its openers: full TTL from now on.
    pub fn handle_opened(&mut self, introduction: IntroductionId, now: Instant) {
        self.introductions.open(&introduction);
        self.advance(now);
    }

    /// Whether an address that this introduction named is being checked.
    #[must_use]
    pub fn is_checking(&self, introduction: &IntroductionId) -> bool {
        let named = self.introductions.find(introduction).map(|known| known.named()).unwrap_or_default();
        let checked = |remote: &Remote| remote.series.is_some() && named.contains(&remote.candidate.address);
        self.remotes.iter().any(checked)
    }

    /// Checks again what an introduction named, if it is known and no check of it runs. The owner limits how often.
    pub fn check_again(&mut self, introduction: IntroductionId, now: Instant) {
        let named = self.introductions.find(&introduction).map(|known| known.named().to_vec()).unwrap_or_default();
        for remote in self.remotes.iter_mut().filter(|remote| named.contains(&remote.candidate.address)) {
            if remote.series.is_none() {
                remote.begin(SENDS, now);
            }
        }
        self.await_verdict(now);
        self.advance(now);
    }

    /// The latest introduction that the other side surely knows: candidates named later belong to it.
    #[must_use]
    pub fn introduction(&self) -> Option<IntroductionId> {
        self.introductions.shared().map(|introduction| introduction.id)
    }

    /// Whether there is a path, and nothing puts it in doubt.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.selected.as_ref().is_some_and(|selected| !selected.watch.is_in_doubt())
    }

    /// Sets [`Config::opener_ttl`] for openers from now on.
    pub fn set_opener_ttl(&mut self, ttl: u8) {
        self.config.opener_ttl = ttl;
    }

    /// A datagram that [`peek`](check::peek) took for a check under one of this contact's introductions. Returns whether
    /// it was one; anything else gets silence.
    pub fn handle_request(&mut self, base: Base, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        let from = canonical(from);
        let Peek::Request(introduction) = check::peek(datagram) else {
            return false;
        };
        let Some(key) = self.introductions.find(&introduction).map(|introduction| introduction.key) else {
            return false;
        };
        let Some(id) = check::verify_request(datagram, &introduction, &key) else {
            return false;
        };
        self.introductions.open(&introduction);
        let pair = Pair::new(base, from);
        if self.admit(pair, introduction, now) {
            if self.transmits.len() < MAX_TRANSMITS {
                let payload = check::response(id, from, &key);
                self.transmits.push_back(Transmit { base, to: from, ttl: None, payload });
            }
            self.trigger(pair, now);
        }
        self.advance(now);
        true
    }

    /// A datagram that [`peek`](check::peek) took for a response to a transaction that this agent
    /// [`expects`](Self::expects). Returns whether it was one, from the address that was asked, at the base
    /// that asked (RFC 8445 section 7.2.5.2.1).
    pub fn handle_response(&mut self, base: Base, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        let pair = Pair::new(base, canonical(from));
        let Peek::Response(id) = check::peek(datagram) else {
            return false;
        };
        let Some(asked) = self.transactions.find(&id).filter(|asked| asked.pair == pair) else {
            return false;
        };
        let (introduction, sent) = (asked.introduction, asked.sent);
        let Some(key) = self.introductions.find(&introduction).map(|introduction| introduction.key) else {
            return false;
        };
        let Some((_, observed)) = check::verify_response(datagram, &key) else {
            return false;
        };
        self.transactions.forget(&id);
        self.introductions.open(&introduction);
        if self.observed.replace(observed) != Some(observed) {
            self.events.push_back(Event::Observed { base, address: observed });
        }
        if let Some(remote) = self.remotes.iter_mut().find(|remote| remote.pair() == pair) {
            remote.series = None;
            remote.answered = Some(now);
            remote.heard = Some(now);
            remote.proven = Some(introduction);
            remote.measure(now.saturating_duration_since(sent), now);
            if !std::mem::replace(&mut remote.admitted, true) {
                self.events.push_back(Event::Heard { base, remote: pair.remote });
            }
            self.consider(pair, now);
        }
        self.advance(now);
        true
    }

    /// Whether a response to this transaction would be this agent's: by this the owner finds the contact.
    #[must_use]
    pub fn expects(&self, id: &TransactionId) -> bool {
        self.transactions.find(id).is_some()
    }

    /// Whether a check under this introduction would be this agent's.
    #[must_use]
    pub fn knows(&self, introduction: &IntroductionId) -> bool {
        self.introductions.find(introduction).is_some()
    }

    /// Whether the contact proved to be at this address, so that QUIC from there is the contact's.
    #[must_use]
    pub fn admits(&self, base: Base, remote: SocketAddr) -> bool {
        let pair = Pair::new(base, canonical(remote));
        self.remotes.iter().any(|known| known.admitted && known.pair() == pair)
    }

    /// The path to send on, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        let pair = self.selected.as_ref()?.pair;
        let remote = self.remote(pair)?;
        Some(Path {
            base: pair.base,
            remote: pair.remote,
            kind: remote.candidate.kind,
            rtt: remote.rtt.unwrap_or_default(),
        })
    }

    /// Something authentic of the contact's came from this address (QUIC that decrypted, say). It counts as consent.
    /// Cheap enough for every datagram: it compares at most 32 addresses and sets no timer.
    pub fn handle_received(&mut self, base: Base, remote: SocketAddr, now: Instant) {
        let pair = Pair::new(base, canonical(remote));
        if let Some(known) = self.remotes.iter_mut().find(|known| known.pair() == pair) {
            known.heard = Some(now);
        }
    }

    /// The owner sent on the selected path, and nothing came back for longer than it should: quick checks decide.
    pub fn handle_silence(&mut self, now: Instant) {
        let rtt = self.path().map_or(Duration::ZERO, |path| path.rtt);
        if let Some(selected) = &mut self.selected {
            selected.watch.doubt(rtt, now);
        }
        self.advance(now);
    }

    /// A deadline of [`Self::poll_timeout`] has come. Being called early or often does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// A check under the newest introduction, to be sent from any base to any address: whoever of the contact's sockets it
    /// reaches answers, and checks in turn, which is how it is noticed. The answer itself is not waited for.
    pub fn check(&mut self) -> Option<Vec<u8>> {
        let newest = self.introductions.newest()?;
        let mut id = TransactionId([0; 12]);
        self.rng.fill_bytes(&mut id.0);
        Some(check::request(id, &newest.id, &newest.key))
    }

    /// Whether the contact was heard at this base since `since`, or the path goes from it.
    #[must_use]
    pub fn uses(&self, base: Base, since: Instant) -> bool {
        let heard = |remote: &Remote| remote.base == base && remote.heard.is_some_and(|heard| heard >= since);
        self.selected.as_ref().is_some_and(|selected| selected.pair.base == base) || self.remotes.iter().any(heard)
    }

    /// The base was closed: nothing is sent from it any more.
    pub fn forget_base(&mut self, base: Base) {
        for remote in self.remotes.extract_if(.., |remote| remote.base == base) {
            if remote.admitted {
                self.events.push_back(Event::Forgotten { base, remote: remote.candidate.address });
            }
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Forgets introductions, remotes, the path and whatever waits to be sent or told: the contact is gone for good.
    /// No event tells of it.
    pub fn reset(&mut self) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        *self = Self::new(self.config, seed);
    }

    /// Leaves the path and forgets everything, as [`Self::reset`] does; the owner hears of every address that is not to be
    /// admitted any more. Whether there was a path.
    pub fn leave(&mut self) -> bool {
        let direct = self.selected.is_some();
        let remotes = std::mem::take(&mut self.remotes);
        self.reset();
        let forgotten = |remote: Remote| Event::Forgotten { base: remote.base, remote: remote.candidate.address };
        self.events.extend(remotes.into_iter().map(forgotten));
        direct
    }

    pub(super) fn remote(&self, pair: Pair) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.pair() == pair)
    }

    /// Finds the remote at an address as reached from a base, or makes it in place of the least useful one: never the selected one, then one that
    /// answered, then one that is being checked, then the one that was heard of last.
    fn remember(&mut self, base: Base, candidate: Candidate) -> &mut Remote {
        let pair = Pair::new(base, candidate.address);
        let found = self.remotes.iter().position(|remote| remote.pair() == pair);
        let index = found.unwrap_or_else(|| {
            if self.remotes.len() == MAX_REMOTES {
                let selected = self.selected.as_ref().map(|selected| selected.pair);
                let usefulness = |remote: &Remote| {
                    let in_use = Some(remote.pair()) == selected;
                    (in_use, remote.answered.is_some(), remote.series.is_some(), remote.heard)
                };
                let worst = (0..MAX_REMOTES).min_by_key(|index| usefulness(&self.remotes[*index])).unwrap_or_default();
                let evicted = self.remotes.remove(worst);
                if evicted.admitted {
                    let (base, remote) = (evicted.base, evicted.candidate.address);
                    self.events.push_back(Event::Forgotten { base, remote });
                }
            }
            self.remotes.push(Remote::new(base, candidate));
            self.remotes.len() - 1
        });
        &mut self.remotes[index]
    }

    /// Makes sure that the source of an authenticated check is known and the owner told; false if the contact has
    /// shown too many new addresses, or one where nobody can be.
    fn admit(&mut self, from: Pair, introduction: IntroductionId, now: Instant) -> bool {
        if self.remote(from).is_none() {
            if !is_reachable(from.remote, self.config.allow_loopback) || !self.allowance.take(now) {
                return false;
            }
            // An address that nobody named, while a path is in use: the other side may have moved there.
            self.contest(now);
            let remote =
                self.remember(from.base, Candidate { address: from.remote, kind: CandidateKind::PeerReflexive });
            remote.begin(TRIGGERED_SENDS, now);
        }
        if let Some(remote) = self.remotes.iter_mut().find(|remote| remote.pair() == from) {
            remote.heard = Some(now);
            remote.proven = Some(introduction);
            if !std::mem::replace(&mut remote.admitted, true) {
                self.events.push_back(Event::Heard { base: from.base, remote: from.remote });
            }
        }
        true
    }

    /// A check came from a known address: check it in turn, unless that is needless (RFC 8445 section 7.3.1.4).
    fn trigger(&mut self, from: Pair, now: Instant) {
        let has_path = self.selected.is_some();
        let Some(remote) = self.remotes.iter_mut().find(|remote| remote.pair() == from) else {
            return;
        };
        if let Some(series) = &mut remote.series {
            series.trigger(now);
        } else if (remote.answered.is_none() || !has_path) && self.allowance.take(now) {
            remote.begin(TRIGGERED_SENDS, now);
        }
    }
}
