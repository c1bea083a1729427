//! `mailbox`: whether messages may wait at the rendezvous.

use serde_json::{Value, json};

use crate::arguments::Switch;
use crate::output::Output;
use crate::session::{Session, entries, word};

pub(crate) async fn run(session: &mut Session, switch: Option<Switch>, output: &Output) -> anyhow::Result<()> {
    if let Some(switch) = switch {
        session.insist("mailbox.set", json!({"open": switch == Switch::On})).await?;
    }
    let status = session.insist("status", json!({})).await?;
    let told = json!({"mailbox": status["mailbox"], "rendezvous": status["rendezvous"]});
    output.data(&told, || told_of(&status, switch.is_some()))?;
    Ok(())
}

/// In a line for the whole, and one for each rendezvous that has answered.
fn told_of(status: &Value, changed: bool) -> String {
    let first = match (status["mailbox"] == true, changed) {
        (true, true) => "mailbox on: your rendezvous is told as soon as it is reached",
        (true, false) => "mailbox on",
        (false, true) => "mailbox off: your rendezvous is told as soon as it is reached, and destroys what waits",
        (false, false) => "mailbox off; messages come when both are online (`knothole mailbox on` lets them wait)",
    };
    let line = |rendezvous: &Value| {
        let state = match word(rendezvous, "mailbox") {
            "open" => "keeps letters for you",
            "refused" => "keeps no letters; its operator allows none, or it has no room",
            _ => return None,
        };
        Some(format!("  {}  {state}", word(rendezvous, "address")))
    };
    [first.to_owned()]
        .into_iter()
        .chain(entries(&status["rendezvous"]).iter().filter_map(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_told_of_by_what_the_rendezvous_answered() {
        let rendezvous = json!([
            {"address": "k@r.example:1", "mailbox": "open"},
            {"address": "l@s.example:1", "mailbox": "refused"},
            {"address": "m@t.example:1", "mailbox": "closed"},
        ]);
        let status = json!({"mailbox": true, "rendezvous": rendezvous});
        assert_eq!(
            told_of(&status, false),
            "mailbox on\n  k@r.example:1  keeps letters for you\n  \
             l@s.example:1  keeps no letters; its operator allows none, or it has no room"
        );
        assert!(told_of(&json!({"mailbox": false, "rendezvous": []}), true).starts_with("mailbox off: "));
    }
}
