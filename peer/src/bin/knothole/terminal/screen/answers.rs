//! What the engine's answers, and its refusals, bring about.

use serde_json::Value;

use super::conversation::{Goal, Place};
use super::exchange::{Ask, Page, Purpose, Refusal};
use super::{Rendezvous, Screen, refusal};
use crate::session::{entries, word};

impl Screen {
    pub(super) fn handle_answer(&mut self, ask: Ask, answer: Result<Value, Refusal>) {
        let answer = match answer {
            Ok(answer) => answer,
            // What was asked is asked again with `Renewed`, or by the person.
            Err(Refusal::Closed) => return,
            Err(Refusal::Refused { why, data }) => {
                return self.handle_refusal(ask, refusal::told(&why, &data, self.words));
            }
        };
        match ask.purpose {
            Purpose::Status => {
                self.take_status(&answer);
                self.advance_setup();
                self.consider_setup();
            }
            Purpose::Contacts => {
                self.take_contacts(&answer);
                self.contacts_known = true;
                self.take_draft();
                self.open_first();
                self.consider_setup();
                self.play_held();
                self.note_read();
            }
            Purpose::Page { peer, page } => self.take_page(&peer, &page, &answer),
            Purpose::Send { message } => self.stored(&message),
            Purpose::Change { .. } => self.changes.retain(|change| *change != ask),
            Purpose::Search { peer, wanted, before } => {
                self.take_hits(&peer, &wanted, before.as_deref(), Some(&answer));
            }
            // The list that was asked for when that conversation was left may be older than its draft.
            Purpose::Aside if ask.method == "draft.set" && !self.is_open(word(&ask.parameters, "with")) => {
                self.ask_contacts();
            }
            Purpose::Aside => {}
            Purpose::Command { command, given, .. } => self.carried_out(&command, &given, &answer),
        }
    }

    /// Takes the list. What is typed here is newer than an answer that was under way meanwhile.
    fn take_contacts(&mut self, list: &Value) {
        let open = self.conversation.as_ref().filter(|_| !self.untouched);
        let begun = open.and_then(|open| self.contacts.find(&open.peer)).cloned();
        self.contacts.replace(list);
        if let Some(begun) = begun
            && let Some(contact) = self.contacts.find_mut(&begun.peer)
        {
            contact.draft = begun.draft;
        }
    }

    fn handle_refusal(&mut self, ask: Ask, why: String) {
        match ask.purpose {
            Purpose::Send { ref message } => self.not_stored(message),
            Purpose::Change { ref peer, ref text } => {
                self.changes.retain(|change| *change != ask);
                if let Some(text) = text {
                    self.give_back_edit(peer, word(&ask.parameters, "message"), text);
                }
            }
            Purpose::Page { peer, page } => {
                if let Some(conversation) = self.conversation.as_mut().filter(|open| open.peer == peer) {
                    conversation.refuse(page);
                }
            }
            Purpose::Search { peer, wanted, before } => self.take_hits(&peer, &wanted, before.as_deref(), None),
            Purpose::Command { ref command, ref typed, ref given } => self.not_carried_out(command, typed, given),
            Purpose::Contacts => self.play_held(),
            Purpose::Status | Purpose::Aside => {}
        }
        self.say(why, true);
    }

    fn take_page(&mut self, peer: &str, page: &Page, answer: &Value) {
        let Some(conversation) = self.conversation.as_mut().filter(|open| open.peer == peer) else { return };
        let sought = conversation.beyond_goal().is_none() && conversation.seeks();
        if !conversation.take(page, answer, &self.me) {
            return;
        }
        match page {
            Page::Beyond(_) => {
                // The message itself is the last of what lies before the first that follows it; or it is the newest of all.
                let next = conversation.beyond_goal().map(str::to_owned);
                self.ask_page(next.map_or(Page::Newest, Page::Upto));
            }
            _ => {
                let follows = conversation.place == Place::Bottom && matches!(page, Page::Newest | Page::Newer);
                if follows && !conversation.holds_newest() {
                    // More came meanwhile than was kept.
                    self.ask_page(Page::Newer);
                }
                self.show_outgoing();
                self.reach_goal();
                let missed = self.conversation.as_ref().and_then(|open| open.goal.clone());
                match missed.as_ref().and_then(Goal::message) {
                    Some(message) if *page == Page::Newest && !sought => {
                        self.ask_page(Page::Beyond(message.to_owned()))
                    }
                    // It is gone.
                    Some(_) if matches!(page, Page::Newest | Page::Upto(_)) => self.forget_goal(),
                    _ => {}
                }
            }
        }
        self.note_read();
    }

    fn forget_goal(&mut self) {
        if let Some(conversation) = &mut self.conversation {
            conversation.goal = None;
        }
    }

    fn take_status(&mut self, status: &Value) {
        word(status, "peer").clone_into(&mut self.me);
        word(status, "link").clone_into(&mut self.link);
        self.invisible = word(status, "presence") == "invisible";
        let rendezvous = |entry: &Value| Rendezvous {
            address: word(entry, "address").to_owned(),
            state: word(entry, "state").to_owned(),
            tcp: word(entry, "transport") == "tcp",
        };
        self.rendezvous = entries(&status["rendezvous"]).iter().map(rendezvous).collect();
    }
}
