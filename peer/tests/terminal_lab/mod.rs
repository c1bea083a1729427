//! A person at a terminal: the real binary in a pseudo-terminal, keys that are pressed, and the screen that they see.
//!
//! [`Terminal`] is the terminal and whoever sits at it, [`Screen`] what it shows, [`Key`] what its keyboard sends, [`Town`] the
//! homes and the rendezvous, [`golden`] the comparison with screens that are kept in files. What the program writes is understood
//! by vt100, a model of xterm that takes one character after the other and knows nothing of clusters:
//!
//! - a combining mark or a variation selector is kept in the cell of its letter, up to 18 bytes, and does not move the cursor;
//! - a wide character fills a cell and a *continuation*, which is empty;
//! - an emoji joined of several by ZWJ is drawn as several, each two columns wide, as by every terminal that does not join them
//!   (xterm, tmux). So what can be asserted is that whatever stands *behind* such a cluster is in its column, which takes an
//!   interface that moves the cursor there, and that nothing of the parts is left behind; not how the cluster itself looks.
//!
//! It draws no U+FFFD (it reports a broken stream instead), which here is shown all the same: see [`screen`].
//!
//! Nothing here sleeps: what is waited for is looked at whenever output came or the process ended.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helper: it fails by panicking")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses another part of this module"
)]

pub mod golden;
mod keys;
mod screen;
#[cfg(test)]
mod tests;
pub mod tmux;
mod town;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use portable_pty::{CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

pub use keys::Key;
pub use screen::Screen;
use screen::{Display, display};
use tmux::Tmux;
pub use town::{Town, Who};

/// A screen that takes so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// What almost every terminal begins with.
pub const USUAL: Size = Size { rows: 24, columns: 80 };
/// The smallest in which one can talk.
pub const SMALL: Size = Size { rows: 10, columns: 40 };
pub const LARGE: Size = Size { rows: 40, columns: 120 };

impl From<Size> for PtySize {
    fn from(size: Size) -> Self {
        Self { rows: size.rows, cols: size.columns, pixel_width: 0, pixel_height: 0 }
    }
}

/// What is run, and around it only what is named here: nothing of this machine's environment gets in.
pub struct Program(CommandBuilder);

impl Program {
    /// `home` is the person's home directory, in which nothing is but what the program itself makes.
    pub fn new(path: impl AsRef<OsStr>, home: &Path) -> Self {
        let mut command = CommandBuilder::new(path);
        command.env_clear();
        command.cwd(home);
        let program = Self(command).with("HOME", home).with("PATH", std::env::var_os("PATH").unwrap_or_default());
        program.with("TERM", "xterm-256color").with("TZ", "UTC").with("LANG", "C.UTF-8").with("LC_ALL", "C.UTF-8")
    }

    pub fn with(mut self, variable: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(variable, value);
        self
    }

    pub fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.0.args(arguments);
        self
    }

    pub fn start(self, size: Size) -> Terminal {
        Terminal::start(self.0, size)
    }

    pub fn in_tmux(self, size: Size) -> Tmux {
        Tmux::start(size, &self.0)
    }
}

/// A terminal and the program in it, which ends with it.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Keyboard,
    process: Pid,
    seen: Arc<Seen>,
}

/// The keyboard, and what a terminal answers by itself.
type Keyboard = Arc<Mutex<Box<dyn Write + Send>>>;

/// What the terminal has seen of the program.
struct Seen {
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    display: Display,
    /// All that was written.
    written: Vec<u8>,
    /// When the newest of it came.
    at: Instant,
    /// No more comes.
    closed: bool,
    ended: Option<ExitStatus>,
}

impl Terminal {
    fn start(command: CommandBuilder, size: Size) -> Self {
        let pair = native_pty_system().openpty(size.into()).unwrap();
        let mut child = pair.slave.spawn_command(command).unwrap();
        let process = Pid::from_raw(i32::try_from(child.process_id().unwrap()).unwrap());
        // What is still held of the program's side would hide that the program has let go of it.
        drop(pair.slave);
        let keyboard = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let reader = pair.master.try_clone_reader().unwrap();
        let state = State { display: display(size), written: vec![], at: Instant::now(), closed: false, ended: None };
        let seen = Arc::new(Seen { state: Mutex::new(state), news: Condvar::new() });
        let (watched, answering) = (seen.clone(), keyboard.clone());
        thread::spawn(move || watched.watch(reader, &answering));
        let watched = seen.clone();
        thread::spawn(move || {
            let status = child.wait().unwrap();
            watched.locked().ended = Some(status);
            watched.news.notify_all();
        });
        Self { master: pair.master, keyboard, process, seen }
    }

    pub fn press(&self, key: Key) -> Instant {
        self.write(&key.bytes())
    }

    pub fn type_text(&self, text: &str) -> Instant {
        self.write(text.as_bytes())
    }

    /// As a terminal pastes, so that a program can tell it from typing.
    pub fn paste(&self, text: &str) -> Instant {
        self.write(format!("\x1b[200~{text}\x1b[201~").as_bytes())
    }

    /// Types a line and ends it.
    pub fn enter(&self, line: &str) -> Instant {
        self.write(format!("{line}\r").as_bytes())
    }

