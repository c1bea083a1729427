//! Two peers behind NATs write each other numbered messages while their lines lose packets, they and their rendezvous are killed,
//! their disks fill up, and their addresses change.
//!
//! What must hold: each message arrives once and in order, in the history and in what a face is shown that reads the history
//! when it starts; what is refused is not stored; and whatever was ever shown as delivered is on the other side's disk,
//! which is looked at, as it is, at every kill. The plan of what happens follows from the seed; when exactly real
//! processes do their part does not.

mod face;
mod ledger;
mod plan;
mod witness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use self::face::Face;
use self::ledger::Ledger;
use self::plan::{Blow, Moment, Victim, plan};
use super::meeting::move_into;
use super::upheaval::meet;
use super::{Setting, Site};
use crate::network::Network;
use crate::small_disk::SmallDisk;

/// Both sides, and what each calls the other.
const NAMES: [&str; 2] = ["alice", "bob"];
/// More than the longest back-off, which is five minutes, would mean that something is stuck for good.
const STANDSTILL: Duration = Duration::from_secs(330);
/// How often the director looks.
const TURN: Duration = Duration::from_millis(10);
/// Attempts that a full disk refuses before it is freed.
const REFUSALS: usize = 5;
/// A full disk refuses within this, with what is written then.
const FILLING: Duration = Duration::from_secs(120);
/// A disk is full for this long at least, so that what comes in meets it too.
const FULL: Duration = Duration::from_secs(3);

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Torture {
    /// Everything that is done follows from it.
    pub seed: u64,
    /// Messages that each of the two writes.
    pub messages: usize,
    /// How often one of the three processes is killed; 4 at least, so that each of them is.
    pub kills: usize,
    /// The share of packets lost on the line of either site, in each direction.
    pub loss: f64,
    /// Bytes of each home's disk.
    pub disk: u64,
}

/// What came of it. Pairs are Alice's and Bob's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tortured {
    /// As it was asked for.
    pub seed: u64,
    /// Messages that each of the two wrote.
    pub messages: usize,
    /// The share of packets lost on either line, each way.
    pub loss: f64,
    /// Kills of Alice, Bob and the rendezvous.
    pub kills: [usize; 3],
    /// Changes of address, of whichever side.
    pub moves: usize,
    /// Messages that a full disk refused, and that were written again later.
    pub refused: [usize; 2],
    /// In what words, the first time.
    pub refusal: String,
    /// Starts that failed while the disk was full.
    pub failed_starts: [usize; 2],
    /// Messages that arrived.
    pub heard: [usize; 2],
    /// Messages that were shown as delivered.
    pub delivered: [usize; 2],
    /// Events that faces missed, and filled from the history.
    pub lagged: [usize; 2],
    /// What was done and when it was over, in seconds.
    pub blows: Vec<(f64, String)>,
    /// Looks at both disks.
    pub examinations: usize,
    /// Seconds from the first message to the last acknowledgement.
    pub seconds: f64,
    /// The longest time without any progress, in seconds.
    pub standstill: f64,
    /// What went wrong; nothing if all held.
    pub failure: Option<String>,
}

/// What the director and both faces share.
struct Arena<'a, 'lab> {
    setting: &'a Setting<'lab>,
    ledgers: [Ledger; 2],
    messages: usize,
    /// Messages that are under way at most, so that kills fall among them.
    window: usize,
    over: AtomicBool,
    stopped: Mutex<Option<String>>,
}

impl Arena<'_, '_> {
    /// All is done to them, and all is said and heard.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Stops everybody. The first reason counts.
    fn stop(&self, why: String) {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    fn written(&self) -> usize {
        self.ledgers.iter().map(|ledger| ledger.book().written).sum()
    }

    fn is_complete(&self) -> bool {
        self.ledgers.iter().all(|ledger| {
            let book = ledger.book();
            [book.written, book.delivered.len(), book.heard] == [self.messages; 3]
        })
    }
}

impl Torture {
    /// Tries it. Whatever goes wrong is part of the record.
    pub fn inflict(self, setting: &Setting<'_>) -> Tortured {
        let Self { seed, messages, loss, .. } = self;
        let mut tortured = Tortured { seed, messages, loss, ..Tortured::default() };
        if let Err(error) = self.hold(setting, &mut tortured) {
            tortured.failure = Some(format!("{error:#}"));
        }
        tortured
    }

