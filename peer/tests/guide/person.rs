//! Somebody at a terminal in which a shell runs, as the guide's reader is: with a home directory in which nothing is yet.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use super::masks::Masks;
use crate::terminal_lab::{Key, Program, Size, Terminal, USUAL};

pub(super) struct Person {
    name: String,
    terminal: Terminal,
    size: Size,
    /// How much had been written when they typed last.
    mark: usize,
    /// What the command that they typed last is to print, in all; none if something else was typed since.
    printed: Option<Vec<String>>,
}

impl Person {
    pub(super) fn new(name: &str, directory: &Path, programs: &Path) -> Self {
        let home = directory.join(name);
        fs::create_dir(&home).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let shell = Program::new("bash", &home).arguments(["--norc", "--noprofile", "--noediting"]);
        let shell = shell.with("PATH", path).with("PS1", format!("{name}$ ")).with("LC_ALL", "");
        // No day ends while the guide is done: it is noon here.
        let hours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600 % 24;
        let shell = shell.with("TZ", format!("UTC{:+}", i64::try_from(hours).unwrap() - 12));
        let terminal = shell.start(USUAL);
        Self { name: name.to_owned(), terminal, size: USUAL, mark: 0, printed: Some(vec![]) }
    }

    /// Types a line: a command as soon as the shell waits for one, or what a program reads. Then what is printed must come.
    pub(super) fn enter(&mut self, prompt: char, text: &str, printed: &[&str], masks: &mut Masks, at: &str) {
        if prompt == '$' {
            self.finish();
        }
        self.mark = self.terminal.written().len();
        self.terminal.enter(text);
        let wanted = printed.iter().map(|line| masks.known_in(line));
        let wanted: Vec<String> = wanted.collect();
        let mut caught = vec![];
        let mark = self.mark;
        let seen = self.terminal.patiently_written(|written| {
            let said = said(&written[mark..]);
            // The first line is the echo.
            let lines: Vec<_> = said.split_inclusive('\n').skip(1).take(wanted.len()).collect();
            caught.clear();
            lines.len() == wanted.len()
                && lines.iter().zip(&wanted).all(|(line, wanted)| {
                    line.strip_suffix('\n')
                        .and_then(|line| matched(line, wanted))
                        .map(|found| caught.extend(found))
                        .is_some()
                })
        });
        if let Err(instead) = seen {
            let said = said(&self.terminal.written()[mark..]);
            panic!("{at}: {text}: not printed:\n{}\n--- but:\n{said}\n--- {instead}", wanted.join("\n"));
        }
        for (name, value) in caught {
            masks.learn(&name, &value);
        }
        // With what was found in it.
        self.printed = (prompt == '$').then(|| printed.iter().map(|line| masks.known_in(line)).collect());
    }

    /// Waits until the shell waits for a command; the last one has printed what it was to print and no more, unless something was
    /// typed into it.
    pub(super) fn finish(&mut self) {
        let prompt = format!("{}$ ", self.name);
        let mark = self.mark;
        let done = self.terminal.patiently_written(|written| {
            let said = said(&written[mark..]);
            said.ends_with(&prompt)
        });
        let said = said(&self.terminal.written()[mark..]);
        assert!(done.is_ok(), "{}'s shell does not wait for a command:\n{said}", self.name);
        if let Some(printed) = self.printed.take() {
            let lines: Vec<_> = said.lines().skip(usize::from(mark > 0)).filter(|line| *line != prompt).collect();
            let same = lines.len() == printed.len()
                && lines.iter().zip(&printed).all(|(line, as_in)| matched(line, as_in).is_some());
            assert!(same, "{}: not as printed:\n{}\n--- but:\n{}", self.name, printed.join("\n"), lines.join("\n"));
        }
    }

