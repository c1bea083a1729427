//! What the store costs with a million messages, plain and encrypted side by side: finding, opening, writing and receiving.
//!
//! `cargo run --release -p knothole --example store_cost [MESSAGES] [DIRECTORY]` (a million, and the system's directory for
//! temporary files; where that is memory, filling is faster and no commit waits for a disk.) Half of the messages are Chinese, half are of Latin
//! words; 500 contacts have them, and one of those a fifth of all.
#![expect(clippy::print_stdout, reason = "a measurement prints figures")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use knothole::home::Home;
use knothole::passphrase;
use knothole::store::{Position, Store};
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;

const CONTACTS: u64 = 500;
/// Operations under way at once while the database is filled.
const UNDER_WAY: usize = 1024;
/// Conversations that are opened and searched.
const SAMPLE: u64 = 100;
/// Messages that are written and received, one after the other.
const WRITTEN: u64 = 300;

const RARE: &str = "Rumpelstiltskin";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let messages: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let place = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(place)?;

    let plain = Home::open(Some(directory.path().join("plain")))?;
    plain.identity()?;
    let begun = Instant::now();
    fill(&plain, messages).await?;
    println!("{messages} messages of {CONTACTS} contacts, filled in {:.0} s", begun.elapsed().as_secs_f64());

    let mut sealed = Home::open(Some(directory.path().join("sealed")))?;
    for file in ["identity", "knothole.db"] {
        std::fs::copy(plain.path().join(file), sealed.path().join(file))?;
    }
    let lock = sealed.engine_lock()?.context("nobody else has it")?;
    let begun = Instant::now();
    passphrase::set(&mut sealed, &lock, "a measurement")?;
    println!("encrypted in {:.1} s", begun.elapsed().as_secs_f64());

    println!("{:44} {:>12} {:>12}   {:>12} {:>12}", "median and worst, ms", "plain", "", "encrypted", "");
    let plain = measured(&plain, "knothole.db", messages).await?;
    let sealed = measured(&sealed, "knothole.sealed", messages).await?;
    for ((what, mut plain), (_, mut encrypted)) in plain.into_iter().zip(sealed) {
        let (plain, encrypted) = (summary(&mut plain), summary(&mut encrypted));
        println!("{what:44} {:12.2} {:12.2}   {:12.2} {:12.2}", plain.0, plain.1, encrypted.0, encrypted.1);
    }
    Ok(())
}

/// Median and worst, in milliseconds.
fn summary(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let of = |place: Option<&Duration>| place.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    (of(times.get(times.len() / 2)), of(times.last()))
}

fn contact(n: u64) -> PeerId {
    let mut id = [0x5C; 32];
    id[..8].copy_from_slice(&n.to_be_bytes());
    PeerId::new(id)
}

fn message(n: u64) -> MessageId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id[8..].copy_from_slice(&n.to_be_bytes());
    MessageId(id)
}

/// Numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Small numbers far more often than large ones, as words and characters are used.
    fn common(&mut self, bound: u64) -> u64 {
        let first = self.below(bound) + 1;
        self.below(first)
    }
}

const WORDS: [&str; 24] = [
    "the", "and", "you", "will", "train", "dinner", "tomorrow", "letter", "garden", "window", "because", "quick",
    "market", "bridge", "holiday", "picture", "kitchen", "station", "weather", "evening", "question", "morning",
    "mountain", "birthday",
];

fn text(chance: &mut Chance, n: u64) -> String {
    if n % 100_003 == 77 {
        return format!("they say that {RARE} is his name");
    }
    let mut text = String::new();
    if n.is_multiple_of(2) {
        for _ in 0..5 + chance.below(25) {
            let place = u32::try_from(chance.common(3000)).unwrap_or(0);
            text.extend(char::from_u32(0x4E00 + place));
        }
    } else {
        for _ in 0..3 + chance.below(12) {
            let place = usize::try_from(chance.common(24 * 40)).unwrap_or(0);
            text.push_str(WORDS[place % 24]);
            if place >= 24 {
                text.push_str(&(place / 24).to_string());
            }
            text.push(' ');
        }
    }
    text
}

