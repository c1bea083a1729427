//! What a face asks of the engine. Every request carries the way for its answer.

use std::path::PathBuf;
use std::time::Duration;

use knothole_proto::code::Code;
use knothole_proto::contact_link::{ContactLink, RendezvousAddress};
use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use knothole_proto::verification;
use tokio::sync::oneshot;

use crate::passphrase::Passphrase;
use crate::store::{ContactState, Message, Place, StoreError, Summary};

/// Where the answer to a command goes.
pub type Reply<T> = oneshot::Sender<Result<T, CommandError>>;

/// One request.
#[derive(Debug)]
pub enum Command {
    /// Who we are and which rendezvous know us.
    Status(Reply<Status>),
    /// What the engine knows of this machine's network.
    Network {
        /// Whether to find out how long the NAT remembers an idle mapping, from sockets of its own, unless that is known.
        seek_lifetime: bool,
        /// What is known now.
        reply: Reply<NetworkView>,
    },
    /// Adds a contact by its link; an open request of that peer is thereby accepted.
    AddContact {
        /// The link.
        link: ContactLink,
        /// What to call it; the beginning of its id otherwise.
        name: Option<String>,
        /// Through a relay alone or not, from the first invitation on; else as it was chosen before.
        relay_only: Option<bool>,
        /// The new contact.
        reply: Reply<ContactView>,
    },
    /// All contacts, by name.
    Contacts(Reply<Vec<ContactView>>),
    /// Takes a stranger's request up.
    Accept {
        /// A name or a peer id.
        who: String,
        /// Through a relay alone or not, from the first invitation on; else as it was chosen before.
        relay_only: Option<bool>,
        /// The contact.
        reply: Reply<ContactView>,
    },
    /// Makes a one-time code: whoever types it becomes a contact ([`EventKind::ContactAdded`](crate::event::EventKind)).
    MakeCode {
        /// What to call them; as they call themselves otherwise.
        name: Option<String>,
        /// What they are told to call us.
        me: Option<String>,
        /// Through a relay alone or not, from the first invitation on; else as it was chosen before.
        relay_only: Option<bool>,
        /// The code, once a rendezvous has given its number.
        reply: Reply<CodeView>,
    },
    /// Takes a one-time code up, and makes a contact of whoever made it.
    JoinCode {
        /// The code.
        code: Code,
        /// What to call them; as they call themselves otherwise.
        name: Option<String>,
        /// What they are told to call us.
        me: Option<String>,
        /// Through a relay alone or not, from the first invitation on; else as it was chosen before.
        relay_only: Option<bool>,
        /// The contact.
        reply: Reply<ContactView>,
    },
    /// Adds a contact by its link, with a word for it should it not know us.
    Introduce {
        /// The link.
        link: ContactLink,
        /// What to call it; the beginning of its id otherwise.
        name: Option<String>,
        /// At most [`MAX_GREETING`](knothole_proto::control::MAX_GREETING) bytes.
        greeting: String,
        /// Through a relay alone or not, from the first invitation on; else as it was chosen before.
        relay_only: Option<bool>,
        /// The new contact.
        reply: Reply<ContactView>,
    },
    /// Adds a contact by its link under a name that another has, who is called otherwise from then on.
    ReplaceContact {
        /// The link.
        link: ContactLink,
        /// The name.
        name: String,
        /// Through a relay alone or not, from the first invitation on; else as it was chosen before.
        relay_only: Option<bool>,
        /// Both.
        reply: Reply<Replaced>,
    },
    /// What a person and a contact compare, to know that nobody is between them.
    Words {
        /// A name or a peer id.
        who: String,
        /// The same words on both sides.
        reply: Reply<WordsView>,
    },
    /// Notes that the person has compared the words with a contact, if that is so.
    Verify {
        /// A name or a peer id.
        who: String,
        /// What the contact shows in place of the words; it is compared here.
        shown: Option<String>,
        /// The contact.
        reply: Reply<ContactView>,
    },
    /// Calls a contact by another name.
    Rename {
        /// A name or a peer id.
        who: String,
        /// The new name.
        name: String,
        /// The contact.
        reply: Reply<ContactView>,
    },
    /// Chooses whether a contact may be met directly, or through a relay alone.
    Path {
        /// A name or a peer id.
        who: String,
        /// Not one packet goes between the two networks.
        relay_only: bool,
        /// The contact.
        reply: Reply<ContactView>,
    },
    /// Ends all talk with somebody, and lets no request of theirs through.
    Block {
        /// A name or a peer id.
        who: String,
        /// The contact.
        reply: Reply<ContactView>,
    },
    /// Deletes a contact and its conversation.
    Remove {
        /// A name or a peer id.
        who: String,
        /// Done.
        reply: Reply<()>,
    },
    /// Connects now, without a message.
    Connect {
        /// A name or a peer id.
        who: String,
        /// It is under way.
        reply: Reply<()>,
    },
    /// Writes a message. The answer comes when it is in durable storage.
    Send {
        /// A name or a peer id.
        to: String,
        /// What is written.
        message: NewMessage,
        /// The message's name.
        reply: Reply<MessageId>,
    },
    /// Keeps what is begun to a contact and not sent. The answer comes when it is in durable storage.
    SetDraft {
        /// A name or a peer id.
        with: String,
        /// At most 64 KiB, in place of what was there; empty: nothing is begun.
        text: String,
        /// It is stored.
        reply: Reply<()>,
    },
    /// Edits, deletes or reacts to a message, or sets the conversation's timer. The answer comes when it is in durable
    /// storage.
    Amend {
        /// A name or a peer id; not needed where a message is changed.
        with: Option<String>,
        /// The change: no text.
        content: Content,
        /// The change's own name: what becomes of it is told like what becomes of a message.
        reply: Reply<MessageId>,
    },
    /// The person here types, or has stopped. To be repeated while it goes on; it ends by itself after some seconds.
    Typing {
        /// A name or a peer id.
        to: String,
        /// Whether it goes on.
        on: bool,
        /// It is taken in; nobody says whether the contact hears it.
        reply: Reply<()>,
    },
    /// A page of a conversation, oldest first.
    History {
        /// A name or a peer id.
        with: String,
        /// Only messages that hold this text.
        search: Option<String>,
        /// Where the page lies.
        place: Place,
        /// How many at most.
        limit: u32,
        /// The page.
        reply: Reply<Vec<Message>>,
    },
    /// A person has read a conversation up to this message.
    Read {
        /// A name or a peer id.
        with: String,
        /// The last message read.
        upto: MessageId,
        /// It is stored.
        reply: Reply<()>,
    },
    /// Chooses who may see that we are there.
    Presence {
        /// What they may see.
        mode: PresenceMode,
        /// A name or a peer id; nobody: all contacts of whom nothing else was chosen.
        who: Option<String>,
        /// It is stored.
        reply: Reply<()>,
    },
    /// Reads the whole database, and tells what is wrong with it.
    Check(Reply<Vec<String>>),
    /// Writes a backup.
    Export {
        /// Where to, from the root on.
        path: PathBuf,
        /// What it is to be encrypted under.
        passphrase: Passphrase,
        /// It is written and synced.
        reply: Reply<()>,
    },
    /// Whether letters are to be kept for us at our rendezvous while we are away, and ours at our contacts'.
    SetMailbox {
        /// Whether they are.
        open: bool,
        /// It is stored; the rendezvous are being told.
        reply: Reply<()>,
    },
    /// Lets the database grow so far.
    #[cfg(test)]
    Room {
        /// So many pages more than it has.
        pages: u32,
        /// Done.
        reply: Reply<()>,
    },
    /// As if our mapping were about to end.
    #[cfg(test)]
    Renew {
        /// Whether or not there is a mapping.
        forced: bool,
        /// The port that is sent from then.
        reply: Reply<u16>,
    },
    /// How many datagrams have gone straight to this port.
    #[cfg(test)]
    SentTo {
        /// Whosever it is.
        port: u16,
        /// Since the start.
        reply: Reply<u64>,
    },
    /// Says goodbye to everybody, finishes what is under way and stops.
    Stop(oneshot::Sender<()>),
}

