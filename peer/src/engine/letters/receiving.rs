//! Letters that come: opened by the store, and shown as any message is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use knothole_proto::control::MAX_NAMED;
use knothole_proto::conversation::Incoming;
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::{ContactId, RendezvousId};

use super::missed::Missed;
use crate::engine::Engine;
use crate::store::{Arrived, Opened, StoreError};

/// Letters that the store may be at: enough for one transaction, and no more than others may have to wait behind.
const AT_ONCE: usize = 64;
/// Letters that wait for that, some 10 MB: a whole mailbox comes as fast as the line is. A rendezvous can make up more than
/// that; they are dropped, and if they were in a mailbox it is asked for them again.
const WAITING: usize = 10_000;

/// What the engine knows of letters on their way into the store.
#[derive(Default)]
pub(in crate::engine) struct Receiving {
    opening: usize,
    waiting: VecDeque<Letter>,
    /// Letters of our mailboxes that are done with, and that those are still to be told of.
    collected: BTreeMap<RendezvousId, Vec<u64>>,
    pub(super) missed: Missed,
    /// Letters that could not be opened: of strangers, of epochs that are lost, or forged.
    pub(in crate::engine) unopened: u64,
}

/// A letter as a rendezvous brings it.
struct Letter {
    via: RendezvousId,
    /// Its name in our mailbox, if it waited there.
    name: Option<u64>,
    from: Option<PeerId>,
    envelope: Vec<u8>,
}

impl Receiving {
    /// A message has been stored, whatever way it came.
    pub(in crate::engine) fn handle_stored(&mut self, now: Instant) {
        self.missed.handle_room(now);
    }

    pub(in crate::engine) const fn poll_timeout(&self) -> Option<Instant> {
        self.missed.poll_timeout()
    }
}

impl Engine {
    /// A letter has come; by its `letter` name, if it has one, it waits in our mailbox.
    pub(in crate::engine) fn handle_letter(
        &mut self,
        via: RendezvousId,
        letter: Option<u64>,
        from: Option<PeerId>,
        envelope: Vec<u8>,
    ) {
        let unwanted = from.is_some_and(|from| {
            let contact = self.find_peer(from).and_then(|id| self.contacts.get(&id));
            contact.is_none_or(|contact| !contact.talks())
        });
        tracing::debug!(?via, mailbox = letter.is_some(), unwanted, "a letter has come");
        if unwanted {
            self.receiving.unopened += 1;
        } else if self.receiving.waiting.len() < WAITING {
            self.receiving.waiting.push_back(Letter { via, name: letter, from, envelope });
            self.open_letters();
        } else if letter.is_some() {
            self.receiving.missed.handle_refused(via, Instant::now());
        }
    }

    fn open_letters(&mut self) {
        while self.receiving.opening < AT_ONCE
            && let Some(Letter { via, name, from, envelope }) = self.receiving.waiting.pop_front()
        {
            self.receiving.opening += 1;
            self.after(self.store.open_letter(self.me, from, envelope), move |engine, result| {
                engine.receiving.opening -= 1;
                engine.handle_opened(via, name, result);
                engine.open_letters();
            });
        }
    }

    fn handle_opened(&mut self, via: RendezvousId, letter: Option<u64>, result: Result<Opened, StoreError>) {
        let done = match result {
            Ok(Opened::Taken { peer, messages }) => {
                self.receiving.missed.handle_taken();
                self.handle_arrived(peer, messages);
                true
            }
            Ok(Opened::Left) => {
                if letter.is_some() {
                    self.receiving.missed.handle_left(via);
                }
                false
            }
            Ok(Opened::Unopened) => {
                self.receiving.unopened += 1;
                tracing::debug!(mailbox = letter.is_some(), "a letter could not be opened");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the store refused a letter");
                if letter.is_some() {
                    self.receiving.missed.handle_refused(via, Instant::now());
                }
                false
            }
        };
        if let Some(letter) = letter.filter(|_| done) {
            self.receiving.collected.entry(via).or_default().push(letter);
        }
        self.collect(Instant::now());
    }

    /// Tells the mailboxes which letters are done with, many at once where many come.
    fn collect(&mut self, now: Instant) {
        let all = self.receiving.opening == 0 && self.receiving.waiting.is_empty();
        for (via, letters) in &mut self.receiving.collected {
            while !letters.is_empty() && (all || letters.len() >= MAX_NAMED) {
                let some: Vec<_> = letters.iter().take(MAX_NAMED).copied().collect();
                if !self.traversal.collect(*via, some, now) {
                    break;
                }
                letters.drain(..letters.len().min(MAX_NAMED));
            }
            // What cannot be said comes again with the next registration, and then it is known.
            letters.truncate(WAITING);
        }
    }

    fn handle_arrived(&mut self, peer: PeerId, messages: Vec<Arrived>) {
        let Some(id) = self.find_peer(peer) else { return };
        let any = !messages.is_empty();
        for Arrived { position, id: message, at, content, receipt } in messages {
            let incoming = Incoming { log: position.log, number: position.number, message, at, content };
            if let Some(conversation) = self.conversation(id) {
                conversation.handle_beside(position.log);
            }
            self.handle_stored(peer, incoming, Ok(receipt));
        }
        if any {
            self.answer_letter(id, Instant::now());
        }
    }

    /// Someone has written to us: a connection tells them that we have it, and carries what follows.
    fn answer_letter(&mut self, id: ContactId, now: Instant) {
        if self.contacts.get(&id).is_some_and(|contact| contact.link.is_none()) {
            self.traversal.connect(id, now);
        }
    }
}
