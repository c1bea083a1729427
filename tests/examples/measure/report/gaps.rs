//! The changes of networks.

use knothole_lab::trial::upheaval::{Gap, Upheaval};

use super::spread::{Spread, time};
use super::{failures, head, row};

const EXPLANATION: &str = "\
Both peers are behind port-restricted routers and send each other a numbered message every 20 ms. The silence is the longest
that either of the two heard after the change; a device that was down is counted from the moment when it was up again. Alice
invited Bob. *Told*: the system or a person tells the peer to whom it happens; otherwise only silence does.

";

pub(super) fn table(all: &[Gap]) -> String {
    let mut text = EXPLANATION.to_owned();
    text += &head(&["", "told", "runs", "silence: median", "worst", "none lost, doubled or disordered in", "iroh 1.4"]);
    for case in Upheaval::all() {
        let runs = || all.iter().filter(|gap| gap.case == case.name());
        if runs().next().is_none() {
            continue;
        }
        let silences = Spread::new(runs().filter(|gap| gap.messages > 0).map(|gap| gap.silence[0].max(gap.silence[1])));
        let right = runs().filter(|gap| gap.failure.is_none()).count();
        text += &row([
            case.name().into(),
            if case.is_told() { "yes" } else { "no" }.into(),
            runs().count().to_string(),
            time(silences.median()),
            time(silences.worst()),
            format!("{right} of {}", runs().count()),
            anchor(case).into(),
        ]);
    }
    let messages: usize = all.iter().map(|gap| gap.messages).sum();
    text += &format!("\n{messages} messages in all.\n");
    text + &failures(all.iter().map(|gap| (format!("{}, run {}", gap.case, gap.run), &gap.failure)))
}

/// What iroh was measured to take.
fn anchor(case: Upheaval) -> &'static str {
    match case {
        Upheaval::Rebinding(_) => "15.4 s",
        Upheaval::Device(_) => "0.67 s",
        _ => "",
    }
}
