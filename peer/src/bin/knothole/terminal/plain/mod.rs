//! The plain mode, for screen readers: lines that are only ever added, in whole sentences, without colours, boxes or signs; what is typed
//! comes in whole lines, edited by the terminal itself, which screen readers follow best.
//!
//! `teller` is a pure machine, beside the screen's and over the same contacts, messages and commands: it is told what happened, and tells
//! lines. What it deliberately has not: drafts (a line that is not finished is the terminal's), a place in the conversation (what
//! was told stays above), word of who is typing.

mod answers;
mod carrying;
mod commands;
mod events;
mod open;
mod sending;
mod setup;
mod teller;
#[cfg(test)]
mod tests;
mod told;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::tz::TimeZone;
use knothole::home::{Home, TerminalConfiguration};
use knothole::rpc::{CallError, Client};
use knothole_proto::contact_link::RendezvousAddress;
use serde_json::Value;
use tokio::sync::mpsc;

use super::language;
use super::screen::Refusal;
use super::words::Words;
use crate::exit::Interrupted;
use crate::output::Output;
use crate::session::Session;
use crate::signals::Signals;
use crate::typed::{self, Typed};
use setup::{Beginning, Next, Setup};
use teller::{Ask, Effect, Input, Teller};

/// Runs the plain mode in a home until the person leaves, or the input ends.
pub(crate) async fn run(
    home: Home,
    mut rendezvous: Vec<RendezvousAddress>,
    settings: &TerminalConfiguration,
    signals: &mut Signals,
    output: &Output,
) -> anyhow::Result<()> {
    let words = language(settings);
    let mut lines = typed::lines();
    let mut friend = None;
    let first = rendezvous.is_empty();
    if first {
        let Some(beginning) = set_up(&mut lines, words, signals, output).await? else { return Ok(()) };
        rendezvous = home.rendezvous(&beginning.rendezvous)?;
        friend = beginning.friend;
    }
    let mut session = tokio::select! {
        session = Session::open(home, rendezvous) => session?,
        () = signals.end() => return Err(Interrupted.into()),
    };
    if first && !session.is_new() {
        output.line(words.setup.elsewhere)?;
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random bytes")?;
    let mut teller = Teller::new(words, TimeZone::system(), friend, seed, now());
    teller.quiet = !settings.deliveries;
    let outcome = talk(&mut session, teller, &mut lines, signals, output).await;
    session.end().await;
    outcome
}

/// Asks for a rendezvous; `None`: the person leaves instead.
async fn set_up(
    lines: &mut mpsc::Receiver<Typed>,
    words: &'static Words,
    signals: &mut Signals,
    output: &Output,
) -> anyhow::Result<Option<Beginning>> {
    output.line(words.plain.setup)?;
    let mut setup = Setup::default();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = signals.end() => None,
        };
        let next = match line {
            None => return Ok(None),
            Some(Typed::TooLong) => Next::Ask(words.plain.setup_again),
            Some(Typed::Line(line)) => setup.handle(&line, words),
        };
        match next {
            Next::Ask(what) => output.line(what)?,
            Next::Begin(beginning) => return Ok(Some(beginning)),
            Next::Quit => return Ok(None),
        }
    }
}

async fn talk(
    session: &mut Session,
    mut teller: Teller,
    lines: &mut mpsc::Receiver<Typed>,
    signals: &mut Signals,
    output: &Output,
) -> anyhow::Result<()> {
    // They are polled for the first time, and so reach the engine, in the order in which they are pushed.
    let mut calls = FuturesUnordered::new();
    let mut leaving = false;
    loop {
        while let Some(effect) = teller.poll_effect() {
            match effect {
                Effect::Say(text) => output.text(format!("{text}\n").as_bytes())?,
                Effect::Call(ask) => calls.push(call(session.client(), ask)),
                Effect::Quit => return Ok(()),
            }
        }
        tokio::select! {
            line = lines.recv(), if !leaving && teller.takes_lines() => {
                leaving = line.is_none();
                teller.handle(line.map_or(Input::Ended, Input::Line), now());
            }
            Some((ask, answer)) = calls.next(), if !calls.is_empty() => teller.handle(Input::Answer(ask, answer), now()),
            event = session.event() => match event {
                Some(event) => teller.handle(Input::Event(event), now()),
                None => {
                    session.renew().await?;
                    teller.handle(Input::Renewed, now());
                }
            },
            () = signals.end() => {
                // Told so for a second time, it waits for nothing.
                if std::mem::replace(&mut leaving, true) {
                    return Ok(());
                }
                teller.handle(Input::Ended, now());
            }
        }
    }
}

async fn call(client: Client, ask: Ask) -> (Ask, Result<Value, Refusal>) {
    let answer = client.call(ask.method, ask.parameters.clone()).await;
    let answer = answer.map_err(|error| match error {
        CallError::Closed => Refusal::Closed,
        CallError::Refused { message, data, .. } => Refusal::Refused { why: message, data },
    });
    (ask, answer)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
