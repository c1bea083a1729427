//! The real binaries in networks that let no UDP through: online by TCP, talking through the relay, and back on UDP and a
//! direct path when it passes again (docs/protocol.md, "TCP"). How soon is what `measure -- sign-in` measures.

use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town};
use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::{Host, Lab, run};
use knothole_lab::nat::NatKind;
use knothole_lab::person::{Person, Rendezvous, binaries};
use knothole_lab::world::{DropReason, Moment};
use serde_json::json;

/// UDP is tried again after 30 s at the latest at first, then after 45 s; with what follows, and a busy machine.
const UDP_AGAIN: Duration = Duration::from_secs(120);
/// More packets than a first word takes.
const SIGHTS: usize = 100_000;

/// Starts a peer on a host whose network lets no UDP through; returns how long until a rendezvous knew it.
fn blocked(lab: &Lab, town: &mut Town, host: &Host) -> Result<(Person, Duration)> {
    lab.set_udp_blocked(host, true);
    let began = Instant::now();
    let mut person = town.newcomer(host)?;
    let online = began.elapsed();
    let status = person.call("status", json!({}))?;
    let rendezvous = &status["rendezvous"][0];
    ensure!(rendezvous["transport"] == "tcp" && rendezvous["state"] == "registered", "{status}");
    let observed = rendezvous["observed"].as_str().context("observed")?;
    ensure!(observed == format!("{}:0", host.public_address()), "{observed}");
    Ok((person, online))
}

/// How many datagrams of these hosts to each other were dropped since the last call because no UDP passes.
fn checks_in_vain(lab: &Lab, hosts: [&Host; 2]) -> usize {
    let addresses = hosts.map(Host::public_address);
    let blocked = |moment| moment == Moment::Dropped(DropReason::Blocked);
    lab.take_sights().iter().filter(|sight| blocked(sight.moment) && addresses.contains(&sight.dst.ip())).count()
}

/// The two become contacts and each says something that the other gets; `why` is what alice is told.
fn talk(alice: &mut Person, bob: &mut Person, why: &str) -> Result<Duration> {
    let (to_alice, to_bob) = (alice.link()?, bob.link()?);
    alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
    bob.event("contact.request", &json!({}), PATIENCE)?;
    let began = Instant::now();
    bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
    alice.call("message.send", json!({"to": "bob", "text": "hello"}))?;
    let (arrived, _) = bob.event("message", &json!({"text": "hello"}), PATIENCE)?;
    bob.call("message.send", json!({"to": "alice", "text": "and back"}))?;
    alice.event("message", &json!({"text": "and back"}), PATIENCE)?;
    alice.event("path", &json!({"kind": "relay", "why": why}), PATIENCE)?;
    Ok(arrived - began)
}

#[test]
fn without_udp_they_are_online_and_talk_both_ways() -> Result<()> {
    run("blocked::without_udp_they_are_online_and_talk_both_ways", |lab| {
        let hosts = [
            lab.host_behind("blocked1", NatKind::EimApdf)?,
            lab.host_behind("blocked2", NatKind::RandomSymmetric)?,
            lab.host_behind("normal", NatKind::EimApdf)?,
        ];
        let mut town = Town::new(lab)?;
        for host in &hosts[..2] {
            let (_, online) = blocked(lab, &mut town, host)?;
            println!("{}: online after {online:.0?}", host.name());
        }
        let ours = "this network lets no UDP out";
        let theirs = "the contact's network lets no UDP out";
        for (one, other, why) in [(0, 2, ours), (2, 0, theirs), (0, 1, ours)] {
            lab.watch(SIGHTS);
            let mut person = |n: usize| match n {
                2 => town.newcomer(&hosts[2]),
                n => blocked(lab, &mut town, &hosts[n]).map(|(person, _)| person),
            };
            let (mut alice, mut bob) = (person(one)?, person(other)?);
            let pair = format!("{} – {}", hosts[one].name(), hosts[other].name());
            let took = talk(&mut alice, &mut bob, why).with_context(|| pair.clone())?;
            println!("{pair}: first word after {took:.0?}");
            let checks = checks_in_vain(lab, [&hosts[one], &hosts[other]]);
            ensure!(checks == 0, "{pair}: {checks} datagrams were sent where none passes");
        }
        Ok(())
    })
}

