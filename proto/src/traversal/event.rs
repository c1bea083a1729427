//! What the owner must do or know, and the names by which it does.

use std::net::SocketAddr;
use std::time::Duration;

use crate::candidate::IntroductionId;
use crate::control::{LetterName, Posted};
use crate::identity::PeerId;
use crate::path::Base;

/// The owner's name for a rendezvous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RendezvousId(pub u32);

/// The owner's name for a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactId(pub u32);

/// Why a contact is not reached; trying goes on by itself, more and more rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// None of the rendezvous through which it can be invited answers us.
    NoRendezvous,
    /// It keeps alive at none of its rendezvous.
    Absent,
    /// The rendezvous has too much to do for us.
    Refused,
    /// Both sides tried, and no check came through.
    NoPath,
    /// Only a relay can be: our network lets no UDP through.
    NoUdp,
    /// Only a relay can be: the contact's network lets no UDP through.
    NoUdpThere,
    /// Only a relay may be: so it is set here for this contact.
    RelayOnly,
    /// Only a relay may be: the contact has set it so.
    RelayOnlyThere,
    /// Both networks give every connection a port that cannot be foreseen: no direct path can be found.
    BothHard,
    /// The network of one side gives every connection a port of its own, and it was not hit upon. It is tried again, rarely.
    TacticFailed,
}

/// What the owner must do or know.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Sign in over QUIC, then call `handle_signed_in` or `handle_sign_in_failed`.
    SignIn(RendezvousId),
    /// Known to the rendezvous, which sees us at this address (also after it changed). Port 0: over TCP, for no UDP passes.
    Registered {
        /// Which one.
        rendezvous: RendezvousId,
        /// Our address as it sees it.
        observed: SocketAddr,
    },
    /// Not known to the rendezvous any more; signing in follows by itself.
    Unregistered(RendezvousId),
    /// A stranger invites us. It has learnt nothing of us.
    Request {
        /// Who.
        peer: PeerId,
        /// The rendezvous that said so.
        via: RendezvousId,
        /// What it says of itself; not yet looked at.
        greeting: Option<String>,
    },
    /// This address proved to be the contact's: QUIC from it is to be taken.
    Admit {
        /// Whose.
        contact: ContactId,
        /// The socket that it reaches.
        base: Base,
        /// Its address.
        remote: SocketAddr,
        /// Whether more than the check speaks for it: the rendezvous saw the contact there, or it is on a network of our own.
        /// Only then may anything be sent there that is longer than what comes, before a check of ours is answered.
        vouched: bool,
    },
    /// This address was given up: QUIC from it is not to be taken any more.
    Revoke {
        /// Whose it was.
        contact: ContactId,
        /// The socket that it reached.
        base: Base,
        /// The address.
        remote: SocketAddr,
    },
    /// QUIC to the contact goes to this address from now on.
    Path {
        /// Whose.
        contact: ContactId,
        /// The socket to send from.
        base: Base,
        /// Its address.
        remote: SocketAddr,
        /// The round-trip time of the check.
        rtt: Duration,
    },
    /// There is a path or a relay, and it is ours to open the connection if there is none: the inviter's, or in glare the smaller id's.
    Dial(ContactId),
    /// Open the connection, if there is none, behind the invitation that `poll_transmit` gives next: send that first. Where
    /// there is no other way, QUIC's datagrams to the contact may go in flight datagrams, a few at most, until
    /// [`Event::Offered`] or [`Event::Relay`] names another.
    Flight {
        /// To whom.
        contact: ContactId,
        /// The rendezvous that passes them on.
        rendezvous: SocketAddr,
        /// Our slot there, and …
        slot: u32,
        /// … the invitation, for [`flight_header`](crate::datagram::flight_header).
        introduction: IntroductionId,
    },
    /// The contact may answer by this relay channel, which it has not accepted yet; a few of QUIC's datagrams may go by it.
    Offered {
        /// Whose.
        contact: ContactId,
        /// The rendezvous that relays.
        rendezvous: SocketAddr,
        /// Names the channel in the frames.
        channel: u32,
    },
    /// The invitation behind which the connection was opened came to nothing: without another way the connection does too.
    Grounded(ContactId),
    /// Until there is a direct path, QUIC to the contact may go through this relay channel, and come from it.
    Relay {
        /// Whose.
        contact: ContactId,
        /// The rendezvous that relays.
        rendezvous: SocketAddr,
        /// Names the channel in the frames.
        channel: u32,
    },
    /// The contact's relay channel is no more.
    RelayClosed(ContactId),
    /// Send this to the contact in a [`Frame::Note`](crate::frames::Frame::Note), ahead of messages.
    Note {
        /// To whom.
        contact: ContactId,
        /// The note.
        note: Vec<u8>,
    },
    /// Open up to so many more IPv4 sockets, for a hard NAT, and call `handle_bases` with what there is, perhaps nothing.
    OpenBases {
        /// For whom.
        contact: ContactId,
        /// How many, at most 256.
        count: u16,
    },
    /// What `memory` gives has changed.
    Remember,
    /// Close this socket: no path goes from it.
    CloseBase(Base),
    /// The path carries nothing any more. An invitation is on its way already.
    PathLost(ContactId),
    /// The path is used no more, though it may carry: somebody has chosen so.
    PathLeft {
        /// Whose.
        contact: ContactId,
        /// Who has.
        why: Unreachable,
    },
    /// A peer that we watch has come to a rendezvous, or is at none any more.
    Presence {
        /// Who.
        peer: PeerId,
        /// Whether it is there.
        here: bool,
    },
    /// The number of our one-time code, or none.
    CodeOpened {
        /// The rendezvous that gives it.
        via: RendezvousId,
        /// None: it has too many, or we asked too often.
        number: Option<u16>,
    },
    /// The other end of a code says this.
    Code {
        /// The rendezvous that passes it on.
        via: RendezvousId,
        /// The code's.
        number: u16,
        /// For the [`Maker`](crate::code::Maker) or the [`Joiner`](crate::code::Joiner).
        message: Vec<u8>,
    },
    /// A code is not open, or not any more.
    CodeClosed {
        /// The rendezvous that says so.
        via: RendezvousId,
        /// The code's.
        number: u16,
    },
    /// It was not reached this time.
    Unreachable {
        /// Who.
        contact: ContactId,
        /// Why.
        why: Unreachable,
    },
    /// What became of a letter that was given to `post`.
    Posted {
        /// The rendezvous that answers.
        via: RendezvousId,
        /// Which letter.
        letter: LetterName,
        /// What became of it.
        outcome: Posted,
    },
    /// Whether this rendezvous keeps letters for us, in answer to `keep_letters`.
    Mailbox {
        /// Which one.
        via: RendezvousId,
        /// Whether it does.
        open: bool,
    },
    /// A letter has come. Who wrote it is proved by nothing but its seal.
    Letter {
        /// The rendezvous that brings it.
        via: RendezvousId,
        /// Its name in our mailbox, to be given to `collect` when it is in durable storage; `None` if it comes straight.
        letter: Option<u64>,
        /// Who sends it, as the rendezvous says, if it comes straight.
        from: Option<PeerId>,
        /// What is sealed.
        envelope: Vec<u8>,
    },
}
