//! One side: a face before a process that is killed now and then. It writes, and holds what it is shown against what it knows.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, anyhow};
use serde_json::{Value, json};

use super::ledger::{Ledger, number};
use super::{Arena, NAMES};
use crate::person::Person;
use crate::small_disk::SmallDisk;
use crate::trial::Site;

/// How long the face waits for events when it has nothing to write.
const TURN: Duration = Duration::from_millis(20);
/// After a refusal, and before the next start of a process that a full disk ended.
const PAUSE: Duration = Duration::from_millis(100);
/// As `kill -9` says it.
const SIGKILL: i32 = 9;
/// Entries of history asked for at once.
const PAGE: usize = 1000;

/// Why a life ends.
pub(super) enum Stop {
    /// The process is gone, or says nothing more.
    Ended(Error),
    /// Something that must not be.
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Ended(error)
    }
}

/// One side.
pub(super) struct Face<'a, 'lab> {
    pub(super) arena: &'a Arena<'a, 'lab>,
    pub(super) side: usize,
    pub(super) site: &'a Site,
    pub(super) disk: &'a SmallDisk,
    /// The number that each of its own messages has.
    numbers: BTreeMap<String, usize>,
    /// Shown as delivered before it was known which one it is.
    early: Vec<String>,
    /// After the last message that an event showed, in whatever life.
    shown: usize,
    /// The same in this life.
    shown_now: Option<usize>,
    /// So many were in the history when this life began.
    filled: usize,
}

/// An entry of history.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) mine: bool,
    pub(super) text: String,
    pub(super) state: String,
}

impl Entry {
    pub(super) fn is_delivered(&self) -> bool {
        matches!(self.state.as_str(), "delivered" | "read")
    }
}

impl<'a, 'lab> Face<'a, 'lab> {
    pub(super) fn new(arena: &'a Arena<'a, 'lab>, side: usize, site: &'a Site, disk: &'a SmallDisk) -> Self {
        let (numbers, early) = (BTreeMap::new(), Vec::new());
        Self { arena, side, site, disk, numbers, early, shown: 0, shown_now: None, filled: 0 }
    }

    /// Lives until all is said and heard. An error stops everybody.
    pub(super) fn run(mut self) {
        while !self.arena.is_stopped() {
            match self.live() {
                Ok(()) => return,
                Err(error) => self.arena.stop(format!("{}: {error:#}", NAMES[self.side])),
            }
        }
    }

    /// Starts processes until one of them lives to the end.
    fn live(&mut self) -> Result<(), Error> {
        loop {
            let full = self.mine().full.load(Ordering::Relaxed);
            let gate = self.mine().gate();
            let mut person = self.arena.setting.person(self.site, self.disk.path())?;
            self.mine().process.store(person.process.id(), Ordering::Relaxed);
            drop(gate);
            self.mine().book().lives += 1;
            let outcome = self.face(&mut person);
            let why = match outcome {
                Ok(()) => return Ok(()),
                Err(Stop::Wrong(error)) => return Err(error),
                Err(Stop::Ended(_)) if self.arena.is_stopped() => return Ok(()),
                Err(Stop::Ended(error)) => error,
            };
            let ended = person.process.end().with_context(|| format!("it says nothing more: {why:#}"))?;
            self.mine().process.store(0, Ordering::Relaxed);
            if ended.signal() != Some(SIGKILL) {
                let full = full || self.mine().full.load(Ordering::Relaxed);
                if !full {
                    return Err(why.context(format!("the process ended by itself ({ended})")));
                }
                self.mine().book().failed_starts += 1;
                thread::sleep(PAUSE);
            }
        }
    }

    fn face(&mut self, person: &mut Person) -> Result<(), Stop> {
        self.shown_now = None;
        self.fill(person)?;
        loop {
            while let Some((_, line)) = person.read(Instant::now())? {
                self.take(&line)?;
            }
            if self.arena.is_stopped() {
                return Ok(());
            }
            if self.arena.is_over() {
                return self.fill(person);
            }
            if self.may_write() {
                self.write(person)?;
            } else if let Some((_, line)) = person.read(Instant::now() + TURN)? {
                self.take(&line)?;
            }
        }
    }

