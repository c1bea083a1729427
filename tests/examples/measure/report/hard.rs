//! The pairs that are tried a hundred times.

use knothole_lab::network::Network;
use knothole_lab::trial::meeting::Met;

use super::spread::{Spread, time};
use super::{failures, head, row};
use crate::campaign::HARD_PAIRS;

pub(super) fn table(all: &[Met]) -> String {
    let mut text = head(&[
        "",
        "direct in",
        "time: median",
        "95 %",
        "worst",
        "mappings at the hard router: median",
        "worst",
        "iroh 1.4",
    ]);
    for (easy, hard) in HARD_PAIRS {
        text += &pair(all, easy, hard);
    }
    let failed = all.iter().map(|met| (format!("{} × {}, run {}", met.alice, met.bob, met.run), &met.failure));
    text + &failures(failed)
}

fn pair(all: &[Met], easy: Network, hard: Network) -> String {
    let runs = || all.iter().filter(|met| met.pair() == Some((easy, hard)));
    let times = Spread::new(runs().filter_map(|met| met.direct));
    let mappings = Spread::new(runs().map(|met| met.mappings_in(hard) as f64));
    let count = |figure: Option<f64>| figure.map_or("–".into(), |figure| format!("{figure:.0}"));
    row([
        format!("{easy} × {hard}"),
        format!("{} of {}", times.count(), runs().count()),
        time(times.median()),
        time(times.percentile(95)),
        time(times.worst()),
        count(mappings.median()),
        count(mappings.worst()),
        "never".into(),
    ])
}