    /// Returns when it was written.
    fn write(&self, bytes: &[u8]) -> Instant {
        let mut keyboard = self.keyboard.lock().unwrap();
        let at = Instant::now();
        keyboard.write_all(bytes).unwrap();
        keyboard.flush().unwrap();
        at
    }

    pub fn resize(&self, size: Size) {
        // Together, or output for the new size could be drawn at the old one.
        let mut state = self.seen.locked();
        self.master.resize(size.into()).unwrap();
        state.display.resize(size);
    }

    /// Looks at the screen.
    pub fn look<T>(&self, looking: impl FnOnce(&Screen<'_>) -> T) -> T {
        looking(&self.seen.locked().display.screen())
    }

    /// The lines of the screen, without blanks at their ends.
    pub fn screen(&self) -> Vec<String> {
        self.look(|screen| screen.lines())
    }

    /// Waits until the screen is as wanted; returns when the output came that made it so, at the latest.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut wanted: impl FnMut(&Screen<'_>) -> bool) -> Instant {
        self.wait_until(what, |state| wanted(&state.display.screen()).then_some(state.at))
    }

    #[track_caller]
    pub fn wait_for_text(&self, text: &str) -> Instant {
        self.wait_for(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// Waits until it has ended and all that it wrote is read; returns its exit code.
    #[track_caller]
    pub fn wait_exit(&self) -> u32 {
        self.wait_until("its end", |state| {
            let status = state.ended.as_ref().filter(|_| state.closed)?;
            Some(status.exit_code())
        })
    }

    /// Waits for it as well; if it does not come, that is told instead of failing.
    pub fn patiently(&self, mut wanted: impl FnMut(&Screen<'_>) -> bool) -> Result<(), String> {
        self.until(|state| wanted(&state.display.screen()).then_some(()))
    }

    /// Waits likewise for what was written, in all.
    pub fn patiently_written(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<(), String> {
        self.until(|state| wanted(&state.written).then_some(()))
    }

    #[track_caller]
    fn wait_until<T>(&self, what: &str, wanted: impl FnMut(&State) -> Option<T>) -> T {
        self.until(wanted).unwrap_or_else(|instead| panic!("waited in vain for {what}; {instead}"))
    }

    fn until<T>(&self, mut wanted: impl FnMut(&State) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.seen.locked();
        loop {
            if let Some(found) = wanted(&state) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || (state.closed && state.ended.is_some()) {
                let how = state.ended.as_ref().map_or_else(|| "goes on".into(), |status| format!("ended, {status}"));
                return Err(format!("the program {how}, and the screen is\n{}", state.display.screen()));
            }
            state = self.seen.news.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until nothing has come for a while. Only for keeping new goldens: nothing that is proved may hang on it.
    pub fn settle(&self) {
        const QUIET: Duration = Duration::from_millis(700);
        let mut state = self.seen.locked();
        loop {
            let at = state.at;
            let (after, waited) = self.seen.news.wait_timeout(state, QUIET).unwrap();
            if waited.timed_out() && after.at == at {
                return;
            }
            state = after;
        }
    }

    /// The terminal's own settings, as the program left them.
    fn settings(&self) -> LocalFlags {
        // By number: portable-pty has a nix of its own.
        LocalFlags::from_bits_truncate(self.master.get_termios().unwrap().local_flags.bits())
    }

    /// Whether a shell could go on here: lines are edited and echoed, the cursor is seen, the screen is the usual one, and neither
    /// mouse nor pastes are reported.
    pub fn restored(&self) -> bool {
        let lines = self.settings().contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        lines && self.look(|screen| screen.is_usual())
    }

    /// All that the program wrote to the terminal.
    pub fn written(&self) -> Vec<u8> {
        self.seen.locked().written.clone()
    }

    /// How often it rang.
    pub fn bells(&self) -> usize {
        self.seen.locked().display.bells()
    }

    pub const fn process(&self) -> Pid {
        self.process
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub fn signal(&self, signal: Signal) {
        // Under the lock: once its end is known, its number may be another's.
        let state = self.seen.locked();
        if state.ended.is_none() {
            kill(self.process, signal).unwrap();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let Ok(state) = self.seen.state.lock() else { return };
        if state.ended.is_none() {
            // It may have ended this moment.
            let _ = kill(self.process, Signal::SIGKILL);
        }
    }
}

impl Seen {
    /// The thread that fails in a test's closure has only looked; what it looked at is whole.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn watch(&self, mut reader: impl Read, keyboard: &Keyboard) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            // An error is the end as well: there is nobody on the other side.
            let length = reader.read(&mut bytes).unwrap_or(0);
            let at = Instant::now();
            let mut state = self.locked();
            if length == 0 {
                state.closed = true;
                drop(state);
                self.news.notify_all();
                return;
            }
            state.at = at;
            state.written.extend(&bytes[..length]);
            let answers = state.display.take(&bytes[..length]);
            drop(state);
            self.news.notify_all();
            if !answers.is_empty() {
                let mut keyboard = keyboard.lock().unwrap();
                // Whoever asked and ended since needs no answer.
                let _ = keyboard.write_all(&answers).and_then(|()| keyboard.flush());
            }
        }
    }
}
