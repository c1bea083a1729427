//! The path machine: one [`Agent`] a contact finds the addresses at which the contact can be reached directly, keeps the
//! best of them alive, and says at once when there is none.
//!
//! A path is a [`Base`], one of our sockets, and a remote address. There is one socket for everything but for what
//! [`hard_nat`](crate::hard_nat) opens for a while, so mostly the remote address says it all. Each side chooses the path on
//! which *it* sends; the two choices need not mirror each other, and no message nominates one. A path is used only
//! after a check on it was answered under a key that the rendezvous gave to these two peers alone.
//!
//! # Bootstrap
//! An introduction brings a key, a role and the other side's candidates. Each candidate is checked: a STUN request of
//! 76 bytes, repeated after 40 ms, then at gaps that grow by 1.6 to a second, for ten seconds. First checks go out 5 ms
//! apart, the most promising address first.
//!
//! *Openers.* A full-TTL packet that reaches the other side's router before that side has sent anything can make the
//! router's connection tracking claim the port, and the mapping that should have been there moves elsewhere. So the
//! *invitee*, which learns the inviter's addresses first, sends to addresses behind a NAT two checks that die after
//! [`Config::opener_ttl`] hops: enough to open its own router, not enough to arrive. It goes on at full TTL when
//! the other side has been heard, when the rendezvous relays that the inviter is ready
//! ([`Agent::handle_opened`]), or after a second. The *inviter* learns the invitee's addresses only after the invitee has
//! sent its openers, and sends at full TTL at once. Neither is needed toward a host's own addresses.
//!
//! *Being heard.* A check from an address that nobody named makes that address a peer-reflexive candidate. It is
//! answered, announced ([`Event::Heard`]: the owner admits it as the contact's before any QUIC can come from it), and
//! checked at once (RFC 8445 section 7.3.1.4): what let this packet in lets one out.
//!
//! Up to four introductions are remembered: two peers may invite each other at once, and then each check is valid
//! under either. A later introduction begins a new round beside a path that lives.
//!
//! # Selection
//! The first success is selected. Another takes its place if it is on a private network and no slower, or if it is
//! faster by 5 ms and 10 %; to go back would take the same gain in the other direction, so two like paths do not
//! alternate. When something suggests that the other side has moved (an introduction, a check from a new
//! address), the selected path is checked together with the newcomer, which takes its place unless it answers within
//! little more than its usual round trip. Paths that are
//! valid but not selected are not kept alive: a spare path would double the traffic of an idle contact, and when it is
//! needed a check tells within a round trip whether it is still there.
//!
//! # Distress
//! *Consent* (RFC 7675): if nothing was heard on the selected path for 15 s it is checked, with repetitions after 1, 2 and
//! 4 s, and after 30 s of silence it is lost; the strict and the frugal [`Profile`] have times of their own. Traffic that
//! the owner reports counts, and so does the other side's check, so an idle pair needs one exchange in 15 s, which also
//! keeps mappings of 30 s alive. The links' own signs of life come before that: then no check is needed at all.
//! *Silence*: the owner, who knows what it has sent, reports that nothing came back ([`Agent::handle_silence`]). Four quick
//! checks decide within the greater of three round trips and 400 ms. Only an answer ends that, for traffic from the other
//! side shows only that the other direction works. A lost path is tried again for ten seconds, together with
//! the other addresses that answered in the last minute; whichever answers is selected.
//!
//! # Bounds
//! A contact may be hostile, and its candidates are addresses of its choice. One introduction causes at most 16
//! candidates × 24 checks × 76 bytes = 29 KB, to one address 1.8 KB, over ten seconds; the owner limits
//! introductions. Checks from unnamed addresses begin at most 8 series of 8 checks at once and one in ten seconds
//! after that: 4.9 KB, then 61 bytes a second. Answers are never longer than what they answer.
//!
//! # What it does not own
//! Sockets, QUIC, the relay, invitations, the search for own candidates, and the tactics for hard NATs: those send checks of
//! this agent's ([`Agent::check`]) from many bases or to many ports, and what comes of one that arrives is the agent's again.
//! It does not know whether traffic flows; the owner tells it.

mod agent;
mod introduction;
mod remote;
mod round;
mod select;
mod watch;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

pub use agent::Agent;

use crate::candidate::CandidateKind;
use crate::registration::Profile;

/// What an agent is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether loopback addresses are candidates: for two peers on one machine only.
    pub allow_loopback: bool,
    /// The TTL (IPv6: hop limit) of openers, in hops: it must pass our own routers and die before the other side's. 2 passes
    /// one's own router; behind two NATs 3 is needed.
    pub opener_ttl: u8,
    /// How often an idle path is checked.
    pub profile: Profile,
}

impl Default for Config {
    fn default() -> Self {
        Self { allow_loopback: false, opener_ttl: 2, profile: Profile::Default }
    }
}

/// Which end of an introduction this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It asked for the other, and learns the other's addresses after the other has opened its router.
    Inviter,
    /// It was asked for, and learns the other's addresses first.
    Invitee,
}

/// One of our local sockets (RFC 8445 section 3: what candidates are sent from), by number: 0 is the one for everything, in
/// both address families; the others are IPv4 sockets that are opened for a hard NAT, and for a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base(pub u16);

impl Base {
    /// The one for everything.
    pub const MAIN: Self = Self(0);
}

/// A base and a remote address: RFC 8445's candidate pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) base: Base,
    pub(crate) remote: SocketAddr,
}

impl Pair {
    pub(crate) const fn new(base: Base, remote: SocketAddr) -> Self {
        Self { base, remote }
    }
}

/// A direct way to the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// From which socket to send.
    pub base: Base,
    /// Where to send.
    pub remote: SocketAddr,
    /// How the address was learnt.
    pub kind: CandidateKind,
    /// The smoothed round-trip time of checks.
    pub rtt: Duration,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From which socket.
    pub base: Base,
    /// Where to.
    pub to: SocketAddr,
    /// The TTL (IPv6: hop limit) to send it with, in hops; `None` is the socket's own.
    pub ttl: Option<u8>,
    /// The datagram, at most [`CHECK_LENGTH`](crate::stun::check::CHECK_LENGTH) bytes.
    pub payload: Vec<u8>,
}

/// What the owner must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The contact proved to be at this address: admit what comes from there as the contact's. Once for each address.
    Heard {
        /// The socket that it reaches.
        base: Base,
        /// The address.
        remote: SocketAddr,
    },
    /// The address was given up in favour of others: stop admitting it.
    Forgotten {
        /// The socket that it reached.
        base: Base,
        /// The address.
        remote: SocketAddr,
    },
    /// Send on this path from now on.
    Selected(Path),
    /// The selected path carries nothing any more; there is none until the next [`Event::Selected`].
    Lost {
        /// The socket of the path.
        base: Base,
        /// The address of the path.
        remote: SocketAddr,
    },
    /// A round has ended, and there is no path.
    Failed,
    /// The other side saw us at this address, which differs from where it saw us before.
    Observed {
        /// The socket that it was seen of.
        base: Base,
        /// Our address as seen from a remote.
        address: SocketAddr,
    },
}
