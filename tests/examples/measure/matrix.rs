//! Every pair of networks, some times each.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use knothole_lab::network::Network;
use knothole_lab::trial::Setting;
use knothole_lab::trial::crowd::crowd;
use knothole_lab::trial::meeting::{Meeting, Met};
use knothole_lab::trial::record::{Records, read};

use crate::arguments::Matrix;

pub(crate) const FILE: &str = "matrix.txt";

/// A path that needs no guessing is there within a second; the longest time that a test would wait for one.
const EASY: Duration = Duration::from_secs(8);
/// Full birthday searches take up to this long.
const GUESSING: Duration = Duration::from_secs(12);
/// Where no direct path exists: until the first checks are over and the peers say why.
const HOPELESS: Duration = Duration::from_secs(6);

pub(crate) fn measure(setting: &Setting<'_>, options: &Matrix) -> Result<()> {
    let path = options.output.records(FILE)?;
    let (_, before) = read::<Met>(&path)?;
    let known: BTreeSet<_> = before.into_iter().map(|met| (met.alice, met.bob, met.run)).collect();
    let mut meetings = Vec::new();
    // Run by run, so that what is broken off covers every pair.
    for run in 1..=options.runs {
        for (alice, bob) in options.pairs()? {
            if !known.contains(&(alice.name().into(), bob.name().into(), run)) {
                meetings.push(Meeting { alice, bob, run, patience: patience(alice, bob) });
            }
        }
    }
    let mut records = Records::open(&path, &crate::heading())?;
    hold(setting, meetings, options, &mut records)
}

fn patience(alice: Network, bob: Network) -> Duration {
    match (alice.direct_possible(bob), alice.takes_guessing(bob)) {
        (true, true) => GUESSING,
        (true, false) => EASY,
        (false, _) => HOPELESS,
    }
}

fn hold(setting: &Setting<'_>, meetings: Vec<Meeting>, options: &Matrix, records: &mut Records) -> Result<()> {
    let mut failed = Ok(());
    let all = meetings.len();
    let mut done = 0;
    crowd(
        meetings,
        options.at_once,
        options.output.until(),
        |meeting| meeting.hold(setting),
        |met| {
            done += 1;
            println!("{done:>5}/{all} {}", line(&met));
            if let Err(error) = records.push(&met) {
                failed = Err(error);
            }
        },
    );
    failed
}

pub(crate) fn line(met: &Met) -> String {
    let time = |time: Option<f64>| time.map_or("–".into(), |time| format!("{time:.0} ms"));
    let Met { alice, bob, run, kind, why, mappings, .. } = met;
    let failure = met.failure.as_deref().map(|failure| format!(" FAILED: {failure}")).unwrap_or_default();
    let (first, direct) = (time(met.first), time(met.direct));
    format!("{alice:>11} × {bob:<11} #{run}: first {first:>8}, direct {direct:>8}, {kind} {mappings:?} {why}{failure}")
}