/// A text about to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewMessage {
    /// Its name, chosen by whoever may have to send it again: under the same name it is stored once. `None`: any.
    pub id: Option<MessageId>,
    /// At most 64 KiB.
    pub text: String,
    /// The message that it answers.
    pub answers: Option<MessageId>,
    /// Seconds after which it disappears; 0: it stays; `None`: as the conversation's timer says.
    pub expires_s: Option<u32>,
    /// Whether it is made of the contact's draft, which is then gone in the same commit.
    pub from_draft: bool,
}

impl From<&str> for NewMessage {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for NewMessage {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// What contacts may see of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceMode {
    /// Whether we are there.
    Online,
    /// Nothing: we are away for them. What they write arrives; what we write goes by letter alone.
    Invisible,
    /// Of one contact: what all see.
    Default,
}

/// Why a command was not carried out. The texts are for a person and say what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nobody of this name or id.
    #[error("no contact is called {0:?}; `knothole contacts` lists them, `knothole add LINK` adds one")]
    UnknownContact(String),
    /// The contact has not been accepted.
    #[error("{0} asks to be a contact; accept that first: `knothole accept {0}`")]
    NotAccepted(String),
    /// The contact is blocked.
    #[error("{0} is blocked; `knothole accept {0}` ends that")]
    Blocked(String),
    /// We hide from the contact.
    #[error("you are invisible to {0}; `knothole presence online {0}` ends that")]
    Hidden(String),
    /// Nobody knows us.
    #[error("there is no rendezvous to ask; name one: `knothole --rendezvous <key>@<host>:<port> netcheck`")]
    NoRendezvous,
    /// One's own link.
    #[error("that is your own link; add the link of somebody else")]
    OwnLink,
    /// A greeting that does not fit an invitation.
    #[error("a greeting has at most {max} bytes, and this has {0}; say less", max = knothole_proto::control::MAX_GREETING)]
    LongGreeting(usize),
    /// A code of one's own.
    #[error("that is your own code; it is for somebody else to type")]
    OwnCode,
    /// Another code was typed meanwhile.
    #[error("another code was typed before this one came to anything; type it again if it is still wanted")]
    CodeReplaced,
    /// The rendezvous has no number for a code.
    #[error(
        "the rendezvous gives no code at the moment: too many are open, or you have made many; try again in a minute"
    )]
    NoCode,
    /// Nobody has this code.
    #[error(
        "no code with the number {0} is open at your rendezvous: it is used up, older than ten minutes, mistyped, or its maker \
         uses another rendezvous (exchange links then: `knothole id`)"
    )]
    UnknownCode(u16),
    /// The words are not the maker's.
    #[error(
        "the words do not match, and the code is used up: somebody mistyped, or tried to come between you; let a new one be \
         made: knothole code"
    )]
    WrongWords,
    /// The other end fell silent.
    #[error("whoever made the code does not answer; let them make another while their Knothole runs: knothole code")]
    CodeUnanswered,
    /// None of our rendezvous knows us.
    #[error(
        "no rendezvous of yours answers, and codes need one; is this machine on the network? `knothole netcheck` tells"
    )]
    NoRendezvousYet,
    /// A name that was verified with another key.
    #[error(transparent)]
    KeyDiffers(Box<KeyDiffers>),
    /// What was shown does not prove what it should.
    #[error("{0}; nothing was marked as verified")]
    Unverified(verification::Mismatch),
    /// The words need more memory than there is.
    #[error("64 MiB of memory are needed for the words, and there are none; end other programs and repeat that")]
    NoMemory,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup was not written.
    #[error("{why}")]
    Backup {
        /// A word for programs.
        kind: &'static str,
        /// Why, and what to do next.
        why: String,
    },
    /// The engine is stopping.
    #[error("Knothole is stopping; start it again and repeat that")]
    Stopping,
}

