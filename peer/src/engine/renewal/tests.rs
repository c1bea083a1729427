//! Two engines and a rendezvous on loopback, one of which is made to leave its port.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Circumstances;
use crate::command::{Command, PathKind};
use crate::engine::fixture::town;
use crate::event::EventKind;
use crate::handle::Peer;

const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what an engine says.
const LOOK: Duration = Duration::from_millis(10);

async fn renewed(peer: &Peer, forced: bool) -> u16 {
    peer.request(|reply| Command::Renew { forced, reply }).await.unwrap()
}

async fn add(peer: &Peer, other: &Peer, name: &str) {
    let link = other.request(Command::Status).await.unwrap().link;
    peer.request(|reply| Command::AddContact { link, name: Some(name.into()), relay_only: None, reply }).await.unwrap();
}

async fn say(from: &Peer, to: &str, text: String) {
    from.request(|reply| Command::Send { to: to.into(), message: text.into(), reply }).await.unwrap();
}

/// Waits until the other is talked to straight, at this port if one is given.
async fn reaches(peer: &Peer, port: Option<u16>) {
    let there = async {
        loop {
            let contacts = peer.request(Command::Contacts).await.unwrap();
            let path = contacts.first().and_then(|contact| contact.path);
            if path
                .is_some_and(|path| path.kind == PathKind::Direct && port.is_none_or(|port| path.remote.port() == port))
            {
                return;
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, there).await.unwrap();
}

async fn is_seen_at(peer: &Peer, port: u16) {
    let seen = async {
        while peer.request(Command::Status).await.unwrap().rendezvous[0].observed.is_none_or(|seen| seen.port() != port)
        {
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
}

async fn heard(peer: &Peer, with: &str, expected: usize) -> Vec<String> {
    let all = || {
        peer.request(|reply| Command::History {
            with: with.into(),
            search: None,
            place: crate::store::Place::End,
            limit: 1000,
            reply,
        })
    };
    let complete = async {
        loop {
            let messages = all().await.unwrap();
            if messages.len() >= expected {
                return messages.into_iter().map(|message| message.text).collect();
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, complete).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_over_renewals_and_nothing_is_lost() {
    let (serving, _homes, peers) = town::<2>().await;
    let [alice, bob] = [&peers[0], &peers[1]];
    add(alice, bob, "bob").await;
    add(bob, alice, "alice").await;
    say(alice, "bob", "0".into()).await;
    reaches(bob, None).await;
    reaches(alice, None).await;
    let mut at_bob = bob.events();
    let first = renewed(alice, false).await;
    assert_eq!(renewed(alice, false).await, first, "on loopback there is no mapping to leave");
    let mut written = vec!["0".to_owned()];
    for round in 0..4 {
        let port = renewed(alice, true).await;
        assert_ne!(port, first);
        for n in 0..10 {
            let text = format!("{round} {n}");
            written.push(text.clone());
            say(alice, "bob", text).await;
        }
        is_seen_at(alice, port).await;
        reaches(bob, Some(port)).await;
        assert_eq!(heard(bob, "alice", written.len()).await, written);
        let text = format!("answer {round}");
        written.push(text.clone());
        say(bob, "alice", text).await;
        // Both have all of it, in this order, before the next renewal.
        assert_eq!(heard(bob, "alice", written.len()).await, written);
        assert_eq!(heard(alice, "bob", written.len()).await, written);
    }
    while let Ok(event) = at_bob.try_recv() {
        assert!(!matches!(event.kind, EventKind::Presence { online: false, .. }), "the connection broke");
    }
    alice.stop().await;
    bob.stop().await;
    serving.shutdown().await;
}

#[test]
fn a_port_is_left_only_where_its_mapping_ends_by_itself_and_not_all_the_time() {
    let address = |text: &str| Some(text.parse().unwrap());
    let usual = Circumstances { observed: address("203.0.113.7:9"), granted: None, streams: false, since: None };
    assert!(usual.allow());
    assert!(Circumstances { since: Some(Duration::from_secs(40)), ..usual }.allow());
    assert!(Circumstances { granted: address("100.64.0.1:9"), ..usual }.allow(), "a router behind the carrier's NAT");
    for other in [
        Circumstances { observed: None, ..usual },
        Circumstances { observed: address("127.0.0.1:9"), ..usual },
        Circumstances { observed: address("[2001:db8::7]:9"), ..usual },
        Circumstances { granted: address("8.8.8.8:9"), ..usual },
        Circumstances { streams: true, ..usual },
        Circumstances { since: Some(Duration::from_secs(3)), ..usual },
    ] {
        assert!(!other.allow(), "{other:?}");
    }
}
