//! A letter that waits: its sender is gone before the recipient comes, and the rendezvous was killed meanwhile (docs/protocol.md,
//! "Letters").

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::run;
use knothole_lab::network::Network;
use knothole_lab::person::{Person, binaries};
use knothole_lab::trial::meeting::registered;
use knothole_lab::trial::{Setting, Site};
use nix::sys::signal::Signal;
use serde_json::json;

/// Whatever is waited for happens within this, also on a machine that is busy, or not at all.
const PATIENCE: Duration = Duration::from_secs(30);

fn online(setting: &Setting<'_>, site: &Site, home: &Path) -> Result<Person> {
    let mut person = setting.person(site, home)?;
    registered(&mut person)?;
    Ok(person)
}

fn leave(mut person: Person) -> Result<()> {
    person.process.signal(Signal::SIGTERM)?;
    person.process.wait().map(drop)
}

/// Waits until its mailbox is open at the rendezvous.
fn open_mailbox(person: &mut Person) -> Result<()> {
    person.call("mailbox.set", json!({"open": true}))?;
    let until = Instant::now() + PATIENCE;
    loop {
        let status = person.call("status", json!({}))?;
        if status["rendezvous"][0]["mailbox"] == "open" {
            return Ok(());
        }
        ensure!(Instant::now() < until, "its mailbox does not open: {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_message_waits_for_its_recipient_when_its_sender_and_the_rendezvous_are_gone() -> Result<()> {
    run("mailbox::a_message_waits_for_its_recipient_when_its_sender_and_the_rendezvous_are_gone", |lab| {
        let setting = Setting::new(lab, binaries()?)?;
        let sites = [setting.site(Network::Apdf)?, setting.site(Network::Apdf)?];
        let homes = [setting.home(), setting.home()];
        let mut alice = online(&setting, &sites[0], &homes[0])?;
        let mut bob = online(&setting, &sites[1], &homes[1])?;
        let (to_alice, to_bob) = (alice.link()?, bob.link()?);
        alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
        bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
        // Both sides want it.
        open_mailbox(&mut alice)?;
        open_mailbox(&mut bob)?;
        // They have talked: from then on each has keys for the other.
        let mut said = vec!["before".to_owned()];
        let before = alice.call("message.send", json!({"to": "bob", "text": "before"}))?;
        alice.event("state", &json!({"message": before["message"], "state": "delivered"}), PATIENCE)?;
        bob.call("message.send", json!({"to": "alice", "text": "yes"}))?;
        alice.event("message", &json!({"text": "yes"}), PATIENCE)?;
        leave(bob)?;
        alice.event("presence", &json!({"name": "bob", "state": "offline"}), PATIENCE)?;

        let mut waiting = Vec::new();
        for text in ["one".to_owned(), "two, and longer: ".to_owned() + &"knot ".repeat(500), "three".to_owned()] {
            let message = alice.call("message.send", json!({"to": "bob", "text": text}))?["message"].clone();
            alice.event("state", &json!({"message": message, "state": "sent"}), PATIENCE).context("in the box")?;
            waiting.push(message);
            said.push(text);
        }
        leave(alice)?;
        setting.restart_rendezvous()?;

        let mut bob = online(&setting, &sites[1], &homes[1])?;
        for text in &said[1..] {
            bob.event("message", &json!({"name": "alice", "text": text}), PATIENCE)?;
        }
        ensure!(bob.received("alice")? == said, "each once and in order: {:?}", bob.received("alice")?);
        // In the box was not delivered; now it is.
        let mut alice = online(&setting, &sites[0], &homes[0])?;
        let until = Instant::now() + PATIENCE;
        loop {
            let page = alice.call("message.history", json!({"with": "bob"}))?;
            let page = page.as_array().context("a page")?;
            let states = page.iter().filter(|message| waiting.contains(&message["message"]));
            if states.clone().all(|message| message["state"] == "delivered") {
                break;
            }
            ensure!(Instant::now() < until, "not delivered: {page:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        // Nothing is left to be pushed, nor shown, again.
        leave(bob)?;
        let mut bob = online(&setting, &sites[1], &homes[1])?;
        alice.call("message.send", json!({"to": "bob", "text": "last"}))?;
        bob.event("message", &json!({"text": "last"}), PATIENCE)?;
        said.push("last".into());
        ensure!(bob.received("alice")? == said, "each once and in order: {:?}", bob.received("alice")?);
        Ok(())
    })
}
