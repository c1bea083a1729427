//! Every change of a network, some times each, while a stream runs.

use std::collections::BTreeSet;

use anyhow::Result;
use knothole_lab::trial::Setting;
use knothole_lab::trial::crowd::crowd;
use knothole_lab::trial::record::{Records, read};
use knothole_lab::trial::upheaval::{Gap, Upheaval};

use crate::arguments::Gaps;

pub(crate) const FILE: &str = "gaps.txt";

pub(crate) fn measure(setting: &Setting<'_>, options: &Gaps) -> Result<()> {
    let path = options.output.records(FILE)?;
    let (_, before) = read::<Gap>(&path)?;
    let known: BTreeSet<_> = before.into_iter().map(|gap| (gap.case, gap.run)).collect();
    let runs = (1..=options.runs).flat_map(|run| options.cases().into_iter().map(move |case| (case, run)));
    let jobs = runs.filter(|(case, run)| !known.contains(&(case.name().to_owned(), *run)));
    // The rendezvous is everybody's.
    let (alone, together): (Vec<_>, Vec<_>) = jobs.partition(|(case, _)| case.restarts_rendezvous());
    let mut records = Records::open(&path, &crate::heading())?;
    let mut failed = Ok(());
    for (jobs, at_once) in [(together, options.at_once), (alone, 1)] {
        let suffer = |(case, run): (Upheaval, usize)| case.suffer(setting, run);
        crowd(jobs, at_once, options.output.until(), suffer, |gap| {
            println!("{}", line(&gap));
            if let Err(error) = records.push(&gap) {
                failed = Err(error);
            }
        });
    }
    failed
}

fn line(gap: &Gap) -> String {
    let Gap { case, run, silence: [alice, bob], before, path, messages, .. } = gap;
    let failure = gap.failure.as_deref().map(|failure| format!(" FAILED: {failure}")).unwrap_or_default();
    format!(
        "{case:>16} #{run}: alice hears nothing for {alice:>7.0} ms, bob for {bob:>7.0} ms (before: {before:.0} ms), \
         {messages} messages, then {path:?}{failure}"
    )
}
