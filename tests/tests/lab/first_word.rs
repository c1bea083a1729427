//! How soon the first message between two contacts without a connection is there, whatever the NATs (docs/protocol.md,
//! "Introduction"): prints it in round trips between the sites.

use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town};
use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::run;
use knothole_lab::network::Network;
use knothole_lab::person::Person;
use serde_json::json;

/// Between two sites of 20 ms each way, straight or through the rendezvous between them.
const ROUND_TRIP: Duration = Duration::from_millis(80);

/// A first word that took a second attempt comes after more than a second; half of them would have to, for load alone to look
/// like that. How soon it is, is what `measure -- matrix` measures.
const SANE: f64 = 12.0;

/// After this an invitation of the other side's that went unanswered is nothing that the two could be confused by.
const STALE: Duration = Duration::from_millis(1500);

/// Bob takes Alice in, who waits for that, and writes to her in the same moment; returns when she has it, in round trips.
fn first_word(alice: &mut Person, bob: &mut Person, text: &str) -> Result<f64> {
    let link_of_alice = alice.link()?;
    let begin = Instant::now();
    bob.call("contact.add", json!({"link": link_of_alice, "name": "alice"}))?;
    bob.call("message.send", json!({"to": "alice", "text": text}))?;
    let (arrived, _) = alice.event("message", &json!({"name": "bob", "text": text}), PATIENCE)?;
    Ok((arrived - begin).as_secs_f64() / ROUND_TRIP.as_secs_f64())
}

#[test]
fn the_first_word_needs_no_second_attempt_whatever_the_nats() -> Result<()> {
    run("first_word::the_first_word_needs_no_second_attempt_whatever_the_nats", |lab| {
        let kinds = [Network::Apdf, Network::Symmetric, Network::NftAccept, Network::Double];
        let mut hosts = Vec::new();
        for (index, kind) in kinds.into_iter().enumerate() {
            hosts.push([kind.host(lab, &format!("left{index}"))?, kind.host(lab, &format!("right{index}"))?]);
        }
        let mut town = Town::with_rendezvous_between(lab)?;
        let mut all = [Vec::new(), Vec::new()];
        // Each kind on either side; every pair is what the matrix measures.
        for (a, [left, _]) in hosts.iter().enumerate() {
            for (b, [_, right]) in hosts.iter().enumerate().filter(|(b, _)| [a, (a + 1) % kinds.len()].contains(b)) {
                let pair = format!("{:?} – {:?}", kinds[a], kinds[b]);
                let (mut alice, mut bob) = (town.newcomer(left)?, town.newcomer(right)?);
                let link_of_bob = bob.link()?;
                alice.call("contact.add", json!({"link": link_of_bob, "name": "bob"}))?;
                bob.event("contact.request", &json!({}), PATIENCE)?;
                std::thread::sleep(STALE);
                let strange = first_word(&mut alice, &mut bob, "hello").with_context(|| pair.clone())?;

                // The connection ends, and Alice, who is told nothing, asks for another in vain.
                bob.event("state", &json!({"state": "delivered"}), PATIENCE)?;
                alice.event("presence", &json!({"state": "online"}), PATIENCE)?;
                bob.call("contact.block", json!({"peer": "alice"}))?;
                alice.event("presence", &json!({"state": "offline"}), PATIENCE)?;
                std::thread::sleep(Duration::from_secs(1) + STALE);
                let again = first_word(&mut alice, &mut bob, "and again").with_context(|| pair.clone())?;
                println!(
                    "{pair:>50}: first word after {strange:.2} round trips, after {again:.2} in a resumed session"
                );
                for (times, time) in all.iter_mut().zip([strange, again]) {
                    times.push(time);
                }
            }
        }
        for (times, what) in all.iter_mut().zip(["without a session", "with one"]) {
            times.sort_by(f64::total_cmp);
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            println!("{} pairs {what}: {median:.2} round trips (median), {worst:.2} (worst)", times.len());
            ensure!(median < SANE, "{what}: {median} round trips");
        }
        Ok(())
    })
}
