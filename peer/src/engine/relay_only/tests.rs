//! Two engines and a rendezvous on loopback, whose datagrams to each other are counted: docs/protocol.md, "Relay only".

use std::time::Duration;

use knothole_proto::certificate::IdentitySecret;
use knothole_proto::registration::Profile;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use tokio::time::{sleep, timeout};

use crate::command::{Command, PathKind, PathView};
use crate::engine;
use crate::event::EventKind;
use crate::handle::{Options, Peer};

const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what an engine says.
const LOOK: Duration = Duration::from_millis(10);

struct Meeting {
    alice: Peer,
    bob: Peer,
    ports: [u16; 2],
    serving: Serving,
    homes: [tempfile::TempDir; 2],
}

async fn meeting() -> Meeting {
    let config = Config {
        identity: IdentitySecret::new([42; 32]),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        alternate: None,
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    };
    let serving = Serving::start(config).await.unwrap();
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (alice, bob) = (start(&homes[0], &serving).await, start(&homes[1], &serving).await);
    let ports = [port(&alice).await, port(&bob).await];
    Meeting { alice, bob, ports, serving, homes }
}

async fn start(home: &tempfile::TempDir, serving: &Serving) -> Peer {
    let (home, rendezvous) = (home.path().to_owned(), vec![serving.address().clone()]);
    engine::start(Options { home, rendezvous, allow_loopback: true, keepalive: Profile::Default }).await.unwrap()
}

impl Meeting {
    /// What either has sent straight to the other.
    async fn straight(&self) -> [u64; 2] {
        [sent_to(&self.alice, self.ports[1]).await, sent_to(&self.bob, self.ports[0]).await]
    }

    async fn end(self) {
        self.alice.stop().await;
        self.bob.stop().await;
        self.serving.shutdown().await;
    }
}

