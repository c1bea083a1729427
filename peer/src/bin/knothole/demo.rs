//! `demo`: a rendezvous and two peers on this machine, in one process, with nothing left behind.

mod companion;
mod script;
mod stage;

use std::time::Duration;

use crate::chat::{self, Manner};
use crate::output::Output;
use crate::signals::Signals;
use crate::typed;
use companion::Companion;
use stage::Stage;

/// How long the last lines may take at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// A chat where the person is alice, at a terminal; a short scripted transcript elsewhere.
pub(crate) async fn run(output: &Output, signals: &mut Signals) -> anyhow::Result<()> {
    let interactive = typed::at_terminal() && Output::at_terminal();
    let mut stage = tokio::select! {
        stage = Stage::build(output) => stage?,
        () = signals.end() => return Ok(()),
    };
    let outcome = tokio::select! {
        outcome = perform(&mut stage, interactive, output) => outcome,
        () = signals.end() => Ok(()),
    };
    stage.clear().await;
    outcome
}

async fn perform(stage: &mut Stage, interactive: bool, output: &Output) -> anyhow::Result<()> {
    stage.introduce(output).await?;
    if !interactive {
        return script::play(&mut stage.alice, &mut stage.bob, output).await;
    }
    output.line("You are alice. Bob is a small program; say something to him. /quit or Ctrl-D ends the demo.")?;
    let manner = Manner { terminal: true, patience: PATIENCE };
    let mut companion = Companion::default();
    tokio::select! {
        outcome = chat::talk(&mut stage.alice, "bob", manner, output) => outcome,
        outcome = companion.answer(&mut stage.bob) => outcome,
    }
}
