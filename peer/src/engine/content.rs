//! What is written and what it changes: texts, edits, deletions, reactions, timers, and texts that disappear.

use std::time::{Duration, Instant};

use knothole_proto::content::Content;
use knothole_proto::conversation::Outgoing;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::ContactId;

use super::timers::Timer;
use super::{Engine, answer, message_id, wall_clock};
use crate::command::{CommandError, NewMessage, Reply};
use crate::event::EventKind;
use crate::store::{Change, News, Position, Summary, What};

/// How long after a clock may have started the store is asked which text ends next: one question for many messages.
const GATHER: Duration = Duration::from_millis(250);
/// The store is asked again after this at the latest, for the time of day moves otherwise than ours: when the machine
/// slept, or its clock was set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Engine {
    /// Writes a text.
    pub(super) fn send(&mut self, to: &str, written: NewMessage, reply: Reply<MessageId>, now: Instant) {
        let (id, peer) = match self.talking(to) {
            Ok(found) => found,
            Err(error) => return answer(reply, Err(error)),
        };
        self.traversal.connect(id, now);
        self.look_around(id, now);
        let timer = self.contacts.get_mut(&id).and_then(|contact| {
            contact.typing.handle_sent();
            contact.timer
        });
        let expires_s = written.expires_s.or(timer).filter(|seconds| *seconds > 0);
        let content = Content::Text { text: written.text, reply: written.answers, expires_s };
        let (message, at) = (written.id.unwrap_or_else(message_id), wall_clock());
        self.store.clone().together(|| {
            let stored = self.store.compose_named(peer, message, content.clone(), at, written.from_draft);
            self.after(stored, move |engine, result| {
                answer(reply, result.as_ref().map(|_| message).map_err(|error| error.clone().into()));
                let Ok(position) = result else { return };
                if let (true, Content::Text { text, .. }) = (written.from_draft, &content)
                    && let Some(summary) = engine.summary(peer)
                {
                    // Of a message that was there already the draft is gone only if it was the same.
                    summary.draft.take_if(|draft| position.is_some() || draft == text);
                }
                if let Some(Position { number, .. }) = position {
                    engine.tell_sent(peer, message, &content);
                    engine.handle_written(peer, Outgoing { number, message, at, content });
                }
            });
            self.begin_letters(id);
        });
    }

    /// Tells the faces what one of them has written.
    fn tell_sent(&mut self, peer: PeerId, message: MessageId, content: &Content) {
        let Content::Text { text, reply, expires_s } = content else { return };
        let Some(contact) = self.find_peer(peer).and_then(|id| self.contacts.get_mut(&id)) else { return };
        contact.summary.last_at = Some(wall_clock());
        let (name, text) = (contact.name.clone(), text.clone());
        self.emit(EventKind::Sent { peer, name, message, text, reply: *reply, expires_s: *expires_s });
    }

    /// Keeps what is begun to a contact.
    pub(super) fn set_draft(&mut self, with: &str, text: String, reply: Reply<()>) {
        let (_, peer) = match self.named(with) {
            Ok(found) => found,
            Err(error) => return answer(reply, Err(error)),
        };
        self.after(self.store.set_draft(peer, text.clone()), move |engine, result| {
            if let (Ok(()), Some(summary)) = (&result, engine.summary(peer)) {
                summary.draft = Some(text).filter(|text| !text.is_empty());
            }
            answer(reply, result.map_err(Into::into));
        });
    }

    fn summary(&mut self, peer: PeerId) -> Option<&mut Summary> {
        let id = self.find_peer(peer)?;
        self.contacts.get_mut(&id).map(|contact| &mut contact.summary)
    }

    /// Changes an earlier message, in whoever's conversation it is if that is not said, or the conversation.
    pub(super) fn amend(&mut self, with: Option<&str>, content: Content, reply: Reply<MessageId>, now: Instant) {
        match (with.map(|who| self.talking(who)), &content) {
            (Some(Ok((id, peer))), _) => self.amend_with(id, peer, content, reply, now),
            (Some(Err(error)), _) => answer(reply, Err(error)),
            (None, Content::Edit { of, .. } | Content::Delete { of } | Content::Reaction { of, .. }) => {
                self.after(self.store.whose(*of), move |engine, result| {
                    let found = result.map_err(CommandError::from).and_then(|peer| engine.talking(&peer.to_string()));
                    match found {
                        Ok((id, peer)) => engine.amend_with(id, peer, content, reply, Instant::now()),
                        Err(error) => answer(reply, Err(error)),
                    }
                });
            }
            (None, _) => answer(reply, Err(CommandError::UnknownContact(String::new()))),
        }
    }

    fn amend_with(&mut self, id: ContactId, peer: PeerId, content: Content, reply: Reply<MessageId>, now: Instant) {
        self.traversal.connect(id, now);
        self.look_around(id, now);
        let message = message_id();
        self.store.clone().together(|| {
            self.after(self.store.amend(peer, message, content.clone(), wall_clock()), move |engine, result| {
                answer(reply, result.as_ref().map(|_| message).map_err(|error| error.clone().into()));
                if let Ok(amended) = result {
                    let (number, at) = (amended.position.number, amended.at);
                    engine.handle_written(peer, Outgoing { number, message, at, content });
                    engine.tell(peer, amended.change.map(News::Change));
                }
            });
            self.begin_letters(id);
        });
    }

    /// Tells the faces what is new in a conversation.
    pub(super) fn tell(&mut self, peer: PeerId, news: impl IntoIterator<Item = News>) {
        let Some(id) = self.find_peer(peer) else { return };
        let mut recount = false;
        for news in news {
            let Some(contact) = self.contacts.get_mut(&id) else { return };
            let name = contact.name.clone();
            match news {
                News::Text { message, text, reply, expires_s } => {
                    contact.summary.unread += 1;
                    contact.summary.first_unread.get_or_insert(message);
                    contact.summary.last_at = Some(wall_clock());
                    self.handle_typing(id, false, Instant::now());
                    self.emit(EventKind::Message { peer, name, message, text, reply, expires_s });
                }
                News::Change(change) => {
                    if matches!(change.what, What::Deleted | What::Expired) {
                        self.tidying.expect(Instant::now());
                    }
                    match &change.what {
                        What::Timer { expires_s } => {
                            contact.timer = *expires_s;
                            contact.summary.last_at = Some(wall_clock());
                        }
                        What::Deleted | What::Expired => recount = true,
                        What::Edited { .. } | What::Reacted { .. } => {}
                    }
                    let timer = matches!(change.what, What::Timer { .. });
                    self.emit(EventKind::Change { peer, name, change });
                    if timer {
                        self.tell_contact(peer);
                    }
                }
            }
        }
        if recount {
            self.recount(peer);
        }
    }

    /// The clock of a text may have started: it is looked soon which one ends next.
    pub(super) fn expect_expiry(&mut self, id: ContactId, now: Instant) {
        self.timers.bring_forward(id, Timer::Expire, now + GATHER);
    }

    /// Removes what is due, and sets out to do so again.
    pub(super) fn expire(&mut self, id: ContactId) {
        let Some(peer) = self.contacts.get(&id).map(|contact| contact.peer) else { return };
        self.after(self.store.expire(peer), move |engine, result| {
            let Some(id) = engine.find_peer(peer) else { return };
            let next = match result {
                Ok(expired) => {
                    let gone = |message| News::Change(Change { message, mine: false, what: What::Expired });
                    engine.tell(peer, expired.gone.into_iter().map(gone));
                    let Some(next_ms) = expired.next_ms else { return };
                    Duration::from_millis(next_ms).min(LOOK_AGAIN)
                }
                Err(error) => {
                    tracing::warn!(%error, "what is due to disappear is still there");
                    LOOK_AGAIN
                }
            };
            engine.timers.bring_forward(id, Timer::Expire, Instant::now() + next);
        });
    }
}
