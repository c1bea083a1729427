//! The loop around the screen's machine: keys, events, answers and the time go in; calls go to the engine, pictures to the
//! terminal. It decides nothing.

use std::io;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use knothole::rpc::{CallError, Client};
use ratatui::crossterm::event::{self, Event, KeyEventKind, MouseEventKind};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::desktop::{self, Desktop};
use super::draw::draw;
use super::screen::{Ask, Effect, Input, Refusal, Screen};
use super::theme::Theme;
use super::tty::Tty;
use crate::session::Session;
use crate::signals::Signals;

/// Keys that wait; the thread that reads them waits, too, then.
const KEYS: usize = 256;

/// Inputs taken before the screen is drawn again: what comes in a burst is drawn once.
const BURST: usize = 256;

/// What is under way when the person leaves may take so long: a commit, not a netcheck.
const PARTING: Duration = Duration::from_secs(1);

/// How long to sleep where nothing is due.
const LONG: Duration = Duration::from_secs(3600);

/// How the person wants it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Face {
    pub(crate) theme: Theme,
    pub(crate) bell: bool,
    pub(crate) notify: bool,
    pub(crate) desktop: Desktop,
}

/// Calls that are under way. They are polled for the first time, and so reach the engine, in the order in which they are pushed.
type Calls = FuturesUnordered<BoxFuture<'static, (Ask, Result<Value, Refusal>)>>;

/// Runs the screen until the person leaves. However that comes, what was typed reaches the disk first.
pub(crate) async fn run(
    session: &mut Session,
    screen: &mut Screen,
    face: Face,
    tty: &mut Tty,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let mut calls = Calls::new();
    let outcome = attend(session, screen, face, tty, signals, &mut calls).await;
    screen.leave();
    while let Some(effect) = screen.poll_effect() {
        if let Effect::Call(ask) = effect {
            calls.push(call(session.client(), ask).boxed());
        }
    }
    // An answer that is late keeps nobody: the engine has what was asked, and finishes it before it stops.
    let _ = tokio::time::timeout(PARTING, calls.for_each(|_| ready(()))).await;
    outcome
}

async fn attend(
    session: &mut Session,
    screen: &mut Screen,
    face: Face,
    tty: &mut Tty,
    signals: &mut Signals,
    calls: &mut Calls,
) -> anyhow::Result<()> {
    let mut keys = keys();
    let mut resized = signal(SignalKind::window_change())?;
    loop {
        while let Some(effect) = screen.poll_effect() {
            match effect {
                Effect::Call(ask) => calls.push(call(session.client(), ask).boxed()),
                Effect::UseRendezvous(address) => {
                    // What is said of it is seen while it is done.
                    picture(screen, face.theme, tty)?;
                    let used = session.use_rendezvous(address).await.map_err(|error| error.to_string());
                    screen.handle(Input::Rendezvous(used), now());
                }
                Effect::Quit => return Ok(()),
                effect => show(effect, face, tty)?,
            }
        }
        if !picture(screen, face.theme, tty)? {
            continue;
        }
        let wait = screen.poll_timeout().map_or(LONG, |at| Duration::from_millis(at.saturating_sub(now())));
        tokio::select! {
            input = keys.recv() => match input {
                Some(input) => screen.handle(input, now()),
                // The terminal is gone.
                None => return Ok(()),
            },
            Some((ask, answer)) = calls.next(), if !calls.is_empty() => screen.handle(Input::Answer(ask, answer), now()),
            event = session.event() => take(session, screen, event).await?,
            () = signals.end() => return Ok(()),
            // The key thread tells the size as well, but not of a change from before it listened.
            _ = resized.recv() => {}
            () = tokio::time::sleep(wait) => screen.handle(Input::Timeout, now()),
        }
        for _ in 0..BURST {
            if let Ok(input) = keys.try_recv() {
                screen.handle(input, now());
            } else if let Some(event) = session.event().now_or_never() {
                take(session, screen, event).await?;
            } else {
                break;
            }
        }
    }
}

/// Does what concerns the terminal alone.
fn show(effect: Effect, face: Face, tty: &mut Tty) -> io::Result<()> {
    let sequence = match effect {
        Effect::Bell => face.bell.then(|| "\x07".to_owned()),
        Effect::Notify { title, text } if face.notify => face.desktop.notify(&title, &text),
        Effect::Copy(text) => desktop::copy(&text),
        Effect::Redraw => return tty.draw_anew(),
        Effect::Suspend => return tty.suspend(),
        Effect::Notify { .. } | Effect::Call(_) | Effect::UseRendezvous(_) | Effect::Quit => None,
    };
    sequence.map_or(Ok(()), |sequence| tty.write(&sequence))
}

/// Draws, if the screen has the size of the terminal; if not, it has it now.
fn picture(screen: &mut Screen, theme: Theme, tty: &mut Tty) -> io::Result<bool> {
    let size = tty.terminal().size()?;
    let mut size = (size.width, size.height);
    if size == screen.size {
        tty.terminal().draw(|frame| {
            // It may change at any moment, and only the frame knows for which it is.
            size = (frame.area().width, frame.area().height);
            if size == screen.size {
                draw(screen, theme, frame);
            }
        })?;
    }
    let same = size == screen.size;
    if !same {
        screen.handle(Input::Resized(size.0, size.1), now());
    }
    Ok(same)
}

/// An event, or the end of the process that ran the engine.
async fn take(session: &mut Session, screen: &mut Screen, event: Option<Value>) -> anyhow::Result<()> {
    match event {
        Some(event) => screen.handle(Input::Event(event), now()),
        None => {
            session.renew().await?;
            screen.handle(Input::Renewed, now());
        }
    }
    Ok(())
}

async fn call(client: Client, ask: Ask) -> (Ask, Result<Value, Refusal>) {
    let answer = client.call(ask.method, ask.parameters.clone()).await;
    let answer = answer.map_err(|error| match error {
        CallError::Closed => Refusal::Closed,
        CallError::Refused { message, data, .. } => Refusal::Refused { why: message, data },
    });
    (ask, answer)
}

/// What the person does at the terminal, read by a thread that outlives the interest in it: a read cannot be broken off.
fn keys() -> mpsc::Receiver<Input> {
    let (sender, keys) = mpsc::channel(KEYS);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            let input = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => Input::Key(key),
                Event::Paste(text) => Input::Paste(text),
                Event::Resize(columns, rows) => Input::Resized(columns, rows),
                Event::FocusGained => Input::Focused(true),
                Event::FocusLost => Input::Focused(false),
                Event::Mouse(mouse) if mouse.kind == MouseEventKind::ScrollUp => Input::Wheel { up: true },
                Event::Mouse(mouse) if mouse.kind == MouseEventKind::ScrollDown => Input::Wheel { up: false },
                Event::Key(_) | Event::Mouse(_) => continue,
            };
            if sender.blocking_send(input).is_err() {
                return;
            }
        }
    });
    keys
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
