//! docs/scripts.md, typed as it is printed: each command in the shell of whose prompt it follows, each line of what it says compared.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says with a panic what is wrong")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::neighbours::rendezvous;

const GUIDE: &str = include_str!("../../../docs/scripts.md");

/// What comes after the last line of a command's output.
const MARK: &str = "-- typed: ";

/// Each command takes a second or two; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A person's shell, in which commands are typed one after the other.
struct Shell {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Shell {
    fn open(place: &Path, rendezvous: &str) -> Self {
        let mut command = Command::new("bash");
        for variable in ["KNOTHOLE_RENDEZVOUS", "KNOTHOLE_PASSPHRASE", "KNOTHOLE_LOG", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
        let programs = Path::new(env!("CARGO_BIN_EXE_knothole")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("RENDEZVOUS", rendezvous).env("KNOTHOLE_HOME", place.join("home"));
        // A group of its own, with all that goes on behind a command that is done.
        command.current_dir(place).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("bash is installed");
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"exec 2>&1\n").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, input, lines }
    }

    /// What a command says, on standard output and standard error, and its exit code.
    fn typed(&mut self, command: &str) -> (Vec<String>, i32) {
        let quoted = command.replace('\'', "'\\''");
        writeln!(self.input, "eval '{quoted}' </dev/null; echo \"{MARK}$?\"").unwrap();
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match line.strip_prefix(MARK) {
                    Some(code) => return (said, code.parse().unwrap()),
                    None => said.push(line),
                },
                Err(why) => panic!("{command}: {why}: {said:?}"),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Whether a line is as it is printed, but for what an ellipsis stands for.
fn is_as_printed(line: &str, printed: &str) -> bool {
    let mut parts = printed.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last.is_some_and(|part| part.is_empty() || line.ends_with(part))
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<Vec<&'static str>> {
    let mut blocks = Vec::new();
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
        }
    }
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_guide_for_scripts_does_as_it_is_printed() {
    let serving = rendezvous().await;
    let place = tempfile::tempdir().unwrap();
    let mut shells = BTreeMap::new();
    for (person, other) in [("alice", "bob"), ("bob", "alice")] {
        let own = place.path().join(person);
        fs::create_dir(&own).unwrap();
        // The links go from one to the other in a place that both see.
        for name in [person, other] {
            let link = format!("{name}.link");
            fs::write(place.path().join(&link), "").unwrap();
            std::os::unix::fs::symlink(place.path().join(&link), own.join(&link)).unwrap();
        }
        let [script] = blocks("bash").try_into().unwrap();
        fs::write(own.join("answer.sh"), script.join("\n")).unwrap();
        shells.insert(person, Shell::open(&own, &serving.address().to_string()));
    }
    let mut typed = 0;
    for block in blocks("console") {
        let mut lines = block.into_iter().peekable();
        while let Some(line) = lines.next() {
            let (person, command) = line.split_once("$ ").expect("a prompt");
            let printed: Vec<_> = std::iter::from_fn(|| {
                lines.next_if(|line| !shells.keys().any(|who| line.starts_with(&format!("{who}$ "))))
            })
            .collect();
            let (said, code) = shells.get_mut(person).expect("a person").typed(command);
            let same = said.len() == printed.len()
                && said.iter().zip(&printed).all(|(line, as_in)| is_as_printed(line, as_in));
            assert!(
                same && code == 0,
                "{command}: {code}\n{}\n-- not as printed:\n{}",
                said.join("\n"),
                printed.join("\n")
            );
            typed += 1;
        }
    }
    assert!(typed > 15, "{typed}");
    for shell in shells.values_mut() {
        // The daemons say goodbye, and let go of their homes.
        shell.typed("kill $(jobs -p); wait");
    }
    drop(shells);
    serving.shutdown().await;
}

#[test]
fn an_ellipsis_stands_for_whatever_is_there() {
    for (line, printed, same) in [
        ("ready /a", "ready …", true),
        ("12:00  a: b", "…  a: b", true),
        ("{\"m\":\"x\",\"s\":1}", "{\"m\":\"…\",\"s\":1}", true),
        ("a: b", "a: c", false),
        ("a: b!", "a: b", false),
        ("x  a: b!", "…  a: b", false),
    ] {
        assert_eq!(is_as_printed(line, printed), same, "{line}");
    }
}
