//! The binary as scripts rely on it: what is printed as JSON, where texts and passphrases come from, and what is refused how.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::cli::{BOB, Daemon, RENDEZVOUS, command, done, home, json, reproach, run};

#[test]
fn every_verb_that_prints_data_prints_it_as_json_one_document_a_line() {
    let home = home();
    let home = home.path();
    done(home, &["--rendezvous", RENDEZVOUS, "id"]);
    let _daemon = Daemon::start(home);
    let waits = ["--timeout", "0s"];
    for (arguments, code) in [
        (&["id"][..], 0),
        (&["add", BOB, "--name", "bob"], 0),
        (&["contacts"], 0),
        (&["send", "bob", "hello", waits[0], waits[1]], 3),
        (&["edit", "bob", "last", "hello!"], 0),
        (&["react", "bob", "last", "👍"], 1),
        (&["timer", "bob", "1d"], 0),
        (&["delete", "bob", "last"], 0),
        (&["history", "bob"], 0),
        (&["verify", "bob"], 0),
        (&["verify", "bob", "--confirm"], 0),
        (&["path", "bob", "relay"], 0),
        (&["presence", "invisible"], 0),
        (&["presence"], 0),
        (&["mailbox", "on"], 0),
        (&["mailbox"], 0),
        (&["check"], 0),
        (&["rename", "bob", "robert"], 0),
        (&["block", "robert"], 0),
        (&["remove", "robert"], 0),
    ] {
        let output = run(home, &[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.lines().count(), usize::from(code != 1), "{arguments:?}: {printed}");
        for line in printed.lines() {
            assert!(json(line).is_object() || json(line).is_array(), "{arguments:?}: {line}");
        }
    }
}

#[test]
fn a_text_comes_from_a_pipe_where_none_is_given() {
    let home = home();
    done(home.path(), &["--rendezvous", RENDEZVOUS, "add", BOB, "--name", "bob"]);
    for arguments in [&["send", "bob"][..], &["send", "bob", "-"]] {
        let arguments = [arguments, &["--wait", "delivered", "--timeout", "0s"]].concat();
        let mut child = command(home.path(), &arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hi\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
    }
    let history = json(&done(home.path(), &["history", "bob", "--json"]));
    assert_eq!((&history[0]["text"], &history[1]["text"]), (&"hi".into(), &"hi".into()));
}

#[test]
fn files_are_refused_before_anything_is_sent() {
    let home = home();
    done(home.path(), &["--rendezvous", RENDEZVOUS, "add", BOB, "--name", "bob"]);
    for arguments in
        [&["send", "bob", "see", "--file", "a.txt", "--file", "b.txt"][..], &["send", "bob", "--file", "/a"]]
    {
        assert!(reproach(home.path(), arguments, 1).contains("files cannot be sent yet"));
    }
    assert_eq!(done(home.path(), &["history", "bob", "--json"]).trim(), "[]");
}

#[test]
fn a_passphrase_variable_that_is_empty_says_nothing() {
    let home = home();
    let under = |arguments: &[&str], passphrase: &str| {
        command(home.path(), arguments).env("KNOTHOLE_PASSPHRASE", passphrase).output().unwrap()
    };
    let plain = under(&["contacts"], "");
    assert!(plain.status.success() && plain.stderr.is_empty(), "{plain:?}");
    let set = String::from_utf8(under(&["passphrase", "set"], "").stderr).unwrap();
    assert!(set.contains("no passphrase is given"), "{set}");
    assert!(under(&["passphrase", "set"], "correct horse").status.success());
    let sealed = String::from_utf8(under(&["contacts"], "").stderr).unwrap();
    assert!(sealed.contains("is encrypted"), "{sealed}");
    assert!(under(&["contacts"], "correct horse").status.success());
}

#[test]
fn an_import_that_could_not_be_encrypted_as_wanted_is_not_begun() {
    let (home, outside) = (home(), home());
    done(home.path(), &["--rendezvous", RENDEZVOUS, "id"]);
    let backup = outside.path().join("backup");
    let under = |at: &std::path::Path, arguments: &[&str]| {
        command(at, arguments).env("KNOTHOLE_BACKUP_PASSPHRASE", "correct horse").output().unwrap()
    };
    assert!(under(home.path(), &["export", backup.to_str().unwrap()]).status.success());
    let (restored, empty) = (outside.path().join("restored"), outside.path().join("empty"));
    fs::write(&empty, "\nnot the first line\n").unwrap();
    let import = ["import", backup.to_str().unwrap(), "--passphrase-file", empty.to_str().unwrap()];
    let refused = under(&restored, &import);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("the passphrase is empty"));
    assert!(!restored.join("identity").exists() && !restored.join("knothole.db").exists());
    fs::write(&empty, "battery staple\n").unwrap();
    assert!(under(&restored, &import).status.success());
    assert!(restored.join("identity.sealed").exists());
}
