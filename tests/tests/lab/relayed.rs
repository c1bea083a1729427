//! The real binaries where no direct path can be: they talk all the same, through a rendezvous that cannot read a word
//! (docs/protocol.md, "Relay"), and say why.

use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town};
use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::{Input, run};
use knothole_lab::nat::NatKind;
use knothole_lab::person::Person;
use serde_json::json;

/// Alice writes to Bob, whom she has not reached yet; returns how long until he had it.
fn first_word(alice: &mut Person, bob: &mut Person) -> Result<Duration> {
    let (to_alice, to_bob) = (alice.link()?, bob.link()?);
    alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
    bob.event("contact.request", &json!({}), PATIENCE)?;
    let begin = Instant::now();
    bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
    alice.call("message.send", json!({"to": "bob", "text": "hello"}))?;
    let (arrived, _) = bob.event("message", &json!({"name": "alice", "text": "hello"}), PATIENCE)?;
    Ok(arrived - begin)
}

#[test]
fn networks_that_cannot_meet_talk_through_the_relay_and_say_why() -> Result<()> {
    run("relayed::networks_that_cannot_meet_talk_through_the_relay_and_say_why", |lab| {
        let hosts = [
            lab.host_behind("random", NatKind::RandomSymmetric)?,
            lab.host_behind("random2", NatKind::RandomSymmetric)?,
            lab.nft_host("fully-random", Input::Drop, true)?,
        ];
        let mut town = Town::new(lab)?;
        for (a, b) in [(0, 1), (1, 2)] {
            let (mut alice, mut bob) = (town.newcomer(&hosts[a])?, town.newcomer(&hosts[b])?);
            let took = first_word(&mut alice, &mut bob)?;
            println!("{} – {}: first word after {took:.0?}", hosts[a].name(), hosts[b].name());
            let why = "both networks give every connection an unforeseeable port; no direct path can be found";
            let why = json!({"kind": "relay", "why": why});
            alice.event("path", &why, PATIENCE)?;
            bob.call("message.send", json!({"to": "alice", "text": "and back"}))?;
            alice.event("message", &json!({"text": "and back"}), PATIENCE)?;
            let contacts = bob.call("contact.list", json!({}))?;
            ensure!(contacts[0]["path"]["kind"] == "relay" && contacts[0]["path"]["why"].is_string(), "{contacts}");
        }
        Ok(())
    })
}

#[test]
fn a_path_that_dies_leaves_the_talk_going() -> Result<()> {
    run("relayed::a_path_that_dies_leaves_the_talk_going", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimApdf)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.newcomer(&hosts[1])?);
        first_word(&mut alice, &mut bob)?;
        for moved in [vec![0], vec![1], vec![0, 1]] {
            let direct = json!({"kind": "direct"});
            alice.event("path", &direct, PATIENCE).or_else(|_| bob.event("path", &direct, PATIENCE))?;
            std::thread::sleep(Duration::from_secs(1));
            for host in &moved {
                lab.rebind_nat(&hosts[*host])?;
            }
            alice.forget_events();
            bob.forget_events();
            let begin = Instant::now();
            for n in 0..20 {
                alice.call("message.send", json!({"to": "bob", "text": format!("{moved:?} {n}")}))?;
            }
            let last = json!({"text": format!("{moved:?} 19")});
            let (arrived, _) = bob.event("message", &last, PATIENCE).context("after the rebinding")?;
            println!("rebinding of {moved:?}: silent for {:.0?}", arrived - begin);
        }
        let expected = 1 + 3 * 20;
        ensure!(bob.received("alice")?.len() == expected, "each once");
        Ok(())
    })
}