    fn mine(&self) -> &'a Ledger {
        &self.arena.ledgers[self.side]
    }

    fn theirs(&self) -> &'a Ledger {
        &self.arena.ledgers[1 - self.side]
    }

    fn may_write(&self) -> bool {
        let full = self.mine().full.load(Ordering::Relaxed);
        let book = self.mine().book();
        let under_way = book.written - book.delivered.len().min(book.written);
        book.written < self.arena.messages && (full || under_way < self.arena.window)
    }

    fn write(&mut self, person: &mut Person) -> Result<(), Stop> {
        let (number, text) = self.mine().attempt();
        let to = NAMES[1 - self.side];
        match person.ask("message.send", json!({"to": to, "text": text}))? {
            Ok(answer) => {
                self.mine().book().written = number + 1;
                self.learn(answer["message"].as_str().unwrap_or_default(), number);
            }
            Err(error) => {
                {
                    let mut book = self.mine().book();
                    book.refused += 1;
                    book.refusal.get_or_insert_with(|| error["message"].as_str().unwrap_or_default().to_owned());
                }
                let newest = page(person, to, None, 50)?;
                if newest.iter().any(|entry| entry.mine && entry.text == text) {
                    return Err(Stop::Wrong(anyhow!("message {number} was refused ({error}), and is there")));
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// It is known now which number this message has.
    fn learn(&mut self, id: &str, number: usize) {
        self.numbers.insert(id.to_owned(), number);
        if let Some(at) = self.early.iter().position(|early| early == id) {
            self.early.swap_remove(at);
            self.mine().book().delivered.insert(number);
        }
    }

    fn take(&mut self, line: &Value) -> Result<(), Stop> {
        let event = &line["params"];
        match event["type"].as_str() {
            Some("message") => self.hear(event["text"].as_str().unwrap_or_default()),
            Some("state") if matches!(event["state"].as_str(), Some("delivered" | "read")) => {
                let id = event["message"].as_str().unwrap_or_default();
                match self.numbers.get(id) {
                    Some(number) => drop(self.mine().book().delivered.insert(*number)),
                    None => self.early.push(id.to_owned()),
                }
                Ok(())
            }
            Some("state") if event["state"] == "failed" => Err(Stop::Wrong(anyhow!("a message failed: {event}"))),
            Some("lagged") => {
                self.mine().book().lagged += 1;
                // What was missed is no gap of the peer's.
                self.shown_now = None;
                self.filled = self.arena.messages;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An event shows a message: the next one, once.
    fn hear(&mut self, text: &str) -> Result<(), Stop> {
        let wrong = |what: String| Err(Stop::Wrong(anyhow!(what)));
        let Some(number) = number(self.theirs().letter, text) else {
            return wrong(format!("an unknown message: {text:.40}"));
        };
        if self.theirs().book().texts.get(number).is_none_or(|is| is != text) {
            return wrong(format!("message {number} came with another text: {text:.40}"));
        }
        if number < self.shown {
            return wrong(format!("message {number} was shown after message {}", self.shown - 1));
        }
        let expected = self.shown_now;
        if expected.is_some_and(|expected| number != expected) || (expected.is_none() && number > self.filled) {
            return wrong(format!("message {number} was shown, {expected:?} or at most {} was due", self.filled));
        }
        self.shown = number + 1;
        self.shown_now = Some(self.shown);
        let mut book = self.mine().book();
        book.heard = book.heard.max(self.shown);
        Ok(())
    }

    /// Reads the history, which holds all that was ever shown, each once, in order, and nothing else.
    fn fill(&mut self, person: &mut Person) -> Result<(), Stop> {
        let all = history(person, NAMES[1 - self.side])?;
        self.compare(&all).map_err(Stop::Wrong)
    }

    fn compare(&mut self, all: &[Entry]) -> Result<(), Error> {
        let theirs: Vec<_> = all.iter().filter(|entry| !entry.mine).map(|entry| entry.text.as_str()).collect();
        in_order(&theirs, &self.theirs().book().texts, "received")?;
        let mine: Vec<_> = all.iter().filter(|entry| entry.mine).collect();
        let texts: Vec<_> = mine.iter().map(|entry| entry.text.as_str()).collect();
        in_order(&texts, &self.mine().book().texts, "written")?;
        for (number, entry) in mine.iter().enumerate() {
            self.learn(&entry.id, number);
        }
        let mut book = self.mine().book();
        if theirs.len() < book.heard {
            return Err(anyhow!("{} messages were shown, {} are in the history", book.heard, theirs.len()));
        }
        if mine.len() < book.written {
            return Err(anyhow!("{} messages were written, {} are in the history", book.written, mine.len()));
        }
        (book.heard, book.written, self.filled) = (theirs.len(), mine.len(), theirs.len());
        for (number, entry) in mine.iter().enumerate() {
            if entry.is_delivered() {
                book.delivered.insert(number);
            } else if book.delivered.contains(&number) {
                return Err(anyhow!("message {number} was shown as delivered, and now is {}", entry.state));
            }
        }
        Ok(())
    }
}

/// That `found` are the first of `expected`.
fn in_order(found: &[&str], expected: &[String], which: &str) -> Result<(), Error> {
    let at = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let at = at.or((found.len() > expected.len()).then_some(expected.len()));
    at.map_or(Ok(()), |at| Err(anyhow!("{which}: message {at} of the history is {:.40?}", found[at])))
}

/// The whole conversation, oldest first.
pub(super) fn history(person: &mut Person, with: &str) -> Result<Vec<Entry>, Error> {
    let mut all = Vec::new();
    loop {
        let before = all.first().map(|entry: &Entry| entry.id.clone());
        let mut older = page(person, with, before, PAGE)?;
        let last = older.is_empty();
        older.append(&mut all);
        all = older;
        if last {
            return Ok(all);
        }
    }
}

fn page(person: &mut Person, with: &str, before: Option<String>, limit: usize) -> Result<Vec<Entry>, Error> {
    let me = person.call("status", json!({}))?["peer"].clone();
    let mut asked = json!({"with": with, "limit": limit});
    if let Some(before) = before {
        asked["before"] = before.into();
    }
    let page = person.call("message.history", asked)?;
    let word = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = page.as_array().context("no page of history")?.iter();
    let entry = |entry: &Value| Entry {
        id: word(entry, "message"),
        mine: entry["from"] == me,
        text: word(entry, "text"),
        state: word(entry, "state"),
    };
    Ok(entries.map(entry).collect())
}
