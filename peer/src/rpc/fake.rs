//! An engine for tests: it knows bob and a stranger, notes what it is asked, and can be slow on purpose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use knothole_proto::contact_link::{ContactLink, RendezvousAddress};
use knothole_proto::frames::MessageId;
use knothole_proto::identity::{PeerId, PublicKey};
use knothole_proto::verification::Mismatch;
use tokio::sync::{broadcast, mpsc, watch};

use crate::command::{
    CodeView, Command, CommandError, ContactView, MailboxState, NetworkView, NewMessage, PathKind, PathView,
    RendezvousState, RendezvousStatus, Replaced, Status, Transport, WordsView,
};
use crate::event::{Event, EventKind};
use crate::handle::Peer;
use crate::store::{Author, ContactState, Kind, Message, MessageState, Reaction, Summary};

pub(super) struct Fake {
    pub(super) peer: Peer,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    log: Arc<Mutex<Vec<String>>>,
    released: watch::Sender<bool>,
}

pub(super) fn bob() -> PeerId {
    PublicKey::new([2; 32])
}

pub(super) fn message_id(number: u8) -> MessageId {
    MessageId([number; 16])
}

impl Fake {
    pub(super) fn start() -> Self {
        let (commands, mut asked) = mpsc::channel(8);
        let (events, _) = broadcast::channel(1024);
        let log = Arc::new(Mutex::new(Vec::new()));
        let (released, _) = watch::channel(false);
        let fake = Self {
            peer: Peer::new(commands, events.clone()),
            events: events.clone(),
            log: Arc::clone(&log),
            released: released.clone(),
        };
        tokio::spawn(async move {
            while let Some(command) = asked.recv().await {
                carry_out(command, &log, &events, &released);
            }
        });
        fake
    }

    pub(super) fn me() -> PeerId {
        PublicKey::new([1; 32])
    }

    pub(super) fn rendezvous() -> RendezvousAddress {
        RendezvousAddress { key: PublicKey::new([9; 32]), host: "r.example".into(), port: 3478 }
    }

    /// What was asked, but for questions that every client may ask at any time.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Lets go of what was slow.
    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }
}

fn carry_out(
    command: Command,
    log: &Mutex<Vec<String>>,
    events: &broadcast::Sender<Arc<Event>>,
    released: &watch::Sender<bool>,
) {
    let note = |text: String| log.lock().unwrap().push(text);
    // A client that has gone needs no answer.
    match command {
        Command::Status(reply) => drop(reply.send(Ok(status()))),
        Command::Network { reply, .. } => {
            let _ = reply.send(Ok(NetworkView { router_protocols: vec!["pcp"], lifetime: None, searching: false }));
        }
        Command::Contacts(reply) => drop(reply.send(Ok(vec![contact(), stranger()]))),
        Command::AddContact { name, relay_only, reply, .. } => {
            note(format!("add {name:?}{}", at_first(relay_only)));
            drop(reply.send(Ok(contact())));
        }
        Command::Accept { who, relay_only, reply } => {
            note(format!("accept {who}{}", at_first(relay_only)));
            drop(reply.send(Ok(contact())));
        }
        Command::Block { who, reply } => {
            note(format!("block {who}"));
            drop(reply.send(Ok(contact())));
        }
        Command::Remove { who, reply } => {
            note(format!("remove {who}"));
            drop(reply.send(Ok(())));
        }
        Command::Connect { who, reply } => {
            note(format!("connect {who}"));
            if who != "slow" {
                drop(reply.send(Ok(())));
                return;
            }
            let mut released = released.subscribe();
            tokio::spawn(async move {
                released.wait_for(|released| *released).await.unwrap();
                drop(reply.send(Ok(())));
            });
        }
        Command::Send { to, message, reply } => {
            let NewMessage { id, text, answers, expires_s, from_draft } = message;
            if to == "nobody" {
                drop(reply.send(Err(CommandError::UnknownContact(to))));
                return;
            }
            note(format!("send {to} {text:?}{}", if from_draft { " from its draft" } else { "" }));
            if answers.is_some() || expires_s.is_some() {
                note(format!("answering {answers:?}, lasting {expires_s:?}"));
            }
            drop(reply.send(Ok(id.unwrap_or_else(|| message_id(1)))));
            if text.ends_with("tell") {
                let kind = EventKind::State { message: message_id(1), state: MessageState::Sent };
                drop(events.send(Arc::new(Event { at: 7, kind })));
            }
        }
        Command::History { with, search, place, limit, reply } => {
            note(format!("history {with} {search:?} {place:?} {limit}"));
            drop(reply.send(Ok(history())));
        }
        Command::SetDraft { with, text, reply } => {
            note(format!("draft {with} {text:?}"));
            drop(reply.send(Ok(())));
        }
        Command::Typing { to, on, reply } => {
            note(format!("typing {to} {on}"));
            drop(reply.send(Ok(())));
        }
        Command::Amend { with, content, reply } => {
            note(format!("amend {with:?} {content:?}"));
            drop(reply.send(Ok(message_id(2))));
        }
        Command::Read { with, upto, reply } => {
            note(format!("read {with} {upto}"));
            drop(reply.send(Ok(())));
        }
        Command::Export { path, passphrase, reply } => {
            note(format!("export {} {}", path.display(), passphrase.as_str()));
            drop(reply.send(Ok(())));
        }
        Command::Check(reply) => drop(reply.send(Ok(vec!["a finding".into()]))),
        Command::SetMailbox { open, reply } => {
            note(format!("mailbox {open}"));
            drop(reply.send(Ok(())));
        }
        Command::Room { reply, .. } => drop(reply.send(Ok(()))),
        Command::Renew { reply, .. } => drop(reply.send(Ok(0))),
        Command::SentTo { reply, .. } => drop(reply.send(Ok(0))),
        Command::Introduce { greeting, relay_only, reply, .. } => {
            note(format!("introduce {greeting}{}", at_first(relay_only)));
            drop(reply.send(Ok(contact())));
        }
        Command::MakeCode { relay_only, reply, .. } => {
            note(format!("code{}", at_first(relay_only)));
            drop(reply.send(Ok(CodeView { code: "7-orchard-velvet".into(), expires_at: 1_700_000_600_000 })));
        }
        Command::JoinCode { code, name, relay_only, reply, .. } => {
            note(format!("join {code} as {name:?}{}", at_first(relay_only)));
            drop(reply.send(Ok(contact())));
        }
        Command::ReplaceContact { relay_only, reply, .. } => {
            note(format!("replace{}", at_first(relay_only)));
            let former = (stranger().peer, "bob (old key)".into());
            drop(reply.send(Ok(Replaced { contact: contact(), former })));
        }
        Command::Words { reply, .. } => {
            let text = "knothole-verify:x?for=y".into();
            drop(reply.send(Ok(WordsView { words: vec!["abandon", "zoo"], text })));
        }
        Command::Verify { shown: None, reply, .. } => drop(reply.send(Ok(contact()))),
        Command::Verify { reply, .. } => drop(reply.send(Err(CommandError::Unverified(Mismatch::AnotherKey)))),
        Command::Presence { mode, who, reply } => {
            note(format!("presence {mode:?} {who:?}"));
            drop(reply.send(Ok(())));
        }
        Command::Rename { name, reply, .. } => drop(reply.send(Ok(ContactView { name, ..contact() }))),
        Command::Path { relay_only, reply, .. } => drop(reply.send(Ok(ContactView { relay_only, ..contact() }))),
        Command::Stop(done) => drop(done.send(())),
    }
}