async fn port(peer: &Peer) -> u16 {
    let observed = async {
        loop {
            if let Some(observed) = peer.request(Command::Status).await.unwrap().rendezvous[0].observed {
                return observed.port();
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, observed).await.unwrap()
}

async fn sent_to(peer: &Peer, port: u16) -> u64 {
    peer.request(|reply| Command::SentTo { port, reply }).await.unwrap()
}

async fn add(peer: &Peer, other: &Peer, name: &str) {
    add_reached(peer, other, name, None).await;
}

async fn add_reached(peer: &Peer, other: &Peer, name: &str, relay_only: Option<bool>) {
    let link = other.request(Command::Status).await.unwrap().link;
    peer.request(|reply| Command::AddContact { link, name: Some(name.into()), relay_only, reply }).await.unwrap();
}

async fn choose(peer: &Peer, who: &str, relay_only: bool) {
    let view = peer.request(|reply| Command::Path { who: who.into(), relay_only, reply }).await.unwrap();
    assert_eq!(view.relay_only, relay_only);
}

async fn say(from: &Peer, to: &str, text: String) {
    from.request(|reply| Command::Send { to: to.into(), message: text.into(), reply }).await.unwrap();
}

/// Waits until the contact is reached in this way.
async fn reached(peer: &Peer, wanted: impl Fn(&PathView) -> bool) {
    let there = async {
        loop {
            let contacts = peer.request(Command::Contacts).await.unwrap();
            if contacts[0].online && contacts[0].path.as_ref().is_some_and(&wanted) {
                return;
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, there).await.unwrap();
}

fn straight(path: &PathView) -> bool {
    path.kind == PathKind::Direct
}

fn relayed(why: &'static str) -> impl Fn(&PathView) -> bool {
    move |path| path.kind == PathKind::Relay && path.why == Some(why)
}

async fn heard(peer: &Peer, with: &str, expected: usize) -> Vec<String> {
    let complete = async {
        loop {
            let all = |reply| Command::History {
                with: with.into(),
                search: None,
                place: crate::store::Place::End,
                limit: 1000,
                reply,
            };
            let messages = peer.request(all).await.unwrap();
            if messages.len() >= expected {
                return messages.into_iter().map(|message| message.text).collect();
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, complete).await.unwrap()
}

/// Both say so much in turn; `all` is what was said before and will have been.
async fn talk(meeting: &Meeting, all: &mut Vec<String>, topic: &str) {
    for n in 0..20 {
        let text = format!("{topic} {n}");
        all.push(text.clone());
        match n % 2 {
            0 => say(&meeting.alice, "bob", text).await,
            _ => say(&meeting.bob, "alice", text).await,
        }
        tokio::join!(heard(&meeting.alice, "bob", all.len()), heard(&meeting.bob, "alice", all.len()));
    }
    for (peer, with) in [(&meeting.alice, "bob"), (&meeting.bob, "alice")] {
        assert_eq!(&heard(peer, with, all.len()).await, all);
    }
}

const OURS: &str = "you chose relay only for this contact";
const THEIRS: &str = "the contact chose relay only";

#[tokio::test(flavor = "multi_thread")]
async fn with_a_relay_only_contact_not_one_datagram_goes_straight_also_after_a_restart() {
    let mut meeting = meeting().await;
    add(&meeting.alice, &meeting.bob, "bob").await;
    choose(&meeting.alice, "bob", true).await;
    add(&meeting.bob, &meeting.alice, "alice").await;
    let mut all = Vec::new();
    talk(&meeting, &mut all, "first").await;
    reached(&meeting.alice, relayed(OURS)).await;
    reached(&meeting.bob, relayed(THEIRS)).await;
    assert_eq!(meeting.straight().await, [0, 0]);

    meeting.alice.stop().await;
    meeting.alice = start(&meeting.homes[0], &meeting.serving).await;
    meeting.ports[0] = port(&meeting.alice).await;
    talk(&meeting, &mut all, "again").await;
    reached(&meeting.alice, relayed(OURS)).await;
    assert_eq!(meeting.straight().await, [0, 0]);
    meeting.end().await;
}

/// What neither must have sent before all was said through the relay.
async fn only_relayed(meeting: Meeting) {
    let mut all = Vec::new();
    talk(&meeting, &mut all, "hidden").await;
    reached(&meeting.alice, relayed(OURS)).await;
    reached(&meeting.bob, relayed(THEIRS)).await;
    assert_eq!(meeting.straight().await, [0, 0]);
    meeting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_added_as_relay_only_is_sent_nothing_straight_from_the_first_moment() {
    let meeting = meeting().await;
    // Bob waits for her already, with every address of his at hand.
    add(&meeting.bob, &meeting.alice, "alice").await;
    add_reached(&meeting.alice, &meeting.bob, "bob", Some(true)).await;
    only_relayed(meeting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_asked_and_is_accepted_as_relay_only_is_sent_nothing_straight() {
    let meeting = meeting().await;
    let mut at_alice = meeting.alice.events();
    add(&meeting.bob, &meeting.alice, "alice").await;
    let asked = async {
        loop {
            if let EventKind::ContactRequest { name, .. } = &at_alice.recv().await.unwrap().kind {
                return name.clone();
            }
        }
    };
    let who = timeout(PATIENCE, asked).await.unwrap();
    let accept = |reply| Command::Accept { who, relay_only: Some(true), reply };
    assert!(meeting.alice.request(accept).await.unwrap().relay_only);
    // What `talk` calls him.
    add(&meeting.alice, &meeting.bob, "bob").await;
    only_relayed(meeting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_made_or_typed_for_relay_only_leads_to_no_datagram_straight() {
    for (alices, bobs) in [(Some(true), None), (None, Some(true))] {
        let meeting = meeting().await;
        let mut at_alice = meeting.alice.events();
        let make = |reply| Command::MakeCode { name: Some("bob".into()), me: None, relay_only: alices, reply };
        let code = meeting.alice.request(make).await.unwrap().code.parse().unwrap();
        let join = |reply| Command::JoinCode { code, name: Some("alice".into()), me: None, relay_only: bobs, reply };
        assert_eq!(meeting.bob.request(join).await.unwrap().relay_only, bobs.is_some());
        let added = async { while !matches!(at_alice.recv().await.unwrap().kind, EventKind::ContactAdded { .. }) {} };
        timeout(PATIENCE, added).await.unwrap();
        let mut all = Vec::new();
        talk(&meeting, &mut all, "hidden").await;
        let whose = |relay_only: Option<bool>| relayed(if relay_only.is_some() { OURS } else { THEIRS });
        reached(&meeting.alice, whose(alices)).await;
        reached(&meeting.bob, whose(bobs)).await;
        assert_eq!(meeting.straight().await, [0, 0]);
        meeting.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_added_again_as_relay_only_is_met_so_from_then_on() {
    let meeting = meeting().await;
    add(&meeting.alice, &meeting.bob, "bob").await;
    add(&meeting.bob, &meeting.alice, "alice").await;
    tokio::join!(reached(&meeting.alice, straight), reached(&meeting.bob, straight));
    add_reached(&meeting.alice, &meeting.bob, "bob", Some(true)).await;
    let mut all = Vec::new();
    talk(&meeting, &mut all, "then").await;
    reached(&meeting.alice, relayed(OURS)).await;
    meeting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_in_the_middle_of_a_conversation_nothing_is_lost_and_the_path_is_left_and_found_again() {
    let meeting = meeting().await;
    add(&meeting.alice, &meeting.bob, "bob").await;
    add(&meeting.bob, &meeting.alice, "alice").await;
    let mut all = Vec::new();
    talk(&meeting, &mut all, "straight").await;
    tokio::join!(reached(&meeting.alice, straight), reached(&meeting.bob, straight));
    let (mut at_alice, mut at_bob) = (meeting.alice.events(), meeting.bob.events());
    for round in 0..2 {
        choose(&meeting.alice, "bob", true).await;
        say(&meeting.alice, "bob", format!("to the relay {round}")).await;
        all.push(format!("to the relay {round}"));
        tokio::join!(reached(&meeting.alice, relayed(OURS)), reached(&meeting.bob, relayed(THEIRS)));
        let before = meeting.straight().await;
        talk(&meeting, &mut all, &format!("relayed {round}")).await;
        assert_eq!(meeting.straight().await, before, "while it is switched on");
        choose(&meeting.alice, "bob", false).await;
        talk(&meeting, &mut all, &format!("open {round}")).await;
        tokio::join!(reached(&meeting.alice, straight), reached(&meeting.bob, straight));
    }
    for events in [&mut at_alice, &mut at_bob] {
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(event.kind, EventKind::Presence { online: false, .. }), "the connection broke");
        }
    }
    meeting.end().await;
}
