//! The first message between two who have talked before.

use knothole_lab::trial::first_letter::Read;

use super::spread::{Spread, time};
use super::{failures, head, row};

/// The way from site to site, through the rendezvous or straight.
const TRIP_MS: f64 = 40.0;

pub(super) fn table(all: &[Read]) -> String {
    let mut text = "Two who have talked before, both processes started anew. From the writing to the reading, beside the 40 ms of one \
                    trip: by letter through the rendezvous where no connection is up yet, else by the connection.\n\n"
        .to_owned();
    text += &head(&["", "written", "shown in", "connected", "median", "trips", "90 %", "worst"]);
    let mut cases: Vec<_> = all.iter().map(|read| (&read.alice, &read.bob, read.idle)).collect();
    cases.sort();
    cases.dedup();
    for (alice, bob, idle) in cases {
        let runs = || all.iter().filter(|read| (&read.alice, &read.bob, read.idle) == (alice, bob, idle));
        let times = Spread::new(runs().filter_map(|read| read.shown));
        let trips = times.median().map_or("–".into(), |median| format!("{:.2}", median / TRIP_MS));
        text += &row([
            format!("{alice} → {bob}"),
            if idle { "after seconds" } else { "when registered" }.into(),
            format!("{} of {}", times.count(), runs().count()),
            runs().filter(|read| read.connected).count().to_string(),
            time(times.median()),
            trips,
            time(times.percentile(90)),
            time(times.worst()),
        ]);
    }
    text + &failures(all.iter().map(|read| (format!("{} → {}, run {}", read.alice, read.bob, read.run), &read.failure)))
}
