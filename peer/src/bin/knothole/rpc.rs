//! `rpc` and `daemon`: the engine for programs.

use anyhow::{Context as _, bail};
use knothole::home::Home;
use knothole_proto::contact_link::RendezvousAddress;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::output::Output;
use crate::session::{Reached, reach};
use crate::signals::Signals;

/// Passes JSON-RPC between the engine and standard input and output, until the input ends.
pub(crate) async fn run(home: &Home, rendezvous: Vec<RendezvousAddress>, signals: &mut Signals) -> anyhow::Result<()> {
    let reached = tokio::select! {
        reached = reach(home, &rendezvous, false) => reached?,
        () = signals.end() => return Ok(()),
    };
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

/// Runs the engine until told to end.
pub(crate) async fn daemon(
    home: &Home,
    rendezvous: Vec<RendezvousAddress>,
    signals: &mut Signals,
    output: &Output,
) -> anyhow::Result<()> {
    let reached = tokio::select! {
        reached = reach(home, &rendezvous, false) => reached?,
        () = signals.end() => return Ok(()),
    };
    let Reached::Here(hosted, _) = reached else {
        bail!("a Knothole runs for {} already; end it first, or choose another --home", home.path().display());
    };
    if rendezvous.is_empty() {
        output.aside(
            "* no rendezvous is known, so nobody can reach this peer; end this, and give one: \
             knothole --rendezvous <key>@<host>:<port> daemon",
        );
    }
    let told = output.line(&format!("ready {}", home.socket_path().display()));
    if told.is_ok() {
        signals.end().await;
    }
    hosted.stop().await;
    told.map_err(Into::into)
}
