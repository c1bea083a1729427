//! Two contacts on one LAN, and nobody else in the world: they find each other and talk (docs/protocol.md, "LAN").

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::{Station, cable, run_alone};
use knothole_lab::person::{Person, binaries};
use knothole_proto::identity::PeerId;
use nix::sys::signal::Signal;
use serde_json::json;

/// Finding each other takes a second at most, and the lab's machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A rendezvous whose name stands for nothing, here or anywhere (RFC 6761).
fn nowhere() -> String {
    format!("{}@rendezvous.invalid:3478", PeerId::new([9; 32]))
}

fn person(station: &Station, home: &Path) -> Result<Person> {
    Person::start(station.command(binaries()?.join("knothole")), home, &nowhere())
}

/// They add each other by link, and Alice writes; how long until Bob has it.
fn meet(alice: &mut Person, bob: &mut Person, text: &str) -> Result<Duration> {
    let (to_alice, to_bob) = (alice.link()?, bob.link()?);
    alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
    bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
    let begin = Instant::now();
    alice.call("message.send", json!({"to": "bob", "text": text}))?;
    let (arrived, _) = bob.event("message", &json!({"name": "alice", "text": text}), PATIENCE)?;
    Ok(arrived - begin)
}

#[test]
fn contacts_on_one_lan_talk_without_any_rendezvous() -> Result<()> {
    run_alone("lan::contacts_on_one_lan_talk_without_any_rendezvous", |_| {
        let homes = tempfile::tempdir()?;
        let lans = [
            ("v4", ["10.77.0.1/24", "10.77.0.2/24"]),
            ("linklocal", ["169.254.7.1/16", "169.254.9.2/16"]),
            ("v6", ["fd77::1/64", "fd77::2/64"]),
        ];
        for (name, [left, right]) in lans {
            let stations = cable([&format!("{name}-a"), &format!("{name}-b")], [&[left], &[right]])?;
            let home = |who: &str| homes.path().join(format!("{name}-{who}"));
            let mut alice = person(&stations[0], &home("alice"))?;
            let mut bob = person(&stations[1], &home("bob"))?;
            let took = meet(&mut alice, &mut bob, "hello").with_context(|| name.to_owned())?;
            let (_, path) = bob.event("path", &json!({"kind": "direct"}), PATIENCE)?;
            println!("{name}: first message after {took:.0?}, by {}", path["remote"]);
            let other = left.split('/').next().context("an address")?;
            ensure!(path["remote"].as_str().is_some_and(|remote| remote.contains(other)), "{path}");

            // Restarted without a goodbye, and with another salt.
            bob.process.signal(Signal::SIGKILL)?;
            drop(bob);
            let mut bob = person(&stations[1], &home("bob"))?;
            alice.call("message.send", json!({"to": "bob", "text": "again"}))?;
            bob.event("message", &json!({"text": "again"}), PATIENCE).with_context(|| format!("{name}, restarted"))?;
        }
        Ok(())
    })
}

#[test]
fn who_switches_it_off_is_not_found() -> Result<()> {
    run_alone("lan::who_switches_it_off_is_not_found", |_| {
        let homes = tempfile::tempdir()?;
        let stations = cable(["off-a", "off-b"], [&["10.77.0.1/24"], &["10.77.0.2/24"]])?;
        let silent = homes.path().join("bob");
        std::fs::create_dir(&silent)?;
        std::fs::write(silent.join("config.toml"), "lan_discovery = false\n")?;
        let mut alice = person(&stations[0], &homes.path().join("alice"))?;
        let mut bob = person(&stations[1], &silent)?;
        let (to_alice, to_bob) = (alice.link()?, bob.link()?);
        alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
        bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
        alice.call("message.send", json!({"to": "bob", "text": "hello"}))?;
        // Ten times what it takes when it is on.
        let found = bob.event("message", &json!({"name": "alice"}), Duration::from_secs(6));
        ensure!(found.is_err(), "{found:?}");
        Ok(())
    })
}
