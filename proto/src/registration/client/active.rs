//! What a peer holds of a registration, and the datagrams that it sends for it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::control::PeerChannel;
use crate::datagram::Transmit;
use crate::keepalive::{self, Wishes};
use crate::registration::echo::{self, Requests};
use crate::registration::ticket::{Resumption, Return};
use crate::seal::{RegistrationSecret, TagKey};

/// Our latest datagrams, control included, that an "unknown slot" may be about: a wave of invitations and some keepalives.
const REMEMBERED_ECHOES: usize = 16;
/// Requests for one echo, a second apart: with a tenth of all datagrams lost each way, one trial in 150 is void.
const ECHO_REQUESTS: u64 = 3;
/// A ticket lives seven days (docs/protocol.md, "Ticket"); one of this age is renewed, so that a peer that stays
/// registered always holds one for six days.
const RENEWAL: Duration = Duration::from_secs(24 * 60 * 60);

/// A ticket, and what belongs to it.
pub(super) struct Held {
    pub(super) ticket: Vec<u8>,
    pub(super) resumption: Resumption,
    pub(super) since: Instant,
}

impl Held {
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= RENEWAL
    }
}

pub(super) struct Active {
    pub(super) remote: SocketAddr,
    pub(super) slot: u32,
    pub(super) key: TagKey,
    pub(super) secret: RegistrationSecret,
    pub(super) counter: u64,
    /// The latest that was answered by our address.
    answered: u64,
    echoes: VecDeque<u64>,
    pub(super) next_keepalive: Instant,
    /// The unanswered question: how often it was asked, and when to ask again.
    pub(super) asked: Option<(usize, Instant)>,
    /// Whether control messages were not acknowledged when that was last looked at.
    pub(super) doubtful: bool,
    /// Whether a move waits for its confirmation.
    pub(super) moving: bool,
    /// The latest keepalive that wanted a ticket, as long as none has come.
    pub(super) renewing: Option<u64>,
    pub(super) observed: SocketAddr,
    pub(super) channel: PeerChannel,
}

impl Active {
    pub(super) fn new(
        remote: SocketAddr,
        slot: u32,
        secret: &RegistrationSecret,
        observed: SocketAddr,
        next_keepalive: Instant,
    ) -> Self {
        Self {
            remote,
            slot,
            key: TagKey::new(secret),
            secret: secret.clone(),
            counter: 0,
            answered: 0,
            echoes: VecDeque::with_capacity(REMEMBERED_ECHOES),
            next_keepalive,
            asked: None,
            doubtful: false,
            moving: false,
            renewing: None,
            observed,
            channel: PeerChannel::of_peer(secret, slot),
        }
    }

    /// Asks whether the rendezvous is there, and where it sees us.
    pub(super) fn ask(&mut self, wishes: Wishes, tries: usize, again: Instant, outgoing: &mut VecDeque<Transmit>) {
        self.asked = Some((tries, again));
        self.keepalive(Wishes { asks: true, ..wishes }, outgoing);
    }

    pub(super) fn keepalive(&mut self, wishes: Wishes, outgoing: &mut VecDeque<Transmit>) {
        self.counter += 1;
        if wishes.renews {
            self.renewing = Some(self.counter);
        }
        let payload = keepalive::wishing(&self.key, self.slot, self.counter, wishes);
        self.transmit(payload, outgoing);
    }

    /// Answers a challenge.
    pub(super) fn prove(&mut self, token: u64, outgoing: &mut VecDeque<Transmit>) {
        self.counter += 1;
        self.moving = true;
        let payload = keepalive::moved(&self.key, self.slot, self.counter, token);
        self.transmit(payload, outgoing);
    }

    pub(super) fn echo_requests(&mut self, delay_s: u16) -> Requests {
        let counters = self.counter + 1..=self.counter + ECHO_REQUESTS;
        self.counter += ECHO_REQUESTS;
        let request = |counter| echo::request(&self.key, self.slot, counter, delay_s);
        let datagrams = counters.clone().map(request).collect();
        Requests { remote: self.remote, datagrams, key: self.key, slot: self.slot, counters }
    }

    /// Shows a ticket to the rendezvous that forgot us.
    pub(super) fn show(
        &mut self,
        held: &Held,
        nonce: u64,
        token: u64,
        (interval_s, unseen): (u16, bool),
        outgoing: &mut VecDeque<Transmit>,
    ) {
        // Only what is said of the ticket counts from here on.
        self.echoes.clear();
        let shown = Return { nonce, interval_s, unseen, token, ticket: &held.ticket };
        let payload = shown.to_bytes(&held.resumption.tag_key(), self.slot);
        self.transmit(payload, outgoing);
    }

    pub(super) fn transmit(&mut self, payload: Vec<u8>, outgoing: &mut VecDeque<Transmit>) {
        self.remember(&payload);
        outgoing.push_back(Transmit { to: self.remote, ttl: None, payload });
    }

    pub(super) fn remember(&mut self, datagram: &[u8]) {
        if self.echoes.len() == REMEMBERED_ECHOES {
            self.echoes.pop_front();
        }
        self.echoes.extend(keepalive::echo(datagram));
    }

    /// Whether this is the first answer to the datagram with this counter, and none to a later one has come. If so, it is
    /// remembered.
    pub(super) fn is_answer(&mut self, counter: u64) -> bool {
        let fresh = self.answered < counter && counter <= self.counter;
        if fresh {
            self.answered = counter;
        }
        fresh
    }

    /// Whether that is about one of our latest datagrams.
    pub(super) fn sent(&self, echo: u64) -> bool {
        self.echoes.contains(&echo)
    }
}
