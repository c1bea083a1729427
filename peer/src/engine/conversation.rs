//! A conversation between its machine, the store and the link.

use std::time::{Duration, Instant};

use knothole_proto::conversation::{Event, Incoming, LOAD_BYTES, Outgoing, WINDOW};
use knothole_proto::frames::{Frame, MessageId};
use knothole_proto::traversal::ContactId;

use super::Engine;
use super::contact::Contact;
use super::timers::Timer;
use crate::event::EventKind;
use crate::link::SendError;
use crate::store::{MessageState, Outcome, Position, Receipt, StoreError};

/// After the store refused a message (a full disk, say) the link is closed, so that the contact keeps what it has, and
/// tried again after this.
const STORE_PAUSE: Duration = Duration::from_secs(10);

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
        let contact = self.contacts.get_mut(&id).filter(|contact| contact.link.is_some())?;
        contact.stalled.take().or_else(|| Some(contact.conversation.as_mut()?.poll_frame()?.to_body()))
    }

    fn conversation(&mut self, id: ContactId) -> Option<&mut knothole_proto::conversation::Conversation> {
        self.contacts.get_mut(&id)?.conversation.as_mut()
    }

    /// A frame came in.
    pub(super) fn handle_body(&mut self, id: ContactId, body: &[u8]) {
        match Frame::parse(body) {
            Ok(Some(frame)) => {
                if let Some(conversation) = self.conversation(id) {
                    conversation.handle_frame(frame);
                }
            }
            // Of a later version, by its kind alone: passed over.
            Ok(None) => {}
            Err(error) => self.drop_link(id, &error.to_string()),
        }
        self.pump(id);
    }

    fn drop_link(&mut self, id: ContactId, why: &str) {
        if let Some(contact) = self.contacts.get(&id) {
            tracing::info!(contact = ?contact.peer, why, "closing the connection");
            if let Some(link) = &contact.link {
                self.links.close(link.id);
            }
        }
    }

    fn handle_conversation_event(&mut self, id: ContactId, event: Event) {
        let Some(contact) = self.contacts.get(&id) else { return };
        let (peer, log) = (contact.peer, contact.conversation.as_ref().map_or(0, |conversation| conversation.log()));
        let upto = |number| Position { log, number };
        match event {
            Event::Load { after } => {
                let limit = u32::try_from(WINDOW).unwrap_or(u32::MAX);
                self.after(self.store.outbox(peer, after, limit, LOAD_BYTES), move |engine, result| {
                    let outbox = result.unwrap_or_else(|error| engine.store_failed(id, &error).unwrap_or_default());
                    let outbox = outbox.into_iter().map(|message| Outgoing {
                        number: message.position.number,
                        message: message.id,
                        at: message.at,
                        text: message.text,
                    });
                    if let Some(conversation) = engine.conversation(id) {
                        conversation.handle_outbox(outbox.collect());
                    }
                    engine.pump(id);
                });
            }
            Event::Store(message) => {
                let position = Position { log: message.log, number: message.number };
                let stored = self.store.receive(peer, position, message.message, message.text.clone(), message.at);
                self.after(stored, move |engine, result| engine.handle_stored(id, message, result));
            }
            Event::Sent { upto: number } => {
                self.progress(id, self.store.mark_sent(peer, upto(number)), MessageState::Sent);
            }
            Event::Delivered { upto: number } => {
                self.progress(id, self.store.acknowledged(peer, upto(number)), MessageState::Delivered);
            }
            Event::Read { upto: number } => {
                self.progress(id, self.store.read_by_peer(peer, upto(number)), MessageState::Read);
            }
            Event::Renumber => self.renumber(id),
            Event::Violation => self.drop_link(id, "it breaks the protocol"),
        }
    }

    fn handle_stored(&mut self, id: ContactId, message: Incoming, result: Result<Receipt, StoreError>) {
        let receipt = match result {
            Ok(receipt) => receipt,
            Err(error) => {
                self.store_failed::<()>(id, &error);
                return;
            }
        };
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        if let Some(conversation) = &mut contact.conversation {
            conversation.handle_stored(message.log, receipt.upto);
        }
        if receipt.fresh {
            contact.unread += 1;
            let (peer, name) = (contact.peer, contact.name.clone());
            self.emit(EventKind::Message { peer, name, message: message.message, text: message.text });
        }
        self.pump(id);
    }

    /// Notes how far our messages have come, and tells the faces when it is stored.
    fn progress(&self, id: ContactId, outcome: Outcome<Vec<MessageId>>, state: MessageState) {
        self.after(outcome, move |engine, result| match result {
            Ok(messages) => {
                for message in messages {
                    engine.emit(EventKind::State { message, state });
                }
            }
            // The contact will say it again with its next hello.
            Err(error) => {
                engine.store_failed::<()>(id, &error);
            }
        });
    }

    fn renumber(&mut self, id: ContactId) {
        let Some(peer) = self.contacts.get(&id).map(|contact| contact.peer) else { return };
        tracing::info!(contact = ?peer, "one side's database is an older copy: the conversation begins a new log");
        let renumbered = self.store.renumber(peer);
        let conversation = self.store.conversation(peer);
        self.after(renumbered, move |engine, result| {
            if let Err(error) = result {
                engine.store_failed::<()>(id, &error);
            }
        });
        self.after(conversation, move |engine, result| {
            if let (Ok(at), Some(conversation)) = (result, engine.conversation(id)) {
                conversation.restart(at.log, at.next.saturating_sub(1));
            }
            engine.pump(id);
        });
    }

    /// The store refused: nothing was acknowledged, and the contact will repeat it on the next connection.
    fn store_failed<T>(&mut self, id: ContactId, error: &StoreError) -> Option<T> {
        tracing::warn!(%error, "the store refused");
        self.drop_link(id, "the store refused");
        self.timers.set(id, Timer::Reconnect, Instant::now() + STORE_PAUSE);
        None
    }

    /// A message of ours is in durable storage.
    pub(super) fn handle_written(&mut self, id: ContactId, message: Outgoing) {
        if let Some(conversation) =
            self.contacts.get_mut(&id).and_then(|contact: &mut Contact| contact.conversation.as_mut())
        {
            conversation.handle_written(message);
        }
        self.pump(id);
    }
}
