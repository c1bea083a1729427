//! Who sees whom, by the real binaries: one who is invisible to a contact is away to it, and nothing that reaches that contact's
//! line tells the two apart; a goodbye is seen at once (docs/protocol.md, "Presence").

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town};
use anyhow::{Context, Result, bail, ensure};
use knothole_lab::capture::{SIGHTS, at};
use knothole_lab::namespaces::{Host, Lab, run};
use knothole_lab::nat::NatKind;
use knothole_lab::person::Person;
use knothole_lab::world::{Moment, Sight};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Silence alone tells that somebody is gone after 30 s; a goodbye needs a trip.
const AT_ONCE: Duration = Duration::from_secs(20);
/// How often both are looked at, at most.
const ROUNDS: usize = 5;
/// How long Bob's line is looked at after Alice has gone: what he writes, and what he tries after it.
const LOOK: Duration = Duration::from_secs(5);

fn acquaint(one: (&mut Person, &str), other: (&mut Person, &str)) -> Result<()> {
    let (to_one, to_other) = (one.0.link()?, other.0.link()?);
    one.0.call("contact.add", json!({"link": to_other, "name": other.1}))?;
    other.0.call("contact.add", json!({"link": to_one, "name": one.1}))?;
    sees(one.0, other.1, "online")?;
    sees(other.0, one.1, "online")
}

