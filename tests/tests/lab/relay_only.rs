//! A contact that is met through a relay alone: a capture shows not one packet between the two networks (docs/protocol.md,
//! "Introduction", *Relay only*).

use std::thread;
use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town};
use anyhow::{Context, Result, ensure};
use knothole_lab::capture::{SIGHTS, between};
use knothole_lab::namespaces::{Host, Lab, run};
use knothole_lab::nat::NatKind;
use knothole_lab::person::Person;
use knothole_lab::world::{Moment, Place, Sight};
use serde_json::json;

/// What would be tried between the two begins within this: checks come with the introduction, further ones after 5 s at most.
const TEMPTATION: Duration = Duration::from_secs(8);

/// The two write each other, and each gets all, once and in order. Alice calls Bob `to_bob`.
fn talk(alice: &mut Person, bob: &mut Person, to_bob: &str, round: &str) -> Result<()> {
    let texts: Vec<_> = (0..10).map(|n| format!("{round} {n}")).collect();
    for text in &texts {
        alice.call("message.send", json!({"to": to_bob, "text": text}))?;
        bob.call("message.send", json!({"to": "alice", "text": text}))?;
    }
    let last = json!({"text": texts[texts.len() - 1]});
    bob.event("message", &last, PATIENCE).context("bob")?;
    alice.event("message", &last, PATIENCE).context("alice")?;
    for (person, other) in [(alice, to_bob), (bob, "alice")] {
        let received = person.received(other)?;
        ensure!(received.ends_with(&texts), "{received:?}");
    }
    Ok(())
}

fn ensure_none(packets: &[&Sight], when: &str) -> Result<()> {
    ensure!(packets.is_empty(), "{when}, {} packets: {:?} …", packets.len(), packets[0]);
    Ok(())
}

fn never_direct(lab: &Lab, town: &mut Town, hosts: [&Host; 2]) -> Result<()> {
    let (mut alice, mut bob) = (town.newcomer(hosts[0])?, town.newcomer(hosts[1])?);
    lab.watch(SIGHTS);
    // Bob asks, and is told nothing of Alice until she has chosen.
    let (to_alice, id_of_bob) = (alice.link()?, bob.call("status", json!({}))?["peer"].clone());
    bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
    let (_, request) = alice.event("contact.request", &json!({"peer": id_of_bob}), PATIENCE)?;
    alice.call("contact.path", json!({"peer": request["peer"], "mode": "relay"}))?;
    alice.call("contact.accept", json!({"peer": request["peer"]}))?;
    let name = request["peer"].as_str().context("a peer id")?;
    talk(&mut alice, &mut bob, name, "first")?;
    alice.event("path", &json!({"kind": "relay"}), PATIENCE)?;
    // Either may ask for a better path, and is not given one.
    bob.call("contact.connect", json!({"peer": "alice"}))?;
    alice.call("contact.connect", json!({"peer": name}))?;
    thread::sleep(TEMPTATION);
    talk(&mut alice, &mut bob, name, "second")?;
    ensure_none(&between(&lab.take_sights(), hosts[0], hosts[1]), "chosen before they met")
}

#[test]
fn chosen_before_they_meet_no_packet_goes_between_the_networks() -> Result<()> {
    run("relay_only::chosen_before_they_meet_no_packet_goes_between_the_networks", |lab| {
        let apart = [lab.host_behind("alice", NatKind::EimEif)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let neighbours = lab.hosts_on_one_lan(&["neighbour1", "neighbour2"], NatKind::EimApdf)?;
        let mut town = Town::new(lab)?;
        never_direct(lab, &mut town, [&apart[0], &apart[1]]).context("two networks")?;
        never_direct(lab, &mut town, [&neighbours[0], &neighbours[1]]).context("one network")
    })
}

#[test]
fn chosen_while_they_are_direct_the_direct_path_falls_silent() -> Result<()> {
    run("relay_only::chosen_while_they_are_direct_the_direct_path_falls_silent", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimEif)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.newcomer(&hosts[1])?);
        let (to_alice, to_bob) = (alice.link()?, bob.link()?);
        alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
        bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
        talk(&mut alice, &mut bob, "bob", "direct")?;
        for person in [&mut alice, &mut bob] {
            person.event("path", &json!({"kind": "direct"}), PATIENCE)?;
            person.forget_events();
        }

        lab.watch(SIGHTS);
        alice.call("contact.path", json!({"peer": "bob", "mode": "relay"}))?;
        let answered = Instant::now();
        let (at_bob, _) = bob.event("path", &json!({"kind": "relay"}), PATIENCE).context("bob's path")?;
        talk(&mut alice, &mut bob, "bob", "relayed")?;
        bob.call("contact.connect", json!({"peer": "alice"}))?;
        thread::sleep(TEMPTATION);
        talk(&mut alice, &mut bob, "bob", "relayed still")?;
        ensure!(bob.events().all(|(_, event)| event["type"] != "presence"), "the connection stays");

        let sights = lab.take_sights();
        let packets = between(&sights, &hosts[0], &hosts[1]);
        let sent_by = |host: &Host, after: Instant| -> Vec<&Sight> {
            let sent = |sight: &&Sight| sight.moment == Moment::Sent && sight.place == Place::Host(host.id());
            packets.iter().copied().filter(sent).filter(|sight| sight.at > after).collect()
        };
        ensure_none(&sent_by(&hosts[0], answered), "after alice had chosen")?;
        ensure_none(&sent_by(&hosts[1], at_bob), "after bob had heard of it")?;
        let last = packets.iter().map(|sight| sight.at.saturating_duration_since(answered)).max();
        println!(
            "{} packets were under way or came from bob before he heard, the last seen {last:?} after",
            packets.len()
        );
        Ok(())
    })
}