/// Somebody comes under the name of a verified contact, with another key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "WARNING: THE KEY DIFFERS. {name} is verified with another key, and this may be somebody else who wants to be taken for \
     {name}. Nothing was changed. Words of the key that you verified: {known} / of this one: {given}. Compare by voice or face to \
     face (`knothole verify` on both sides); only if {name} reads you the second ones: add it again with --replace"
)]
pub struct KeyDiffers {
    /// The verified contact's name.
    pub name: String,
    /// The words with its key.
    pub known: String,
    /// The words with the key that was given.
    pub given: String,
}

/// A one-time code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeView {
    /// What the other types.
    pub code: String,
    /// Until when, in milliseconds since 1970.
    pub expires_at: u64,
}

/// What a person and a contact compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordsView {
    /// The same on both sides.
    pub words: Vec<&'static str>,
    /// What we show to the contact, as a QR code for one.
    pub text: String,
}

/// A contact that has taken another's name over.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// The contact.
    pub contact: ContactView,
    /// Who had the name, and what it is called now.
    pub former: (PeerId, String),
}

/// Who we are.
#[derive(Debug, Clone)]
pub struct Status {
    /// Our id.
    pub peer: PeerId,
    /// What to give to others.
    pub link: ContactLink,
    /// The rendezvous, in the order of preference, then those of contacts.
    pub rendezvous: Vec<RendezvousStatus>,
    /// Whether we are invisible to all contacts of whom nothing else was chosen.
    pub invisible: bool,
    /// Whether letters are to be kept for us while we are away; each rendezvous tells whether it does.
    pub mailbox: bool,
    /// Letters that came since we started and could not be opened: their messages come when there is a connection.
    pub letters_unopened: u64,
}

