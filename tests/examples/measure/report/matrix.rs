//! The pairs of networks.

use std::collections::BTreeMap;

use knothole_lab::network::Network;
use knothole_lab::trial::meeting::Met;

use super::spread::{Spread, time};
use super::{failures, head, row};

/// Between two sites, in milliseconds.
pub(super) const ROUND_TRIP: f64 = 80.0;
/// What the first message may take, in round trips: one and a half go by before a QUIC handshake has let a word through.
const PROMPT: f64 = 1.6;

type Pair = (Network, Network);

pub(super) fn tables(all: &[Met]) -> String {
    let mut pairs: BTreeMap<Pair, Vec<&Met>> = BTreeMap::new();
    for met in all {
        if let Some(pair) = met.pair() {
            pairs.entry(pair).or_default().push(met);
        }
    }
    let failed = all.iter().map(|met| (format!("{} × {}, run {}", met.alice, met.bob, met.run), &met.failure));
    [
        summary(all, &pairs),
        "\nMedian time to the direct path in milliseconds; *relay* where there was none and none exists; with a share, the \
         runs that were direct, **in bold** where all should have been. ✗: no conversation in some run.\n\n"
            .into(),
        triangle(&pairs, direct_cell),
        format!("\nMedian time to the first message, in round trips of {ROUND_TRIP:.0} ms.\n\n"),
        triangle(&pairs, |_, runs| first_cell(runs)),
        reasons(all),
        failures(failed),
    ]
    .concat()
}

fn summary(all: &[Met], pairs: &BTreeMap<Pair, Vec<&Met>>) -> String {
    let talked = all.iter().filter(|met| met.failure.is_none()).count();
    let possible_pairs = || pairs.iter().filter(|((a, b), _)| a.direct_possible(*b));
    let always = possible_pairs().filter(|(_, runs)| runs.iter().all(|met| met.direct.is_some())).count();
    let surprising = pairs.iter().filter(|((a, b), _)| !a.direct_possible(*b));
    let surprising = surprising.filter(|(_, runs)| runs.iter().any(|met| met.direct.is_some())).count();
    let first = Spread::new(all.iter().filter_map(|met| met.first));
    let trips = |time: Option<f64>| time.map_or("–".into(), |time| format!("{:.1}", time / ROUND_TRIP));
    let mut text = head(&["", "Knothole", "iroh 1.4"]);
    let mut add = |what: &str, ours: String, theirs: &str| text += &row([what.into(), ours, theirs.into()]);
    add("the conversation works, every message once, in", format!("{talked} of {} runs", all.len()), "all");
    let possible = possible_pairs().count();
    add("direct in every run, of the pairs where it is possible", format!("{always} of {possible}"), "48 of 77");
    let median = format!("{} round trips ({})", trips(first.median()), time(first.median()));
    add("first message, median", median, "2.2 round trips");
    let tail = format!("{} and {}", trips(first.percentile(95)), trips(first.worst()));
    add("first message, 95 % and worst, in round trips", tail, "");
    let prompt = format!("{} of {} runs", first.within(PROMPT * ROUND_TRIP), first.count());
    add(&format!("first message within {PROMPT} round trips"), prompt, "");
    let sort = |(a, b): &Pair| match (a.is_hard() || b.is_hard(), a.takes_guessing(*b)) {
        (_, true) => "a port to be guessed",
        (true, false) => "a hard NAT, no port to be guessed",
        (false, false) => "no hard NAT",
    };
    let of_sort =
        |what: &'static str| possible_pairs().filter(move |(pair, _)| sort(pair) == what).flat_map(|(_, runs)| runs);
    for (what, anchor) in
        [("no hard NAT", "0.33 s"), ("a hard NAT, no port to be guessed", "0.33 s"), ("a port to be guessed", "never")]
    {
        let runs: Vec<_> = of_sort(what).collect();
        let times = Spread::new(runs.iter().filter_map(|met| met.direct));
        add(&format!("direct, {what}"), format!("{} of {} runs", times.count(), runs.len()), "");
        let spread = [times.median(), times.percentile(95), times.worst()].map(time).join(", ");
        add(&format!("direct, {what}: median, 95 %, worst"), spread, anchor);
    }
    let guessed = of_sort("a port to be guessed");
    let mappings = Spread::new(guessed.map(|met| met.mappings[0].max(met.mappings[1]) as f64));
    let count = |figure: Option<f64>| figure.map_or("–".into(), |figure| format!("{figure:.0}"));
    let used = [mappings.median(), mappings.percentile(95), mappings.worst()].map(count).join(", ");
    add("mappings at the busier router where ports are guessed: median, 95 %, worst", used, "");
    if surprising > 0 {
        add("direct in some run though no path was to be expected", format!("{surprising} pairs"), "");
    }
    text
}

/// What the program says of the runs that ended on the relay.
fn reasons(all: &[Met]) -> String {
    let mut reasons: BTreeMap<(&str, &str, bool), usize> = BTreeMap::new();
    for met in all.iter().filter(|met| met.kind == "relay") {
        let possible = met.pair().is_some_and(|(a, b)| a.direct_possible(b));
        *reasons.entry((&met.why, &met.transport, possible)).or_default() += 1;
    }
    if reasons.is_empty() {
        return String::new();
    }
    let mut text = "\nWhy the talk was on the relay in the end, in the program's words.\n\n".to_owned();
    text += &head(&["why", "transport", "a direct path exists", "runs"]);
    for ((why, transport, possible), runs) in reasons {
        let possible = if possible { "**yes**" } else { "no" };
        text += &row([why.into(), transport.into(), possible.into(), runs.to_string()]);
    }
    text
}

fn triangle(pairs: &BTreeMap<Pair, Vec<&Met>>, cell: impl Fn(Pair, &[&Met]) -> String) -> String {
    let names = Network::ALL.map(Network::name);
    let mut head_cells = vec![""];
    head_cells.extend(names);
    let mut text = head(&head_cells);
    for (index, row_network) in Network::ALL.into_iter().enumerate() {
        let cells = Network::ALL.into_iter().enumerate().map(|(column, network)| {
            let runs = if column <= index { pairs.get(&(network, row_network)) } else { None };
            runs.map(|runs| cell((network, row_network), runs)).unwrap_or_default()
        });
        text += &row(std::iter::once(row_network.name().to_owned()).chain(cells));
    }
    text
}

fn direct_cell((a, b): Pair, runs: &[&Met]) -> String {
    let times = Spread::new(runs.iter().filter_map(|met| met.direct));
    let failed = if runs.iter().any(|met| met.failure.is_some()) { " ✗" } else { "" };
    let median = times.median().map(|median| format!("{median:.0}"));
    let share = format!("{}/{}", times.count(), runs.len());
    let text = match (a.direct_possible(b), median) {
        (true, Some(median)) if times.count() == runs.len() => median,
        (true, Some(median)) => format!("**{share}** {median}"),
        (true, None) => format!("**{share}**"),
        (false, Some(median)) => format!("{share} {median}"),
        (false, None) => "relay".into(),
    };
    text + failed
}

fn first_cell(runs: &[&Met]) -> String {
    let median = Spread::new(runs.iter().filter_map(|met| met.first)).median();
    median.map_or("✗".into(), |median| format!("{:.1}", median / ROUND_TRIP))
}
