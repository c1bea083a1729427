//! Tactics for hard NATs: what ordinary checks cannot join, prediction and chance can.
//!
//! A NAT is *hard* if it gives each destination a mapping of its own: the port that the rendezvous saw is then not the one
//! from which the peer's packets reach its contact, and a filter on the other side drops them. It is *easy* if one
//! mapping serves all. Two easy ones are joined by the checks of [`path`](crate::path). For the rest there are tactics, the
//! cheapest first:
//!
//! | pair | tactic |
//! | --- | --- |
//! | easy, sequential | *prediction*: the hard side opens 4 sockets, the easy side tries the next 64 ports |
//! | sequential, sequential | *meeting*: both tell their next ports, and send from the i-th to the i-th |
//! | easy, block | *birthday in the block*: 32 sockets (64 for more than 1,024 ports), the block's ports in random order |
//! | easy, random | *birthday*: 256 sockets, 1,024 random ports (98.3 %), then 1,024 more (99.97 %) |
//! | hard, hard otherwise | none, and it is said |
//!
//! A probe is a check of the path agent's, so whichever socket it reaches answers, and the agents do the rest.
//!
//! # Knowing
//! A survey learns after each sign-in how our NAT maps, and both sides tell each other over their (relayed)
//! connection. How the ports of *new* mappings follow each other is found out when it matters: the hard side asks the
//! rendezvous from 16 fresh sockets, in order, where it sees them.
//!
//! # An attempt
//! It begins when the connection is up, ordinary checks have found nothing for a second, and the NATs are known well enough. The hard
//! side leads: it asks, opens, samples, sends an *opener* from each socket, whose TTL lets it die before the other's router (a
//! packet that arrives unasked at a router that accepts on INPUT makes it move the port that everything depends on), and only then
//! says which ports to probe. The easy side probes from a fresh socket, whose port it tells in its grant: at the main one the
//! hard side's ordinary checks have arrived unasked, from a port that one of the probes may hit. Any path ends the attempt at once on both sides, and the sockets that nobody was heard at
//! are closed.
//!
//! # Bounds
//! Routers at home hold some thousand mappings, and carriers give a customer as little as 512 ports: so at most 256
//! sockets, with a mapping toward the contact each, and 16 toward the rendezvous (48 in the three rounds of a prediction). The
//! easy side's one mapping gets at most 2,048 destinations, in a table that on Linux holds 65,536 and forgets them after 30 s.
//! Probes go out every 4 ms: 76 bytes and 28 of headers make 208 kbit/s, less than a telephone call with a picture. One attempt runs at a time,
//! and in vain it is repeated after 1, 5 and then 30 minutes, six times in all for the same two addresses.
//!
//! A contact may be hostile. Probes and openers go only to the IP address at which the rendezvous saw it, whatever it says,
//! at most 2,048 in an attempt; it is granted 4 attempts at once and one in 10 minutes after that; and all contacts together
//! 8,192 probes at once and 4 a second after that. Whatever it says is of fixed size and names no address.
//!
//! # What it does not own
//! Sockets (the owner opens bases), notes' way to the contact, and the choice of a path.

mod attempt;
mod lead;
mod meeting;
mod memory;
mod prober;
mod ration;
mod sampling;
mod survey;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::nat::{Mapping, Ports};

pub use memory::{Memory, Remembered, Tactic, from_bytes, to_bytes};

pub(crate) use attempt::{Action, Attempt, Outcome, Terms};
pub(crate) use memory::{Chance, Networks};
pub(crate) use prober::MAX_PROBES;
pub(crate) use ration::Ration;
pub(crate) use survey::Survey;

/// What is known of one side's NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// How it maps.
    pub mapping: Mapping,
    /// How the ports of new mappings follow each other.
    pub ports: Ports,
}

impl Nat {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { mapping: Mapping::Unknown, ports: Ports::Unknown };

