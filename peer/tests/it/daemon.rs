//! The daemon as a service: its unit, where that goes, and what systemd is told.
#![expect(clippy::unwrap_used, reason = "a test says with a panic what is wrong")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::RENDEZVOUS;

const KNOTHOLE: &str = env!("CARGO_BIN_EXE_knothole");

/// Loopback and a disk answer at once; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn command(person: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(KNOTHOLE);
    for variable in [
        "KNOTHOLE_HOME",
        "KNOTHOLE_RENDEZVOUS",
        "KNOTHOLE_PASSPHRASE",
        "KNOTHOLE_KEEPALIVE",
        "NOTIFY_SOCKET",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
    ] {
        command.env_remove(variable);
    }
    command.args(arguments).env("HOME", person).current_dir(person).stdin(Stdio::null());
    command
}

fn run(person: &Path, arguments: &[&str]) -> Output {
    command(person, arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn heard(supervisor: &UnixDatagram) -> String {
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut datagram = [0; 256];
    let length = supervisor.recv(&mut datagram).unwrap();
    String::from_utf8(datagram[..length].to_vec()).unwrap()
}

#[test]
fn systemd_is_told_when_the_daemon_serves_and_when_it_ends() {
    let person = tempfile::tempdir().unwrap();
    let (home, named) = (person.path().join("home"), person.path().join("notify"));
    let supervisor = UnixDatagram::bind(&named).unwrap();
    let arguments = ["--home", "home", "daemon"];
    let mut daemon =
        command(person.path(), &arguments).env("NOTIFY_SOCKET", &named).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(heard(&supervisor), "READY=1");
    assert_eq!(heard(&supervisor), "STATUS=");
    assert!(home.join("knothole.sock").exists(), "it serves when it says so");
    assert!(run(person.path(), &["--home", "home", "contacts", "--json"]).status.success());

    assert_eq!(run(person.path(), &arguments).status.code(), Some(1), "a second one is of no use");
    kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(heard(&supervisor), "STOPPING=1");
    assert!(daemon.wait().unwrap().success());
}

#[test]
fn a_service_waits_for_the_knothole_that_runs_and_takes_its_place() {
    let person = tempfile::tempdir().unwrap();
    let arguments = ["--home", "home", "daemon"];
    let mut before = command(person.path(), &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(before.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("ready "), "{ready}");

    let started = |name: &str| {
        let named = person.path().join(name);
        let supervisor = UnixDatagram::bind(&named).unwrap();
        let mut command = command(person.path(), &arguments);
        let service = command.env("NOTIFY_SOCKET", &named).stdout(Stdio::null()).spawn().unwrap();
        let told = heard(&supervisor);
        assert!(told.starts_with("STATUS=waiting"), "{told}");
        (supervisor, service)
    };
    let told = |daemon: &Child| kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM).unwrap();
    let (_, mut left) = started("left");
    told(&left);
    assert!(left.wait().unwrap().success(), "it can be ended while it waits");

    let (supervisor, mut service) = started("notify");
    told(&before);
    assert!(before.wait().unwrap().success());
    assert_eq!(heard(&supervisor), "READY=1");
    told(&service);
    assert!(service.wait().unwrap().success());
}

#[test]
fn a_daemon_under_nohup_outlives_its_terminal_and_another_ends_with_it() {
    let person = tempfile::tempdir().unwrap();
    let started = |ignored: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{ignored} exec \"$0\" --home home daemon"), KNOTHOLE]).current_dir(person.path());
        let mut daemon = shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.starts_with("ready "), "{ready}");
        daemon
    };
    let told = |daemon: &Child, signal| kill(Pid::from_raw(daemon.id().cast_signed()), signal).unwrap();

    let mut kept = started("trap '' HUP;");
    told(&kept, Signal::SIGHUP);
    assert!(run(person.path(), &["--home", "home", "contacts", "--json"]).status.success());
    assert_eq!(kept.try_wait().unwrap(), None, "it goes on");
    told(&kept, Signal::SIGTERM);
    assert!(kept.wait().unwrap().success());

    let mut left = started("");
    told(&left, Signal::SIGHUP);
    assert!(left.wait().unwrap().success(), "it says goodbye");
}

