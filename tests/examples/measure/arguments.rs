//! The command line.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use knothole_lab::network::Network;
use knothole_lab::person::binaries;
use knothole_lab::trial::upheaval::Upheaval;

const AFTER_HELP: &str = "\
Raw records go to docs/measurements/*.txt, one JSON object a line, and what is already there is not measured again: a
run that was broken off goes on where it ended. --anew begins a file afresh. The tables in docs/measurements.md are written
from all the records after every command.

  cargo run --release -p knothole-tests --example measure -- all
  cargo run -p knothole-tests --example measure -- matrix --runs 1 --pairs apdf,double+symmetric --into /tmp/try";

/// Measures what Knothole promises of networks.
#[derive(Debug, Parser)]
#[command(name = "measure", after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Where knothole and knothole-rendezvous are [default: built as this program was built]
    #[arg(long, global = true, value_name = "DIR")]
    programs: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) measure: Measure,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Measure {
    /// Every pair of networks: first message, direct path
    Matrix(Matrix),
    /// A stream while networks change: how long nothing is heard
    Gaps(Gaps),
    /// Nothing said: packets and bytes on the wire in each keepalive profile
    Rest(Rest),
    /// Symmetric against port-restricted, often: how sure, how fast, at what cost to the routers
    Hard(Hard),
    /// From the start of a process to its registration, without UDP and with it
    SignIn(SignIn),
    /// Two who have talked before, in new processes: how soon the first message is read
    FirstLetter(FirstLetter),
    /// Messages each way through loss, kills, full disks and moves: whether any is lost, and for how long all stands still
    Torture(Torture),
    /// All of these but the torture in turn, each as it is by default
    All(All),
    /// Nothing: only writes the tables from the records that are there
    Report(Output),
}

/// Where records go, and when to stop.
#[derive(Clone, Debug, Args)]
pub(crate) struct Output {
    /// Where the records and the tables go [default: docs/ of this source tree]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,

    /// Forget the records that are there
    #[arg(long)]
    pub(crate) anew: bool,

