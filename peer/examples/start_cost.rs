//! What a start costs with 100,000 messages in one conversation: from the start of the process to each of its answers, and the
//! memory of an engine that runs.
//!
//! `cargo build --release -p knothole --bin knothole && cargo run --release -p knothole --example start_cost [MESSAGES] [BINARY] [HOME]`
//! A home that is named is kept, and used again as it is.
#![expect(clippy::print_stdout, reason = "a measurement prints figures")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use knothole::home::Home;
use knothole::store::{Position, Store};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;

/// Contacts besides the one with whom nearly all was said.
const OTHERS: u64 = 50;
/// Messages of each of them.
const FEW: u64 = 20;
/// Messages of the busy conversation that are unread.
const UNREAD: u64 = 200;
/// Operations under way at once while the database is filled.
const UNDER_WAY: usize = 1024;
/// What a face asks at its start, of each engine in this order.
const METHODS: [&str; 3] = ["status", "contact.list", "message.history"];
/// How often each start is measured.
const REPEATED: usize = 15;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let messages: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let binary = match arguments.next() {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("../knothole"),
    };
    let directory = tempfile::tempdir()?;
    let home = arguments.next().map_or_else(|| directory.path().join("home"), PathBuf::from);
    if !home.join("knothole.db").exists() {
        fill(&home, messages).await?;
    }
    println!("{messages} messages with one contact, {FEW} with each of {OTHERS} others; best, median and worst, ms");
    for verb in [&["contacts", "--json"][..], &["history", "bob", "--limit", "50"]] {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for _ in 0..REPEATED {
            let (output, end) = run(&binary, &home, verb)?;
            first.push(output);
            last.push(end);
        }
        row(&format!("knothole {}: its output", verb.join(" ")), &mut first);
        row(&format!("knothole {}: its end", verb.join(" ")), &mut last);
    }
    let mut stored = Vec::new();
    for _ in 0..REPEATED {
        stored.push(send(&binary, &home)?);
    }
    row("knothole send --timeout 0s: its end", &mut stored);
    let mut answers = METHODS.map(|method| (method, Vec::new()));
    for _ in 0..REPEATED {
        let mut engine = Engine::start(&binary, &home)?;
        for (_, times) in &mut answers {
            engine.answer()?;
            times.push(engine.begun.elapsed());
        }
        engine.end()?;
    }
    for (method, mut times) in answers {
        row(&format!("knothole rpc: the answer to {method}"), &mut times);
    }
    memory(&binary, &home)
}

fn row(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let of = |place: Option<&Duration>| place.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    println!("{what:52} {:8.1} {:8.1} {:8.1}", of(times.first()), of(times.get(times.len() / 2)), of(times.last()));
}

fn command(binary: &Path, home: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("--home").arg(home).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// From the start of a verb to its first output, and to its end.
fn run(binary: &Path, home: &Path, verb: &[&str]) -> anyhow::Result<(Duration, Duration)> {
    let begun = Instant::now();
    let mut child = command(binary, home).args(verb).stdin(Stdio::null()).spawn()?;
    let mut output = child.stdout.take().context("it has an output")?;
    output.read_exact(&mut [0])?;
    let first = begun.elapsed();
    output.read_to_end(&mut Vec::new())?;
    anyhow::ensure!(child.wait()?.success(), "it failed");
    Ok((first, begun.elapsed()))
}

/// From the start of `send` to its end, when the message is stored and nobody waits for more.
fn send(binary: &Path, home: &Path) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let status = command(binary, home).args(["send", "contact 1", "hello", "--timeout", "0s"]).status()?;
    anyhow::ensure!(status.code() == Some(3), "{status}");
    Ok(begun.elapsed())
}

/// A process that runs `knothole rpc`, and was asked three things.
struct Engine {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    begun: Instant,
}

impl Engine {
    fn start(binary: &Path, home: &Path) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut child = command(binary, home).arg("rpc").stdin(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it has an output")?);
        let mut engine = Self { child, lines, begun };
        for method in METHODS {
            let params = if method == "message.history" { r#"{"with": "bob"}"# } else { "{}" };
            engine.ask(method, params)?;
        }
        Ok(engine)
    }

    fn ask(&mut self, method: &str, params: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("it has an input")?;
        writeln!(input, r#"{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {params}}}"#)?;
        Ok(())
    }

    /// The next answer, events passed over.
    fn answer(&mut self) -> anyhow::Result<String> {
        loop {
            let mut line = String::new();
            anyhow::ensure!(self.lines.read_line(&mut line)? > 0, "it has ended");
            anyhow::ensure!(!line.contains("\"error\""), "{line}");
            if line.contains("\"result\"") {
                return Ok(line);
            }
        }
    }

    fn end(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        anyhow::ensure!(self.child.wait()?.success(), "it failed");
        Ok(())
    }

    /// Kilobytes in memory now, at most until now, and threads.
    fn memory(&self) -> anyhow::Result<(u64, u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |field: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).context("Linux tells it")?;
            Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?, of("Threads:")?))
    }
}

