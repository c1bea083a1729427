//! Whether contacts are who they are taken for: docs/security.md, "Is it really them?".

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use knothole::command::{Command, CommandError, ContactView, KeyDiffers, WordsView};
use knothole::engine;
use knothole::event::EventKind;
use knothole::handle::{Options, Peer};
use knothole_proto::registration::Profile;
use knothole_proto::verification::Mismatch;
use tempfile::TempDir;

use crate::neighbours::link;

/// Peers without any rendezvous: nothing here needs one.
async fn peer() -> (Peer, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let options = Options {
        home: home.path().to_owned(),
        rendezvous: Vec::new(),
        allow_loopback: true,
        keepalive: Profile::Default,
    };
    (engine::start(options).await.unwrap(), home)
}

async fn add(peer: &Peer, other: &Peer, name: &str) -> Result<ContactView, CommandError> {
    let link = link(other).await;
    peer.request(|reply| Command::AddContact { link, name: Some(name.into()), relay_only: None, reply }).await
}

async fn words(peer: &Peer, who: &str) -> WordsView {
    peer.request(|reply| Command::Words { who: who.into(), reply }).await.unwrap()
}

async fn verify(peer: &Peer, who: &str, shown: Option<String>) -> Result<ContactView, CommandError> {
    peer.request(|reply| Command::Verify { who: who.into(), shown, reply }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_compare_the_same_words_or_scan_each_other_s_text() {
    let ((alice, _a), (bob, _b), (mallory, _m)) = (peer().await, peer().await, peer().await);
    add(&alice, &bob, "bob").await.unwrap();
    add(&bob, &alice, "alice").await.unwrap();
    add(&mallory, &alice, "alice").await.unwrap();
    let (here, there) = (words(&alice, "bob").await, words(&bob, "alice").await);
    assert_eq!((here.words.len(), &here.words), (10, &there.words));

    let foreign = words(&mallory, "alice").await.text;
    let refused = verify(&alice, "bob", Some(foreign)).await.unwrap_err();
    assert_eq!(refused, CommandError::Unverified(Mismatch::AnotherKey));
    assert!(!alice.request(Command::Contacts).await.unwrap()[0].verified);

    assert!(verify(&alice, "bob", Some(there.text)).await.unwrap().verified);
    assert!(verify(&bob, "alice", None).await.unwrap().verified, "the person has compared the words");
    assert!(alice.request(Command::Contacts).await.unwrap()[0].verified);
    for peer in [alice, bob, mallory] {
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_a_verified_name_is_refused_loudly_and_taken_only_on_demand() {
    let ((alice, _a), (bob, _b), (mallory, _m)) = (peer().await, peer().await, peer().await);
    let old = add(&alice, &bob, "Bob").await.unwrap();
    let clash = add(&alice, &mallory, "Bob").await.unwrap_err().to_string();
    assert!(clash.contains("Bob") && !clash.contains("WARNING"), "not verified yet: {clash}");
    verify(&alice, "Bob", None).await.unwrap();

    for name in ["Bob", " bob "] {
        let refused = add(&alice, &mallory, name).await.unwrap_err();
        let CommandError::KeyDiffers(told) = &refused else { panic!("{refused}") };
        let KeyDiffers { name, known, given } = &**told;
        assert_eq!((name.as_str(), known), ("Bob", &words(&alice, "Bob").await.words.join(" ")));
        assert_ne!(known, given);
        let text = refused.to_string();
        assert!(text.starts_with("WARNING: THE KEY DIFFERS") && text.contains("--replace") && text.contains(given));
        assert!(!text.contains('\n'), "{text}");
    }
    let contacts = alice.request(Command::Contacts).await.unwrap();
    assert_eq!(contacts.len(), 1);
    assert_eq!((contacts[0].peer, contacts[0].verified), (old.peer, true), "nothing was changed");

    let new = link(&mallory).await;
    let taken = |reply| Command::ReplaceContact { link: new.clone(), name: "Bob".into(), relay_only: None, reply };
    let replaced = alice.request(taken).await.unwrap();
    assert_eq!((replaced.contact.name.as_str(), replaced.contact.peer), ("Bob", new.peer));
    assert_eq!(replaced.former, (old.peer, format!("Bob (old key {})", old.peer.short())));
    let contacts = alice.request(Command::Contacts).await.unwrap();
    assert!(contacts.iter().all(|contact| !contact.verified), "what was compared was the old key");
    for peer in [alice, bob, mallory] {
        peer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_called_otherwise_and_stays_verified_but_takes_no_verified_name() {
    let ((alice, _a), (bob, _b), (mallory, _m)) = (peer().await, peer().await, peer().await);
    add(&alice, &bob, "bob").await.unwrap();
    add(&alice, &mallory, "mallory").await.unwrap();
    verify(&alice, "bob", None).await.unwrap();
    let rename = |who: &'static str, name: &'static str| {
        alice.request(move |reply| Command::Rename { who: who.into(), name: name.into(), reply })
    };
    let mut events = alice.events();
    let renamed = rename("bob", " Robert ").await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.verified), ("Robert", true));
    crate::neighbours::event(&mut events, |kind| match kind {
        EventKind::ContactChanged { contact } if contact.name == "Robert" => Some(()),
        _ => None,
    })
    .await;
    assert!(matches!(rename("bob", "x").await, Err(CommandError::UnknownContact(_))));
    assert!(matches!(rename("mallory", "robert").await, Err(CommandError::KeyDiffers(_))));
    verify(&alice, "mallory", None).await.unwrap();
    assert!(matches!(rename("Robert", "MALLORY").await, Err(CommandError::KeyDiffers(_))));
    for name in ["", "a\nb"] {
        assert!(matches!(rename("mallory", name).await, Err(CommandError::Store(_))));
    }
    assert_eq!(words(&alice, "Robert").await.words.len(), 10);
    for peer in [alice, bob, mallory] {
        peer.stop().await;
    }
}
