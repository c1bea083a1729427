//! `rpc` and `daemon`: the engine for programs.

use std::time::Duration;

use anyhow::{Context as _, bail};
use knothole::home::Home;
use knothole_proto::contact_link::RendezvousAddress;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::output::Output;
use crate::readiness::Supervisor;
use crate::session::{Reached, reach};
use crate::signals::Signals;

/// How long an engine that is not wanted any more may take to start: it opens a database and some sockets.
const START: Duration = Duration::from_secs(2);

/// Passes JSON-RPC between the engine and standard input and output, until the input ends.
pub(crate) async fn run(home: &Home, rendezvous: Vec<RendezvousAddress>, signals: &mut Signals) -> anyhow::Result<()> {
    let Some(reached) = reach_unless_ended(home, &rendezvous, signals).await? else { return Ok(()) };
    match reached {
        Reached::Here(hosted, stream) => {
            let (reader, writer) = tokio::io::split(stream);
            let outcome = tokio::select! {
                outcome = pass(reader, writer) => outcome,
                () = signals.end() => Ok(()),
            };
            hosted.stop().await;
            outcome
        }
        Reached::Elsewhere(stream) => {
            let (reader, writer) = stream.into_split();
            tokio::select! {
                outcome = pass(reader, writer) => outcome,
                () = signals.end() => Ok(()),
            }
        }
    }
}

/// The engine, or nothing if a signal ends the program before: one that was starting by then is ended in good order, for it
/// may have asked the router for a port already.
async fn reach_unless_ended(
    home: &Home,
    rendezvous: &[RendezvousAddress],
    signals: &mut Signals,
) -> anyhow::Result<Option<Reached>> {
    let mut reaching = std::pin::pin!(reach(home, rendezvous, false));
    tokio::select! {
        reached = &mut reaching => return reached.map(Some),
        () = signals.end() => {}
    }
    if let Ok(Ok(Reached::Here(hosted, _))) = timeout(START, reaching).await {
        hosted.stop().await;
    }
    Ok(None)
}

async fn pass(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) -> anyhow::Result<()> {
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let mut answers = std::pin::pin!(tokio::io::copy(&mut reader, &mut output));
    let requests = async {
        tokio::io::copy(&mut input, &mut writer).await?;
        writer.shutdown().await
    };
    tokio::select! {
        answered = &mut answers => {
            answered.context("standard output or the engine's socket is closed; start this again")?;
            bail!("the process that ran Knothole for this home has ended; start this again, or keep `knothole daemon` running");
        }
        asked = requests => {
            asked.context("standard input cannot be passed on; start this again")?;
            // What was asked is still answered.
            answers.await?;
            Ok(())
        }
    }
}

/// Runs the engine until told to end. A service waits until no other process runs it, since nobody is there to start it later.
pub(crate) async fn daemon(
    home: &Home,
    rendezvous: Vec<RendezvousAddress>,
    signals: &mut Signals,
    output: &Output,
) -> anyhow::Result<()> {
    let supervisor = Supervisor::of_environment();
    let hosted = loop {
        let Some(reached) = reach_unless_ended(home, &rendezvous, signals).await? else { return Ok(()) };
        match reached {
            Reached::Here(hosted, _) => break hosted,
            Reached::Elsewhere(mut engine) if supervisor.is_there() => {
                supervisor.status("waiting: another Knothole runs for this home, and serves it until it ends");
                // Its events are of no use here; what counts is that they end.
                let mut unread = tokio::io::sink();
                tokio::select! {
                    _ = tokio::io::copy(&mut engine, &mut unread) => {}
                    () = signals.end() => return Ok(()),
                }
            }
            Reached::Elsewhere(_) => {
                bail!("a Knothole runs for {} already; end it first, or choose another --home", home.path().display());
            }
        }
    };
    if rendezvous.is_empty() {
        output.aside(
            "* no rendezvous is known, so nobody can reach this peer; end this, and give one: \
             knothole --rendezvous <key>@<host>:<port> daemon",
        );
    }
    let told = output.line(&format!("ready {}", home.socket_path().display()));
    if told.is_ok() {
        supervisor.ready();
        supervisor.status("");
        signals.end().await;
    }
    supervisor.stopping();
    hosted.stop().await;
    told.map_err(Into::into)
}
