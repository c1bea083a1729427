//! What a peer and its rendezvous tell each other once the peer is registered, and the channel that carries it. Layout:
//! docs/protocol.md, "Control".

mod channel;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::candidate::{Candidate, CheckKey, IntroductionId};
use crate::identity::PeerId;

pub use channel::{Channel, ChannelFull, MAX_DATAGRAM, MAX_OUTSTANDING, Opened, PeerChannel, RendezvousChannel};

/// An invitation carries at most this many candidates: two families with some interfaces each; more would be noise.
pub const MAX_CANDIDATES: usize = 8;

/// The longest envelope in a letter: a text of 900 bytes and what stands around it, so that a letter fits a datagram.
pub const MAX_ENVELOPE: usize = 1024;

/// The longest greeting with an invitation, in bytes: a name and a sentence.
pub const MAX_GREETING: usize = 140;

/// The longest message between the two ends of a one-time code, in bytes: a contact link with a name, sealed.
pub const MAX_CODE_MESSAGE: usize = 900;

/// Peers named by one message at most: what fits a datagram.
pub const MAX_NAMED: usize = 30;

/// What a peer tells its rendezvous. New messages are appended, never inserted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRendezvous {
    /// Introduce me to this peer.
    Invite {
        /// Chosen by the inviter at random.
        introduction: IntroductionId,
        /// Who is asked for.
        to: PeerId,
        /// The inviter's own addresses; the observed one is added by the rendezvous.
        candidates: Vec<Candidate>,
        /// Whether the two are to meet through the relay alone: then the other is told no address of the inviter's.
        relay_only: bool,
        /// For one who does not know the inviter: what the inviter says to be taken in. At most [`MAX_GREETING`] bytes.
        greeting: Option<String>,
    },
    /// I take this invitation up, and have sent my opening packets.
    Accept {
        /// As in the invitation.
        introduction: IntroductionId,
        /// The inviter.
        to: PeerId,
        /// The invitee's own addresses.
        candidates: Vec<Candidate>,
        /// Whether the two are to meet through the relay alone: then the other is told no address of the invitee's.
        relay_only: bool,
    },
    /// I have sent my opening packets for this introduction too.
    Opened {
        /// As in the invitation.
        introduction: IntroductionId,
        /// The invitee.
        to: PeerId,
    },
    /// I am leaving.
    Goodbye,
    /// I want no more frames of this relay channel: whoever is at its other end is no contact of mine any more.
    Refuse {
        /// As when I was told of it.
        channel: u32,
    },
    /// Tell me when these are here and when they leave, those of them that watch me too and let me see them. They are added
    /// to those named before, or changed.
    Watch {
        /// Whether all whom I have not named are told that I am away, whatever they ask. An invitation of theirs reaches me
        /// all the same.
        unseen: bool,
        /// At most [`MAX_NAMED`].
        peers: Vec<Watched>,
    },
    /// Give this letter to that peer, and answer with [`ToPeer::Posted`].
    Post {
        /// Who is to have it.
        to: PeerId,
        /// Names the letter in the answer; chosen by the sender.
        letter: LetterName,
        /// At most [`MAX_ENVELOPE`] bytes that only the two peers can read.
        envelope: Vec<u8>,
        /// Whether it is to wait in the peer's mailbox, if that is open for me, while the peer is away.
        keep: bool,
    },
    /// Keep letters for me while I am away; or, with `open` false, no more, and destroy those that wait.
    Mailbox {
        /// Whether letters are wanted.
        open: bool,
        /// The senders replace all that were named before; otherwise they are added.
        fresh: bool,
        /// Whose letters are kept, at most [`MAX_NAMED`] in one message.
        senders: Vec<PeerId>,
    },
    /// I have these letters of my mailbox in durable storage: destroy them.
    Collected {
        /// As in [`ToPeer::Letter`].
        letters: Vec<u64>,
    },
    /// I watch these no more, nor hide from them: they are strangers to me.
    Unwatch {
        /// At most [`MAX_NAMED`].
        peers: Vec<PeerId>,
    },
    /// Give me a number for a one-time code, in place of the one that I have; answered by [`ToPeer::CodeOpened`].
    OpenCode,
    /// Pass this on to the other end of a code. From somebody who is at neither end yet it takes the code up.
    Code {
        /// The code's number.
        number: u16,
        /// At most [`MAX_CODE_MESSAGE`] bytes, see [`code`](crate::code).
        message: Vec<u8>,
    },
    /// I am done with this code; the other end is told.
    CloseCode {
        /// Its number.
        number: u16,
    },
}

