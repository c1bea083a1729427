//! One-time codes: made here and typed elsewhere, or the other way round (docs/protocol.md, "Codes").
//!
//! At most one of each at a time. Both wait for a rendezvous of our own, the most preferred one that knows us: a code is good
//! among those who use the same. Once the other end has proved that it knows the words, it becomes a contact like any other.

use std::time::{Duration, Instant};

use knothole_proto::code::{Card, Code, Joiner, Maker, Progress};
use knothole_proto::contact_link::ContactLink;
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::RendezvousId;

use super::{Engine, answer, seed, wall_clock};
use crate::command::{CodeView, CommandError, ContactView, Reply};
use crate::event::EventKind;
use crate::store::{ContactState, StoreError};

/// A program that has just started is registered within this, or there is no way to be.
const REGISTRATION: Duration = Duration::from_secs(15);
/// How long a code is good: the rendezvous keeps it as long.
const LIFETIME: Duration = Duration::from_secs(600);
/// What an exchange may take once it has begun: two people's programs, and four trips.
const EXCHANGE: Duration = Duration::from_secs(30);

/// What is under way.
#[derive(Default)]
pub(super) struct Codes {
    making: Option<Making>,
    joining: Option<Joining>,
}

/// A code of ours.
struct Making {
    /// What is to become of whoever types it, and what it is told of us.
    wishes: Wishes,
    via: Option<RendezvousId>,
    until: Instant,
    stage: Stage,
}

enum Stage {
    /// Its number is waited for.
    Asked(Reply<CodeView>),
    /// It can be typed.
    Open(Box<Maker>),
}

/// A code that was typed here.
struct Joining {
    code: Code,
    wishes: Wishes,
    via: Option<RendezvousId>,
    until: Instant,
    joiner: Option<Box<Joiner>>,
    reply: Reply<ContactView>,
}

/// What the two are called, and how they may meet.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// The other one, by us; by its own word otherwise.
    pub(super) theirs: Option<String>,
    /// We, by our own word.
    pub(super) ours: Option<String>,
    /// Through a relay alone or not, if that is said.
    pub(super) relay_only: Option<bool>,
}

impl Codes {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let making = self.making.as_ref().map(|making| making.until);
        making.into_iter().chain(self.joining.as_ref().map(|joining| joining.until)).min()
    }
}

impl Engine {
    pub(super) fn make_code(&mut self, wishes: Wishes, reply: Reply<CodeView>, now: Instant) {
        if let Some(taken) = wishes.theirs.as_ref().filter(|name| self.find(name).is_some()) {
            return answer(reply, Err(StoreError::NameTaken(taken.clone()).into()));
        }
        self.fail_making("another code was made", now);
        let until = now + REGISTRATION;
        self.codes.making = Some(Making { wishes, via: None, until, stage: Stage::Asked(reply) });
        self.advance_codes(now);
    }

    pub(super) fn join_code(&mut self, code: Code, wishes: Wishes, reply: Reply<ContactView>, now: Instant) {
        let ours = self.codes.making.as_ref().and_then(|making| match &making.stage {
            Stage::Open(maker) => Some(maker.code().number()),
            Stage::Asked(_) => None,
        });
        if ours == Some(code.number()) {
            return answer(reply, Err(CommandError::OwnCode));
        }
        self.fail_joining(CommandError::CodeReplaced, now);
        let until = now + REGISTRATION;
        self.codes.joining = Some(Joining { code, wishes, via: None, until, joiner: None, reply });
        self.advance_codes(now);
    }

    /// Goes on with what waits for a rendezvous.
    pub(super) fn advance_codes(&mut self, now: Instant) {
        let own = (0..self.own_rendezvous).filter_map(|index| Some(RendezvousId(u32::try_from(index).ok()?)));
        let Some(via) = own.into_iter().find(|id| self.traversal.observed(*id).is_some()) else { return };
        if let Some(making) = self.codes.making.as_mut().filter(|making| making.via.is_none())
            && self.traversal.open_code(via, now)
        {
            making.via = Some(via);
        }
        let card = |wishes: &Wishes, link: ContactLink| Card { link, name: wishes.ours.clone() };
        let link = self.own_link();
        if let Some(joining) = self.codes.joining.as_mut().filter(|joining| joining.via.is_none()) {
            let (joiner, first) = Joiner::new(joining.code.clone(), card(&joining.wishes, link), seed());
            if self.traversal.say_to_code(via, joining.code.number(), first, now) {
                joining.via = Some(via);
                joining.joiner = Some(Box::new(joiner));
                joining.until = now + EXCHANGE;
            }
        }
    }

