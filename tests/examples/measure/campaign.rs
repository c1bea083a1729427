//! Which trials to hold, how often, and where their records go.

use std::time::{Duration, Instant};

use anyhow::Result;
use knothole_lab::network::Network;
use knothole_lab::trial::Setting;
use knothole_lab::trial::crowd::crowd;
use knothole_lab::trial::first_letter::{FirstLetter as Trial, Read};
use knothole_lab::trial::meeting::{Meeting, Met};
use knothole_lab::trial::record::{Records, read};
use knothole_lab::trial::rest::{self, Rested};
use knothole_lab::trial::sign_in::{SignedIn, sign_in};
use knothole_lab::trial::torture::{Torture, Tortured};
use knothole_lab::trial::upheaval::{Gap, Upheaval};
use serde::{Serialize, de::DeserializeOwned};

use crate::arguments::{self, FirstLetter, Gaps, Hard, Matrix, Measure, Output, Rest, SignIn};

/// The files of raw records.
pub(crate) const MATRIX: &str = "matrix.txt";
pub(crate) const GAPS: &str = "gaps.txt";
pub(crate) const REST: &str = "rest.txt";
pub(crate) const HARD: &str = "hard.txt";
pub(crate) const SIGN_IN: &str = "sign-in.txt";
pub(crate) const FIRST_LETTER: &str = "first-letter.txt";
pub(crate) const TORTURE: &str = "torture.txt";

/// Room for the histories of both, several times: it is filled up when it is to be full.
const DISK: u64 = 512 << 20;

/// A path that needs no guessing is there within a second; this is as long as anybody would wait.
const EASY: Duration = Duration::from_secs(8);
/// A full birthday search may take as long.
const GUESSING: Duration = Duration::from_secs(12);
/// Where certainty is measured: twice as long, so that what is slow is told from what fails.
const SURE: Duration = Duration::from_secs(24);
/// Hard against port-restricted, by the models and by the kernel.
pub(crate) const HARD_PAIRS: [(Network, Network); 2] =
    [(Network::Apdf, Network::Symmetric), (Network::NftAccept, Network::NftRandom)];

pub(crate) fn measure(setting: &Setting<'_>, what: &Measure) -> Result<()> {
    match what {
        Measure::Matrix(options) => matrix(setting, options),
        Measure::Gaps(options) => gaps(setting, options),
        Measure::Rest(options) => rest(setting, options),
        Measure::Hard(options) => hard(setting, options),
        Measure::SignIn(options) => sign_ins(setting, options),
        Measure::FirstLetter(options) => first_letters(setting, options),
        Measure::Torture(options) => torture(setting, options),
        Measure::All(all) => all.measures().iter().try_for_each(|what| measure(setting, what)),
        Measure::Report(_) => Ok(()),
    }
}

/// A file of records: those that it has, and how to add to it.
struct Campaign<Record> {
    records: Records,
    before: Vec<Record>,
    until: Instant,
}

impl<Record: Serialize + DeserializeOwned + Send> Campaign<Record> {
    fn begin(output: &Output, file: &str) -> Result<Self> {
        let path = output.records(file)?;
        let (_, before) = read(&path)?;
        Ok(Self { records: Records::open(&path, &heading())?, before, until: output.until() })
    }

    fn hold<Job: Send>(
        &mut self,
        jobs: Vec<Job>,
        at_once: usize,
        trial: impl Fn(Job) -> Record + Sync,
        line: impl Fn(&Record) -> String,
    ) -> Result<()> {
        let (mut done, all, mut written) = (0, jobs.len(), Ok(()));
        crowd(jobs, at_once, self.until, trial, |record| {
            done += 1;
            println!("{done:>5}/{all} {}", line(&record));
            if let Err(error) = self.records.push(&record) {
                written = Err(error);
            }
        });
        written
    }
}

/// What stands above the records: the command, and on what it ran.
fn heading() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let command: Vec<_> = std::env::args().skip(1).collect();
    format!("measure {} ({cores} cores, {build} build)", command.join(" "))
}

fn matrix(setting: &Setting<'_>, options: &Matrix) -> Result<()> {
    let hopeless = Duration::from_secs(options.reason);
    let patience = |alice: Network, bob| match (alice.direct_possible(bob), alice.takes_guessing(bob)) {
        (true, true) => GUESSING,
        (true, false) => EASY,
        (false, _) => hopeless,
    };
    let pairs = options.pairs()?;
    meetings(setting, &options.output, MATRIX, (&pairs, options.runs, options.at_once), patience)
}

fn hard(setting: &Setting<'_>, options: &Hard) -> Result<()> {
    meetings(setting, &options.output, HARD, (&HARD_PAIRS, options.runs, options.at_once), |_, _| SURE)
}

fn meetings(
    setting: &Setting<'_>,
    output: &Output,
    file: &str,
    (pairs, runs, at_once): (&[(Network, Network)], usize, usize),
    patience: impl Fn(Network, Network) -> Duration,
) -> Result<()> {
    let mut campaign = Campaign::<Met>::begin(output, file)?;
    // Run by run, so that what is broken off covers every pair; in every second one the other writes.
    let role = |(a, b), run| if run % 2 == 1 { (a, b) } else { (b, a) };
    let meeting = |(pair, run)| {
        let (alice, bob) = role(pair, run);
        Meeting { alice, bob, run, patience: patience(alice, bob) }
    };
    let all = (1..=runs).flat_map(|run| pairs.iter().map(move |&pair| (pair, run))).map(meeting);
    let is = |met: &Met, meeting: &Meeting| {
        met.alice == meeting.alice.name() && met.bob == meeting.bob.name() && met.run == meeting.run
    };
    let known = |meeting: &Meeting| campaign.before.iter().any(|met| is(met, meeting));
    let jobs = all.filter(|meeting| !known(meeting)).collect();
    campaign.hold(jobs, at_once, |meeting| meeting.hold(setting), meeting_line)
}