#[test]
fn udp_that_passes_again_is_moved_to_and_leads_to_a_direct_path_without_a_loss() -> Result<()> {
    run("blocked::udp_that_passes_again_is_moved_to_and_leads_to_a_direct_path_without_a_loss", |lab| {
        let hosts = [lab.host_behind("blocked", NatKind::EimApdf)?, lab.host_behind("normal", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let (mut alice, _) = blocked(lab, &mut town, &hosts[0])?;
        let mut bob = town.newcomer(&hosts[1])?;
        talk(&mut alice, &mut bob, "this network lets no UDP out")?;
        bob.forget_events();
        lab.set_udp_blocked(&hosts[0], false);
        let began = Instant::now();
        let (mut sent, mut after) = (0, 0);
        // A message each way every second, through whatever comes, and some more when it is direct.
        while after < 10 {
            alice.call("message.send", json!({"to": "bob", "text": format!("alice {sent}")}))?;
            bob.call("message.send", json!({"to": "alice", "text": format!("bob {sent}")}))?;
            sent += 1;
            let path = json!({"kind": "direct", "transport": "udp"});
            if after > 0 || alice.event("path", &path, Duration::from_secs(1)).is_ok() {
                if after == 0 {
                    println!("direct {:.1?} after UDP passed again", began.elapsed());
                }
                after += 1;
            }
            ensure!(began.elapsed() < UDP_AGAIN, "not direct after {:.0?}", began.elapsed());
        }
        for (person, other, by) in [(&mut bob, "alice", "alice"), (&mut alice, "bob", "bob")] {
            let last = format!("{by} {}", sent - 1);
            person.event("message", &json!({"text": last}), PATIENCE).context("the last message")?;
            let received = person.received(other)?;
            let expected = (0..sent).map(|n| format!("{by} {n}"));
            let numbered: Vec<_> = received.into_iter().filter(|text| text.starts_with(by)).collect();
            ensure!(numbered == expected.collect::<Vec<_>>(), "each once and in order: {numbered:?}");
        }
        ensure!(bob.event("presence", &json!({"state": "offline"}), Duration::ZERO).is_err(), "the talk was broken");
        let status = alice.call("status", json!({}))?;
        ensure!(status["rendezvous"][0]["transport"] == "udp", "{status}");
        Ok(())
    })
}

#[test]
fn udp_that_is_blocked_in_the_middle_of_a_talk_is_gone_without() -> Result<()> {
    run("blocked::udp_that_is_blocked_in_the_middle_of_a_talk_is_gone_without", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimApdf)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.newcomer(&hosts[1])?);
        let (to_alice, to_bob) = (alice.link()?, bob.link()?);
        alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
        bob.event("contact.request", &json!({}), PATIENCE)?;
        bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
        alice.event("path", &json!({"kind": "direct"}), PATIENCE)?;
        alice.call("message.send", json!({"to": "bob", "text": "before"}))?;
        bob.event("message", &json!({"text": "before"}), PATIENCE)?;
        lab.set_udp_blocked(&hosts[0], true);
        let began = Instant::now();
        alice.call("message.send", json!({"to": "bob", "text": "after"}))?;
        bob.event("message", &json!({"text": "after"}), PATIENCE)?;
        println!("talking again {:.1?} after UDP was blocked", began.elapsed());
        bob.call("message.send", json!({"to": "alice", "text": "and back"}))?;
        alice.event("message", &json!({"text": "and back"}), PATIENCE)?;
        alice.event("path", &json!({"kind": "relay", "transport": "tcp"}), PATIENCE)?;
        Ok(())
    })
}

#[test]
fn a_pulled_cable_is_noticed_and_put_back_goes_on() -> Result<()> {
    run("blocked::a_pulled_cable_is_noticed_and_put_back_goes_on", |lab| {
        let hosts = [lab.host_behind("blocked", NatKind::EimApdf)?, lab.host_behind("normal", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let (mut alice, _) = blocked(lab, &mut town, &hosts[0])?;
        let mut bob = town.newcomer(&hosts[1])?;
        talk(&mut alice, &mut bob, "this network lets no UDP out")?;
        lab.set_cut(&hosts[0], true);
        let pulled = Instant::now();
        let (noticed, _) = alice.event("unregistered", &json!({}), Duration::from_secs(80))?;
        println!("noticed {:.1?} after the cable was pulled", noticed - pulled);
        alice.call("message.send", json!({"to": "bob", "text": "without a cable"}))?;
        lab.set_cut(&hosts[0], false);
        let back = Instant::now();
        // Sign-ins that failed meanwhile are repeated after pauses of up to some seconds.
        let (registered, _) = alice.event("registered", &json!({}), Duration::from_secs(60))?;
        let (arrived, _) = bob.event("message", &json!({"text": "without a cable"}), Duration::from_secs(60))?;
        println!("registered {:.1?}, talking {:.1?} after it was put back", registered - back, arrived - back);
        Ok(())
    })
}

#[test]
fn where_only_port_443_is_let_out_the_rendezvous_is_reached_there() -> Result<()> {
    run("blocked::where_only_port_443_is_let_out_the_rendezvous_is_reached_there", |lab| {
        let (inside, outside) = (lab.host_behind("inside", NatKind::EimApdf)?, lab.public_host("outside")?);
        let (programs, directory) = (binaries()?, tempfile::tempdir()?);
        let mut command = outside.command(programs.join("knothole-rendezvous"));
        command.args(["--listen", &format!("{}:3478", outside.address())]);
        let listen = format!("{}:443", outside.address());
        let rendezvous = Rendezvous::start(command, &listen, &directory.path().join("state"))?;
        // A port that nothing answers at, as far as this network is concerned.
        let address = rendezvous.address.replace(":3478", ":3479");
        ensure!(address != rendezvous.address, "{address}");
        lab.set_udp_blocked(&inside, true);
        let began = Instant::now();
        let mut person =
            Person::start(inside.command(programs.join("knothole")), &directory.path().join("home"), &address)?;
        person.event("registered", &json!({"rendezvous": address}), PATIENCE)?;
        println!("online at port 443 after {:.0?}", began.elapsed());
        Ok(())
    })
}
