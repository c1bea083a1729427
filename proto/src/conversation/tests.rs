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
    Outgoing { number, message: MessageId([number as u8; 16]), at: number, content: format!("message {number}").into() }
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
    let sent: Vec<_> = from.outbox.iter().map(|m| &m.content).collect();
    let got: Vec<_> = to.inbox.iter().map(|m| &m.content).collect();
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
    let Outgoing { number, message, at, content } = outgoing(WINDOW + 1);
    receiver.machine.handle_frame(Frame::Message { number, message, at, content });
    receiver.drain();
    assert_eq!(receiver.violations, 1);
}

#[test]
fn a_message_before_the_hello_is_a_violation() {
    let mut side = Side::new(1);
    side.machine.handle_link_up();
    let Outgoing { number, message, at, content } = outgoing(1);
    side.machine.handle_frame(Frame::Message { number, message, at, content });
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
