//! A conversation between its machine, the store and the link.

use std::time::{Duration, Instant};

use knothole_proto::conversation::{Conversation, Event, Incoming, LOAD_BYTES, Outgoing, WINDOW};
use knothole_proto::frames::{Frame, MessageId};
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::ContactId;

use super::Engine;
use super::contact::machine;
use super::habits::Habit;
use super::timers::Timer;
use crate::event::EventKind;
use crate::link::{Abort, SendError};
use crate::store::{self, MessageState, Outcome, Position, Receipt, StoreError};

/// After the store refused a message (a full disk, say) the link is closed, so that the contact keeps what it has, and
/// tried again after this.
const STORE_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

impl Engine {
    /// Lets the machine and the link have all that they have for each other.
    pub(super) fn pump(&mut self, id: ContactId) {
        while let Some(event) = self.conversation(id).and_then(|conversation| conversation.poll_event()) {
            self.handle_conversation_event(id, event);
        }
        while let Some(body) = self.next_body(id) {
            let Some(contact) = self.contacts.get_mut(&id) else { return };
            let Some(link) = &contact.link else { return };
            match self.links.send(link.id, body) {
                Ok(()) => {}
                Err(SendError::Full(body)) => {
                    contact.stalled = Some(body);
                    break;
                }
                Err(SendError::Gone | SendError::TooLong) => break,
            }
        }
        while let Some(event) = self.conversation(id).and_then(|conversation| conversation.poll_event()) {
            self.handle_conversation_event(id, event);
        }
    }

    fn next_body(&mut self, id: ContactId) -> Option<Vec<u8>> {
        let reading = self.may_learn(id, Habit::Reading);
        let contact = self.contacts.get_mut(&id).filter(|contact| contact.link.is_some())?;
        let stalled = contact.stalled.take();
        let note = || contact.notes.pop_front().map(|note| Frame::Note { note }.to_body());
        let epoch = || contact.letters.poll_frame().map(|frame| frame.to_body());
        let typing = || contact.typing.poll_frame().map(|frame| frame.to_body());
        let said = || {
            let mut frames = std::iter::from_fn(|| contact.conversation.as_mut()?.poll_frame());
            let frame = frames.find(|frame| reading || !matches!(frame, Frame::Read { .. }))?;
            Some(frame.to_body())
        };
        stalled.or_else(note).or_else(epoch).or_else(typing).or_else(said)
    }

    pub(super) fn conversation(&mut self, id: ContactId) -> Option<&mut Conversation> {
        self.contacts.get_mut(&id)?.conversation.as_mut()
    }

    /// A frame came in.
    pub(super) fn handle_body(&mut self, id: ContactId, body: &[u8]) {
        self.keep_epoch(id);
        match Frame::parse(body) {
            Ok(Some(Frame::Epoch { name })) => self.handle_epoch(id, name),
            Ok(Some(Frame::Typing { on })) => self.handle_typing(id, on, Instant::now()),
            Ok(Some(Frame::Note { note })) => self.traversal.handle_note(id, &note, Instant::now()),
            Ok(Some(frame)) => {
                if let Some(conversation) = self.conversation(id) {
                    conversation.handle_frame(frame);
                }
            }
            // Of a later version, by its kind alone: passed over.
            Ok(None) => {}
            Err(error) => self.drop_link(id, Abort::Violation, &error.to_string()),
        }
        self.pump(id);
    }

    fn drop_link(&mut self, id: ContactId, abort: Abort, why: &str) {
        if let Some(contact) = self.contacts.get(&id) {
            tracing::info!(contact = ?contact.peer, why, "closing the connection");
            if let Some(link) = &contact.link {
                self.links.abort(link.id, abort);
            }
        }
    }

    fn handle_conversation_event(&mut self, id: ContactId, event: Event) {
        let Some(contact) = self.contacts.get(&id) else { return };
        let (peer, log) = (contact.peer, contact.conversation.as_ref().map_or(0, |conversation| conversation.log()));
        let upto = |number| Position { log, number };
        match event {
            Event::Load { after, load } => {
                let limit = u32::try_from(WINDOW).unwrap_or(u32::MAX);
                self.after(self.store.outbox(peer, after, limit, LOAD_BYTES), move |engine, result| {
                    let outbox = match result {
                        Ok(outbox) => outbox,
                        Err(error) => return engine.store_failed(peer, &error),
                    };
                    let outbox = outbox.into_iter().map(|message| Outgoing {
                        number: message.position.number,
                        message: message.id,
                        at: message.at,
                        content: message.content,
                    });
                    if let Some(conversation) = engine.conversation(id) {
                        conversation.handle_outbox(load, outbox.collect());
                    }
                    engine.pump(id);
                });
            }
            Event::Store(message) => {
                let position = Position { log: message.log, number: message.number };
                let stored = self.store.receive(peer, position, message.message, message.content.clone(), message.at);
                self.after(stored, move |engine, result| engine.handle_stored(peer, message, result));
            }
            Event::Sent { upto: number } => match self.contacts.get_mut(&id) {
                // Handed to a handshake, it has not left yet.
                Some(contact) if !contact.is_online() => contact.sent = Some(number),
                _ => self.progress(peer, self.store.mark_sent(peer, upto(number)), MessageState::Sent),
            },
            Event::Delivered { upto: number } => {
                self.progress(peer, self.store.acknowledged(peer, upto(number)), MessageState::Delivered);
            }
            Event::Read { .. } if !self.is_shown(Habit::Reading) => {}
            Event::Read { upto: number } => {
                self.progress(peer, self.store.read_by_peer(peer, upto(number)), MessageState::Read);
            }
            Event::Renumber => self.renumber(peer),
            Event::Violation => self.drop_link(id, Abort::Violation, "it breaks the protocol"),
        }
    }

