//! The real binaries in the namespace lab: whoever can meet directly does, soon, and says so as the interface promises.

use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town};
use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::run;
use knothole_lab::nat::{Behaviour, NatKind};
use knothole_lab::network::Network;
use knothole_lab::network::Network::*;
use knothole_lab::person::Person;
use nix::sys::signal::Signal;
use serde_json::json;

/// Between two sites of 20 ms each way.
const ROUND_TRIP: Duration = Duration::from_millis(80);

/// Alice knows Bob already, and Bob now adds Alice, while Alice writes: how long until the first of them has a direct path,
/// and until Bob has the message.
fn meet(alice: &mut Person, bob: &mut Person) -> Result<(Duration, Duration)> {
    let (link_of_alice, link_of_bob) = (alice.link()?, bob.link()?);
    alice.call("contact.add", json!({"link": link_of_bob, "name": "bob"}))?;
    bob.event("contact.request", &json!({}), PATIENCE)?;
    let begin = Instant::now();
    bob.call("contact.add", json!({"link": link_of_alice, "name": "alice"}))?;
    let message = alice.call("message.send", json!({"to": "bob", "text": "hello"}))?["message"].clone();
    let direct = json!({"kind": "direct", "transport": "udp"});
    let (at_alice, _) = alice.event("path", &direct, PATIENCE).context("alice's path")?;
    let (at_bob, _) = bob.event("path", &direct, PATIENCE).context("bob's path")?;
    let (arrived, _) = bob.event("message", &json!({"name": "alice", "text": "hello"}), PATIENCE)?;
    alice.event("state", &json!({"message": message, "state": "delivered"}), PATIENCE)?;
    alice.event("presence", &json!({"name": "bob", "state": "online"}), PATIENCE)?;
    Ok((at_alice.min(at_bob) - begin, arrived - begin))
}

/// Those that plain checks join: ports need no guessing.
const EASY: [Network; 8] = [Public, Eif, Adf, Apdf, ApdfRandom, NftAccept, NftDrop, Double];

#[test]
fn every_pair_of_easy_networks_meets_directly() -> Result<()> {
    run("direct::every_pair_of_easy_networks_meets_directly", |lab| {
        let mut left = Vec::new();
        let mut right = Vec::new();
        for (index, kind) in EASY.into_iter().enumerate() {
            left.push(kind.host(lab, &format!("left{index}"))?);
            right.push(kind.host(lab, &format!("right{index}"))?);
        }
        let mut town = Town::new(lab)?;
        let mut times = Vec::new();
        for (a, alices) in left.iter().enumerate() {
            for (b, bobs) in right.iter().enumerate() {
                let (mut alice, mut bob) = (town.newcomer(alices)?, town.newcomer(bobs)?);
                let pair = format!("{:?} – {:?}", EASY[a], EASY[b]);
                let (direct, message) = meet(&mut alice, &mut bob).with_context(|| pair.clone())?;
                let trips = direct.as_secs_f64() / ROUND_TRIP.as_secs_f64();
                println!("{pair:>50}: direct after {direct:.0?} ({trips:.1} round trips), message after {message:.0?}");
                times.push(direct);
            }
        }
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{} pairs, direct after {median:.0?} (median), {worst:.0?} (worst)", times.len());
        Ok(())
    })
}

/// The address of alice's path to bob.
fn path_of(alice: &mut Person) -> Result<String> {
    let contacts = alice.call("contact.list", json!({}))?;
    Ok(contacts[0]["path"]["remote"].as_str().context("a path")?.to_owned())
}

