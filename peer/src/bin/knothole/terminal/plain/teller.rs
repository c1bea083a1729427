//! The machine of the plain mode: lines typed, events, answers and the time come in; lines to tell and calls go out. It is pure.

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::open::Open;
use super::sending::Sending;
use crate::terminal::cells::isolated;
use crate::terminal::composer::quoted;
use crate::terminal::screen::Refusal;
use crate::terminal::screen::commands::Command;
use crate::terminal::screen::contacts::Contacts;
use crate::terminal::screen::naming::Naming;
use crate::terminal::words::{Words, fill};
use crate::typed::Typed;

/// Bytes that a message typed in several lines may have before they are joined: what a message can hold, and what is beyond is told.
const MOST: usize = knothole_proto::frames::MAX_TEXT;

/// Messages, or commands, that the engine may be asked for at a time: more are typed by no person, and lines from a pipe can wait.
const UNDER_WAY: usize = 64;

/// Something happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A line was typed.
    Line(Typed),
    /// The person leaves, or nothing can be typed any more.
    Ended,
    /// The engine tells something: the parameters of an `event` notification.
    Event(Value),
    /// The engine answers.
    Answer(Ask, Result<Value, Refusal>),
    /// Another process runs the engine from now on.
    Renewed,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Print these lines.
    Say(String),
    Call(Ask),
    Quit,
}

/// A call of the engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) purpose: Purpose,
    pub(crate) method: &'static str,
    pub(crate) parameters: Value,
    /// How many engines had ended before it was asked: tells whether the next one is there already.
    engine: u32,
}

/// What an answer is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Purpose {
    Status,
    /// All contacts; with what to tell of them, if anything.
    Contacts(Telling),
    /// The newest messages of the conversation that was opened.
    Newest(String),
    /// Messages before those that were told.
    Older(String),
    Search(String),
    /// A message is being stored.
    Send(Sending),
    /// A command was given.
    Command(Command),
    /// Nobody waits for it.
    Aside,
}

/// What is told once the contacts are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    /// All of them.
    List,
    /// The first time: all of them, and how to begin.
    Welcome,
    /// Something that needs the list to be as it is now.
    This(String),
    /// The conversation with this peer is opened.
    Open(String),
}

/// What the plain mode knows.
pub(crate) struct Teller {
    pub(super) words: &'static Words,
    pub(super) zone: TimeZone,
    pub(super) now: u64,
    pub(super) me: String,
    pub(super) link: String,
    /// Whether a rendezvous is reached; `None` before it is known.
    pub(super) reached: Option<bool>,
    pub(super) contacts: Contacts,
    pub(super) open: Option<Open>,
    /// Lines that go on in the next one.
    begun: String,
    pub(super) naming: Naming,
    /// Messages that are not in storage yet: they were typed, and not answered.
    pub(super) sending: Vec<Sending>,
    /// The same where the engine ended over it, and the next one is not there yet.
    pub(super) doubtful: Vec<Sending>,
    /// What was sent and has not arrived, by message id: its beginning.
    pub(super) on_way: BTreeMap<String, String>,
    /// When it was last told that somebody else has written, by peer.
    pub(super) announced: BTreeMap<String, u64>,
    /// Deliveries are not told.
    pub(crate) quiet: bool,
    /// A link to be added at the beginning, and how to call its owner.
    pub(super) friend: Option<(String, String)>,
    /// The list of contacts was asked for to begin with, and has come.
    pub(super) asked_to_begin: bool,
    pub(super) ready: bool,
    /// Commands that are not answered yet; and those among them by which another conversation will be opened.
    pub(super) commanded: usize,
    pub(super) opening: usize,
    /// The message that is deleted if the person says yes, and whose conversation it is in.
    pub(super) deleting: Option<(String, String)>,
    leaving: bool,
    engine: u32,
    effects: VecDeque<Effect>,
}

impl Teller {
    /// Begins; `friend` is a link to be added at once, and how to call its owner; `seed` is chance for messages' ids.
    pub(crate) fn new(
        words: &'static Words,
        zone: TimeZone,
        friend: Option<(String, String)>,
        seed: [u8; 32],
        now: u64,
    ) -> Self {
        let mut teller = Self {
            words,
            zone,
            now,
            me: String::new(),
            link: String::new(),
            reached: None,
            contacts: Contacts::default(),
            open: None,
            begun: String::new(),
            naming: Naming::new(seed),
            sending: Vec::new(),
            doubtful: Vec::new(),
            on_way: BTreeMap::new(),
            announced: BTreeMap::new(),
            quiet: false,
            asked_to_begin: false,
            ready: false,
            commanded: 0,
            opening: 0,
            deleting: None,
            leaving: false,
            engine: 0,
            effects: VecDeque::new(),
            friend,
        };
        teller.say(words.plain.welcome);
        teller.ask(Purpose::Status, "status", json!({}));
        teller
    }