    pub(super) fn handle_stored(&mut self, peer: PeerId, message: Incoming, result: Result<Receipt, StoreError>) {
        let receipt = match result {
            Ok(receipt) => receipt,
            Err(error) => return self.store_failed(peer, &error),
        };
        let Some(id) = self.find_peer(peer) else { return };
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        if let Some(conversation) = &mut contact.conversation {
            conversation.handle_stored(message.log, receipt.upto);
        }
        if receipt.fresh {
            self.receiving.handle_stored(Instant::now());
            self.note_talk(id);
        }
        self.tell(peer, receipt.news);
        self.pump(id);
    }

    /// The link is up: what was handed to it has left.
    pub(super) fn handle_sent(&mut self, id: ContactId) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let log = contact.conversation.as_ref().map(Conversation::log);
        if let Some((number, log)) = contact.sent.take().zip(log) {
            let peer = contact.peer;
            self.progress(peer, self.store.mark_sent(peer, Position { log, number }), MessageState::Sent);
        }
    }

    /// Notes how far our messages have come, and tells the faces when it is stored.
    pub(super) fn progress(&mut self, peer: PeerId, outcome: Outcome<Vec<MessageId>>, state: MessageState) {
        self.after(outcome, move |engine, result| match result {
            Ok(messages) => {
                for message in messages {
                    engine.emit(EventKind::State { message, state });
                }
                if state != MessageState::Sent
                    && let Some(id) = engine.find_peer(peer)
                {
                    engine.expect_expiry(id, Instant::now());
                }
            }
            Err(error) => engine.store_failed(peer, &error),
        });
    }

    fn renumber(&mut self, peer: PeerId) {
        tracing::info!(contact = ?peer, "one side's database is an older copy: the conversation begins a new log");
        self.after(self.store.renumber(peer), move |engine, result| {
            if let Err(error) = result {
                return engine.store_failed(peer, &error);
            }
            engine.after(engine.store.conversation(peer), move |engine, result| match result {
                Ok(at) => {
                    let Some(id) = engine.find_peer(peer) else { return };
                    if let Some(conversation) = engine.conversation(id) {
                        conversation.restart(at.log, at.next.saturating_sub(1));
                    }
                    engine.pump(id);
                }
                Err(error) => engine.store_failed(peer, &error),
            });
        });
    }

    /// The store refused. The machine may be ahead of the disk now, so it is given up with its link, and made anew from what
    /// the disk has before the next one; the contact then repeats what was not acknowledged.
    fn store_failed(&mut self, peer: PeerId, error: &StoreError) {
        tracing::warn!(%error, "the store refused");
        let Some(id) = self.find_peer(peer) else { return };
        self.drop_link(id, Abort::Unready, "the store refused");
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.conversation = None;
        }
        self.timers.set(id, Timer::Recover, Instant::now() + STORE_PAUSE);
    }

    /// Takes a conversation up again that was given up.
    pub(super) fn recover(&mut self, id: ContactId) {
        let Some(peer) = self.contacts.get(&id).filter(|contact| contact.talks()).map(|contact| contact.peer) else {
            return;
        };
        self.after(self.store.conversation(peer), move |engine, result| match result {
            Ok(at) => {
                let Some(id) = engine.find_peer(peer) else { return };
                if let Some(contact) = engine.contacts.get_mut(&id) {
                    let linked = contact.link.is_some();
                    contact.conversation.get_or_insert_with(|| taken_up(at, linked));
                }
                engine.traversal.connect(id, Instant::now());
                engine.pump(id);
            }
            Err(error) => engine.store_failed(peer, &error),
        });
    }

    /// A message of ours is in durable storage.
    pub(super) fn handle_written(&mut self, peer: PeerId, message: Outgoing) {
        let Some(id) = self.find_peer(peer) else { return };
        self.note_talk(id);
        if let Some(conversation) = self.conversation(id) {
            conversation.handle_written(message);
        }
        self.pump(id);
    }
}

/// The machine of a conversation that was given up. A link may have been dialled meanwhile, and nobody else tells it of that.
fn taken_up(at: store::Conversation, linked: bool) -> Conversation {
    let mut conversation = machine(at);
    if linked {
        conversation.handle_link_up();
    }
    conversation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_link_that_was_dialled_while_it_was_given_up_a_conversation_begins() {
        let at = || store::Conversation { log: 7, next: 3, acknowledged: 1, received: None, read: None, timer: None };
        let hello = Frame::Hello { log: 7, received_log: 0, received: 0 };
        let mut linked = taken_up(at(), true);
        assert_eq!(linked.poll_frame(), Some(hello));
        assert!(matches!(linked.poll_event(), Some(Event::Load { after: 1, .. })));
        assert_eq!(taken_up(at(), false).poll_frame(), None);
    }
}