    /// Begin nothing more after so many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 120)]
    minutes: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Matrix {
    /// Tries of each pair
    #[arg(long, default_value_t = 10)]
    pub(crate) runs: usize,

    /// Separated by commas: `all`, `possible` (a direct path exists), `easy` (no port has to be guessed), a kind of network, or
    /// two: `apdf,eif+block-512`
    #[arg(long, default_value = "all")]
    pairs: String,

    /// Pairs at a time
    #[arg(long, default_value_t = 8)]
    pub(crate) at_once: usize,

    /// Where no direct path exists, how many seconds to wait for the reason that the peers give
    #[arg(long, value_name = "SECONDS", default_value_t = 6)]
    pub(crate) reason: u64,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Gaps {
    /// Tries of each case
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: usize,

    /// Only the cases whose names begin so, separated by commas
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,

    /// Cases at a time; a restart of the rendezvous is always alone
    #[arg(long, default_value_t = 3)]
    pub(crate) at_once: usize,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Rest {
    /// How long to count, in seconds
    #[arg(long, default_value_t = 240)]
    pub(crate) seconds: u64,

    /// How long to let everything calm down before, in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) settling: u64,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Hard {
    /// Tries of each of the two pairs
    #[arg(long, default_value_t = 100)]
    pub(crate) runs: usize,

    /// Tries at a time
    #[arg(long, default_value_t = 4)]
    pub(crate) at_once: usize,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SignIn {
    /// Tries of each of the two networks
    #[arg(long, default_value_t = 10)]
    pub(crate) runs: usize,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct FirstLetter {
    /// Tries of each case
    #[arg(long, default_value_t = 20)]
    pub(crate) runs: usize,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Torture {
    /// What is done and when follows from it
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Messages that each of the two writes
    #[arg(long, default_value_t = 10_000)]
    pub(crate) messages: usize,

    /// How often a peer or the rendezvous is killed
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(4..))]
    pub(crate) kills: u16,

    /// The share of packets that each site's line loses, each way
    #[arg(long, default_value_t = 0.2)]
    pub(crate) loss: f64,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct All {
    /// Tries of each pair of networks
    #[arg(long, default_value_t = 10)]
    runs: usize,

    #[command(flatten)]
    output: Output,
}

impl All {
    /// Each measure as it is by default, but for where its records go.
    pub(crate) fn measures(&self) -> [Measure; 6] {
        let output = || self.output.clone();
        [
            Measure::SignIn(SignIn { runs: 10, output: output() }),
            Measure::FirstLetter(FirstLetter { runs: 20, output: output() }),
            Measure::Gaps(Gaps { runs: 5, cases: Vec::new(), at_once: 3, output: output() }),
            Measure::Rest(Rest { seconds: 240, settling: 60, output: output() }),
            Measure::Matrix(Matrix { runs: self.runs, pairs: "all".into(), at_once: 8, reason: 6, output: output() }),
            Measure::Hard(Hard { runs: 100, at_once: 4, output: output() }),
        ]
    }
}

impl Gaps {
    /// The cases that are meant.
    pub(crate) fn cases(&self) -> Vec<Upheaval> {
        let wanted = |case: &Upheaval| self.cases.iter().any(|start| case.name().starts_with(start.as_str()));
        Upheaval::all().into_iter().filter(|case| self.cases.is_empty() || wanted(case)).collect()
    }
}

impl Arguments {
    /// Where the programs are, built if need be.
    pub(crate) fn programs(&self) -> Result<PathBuf> {
        self.programs.clone().map_or_else(binaries, Ok)
    }
}

impl Measure {
    /// Where its records go.
    pub(crate) fn output(&self) -> &Output {
        match self {
            Self::Matrix(Matrix { output, .. })
            | Self::Gaps(Gaps { output, .. })
            | Self::Rest(Rest { output, .. })
            | Self::Hard(Hard { output, .. })
            | Self::SignIn(SignIn { output, .. })
            | Self::FirstLetter(FirstLetter { output, .. })
            | Self::Torture(Torture { output, .. })
            | Self::All(All { output, .. })
            | Self::Report(output) => output,
        }
    }
}

impl Output {
    /// A file of raw records, gone if they are to be forgotten.
    pub(crate) fn records(&self, name: &str) -> Result<PathBuf> {
        let directory = self.documents().join("measurements");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(name);
        if self.anew && path.exists() {
            std::fs::remove_file(&path)?;
        }
        Ok(path)
    }

    /// Where the tables go.
    pub(crate) fn documents(&self) -> PathBuf {
        let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
        self.into.clone().unwrap_or_else(default)
    }

    /// When to begin nothing more.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + Duration::from_secs(60 * self.minutes)
    }
}

impl Matrix {
    /// The pairs that are meant.
    ///
    /// # Errors
    /// A name is none.
    pub(crate) fn pairs(&self) -> Result<Vec<(Network, Network)>> {
        let mut pairs = Network::pairs();
        let wanted = self.pairs.split(',').map(wanted).collect::<Result<Vec<_>>>()?;
        pairs.retain(|&(a, b)| wanted.iter().any(|wanted| wanted.includes(a, b)));
        Ok(pairs)
    }
}

/// Some pairs.
enum Wanted {
    All,
    Possible,
    Easy,
    With(Network),
    Pair(Network, Network),
}

impl Wanted {
    fn includes(&self, a: Network, b: Network) -> bool {
        match *self {
            Self::All => true,
            Self::Possible => a.direct_possible(b),
            Self::Easy => a.direct_possible(b) && !a.takes_guessing(b),
            Self::With(one) => a == one || b == one,
            Self::Pair(one, other) => (a, b) == (one, other) || (b, a) == (one, other),
        }
    }
}

fn wanted(text: &str) -> Result<Wanted> {
    Ok(match (text, text.split_once('+')) {
        ("all", _) => Wanted::All,
        ("possible", _) => Wanted::Possible,
        ("easy", _) => Wanted::Easy,
        (_, Some((one, other))) => Wanted::Pair(one.parse()?, other.parse()?),
        (one, None) => Wanted::With(one.parse()?),
    })
}
