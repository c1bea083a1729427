//! The real binaries between networks of every kind: all talk, and meet directly wherever a direct path can be found. The
//! whole matrix is `cargo run --release -p knothole-tests --example measure -- matrix`; this is its smallest honest part.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use knothole_lab::namespaces::run;
use knothole_lab::network::Network;
use knothole_lab::network::Network::*;
use knothole_lab::person::binaries;
use knothole_lab::trial::Setting;
use knothole_lab::trial::crowd::crowd;
use knothole_lab::trial::meeting::{Meeting, Met};

/// Each kind at least once, and each way of meeting.
const PAIRS: [(Network, Network); 16] = [
    (Public, Symmetric),
    (Eif, AddressDependent),
    (Adf, NftRandom),
    (ApdfRandom, NftDrop),
    (NftAccept, NftAccept),
    (NftAccept, Double),
    (Double, Double),
    (Apdf, Symmetric),
    (Apdf, Sequential),
    (Double, Block),
    (ApdfRandom, AddressDependent),
    (NftAccept, NftRandom),
    (Sequential, Sequential),
    (Symmetric, NftRandom),
    (Apdf, NoUdp),
    (Symmetric, NoUdp),
];

/// 98 of 100 birthday searches find their path; the other two may be tried once more.
const TRIES: usize = 2;

/// What is wrong with the last try of a pair, and how many tries there were.
fn verdict(setting: &Setting<'_>, (alice, bob): (Network, Network)) -> (String, Option<String>) {
    let possible = alice.direct_possible(bob);
    let patience = Duration::from_secs(if possible { 24 } else { 1 });
    let tries = if possible && alice.takes_guessing(bob) { TRIES } else { 1 };
    let mut outcome = (String::new(), None);
    for run in 1..=tries {
        let met = Meeting { alice, bob, run, patience }.hold(setting);
        outcome = (format!("{alice:>11} × {bob:<11} {met:?}"), wrong(&met, possible));
        if outcome.1.is_none() {
            break;
        }
    }
    outcome
}

fn wrong(met: &Met, possible: bool) -> Option<String> {
    let relayed = || format!("relayed ({}) though a direct path exists", met.why);
    met.failure.clone().or_else(|| (possible && met.direct.is_none()).then(relayed))
}

#[test]
fn networks_of_every_kind_talk_and_meet_directly_where_they_can() -> Result<()> {
    run("matrix::networks_of_every_kind_talk_and_meet_directly_where_they_can", |lab| {
        let setting = Setting::new(lab, binaries()?)?;
        let mut wrong = Vec::new();
        let end = Instant::now() + Duration::from_secs(400);
        let mut tried = 0;
        let work = |pair| (pair, verdict(&setting, pair));
        crowd(PAIRS, 4, end, work, |(pair, (line, failure))| {
            println!("{line}");
            tried += 1;
            wrong.extend(failure.map(|failure| format!("{} × {}: {failure}", pair.0, pair.1)));
        });
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        ensure!(tried == PAIRS.len(), "{tried} of {} pairs tried", PAIRS.len());
        Ok(())
    })
}

#[test]
fn the_pairs_that_are_tried_show_every_kind() {
    for network in Network::ALL {
        assert!(PAIRS.iter().any(|&(a, b)| a == network || b == network), "{network}");
    }
}
