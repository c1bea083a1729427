//! The binary as scripts see it: exit codes, one line of reproach, and one engine a home whoever runs it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says with a panic what is wrong")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use knothole_proto::contact_link::ContactLink;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// The discard port: nobody answers there.
pub(crate) const RENDEZVOUS: &str = "amaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq@127.0.0.1:9";

pub(crate) const BOB: &str = "knothole:aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba\
                   ?via=amaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq@127.0.0.1:9";

pub(crate) fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_knothole"));
    command.args(["--home".as_ref(), home.as_os_str()]).args(arguments).stdin(Stdio::null());
    for variable in
        ["KNOTHOLE_HOME", "KNOTHOLE_RENDEZVOUS", "KNOTHOLE_LOG", "KNOTHOLE_PASSPHRASE", "KNOTHOLE_BACKUP_PASSPHRASE"]
    {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn run(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().unwrap()
}

/// Standard output of a run that must have gone well.
pub(crate) fn done(home: &Path, arguments: &[&str]) -> String {
    let output = run(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on standard error of a run that must have ended with this code.
pub(crate) fn reproach(home: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(home, arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
    assert_eq!(told.lines().count(), 1, "one line: {told}");
    assert!(told.starts_with("knothole: "), "{told}");
    told
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A daemon that is ready, and gone when this is dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(home: &Path) -> Self {
        let mut child = command(home, &["daemon"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let socket = home.canonicalize().unwrap().join("knothole.sock");
        assert_eq!(line, format!("ready {}\n", socket.display()));
        Self(child)
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn help_lists_the_verbs_with_first_steps() {
    let home = home();
    let help = done(home.path(), &["--help"]);
    for verb in [
        "demo", "id", "add", "contacts", "accept", "block", "remove", "chat", "send", "edit", "delete", "react",
        "timer", "history", "netcheck", "rpc", "daemon",
    ] {
        assert!(help.contains(&format!("\n  {verb}")), "{verb}: {help}");
    }
    assert!(help.contains("knothole demo"), "{help}");
}

#[test]
fn wrong_usage_exits_2_and_says_how_it_is_right() {
    let home = home();
    for arguments in [
        &["frobnicate"][..],
        &["--plain", "contacts"],
        &["add"],
        &["send", "bob", "x", "--timeout", "soon"],
        &["--rendezvous", "x", "id"],
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    let output = run(home.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("knothole demo"), "{output:?}");
}

#[test]
fn the_link_needs_a_rendezvous_once_and_stays_the_same() {
    let home = home();
    assert!(reproach(home.path(), &["id"], 1).contains("--rendezvous"));
    let first = done(home.path(), &["--rendezvous", RENDEZVOUS, "id"]);
    let link: ContactLink = first.trim().parse().unwrap();
    assert_eq!(link.via[0].to_string(), RENDEZVOUS);
    assert_eq!(done(home.path(), &["id"]), first);
    let told = json(&done(home.path(), &["id", "--json"]));
    assert_eq!(told["link"], first.trim());
    assert_eq!(told["peer"], link.peer.to_string());
    let drawn = done(home.path(), &["id", "--qr"]);
    assert!(drawn.starts_with(&first) && drawn.lines().count() > 20, "{drawn}");
    assert_eq!(fs::metadata(home.path().join("identity")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_environment_names_home_and_rendezvous_too() {
    let home = home();
    let output = Command::new(env!("CARGO_BIN_EXE_knothole"))
        .arg("id")
        .env("KNOTHOLE_HOME", home.path())
        .env("KNOTHOLE_RENDEZVOUS", format!("{RENDEZVOUS}, {RENDEZVOUS}"))
        .output()
        .unwrap();
    let link: ContactLink = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(link.via.len(), 2);
    assert!(home.path().join("identity").exists());
    let configuration = fs::read_to_string(home.path().join("config.toml")).unwrap();
    assert!(configuration.contains("#rendezvous = []"), "only arguments are remembered: {configuration}");
}

#[test]
fn a_bad_link_exits_1_with_a_hint() {
    let home = home();
    let told = reproach(home.path(), &["add", "http://example.org"], 1);
    assert!(told.contains("knothole id"), "{told}");
    assert!(told.contains("knothole:"), "{told}");
}

#[test]
fn contacts_are_kept_without_a_network_and_messages_to_them_wait() {
    let home = home();
    done(home.path(), &["--rendezvous", RENDEZVOUS, "add", BOB, "--name", "bob"]);
    let contacts = json(&done(home.path(), &["contacts", "--json"]));
    assert_eq!((&contacts[0]["name"], &contacts[0]["presence"]), (&"bob".into(), &"offline".into()));
    let told = reproach(home.path(), &["send", "bob", "hello", "--timeout", "100ms"], 3);
    assert!(told.contains("queued"), "{told}");
    let history = json(&done(home.path(), &["history", "bob", "--json"]));
    assert_eq!((&history[0]["text"], &history[0]["state"]), (&"hello".into(), &"queued".into()));
    assert!(done(home.path(), &["history", "bob", "--search", "hell"]).contains("me: hello  (queued)"));
    assert_eq!(done(home.path(), &["rename", "bob", "bobby"]), "bob is called bobby now\n");
    assert_eq!(json(&done(home.path(), &["rename", "bobby", "bob", "--json"]))["name"], "bob");
    assert!(reproach(home.path(), &["rename", "bobby", "x"], 1).contains("knothole contacts"));
    done(home.path(), &["block", "bob"]);
    assert!(reproach(home.path(), &["send", "bob", "hello"], 1).contains("blocked"));
    done(home.path(), &["remove", "bob"]);
    for arguments in [&["send", "bob", "x"][..], &["chat", "bob"], &["history", "bob"], &["accept", "bob"]] {
        assert!(reproach(home.path(), arguments, 1).contains("knothole contacts"));
    }
}

#[test]
fn what_waits_is_edited_reacted_to_and_taken_back() {
    let home = home();
    let home = home.path();
    done(home, &["--rendezvous", RENDEZVOUS, "add", BOB, "--name", "bob"]);
    let _daemon = Daemon::start(home);
    for text in ["frist", "a secret"] {
        let waits = run(home, &["send", "bob", text, "--timeout", "0s"]);
        assert_eq!(waits.status.code(), Some(3), "{waits:?}");
    }
    let page = json(&done(home, &["history", "bob", "--json"]));
    let [first, second] = [0, 1].map(|n: usize| page[n]["message"].as_str().unwrap().to_owned());
    done(home, &["edit", "bob", &first[..8], "first\u{1b}[2J"]);
    done(home, &["react", "bob", &first, "👍"]);
    done(home, &["react", "bob", &first, "🎉"]);
    done(home, &["react", "bob", &first, "🎉", "--off"]);
    done(home, &["delete", "bob", "last"]);
    done(home, &["timer", "bob", "1d"]);
    run(home, &["send", "bob", "short-lived", "--reply", &first, "--timeout", "0s"]);
    run(home, &["send", "bob", "stays", "--expires", "off", "--timeout", "0s"]);
    let history = done(home, &["history", "bob", "--ids"]);
    for line in [
        "me: first\u{FFFD}[2J  [👍 (mine)]  (edited, queued)",
        "me: (deleted)  (queued)",
        "* me: from now on texts disappear, 1 day after they were read  (queued)",
        "me (to \"first\u{FFFD}[2J\"): short-lived  (disappears, queued)",
        "me: stays  (queued)",
    ] {
        assert!(history.lines().any(|shown| shown.ends_with(line)), "{line}: {history}");
    }
    assert!(history.starts_with(&first[..8]), "{history}");
    assert!(reproach(home, &["edit", "bob", &second, "x"], 1).contains("cannot be changed"));
    assert!(reproach(home, &["delete", "bob", "zzzz"], 1).contains("history bob --ids"));
    assert!(reproach(home, &["react", "bob", "last", "👍"], 1).contains("no such message"));
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_is_stored() {
    let home = home();
    done(home.path(), &["add", BOB, "--name", "bob"]);
    for (input, told) in [(Vec::new(), "nothing to send"), (vec![b'x'; 70_000], "65536"), (vec![0xff], "UTF-8")] {
        let mut child =
            command(home.path(), &["send", "bob", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have seen enough before the end.
        let _ = child.stdin.take().unwrap().write_all(&input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{output:?}");
    }
    assert_eq!(done(home.path(), &["history", "bob", "--json"]).trim(), "[]");
}

#[test]
fn rpc_answers_line_by_line_and_ends_with_its_input() {
    let home = home();
    let mut child = command(home.path(), &["--rendezvous", RENDEZVOUS, "rpc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n{\n").unwrap();
    input
        .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"message.send\",\"params\":[\"bob\",\"x\"]}\n")
        .unwrap();
    drop(input);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let answers: Vec<_> = text.lines().map(json).filter(|line| line["method"] != "event").collect();
    let answer = |id: Value| answers.iter().find(|answer| answer["id"] == id).expect("an answer");
    assert_eq!(answers.len(), 3, "{text}");
    assert_eq!(answer(1.into())["result"]["rendezvous"][0]["address"], RENDEZVOUS);
    assert_eq!(answer(2.into())["error"]["code"], -32_000);
    assert_eq!(answer(Value::Null)["error"]["code"], -32_700);
}

#[test]
fn other_verbs_go_through_the_daemon_until_it_is_told_to_end() {
    let home = home();
    let mut daemon = Daemon::start(home.path());
    let socket = home.path().join("knothole.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(reproach(home.path(), &["daemon"], 1).contains("already"));
    done(home.path(), &["add", BOB, "--name", "bob"]);
    assert_eq!(json(&done(home.path(), &["contacts", "--json"]))[0]["name"], "bob");
    assert_eq!(daemon.signal(Signal::SIGTERM), Some(0));
    assert!(!socket.exists());
    assert_eq!(json(&done(home.path(), &["contacts", "--json"]))[0]["name"], "bob");
}

#[test]
fn a_killed_engine_leaves_a_home_that_works() {
    let home = home();
    let mut daemon = Daemon::start(home.path());
    done(home.path(), &["add", BOB, "--name", "bob"]);
    assert_eq!(daemon.signal(Signal::SIGKILL), None);
    assert!(home.path().join("knothole.sock").exists(), "nobody was there to remove it");
    assert_eq!(json(&done(home.path(), &["contacts", "--json"]))[0]["name"], "bob");
}

#[test]
fn verbs_started_at_once_share_one_engine() {
    let home = home();
    let verbs: Vec<_> = (0..6)
        .map(|number| {
            let name = format!("bob{number}");
            let key = char::from(b'b' + number).to_string().repeat(51) + "a";
            let link = format!("knothole:{key}?via={RENDEZVOUS}");
            command(home.path(), &["add", &link, "--name", &name]).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for verb in verbs {
        let output = verb.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let contacts = json(&done(home.path(), &["contacts", "--json"]));
    assert_eq!(contacts.as_array().unwrap().len(), 6);
}

#[test]
fn the_demo_delivers_its_transcript() {
    let home = home();
    let transcript = done(home.path(), &["demo"]);
    let said = |name: &str| transcript.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((said("alice: "), said("bob: ")), (2, 2), "{transcript}");
    assert!(transcript.contains("direct"), "{transcript}");
}

#[test]
fn check_tells_a_sound_database_from_a_damaged_one_with_or_without_an_engine() {
    let home = home();
    done(home.path(), &["--rendezvous", RENDEZVOUS, "add", BOB, "--name", "bob"]);
    assert_eq!(done(home.path(), &["check"]), "the database is sound\n");
    let daemon = Daemon::start(home.path());
    assert_eq!(json(&done(home.path(), &["check", "--json"])), serde_json::json!([]));
    drop(daemon);
    fs::write(home.path().join("knothole.db"), "no database ".repeat(1000)).unwrap();
    assert!(reproach(home.path(), &["check"], 1).contains("restore it from a backup"));
}

/// All files of a home, the daemon's socket aside.
fn bytes(home: &Path) -> Vec<u8> {
    let files = fs::read_dir(home).unwrap().map(|file| file.unwrap().path());
    files.filter_map(|path| fs::read(path).ok()).flatten().collect()
}

#[test]
fn under_a_passphrase_verbs_need_it_and_the_home_tells_nothing() {
    let home = home();
    let passphrase = tempfile::NamedTempFile::new().unwrap();
    fs::write(passphrase.path(), "correct horse\n").unwrap();
    let file = passphrase.path().to_str().unwrap();
    let link = done(home.path(), &["--rendezvous", RENDEZVOUS, "id"]);
    done(home.path(), &["add", BOB, "--name", "Rumpelstilz"]);
    done(home.path(), &["passphrase", "set", "--passphrase-file", file]);
    assert!(reproach(home.path(), &["passphrase", "set"], 1).contains("knothole passphrase change"));

    for arguments in [["id"].as_slice(), &["contacts"], &["check"], &["daemon"], &["rpc"]] {
        assert!(reproach(home.path(), arguments, 1).contains("--passphrase-file"), "{arguments:?}");
    }
    let wrong =
        command(home.path(), &["send", "Rumpelstilz", "x"]).env("KNOTHOLE_PASSPHRASE", "wrong").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8(wrong.stderr).unwrap().starts_with("knothole: wrong passphrase"));

    let given = |arguments: &[&'static str]| -> Vec<&str> {
        arguments.iter().copied().chain(["--passphrase-file", file]).collect()
    };
    assert_eq!(done(home.path(), &given(&["id"])), link);
    let send = given(&["send", "Rumpelstilz", "a word unheard of", "--wait", "sent", "--timeout", "100ms"]);
    assert_eq!(run(home.path(), &send).status.code(), Some(3));
    assert!(done(home.path(), &given(&["history", "Rumpelstilz"])).contains("a word unheard of"));
    for hint in ["a word unheard of", "Rumpelstilz", "SQLite"] {
        assert!(!bytes(home.path()).windows(hint.len()).any(|run| run == hint.as_bytes()), "{hint}");
    }

    let daemon =
        command(home.path(), &["daemon"]).env("KNOTHOLE_PASSPHRASE", "correct horse").stdout(Stdio::piped()).spawn();
    let mut daemon = Daemon(daemon.unwrap());
    BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    // It is open now, to whoever can reach its socket; and cannot change its form.
    assert!(done(home.path(), &["contacts"]).contains("Rumpelstilz"));
    assert!(reproach(home.path(), &given(&["passphrase", "remove"]), 1).contains("end it first"));
    let hint = b"Rumpelstilz";
    assert!(!bytes(home.path()).windows(hint.len()).any(|run| run == hint), "with the log in use");
    drop(daemon);

    fs::write(passphrase.path(), "correct horse").unwrap();
    let new = tempfile::NamedTempFile::new().unwrap();
    fs::write(new.path(), "battery staple").unwrap();
    let new = new.path().to_str().unwrap().to_owned();
    done(home.path(), &[given(&["passphrase", "change"]), vec!["--new-passphrase-file", &new]].concat());
    assert!(reproach(home.path(), &given(&["contacts"]), 1).contains("wrong passphrase"));
    done(home.path(), &["passphrase", "remove", "--passphrase-file", &new]);
    assert!(done(home.path(), &["contacts"]).contains("Rumpelstilz"));
    assert_eq!(done(home.path(), &["id"]), link);
}

#[test]
fn a_backup_made_with_or_without_an_engine_is_restored_into_an_empty_home() {
    let (home, outside) = (home(), home());
    let link = done(home.path(), &["--rendezvous", RENDEZVOUS, "id"]);
    done(home.path(), &["add", BOB, "--name", "bob"]);
    run(home.path(), &["send", "bob", "kept in the backup", "--wait", "sent", "--timeout", "10ms"]);
    let under = |home: &Path, arguments: &[&str]| {
        command(home, arguments).env("KNOTHOLE_BACKUP_PASSPHRASE", "correct horse").output().unwrap()
    };
    let (first, second) = (outside.path().join("first"), outside.path().join("second"));
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    assert!(under(home.path(), &["export", first]).status.success());
    assert!(reproach(home.path(), &["export", second], 1).contains("KNOTHOLE_BACKUP_PASSPHRASE"));
    let daemon = Daemon::start(home.path());
    let exported = under(home.path(), &["export", second]);
    assert!(exported.status.success(), "{exported:?}");
    drop(daemon);

    for (n, backup) in [first, second].into_iter().enumerate() {
        let restored = outside.path().join(n.to_string());
        let imported = under(&restored, &["import", backup]);
        assert!(imported.status.success(), "{imported:?}");
        assert_eq!(done(&restored, &["id"]), link, "the rendezvous is known, too");
        assert!(done(&restored, &["history", "bob"]).contains("kept in the backup"));
        let again = under(&restored, &["import", backup]);
        assert!(String::from_utf8(again.stderr).unwrap().contains("restore into an empty home"));
    }
    let sealed = outside.path().join("sealed");
    let imported = command(&sealed, &["import", first])
        .envs([("KNOTHOLE_BACKUP_PASSPHRASE", "correct horse"), ("KNOTHOLE_PASSPHRASE", "battery staple")])
        .output()
        .unwrap();
    assert!(imported.status.success(), "{imported:?}");
    assert!(reproach(&sealed, &["history", "bob"], 1).contains("is encrypted"));
    let hint = b"kept in the backup";
    assert!(!bytes(&sealed).windows(hint.len()).any(|run| run == hint));
}