/// Waits until a contact is shown as `state`.
fn sees(person: &mut Person, name: &str, state: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while presence(person, name)? != state {
        ensure!(Instant::now() < until, "{name} is not seen {state}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn presence(person: &mut Person, name: &str) -> Result<Value> {
    let contacts = person.call("contact.list", json!({}))?;
    let contact = contacts.as_array().and_then(|all| all.iter().find(|contact| contact["name"] == name));
    Ok(contact.with_context(|| format!("no contact {name}"))?["presence"].clone())
}

/// One writes, and the other has it.
fn says(one: &mut Person, to: &str, other: &mut Person, text: &str) -> Result<Value> {
    let message = one.call("message.send", json!({"to": to, "text": text}))?["message"].clone();
    other.event("message", &json!({"text": text}), PATIENCE)?;
    Ok(message)
}

#[test]
fn one_is_invisible_to_one_and_visible_to_another() -> Result<()> {
    run("presence::one_is_invisible_to_one_and_visible_to_another", |lab| {
        let hosts = ["alice", "bob", "carol"].map(|name| lab.host_behind(name, NatKind::EimApdf));
        let mut town = Town::new(lab)?;
        let [alice, bob, carol] = hosts.map(|host| host.and_then(|host| town.newcomer(&host)));
        let (mut alice, mut bob, mut carol) = (alice?, bob?, carol?);
        acquaint((&mut alice, "alice"), (&mut bob, "bob"))?;
        acquaint((&mut alice, "alice"), (&mut carol, "carol"))?;
        let first = says(&mut alice, "bob", &mut bob, "first")?;
        alice.event("state", &json!({"message": first, "state": "delivered"}), PATIENCE)?;
        let first = says(&mut bob, "alice", &mut alice, "second")?;
        bob.event("state", &json!({"message": first, "state": "delivered"}), PATIENCE)?;

        alice.call("presence.set", json!({"mode": "invisible", "peer": "bob"}))?;
        sees(&mut bob, "alice", "offline")?;
        bob.forget_events();
        let unseen = says(&mut bob, "alice", &mut alice, "are you there?")?;
        says(&mut carol, "alice", &mut alice, "hello")?;
        says(&mut alice, "carol", &mut carol, "hello, carol")?;
        ensure!(presence(&mut carol, "alice")? == "online", "carol sees alice");
        ensure!(presence(&mut bob, "alice")? == "offline", "bob does not");
        let told = |event: &Value| event["state"] == "delivered" || event["state"] == "online";
        ensure!(!bob.events().any(|(_, event)| told(event)), "bob was told that somebody is there");

        alice.call("presence.set", json!({"mode": "online", "peer": "bob"}))?;
        sees(&mut bob, "alice", "online")?;
        bob.event("state", &json!({"message": unseen, "state": "delivered"}), PATIENCE)?;
        ensure!(alice.received("bob")? == ["second", "are you there?"], "each once: {:?}", alice.received("bob")?);
        Ok(())
    })
}

#[test]
fn a_goodbye_is_seen_at_once() -> Result<()> {
    run("presence::a_goodbye_is_seen_at_once", |lab| {
        let hosts = ["alice", "bob"].map(|name| lab.host_behind(name, NatKind::EimApdf));
        let mut town = Town::new(lab)?;
        let [alice, bob] = hosts.map(|host| host.and_then(|host| town.newcomer(&host)));
        let (mut alice, mut bob) = (alice?, bob?);
        acquaint((&mut alice, "alice"), (&mut bob, "bob"))?;
        alice.forget_events();
        bob.process.signal(Signal::SIGTERM)?;
        let begin = Instant::now();
        let (seen, _) = alice.event("presence", &json!({"name": "bob", "state": "offline"}), AT_ONCE)?;
        println!("offline {:.0?} after the goodbye", seen - begin);
        Ok(())
    })
}

/// A packet at Bob's line: when, whether he sent it, how long it was.
type Packet = (Duration, bool, usize);

/// Alice goes, in one way or the other, and Bob writes: what passes at his line.
fn line(lab: &Lab, town: &mut Town, hosts: &[Host; 2], invisible: bool) -> Result<Vec<Packet>> {
    let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.newcomer(&hosts[1])?);
    acquaint((&mut alice, "alice"), (&mut bob, "bob"))?;
    let first = says(&mut bob, "alice", &mut alice, "first")?;
    bob.event("state", &json!({"message": first, "state": "delivered"}), PATIENCE)?;
    for person in [&mut alice, &mut bob] {
        person.event("path", &json!({"kind": "direct"}), PATIENCE)?;
    }
    // What two do who have just met is over.
    thread::sleep(Duration::from_secs(5));
    if invisible {
        alice.call("presence.set", json!({"mode": "invisible"}))?;
    } else {
        alice.process.signal(Signal::SIGTERM)?;
    }
    sees(&mut bob, "alice", "offline")?;
    thread::sleep(Duration::from_secs(3));
    lab.watch(SIGHTS);
    lab.take_sights();
    let begin = Instant::now();
    for n in 0..3 {
        bob.call("message.send", json!({"to": "alice", "text": format!("message {n}")}))?;
        thread::sleep(Duration::from_secs(1));
    }
    thread::sleep(LOOK.saturating_sub(begin.elapsed()));
    let sights = lab.take_sights();
    lab.watch(0);
    ensure!(presence(&mut bob, "alice")? == "offline", "bob sees alice");
    let packet = |sight: &&Sight| (sight.at - begin, sight.moment == Moment::Sent, sight.len);
    Ok(at(&sights, &hosts[1]).iter().map(packet).collect())
}

/// The lengths of what Bob received, in order.
fn heard(line: &[Packet]) -> Vec<usize> {
    line.iter().filter(|(_, sent, _)| !sent).map(|(.., length)| *length).collect()
}

#[test]
fn a_capture_does_not_tell_the_invisible_from_the_away() -> Result<()> {
    run("presence::a_capture_does_not_tell_the_invisible_from_the_away", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimApdf)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let (mut away, mut invisible) = (Vec::new(), Vec::new());
        // What Bob sends is his own affair, and differs by what he has left from before. What comes may be repeated on a busy
        // machine, or have an answer to a keepalive in it; then it is looked at again.
        for _ in 0..ROUNDS {
            for (lines, kind) in [(&mut away, false), (&mut invisible, true)] {
                let packets = line(lab, &mut town, &hosts, kind)?;
                println!("{} {packets:?}", if kind { "invisible" } else { "away     " });
                lines.push(heard(&packets));
            }
            let lengths = |lines: &[Vec<usize>]| lines.iter().flatten().copied().collect::<BTreeSet<_>>();
            let same = invisible.iter().any(|line| away.contains(line)) && lengths(&away) == lengths(&invisible);
            if same && away.len() >= 2 {
                return Ok(());
            }
        }
        bail!("bob hears this of who is away: {away:?}, and this of who is invisible: {invisible:?}")
    })
}