/// A letter's name between its sender and the rendezvous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterName(pub [u8; 8]);

/// Somebody whose coming and going a peer wants to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Who.
    pub peer: PeerId,
    /// Whether that peer may know of ours; otherwise it is told, and treated, as if we were not here.
    pub shown: bool,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Posted {
    /// The peer is here, and it has been passed on to it.
    Passed,
    /// It waits in the peer's mailbox, on disk.
    Kept,
    /// Neither: the peer is away and keeps no mailbox for the sender, or there is no room.
    Returned,
}

/// What a rendezvous tells a peer. New messages are appended, never inserted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPeer {
    /// Somebody asks for you.
    Invited {
        /// Names this introduction to both sides.
        introduction: IntroductionId,
        /// Who asks, proved to the rendezvous by TLS.
        from: PeerId,
        /// The inviter's address as the rendezvous sees it; port 0 where there is none for us, see
        /// [`tunnel`](crate::tunnel::told).
        observed: SocketAddr,
        /// For the checks of this introduction.
        key: CheckKey,
        /// The inviter's own addresses.
        candidates: Vec<Candidate>,
        /// The relay channel that is offered with the invitation. The inviter's first datagrams may come by it at once;
        /// a datagram of ours on it, or our acceptance, makes it the channel of both.
        channel: Option<u32>,
        /// What a stranger says of itself.
        greeting: Option<String>,
    },
    /// The invitee takes your invitation up.
    Accepted {
        /// As in the invitation.
        introduction: IntroductionId,
        /// The invitee.
        from: PeerId,
        /// The invitee's address as the rendezvous sees it.
        observed: SocketAddr,
        /// For the checks of this introduction.
        key: CheckKey,
        /// The invitee's own addresses.
        candidates: Vec<Candidate>,
    },
    /// The inviter has sent its opening packets: full-TTL checks can harm no more.
    Opened {
        /// As in the invitation.
        introduction: IntroductionId,
        /// The inviter.
        from: PeerId,
    },
    /// The peer asked for keeps no registration here.
    Absent {
        /// As in the invitation.
        introduction: IntroductionId,
    },
    /// The invitation was not relayed: too many of them; try later.
    Refused {
        /// As in the invitation.
        introduction: IntroductionId,
    },
    /// The rendezvous shuts down.
    Closing,
    /// The two peers of this introduction may send each other relay frames. Sent to the inviter at once, while the channel
    /// is only offered and carries no more than a first flight; to both if there is one only since the acceptance.
    Relay {
        /// As in the invitation.
        introduction: IntroductionId,
        /// The other peer.
        with: PeerId,
        /// Names the relay channel in its frames.
        channel: u32,
    },
    /// The channel is no more: it was idle for long, or the other peer's registration has ended, or another channel took
    /// its place, or it was offered and not accepted.
    RelayClosed {
        /// As when it was opened.
        channel: u32,
    },
    /// Where peers that you watch are now.
    Presence {
        /// At most [`MAX_NAMED`], each with whether it is here.
        peers: Vec<(PeerId, bool)>,
    },
    /// What became of your letter.
    Posted {
        /// As in [`ToRendezvous::Post`].
        letter: LetterName,
        /// It is where it is said to be, durably if in the mailbox.
        outcome: Posted,
    },
    /// Whether letters are kept for you from now on, or why not any: the rendezvous has no mailboxes, or no room.
    Mailbox {
        /// As was asked for, unless it cannot be.
        open: bool,
    },
    /// A letter for you.
    Letter {
        /// Its name in your mailbox, to be told when you have it ([`ToRendezvous::Collected`]); none if it comes straight
        /// from its sender.
        id: Option<u64>,
        /// Who sends it, if it comes straight from its sender. A mailbox does not know.
        from: Option<PeerId>,
        /// What it holds.
        envelope: Vec<u8>,
    },
    /// The number of your one-time code; none if too many are open, or you have asked too often.
    CodeOpened {
        /// Yours until you close it, it is closed by the other end, or ten minutes have passed.
        number: Option<u16>,
    },
    /// From the other end of a code.
    Code {
        /// The code's number.
        number: u16,
        /// As it was said.
        message: Vec<u8>,
    },
    /// The code of this number is not open, or not any more.
    CodeClosed {
        /// As you named it.
        number: u16,
    },
}
