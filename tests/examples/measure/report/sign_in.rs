//! Going online.

use knothole_lab::network::Network;
use knothole_lab::trial::sign_in::SignedIn;

use super::spread::{Spread, time};
use super::{failures, head, row};

pub(super) fn table(all: &[SignedIn]) -> String {
    let mut text = "From the start of the process, with a new home, to its `registered` event.\n\n".to_owned();
    text += &head(&["", "transport", "registered in", "median", "worst", "iroh 1.4"]);
    for (network, anchor) in [(Network::Apdf, ""), (Network::NoUdp, "3.1 s")] {
        let runs = || all.iter().filter(|signed| signed.network == network.name());
        let times = Spread::new(runs().filter_map(|signed| signed.registered));
        let mut transports: Vec<_> = runs().map(|signed| signed.transport.as_str()).collect();
        transports.sort_unstable();
        transports.dedup();
        text += &row([
            network.name().into(),
            transports.join(" "),
            format!("{} of {}", times.count(), runs().count()),
            time(times.median()),
            time(times.worst()),
            anchor.into(),
        ]);
    }
    text + &failures(all.iter().map(|signed| (format!("{}, run {}", signed.network, signed.run), &signed.failure)))
}
