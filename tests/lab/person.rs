//! The real binaries, driven as scripts drive them: a rendezvous by its ready line, a peer by JSON-RPC on its standard
//! input and output.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// An answer on the same machine takes milliseconds, if it is not busy; one that takes this long does not come.
const ANSWER: Duration = Duration::from_secs(30);

/// Builds both binaries as this test was built, and says where they are. Does nothing if they are up to date.
///
/// # Errors
/// They do not build.
pub fn binaries() -> Result<PathBuf> {
    let test = std::env::current_exe().context("the test's own path")?;
    // target/<profile>/deps/<test>
    let directory = test.ancestors().nth(2).context("no target directory")?.to_owned();
    if std::env::var_os("KNOTHOLE_BUILT").is_none() {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--bins", "-p", "knothole", "-p", "knothole-rendezvous"]);
        if directory.file_name().is_some_and(|name| name == "release") {
            build.arg("--release");
        }
        ensure!(build.status().context("cannot start cargo")?.success(), "the binaries do not build");
    }
    Ok(directory)
}

/// A running program that is killed when this is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), signal).context("cannot signal")
    }

    /// Waits for its end and returns its exit code.
    ///
    /// # Errors
    /// It does not end within half a minute, or by a signal.
    pub fn wait(&mut self) -> Result<i32> {
        let status = self.end()?;
        status.code().with_context(|| format!("ended by a signal: {status}"))
    }

    /// Waits for its end, in whatever way.
    ///
    /// # Errors
    /// It does not end within half a minute.
    pub fn end(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + ANSWER;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("still running")
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// It has ended already.
    pub fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A rendezvous.
#[derive(Debug)]
pub struct Rendezvous {
    /// What it printed: `<key>@<host>:<port>`.
    pub address: String,
    /// Its process.
    pub process: Running,
}

impl Rendezvous {
    /// Starts a rendezvous with `command`, which is given the arguments that are not in it yet.
    ///
    /// # Errors
    /// It does not print its ready line.
    pub fn start(mut command: Command, listen: &str, state: &Path) -> Result<Self> {
        command.args(["--listen", listen, "--state"]).arg(state).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the rendezvous")?;
        let output = child.stdout.take().context("no output")?;
        let process = Running(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().strip_prefix("ready ").with_context(|| format!("not ready: {line:?}"))?.to_owned();
        Ok(Self { address, process })
    }
}

/// A peer and whoever sits before it.
#[derive(Debug)]
pub struct Person {
    /// Its process.
    pub process: Running,
    input: ChildStdin,
    lines: Receiver<(Instant, Value)>,
    events: VecDeque<(Instant, Value)>,
    calls: u64,
}

impl Person {
    /// Starts `knothole rpc` with `command`, which is given the arguments that are not in it yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, home: &Path, rendezvous: &str) -> Result<Self> {
        command.arg("--home").arg(home).args(["--rendezvous", rendezvous, "rpc"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the peer")?;
        let input = child.stdin.take().context("no input")?;
        let output = child.stdout.take().context("no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send((Instant::now(), value)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process: Running(child), input, lines, events: VecDeque::new(), calls: 0 })
    }

    /// Calls a method and returns its result.
    ///
    /// # Errors
    /// The method's own, or no answer within half a minute.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.ask(method, params)?.map_err(|error| anyhow!("{method}: {error}"))
    }

    /// Calls a method and returns its result, or the error that it answers with.
    ///
    /// # Errors
    /// No answer within half a minute, or the peer has ended.
    pub fn ask(&mut self, method: &str, params: Value) -> Result<Result<Value, Value>> {
        self.tell(method, params)?;
        let until = Instant::now() + ANSWER;
        loop {
            let (at, value) = self.next(until).with_context(|| format!("no answer to {method}"))?;
            if value["id"] == self.calls {
                let error = value.get("error").filter(|error| !error.is_null());
                return Ok(error.map_or_else(|| Ok(value["result"].clone()), |error| Err(error.clone())));
            }
            self.events.push_back((at, value));
        }
    }

    /// Calls a method without waiting for the answer, which is then read like an event.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn tell(&mut self, method: &str, params: Value) -> Result<()> {
        self.calls += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params});
        writeln!(self.input, "{request}").context("the peer is gone")
    }

    /// The next line, event or answer, that was not waited for yet, and when it came; `None` if none does by `until`.
    ///
    /// # Errors
    /// The peer has ended.
    pub fn read(&mut self, until: Instant) -> Result<Option<(Instant, Value)>> {
        if let Some(line) = self.events.pop_front() {
            return Ok(Some(line));
        }
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the peer has ended"),
        }
    }

    /// The events that were not waited for yet, as far as they have been read, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = (Instant, &Value)> {
        let events = self.events.iter().filter(|(_, value)| value["method"] == "event");
        events.map(|(at, value)| (*at, &value["params"]))
    }

    /// Waits for the first event, of those not waited for yet, of this type and with these fields; returns when it came.
    ///
    /// # Errors
    /// None comes in time.
    pub fn event(&mut self, kind: &str, fields: &Value, patience: Duration) -> Result<(Instant, Value)> {
        self.event_if_any(kind, fields, patience)?.with_context(|| {
            let seen: Vec<_> = self.events.iter().map(|(_, value)| value["params"].to_string()).collect();
            format!("no event {kind} {fields} within {patience:?}; others:\n  {}", seen.join("\n  "))
        })
    }

    /// As [`Self::event`], but `None` if none comes in time.
    ///
    /// # Errors
    /// The peer has ended.
    pub fn event_if_any(&mut self, kind: &str, fields: &Value, patience: Duration) -> Result<Option<(Instant, Value)>> {
        let matches = |value: &Value| {
            let params = &value["params"];
            let all = fields.as_object().is_none_or(|fields| fields.iter().all(|(key, value)| params[key] == *value));
            value["method"] == "event" && params["type"] == kind && all
        };
        let mut waiting = std::mem::take(&mut self.events);
        if let Some(index) = waiting.iter().position(|(_, value)| matches(value)) {
            let (at, value) = waiting.remove(index).context("an event")?;
            self.events = waiting;
            return Ok(Some((at, value["params"].clone())));
        }
        let until = Instant::now() + patience;
        let found = loop {
            match self.read(until) {
                Ok(Some((at, value))) if matches(&value) => break Ok(Some((at, value["params"].clone()))),
                Ok(Some(line)) => waiting.push_back(line),
                Ok(None) => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        self.events = waiting;
        found
    }

    fn next(&self, until: Instant) -> Result<(Instant, Value)> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("not in time"),
            Err(RecvTimeoutError::Disconnected) => bail!("the peer has ended"),
        }
    }

    /// Forgets the events that came so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
        while self.lines.try_recv().is_ok() {}
    }

    /// Its contact link.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub fn link(&mut self) -> Result<String> {
        Ok(self.call("status", json!({}))?["link"].as_str().context("a link")?.to_owned())
    }

    /// The texts of a conversation, oldest first, of the other side only.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub fn received(&mut self, with: &str) -> Result<Vec<String>> {
        let me = self.call("status", json!({}))?["peer"].clone();
        let page = self.call("message.history", json!({"with": with, "limit": 1000}))?;
        let messages = page.as_array().context("a page")?;
        let theirs = messages.iter().filter(|message| message["from"] != me);
        Ok(theirs.filter_map(|message| message["text"].as_str().map(str::to_owned)).collect())
    }
}