fn memory(binary: &Path, home: &Path) -> anyhow::Result<()> {
    let mut engine = Engine::start(binary, home)?;
    for _ in METHODS {
        engine.answer()?;
    }
    let told = |engine: &Engine, when: &str| -> anyhow::Result<()> {
        let (now, most, threads) = engine.memory()?;
        println!("memory {when:45} {now:8} kB, at most {most} kB, {threads} threads");
        Ok(())
    };
    told(&engine, "when it has answered")?;
    std::thread::sleep(Duration::from_secs(10));
    told(&engine, "10 s later")?;
    // All of the conversation, as somebody who scrolls to its beginning; then it is searched.
    let mut before = String::new();
    for _ in 0..100 {
        engine.ask("message.history", &format!(r#"{{"with": "bob", "limit": 1000{before}}}"#))?;
        let page: serde_json::Value = serde_json::from_str(&engine.answer()?)?;
        let Some(oldest) = page["result"][0]["message"].as_str() else { break };
        before = format!(r#", "before": "{oldest}""#);
    }
    told(&engine, "after pages of 1,000 to the beginning")?;
    for search in ["the", "evening", "nothing of this", "e", "万"] {
        engine.ask("message.history", &format!(r#"{{"with": "bob", "search": "{search}"}}"#))?;
        engine.answer()?;
    }
    told(&engine, "after five searches")?;
    engine.end()
}

fn message(n: u64) -> MessageId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id[8..].copy_from_slice(&n.to_be_bytes());
    MessageId(id)
}

/// Half of Latin words, half Chinese.
fn text(n: u64) -> String {
    const WORDS: [&str; 8] = ["the", "train", "evening", "because", "window", "tomorrow", "garden", "question"];
    let mut chance = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let mut next = |bound: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % bound
    };
    (0..3 + next(10)).fold(String::new(), |mut text, _| {
        if n.is_multiple_of(2) {
            text.extend((0..2).filter_map(|_| char::from_u32(0x4E00 + u32::try_from(next(2000)).unwrap_or(0))));
        } else {
            text.push_str(WORDS[usize::try_from(next(8)).unwrap_or(0)]);
            text.push_str(&next(40).to_string());
            text.push(' ');
        }
        text
    })
}

async fn fill(path: &Path, messages: u64) -> anyhow::Result<()> {
    let home = Home::open(Some(path.to_owned()))?;
    let me = home.identity()?.public_key();
    // Nobody answers there (RFC 5737): what is measured is our own.
    let rendezvous = format!("{me}@192.0.2.1:3478");
    fs::write(path.join("config.toml"), format!("rendezvous = [\"{rendezvous}\"]\n"))?;
    let via: Vec<RendezvousAddress> = vec![rendezvous.parse()?];
    let store = Store::open_in(&home)?;
    let begun = Instant::now();
    let contact = |n: u64| PeerId::new(std::array::from_fn(|place| if place == 0 { 0x5C } else { (n % 251) as u8 }));
    let mut under_way = std::collections::VecDeque::new();
    for n in 0..=OTHERS {
        let name = if n == 0 { "bob".to_owned() } else { format!("contact {n}") };
        store.add(contact(n), Some(name), via.clone()).await?;
        let count = if n == 0 { messages } else { FEW };
        for number in 1..=count {
            let (id, position) = (message(n * 1_000_000 + number), Position { log: 9, number });
            under_way.push_back(store.receive(contact(n), position, id, text(number).into(), number));
            if under_way.len() > UNDER_WAY
                && let Some(outcome) = under_way.pop_front()
            {
                outcome.await?;
            }
        }
        for outcome in under_way.drain(..) {
            outcome.await?;
        }
        let read = if n == 0 { count.saturating_sub(UNREAD) } else { count };
        if read > 0 {
            store.mark_read(contact(n), message(n * 1_000_000 + read)).await?;
        }
    }
    store.close().await?;
    println!("filled in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}
