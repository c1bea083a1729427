//! A conversation outlives its connections: messages are numbered, acknowledged when they are in durable storage,
//! repeated after any break, and never taken twice.
//!
//! The machine holds no texts but those on their way: what is written goes to the store first, and comes back from there
//! when there is a link. What is not here: the store (the owner's, whose word on what is durable counts) and the link
//! (reliable and in order as long as it lives, like a QUIC stream).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::content::Content;
use crate::frames::{Frame, MAX_TEXT, MessageId};

/// Messages sent and not yet acknowledged; what a receiver may have to hold before its disk has it.
pub const WINDOW: u64 = 256;
/// Texts held at once, in bytes: the outbox is read in pieces of this size.
pub const LOAD_BYTES: usize = 4 * MAX_TEXT;
/// Logs of the other side that are remembered: it has a new one only when its database is new.
const REMEMBERED_LOGS: usize = 16;

/// A message of ours as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place in our log.
    pub number: u64,
    /// Its name.
    pub message: MessageId,
    /// When it was written, in milliseconds since 1970.
    pub at: u64,
    /// What it says.
    pub content: Content,
}

/// A message of the other side, not yet in durable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The other side's log.
    pub log: u64,
    /// Its place there.
    pub number: u64,
    /// Its name.
    pub message: MessageId,
    /// When it was written, by its author's clock, in milliseconds since 1970.
    pub at: u64,
    /// What it says.
    pub content: Content,
}

/// What the owner must do or know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Read messages of our log with numbers above this from the store, about [`LOAD_BYTES`] of them, and answer with
    /// `handle_outbox`.
    Load {
        /// The number after which to begin.
        after: u64,
        /// To be returned with the answer: one that a new link has overtaken is told by it.
        load: u64,
    },
    /// Put this into durable storage and answer with `handle_stored`; the store decides whether it is new.
    Store(Incoming),
    /// All messages of our log up to this number have been handed to the link.
    Sent {
        /// The highest number.
        upto: u64,
    },
    /// The other side has all messages of our log up to this number in durable storage.
    Delivered {
        /// The highest number.
        upto: u64,
    },
    /// The other side's person has read our messages up to this number.
    Read {
        /// The highest number.
        upto: u64,
    },
    /// The other side has more of our log than we wrote, or less than it acknowledged: one of the two databases is lost or
    /// an older copy. Give the conversation a new log and its unacknowledged messages new numbers in it; then `restart`.
    Renumber,
    /// The other side breaks the rules: close the link.
    Violation,
}

/// Our side of one conversation.
#[derive(Debug)]
pub struct Conversation {
    log: u64,
    /// The highest number that we gave to a message.
    written: u64,
    acknowledged: u64,
    /// The highest number handed to the present link.
    sent: u64,
    /// Read from the store and not handed to the link yet; consecutive, beginning at `sent + 1`.
    ready: VecDeque<Outgoing>,
    /// The load that is under way, and how many there have been.
    loading: Option<u64>,
    loads: u64,
    /// Nothing is sent between [`Event::Renumber`] and `restart`.
    suspended: bool,
    linked: bool,
    hello_due: bool,
    /// The other side's present log, by its hello.
    their_log: Option<u64>,
    received: BTreeMap<u64, Received>,
    acknowledge_due: Option<u64>,
    /// How far our person has read the other side's log, and whether that is still to be said on this link.
    read: Option<(u64, u64)>,
    read_due: bool,
    events: VecDeque<Event>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Received {
    /// In durable storage.
    stored: u64,
    /// Handed to the owner for storage.
    taken: u64,
    /// How many of those the owner has not answered for.
    pending: u64,
}

impl Conversation {
    /// A conversation as the store has it: our log, the highest number written and the highest acknowledged in it, and
    /// the other side's latest log, if any is known, with the highest number stored and the highest read.
    #[must_use]
    pub fn new(
        log: u64,
        written: u64,
        acknowledged: u64,
        received: Option<(u64, u64)>,
        read: Option<(u64, u64)>,
    ) -> Self {
        let received = received.map(|(log, stored)| (log, Received { stored, taken: stored, pending: 0 }));
        Self {
            log,
            written,
            acknowledged,
            sent: acknowledged,
            ready: VecDeque::new(),
            loading: None,
            loads: 0,
            suspended: false,
            linked: false,
            hello_due: false,
            their_log: received.map(|(log, _)| log),
            received: received.into_iter().collect(),
            acknowledge_due: None,
            read,
            read_due: false,
            events: VecDeque::new(),
        }
    }

    /// Our side has a new log after [`Event::Renumber`]; all is sent anew from number 1. The link stays.
    pub fn restart(&mut self, log: u64, written: u64) {
        self.log = log;
        self.written = written;
        self.acknowledged = 0;
        self.sent = 0;
        self.ready.clear();
        self.loading = None;
        self.suspended = false;
        self.hello_due = self.linked;
        self.load();
    }

    /// Our present log.
    #[must_use]
    pub const fn log(&self) -> u64 {
        self.log
    }

    /// There is a link now, a new one if there was one before: all that is unacknowledged is sent on it.
    pub fn handle_link_up(&mut self) {
        self.linked = true;
        self.hello_due = true;
        self.acknowledge_due = None;
        self.read_due = true;
        self.sent = self.acknowledged;
        self.ready.clear();
        // What is being read was asked for on another link, beyond what this one has carried.
        self.loading = None;
        for received in self.received.values_mut() {
            received.taken = received.stored;
            received.pending = 0;
        }
        self.load();
    }

    /// The link is gone.
    pub fn handle_link_down(&mut self) {
        self.linked = false;
        self.ready.clear();
    }