#[test]
fn the_unit_runs_this_very_program_for_the_home_that_was_named() {
    let person = tempfile::tempdir().unwrap();
    let unit = run(person.path(), &["daemon", "--unit"]);
    let program = Path::new(KNOTHOLE);
    assert!(stdout(&unit).contains(&format!("\nExecStart={} daemon\n", program.display())), "{unit:?}");
    assert!(!stdout(&unit).contains("Environment="), "nothing was set: {unit:?}");
    for line in [
        "Type=notify",
        "TimeoutStartSec=infinity",
        "StartLimitIntervalSec=0",
        "Restart=on-failure",
        "WantedBy=default.target",
        "NoNewPrivileges=yes",
    ] {
        assert!(stdout(&unit).lines().any(|said| said == line), "{line}");
    }
    let unit = run(person.path(), &["--home", "my 50% home", "daemon", "--unit", "--passphrase-file", "/secret"]);
    let home = fs::canonicalize(person.path()).unwrap().join("my 50%% home");
    let expected =
        format!("ExecStart={} --home \"{}\" --passphrase-file /secret daemon\n", program.display(), home.display());
    assert!(stdout(&unit).contains(&format!("\n{expected}")), "{}", stdout(&unit));
    let named = command(person.path(), &["daemon", "--unit"]).env("KNOTHOLE_RENDEZVOUS", RENDEZVOUS).output().unwrap();
    let given = run(person.path(), &["daemon", "--unit", "--rendezvous", RENDEZVOUS]);
    let expected = format!("\nExecStart={} --rendezvous {RENDEZVOUS} daemon\n", program.display());
    for unit in [named, given] {
        assert!(stdout(&unit).contains(&expected), "{}", stdout(&unit));
    }
    assert_eq!(person.path().read_dir().unwrap().count(), 0, "to print it makes no home");
    assert_eq!(run(person.path(), &["daemon", "--unit", "--install"]).status.code(), Some(2));
    assert_eq!(run(person.path(), &["daemon", "--force"]).status.code(), Some(2));
}

#[test]
fn the_unit_runs_the_person_of_the_shell_that_it_is_written_in() {
    let person = tempfile::tempdir().unwrap();
    let mut unit = command(person.path(), &["daemon", "--unit"]);
    unit.env("XDG_DATA_HOME", "/my data/$x").env("XDG_CONFIG_HOME", "not/absolute").env("KNOTHOLE_KEEPALIVE", "frugal");
    let unit = unit.output().unwrap();
    let set: Vec<_> = stdout(&unit).lines().filter(|line| line.starts_with("Environment=")).collect();
    assert_eq!(set, ["Environment=\"XDG_DATA_HOME=/my data/$x\"", "Environment=\"KNOTHOLE_KEEPALIVE=frugal\""]);
    let broken = command(person.path(), &["daemon", "--unit"]).env("XDG_DATA_HOME", "/a\nb").output().unwrap();
    assert_eq!(broken.status.code(), Some(1));
}

#[test]
fn the_unit_names_the_program_as_it_was_called() {
    let person = tempfile::tempdir().unwrap();
    let link = person.path().join("knothole");
    std::os::unix::fs::symlink(KNOTHOLE, &link).unwrap();
    let expected = format!("\nExecStart={} daemon\n", link.display());
    for called in [link.as_path(), Path::new("./knothole"), Path::new("knothole")] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" daemon --unit"]).arg(called).current_dir(person.path());
        shell.env_remove("KNOTHOLE_HOME").env_remove("KNOTHOLE_RENDEZVOUS");
        let unit = shell.env("PATH", format!("{}:/usr/bin:/bin", person.path().display())).output().unwrap();
        assert!(stdout(&unit).contains(&expected), "{called:?}: {unit:?}");
    }
}

#[test]
fn a_unit_is_installed_once_and_a_different_one_is_not_overwritten() {
    let person = tempfile::tempdir().unwrap();
    let place = person.path().join(".config/systemd/user/knothole.service");
    let first = run(person.path(), &["daemon", "--install"]);
    assert!(first.status.success(), "{first:?}");
    assert!(stderr(&first).contains("systemctl --user enable --now knothole"), "{first:?}");
    let unit = fs::read(&place).unwrap();
    assert_eq!(unit, run(person.path(), &["daemon", "--unit"]).stdout);
    let again = run(person.path(), &["daemon", "--install"]);
    assert!(again.status.success() && stderr(&again).contains("is there already"), "{again:?}");

    fs::write(&place, "[Service]\nExecStart=/bin/true\n").unwrap();
    let refused = run(person.path(), &["daemon", "--install"]);
    assert_eq!((refused.status.code(), stderr(&refused).lines().count()), (Some(1), 1), "{refused:?}");
    assert!(stderr(&refused).contains("--force"), "{refused:?}");
    assert!(fs::read_to_string(&place).unwrap().ends_with("/bin/true\n"), "it is as it was");
    let forced = run(person.path(), &["daemon", "--install", "--force"]);
    assert!(forced.status.success() && stderr(&forced).contains("systemctl --user restart knothole"), "{forced:?}");
    assert_eq!(fs::read(&place).unwrap(), unit);
    let elsewhere = person.path().join("elsewhere");
    let output = command(person.path(), &["daemon", "--install"]).env("XDG_CONFIG_HOME", &elsewhere).output().unwrap();
    assert!(output.status.success() && elsewhere.join("systemd/user/knothole.service").exists(), "{output:?}");
}