    /// The number of our code, or none.
    pub(super) fn handle_code_opened(&mut self, via: RendezvousId, number: Option<u16>, now: Instant) {
        let asked = |making: &mut Making| making.via == Some(via) && matches!(making.stage, Stage::Asked(_));
        let Some(Making { wishes, stage: Stage::Asked(reply), .. }) = self.codes.making.take_if(asked) else { return };
        let Some(number) = number.filter(|number| *number != 0) else {
            return answer(reply, Err(CommandError::NoCode));
        };
        let [a, b, c, d, ..] = seed();
        let code = Code::new(number, u32::from_be_bytes([a, b, c, d]));
        let view = CodeView { code: code.to_string(), expires_at: wall_clock() + LIFETIME.as_millis() as u64 };
        let card = Card { link: self.own_link(), name: wishes.ours.clone() };
        let stage = Stage::Open(Box::new(Maker::new(code, card, seed())));
        self.codes.making = Some(Making { wishes, via: Some(via), until: now + LIFETIME, stage });
        answer(reply, Ok(view));
    }

    /// The other end of a code says something.
    pub(super) fn handle_code(&mut self, via: RendezvousId, number: u16, message: &[u8], now: Instant) {
        if let Some((until, maker)) = open(&mut self.codes.making, via, number) {
            let before = maker.is_taken();
            let progress = maker.handle(message);
            if maker.is_taken() && !before {
                *until = (*until).min(now + EXCHANGE);
            }
            return match progress {
                Progress::Nothing => {}
                Progress::Say(message) => drop(self.traversal.say_to_code(via, number, message, now)),
                Progress::Met { card, say } => self.handle_joiner(via, number, card, say, now),
                Progress::Failed(why) => {
                    let why = format!("{why}; the code is used up, make another: knothole code");
                    self.fail_making(&why, now);
                }
            };
        }
        let typed = |joining: &&mut Joining| joining.via == Some(via) && joining.code.number() == number;
        let joiner = self.codes.joining.as_mut().filter(typed).and_then(|joining| joining.joiner.as_mut());
        match joiner.map(|joiner| joiner.handle(message)) {
            None | Some(Progress::Nothing) => {}
            Some(Progress::Say(message)) => drop(self.traversal.say_to_code(via, number, message, now)),
            Some(Progress::Met { card, .. }) => self.handle_maker(via, number, card, now),
            Some(Progress::Failed(_)) => self.fail_joining(CommandError::WrongWords, now),
        }
    }

    pub(super) fn handle_code_closed(&mut self, via: RendezvousId, number: u16, now: Instant) {
        if open(&mut self.codes.making, via, number).is_some() {
            self.fail_making("whoever typed the code gave up; make another: knothole code", now);
        }
        let typed = |joining: &&Joining| joining.via == Some(via) && joining.code.number() == number;
        if let Some(joining) = self.codes.joining.as_ref().filter(typed) {
            let proved = joining.joiner.as_ref().is_some_and(|joiner| joiner.has_proved());
            let why = if proved { CommandError::WrongWords } else { CommandError::UnknownCode(number) };
            self.fail_joining(why, now);
        }
    }

    pub(super) fn handle_code_timeout(&mut self, now: Instant) {
        if self.codes.making.as_ref().is_some_and(|making| making.until <= now) {
            self.fail_making("nobody typed the code in time; make another: knothole code", now);
        }
        if let Some(joining) = self.codes.joining.as_ref().filter(|joining| joining.until <= now) {
            let why = if joining.via.is_some() { CommandError::CodeUnanswered } else { CommandError::NoRendezvousYet };
            self.fail_joining(why, now);
        }
    }

    /// Somebody who knows the words has typed our code: a contact from now on, which it is then told.
    fn handle_joiner(&mut self, via: RendezvousId, number: u16, card: Card, say: Option<Vec<u8>>, now: Instant) {
        let Some(wishes) = self.codes.making.as_ref().map(|making| making.wishes.clone()) else { return };
        let (peer, name) = (card.link.peer, wishes.theirs.clone().or_else(|| card.name.clone()));
        if let Some(why) = self.unwelcome(peer) {
            return self.fail_making(&why.to_string(), now);
        }
        self.codes.making = None;
        if let Some(namesake) = name.as_ref().and_then(|name| self.verified_namesake(name, peer)) {
            self.traversal.close_code(via, number, now);
            let events = self.events.clone();
            return self.describe_key(namesake, peer, move |why| {
                let kind = EventKind::CodeFailed { why: why.to_string() };
                let _ = events.send(std::sync::Arc::new(crate::event::Event { at: wall_clock(), kind }));
            });
        }
        self.add_by_card(wishes, card, move |engine, result| match result {
            Ok(_) => {
                if let Some(say) = say {
                    engine.traversal.say_to_code(via, number, say, Instant::now());
                }
            }
            Err(why) => {
                engine.traversal.close_code(via, number, Instant::now());
                engine.emit(EventKind::CodeFailed { why: why.to_string() });
            }
        });
    }

