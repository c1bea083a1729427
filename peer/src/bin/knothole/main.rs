//! The faces of a Knothole peer: verbs for the command line. Each talks JSON-RPC to the engine of its home, in whichever process
//! that runs; the first process that needs one runs it for the others.

mod arguments;
mod backup;
mod change;
mod chat;
mod check;
mod code;
mod completions;
mod contacts;
mod delivery;
mod demo;
mod duration;
mod exit;
mod history;
mod hosted;
mod identity;
mod log;
mod mailbox;
mod manual;
mod netcheck;
mod output;
mod passphrase;
mod presence;
mod readiness;
mod rpc;
mod send;
mod session;
mod shown;
mod signals;
mod terminal;
mod text;
mod typed;
mod unit;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;
use knothole::home::Home;

use crate::arguments::{Arguments, Verb};
use crate::exit::{Interrupted, Usage};
use crate::output::Output;
use crate::session::Session;
use crate::signals::Signals;

/// One for the engine's loop and one for handshakes, which take their time, however many processors there are: each further one
/// would have a heap of its own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(run(arguments));
        // A thread that reads standard input cannot be stopped, and nobody waits for it.
        runtime.shutdown_background();
        outcome
    });
    exit::code(outcome)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let output = Output::new(arguments.json);
    let mut signals = Signals::new(matches!(arguments.verb, None | Some(Verb::Chat { .. } | Verb::Demo)))?;
    let verb = match arguments.verb {
        Some(_) if arguments.plain => {
            let told = "--plain is for `knothole` without a verb; leave it out: what verbs print is plain, and --json is for scripts";
            return Err(Usage(told.to_owned()).into());
        }
        None => return face(arguments, &mut signals, &output).await,
        Some(Verb::Demo) => return demo::run(&output, &mut signals).await,
        Some(Verb::Completions { shell }) => return completions::run(shell, &output),
        Some(Verb::Man { dir }) => return manual::run(dir.as_deref(), &output),
        Some(Verb::Daemon(daemon)) if daemon.unit || daemon.install => {
            let Arguments { home, rendezvous, passphrase_file, .. } = arguments;
            return unit::run(&daemon, unit::Run { home, rendezvous, passphrase_file }, &output);
        }
        Some(verb) => verb,
    };
    let verb = verb.checked()?;
    let mut home = Home::open(arguments.home)?;
    let file = arguments.passphrase_file;
    if let Verb::Passphrase(verb) = verb {
        return unless_ended(&mut signals, passphrase::run(&mut home, verb, file, &output)).await;
    }
    if let Verb::Import(from) = verb {
        return unless_ended(&mut signals, backup::import(&mut home, from, file.as_deref(), &output)).await;
    }
    // The identity, and with it the link, is read without an engine.
    let alone = matches!(verb, Verb::Id { .. });
    unless_ended(&mut signals, passphrase::unlock(&mut home, file.as_deref(), alone, &output)).await?;
    let rendezvous = home.rendezvous(&arguments.rendezvous)?;
    let told = !arguments.rendezvous.is_empty();
    let configured = home.configured_rendezvous()?;
    if told && configured != rendezvous {
        let named = if configured.is_empty() { "no" } else { "other" };
        let note = "--rendezvous is for this run alone (edit that file for good)";
        output.aside(&format!("* config.toml names {named} rendezvous; {note}"));
    }
    match verb {
        Verb::Id { qr } => identity::run(&home, rendezvous, qr, &output),
        Verb::Export(to) => unless_ended(&mut signals, backup::export(&home, to, &output)).await,
        Verb::Check => unless_ended(&mut signals, check::run(&home, &output)).await,
        Verb::Rpc => rpc::run(&home, rendezvous, &mut signals).await,
        Verb::Daemon(_) => rpc::daemon(&home, rendezvous, &mut signals, &output).await,
        verb => {
            let mut session = tokio::select! {
                session = Session::open(home, rendezvous) => session?,
                () = signals.end() => return Err(Interrupted.into()),
            };
            if told {
                session.tell_unused_rendezvous(&output).await;
            }
            // To end a chat so is to leave it, not to break it off.
            let interrupted = if matches!(verb, Verb::Chat { .. }) { Ok(()) } else { Err(Interrupted.into()) };
            let outcome = tokio::select! {
                outcome = carry_out(verb, &mut session, &output) => outcome,
                () = signals.end() => interrupted,
            };
            session.end().await;
            outcome
        }
    }
}

/// The terminal interface, at a terminal; its plain mode also elsewhere, where that was asked for.
async fn face(arguments: Arguments, signals: &mut Signals, output: &Output) -> anyhow::Result<()> {
    if !(arguments.plain || typed::at_terminal() && Output::at_terminal()) {
        return arguments::hint();
    }
    let mut home = Home::open(arguments.home)?;
    unless_ended(signals, passphrase::unlock(&mut home, arguments.passphrase_file.as_deref(), false, output)).await?;
    let rendezvous = home.rendezvous(&arguments.rendezvous)?;
    let settings = home.terminal()?;
    if arguments.plain || terminal::is_plain(&settings) {
        return terminal::plain::run(home, rendezvous, &settings, signals, output).await;
    }
    let mut session = tokio::select! {
        session = Session::open(home, rendezvous) => session?,
        () = signals.end() => return Err(Interrupted.into()),
    };
    let outcome = terminal::run(&mut session, &settings, signals).await;
    session.end().await;
    outcome
}

/// Does something that a signal breaks off.
async fn unless_ended(signals: &mut Signals, doing: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        outcome = doing => outcome,
        () = signals.end() => Err(Interrupted.into()),
    }
}

async fn carry_out(verb: Verb, session: &mut Session, output: &Output) -> anyhow::Result<()> {
    match verb {
        Verb::Add(added) => contacts::add(session, added, output).await,
        Verb::Code { name, me, relay } => code::run(session, name, me, relay, output).await,
        Verb::Contacts => contacts::list(session, output).await,
        Verb::Accept { name, relay } => contacts::accept(session, &name, relay, output).await,
        Verb::Verify(verification) => verify::run(session, verification, output).await,
        Verb::Path { name, mode } => contacts::path(session, &name, mode, output).await,
        Verb::Presence { mode, name } => presence::run(session, mode, name.as_deref(), output).await,
        Verb::Rename { name, new } => contacts::rename(session, &name, &new, output).await,
        Verb::Block { name } => contacts::block(session, &name, output).await,
        Verb::Remove { name } => contacts::remove(session, &name, output).await,
        Verb::Chat { name } => chat::run(session, &name, output).await,
        Verb::Send(message) => send::run(session, message, output).await,
        Verb::Edit { name, message, text } => change::edit(session, &name, &message, text, output).await,
        Verb::Delete { name, message } => change::delete(session, &name, &message, output).await,
        Verb::React { name, message, emoji, off } => {
            change::react(session, &name, &message, &emoji, !off, output).await
        }
        Verb::Timer { name, lasting } => change::timer(session, &name, lasting, output).await,
        Verb::History(page) => history::run(session, page, output).await,
        Verb::Mailbox { switch } => mailbox::run(session, switch, output).await,
        Verb::Netcheck { lifetime } => netcheck::run(session, lifetime, output).await,
        // They need no session, and were carried out before.
        Verb::Demo
        | Verb::Passphrase(_)
        | Verb::Export(_)
        | Verb::Import(_)
        | Verb::Id { .. }
        | Verb::Check
        | Verb::Rpc
        | Verb::Daemon(_)
        | Verb::Completions { .. }
        | Verb::Man { .. } => Ok(()),
    }
}