/// Whether a rendezvous keeps letters for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxState {
    /// It has not been asked, or has not answered, or is somebody else's.
    Closed,
    /// It keeps them.
    Open,
    /// It has been asked to, and does not.
    Refused,
}

impl MailboxState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Refused => "refused",
        }
    }
}

/// How we stand with a rendezvous.
#[derive(Debug, Clone)]
pub struct RendezvousStatus {
    /// Which one.
    pub address: RendezvousAddress,
    /// Whether it knows us.
    pub state: RendezvousState,
    /// Our address as it sees it.
    pub observed: Option<std::net::SocketAddr>,
    /// Round-trip time, measured at sign-in.
    pub rtt: Option<Duration>,
    /// What carries our datagrams to it.
    pub transport: Transport,
    /// Whether it keeps letters for us.
    pub mailbox: MailboxState,
}

/// What the engine knows of this machine's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// The protocols by which the router opens ports when asked: `upnp`, `pcp`, `nat-pmp`. Empty until it has answered.
    pub router_protocols: Vec<&'static str>,
    /// How long the NAT remembers an idle mapping at least; `None`: nobody has found out in this network yet.
    pub lifetime: Option<Duration>,
    /// Whether that is being found out.
    pub searching: bool,
}

/// What carries datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// As it should be.
    Udp,
    /// TLS over TCP, where the network lets no UDP through.
    Tcp,
}

impl Transport {
    /// Its name for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Whether a rendezvous knows us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RendezvousState {
    /// It does.
    Registered,
    /// Not yet.
    Connecting,
    /// Several tries failed; trying goes on.
    Unreachable,
}

/// A contact as a face shows it.
#[derive(Debug, Clone)]
pub struct ContactView {
    /// Its id.
    pub peer: PeerId,
    /// What we call it.
    pub name: String,
    /// Contact, request, blocked.
    pub state: ContactState,
    /// Whether it is there: a rendezvous says so, or there is a living connection.
    pub online: bool,
    /// When it was there last, in milliseconds since 1970.
    pub last_seen: Option<u64>,
    /// Whether it may see that we are there.
    pub shown: bool,
    /// How it is reached, while it is.
    pub path: Option<PathView>,
    /// Whether its key has been compared.
    pub verified: bool,
    /// Whether it is met through a relay alone.
    pub relay_only: bool,
    /// How many seconds new texts last, if they do not stay.
    pub expires_s: Option<u32>,
    /// What it says of itself, while it is a request.
    pub greeting: Option<String>,
    /// What is unread, when the newest message came, and what is begun.
    pub summary: Summary,
}

/// How a contact is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathView {
    /// Straight, or through a rendezvous.
    pub kind: PathKind,
    /// The contact's address, or the rendezvous'.
    pub remote: std::net::SocketAddr,
    /// Round-trip time, where it is known.
    pub rtt: Option<Duration>,
    /// For a relay: why not straight, for a person.
    pub why: Option<&'static str>,
}

/// Whether a path is straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// From socket to socket.
    Direct,
    /// Through a rendezvous that cannot read it.
    Relay,
}