    /// Presses keys: `hello [Enter]`. What follows an Esc is pressed when something came of it, or it would be a key with Alt.
    pub(super) fn press(&mut self, keys: &str, at: &str) {
        if self.printed.take().is_some() && keys != "[Ctrl-C]" {
            // Nobody types into what is not there yet.
            let there = self.terminal.patiently(|screen| screen.is_alternate() && screen.lines().concat() != "");
            there.unwrap_or_else(|instead| panic!("{at}: no interface: {instead}"));
        }
        self.mark = self.terminal.written().len();
        let mut rest = keys;
        while !rest.is_empty() {
            if let Some((name, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let bytes = bytes(name).unwrap_or_else(|| panic!("{at}: no such key: [{name}]"));
                let before = self.terminal.written().len();
                self.terminal.type_text(&bytes);
                rest = behind.strip_prefix(' ').unwrap_or(behind);
                if name == "Esc" {
                    let answered = self.terminal.patiently_written(|written| written.len() > before);
                    answered.unwrap_or_else(|instead| panic!("{at}: [Esc] did nothing: {instead}"));
                }
                continue;
            }
            let end = rest.find(" [").unwrap_or(rest.len());
            self.terminal.type_text(&rest[..end]);
            rest = rest[end..].trim_start();
        }
    }

    pub(super) fn resize(&mut self, size: Size) {
        if self.size != size {
            self.size = size;
            self.terminal.resize(size);
        }
    }

    /// Waits until the screen is as pictured.
    pub(super) fn see(&self, picture: &[&str], masks: &mut Masks, at: &str) {
        let name = &self.name;
        let seen = self.terminal.patiently(|screen| is_as_pictured(&masks.picture(screen, name), picture));
        if seen.is_err() {
            let instead = self.terminal.look(|screen| masks.picture(screen, name));
            panic!("{at}: {name}'s screen is not\n{}\n--- but\n{}\n---", picture.join("\n"), instead.join("\n"));
        }
    }

    /// Waits until these rows stand together on the screen.
    pub(super) fn see_rows(&mut self, part: &[&str], masks: &mut Masks, at: &str) {
        // What is seen may be a question of a command, which is answered.
        self.printed = None;
        let name = &self.name;
        let seen = self.terminal.patiently(|screen| {
            let rows = masks.rows(screen, name);
            rows.windows(part.len())
                .any(|rows| rows.iter().zip(part).all(|(row, wanted)| matched(row, wanted).is_some()))
        });
        if seen.is_err() {
            let instead = self.terminal.look(|screen| masks.picture(screen, name));
            panic!("{at}: {name} does not see\n{}\n--- but\n{}\n---", part.join("\n"), instead.join("\n"));
        }
    }

    /// What is seen once nothing comes any more, nor is said of what was done before; the picture that there is, if it is that.
    pub(super) fn picture(&self, before: &[&str], masks: &mut Masks) -> Vec<String> {
        for _ in 0..20 {
            self.terminal.settle();
            let seen = self.terminal.look(|screen| masks.picture(screen, &self.name));
            if is_as_pictured(&seen, before) {
                return before.iter().map(|row| (*row).to_owned()).collect();
            }
            let last = self.terminal.screen().pop().unwrap_or_default();
            if last.is_empty() || last.contains("F1") || last.contains("Esc") {
                break;
            }
        }
        self.terminal.settle();
        self.terminal.look(|screen| masks.picture(screen, &self.name))
    }
}

impl Drop for Person {
    /// A shell that is hung up on passes that on to all that it has started.
    fn drop(&mut self) {
        self.terminal.signal(Signal::SIGHUP);
        if !thread::panicking() {
            let _ = self.terminal.patiently(|_| false);
        }
    }
}

/// Whether what is seen is what is pictured. In the last row something may still be said of what was done before.
fn is_as_pictured(rows: &[String], picture: &[&str]) -> bool {
    let usual = ["F1 help", "F1 帮助", "Esc closes"];
    let is_status = picture.last().is_some_and(|last| usual.iter().any(|usual| last.ends_with(usual)));
    let above = is_status && rows.len() == picture.len() && rows[..rows.len() - 1] == picture[..picture.len() - 1];
    above || rows == picture
}

/// What the keys of a terminal send that are no characters.
fn bytes(name: &str) -> Option<String> {
    let key = match name {
        "Enter" => Key::Enter,
        "Tab" => Key::Tab,
        "Esc" => Key::Escape,
        "Backspace" => Key::Backspace,
        "↑" => Key::Up,
        "↓" => Key::Down,
        "PageUp" => Key::PageUp,
        "PageDown" => Key::PageDown,
        "F1" => return Some("\x1bOP".into()),
        "F2" => return Some("\x1bOQ".into()),
        "Alt-Enter" => Key::Alt('\r'),
        "Ctrl-Home" => return Some("\x1b[1;5H".into()),
        "Ctrl-End" => return Some("\x1b[1;5F".into()),
        "Alt-↑" => return Some("\x1b[1;3A".into()),
        "Alt-↓" => return Some("\x1b[1;3B".into()),
        _ => {
            let (with, letter) = name.split_once('-')?;
            let letter = letter.parse::<char>().ok()?.to_ascii_lowercase();
            match with {
                "Ctrl" => Key::Ctrl(letter),
                "Alt" => Key::Alt(letter),
                _ => return None,
            }
        }
    };
    String::from_utf8(key.bytes()).ok()
}

/// What was written as lines, without what moves or colours.
fn said(written: &[u8]) -> String {
    let written = String::from_utf8_lossy(written);
    let mut parts = written.split('\x1b');
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let behind = match part.as_bytes().first() {
            Some(b'[') => part.find(|c: char| ('\x40'..='\x7e').contains(&c) && c != '[').map(|end| &part[end + 1..]),
            Some(b']') => part.find('\x07').map(|end| &part[end + 1..]),
            _ => part.get(1..),
        };
        said.push_str(behind.unwrap_or_default());
    }
    said.replace('\r', "")
}

