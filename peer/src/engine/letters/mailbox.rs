//! Our mailboxes: whether our own rendezvous keep letters for us, and whose.
//!
//! Whom we talk with is told a few at a time, each in answer to the one before: what is said at once may arrive in any order,
//! and the first message replaces what was named.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use knothole_proto::control::MAX_NAMED;
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::RendezvousId;

use crate::command::{CommandError, MailboxState, Reply};
use crate::engine::{Engine, answer};

/// The setting that remembers what the person last said of it: one byte, 0 or 1.
pub(in crate::engine) const SETTING: &str = "mailbox";

/// The setting that remembers whether any rendezvous keeps letters for us: then it must be told when that is to end.
pub(in crate::engine) const OPENED: &str = "mailbox-opened";

/// Whether we want mailboxes, and how far we are with each.
pub(in crate::engine) struct Mailbox {
    wanted: bool,
    opened: bool,
    at: BTreeMap<RendezvousId, Saying>,
}

/// What a rendezvous has been told, and has answered.
#[derive(Default)]
struct Saying {
    /// Still to be told, when it has answered.
    left: VecDeque<Vec<PeerId>>,
    asked: bool,
    /// Whether it has been told anything in this registration.
    told: bool,
    /// Whether the senders have changed since we began.
    again: bool,
    open: Option<bool>,
}

impl Mailbox {
    pub(in crate::engine) const fn new(wanted: bool, opened: bool) -> Self {
        Self { wanted, opened, at: BTreeMap::new() }
    }

    /// Whether the person wants letters kept: ours at our contacts' rendezvous, and theirs at ours.
    pub(in crate::engine) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(in crate::engine) fn state(&self, rendezvous: RendezvousId) -> MailboxState {
        match self.at.get(&rendezvous).and_then(|saying| saying.open) {
            Some(true) if self.wanted => MailboxState::Open,
            Some(false) if self.wanted => MailboxState::Refused,
            _ => MailboxState::Closed,
        }
    }
}

impl Engine {
    /// The person wants mailboxes from now on, or no more.
    pub(in crate::engine) fn set_mailbox(&mut self, wanted: bool, reply: Reply<()>) {
        self.after(self.store.set_setting(SETTING, vec![u8::from(wanted)]), move |engine, result| {
            if result.is_ok() {
                engine.mailbox.wanted = wanted;
                engine.mailbox_changed(Instant::now());
            }
            answer(reply, result.map_err(CommandError::from));
        });
    }

    /// Our rendezvous are told of a change: in what we want, or in whom we talk with.
    pub(in crate::engine) fn mailbox_changed(&mut self, now: Instant) {
        for index in 0..self.own_rendezvous {
            self.say_mailbox(RendezvousId(u32::try_from(index).unwrap_or(u32::MAX)), now);
        }
    }

    /// Tells a rendezvous of ours, where we are registered, whether to keep letters and whose.
    pub(in crate::engine) fn say_mailbox(&mut self, id: RendezvousId, now: Instant) {
        if id.0 as usize >= self.own_rendezvous || self.traversal.observed(id).is_none() {
            return;
        }
        let wanted = self.mailbox.wanted;
        let saying = self.mailbox.at.entry(id).or_default();
        // One that was never opened need not be closed: so everybody who has none costs nothing.
        if !wanted && !self.mailbox.opened && !saying.asked {
            return;
        }
        if saying.asked {
            saying.again = true;
            return;
        }
        saying.again = false;
        let senders = self.contacts.values().filter(|contact| wanted && contact.talks()).map(|contact| contact.peer);
        saying.left = senders.collect::<Vec<_>>().chunks(MAX_NAMED).map(<[PeerId]>::to_vec).collect();
        let first = saying.left.pop_front().unwrap_or_default();
        saying.asked = self.traversal.keep_letters(id, wanted, true, first, now);
        saying.told = saying.asked;
    }

    /// We are registered, perhaps as we were before.
    pub(in crate::engine) fn resume_mailbox(&mut self, id: RendezvousId, now: Instant) {
        if self.mailbox.at.get(&id).is_none_or(|saying| !saying.told) {
            self.say_mailbox(id, now);
        }
    }

    /// A rendezvous has answered.
    pub(in crate::engine) fn handle_mailbox(&mut self, id: RendezvousId, open: bool, now: Instant) {
        let wanted = self.mailbox.wanted;
        let Some(saying) = self.mailbox.at.get_mut(&id).filter(|saying| saying.asked) else { return };
        saying.asked = false;
        saying.open = Some(open);
        if (open || !wanted) && open != self.mailbox.opened {
            self.mailbox.opened = open;
            self.after(self.store.set_setting(OPENED, vec![u8::from(open)]), |_, result| {
                if let Err(error) = result {
                    tracing::info!(%error, "it was not noted whether there is a mailbox");
                }
            });
        }
        let Some(saying) = self.mailbox.at.get_mut(&id) else { return };
        if wanted && !open {
            saying.left.clear();
            tracing::info!("the rendezvous keeps no letters for us");
        }
        if saying.again {
            self.say_mailbox(id, now);
        } else if let Some(next) = saying.left.pop_front() {
            saying.asked = self.traversal.keep_letters(id, wanted, false, next, now);
        }
    }

    /// A registration has ended, and what was not answered there is to be said again.
    pub(in crate::engine) fn forget_mailbox(&mut self, id: RendezvousId) {
        if let Some(saying) = self.mailbox.at.get_mut(&id) {
            (saying.asked, saying.told) = (false, false);
        }
    }
}