#[test]
fn peers_on_one_lan_talk_by_their_lan_addresses_with_or_without_hairpin() -> Result<()> {
    run("direct::peers_on_one_lan_talk_by_their_lan_addresses_with_or_without_hairpin", |lab| {
        let hairpin = NatKind::EimApdf;
        let without = hairpin.behaviour().map(|nat| Behaviour { hairpin: false, ..nat });
        let homes = [
            lab.hosts_on_one_lan(&["a1", "a2"], hairpin)?,
            lab.hosts_on_one_lan(&["b1", "b2"], without)?,
            lab.hosts_on_one_lan(&["c1", "c2"], NatKind::RandomSymmetric)?,
        ];
        let mut town = Town::new(lab)?;
        for hosts in homes {
            let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.newcomer(&hosts[1])?);
            meet(&mut alice, &mut bob)?;
            for (person, other) in [(&mut alice, &hosts[1]), (&mut bob, &hosts[0])] {
                let lan = format!("{}:", other.address());
                let until = Instant::now() + PATIENCE;
                loop {
                    let remote = path_of(person)?;
                    if remote.starts_with(&lan) {
                        break;
                    }
                    ensure!(Instant::now() < until, "not the LAN address: {remote}");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_killed_peer_is_offline_within_the_heartbeat_and_back_without_loss() -> Result<()> {
    run("direct::a_killed_peer_is_offline_within_the_heartbeat_and_back_without_loss", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimApdf)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let home_of_bob = town.home();
        let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.person(&hosts[1], &home_of_bob)?);
        meet(&mut alice, &mut bob)?;

        let mut expected = vec!["hello".to_owned()];
        for n in 0..50 {
            let text = format!("before {n}");
            alice.call("message.send", json!({"to": "bob", "text": text}))?;
            expected.push(text);
        }
        bob.process.signal(Signal::SIGKILL)?;
        let killed = Instant::now();
        drop(bob);
        for n in 0..50 {
            let text = format!("after {n}");
            alice.call("message.send", json!({"to": "bob", "text": text}))?;
            expected.push(text);
        }
        // docs/protocol.md, "Link": the idle timeout is 30 s, counted from the last datagram heard; with a busy machine's time.
        let (offline, _) =
            alice.event("presence", &json!({"name": "bob", "state": "offline"}), Duration::from_secs(38))?;
        println!("offline after {:.1?}", offline - killed);
        // docs/protocol.md, "Sign-in": the registration lives two intervals of 20 s.
        let (absent, gone) =
            alice.event("path", &json!({"kind": "none", "why": "the contact is offline"}), Duration::from_secs(90))?;
        println!("absent after {:.1?}: {gone}", absent - killed);

        let mut bob = town.person(&hosts[1], &home_of_bob)?;
        let last = expected[expected.len() - 1].clone();
        bob.event("message", &json!({"text": last}), PATIENCE)?;
        assert_eq!(bob.received("alice")?, expected, "each once and in order");

        // Killed and restarted at once: alice's connection is dead, but nobody has noticed yet.
        bob.process.signal(Signal::SIGKILL)?;
        drop(bob);
        let mut bob = town.person(&hosts[1], &home_of_bob)?;
        let restarted = Instant::now();
        alice.call("message.send", json!({"to": "bob", "text": "again"}))?;
        let (back, _) = bob.event("message", &json!({"text": "again"}), PATIENCE)?;
        println!("talking again {:.1?} after the restart", back.saturating_duration_since(restarted));
        bob.call("message.send", json!({"to": "alice", "text": "and back"}))?;
        alice.event("message", &json!({"text": "and back"}), PATIENCE)?;
        expected.push("again".to_owned());
        assert_eq!(bob.received("alice")?, expected, "each once and in order");
        Ok(())
    })
}

#[test]
fn a_strict_profile_notices_a_killed_peer_long_before_others() -> Result<()> {
    run("direct::a_strict_profile_notices_a_killed_peer_long_before_others", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimApdf)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let home = town.home();
        std::fs::create_dir_all(&home)?;
        std::fs::write(home.join("config.toml"), "keepalive = \"strict\"\n")?;
        let (mut alice, mut bob) = (town.person(&hosts[0], &home)?, town.newcomer(&hosts[1])?);
        meet(&mut alice, &mut bob)?;
        bob.process.signal(Signal::SIGKILL)?;
        let killed = Instant::now();
        // docs/protocol.md, "Keepalive": strict links end after 9 s without a datagram, others after 30 s.
        let (offline, _) =
            alice.event("presence", &json!({"name": "bob", "state": "offline"}), Duration::from_secs(20))?;
        println!("offline after {:.1?}", offline - killed);
        Ok(())
    })
}
