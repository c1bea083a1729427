//! People as scripts see them: codes, words and relay only, by the binary, with a rendezvous in this process.
#![expect(clippy::unwrap_used, reason = "a test says with a panic what is wrong")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use knothole_proto::certificate::IdentitySecret;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use serde_json::Value;
use tempfile::TempDir;

async fn rendezvous() -> Serving {
    let config = Config {
        identity: IdentitySecret::new([42; 32]),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        alternate: None,
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    };
    Serving::start(config).await.unwrap()
}

/// Homes that use the rendezvous.
struct Town {
    runtime: tokio::runtime::Runtime,
    serving: Serving,
    homes: [TempDir; 3],
}

impl Town {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let serving = runtime.block_on(rendezvous());
        Self { runtime, serving, homes: std::array::from_fn(|_| tempfile::tempdir().unwrap()) }
    }

    fn command(&self, who: usize, arguments: &[&str]) -> Command {
        let home: &Path = self.homes[who].path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_knothole"));
        command.args(["--home".as_ref(), home.as_os_str()]).args(arguments).stdin(Stdio::null());
        for variable in ["KNOTHOLE_HOME", "KNOTHOLE_LOG", "KNOTHOLE_PASSPHRASE", "KNOTHOLE_KEEPALIVE"] {
            command.env_remove(variable);
        }
        command.env("KNOTHOLE_RENDEZVOUS", self.serving.address().to_string());
        command
    }

    fn run(&self, who: usize, arguments: &[&str]) -> Output {
        self.command(who, arguments).output().unwrap()
    }

    fn done(&self, who: usize, arguments: &[&str]) -> String {
        let output = self.run(who, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one line on standard error of a run that failed.
    fn reproach(&self, who: usize, arguments: &[&str]) -> String {
        let output = self.run(who, arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{arguments:?}: {told}");
        told
    }

    fn contacts(&self, who: usize) -> Value {
        serde_json::from_str(&self.done(who, &["contacts", "--json"])).unwrap()
    }
}

#[test]
fn two_meet_by_a_code_compare_words_and_choose_the_relay() {
    let town = Town::new();
    let mut maker =
        town.command(0, &["code", "--me", "Alice"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(maker.stdout.take().unwrap()).lines();
    let code = lines.next().unwrap().unwrap();
    assert!(town.reproach(1, &["add", "7-lantern-orchard"]).contains("\"lantern\" is no word"));
    assert!(town.reproach(1, &["add", "99-orchard-velvet"]).contains("99"));
    assert!(town.done(1, &["add", &code, "--me", "Bob"]).starts_with("Alice is a contact now"));
    assert!(lines.next().unwrap().unwrap().starts_with("Bob is a contact now"));
    assert!(maker.wait().unwrap().success());

    let words = town.done(0, &["verify", "Bob"]);
    assert_eq!(words, town.done(1, &["verify", "Alice"]));
    assert_eq!(words.split_whitespace().count(), 10);
    let drawn = town.done(1, &["verify", "Alice", "--qr"]);
    assert!(town.reproach(0, &["verify", "Bob", "--scan", "knothole-verify:x"]).contains("nothing was marked"));
    town.done(0, &["verify", "Bob", "--scan", drawn.lines().next().unwrap()]);
    town.done(1, &["verify", "Alice", "--confirm"]);

    town.done(0, &["path", "Bob", "relay"]);
    let contacts = town.contacts(0);
    assert_eq!((&contacts[0]["verified"], &contacts[0]["relay_only"]), (&true.into(), &true.into()));

    let other = town.done(2, &["id"]);
    let warning = town.reproach(0, &["add", other.trim(), "--name", "Bob"]);
    assert!(warning.contains("WARNING: THE KEY DIFFERS") && warning.contains(&words.trim().replace('\n', " ")));
    assert_eq!(town.contacts(0), contacts, "nothing was changed");
    assert!(town.done(0, &["add", other.trim(), "--name", "Bob", "--replace"]).contains("(old key "));
    assert_eq!(town.contacts(0)[0]["relay_only"], true);
    town.done(2, &["add", town.done(0, &["id"]).trim(), "--name", "Alice", "--relay"]);
    assert_eq!(town.contacts(2)[0]["relay_only"], true);
    town.runtime.block_on(town.serving.shutdown());
}

#[test]
fn one_who_never_asked_is_blocked_by_its_id() {
    let town = Town::new();
    let link: Value = serde_json::from_str(&town.done(2, &["id", "--json"])).unwrap();
    let peer = link["peer"].as_str().unwrap();
    assert!(town.done(0, &["block", peer]).contains("is blocked"));
    assert_eq!((&town.contacts(0)[0]["peer"], &town.contacts(0)[0]["state"]), (&link["peer"], &"blocked".into()));
    town.runtime.block_on(town.serving.shutdown());
}
