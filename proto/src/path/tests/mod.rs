//! Two agents on a wire in memory: the specification in the module's documentation, sentence by sentence.

mod bootstrap;
mod distress;
mod hostile;
mod moves;
mod selection;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Agent, Base, Config, Event, Pair, Path, Role, Transmit};
use crate::candidate::{Candidate, CandidateKind, CheckKey, IntroductionId};
use crate::stun::check::{self, Peek};

/// The two ends of every test.
const A: usize = 0;
const B: usize = 1;

const FIRST: (IntroductionId, CheckKey) = (IntroductionId([1; 12]), CheckKey([0x11; 20]));
const SECOND: (IntroductionId, CheckKey) = (IntroductionId([2; 12]), CheckKey([0x22; 20]));

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn candidate(kind: CandidateKind, text: &str) -> Candidate {
    Candidate { address: address(text), kind }
}

fn host(text: &str) -> Candidate {
    candidate(CandidateKind::Host, text)
}

fn reflexive(text: &str) -> Candidate {
    candidate(CandidateKind::ServerReflexive, text)
}

#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise; only differences matter here")]
fn epoch() -> Instant {
    Instant::now()
}

fn agent(seed: u8) -> Agent {
    Agent::new(Config::default(), [seed; 32])
}

/// What an agent sent: when, who, what.
struct Sent {
    at: Duration,
    by: usize,
    transmit: Transmit,
}

impl Sent {
    fn is_request(&self) -> bool {
        matches!(check::peek(&self.transmit.payload), Peek::Request(_))
    }
}

/// Says whether a datagram of a side to an address arrives at the other: the source that is seen, and the delay.
type Route = Box<dyn FnMut(usize, &Transmit, Duration) -> Option<(SocketAddr, Duration)>>;

struct World {
    epoch: Instant,
    now: Instant,
    agents: [Agent; 2],
    route: Route,
    wire: BTreeMap<(Instant, usize), (usize, SocketAddr, Vec<u8>)>,
    sent: Vec<Sent>,
    events: Vec<(Duration, usize, Event)>,
}

impl World {
    fn new(route: impl FnMut(usize, &Transmit, Duration) -> Option<(SocketAddr, Duration)> + 'static) -> Self {
        let epoch = epoch();
        let agents = [agent(1), agent(2)];
        let route = Box::new(route);
        Self { epoch, now: epoch, agents, route, wire: BTreeMap::new(), sent: Vec::new(), events: Vec::new() }
    }

    /// A world in which each side has addresses of its own and everything sent to them arrives from the side's first one.
    fn open(a: &'static [&'static str], b: &'static [&'static str], delay: Duration) -> Self {
        Self::new(move |by, transmit, _| {
            let (own, theirs) = if by == A { (a, b) } else { (b, a) };
            theirs.iter().any(|text| address(text) == transmit.to).then(|| (address(own[0]), delay))
        })
    }

    fn introduce(&mut self, to: usize, introduction: (IntroductionId, CheckKey), role: Role, remotes: &[Candidate]) {
        self.agents[to].introduce(introduction.0, introduction.1, role, remotes, self.now);
        self.drain();
    }

    fn elapsed(&self) -> Duration {
        self.now - self.epoch
    }

    /// Moves the clock to so long after the beginning, doing everything on the way at its time.
    fn run_until(&mut self, end: Duration) {
        let end = self.epoch + end;
        let mut steps_without_time = 0;
        loop {
            self.drain();
            let timeouts = self.agents.iter().filter_map(Agent::poll_timeout);
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let next = timeouts.chain(arrival).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            steps_without_time = if next > self.now { 0 } else { steps_without_time + 1 };
            assert!(steps_without_time < 100, "no busy loop");
            self.now = self.now.max(next);
            if arrival.is_some_and(|arrival| arrival <= self.now) {
                let (_, (to, from, payload)) = self.wire.pop_first().unwrap();
                self.deliver(to, from, &payload);
            } else {
                for agent in &mut self.agents {
                    if agent.poll_timeout().is_some_and(|timeout| timeout <= self.now) {
                        agent.handle_timeout(self.now);
                        assert!(agent.poll_timeout().is_none_or(|next| next > self.now), "time moves on");
                    }
                }
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, payload: &[u8]) -> bool {
        let accepted = match check::peek(payload) {
            Peek::Request(_) => self.agents[to].handle_request(Base::MAIN, from, payload, self.now),
            Peek::Response(_) => self.agents[to].handle_response(Base::MAIN, from, payload, self.now),
            Peek::Other => panic!("an agent sent something else"),
        };
        self.drain();
        accepted
    }

    fn drain(&mut self) {
        let at = self.elapsed();
        for by in [A, B] {
            while let Some(transmit) = self.agents[by].poll_transmit() {
                if let Some((from, delay)) = (self.route)(by, &transmit, at) {
                    let key = (self.now + delay, self.sent.len());
                    self.wire.insert(key, (1 - by, from, transmit.payload.clone()));
                }
                self.sent.push(Sent { at, by, transmit });
            }
            while let Some(event) = self.agents[by].poll_event() {
                self.events.push((at, by, event));
            }
        }
    }

    /// The events of one side that pass the filter.
    fn told(&self, side: usize, wanted: impl Fn(&Event) -> bool) -> Vec<(Duration, Event)> {
        self.events.iter().filter(|(_, by, event)| *by == side && wanted(event)).map(|(at, _, e)| (*at, *e)).collect()
    }

    /// The paths that one side selected, in order.
    fn selections(&self, side: usize) -> Vec<(Duration, Path)> {
        let selected = self.events.iter().filter(|(_, by, _)| *by == side);
        selected
            .filter_map(|(at, _, event)| if let Event::Selected(path) = event { Some((*at, *path)) } else { None })
            .collect()
    }

    /// The checks of one side to an address, in order.
    fn checks(&self, side: usize, to: &str) -> Vec<&Sent> {
        let to = address(to);
        self.sent.iter().filter(|s| s.by == side && s.is_request() && s.transmit.to == to).collect()
    }

    /// Gives both sides one open path and waits until it is in use.
    fn connected(delay: Duration) -> Self {
        let mut world = Self::open(&["203.0.113.1:1000"], &["203.0.113.2:2000"], delay);
        world.meet();
        world
    }

    fn meet(&mut self) {
        self.introduce(A, FIRST, Role::Inviter, &[host("203.0.113.2:2000")]);
        self.introduce(B, FIRST, Role::Invitee, &[host("203.0.113.1:1000")]);
        self.run_until(ms(1000));
        assert!(self.agents.iter().all(|agent| agent.path().is_some()));
    }
}
