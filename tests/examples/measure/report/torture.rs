//! The torture.

use knothole_lab::trial::torture::Tortured;

use super::{failures, head, row};

const EXPLANATION: &str = "\
Two peers behind port-restricted routers write each other numbered messages while either's line loses packets in each direction,
the two and the rendezvous are killed (`kill -9`) and started again, either's disk is full for a while, and addresses change:
Alice's, Bob's, both. Lost, doubled or out of order is looked for in the history and in the events that a face was shown, which
reads the history whenever it starts; at every kill both disks are copied as they are, and whatever was shown as delivered must be
on the other's. *Refused* messages are those that a full disk did not take; they were written again. The seed makes the plan.

";

pub(super) fn table(all: &[Tortured]) -> String {
    let mut text = EXPLANATION.to_owned();
    text += &head(&[
        "seed",
        "messages each way",
        "loss of each line",
        "kills of alice, bob, rendezvous",
        "moves",
        "refused",
        "looks at both disks",
        "arrived once and in order",
        "took",
        "longest standstill",
        "all held",
    ]);
    for tortured in all {
        let [alice, bob, rendezvous] = tortured.kills;
        text += &row([
            tortured.seed.to_string(),
            tortured.messages.to_string(),
            format!("{:.0} %", tortured.loss * 100.0),
            format!("{alice}, {bob}, {rendezvous}"),
            tortured.moves.to_string(),
            format!("{} + {}", tortured.refused[0], tortured.refused[1]),
            tortured.examinations.to_string(),
            format!("{} + {}", tortured.heard[0], tortured.heard[1]),
            format!("{:.0} s", tortured.seconds),
            format!("{:.0} s", tortured.standstill),
            if tortured.failure.is_none() { "yes" } else { "**no**" }.into(),
        ]);
    }
    text + &failures(all.iter().map(|tortured| (format!("seed {}", tortured.seed), &tortured.failure)))
}