    /// Whether one mapping serves all destinations. A NAT that keeps the port does that as long as nobody else has it, whatever
    /// it would do then.
    #[must_use]
    pub const fn is_easy(&self) -> bool {
        match self.mapping {
            Mapping::None | Mapping::EndpointIndependent => true,
            Mapping::Unknown => matches!(self.ports, Ports::Preserved),
            Mapping::AddressDependent | Mapping::AddressAndPortDependent => false,
        }
    }

    /// Whether each destination has a mapping of its own.
    #[must_use]
    pub const fn is_hard(&self) -> bool {
        matches!(self.mapping, Mapping::AddressDependent | Mapping::AddressAndPortDependent)
    }

    pub(crate) const fn is_sequential(&self) -> bool {
        self.is_hard() && matches!(self.ports, Ports::Sequential { .. })
    }
}

/// What is to be done about a pair of networks between which ordinary checks find nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// We are the hard side: lead.
    Lead,
    /// Both are sequential: meet. One of the two must begin.
    Meet,
    /// The other side will ask, or there is nothing to be tried.
    Wait,
    /// No tactic joins these two.
    Hopeless,
}

/// Chooses. Checks between two easy NATs succeed, so where they do not and one is easy, the other is hard. But only who is known
/// to be easy may probe: a hard NAT would make a mapping for each probe, and a customer's 512 ports would be full for minutes.
pub(crate) const fn part(ours: Nat, theirs: Nat, begins: bool) -> Part {
    if ours.is_hard() && theirs.is_hard() {
        return match (ours.is_sequential() && theirs.is_sequential(), begins) {
            (true, true) => Part::Meet,
            (true, false) => Part::Wait,
            (false, _) => Part::Hopeless,
        };
    }
    if theirs.is_easy() && !ours.is_easy() { Part::Lead } else { Part::Wait }
}

/// What the two sides of an attempt say to each other, in a [`Note`](crate::traversal::Note). Appended to, never reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// What the sender's NAT does.
    Nat(Nat),
    /// The sender wants to begin an attempt, and chose this number for it.
    Ask {
        /// The attempt.
        attempt: u32,
        /// Whether both sides open sockets (the meeting), or the receiver is to probe.
        meet: bool,
    },
    /// The receiver may go on.
    Grant {
        /// The attempt.
        attempt: u32,
        /// The port of the sender's that openers go to and probes come from; 0: the one that the rendezvous saw.
        port: u16,
    },
    /// Not now.
    Busy {
        /// The attempt.
        attempt: u32,
    },
    /// The sender's sockets have sent their openers: probe.
    Open {
        /// The attempt.
        attempt: u32,
        /// Counted from 0.
        round: u8,
        /// The first port.
        first: u16,
        /// How many ports there are to choose from.
        count: u16,
        /// From each port to the next; they are tried in this order. 0: all ports from the first on, in random order.
        step: i16,
        /// How many to try.
        probes: u16,
    },
    /// The sender has probed in vain.
    Spent {
        /// The attempt.
        attempt: u32,
        /// Counted from 0.
        round: u8,
    },
    /// The sender's next mappings will have these ports.
    Next {
        /// The attempt.
        attempt: u32,
        /// Counted from 0.
        round: u8,
        /// The first port.
        port: u16,
        /// From each to the next.
        step: i16,
    },
    /// The attempt is over.
    Stop {
        /// The attempt.
        attempt: u32,
        /// Whether the sender has a path.
        found: bool,
    },
}

impl Word {
    const fn attempt(&self) -> Option<u32> {
        match *self {
            Self::Nat(_) => None,
            Self::Ask { attempt, .. }
            | Self::Grant { attempt, .. }
            | Self::Busy { attempt }
            | Self::Open { attempt, .. }
            | Self::Spent { attempt, .. }
            | Self::Next { attempt, .. }
            | Self::Stop { attempt, .. } => Some(attempt),
        }
    }
}
