//! The terminal itself: taken over at the start, and given back whatever happens: at the end, after a panic, before a suspension.

use std::io::{self, Stdout, Write as _, stdout};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use crate::log::{self, Log};

/// A terminal in full-screen use; dropped, it is as it was before.
pub(crate) struct Tty {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    mouse: bool,
}

impl Tty {
    /// Takes the terminal over.
    pub(crate) fn take(mouse: bool) -> io::Result<Self> {
        let former = std::panic::take_hook();
        let here = thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == here {
                give_back();
                former(panic);
            } else {
                // The screen goes on; what was said of it stands in the log, which is seen at the end.
                let _ = writeln!(Log, "{panic}");
            }
        }));
        enter(mouse)?;
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(stdout()))?, mouse })
    }

    pub(crate) const fn terminal(&mut self) -> &mut Terminal<CrosstermBackend<Stdout>> {
        &mut self.terminal
    }

    /// Gives the terminal back, stops this process until it is continued, and takes the terminal over again.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTSTP)?;
        enter(self.mouse)?;
        self.draw_anew()
    }

    /// Has the next frame drawn whole. ratatui's own `clear` asks the terminal where its cursor is, and the answer would go to the
    /// thread that reads the keys.
    pub(crate) fn draw_anew(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Writes a sequence that draws nothing.
    pub(crate) fn write(&mut self, sequence: &str) -> io::Result<()> {
        let mut out = stdout().lock();
        out.write_all(sequence.as_bytes())?;
        out.flush()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter(mouse: bool) -> io::Result<()> {
    log::hold();
    enable_raw_mode()?;
    // What a terminal draws wider than we think must end at its edge, and not go on in the next row.
    let entered = execute!(stdout(), EnterAlternateScreen, DisableLineWrap, EnableBracketedPaste, EnableFocusChange);
    let entered = if mouse { entered.and_then(|()| execute!(stdout(), EnableMouseCapture)) } else { entered };
    entered.inspect_err(|_| give_back())
}

fn give_back() {
    // Where the terminal is gone there is nothing to give back.
    let _ = execute!(
        stdout(),
        DisableMouseCapture,
        DisableFocusChange,
        DisableBracketedPaste,
        EnableLineWrap,
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
    log::release();
}