/// What was said of how the two may meet from the first on.
fn at_first(relay_only: Option<bool>) -> String {
    relay_only.map_or_else(String::new, |relay_only| format!(", relay only: {relay_only}"))
}

fn status() -> Status {
    let entry = |state, observed: Option<&str>, rtt| RendezvousStatus {
        address: Fake::rendezvous(),
        state,
        observed: observed.map(|text| text.parse().unwrap()),
        rtt,
        transport: if rtt.is_some() { Transport::Udp } else { Transport::Tcp },
        mailbox: if rtt.is_some() { MailboxState::Open } else { MailboxState::Closed },
    };
    Status {
        peer: Fake::me(),
        link: ContactLink { peer: Fake::me(), via: vec![Fake::rendezvous()] },
        rendezvous: vec![
            entry(RendezvousState::Registered, Some("203.0.113.5:4711"), Some(Duration::from_micros(20_480))),
            entry(RendezvousState::Unreachable, None, None),
        ],
        invisible: false,
        mailbox: true,
        letters_unopened: 2,
    }
}

pub(super) fn contact() -> ContactView {
    ContactView {
        peer: bob(),
        name: "bob".into(),
        state: ContactState::Contact,
        online: true,
        last_seen: Some(1_700_000_000_000),
        shown: true,
        path: Some(PathView {
            kind: PathKind::Direct,
            remote: "203.0.113.9:99".parse().unwrap(),
            rtt: Some(Duration::from_micros(1234)),
            why: None,
        }),
        verified: true,
        relay_only: false,
        expires_s: Some(60),
        greeting: None,
        summary: Summary {
            unread: 3,
            first_unread: Some(message_id(2)),
            last_at: Some(1_700_000_000_007),
            draft: Some("I have beg".into()),
        },
    }
}

fn stranger() -> ContactView {
    ContactView {
        peer: PublicKey::new([3; 32]),
        name: "stranger".into(),
        state: ContactState::Request,
        online: false,
        last_seen: None,
        shown: true,
        path: None,
        verified: false,
        relay_only: false,
        expires_s: Some(60),
        greeting: Some("it is me".into()),
        summary: Summary::default(),
    }
}

fn history() -> Vec<Message> {
    let message = |number, author, text: &str, state| Message {
        id: message_id(number),
        author,
        kind: Kind::Text,
        text: text.into(),
        reply: (number == 2).then(|| message_id(1)),
        edited: number == 2,
        reactions: vec![Reaction { emoji: "👍".into(), mine: true }; usize::from(number == 2)],
        expires_s: (number == 2).then_some(60),
        expires_at: (number == 2).then_some(77),
        at: 4 + u64::from(number),
        stored_at: 9,
        state,
    };
    vec![message(1, Author::Me, "hi", MessageState::Sent), message(2, Author::Contact, "ho", MessageState::Delivered)]
}
