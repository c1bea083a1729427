//! Letters: what goes to a contact, and comes from one, while no connection joins us.
//!
//! A message written then is sealed with keys from the last connection and posted through the contact's rendezvous, beside
//! the invitation that goes out anyway: who is online has it in one trip, who is away finds it in the mailbox. The connection
//! stays the rule: once it is up the conversation goes on by numbers, whatever the letters have brought.

mod epochs;
mod mailbox;
mod missed;
mod posting;
mod receiving;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use knothole_proto::control::LetterName;
use knothole_proto::envelope::EpochName;
use knothole_proto::traversal::RendezvousId;

pub(super) use mailbox::{Mailbox, OPENED as MAILBOX_OPENED, SETTING as MAILBOX};
pub(super) use receiving::Receiving;

use crate::link::LinkId;
use crate::store::Sealed;

/// A contact's letters, and the keys for more.
#[derive(Default)]
pub(super) struct Letters {
    /// The connection whose epoch we have last kept, or are about to.
    epoch_of: Option<LinkId>,
    /// The epoch that we have in durable storage, if the contact is still to be told.
    kept: Option<EpochName>,
    /// Sealed, and not posted since.
    waiting: VecDeque<Sealed>,
    /// Posted, and not answered for.
    posted: BTreeMap<LetterName, Posted>,
    /// Whether the latest answer was that the contact is away and keeps no letters of ours: others are not tried with more
    /// than one letter.
    returned: bool,
    /// Whether the person has written something since nothing was left to be posted, or came back.
    said: bool,
}

/// A letter on its way to a rendezvous.
struct Posted {
    envelope: Vec<u8>,
    /// Where it was posted, the present way last.
    tried: Vec<RendezvousId>,
    /// When that was.
    at: Instant,
}
