//! What is begun, when the process is killed (SIGKILL) that keeps it.

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{fs, io};

use serde_json::{Value, json};

use crate::cli::{BOB, RENDEZVOUS, command, done, home};

const PASSPHRASE: &str = "seven wet squirrels";
const BEGUN: &str = "what nobody else is to read yet";

/// `knothole rpc`, in a home that may be under the passphrase.
struct Engine {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Engine {
    fn start(home: &Path) -> Self {
        let mut child = unlocked(home, &["rpc"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The result of a method, events passed over.
    fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.child.stdin.as_ref().unwrap(), "{request}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "an answer to {method}");
            let mut answer: Value = serde_json::from_str(&line).unwrap();
            if answer.get("id").is_some() {
                assert_eq!(answer.get("error"), None, "{method}");
                return answer["result"].take();
            }
        }
    }

    fn draft(&mut self) -> Value {
        self.call("contact.list", json!({}))[0]["draft"].take()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn unlocked(home: &Path, arguments: &[&str]) -> Command {
    let mut command = command(home, arguments);
    command.env("KNOTHOLE_PASSPHRASE", PASSPHRASE);
    command
}

/// Whether these bytes are in any file of the home.
fn lies_open(home: &Path, text: &str) -> bool {
    let holds = |file: io::Result<fs::DirEntry>| {
        let file = file.unwrap();
        file.file_type().unwrap().is_file()
            && fs::read(file.path()).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
    };
    fs::read_dir(home).unwrap().any(holds)
}

#[test]
fn a_draft_survives_a_kill_and_the_message_made_of_it_leaves_none() {
    let home = home();
    done(home.path(), &["--rendezvous", RENDEZVOUS, "add", BOB, "--name", "bob"]);
    let mut engine = Engine::start(home.path());
    engine.call("draft.set", json!({"with": "bob", "text": BEGUN}));
    engine.kill();
    let mut engine = Engine::start(home.path());
    assert_eq!(engine.draft(), BEGUN);
    engine.call("message.send", json!({"to": "bob", "text": BEGUN, "from_draft": true}));
    engine.kill();
    let mut engine = Engine::start(home.path());
    assert_eq!(engine.draft(), Value::Null);
    let history = engine.call("message.history", json!({"with": "bob"}));
    assert_eq!((history[0]["text"].as_str(), history.get(1)), (Some(BEGUN), None));
    engine.kill();
    assert!(lies_open(home.path(), BEGUN), "without a passphrase");
}

#[test]
fn under_a_passphrase_a_draft_is_sealed_like_all_else() {
    let home = home();
    done(home.path(), &["--rendezvous", RENDEZVOUS, "add", BOB, "--name", "bob"]);
    let set = unlocked(home.path(), &["passphrase", "set"]).output().unwrap();
    assert!(set.status.success(), "{set:?}");
    let mut engine = Engine::start(home.path());
    engine.call("draft.set", json!({"with": "bob", "text": BEGUN}));
    engine.kill();
    assert!(!lies_open(home.path(), BEGUN));
    let mut engine = Engine::start(home.path());
    assert_eq!(engine.draft(), BEGUN);
    engine.kill();
}
