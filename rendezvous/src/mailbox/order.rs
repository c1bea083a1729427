//! What the machine asks of the disk, and what it is told. The disk does the orders one after the other, and answers each once,
//! when what it did is durable.

use knothole_proto::identity::PeerId;

/// An order to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// This mailbox exists, under this key, and these senders may leave letters.
    Name {
        /// Whose it is.
        owner: PeerId,
        /// What its senders' names are made with.
        key: [u8; 16],
        /// When the owner was here last, in seconds since 1970.
        seen_s: u64,
        /// Whether the senders replace those that were named before.
        fresh: bool,
        /// Keyed hashes.
        senders: Vec<u64>,
    },
    /// The owner was here.
    Seen {
        /// Whose mailbox.
        owner: PeerId,
        /// In seconds since 1970.
        seen_s: u64,
    },
    /// There is no such mailbox any more, nor its letters.
    Close {
        /// Whose it was.
        owner: PeerId,
        /// What was in it.
        letters: Vec<u64>,
    },
    /// Keep a letter.
    Store {
        /// Whose mailbox.
        owner: PeerId,
        /// All but what it holds.
        letter: KeptLetter,
        /// What it holds.
        envelope: Vec<u8>,
    },
    /// What does this letter hold?
    Fetch {
        /// Whose mailbox.
        owner: PeerId,
        /// Its id.
        letter: u64,
    },
    /// Destroy what these letters hold, and nothing else of them.
    Empty {
        /// Their ids.
        letters: Vec<u64>,
    },
    /// Destroy these letters.
    Destroy {
        /// Their ids.
        letters: Vec<u64>,
    },
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Of [`Order::Name`].
    Named {
        /// Whose mailbox.
        owner: PeerId,
        /// Whether it is on the disk.
        durable: bool,
    },
    /// Of [`Order::Close`].
    Closed {
        /// Whose mailbox it was.
        owner: PeerId,
        /// The letters that were to be destroyed, and are still there with the mailbox, if that failed.
        failed: Option<Vec<u64>>,
    },
    /// Of [`Order::Store`].
    Stored {
        /// Whose mailbox.
        owner: PeerId,
        /// The letter's id.
        letter: u64,
        /// What it holds, if it could not be stored.
        failed: Option<Vec<u8>>,
    },
    /// Of [`Order::Fetch`].
    Fetched {
        /// Whose mailbox.
        owner: PeerId,
        /// The letter's id.
        letter: u64,
        /// What it holds, if that could be read.
        envelope: Option<Vec<u8>>,
    },
    /// Of the others.
    Obeyed,
}

/// What is known of a letter, besides what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptLetter {
    /// Unique among all that this rendezvous ever kept; later letters have greater ones.
    pub id: u64,
    /// A keyed hash of its sender.
    pub sender: u64,
    /// A keyed hash of its sender and the name that this has given it.
    pub mark: u64,
    /// When it came, in seconds since 1970.
    pub at_s: u64,
    /// How many bytes it holds, or held.
    pub length: u16,
    /// Whether it is emptied: its recipient has it, and its sender must not see that.
    pub emptied: bool,
}

/// A mailbox, as it was found on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMailbox {
    /// Whose it is.
    pub owner: PeerId,
    /// What its senders' names are made with.
    pub key: [u8; 16],
    /// When the owner was here last, in seconds since 1970.
    pub seen_s: u64,
    /// Who may leave letters, as keyed hashes.
    pub senders: Vec<u64>,
    /// What waits, the oldest first.
    pub letters: Vec<KeptLetter>,
}

/// What was found on the disk at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// All mailboxes.
    pub mailboxes: Vec<KeptMailbox>,
    /// No letter that was ever stored had a greater id.
    pub last_letter: u64,
}