    /// A message of ours is in durable storage.
    pub fn handle_written(&mut self, message: Outgoing) {
        self.written = self.written.max(message.number);
        let next = self.ready.back().map_or(self.sent, |last| last.number) + 1;
        if self.linked
            && !self.suspended
            && self.loading.is_none()
            && message.number == next
            && (self.ready.len() as u64) < WINDOW
        {
            self.ready.push_back(message);
        } else {
            self.load();
        }
    }

    /// The store's answer to [`Event::Load`]; none at all means that there is no more.
    pub fn handle_outbox(&mut self, load: u64, messages: Vec<Outgoing>) {
        if self.loading.take_if(|loading| *loading == load).is_none() || !self.linked || self.suspended {
            return;
        }
        let mut next = self.ready.back().map_or(self.sent, |last| last.number) + 1;
        for message in messages {
            // Numbers may be missing where the store gave a message up; never may they go back.
            if message.number >= next {
                next = message.number + 1;
                self.ready.push_back(message);
            }
        }
    }

    fn load(&mut self) {
        if self.linked && !self.suspended && self.loading.is_none() && self.ready.is_empty() && self.written > self.sent
        {
            self.loads += 1;
            self.loading = Some(self.loads);
            self.events.push_back(Event::Load { after: self.sent, load: self.loads });
        }
    }

    /// A frame from the link.
    pub fn handle_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Hello { log, received_log, received } => {
                self.their_log = Some(log);
                self.remember(log);
                let received = if received_log == self.log { received } else { 0 };
                if (self.acknowledged..=self.written).contains(&received) {
                    self.handle_acknowledge(received);
                } else if !std::mem::replace(&mut self.suspended, true) {
                    self.ready.clear();
                    self.events.push_back(Event::Renumber);
                }
            }
            Frame::Message { number, message, at, content } => {
                let Some(log) = self.their_log else {
                    return self.events.push_back(Event::Violation);
                };
                let received = self.received.entry(log).or_default();
                if number <= received.taken {
                    self.acknowledge_due = Some(received.stored);
                } else if received.pending >= WINDOW {
                    self.events.push_back(Event::Violation);
                } else {
                    received.taken = number;
                    received.pending += 1;
                    self.events.push_back(Event::Store(Incoming { log, number, message, at, content }));
                }
            }
            Frame::Acknowledge { log, upto } if log == self.log && upto <= self.sent => self.handle_acknowledge(upto),
            Frame::Read { log, upto } if log == self.log && upto <= self.sent => {
                self.events.push_back(Event::Read { upto });
            }
            Frame::Acknowledge { .. }
            | Frame::Read { .. }
            | Frame::Note { .. }
            | Frame::Epoch { .. }
            | Frame::Typing { .. } => {}
        }
    }

    fn handle_acknowledge(&mut self, upto: u64) {
        if upto > self.acknowledged {
            self.acknowledged = upto;
            self.events.push_back(Event::Delivered { upto });
            if self.sent < upto {
                self.sent = upto;
                self.ready.retain(|message| message.number > upto);
            }
        }
    }

    /// The store's answer to [`Event::Store`]: all of this log up to this number is durable.
    pub fn handle_stored(&mut self, log: u64, upto: u64) {
        let received = self.received.entry(log).or_default();
        received.stored = received.stored.max(upto);
        received.taken = received.taken.max(upto);
        received.pending = received.pending.saturating_sub(1);
        if self.their_log == Some(log) && self.linked {
            self.acknowledge_due = Some(received.stored);
        }
    }

    /// A message of this log came beside the link, in a letter, and is in durable storage: `handle_stored` follows.
    pub fn handle_beside(&mut self, log: u64) {
        self.remember(log).pending += 1;
        // Once there is a link, its hello tells which log is the present one.
        if !self.linked {
            self.their_log = Some(log);
        }
    }

    fn remember(&mut self, log: u64) -> &mut Received {
        while self.received.len() >= REMEMBERED_LOGS && !self.received.contains_key(&log) {
            let Some(&other) = self.received.keys().find(|known| Some(**known) != self.their_log) else { break };
            self.received.remove(&other);
        }
        self.received.entry(log).or_default()
    }

    /// Whether there are messages of ours that the other side has not acknowledged.
    #[must_use]
    pub const fn has_unacknowledged(&self) -> bool {
        self.written > self.acknowledged
    }

    /// Our person has read the other side's messages up to this number.
    pub fn handle_read(&mut self, log: u64, upto: u64) {
        self.read = Some((log, upto));
        self.read_due = true;
    }

    /// The next frame for the link.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        if !self.linked {
            return None;
        }
        if std::mem::take(&mut self.hello_due) {
            let (received_log, received) = self
                .their_log
                .map(|log| (log, self.received.get(&log).copied().unwrap_or_default().stored))
                .unwrap_or_default();
            return Some(Frame::Hello { log: self.log, received_log, received });
        }
        if let Some((log, upto)) = self.their_log.zip(self.acknowledge_due.take()) {
            return Some(Frame::Acknowledge { log, upto });
        }
        if let Some((log, upto)) = self.read.filter(|_| std::mem::take(&mut self.read_due)) {
            return Some(Frame::Read { log, upto });
        }
        if self.sent - self.acknowledged >= WINDOW {
            return None;
        }
        let Some(Outgoing { number, message, at, content }) = self.ready.pop_front() else {
            self.load();
            return None;
        };
        self.sent = number;
        self.events.push_back(Event::Sent { upto: number });
        Some(Frame::Message { number, message, at, content })
    }

    /// What the owner must do next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
