//! A screen-reader pass: whole conversations in the plain mode, by the real binary, kept as they are heard in `goldens/plain.txt` and
//! `plain-zh.txt`. `UPDATE_GOLDENS=1 cargo test -p knothole --test terminal plain` keeps the new ones: read their difference.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helper: it fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::terminal_lab::{Key, PATIENCE, Town, USUAL};

/// Somebody who listens and types, through pipes: what a screen reader makes of a terminal's lines.
struct Listener {
    child: Child,
    keyboard: Option<ChildStdin>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

#[derive(Default)]
struct Heard {
    /// Lines as they came, and those that were typed, behind `> `.
    lines: Vec<String>,
    /// How many of them were waited for, or were there before what was.
    passed: usize,
    ended: bool,
}

impl Listener {
    fn start(town: &Town, who: &str, rendezvous: Option<&str>, language: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_knothole"));
        command.arg("--plain").env_clear().env("HOME", town.person(who)).env("KNOTHOLE_HOME", town.knothole(who));
        command.env("TZ", "UTC").env("LANG", language).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(rendezvous) = rendezvous {
            command.env("KNOTHOLE_RENDEZVOUS", rendezvous);
        }
        let mut child = command.spawn().unwrap();
        let keyboard = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let listening = heard.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                listening.0.lock().unwrap().lines.push(line);
                listening.1.notify_all();
            }
            listening.0.lock().unwrap().ended = true;
            listening.1.notify_all();
        });
        Self { child, keyboard, heard }
    }

    fn type_line(&mut self, line: &str) {
        let mut heard = self.heard.0.lock().unwrap();
        heard.lines.push(format!("> {line}"));
        writeln!(self.keyboard.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line with this text, behind the last that was waited for.
    #[track_caller]
    fn hear(&self, text: &str) {
        let (heard, news) = &*self.heard;
        let found = |heard: &Heard| heard.lines[heard.passed..].iter().position(|line| line.contains(text));
        let waiting = |heard: &mut Heard| found(heard).is_none() && !heard.ended;
        let (mut heard, _) = news.wait_timeout_while(heard.lock().unwrap(), PATIENCE, waiting).unwrap();
        match found(&heard) {
            Some(place) => heard.passed += place + 1,
            None => panic!("{text:?} was not heard; this was:\n{}", heard.lines.join("\n")),
        }
    }

    #[track_caller]
    fn quit(mut self) -> String {
        self.type_line("/quit");
        let (heard, news) = &*self.heard;
        let (heard, _) = news.wait_timeout_while(heard.lock().unwrap(), PATIENCE, |heard| !heard.ended).unwrap();
        assert!(heard.ended, "it did not end:\n{}", heard.lines.join("\n"));
        assert!(self.child.wait().unwrap().success());
        heard.lines.join("\n") + "\n"
    }
}

/// What differs from run to run, replaced.
fn veiled(told: &str, links: &[(&str, &str)]) -> String {
    let mut told = told.to_owned();
    for (link, placeholder) in links {
        told = told.replace(link, placeholder);
    }
    let line = |line: &str| {
        let year =
            line.split(|c: char| !c.is_ascii_digit()).any(|number| number.len() == 4 && number.starts_with("20"));
        if year && (line.contains("day, ") || line.ends_with('日')) { "DAY".to_owned() } else { way(&times(line)) }
    };
    told.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Which way it is to somebody depends on this machine's network.
fn way(line: &str) -> String {
    for online in ["online, ", "在线，"] {
        let Some((before, after)) = line.split_once(online) else { continue };
        for way in ["direct", "relay", "直连", "中继"] {
            if let Some(rest) = after.strip_prefix(way) {
                let rest = rest.strip_prefix(" (").and_then(|why| why.split_once(')')).map_or(rest, |(_, rest)| rest);
                return format!("{before}{online}WAY{rest}");
            }
        }
    }
    line.to_owned()
}

fn times(line: &str) -> String {
    let mut characters: Vec<_> = line.chars().collect();
    for start in 0..characters.len().saturating_sub(4) {
        let digit = |place: usize| characters[start + place].is_ascii_digit();
        if digit(0) && digit(1) && characters[start + 2] == ':' && digit(3) && digit(4) {
            characters.splice(start..start + 5, "HH:MM".chars());
        }
    }
    characters.into_iter().collect()
}

#[track_caller]
fn compare(told: &str, name: &str, links: &[(&str, &str)]) {
    for c in told.chars() {
        assert!(c == '\n' || !c.is_control(), "a screen reader would stumble over {c:?} in:\n{told}");
        assert!(!matches!(c, '\u{2500}'..='\u{259F}'), "{c:?} is a drawing, in:\n{told}");
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}.txt"));
    let told = veiled(told, links);
    if std::env::var("UPDATE_GOLDENS").is_ok_and(|value| value == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(path, told).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_else(|_| "nothing: UPDATE_GOLDENS=1 keeps what is heard\n".into());
    assert!(told == kept, "not what is kept in {}\n--- kept\n{kept}--- heard\n{told}---", path.display());
}

#[test]
fn a_whole_conversation_is_heard_in_the_plain_mode() {
    let town = Town::new(env!("CARGO_BIN_EXE_knothole"));
    town.identify("alice", 1);
    town.identify("bob", 2);
    let (alices, bobs) = (town.link("alice"), town.link("bob"));
    // Alice knows no rendezvous yet.
    fs::remove_file(town.knothole("alice").join("config.toml")).unwrap();
    let mut bob = Listener::start(&town, "bob", Some(&town.address()), "C.UTF-8");
    bob.hear("No contacts yet.");

    let mut alice = Listener::start(&town, "alice", None, "C.UTF-8");
    alice.hear("First, a rendezvous");
    alice.type_line("hello?");
    alice.hear("That is neither.");
    alice.type_line(&bobs);
    alice.hear("What do you call");
    alice.type_line("bob");
    alice.hear("Nothing has been said yet.");
    bob.hear("asks to be a contact");
    bob.type_line("/accept");
    bob.hear("Nothing has been said yet.");
    alice.hear("bob is online.");

    alice.type_line("hello bob");
    alice.hear("delivered: hello bob");
    bob.hear("hello bob");
    bob.type_line("hello alice");
    alice.hear("hello alice");
    alice.type_line("/reply how are you?\\");
    alice.type_line("I am fine.");
    alice.hear("delivered: how are you?…");
    bob.hear("I am fine.");
    bob.type_line("/react 👍");
    alice.hear("reacted");
    bob.type_line("שלום");
    alice.hear("שלום");
    bob.type_line("/edit shalom");
    alice.hear("edited");
    for number in 1..=9 {
        bob.type_line(&format!("number {number}"));
        alice.hear(&format!("number {number}"));
    }

    alice.type_line("/contacts");
    alice.hear("1. bob");
    alice.type_line("/go 1");
    alice.hear("number 9");
    alice.type_line("/more");
    alice.hear("End of the conversation");
    alice.type_line("/search hello");
    alice.hear("hello alice");
    alice.type_line("/choose");
    alice.hear("/choose NUMBER");
    alice.type_line("/help");
    alice.hear("All commands");
    alice.type_line("/help whois");
    alice.hear("/whois [NAME]");
    alice.type_line("/serach hello");
    alice.hear("no such command");
    bob.quit();
    alice.hear("bob is offline.");
    alice.type_line("good night");
    alice.hear("What you write is kept");
    compare(&alice.quit(), "plain", &[(&alices, "LINK-OF-ALICE"), (&bobs, "LINK-OF-BOB")]);
}

#[test]
fn the_plain_mode_speaks_chinese() {
    let town = Town::new(env!("CARGO_BIN_EXE_knothole"));
    town.introduce("alice", "bob");
    let (alices, bobs) = (town.link("alice"), town.link("bob"));
    fs::remove_file(town.knothole("alice").join("config.toml")).unwrap();
    let mut alice = Listener::start(&town, "alice", None, "zh_CN.UTF-8");
    alice.hear("首先需要会合服务器");
    alice.type_line(&town.address());
    alice.hear("还没有消息。");
    let mut bob = Listener::start(&town, "bob", Some(&town.address()), "C.UTF-8");
    bob.hear("Nothing has been said yet.");
    alice.hear("bob 上线了。");
    alice.type_line("你好");
    alice.hear("已送达：你好");
    bob.hear("alice, ");
    bob.type_line("你好，世界");
    alice.hear("你好，世界");
    alice.type_line("/search 你");
    alice.hear("你好，世界");
    alice.type_line("/contacts");
    alice.hear("1. bob");
    alice.type_line("/help");
    alice.hear("所有命令");
    bob.quit();
    alice.hear("bob 离线了。");
    let address = town.address();
    let veils = [(&*alices, "LINK-OF-ALICE"), (&*bobs, "LINK-OF-BOB"), (&*address, "RENDEZVOUS")];
    compare(&alice.quit(), "plain-zh", &veils);
}

#[test]
fn a_terminal_that_can_nothing_gets_lines_and_no_sequence() {
    let town = Town::new(env!("CARGO_BIN_EXE_knothole"));
    town.introduce("alice", "bob");
    let program = town.at("alice", &["--rendezvous", &town.address()]).with("TERM", "dumb");
    let alice = program.start(USUAL);
    alice.wait_for_text("Nothing has been said yet.");
    alice.enter("世界");
    alice.enter("/help more");
    alice.wait_for_text("tells ten older messages.");
    alice.press(Key::Ctrl('d'));
    assert_eq!(alice.wait_exit(), 0);
    assert!(alice.restored());
    assert!(!alice.written().contains(&0x1b), "{}", String::from_utf8_lossy(&alice.written()));
    assert!(town.done("alice", &["history", "bob"]).contains("世界"));
}
