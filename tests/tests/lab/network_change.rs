//! The real binaries on networks that change: a new address, a cable pulled and put back (docs/protocol.md, "Candidates").

use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town};
use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::{Lab, run};
use knothole_lab::nat::NatKind;
use knothole_lab::person::Person;
use serde_json::json;

/// Far more than following takes, on a busy machine too, and less than the 30 s after which a link that was not followed is
/// given up. How soon is what `measure -- gaps` measures.
const SANE: Duration = Duration::from_secs(20);

fn introduce(alice: &mut Person, bob: &mut Person) -> Result<()> {
    let (to_alice, to_bob) = (alice.link()?, bob.link()?);
    alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
    bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
    alice.call("message.send", json!({"to": "bob", "text": "hello"}))?;
    bob.event("message", &json!({"text": "hello"}), PATIENCE)?;
    direct(alice, bob).context("at first")
}

fn direct(alice: &mut Person, bob: &mut Person) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let views = [alice.call("contact.list", json!({}))?, bob.call("contact.list", json!({}))?];
        if views.iter().all(|view| view[0]["path"]["kind"] == "direct") {
            return Ok(());
        }
        ensure!(Instant::now() < until, "no direct path: {views:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Changes the network, and returns how long until words went both ways again.
fn silence(alice: &mut Person, bob: &mut Person, name: &str, change: impl FnOnce() -> Result<()>) -> Result<Duration> {
    // Nobody moves twice a second, and neither do invitations go out more often (docs/protocol.md, "Introduction").
    std::thread::sleep(Duration::from_millis(1500));
    change()?;
    let begin = Instant::now();
    let text = json!({"text": name});
    alice.call("message.send", json!({"to": "bob", "text": name}))?;
    bob.call("message.send", json!({"to": "alice", "text": name}))?;
    let (at_bob, _) = bob.event("message", &text, SANE).with_context(|| format!("bob: {name}"))?;
    let (at_alice, _) = alice.event("message", &text, SANE).with_context(|| format!("alice: {name}"))?;
    Ok(at_bob.max(at_alice).saturating_duration_since(begin))
}

#[test]
fn an_address_that_changes_is_followed_wherever_it_does() -> Result<()> {
    run("network_change::an_address_that_changes_is_followed_wherever_it_does", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimApdf)?, lab.host_behind("bob", NatKind::LinuxDrop)?];
        let mut town = Town::new(lab)?;
        let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.newcomer(&hosts[1])?);
        introduce(&mut alice, &mut bob)?;
        let lab: &Lab = lab;
        for moved in [vec![0], vec![1], vec![0, 1]] {
            let change = || moved.iter().try_for_each(|host| lab.change_address(&hosts[*host]).map(|_| ()));
            let silent = silence(&mut alice, &mut bob, &format!("new address of {moved:?}"), change)?;
            println!("new address of {moved:?}: silent for {silent:.0?}");
            direct(&mut alice, &mut bob).with_context(|| format!("{moved:?} moved"))?;
        }
        Ok(())
    })
}

#[test]
fn a_cable_pulled_and_put_back_elsewhere_costs_little_more_than_the_time_without() -> Result<()> {
    run("network_change::a_cable_pulled_and_put_back_elsewhere_costs_little_more_than_the_time_without", |lab| {
        let hosts = [lab.host_behind("alice", NatKind::EimApdf)?, lab.host_behind("bob", NatKind::EimApdf)?];
        let mut town = Town::new(lab)?;
        let (mut alice, mut bob) = (town.newcomer(&hosts[0])?, town.newcomer(&hosts[1])?);
        introduce(&mut alice, &mut bob)?;
        let lab: &Lab = lab;
        for without in [Duration::from_millis(300), Duration::from_secs(3)] {
            let change = || {
                lab.set_device(&hosts[0], false)?;
                std::thread::sleep(without);
                lab.change_address(&hosts[0]).map(|_| ())
            };
            let silent = silence(&mut alice, &mut bob, &format!("{without:?} without a network"), change)?;
            println!("{without:?} without a network: silent for {silent:.0?} after it");
            direct(&mut alice, &mut bob).with_context(|| format!("after {without:?}"))?;
        }
        Ok(())
    })
}
