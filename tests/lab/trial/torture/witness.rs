//! Looking at the disks as they are in one moment, as a kill would leave them: what counts as delivered must be there.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::face::{Entry, history};
use super::ledger::{Ledger, number};
use super::{Arena, NAMES};
use crate::small_disk::SmallDisk;

/// A process stops or ends within this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kills the process of one side, if any is to be killed, and compares what was shown as delivered with the disks. Nothing is
/// started meanwhile.
pub(super) fn examine(arena: &Arena<'_, '_>, disks: &[SmallDisk; 2], victim: Option<usize>) -> Result<()> {
    let copies = tempfile::tempdir()?;
    let at = |name: &str| copies.path().join(name);
    let shown = {
        let _gates = [arena.ledgers[0].gate(), arena.ledgers[1].gate()];
        let shown = [0, 1].map(|side| arena.ledgers[side].book().delivered.clone());
        if let Some(side) = victim {
            end(&arena.ledgers[side])?;
        }
        // Alice's disk before and after Bob's: what either counts as delivered was on the other's when it was copied later.
        for (side, name) in [(0, "before"), (1, "between"), (0, "after")] {
            copy(&arena.ledgers[side], disks[side].path(), &at(name))?;
        }
        shown
    };
    let read = |side: usize, name: &str| {
        let mut person = arena.setting.hermit(&at(name))?;
        history(&mut person, NAMES[1 - side]).with_context(|| format!("{}'s disk", NAMES[side]))
    };
    let (before, between, after) = (read(0, "before")?, read(1, "between")?, read(0, "after")?);
    for (side, told, theirs) in [(0, &before, &between), (1, &between, &after)] {
        let letter = arena.ledgers[side].letter;
        let delivered = told.iter().filter(|entry| entry.mine && entry.is_delivered());
        let numbers = delivered.filter_map(|entry| number(letter, &entry.text)).chain(shown[side].iter().copied());
        let there = theirs.iter().filter(|entry| !entry.mine).filter_map(|entry: &Entry| number(letter, &entry.text));
        let there: std::collections::BTreeSet<_> = there.collect();
        for number in numbers {
            let (name, other) = (NAMES[side], NAMES[1 - side]);
            ensure!(there.contains(&number), "{name}'s message {number} is delivered, and not on {other}'s disk");
        }
    }
    Ok(())
}

fn process(ledger: &Ledger) -> Option<Pid> {
    let id = ledger.process.load(Ordering::Relaxed);
    i32::try_from(id).ok().filter(|id| *id > 0).map(Pid::from_raw)
}

/// `kill -9`, if it has not ended by itself; then nothing of it writes any more.
fn end(ledger: &Ledger) -> Result<()> {
    let Some(process) = process(ledger) else { return Ok(()) };
    if kill(process, Signal::SIGKILL).is_ok() {
        wait_for(process, &['Z', 'X'])?;
    }
    Ok(())
}

/// Copies what is in a home while its process, if there is one, is stopped.
fn copy(ledger: &Ledger, from: &Path, to: &Path) -> Result<()> {
    let stopped = process(ledger).filter(|process| kill(*process, Signal::SIGSTOP).is_ok());
    if let Some(process) = stopped {
        wait_for(process, &['T', 'Z', 'X'])?;
    }
    let outcome = copy_files(from, to);
    if let Some(process) = stopped {
        // It may have been killed before.
        let _ = kill(process, Signal::SIGCONT);
    }
    outcome
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        // Neither the socket nor the ballast, nor the memory that processes share over a database.
        let name = entry.file_name();
        let skipped = name == "ballast" || name.to_string_lossy().ends_with("-shm");
        if entry.file_type()?.is_file() && !skipped {
            fs::copy(entry.path(), to.join(&name)).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

/// Waits until a process is in one of these states of proc(5), or gone.
fn wait_for(process: Pid, states: &[char]) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let Ok(line) = fs::read_to_string(format!("/proc/{process}/stat")) else { return Ok(()) };
        // The name, in parentheses, may hold anything.
        let state = line.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if state.is_none_or(|state| states.contains(&state)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("a process neither stops nor ends")
}
