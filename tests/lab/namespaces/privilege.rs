//! Getting the rights to make namespaces: the test's binary starts again as root of a user namespace.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{lab::Lab, namespace::ip};

/// Set for the inner process, to the file by which it says that it has found its test.
const INSIDE: &str = "KNOTHOLE_LAB_INSIDE";

/// The PID namespace ends with the test, and whatever was started in it ends then too.
const UNSHARE: [&str; 7] = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"];

/// Runs the body of the test called `name` (with its modules, as `cargo test -- --exact` wants it) in a lab.
///
/// Where namespaces cannot be had it says `skipped: …` on stderr and succeeds, unless `CI` is set or `KNOTHOLE_LAB` is
/// `required`. The lab's seed is `KNOTHOLE_SEED`, or 1.
///
/// # Errors
/// The test's own; or that the lab, though required or possible, could not be set up.
pub fn run(name: &str, test: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    enter(name, &of_test(name), File::lock_shared, test)
}

/// As [`run`], while no other lab runs: for what others beside it may disturb, by their load or (a guess that was never proved) by
/// network devices that they make and unmake, for which the kernel has one lock.
///
/// # Errors
/// See [`run`].
pub fn run_alone(name: &str, test: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    enter(name, &of_test(name), File::lock, test)
}

/// As [`run`], for a program that is no test: it starts again with the arguments that it was given, and no other lab runs
/// beside it, which would disturb what it measures.
///
/// # Errors
/// See [`run`].
pub fn run_program(name: &str, body: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    enter(name, &arguments, File::lock, body)
}

/// What makes a test's binary run this test.
fn of_test(name: &str) -> [OsString; 4] {
    ["--exact", name, "--nocapture", "--test-threads=1"].map(OsString::from)
}

/// How a lab takes its turn: beside others, or alone.
type Turn = fn(&File) -> io::Result<()>;

fn enter(name: &str, arguments: &[OsString], turn: Turn, body: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    if let Some(found) = env::var_os(INSIDE) {
        fs::write(found, "found").context("cannot tell the outer process that the test was found")?;
        prepare()?;
        let seed = env::var("KNOTHOLE_SEED").ok().map_or(Ok(1), |seed| seed.parse()).context("KNOTHOLE_SEED")?;
        pass_on(&format!("{name}: KNOTHOLE_SEED={seed}"));
        return body(&mut Lab::new(seed)?);
    }
    let _turn = take(turn)?;
    if let Err(obstacle) = probe() {
        let required = env::var_os("CI").is_some() || env::var_os("KNOTHOLE_LAB").is_some_and(|is| is == "required");
        ensure!(!required, "the lab is required, but {obstacle:#}");
        // Not by way of `eprintln!`, which the test harness keeps to itself when a test succeeds.
        writeln!(io::stderr(), "skipped: {name}: {obstacle:#}")?;
        return Ok(());
    }
    let found = tempfile::NamedTempFile::new()?;
    let (output, theirs) = io::pipe()?;
    let mut child = Command::new("unshare")
        .args(UNSHARE)
        .arg(env::current_exe()?)
        .args(arguments)
        .env(INSIDE, found.path())
        .stdout(theirs.try_clone()?)
        .stderr(theirs)
        .spawn()?;
    for line in BufReader::new(output).split(b'\n') {
        pass_on(&String::from_utf8_lossy(&line?));
    }
    let status = child.wait()?;
    ensure!(status.success(), "{name} failed inside its namespaces ({status}); its output is above");
    ensure!(fs::read(found.path())? == b"found", "no test of this binary is called {name}: pass `run` its exact name");
    Ok(())
}

/// Why there can be no lab here.
fn probe() -> Result<()> {
    let tun = Path::new("/dev/net/tun");
    OpenOptions::new().read(true).write(true).open(tun).with_context(|| format!("cannot open {}", tun.display()))?;
    let script = "mount -t tmpfs tmpfs /run && ip link set lo up && ip netns add probe && ip netns exec probe true";
    let output = Command::new("unshare").args(UNSHARE).args(["sh", "-c", script]).output();
    let output = output.context("cannot start `unshare` (package util-linux)")?;
    if !output.status.success() {
        bail!("namespaces are not permitted: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// `ip netns` keeps its files in /run, which is not ours outside.
fn prepare() -> Result<()> {
    let status = Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]).status()?;
    ensure!(status.success(), "cannot mount a tmpfs over /run");
    // Processes in here have numbers of their own, by which only a /proc of their own knows them.
    let status = Command::new("mount").args(["-t", "proc", "proc", "/proc"]).status()?;
    ensure!(status.success(), "cannot mount a /proc for this namespace");
    ip(["link", "set", "lo", "up"])
}

/// Waits until no lab runs that must be alone or, to be alone, until none runs. The lock is the file's, and ends with the process
/// that holds it.
fn take(turn: Turn) -> Result<File> {
    let path = env::temp_dir().join(format!("knothole-lab-{}.lock", nix::unistd::getuid()));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    turn(&file).with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// To whoever reads the outer test's output, which the harness shows when the test fails.
#[expect(clippy::print_stdout, reason = "what a test prints is for its own output")]
fn pass_on(line: &str) {
    println!("{line}");
}