/// Whether a line is as it is printed, where `…` stands for anything and `<something>` for a word, which is returned under its name.
fn matched(line: &str, printed: &str) -> Option<Vec<(String, String)>> {
    // What is caught has a name of several words; `<key>` is printed so.
    let caught = |at: usize| printed[at..].split('>').next().is_some_and(|name| name.contains(' '));
    let special = |(at, c): (usize, char)| (c == '…' || c == '<' && caught(at)).then_some(at);
    let end = printed.char_indices().find_map(special).unwrap_or(printed.len());
    let rest = line.strip_prefix(&printed[..end])?;
    let behind = &printed[end..];
    if let Some(behind) = behind.strip_prefix('…') {
        let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        return ends.into_iter().find_map(|at| matched(&rest[at..], behind));
    }
    if let Some((name, behind)) = behind.strip_prefix('<').and_then(|behind| behind.split_once('>')) {
        let word = rest.split(' ').next().filter(|word| !word.is_empty())?;
        let mut found = matched(&rest[word.len()..], behind)?;
        found.push((name.to_owned(), word.to_owned()));
        return Some(found);
    }
    (rest.is_empty() && behind.is_empty()).then(Vec::new)
}

#[test]
fn a_line_is_as_printed_but_for_what_stands_for_something() {
    for (line, printed, found) in [
        ("ready k@h:1", "ready <the address>", Some(vec![("the address".to_owned(), "k@h:1".to_owned())])),
        ("12:00  a: b", "…  a: b", Some(vec![])),
        ("<key>@<host>", "<key>@<host>", Some(vec![])),
        ("a: b!", "a: b", None),
        ("a: b", "a: c", None),
    ] {
        assert_eq!(matched(line, printed), found, "{line}");
    }
    assert_eq!(said(b"\x1b[1;31mred\x1b[0m\r\nand \x1b]0;title\x07on"), "red\nand on");
}
