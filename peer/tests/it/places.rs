//! Where things lie: all of a home that is named in that, and else in the XDG directories.
#![expect(clippy::unwrap_used, reason = "a test says with a panic what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The discard port: nobody answers there.
const RENDEZVOUS: &str = "amaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq@127.0.0.1:9";

struct Person(tempfile::TempDir);

impl Person {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_knothole"));
        for variable in
            ["KNOTHOLE_HOME", "KNOTHOLE_RENDEZVOUS", "KNOTHOLE_PASSPHRASE", "XDG_DATA_HOME", "XDG_CONFIG_HOME"]
        {
            command.env_remove(variable);
        }
        command.args(arguments).env("HOME", self.0.path()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// All files below, by their paths.
    fn files(&self) -> BTreeSet<String> {
        fn collect(below: &Path, from: &Path, files: &mut BTreeSet<String>) {
            for entry in fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    collect(&entry, from, files);
                } else {
                    files.insert(entry.strip_prefix(from).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut files = BTreeSet::new();
        collect(self.0.path(), self.0.path(), &mut files);
        files
    }
}

fn success(output: &Output) -> bool {
    output.status.success()
}

#[test]
fn a_home_that_nobody_names_lies_in_the_xdg_directories() {
    let person = Person::new();
    let link = person.done(&["--rendezvous", RENDEZVOUS, "id"]);
    let expected = [".config/knothole/config.toml", ".local/share/knothole/identity"].map(str::to_owned);
    assert_eq!(person.files(), BTreeSet::from(expected));
    let configuration = fs::read_to_string(person.at(".config/knothole/config.toml")).unwrap();
    assert!(configuration.contains(RENDEZVOUS) && configuration.contains("#interface = \"full\""), "{configuration}");
    assert_eq!(person.done(&["id"]), link);

    let elsewhere = person.command(&["id"]).env("XDG_CONFIG_HOME", person.at("etc")).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(1), "no rendezvous is known there: {elsewhere:?}");
    assert!(fs::read_to_string(person.at("etc/knothole/config.toml")).unwrap().contains("#rendezvous = []"));

    let named = person.command(&["--home", ".local/share/knothole", "id"]).output().unwrap();
    assert_eq!(named.status.code(), Some(1), "a home that is named holds everything: {named:?}");
    assert!(person.at(".local/share/knothole/config.toml").exists());
    assert_eq!(person.done(&["id"]), link, "which changes nothing for one that is not");
}

#[test]
fn a_configuration_that_lies_in_the_data_directory_goes_on_to_be_used() {
    let person = Person::new();
    let within = person.at(".local/share/knothole/config.toml");
    fs::create_dir_all(within.parent().unwrap()).unwrap();
    let text = format!("rendezvous = [\"{RENDEZVOUS}\"]\n");
    fs::write(&within, &text).unwrap();
    assert!(person.done(&["id"]).contains(RENDEZVOUS));
    assert!(!person.at(".config").exists());
    assert_eq!(fs::read_to_string(within).unwrap(), text);
}

#[test]
fn a_home_that_is_named_holds_everything_and_the_rendezvous_may_be_given_later() {
    let person = Person::new();
    assert!(!success(&person.command(&["--home", "h", "id"]).output().unwrap()), "no rendezvous is known yet");
    person.done(&["--home", "h", "--rendezvous", RENDEZVOUS, "id"]);
    assert!(person.done(&["--home", "h", "id"]).contains(RENDEZVOUS), "it is remembered all the same");
    assert_eq!(person.files(), BTreeSet::from(["h/config.toml", "h/identity"].map(str::to_owned)));
}

#[test]
fn a_backup_carries_the_configuration_from_the_one_place_to_the_other() {
    let person = Person::new();
    let link = person.done(&["--rendezvous", RENDEZVOUS, "id"]);
    let under = |arguments: &[&str]| {
        person.command(arguments).env("KNOTHOLE_BACKUP_PASSPHRASE", "correct horse").output().unwrap()
    };
    assert!(success(&under(&["export", "backup"])));
    assert!(success(&under(&["--home", "h", "import", "backup"])));
    assert_eq!(person.done(&["--home", "h", "id"]), link);
    assert!(success(&under(&["--home", "h", "export", "second"])));
    for apart in [".config", ".local"] {
        fs::remove_dir_all(person.at(apart)).unwrap();
    }
    assert!(success(&under(&["import", "second"])));
    assert!(
        person.at(".config/knothole/config.toml").exists() && !person.at(".local/share/knothole/config.toml").exists()
    );
    assert_eq!(person.done(&["id"]), link);
}
