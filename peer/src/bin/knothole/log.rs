//! The log, on standard error; while the terminal shows a screen its lines are held back, or they would be written over that.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;

use crate::output;

/// Lines held at most; of more the newest are kept.
const MOST_HELD: usize = 200;

/// What waits, while it does.
static HELD: Mutex<Option<VecDeque<Vec<u8>>>> = Mutex::new(None);

/// Logs from warnings on, unless KNOTHOLE_LOG says otherwise.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("KNOTHOLE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        .with_ansi(output::colour() && io::stderr().is_terminal())
        .init();
}

/// Holds lines back from now on, if they would appear where the screen is.
pub(crate) fn hold() {
    if io::stderr().is_terminal() {
        *held() = Some(VecDeque::new());
    }
}

/// Writes what was held back, and holds no more.
pub(crate) fn release() {
    let lines = held().take();
    for line in lines.into_iter().flatten() {
        // Where standard error is closed there is nobody to tell.
        let _ = io::stderr().lock().write_all(&line);
    }
}

fn held() -> MutexGuard<'static, Option<VecDeque<Vec<u8>>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line, written as a whole.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(lines) = &mut *held() else { return io::stderr().write(line) };
        if lines.len() >= MOST_HELD {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
