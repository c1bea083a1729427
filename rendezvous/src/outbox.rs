//! What is on its way out: datagrams that go at once, and control channels that have something to say now or later.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use knothole_proto::control::{RendezvousChannel, ToPeer};
use knothole_proto::datagram::Transmit;
use knothole_proto::seal::RegistrationSecret;

use crate::admission::Bucket;
use crate::mailbox::UnderWay;
use crate::policy::LocalSocket;
use crate::presence::Watching;

/// A registration's control channel, and what the outbox must know of it.
pub(crate) struct Line {
    pub(crate) channel: RendezvousChannel,
    /// When the channel wants to repeat something; this is in `due` too.
    armed: Option<Instant>,
    /// Whether the slot stands in `ready`.
    ready: bool,
    /// Whether the peer was told that the rendezvous closes.
    pub(crate) told: bool,
    /// What the peer has left of letters that it may post; here, because few post any, and entries are short.
    pub(crate) letters: Bucket,
    /// What it has left of changes to its mailbox.
    pub(crate) changes: Bucket,
    /// Whether more of its mailbox follows when it has acknowledged something.
    pub(crate) letters_wait: bool,
    /// Answers for which its channel had no room.
    pub(crate) answers: VecDeque<ToPeer>,
    /// Letters passed straight that its mailbox keeps if it does not acknowledge them.
    pub(crate) under_way: Vec<UnderWay>,
    /// Letters to it from peers that it has not named: all of them together have this.
    pub(crate) strangers: Bucket,
    /// Of whose coming and going the peer is told, if it wants to be.
    pub(crate) watching: Option<Box<Watching>>,
}

impl Line {
    pub(crate) fn new(secret: &RegistrationSecret, slot: u32) -> Self {
        let channel = RendezvousChannel::of_rendezvous(secret, slot);
        let (letters, changes, strangers) = (Bucket::default(), Bucket::default(), Bucket::default());
        let (armed, watching) = (None, None);
        Self {
            channel,
            armed,
            ready: false,
            told: false,
            letters,
            changes,
            letters_wait: false,
            answers: VecDeque::new(),
            under_way: Vec::new(),
            strangers,
            watching,
        }
    }
}

/// What goes out, and when.
#[derive(Default)]
pub(crate) struct Outbox {
    datagrams: VecDeque<(LocalSocket, Transmit)>,
    /// Slots whose channel may have something to send now. A slot whose registration ended meanwhile does no harm.
    ready: VecDeque<u32>,
    due: BTreeSet<(Instant, u32)>,
}

impl Outbox {
    /// A datagram that goes at once.
    pub(crate) fn push(&mut self, local: LocalSocket, to: SocketAddr, payload: Vec<u8>) {
        self.datagrams.push_back((local, Transmit { to, ttl: None, payload }));
    }

    /// The next datagram that goes at once.
    pub(crate) fn pop(&mut self) -> Option<(LocalSocket, Transmit)> {
        self.datagrams.pop_front()
    }

    /// This slot's channel may have something to send.
    pub(crate) fn wake(&mut self, slot: u32, line: &mut Line) {
        if !std::mem::replace(&mut line.ready, true) {
            self.ready.push_back(slot);
        }
    }

    /// The slot whose channel to ask next.
    pub(crate) fn first_ready(&self) -> Option<u32> {
        self.ready.front().copied()
    }

    /// The first ready slot has nothing more to send now; `line` is its channel if it still has one.
    pub(crate) fn rest(&mut self, line: Option<&mut Line>) {
        let Some(slot) = self.ready.pop_front() else { return };
        let Some(line) = line else { return };
        line.ready = false;
        let news = line.watching.as_ref().and_then(|watching| watching.poll_timeout());
        let wanted = line.channel.poll_timeout().into_iter().chain(news).min();
        if wanted != line.armed {
            self.disarm(slot, line);
            self.due.extend(wanted.map(|when| (when, slot)));
            line.armed = wanted;
        }
    }

    /// This channel is no more.
    pub(crate) fn disarm(&mut self, slot: u32, line: &mut Line) {
        if let Some(when) = line.armed.take() {
            self.due.remove(&(when, slot));
        }
    }

    /// When a channel wants to repeat something at the earliest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(when, _)| *when)
    }

    /// A slot whose channel wants to repeat something now.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        self.due.first().filter(|(when, _)| *when <= now)?;
        self.due.pop_first().map(|(_, slot)| slot)
    }
}

impl Line {
    /// The outbox has taken this channel's deadline out, because it has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.armed = None;
        self.channel.handle_timeout(now);
        if let Some(watching) = &mut self.watching {
            watching.handle_given_up(&self.channel, now);
        }
    }

    /// Puts what the peer is to be told of others into its channel, as far as that may be now; returns how many messages.
    pub(crate) fn tell(&mut self, start: Instant, now: Instant) -> u64 {
        self.watching.as_mut().map_or(0, |watching| watching.tell(&mut self.channel, start, now))
    }
}