async fn fill(home: &Home, messages: u64) -> anyhow::Result<()> {
    let store = Store::open_in(home)?;
    for n in 0..CONTACTS {
        store.add(contact(n), Some(format!("contact {n}")), vec![]).await?;
    }
    let mut chance = Chance(1);
    let mut numbers = vec![0; usize::try_from(CONTACTS)?];
    let (mut mine, mut theirs) = (VecDeque::new(), VecDeque::new());
    for n in 0..messages {
        let whom = if chance.below(5) == 0 { 0 } else { chance.below(CONTACTS) };
        let text = text(&mut chance, n).into();
        if n % 3 == 0 {
            mine.push_back(store.compose(contact(whom), message(n), text, n));
        } else {
            let number = &mut numbers[usize::try_from(whom)?];
            *number += 1;
            let position = Position { log: 9, number: *number };
            theirs.push_back(store.receive(contact(whom), position, message(n), text, n));
        }
        while mine.len() + theirs.len() > UNDER_WAY {
            if let Some(outcome) = mine.pop_front() {
                outcome.await?;
            }
            if let Some(outcome) = theirs.pop_front() {
                outcome.await?;
            }
        }
    }
    for outcome in mine {
        outcome.await?;
    }
    for outcome in theirs {
        outcome.await?;
    }
    store.close().await?;
    Ok(())
}

type Figures = Vec<(&'static str, Vec<Duration>)>;

async fn measured(home: &Home, file: &str, messages: u64) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let begun = Instant::now();
    let store = Store::open_in(home)?;
    figures.push(("open the database", vec![begun.elapsed()]));
    figures.push(("the busiest conversation, first page", opened(&store, 0..1).await?));
    figures.push(("a conversation, newest page", opened(&store, 1..=SAMPLE).await?));
    for (what, search) in [
        ("search: three characters, common", "the"),
        ("search: two of Chinese, common", "一丁"),
        ("search: two of Chinese, seldom", "勰厱"),
        ("search: one of Chinese", "万"),
        ("search: a word, common", "dinner"),
        ("search: a word, rare", RARE),
        ("search: absent", "nobody says this"),
        ("search: two letters, absent", "qz"),
        ("search: one letter", "e"),
    ] {
        figures.push((what, searched(&store, search).await?));
    }
    let (mut composed, mut received) = (Vec::new(), Vec::new());
    let mut chance = Chance(2);
    for n in 0..WRITTEN {
        let (whom, id) = (contact(1 + n % SAMPLE), message(messages + n));
        let text = text(&mut chance, n).into();
        let begun = Instant::now();
        store.compose(whom, id, text, n).await?;
        composed.push(begun.elapsed());
    }
    for n in 0..WRITTEN {
        let (whom, id) = (contact(1 + n % SAMPLE), message(2 * messages + n));
        let position = Position { log: 10, number: 1 + n / SAMPLE };
        let text = text(&mut chance, n).into();
        let begun = Instant::now();
        let receipt = store.receive(whom, position, id, text, n).await?;
        received.push(begun.elapsed());
        anyhow::ensure!(receipt.fresh, "it is new");
    }
    figures.push(("write a message, committed", composed));
    figures.push(("receive a message, committed", received));
    store.close().await?;
    println!("{file}: {:.0} MB", size(&home.path().join(file))? / 1e6);
    Ok(figures)
}

fn size(path: &Path) -> anyhow::Result<f64> {
    let length = u32::try_from(std::fs::metadata(path)?.len() / 1000)?;
    Ok(f64::from(length) * 1000.0)
}

async fn opened(store: &Store, which: impl Iterator<Item = u64>) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in which {
        let begun = Instant::now();
        store.conversation(contact(n)).await?;
        let page = store.history(contact(n), None, None, 50).await?;
        times.push(begun.elapsed());
        anyhow::ensure!(!page.is_empty(), "there is something to show");
    }
    Ok(times)
}

/// In the busiest conversation, and in others.
async fn searched(store: &Store, search: &str) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..=SAMPLE {
        let begun = Instant::now();
        store.history(contact(n), Some(search.to_owned()), None, 50).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