    fn hold(self, setting: &Setting<'_>, tortured: &mut Tortured) -> Result<()> {
        ensure!(self.kills >= 4, "with fewer than 4 kills somebody is spared");
        let sites = [setting.site(Network::Apdf)?, setting.site(Network::Apdf)?];
        let disks = [SmallDisk::new(&setting.home(), self.disk)?, SmallDisk::new(&setting.home(), self.disk)?];
        {
            let mut persons = move_into(setting, &sites, [disks[0].path(), disks[1].path()])?;
            let [alice, bob] = &mut persons;
            meet(alice, bob)?;
        }
        for site in &sites {
            setting.lab().set_loss(site, self.loss);
        }
        let arena = Arena {
            setting,
            ledgers: [Ledger::new('a'), Ledger::new('b')],
            messages: self.messages,
            window: (self.messages / 20).clamp(10, 200),
            over: AtomicBool::new(false),
            stopped: Mutex::default(),
        };
        let begin = Instant::now();
        thread::scope(|scope| {
            for side in [0, 1] {
                let face = Face::new(&arena, side, &sites[side], &disks[side]);
                scope.spawn(move || face.run());
            }
            let mut director = Director { arena: &arena, sites: &sites, disks: &disks, begin, tortured };
            if let Err(error) = director.direct(&plan(self.seed, 2 * self.messages, self.kills)) {
                arena.stop(format!("{error:#}"));
            }
        });
        tortured.seconds = tenths(begin.elapsed());
        let books = [0, 1].map(|side: usize| arena.ledgers[side].book().clone());
        let count = |of: fn(&ledger::Book) -> usize| [of(&books[0]), of(&books[1])];
        tortured.refused = count(|book| book.refused);
        tortured.failed_starts = count(|book| book.failed_starts);
        tortured.heard = count(|book| book.heard);
        tortured.delivered = count(|book| book.delivered.len());
        tortured.lagged = count(|book| book.lagged);
        tortured.refusal = books.into_iter().find_map(|book| book.refusal).unwrap_or_default();
        let stopped = arena.stopped.into_inner().unwrap_or_else(PoisonError::into_inner);
        stopped.map_or(Ok(()), |why| bail!(why))
    }
}

/// Seconds, to a tenth.
fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

struct Director<'a, 'lab> {
    arena: &'a Arena<'a, 'lab>,
    sites: &'a [Site; 2],
    disks: &'a [SmallDisk; 2],
    begin: Instant,
    tortured: &'a mut Tortured,
}

impl Director<'_, '_> {
    fn direct(&mut self, plan: &[Moment]) -> Result<()> {
        let arena = self.arena;
        for moment in plan {
            self.wait_until(|| arena.written() >= moment.written)?;
            thread::sleep(moment.delay);
            self.strike(moment.blow)?;
            self.tortured.blows.push((tenths(self.begin.elapsed()), moment.blow.to_string()));
        }
        self.wait_until(|| arena.is_complete())?;
        witness::examine(self.arena, self.disks, None)?;
        self.tortured.examinations += 1;
        self.arena.over.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn strike(&mut self, blow: Blow) -> Result<()> {
        match blow {
            Blow::Kill(Victim::Peer(side)) => self.kill(side)?,
            Blow::Kill(Victim::Rendezvous) => {
                self.arena.setting.restart_rendezvous()?;
                witness::examine(self.arena, self.disks, None)?;
                self.tortured.examinations += 1;
                self.tortured.kills[2] += 1;
            }
            Blow::Move(sides) => {
                for side in sides {
                    self.arena.setting.lab().change_address(&self.sites[*side])?;
                }
                self.tortured.moves += 1;
            }
            Blow::FullDisk { side, killed } => self.fill_disk(side, killed)?,
        }
        Ok(())
    }

    fn kill(&mut self, side: usize) -> Result<()> {
        witness::examine(self.arena, self.disks, Some(side))?;
        self.tortured.examinations += 1;
        self.tortured.kills[side] += 1;
        Ok(())
    }

    fn fill_disk(&mut self, side: usize, killed: bool) -> Result<()> {
        let ledger = &self.arena.ledgers[side];
        let before = ledger.book().refused;
        ledger.full.store(true, Ordering::Relaxed);
        self.disks[side].fill()?;
        let begin = Instant::now();
        let messages = self.arena.messages;
        let outcome = self.wait_until(|| {
            let book = ledger.book();
            book.refused >= before + REFUSALS || book.written == messages || begin.elapsed() > FILLING
        });
        outcome?;
        ensure!(ledger.book().refused > before, "{}'s disk is full, and nothing was refused", NAMES[side]);
        if killed {
            self.kill(side)?;
        }
        thread::sleep(FULL);
        self.disks[side].free()?;
        ledger.full.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Waits, as long as anything moves.
    fn wait_until(&mut self, done: impl Fn() -> bool) -> Result<()> {
        let arena = self.arena;
        let progress = || arena.ledgers.each_ref().map(Ledger::progress);
        let (mut last, mut since) = (progress(), Instant::now());
        while !done() {
            ensure!(!self.arena.is_stopped(), "stopped");
            thread::sleep(TURN);
            let now = progress();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            self.tortured.standstill = self.tortured.standstill.max(tenths(since.elapsed()));
            if since.elapsed() > STANDSTILL {
                let books = [0, 1].map(|side: usize| {
                    let book = self.arena.ledgers[side].book();
                    format!(
                        "{} wrote {}, delivered {}, heard {}",
                        NAMES[side],
                        book.written,
                        book.delivered.len(),
                        book.heard
                    )
                });
                bail!("nothing moves: {}", books.join("; "));
            }
        }
        Ok(())
    }
}
