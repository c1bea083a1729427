//! What saying nothing costs.

use knothole_lab::trial::rest::Rested;

use super::{failures, head, row};

const HOUR: f64 = 3600.0;

pub(super) fn table(all: &[Rested]) -> String {
    let mut text =
        "At one peer behind a port-restricted router, sent and received together, IP headers included; scaled from \
                    the seconds that were counted.\n\n"
            .to_owned();
    text += &head(&["profile", "", "counted", "packets an hour", "bytes an hour", "bytes a second", "iroh 1.4"]);
    for rested in all.iter().filter(|rested| rested.seconds > 0.0) {
        let rate = |[out, into]: [u64; 2]| (out + into) as f64 / rested.seconds;
        let (packets, bytes) = (rate(rested.packets), rate(rested.bytes));
        text += &row([
            rested.profile.clone(),
            if rested.contact { "one direct contact" } else { "registered only" }.into(),
            format!("{:.0} s", rested.seconds),
            format!("{:.0}", packets * HOUR),
            format!("{:.0}", bytes * HOUR),
            format!("{bytes:.1}"),
            if rested.contact { "588 B/s" } else { "333 B/s" }.into(),
        ]);
    }
    let name =
        |rested: &Rested| format!("{}, {}", rested.profile, if rested.contact { "one contact" } else { "alone" });
    text + &failures(all.iter().map(|rested| (name(rested), &rested.failure)))
}
