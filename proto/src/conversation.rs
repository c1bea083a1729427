//! A conversation outlives its connections: messages are numbered, acknowledged when they are in durable storage,
//! repeated after any break, and never taken twice.
//!
//! The machine holds no texts but those on their way: what is written goes to the store first, and comes back from there
//! when there is a link. What is not here: the store (the owner's, whose word on what is durable counts) and the link
//! (reliable and in order as long as it lives, like a QUIC stream).

use std::collections::{BTreeMap, VecDeque};

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
    /// What was written.
    pub text: String,
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
    /// What was written.
    pub text: String,
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

    /// Whether something of ours is not acknowledged.
    #[must_use]
    pub const fn has_unacknowledged(&self) -> bool {
        self.written > self.acknowledged
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
                self.received.entry(log).or_default();
                while self.received.len() > REMEMBERED_LOGS {
                    let Some(&other) = self.received.keys().find(|known| **known != log) else {
                        break;
                    };
                    self.received.remove(&other);
                }
                let received = if received_log == self.log { received } else { 0 };
                if (self.acknowledged..=self.written).contains(&received) {
                    self.handle_acknowledge(received);
                } else if !std::mem::replace(&mut self.suspended, true) {
                    self.ready.clear();
                    self.events.push_back(Event::Renumber);
                }
            }
            Frame::Message { number, message, at, text } => {
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
                    self.events.push_back(Event::Store(Incoming { log, number, message, at, text }));
                }
            }
            Frame::Acknowledge { log, upto } if log == self.log && upto <= self.sent => self.handle_acknowledge(upto),
            Frame::Read { log, upto } if log == self.log && upto <= self.sent => {
                self.events.push_back(Event::Read { upto });
            }
            Frame::Acknowledge { .. } | Frame::Read { .. } => {}
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
        let Some(Outgoing { number, message, at, text }) = self.ready.pop_front() else {
            self.load();
            return None;
        };
        self.sent = number;
        self.events.push_back(Event::Sent { upto: number });
        Some(Frame::Message { number, message, at, text })
    }

    /// What the owner must do next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One side with its store; what the store holds survives everything.
    struct Side {
        machine: Conversation,
        outbox: Vec<Outgoing>,
        delivered: u64,
        inbox: Vec<Incoming>,
        /// Stored but not yet reported, as with a commit under way.
        storing: VecDeque<(u64, u64)>,
        /// Read but not yet handed over.
        loading: VecDeque<(u64, Vec<Outgoing>)>,
        violations: usize,
    }

    fn outgoing(number: u64) -> Outgoing {
        Outgoing { number, message: MessageId([number as u8; 16]), at: number, text: format!("message {number}") }
    }

    impl Side {
        fn new(log: u64) -> Self {
            Self {
                machine: Conversation::new(log, 0, 0, None, None),
                outbox: Vec::new(),
                delivered: 0,
                inbox: Vec::new(),
                storing: VecDeque::new(),
                loading: VecDeque::new(),
                violations: 0,
            }
        }

        fn write(&mut self) {
            let message = outgoing(self.outbox.len() as u64 + 1);
            self.outbox.push(message.clone());
            self.machine.handle_written(message);
            self.drain();
        }

        /// The process dies and starts again with what is on its disk.
        fn restart(&mut self, log: u64) {
            let received = self.inbox.last().map(|last| (last.log, last.number));
            self.machine = Conversation::new(log, self.outbox.len() as u64, self.delivered, received, None);
            self.storing.clear();
            self.loading.clear();
        }

        fn drain(&mut self) {
            while let Some(event) = self.machine.poll_event() {
                match event {
                    Event::Load { after, load } => {
                        let texts = self.outbox.iter().filter(|m| m.number > after).take(3).cloned().collect();
                        self.loading.push_back((load, texts));
                    }
                    Event::Store(message) => {
                        self.storing.push_back((message.log, message.number));
                        let known = |stored: &Incoming| stored.log == message.log && stored.number >= message.number;
                        if !self.inbox.iter().any(known) {
                            self.inbox.push(message);
                        }
                    }
                    Event::Delivered { upto } => self.delivered = self.delivered.max(upto),
                    Event::Violation => self.violations += 1,
                    Event::Sent { .. } | Event::Read { .. } | Event::Renumber => {}
                }
            }
        }

        /// The store answers one read and one write.
        fn commit(&mut self) {
            if let Some((load, texts)) = self.loading.pop_front() {
                self.machine.handle_outbox(load, texts);
                self.drain();
            }
            if let Some((log, upto)) = self.storing.pop_front() {
                self.machine.handle_stored(log, upto);
                self.drain();
            }
        }
    }

    fn assert_exactly_once(from: &Side, to: &Side) {
        let sent: Vec<_> = from.outbox.iter().map(|m| &m.text).collect();
        let got: Vec<_> = to.inbox.iter().map(|m| &m.text).collect();
        assert_eq!(sent[..got.len()], got[..], "in order, none twice, none missing before another");
        assert!(from.delivered <= got.len() as u64, "nothing is delivered that is not stored");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write(bool),
        Carry(bool, usize),
        Commit(bool),
        Break,
        Restart(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<bool>().prop_map(Step::Write),
            8 => (any::<bool>(), 1..5_usize).prop_map(|(side, n)| Step::Carry(side, n)),
            6 => any::<bool>().prop_map(Step::Commit),
            1 => Just(Step::Break),
            1 => any::<bool>().prop_map(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn whatever_breaks_each_message_arrives_once_and_in_order(steps in prop::collection::vec(step(), 1..300)) {
            let mut sides = [Side::new(11), Side::new(22)];
            let mut wires: [VecDeque<Frame>; 2] = Default::default();
            let relink = |sides: &mut [Side; 2], wires: &mut [VecDeque<Frame>; 2]| {
                for (side, wire) in sides.iter_mut().zip(wires) {
                    wire.clear();
                    side.machine.handle_link_down();
                    side.machine.handle_link_up();
                    side.drain();
                }
            };
            let carry = |sides: &mut [Side; 2], wires: &mut [VecDeque<Frame>; 2], from: usize, n: usize| {
                for _ in 0..n {
                    if let Some(frame) = sides[from].machine.poll_frame() {
                        wires[from].push_back(frame);
                    }
                    sides[from].drain();
                    if let Some(frame) = wires[from].pop_front() {
                        sides[1 - from].machine.handle_frame(frame);
                        sides[1 - from].drain();
                    }
                }
            };
            relink(&mut sides, &mut wires);
            for step in steps {
                match step {
                    Step::Write(side) => sides[usize::from(side)].write(),
                    Step::Carry(side, n) => carry(&mut sides, &mut wires, side.into(), n),
                    Step::Commit(side) => sides[usize::from(side)].commit(),
                    Step::Break => relink(&mut sides, &mut wires),
                    Step::Restart(side) => {
                        let log = if side { 22 } else { 11 };
                        sides[usize::from(side)].restart(log);
                        relink(&mut sides, &mut wires);
                    }
                }
                let [a, b] = &sides;
                assert_exactly_once(a, b);
                assert_exactly_once(b, a);
            }
            relink(&mut sides, &mut wires);
            for _ in 0..1000 {
                for side in 0..2 {
                    carry(&mut sides, &mut wires, side, 2);
                    sides[side].commit();
                }
            }
            for (from, to) in [(0, 1), (1, 0)] {
                prop_assert_eq!(sides[to].inbox.len(), sides[from].outbox.len());
                prop_assert_eq!(sides[from].delivered, sides[from].outbox.len() as u64);
                prop_assert_eq!(sides[from].violations, 0);
            }
        }
    }

    #[test]
    fn at_most_a_window_is_on_its_way_and_a_sender_that_ignores_it_is_a_violation() {
        let mut sender = Side::new(1);
        sender.machine.handle_link_up();
        for _ in 0..2 * WINDOW {
            sender.write();
        }
        let mut frames = Vec::new();
        for _ in 0..2 * WINDOW {
            frames.extend(sender.machine.poll_frame());
            sender.drain();
            sender.commit();
        }
        assert_eq!(frames.len() as u64, 1 + WINDOW);
        let mut receiver = Side::new(2);
        receiver.machine.handle_link_up();
        for frame in frames {
            receiver.machine.handle_frame(frame);
        }
        receiver.drain();
        assert_eq!(receiver.violations, 0);
        let Outgoing { number, message, at, text } = outgoing(WINDOW + 1);
        receiver.machine.handle_frame(Frame::Message { number, message, at, text });
        receiver.drain();
        assert_eq!(receiver.violations, 1);
    }

    #[test]
    fn a_message_before_the_hello_is_a_violation() {
        let mut side = Side::new(1);
        side.machine.handle_link_up();
        let Outgoing { number, message, at, text } = outgoing(1);
        side.machine.handle_frame(Frame::Message { number, message, at, text });
        side.drain();
        assert_eq!(side.violations, 1);
    }

    #[test]
    fn a_hello_that_knows_more_than_we_wrote_tells_that_our_database_is_an_older_copy() {
        let mut machine = Conversation::new(1, 3, 3, None, None);
        machine.handle_link_up();
        machine.handle_frame(Frame::Hello { log: 2, received_log: 1, received: 7 });
        assert_eq!(machine.poll_event(), Some(Event::Renumber));
    }

    #[test]
    fn a_hello_that_knows_less_than_was_acknowledged_tells_that_the_other_database_is_lost() {
        let mut machine = Conversation::new(1, 4, 3, None, None);
        machine.handle_link_up();
        machine.handle_frame(Frame::Hello { log: 2, received_log: 0, received: 0 });
        let events: Vec<_> = std::iter::from_fn(|| machine.poll_event()).collect();
        assert!(events.contains(&Event::Renumber));
        machine.handle_outbox(1, vec![outgoing(4)]);
        assert!(matches!(machine.poll_frame(), Some(Frame::Hello { log: 1, .. })));
        assert_eq!(machine.poll_frame(), None, "nothing is sent under the old numbers");
        machine.restart(5, 1);
        assert_eq!(machine.poll_event(), Some(Event::Load { after: 0, load: 2 }));
        assert!(matches!(machine.poll_frame(), Some(Frame::Hello { log: 5, .. })));
    }

    #[test]
    fn what_was_read_for_a_link_that_is_gone_is_not_sent_on_the_next() {
        let mut side = Side::new(1);
        side.outbox = (1..=4).map(outgoing).collect();
        side.restart(1);
        side.machine.handle_link_up();
        side.drain();
        side.commit();
        while side.machine.poll_frame().is_some() {}
        side.drain();
        // The load for what follows is at the store when the link is replaced.
        side.machine.handle_link_up();
        side.drain();
        for _ in 0..3 {
            side.commit();
        }
        assert!(matches!(side.machine.poll_frame(), Some(Frame::Hello { .. })));
        assert!(matches!(side.machine.poll_frame(), Some(Frame::Message { number: 1, .. })));
    }

    #[test]
    fn what_was_read_while_there_was_no_link_is_said_on_the_next_and_on_each_after_it() {
        let mut machine = Conversation::new(1, 0, 0, Some((2, 9)), Some((2, 7)));
        for _ in 0..2 {
            machine.handle_link_up();
            assert!(matches!(machine.poll_frame(), Some(Frame::Hello { .. })));
            assert_eq!(machine.poll_frame(), Some(Frame::Read { log: 2, upto: 7 }));
            assert_eq!(machine.poll_frame(), None);
        }
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_is_not_believed() {
        let mut side = Side::new(1);
        side.machine.handle_link_up();
        side.write();
        side.machine.handle_frame(Frame::Acknowledge { log: 1, upto: 9 });
        side.drain();
        assert_eq!(side.delivered, 0);
    }
}
