//! The real binaries keep a stream going while their networks change: nothing is lost, doubled or out of order, and the
//! silence is measured. All cases: `cargo run --release -p knothole-tests --example measure -- gaps`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use knothole_lab::namespaces::run;
use knothole_lab::person::binaries;
use knothole_lab::trial::Setting;
use knothole_lab::trial::crowd::crowd;
use knothole_lab::trial::upheaval::{Upheaval, Who};

/// One of each sort that needs no news of the system.
const CASES: [Upheaval; 4] =
    [Upheaval::ToDirect, Upheaval::ToRelay, Upheaval::Rebinding(Who::Alice), Upheaval::Rebinding(Who::Both)];

/// A connection that gave up and was made anew would take longer: the sanity of a loaded machine, not a target.
const SANE: f64 = 30_000.0;

#[test]
fn a_stream_survives_what_happens_to_networks() -> Result<()> {
    run("gaps::a_stream_survives_what_happens_to_networks", |lab| {
        let setting = Setting::new(lab, binaries()?)?;
        let mut wrong = Vec::new();
        let mut tried = 0;
        let end = Instant::now() + Duration::from_secs(300);
        let suffer = |case: Upheaval| case.suffer(&setting, 1);
        crowd(CASES, 2, end, suffer, |gap| {
            println!("{gap:?}");
            tried += 1;
            let silent = gap.silence.into_iter().fold(0.0, f64::max);
            if silent > SANE {
                wrong.push(format!("{}: nothing heard for {silent} ms", gap.case));
            }
            wrong.extend(gap.failure.map(|failure| format!("{}: {failure}", gap.case)));
        });
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        ensure!(tried == CASES.len(), "{tried} of {} cases tried", CASES.len());
        Ok(())
    })
}
