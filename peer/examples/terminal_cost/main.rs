//! What the terminal interface costs with a long conversation: from the start to the first frame, from a key to the frame that it
//! causes, and in memory.
//!
//! `cargo build --release -p knothole --bin knothole && cargo run --release -p knothole --example terminal_cost [MESSAGES [PRESSES]]`
//! (100,000, and 500 of each kind; Linux: it reads /proc). The binary runs in a pseudo-terminal of 120×40 against a rendezvous in this
//! process, with a home that this process fills. Time ends when the output has come after which the terminal shows what the key was to
//! bring about and the cursor is back in its place, so the pseudo-terminal and the reader are in every figure; what they
//! cost alone is measured in the same run, with a program that does nothing but echo.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints figures, and fails loudly")]

#[path = "../../tests/terminal_lab/mod.rs"]
mod terminal_lab;

mod face;
mod figures;
mod filling;
mod friend;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use knothole::home::Home;
use tokio::runtime::Runtime;

use face::Face;
use figures::{Times, heading};
use friend::Friend;
use terminal_lab::{Key, LARGE, Program, Terminal, Town};

/// Starts, all with a warm cache but for what one start more has warmed before.
const STARTS: usize = 20;

/// Between two messages of the friend.
const PACE: Duration = Duration::from_millis(50);

fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse());
    let messages: u64 = numbers.next().unwrap_or(Ok(100_000))?;
    let presses = usize::try_from(numbers.next().unwrap_or(Ok(500))?)?;
    let program = program()?;
    let town = Town::new(&program);
    let runtime = Runtime::new()?;
    let (alice, bob) = (town.knothole("alice"), town.knothole("bob"));
    let friend = Home::open(Some(bob.clone()))?.identity()?.public_key();
    runtime.block_on(filling::fill(&alice, friend, &town.address().parse()?, messages))?;
    let me = Home::open(Some(alice))?.identity()?.public_key();
    let friend = runtime.block_on(Friend::start(&bob, me, town.address().parse()?))?;

    println!("{}, 120×40, a conversation of {messages} messages\n", machine()?);
    starts(&town, messages)?;
    println!("\n{}", heading("milliseconds from a key to its frame"));
    println!("{}", echoed(&town, presses).line("a program that echoes"));
    let face = Face::start(&town, messages);
    face.wait_for_friend();
    measure(&face, presses);
    let stop = friend.write_every(&runtime, PACE);
    println!("the same while 20 messages a second arrive");
    measure(&face, presses);
    stop();
    println!("\nresident memory after that: {}", face.memory()?);
    face.leave();
    runtime.block_on(friend.stop());
    Ok(())
}

/// The binary beside this example's own.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().and_then(|examples| examples.parent()).context("a directory")?.join("knothole");
    ensure!(path.exists(), "{} is missing: cargo build --release -p knothole --bin knothole", path.display());
    Ok(path)
}

/// What all figures depend on.
fn machine() -> anyhow::Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism()?;
    let day = jiff::Zoned::now().strftime("%F").to_string();
    Ok(format!("{cores} cores of {}, {day}", model.trim_start_matches(|c: char| c == ':' || c.is_whitespace())))
}

/// From the start of the process, to what can be seen and to what can be done.
fn starts(town: &Town, messages: u64) -> anyhow::Result<()> {
    let (mut shown, mut usable, mut line) = (Times::default(), Times::default(), Times::default());
    for n in 0..=STARTS {
        let begun = Instant::now();
        let face = Face::start(town, messages);
        let first = face.wait_for_newest();
        face.terminal.press(Key::Char('x'));
        let echoed = face.wait_for_typed("x");
        face.clear();
        face.leave();
        let begun_line = Instant::now();
        let chat = town.at("alice", &["--rendezvous", &town.address(), "chat", "bob"]).start(LARGE);
        let ready = chat.wait_for_text(&filling::last("bob"));
        chat.press(Key::Ctrl('d'));
        ensure!(chat.wait_exit() == 0, "it ends in peace");
        // The first has found nothing in the cache.
        if n > 0 {
            shown.push(first - begun);
            usable.push(echoed - begun);
            line.push(ready - begun_line);
        }
    }
    println!("{}", heading("milliseconds from the start"));
    println!("{}", shown.line("newest message and composer are shown"));
    println!("{}", usable.line("a key, pressed then, is echoed"));
    println!("{}", line.line("line mode (`chat`) shows the newest message"));
    Ok(())
}

/// The pseudo-terminal, the reader and another process, without what is measured.
fn echoed(town: &Town, presses: usize) -> Times {
    let echo =
        Program::new("/bin/sh", &town.person("nobody")).arguments(["-c", "stty raw -echo; echo ready; exec cat"]);
    let echo: Terminal = echo.start(LARGE);
    echo.wait_for_text("ready");
    let mut times = Times::default();
    for _ in 0..presses {
        let before = echo.look(|screen| screen.cursor());
        let pressed = echo.press(Key::Char('x'));
        times.push(echo.wait_for("the echo", |screen| screen.cursor() != before) - pressed);
    }
    times
}

fn measure(face: &Face, presses: usize) {
    let tell = |what: &str, times: &Times| println!("{}", times.line(what));
    tell("typing", &face.typing(presses));
    tell("PageUp", &face.paging(presses));
    tell("another conversation, its messages shown", &face.switching(presses));
    let (letters, hits) = face.searching(presses);
    tell("typing a search", &letters);
    tell("the last letter of a search, its hit shown", &hits);
}