fn gaps(setting: &Setting<'_>, options: &Gaps) -> Result<()> {
    let mut campaign = Campaign::<Gap>::begin(&options.output, GAPS)?;
    let known = |case: Upheaval, run| campaign.before.iter().any(|gap| gap.case == case.name() && gap.run == run);
    let all = (1..=options.runs).flat_map(|run| options.cases().into_iter().map(move |case| (case, run)));
    let missing = all.filter(|(case, run)| !known(*case, *run));
    // The rendezvous is everybody's.
    let (alone, together) = missing.partition(|(case, _)| case.restarts_rendezvous());
    let suffer = |(case, run): (Upheaval, usize)| case.suffer(setting, run);
    campaign.hold(together, options.at_once, suffer, gap_line)?;
    campaign.hold(alone, 1, suffer, gap_line)
}

fn rest(setting: &Setting<'_>, options: &Rest) -> Result<()> {
    let mut campaign = Campaign::<Rested>::begin(&options.output, REST)?;
    let known = |profile: &str, contact| {
        campaign.before.iter().any(|rested| rested.profile == profile && rested.contact == contact)
    };
    let all = rest::PROFILES.into_iter().flat_map(|profile| [(profile, false), (profile, true)]);
    let missing = all.filter(|(profile, contact)| !known(profile, *contact));
    let (settling, time) = (Duration::from_secs(options.settling), Duration::from_secs(options.seconds));
    let jobs: Vec<_> = missing.map(|(profile, contact)| rest::Rest { profile, contact, settling, time }).collect();
    // They cost next to nothing: that is what is measured.
    let at_once = jobs.len();
    campaign.hold(jobs, at_once, |rest| rest.take(setting), |rested| format!("{rested:?}"))
}

fn sign_ins(setting: &Setting<'_>, options: &SignIn) -> Result<()> {
    let mut campaign = Campaign::<SignedIn>::begin(&options.output, SIGN_IN)?;
    let known = |network: Network, run| {
        campaign.before.iter().any(|signed| signed.network == network.name() && signed.run == run)
    };
    let all = (1..=options.runs).flat_map(|run| [(Network::Apdf, run), (Network::NoUdp, run)]);
    let jobs = all.filter(|&(network, run)| !known(network, run)).collect();
    campaign.hold(jobs, 2, |(network, run)| sign_in(setting, network, run), |signed| format!("{signed:?}"))
}

fn first_letters(setting: &Setting<'_>, options: &FirstLetter) -> Result<()> {
    let mut campaign = Campaign::<Read>::begin(&options.output, FIRST_LETTER)?;
    let known = |trial: &Trial| {
        let (alice, bob) = trial.networks;
        let is = |read: &Read| (read.alice.as_str(), read.bob.as_str()) == (alice.name(), bob.name());
        let same = |read: &Read| is(read) && (read.idle, read.run) == (trial.idle, trial.run);
        campaign.before.iter().any(same)
    };
    let cases = [Network::Apdf, Network::Symmetric].into_iter().flat_map(|network| [(network, false), (network, true)]);
    let trial = |run| cases.clone().map(move |(network, idle)| Trial { networks: (network, network), idle, run });
    let jobs = (1..=options.runs).flat_map(trial).filter(|trial| !known(trial)).collect();
    // What else the machine does meanwhile would be measured.
    campaign.hold(jobs, 1, |trial| trial.write(setting), |read| format!("{read:?}"))
}

fn torture(setting: &Setting<'_>, options: &arguments::Torture) -> Result<()> {
    let mut campaign = Campaign::<Tortured>::begin(&options.output, TORTURE)?;
    let arguments::Torture { seed, messages, loss, .. } = *options;
    let torture = Torture { seed, messages, kills: options.kills.into(), loss, disk: DISK };
    let known = |tortured: &Tortured| (tortured.seed, tortured.messages) == (seed, messages);
    let jobs = if campaign.before.iter().any(known) { Vec::new() } else { vec![torture] };
    campaign.hold(jobs, 1, |torture| torture.inflict(setting), |tortured| format!("{tortured:#?}"))
}

fn meeting_line(met: &Met) -> String {
    let time = |time: Option<f64>| time.map_or("–".into(), |time| format!("{time:.0} ms"));
    let Met { alice, bob, run, kind, why, mappings, .. } = met;
    let (first, direct, failure) = (time(met.first), time(met.direct), failure(met.failure.as_ref()));
    format!("{alice:>11} × {bob:<11} #{run}: first {first:>8}, direct {direct:>8}, {kind} {mappings:?} {why}{failure}")
}

fn gap_line(gap: &Gap) -> String {
    let Gap { case, run, silence: [alice, bob], before, path, messages, .. } = gap;
    let failure = failure(gap.failure.as_ref());
    format!(
        "{case:>16} #{run}: alice hears nothing for {alice:>7.0} ms, bob for {bob:>7.0} ms (before: {before:.0} ms), \
         {messages} messages, then {path:?}{failure}"
    )
}

fn failure(failure: Option<&String>) -> String {
    failure.map(|failure| format!(" FAILED: {failure}")).unwrap_or_default()
}