    /// Takes something in, at a time in milliseconds since 1970.
    pub(crate) fn handle(&mut self, input: Input, now: u64) {
        self.now = now;
        match input {
            Input::Line(Typed::Line(line)) => self.handle_line(&line),
            Input::Line(Typed::TooLong) => self.too_long(),
            Input::Ended => self.leave(),
            Input::Event(event) => self.handle_event(&event),
            Input::Answer(ask, answer) => self.handle_answer(ask, answer),
            Input::Renewed => self.handle_renewed(),
        }
        if self.leaving && self.sending.is_empty() && self.commanded == 0 {
            self.leaving = false;
            if !self.on_way.is_empty() {
                self.say(&fill(self.words.plain.left, &[&self.on_way.len().to_string()]));
            }
            self.effects.push_back(Effect::Quit);
        }
    }

    /// Whether a line may come now: names in it can be understood, it is known which conversation is open, and there is room for
    /// what it asks for.
    pub(crate) const fn takes_lines(&self) -> bool {
        self.ready && self.opening == 0 && self.sending.len() < UNDER_WAY && self.commanded < UNDER_WAY
    }

    /// What is to be done next, if anything.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Ends, once all that was typed is in storage or was done.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    pub(super) fn say(&mut self, text: &str) {
        self.effects.push_back(Effect::Say(text.to_owned()));
    }

    pub(super) fn ask(&mut self, purpose: Purpose, method: &'static str, parameters: Value) {
        self.effects.push_back(Effect::Call(Ask { purpose, method, parameters, engine: self.engine }));
    }

    pub(super) fn ask_contacts(&mut self, telling: Telling) {
        self.ask(Purpose::Contacts(telling), "contact.list", json!({}));
    }

    /// Asks again what an engine left unanswered; not before the next one is there.
    pub(super) fn ask_again(&mut self, ask: Ask) {
        self.effects.push_back(Effect::Call(Ask { engine: self.engine, ..ask }));
    }

    /// Whether the engine that was asked has a successor already.
    pub(super) const fn is_succeeded(&self, ask: &Ask) -> bool {
        ask.engine < self.engine
    }

    fn handle_line(&mut self, line: &str) {
        if let Some(line) = line.strip_suffix('\\') {
            if self.begun.len() + line.len() >= MOST {
                return self.too_long();
            }
            self.begun.push_str(line);
            self.begun.push('\n');
            return;
        }
        let text = std::mem::take(&mut self.begun) + line;
        if text.len() > MOST {
            self.too_long();
        } else if !text.trim().is_empty() {
            self.submit(&text);
        }
    }

    fn too_long(&mut self) {
        self.begun.clear();
        self.say(self.words.plain.too_long);
    }

    fn handle_renewed(&mut self) {
        self.engine += 1;
        self.ask(Purpose::Status, "status", json!({}));
        self.ask_contacts(Telling::Nothing);
        for sending in std::mem::take(&mut self.doubtful) {
            self.store(sending);
        }
        if let Some(peer) = self.open.as_ref().map(|open| open.peer.clone()) {
            self.ask(Purpose::Aside, "contact.connect", json!({"peer": peer}));
        }
    }

    /// Opens the conversation with a contact: how it is there is told, and the newest messages.
    pub(super) fn go(&mut self, peer: &str) {
        // Of the one that is open everything is told already.
        let online = self.open.take().filter(|open| open.peer == peer).and_then(|open| open.online);
        let mut open = Open::new(peer);
        open.online = online;
        self.open = Some(open);
        self.deleting = None;
        self.announced.remove(peer);
        self.ask(Purpose::Aside, "contact.connect", json!({"peer": peer}));
        self.ask_contacts(Telling::Open(peer.to_owned()));
    }

    /// What a contact is called, ready to be printed.
    pub(super) fn name(&self, peer: &str) -> String {
        self.contacts.find(peer).map_or_else(String::new, |contact| isolated(&contact.name).into_owned())
    }

    /// The same as a command takes it.
    pub(super) fn typed(&self, peer: &str) -> String {
        self.contacts.find(peer).map_or_else(String::new, |contact| isolated(&quoted(&contact.name)).into_owned())
    }
}
