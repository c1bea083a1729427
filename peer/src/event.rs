//! What the engine tells every face.

use std::net::SocketAddr;
use std::time::Duration;

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;

use crate::command::{ContactView, Transport};
use crate::store::{Change, MessageState};

/// Something happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A rendezvous knows us, or sees us at a new address.
    Registered {
        /// Which one.
        rendezvous: RendezvousAddress,
        /// Our address as it sees it; port 0 where it sees us by TCP alone.
        observed: SocketAddr,
    },
    /// A rendezvous knows us no more.
    Unregistered {
        /// Which one.
        rendezvous: RendezvousAddress,
    },
    /// A stranger wants to be a contact.
    ContactRequest {
        /// Who.
        peer: PeerId,
        /// The name it is listed under.
        name: String,
        /// What it says of itself, on one line; empty if nothing.
        text: String,
    },
    /// Somebody became a contact by a one-time code, made here or typed here.
    ContactAdded {
        /// Who.
        peer: PeerId,
        /// What we call it.
        name: String,
    },
    /// Our one-time code came to nothing, and is used up.
    CodeFailed {
        /// Why, and what to do next, in words for a person.
        why: String,
    },
    /// A contact came or went.
    Presence {
        /// Who.
        peer: PeerId,
        /// What we call it.
        name: String,
        /// Whether it is there now: a rendezvous says so, or there is a living connection.
        online: bool,
    },
    /// The way to a contact changed.
    Path {
        /// Who.
        peer: PeerId,
        /// What we call it.
        name: String,
        /// The way now.
        path: PathChange,
    },
    /// A message came, and is in durable storage.
    Message {
        /// Its author.
        peer: PeerId,
        /// What we call the author.
        name: String,
        /// Its name.
        message: MessageId,
        /// What was written.
        text: String,
        /// The message that it answers.
        reply: Option<MessageId>,
        /// How many seconds it lasts after it was read, if it does not stay.
        expires_s: Option<u32>,
    },
    /// A message of ours is in durable storage, whichever face wrote it.
    Sent {
        /// To whom.
        peer: PeerId,
        /// What we call it.
        name: String,
        /// Its name.
        message: MessageId,
        /// What was written.
        text: String,
        /// The message that it answers.
        reply: Option<MessageId>,
        /// How many seconds it lasts after it was delivered, if it does not stay.
        expires_s: Option<u32>,
    },
    /// The person has read of a conversation what was unread, in whichever face.
    Read {
        /// With whom it is.
        peer: PeerId,
        /// What we call it.
        name: String,
        /// The last message read.
        upto: MessageId,
        /// Messages that are unread still.
        unread: u64,
    },
    /// A contact is new, or its name, its state or what holds for it was changed, through whichever face. Its path, its presence
    /// and what is unread or begun have no part in this.
    ContactChanged {
        /// As it is now.
        contact: Box<ContactView>,
    },
    /// A contact, a request or a block is there no longer, nor is the conversation.
    ContactRemoved {
        /// Who.
        peer: PeerId,
        /// What we called it.
        name: String,
    },
    /// A contact types, or has stopped.
    Typing {
        /// Who.
        peer: PeerId,
        /// What we call it.
        name: String,
        /// Whether it goes on.
        on: bool,
    },
    /// Something that was said before has changed, by either side.
    Change {
        /// The contact.
        peer: PeerId,
        /// What we call it.
        name: String,
        /// What has changed.
        change: Change,
    },
    /// A message of ours went on its way.
    State {
        /// Which one.
        message: MessageId,
        /// Where it is now.
        state: MessageState,
    },
}

/// The way to a contact.
#[derive(Debug, Clone)]
pub enum PathChange {
    /// Straight to this address.
    Direct {
        /// The contact's address.
        remote: SocketAddr,
        /// Round-trip time.
        rtt: Duration,
    },
    /// Through a rendezvous that cannot read it.
    Relay {
        /// The rendezvous' address.
        rendezvous: SocketAddr,
        /// How the rendezvous is reached.
        transport: Transport,
        /// Why not straight, in words for a person.
        why: String,
    },
    /// No way at present.
    None {
        /// Why, in words for a person.
        why: String,
    },
}