    /// The maker of the code that was typed here knows the words, too.
    fn handle_maker(&mut self, via: RendezvousId, number: u16, card: Card, now: Instant) {
        let Some(Joining { wishes, reply, .. }) = self.codes.joining.take() else { return };
        self.traversal.close_code(via, number, now);
        let (peer, name) = (card.link.peer, wishes.theirs.clone().or_else(|| card.name.clone()));
        if let Some(why) = self.unwelcome(peer) {
            return answer(reply, Err(why));
        }
        if let Some(namesake) = name.as_ref().and_then(|name| self.verified_namesake(name, peer)) {
            return self.warn_of_key(namesake, peer, reply);
        }
        self.add_by_card(wishes, card, move |_, result| answer(reply, result));
    }

    /// Whom a code is not to bring: oneself, and those who are kept away on purpose.
    fn unwelcome(&self, peer: PeerId) -> Option<CommandError> {
        let known = self.find_peer(peer).and_then(|id| self.contacts.get(&id));
        match known {
            _ if peer == self.me => Some(CommandError::OwnCode),
            Some(contact) if contact.state == ContactState::Blocked => {
                Some(CommandError::Blocked(contact.name.clone()))
            }
            _ => None,
        }
    }

    /// Makes a contact of one who proved to know the words. A name of its own choice that is taken, or none, is not insisted on,
    /// and it takes no name's place: but for the key that stands for one until somebody is named, as in a request that a maker's
    /// first invitation becomes when it overtakes its last word.
    fn add_by_card(
        &mut self,
        wishes: Wishes,
        card: Card,
        then: impl FnOnce(&mut Self, Result<ContactView, CommandError>) + Send + 'static,
    ) {
        let Card { link: ContactLink { peer, via }, name: claimed } = card;
        let contact = self.find_peer(peer).and_then(|id| self.contacts.get(&id));
        let named = contact.is_some_and(|contact| contact.name != peer.short());
        let name = wishes.theirs.clone().or_else(|| claimed.filter(|_| !named));
        let insisted = wishes.theirs.is_some() || name.is_none();
        let relay_only = wishes.relay_only;
        let adding = self.store.add_reached(peer, name, via.clone(), relay_only);
        self.after(adding, move |engine, result| match result {
            Err(StoreError::NameTaken(_) | StoreError::InvalidName) if !insisted => {
                let again = engine.store.add_reached(peer, None, via, relay_only);
                engine.after(again, move |engine, result| engine.take_in_by_code(result, then));
            }
            result => engine.take_in_by_code(result, then),
        });
    }

    fn take_in_by_code(
        &mut self,
        result: Result<crate::store::Contact, StoreError>,
        then: impl FnOnce(&mut Self, Result<ContactView, CommandError>) + Send + 'static,
    ) {
        let known = match result {
            Ok(known) => known,
            Err(error) => return then(self, Err(error.into())),
        };
        let conversation = self.store.conversation(known.peer);
        self.after(conversation, move |engine, result| {
            let added = result.map(|at| engine.replace(known, at)).map_err(CommandError::from);
            if let Ok(contact) = &added {
                engine.emit(EventKind::ContactAdded { peer: contact.peer, name: contact.name.clone() });
            }
            let peer = added.as_ref().ok().map(|contact| contact.peer);
            then(engine, added);
            if let Some(peer) = peer {
                engine.tell_contact(peer);
            }
        });
    }

    /// Ends our code, if there is one, and says why.
    fn fail_making(&mut self, why: &str, now: Instant) {
        let Some(Making { via, stage, .. }) = self.codes.making.take() else { return };
        match stage {
            Stage::Asked(reply) => answer(reply, Err(CommandError::NoRendezvousYet)),
            Stage::Open(maker) => {
                if let Some(via) = via {
                    self.traversal.close_code(via, maker.code().number(), now);
                }
                self.emit(EventKind::CodeFailed { why: why.to_owned() });
            }
        }
    }

    fn fail_joining(&mut self, why: CommandError, now: Instant) {
        let Some(Joining { code, via, reply, .. }) = self.codes.joining.take() else { return };
        if let Some(via) = via {
            self.traversal.close_code(via, code.number(), now);
        }
        answer(reply, Err(why));
    }
}

/// Our code, if it is this one, and when it ends.
fn open(making: &mut Option<Making>, via: RendezvousId, number: u16) -> Option<(&mut Instant, &mut Maker)> {
    let Making { via: at, until, stage, .. } = making.as_mut()?;
    match stage {
        Stage::Open(maker) if *at == Some(via) && maker.code().number() == number => Some((until, maker)),
        _ => None,
    }
}
