//! A second terminal, independent of vt100: a real tmux, asked what its pane shows.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use portable_pty::CommandBuilder;
use tempfile::TempDir;

use super::{PATIENCE, Size};

/// A tmux server of one's own, with one pane.
pub struct Tmux {
    socket: TempDir,
    /// Attached in tmux's control mode, it tells of every output.
    watcher: Child,
    news: Receiver<()>,
}

impl Tmux {
    /// Whether there is one. A word on it where tmux is missing; on a machine for tests, it must not be.
    #[expect(clippy::print_stderr, reason = "nothing is skipped silently")]
    pub fn installed() -> bool {
        let installed = Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success());
        if !installed {
            assert!(env::var_os("CI").is_none_or(|value| value != "true"), "tmux is missing; install it");
            eprintln!("SKIPPED: tmux is missing, so nothing is seen in it; install tmux to run this test");
        }
        installed
    }

    /// Runs a program in a pane of this size.
    pub fn start(size: Size, program: &CommandBuilder) -> Self {
        let socket = tempfile::tempdir().unwrap();
        let mut server = tmux(&socket);
        let (columns, rows) = (size.columns.to_string(), size.rows.to_string());
        server.args(["-f", "/dev/null", "new-session", "-d", "-s", "person", "-x", &columns, "-y", &rows]);
        server.args(["-c".as_ref(), program.get_cwd().unwrap().as_os_str()]);
        // What terminal it is tmux says itself.
        for (name, value) in program.iter_extra_env_as_str().filter(|(name, _)| *name != "TERM") {
            server.args(["-e", &format!("{name}={value}")]);
        }
        // Its end is told on the screen that it leaves behind, and the pane stays for that to be seen.
        server.args(["sh", "-c", "\"$@\"; echo \"ended: $?\"; exec cat", "sh"]).args(program.get_argv());
        server.args([";", "set-option", "-g", "window-size", "manual", ";", "set-option", "-g", "status", "off"]);
        run(&mut server);
        let mut watcher = tmux(&socket);
        watcher.args(["-C", "attach-session", "-t", "=person:"]);
        let mut watcher = watcher.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let told = BufReader::new(watcher.stdout.take().unwrap());
        let (sender, news) = channel();
        thread::spawn(move || told.split(b'\n').map_while(Result::ok).all(|_| sender.send(()).is_ok()));
        Self { socket, watcher, news }
    }

    pub fn type_text(&self, text: &str) {
        run(tmux(&self.socket).args(["send-keys", "-t", "=person:", "-l", "--", text]));
    }

    /// By tmux's name of the key.
    pub fn press(&self, key: &str) {
        run(tmux(&self.socket).args(["send-keys", "-t", "=person:", key]));
    }

    pub fn enter(&self, line: &str) {
        self.type_text(line);
        self.press("Enter");
    }

    /// What the pane shows.
    pub fn screen(&self) -> String {
        run(tmux(&self.socket).args(["capture-pane", "-p", "-t", "=person:"]))
    }

    /// Waits until the pane shows what is wanted.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let news = self.news.recv_timeout(left);
            assert!(news != Err(RecvTimeoutError::Timeout), "waited in vain for {what}; tmux shows\n{screen}");
            // Whatever else came at once is in the next look.
            while self.news.try_recv().is_ok() {}
        }
    }

    #[track_caller]
    pub fn wait_for_text(&self, text: &str) -> String {
        self.wait_for(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// Waits until the program has ended well; returns its last screen.
    #[track_caller]
    pub fn wait_exit(&self) -> String {
        self.wait_for_text("ended: 0")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Nothing is left to do if it has ended by itself.
        let _ = tmux(&self.socket).arg("kill-server").output();
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

fn tmux(socket: &TempDir) -> Command {
    let mut command = Command::new("tmux");
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C.UTF-8");
    command.env("TERM", "xterm-256color").arg("-u").arg("-S").arg(socket.path().join("socket"));
    command
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
