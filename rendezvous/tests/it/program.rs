//! The program as people and scripts meet it: its first line, its key, its end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test of a process fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use knothole_proto::contact_link::RendezvousAddress;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Program {
    child: Child,
    address: RendezvousAddress,
}

fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_knothole-rendezvous"));
    command.arg("--state").arg(state).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(state: &Path, arguments: &[&str]) -> Program {
    let mut child = command(state, arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("ready ").unwrap_or_else(|| panic!("{line:?}")).trim_end();
    Program { address: address.parse().unwrap(), child }
}

impl Program {
    fn end(mut self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn it_says_where_it_serves_and_ends_well_when_told() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let state = tempfile::tempdir().unwrap();
        let program = start(state.path(), &["--listen", "127.0.0.1:0"]);
        assert_eq!(program.address.host, "127.0.0.1");
        assert_ne!(program.address.port, 0);
        program.end(signal);
    }
}

#[test]
fn its_key_survives_a_restart_and_the_public_address_is_what_is_told() {
    let state = tempfile::tempdir().unwrap();
    let first = start(state.path(), &["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let key = first.address.key;
    first.end(Signal::SIGTERM);
    let second = start(state.path(), &["--listen", "127.0.0.1:0", "--public", "r.example:3478"]);
    assert_eq!(second.address.to_string(), format!("{key}@r.example:3478"));
    second.end(Signal::SIGTERM);
}

#[test]
fn a_damaged_key_and_a_taken_port_are_one_clear_line_and_exit_code_1() {
    let state = tempfile::tempdir().unwrap();
    let running = start(state.path(), &["--listen", "127.0.0.1:0"]);
    let taken = format!("127.0.0.1:{}", running.address.port);
    let output = command(state.path(), &["--listen", &taken]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(&taken) && message.lines().count() == 1, "{message}");
    running.end(Signal::SIGTERM);

    std::fs::write(state.path().join("identity"), "short").unwrap();
    let output = command(state.path(), &["--listen", "127.0.0.1:0"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("damaged") && output.stdout.is_empty(), "{message}");
}

#[test]
fn usage_errors_exit_2_and_help_teaches() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(command(state.path(), &["--listen", "nowhere"]).output().unwrap().status.code(), Some(2));
    let help = command(state.path(), &["--help"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("Examples:") && text.contains("ready <rendezvous address>"), "{text}");
}
