//! What a person, or a script, gets to see.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::text::{as_written, escaped};

/// Standard output and standard error, as this run uses them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whether data is to be printed as JSON.
    pub(crate) json: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, colour: colour() && io::stderr().is_terminal() }
    }

    /// Whether a person reads what is printed.
    pub(crate) fn at_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// A line on standard output: what was asked for.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", fit(text, out.is_terminal()))?;
        out.flush()
    }

    /// Whole lines on standard output, as they are.
    pub(crate) fn text(self, lines: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(lines)?;
        out.flush()
    }

    /// Data on standard output: as JSON on one line if that is wanted, else as the lines that `text` makes.
    pub(crate) fn data(self, data: &Value, text: impl FnOnce() -> String) -> io::Result<()> {
        match (self.json, text) {
            (true, _) => self.line(&escaped(&data.to_string())),
            (false, text) => match text() {
                text if text.is_empty() => Ok(()),
                text => self.line(&text),
            },
        }
    }

    /// A line on standard error: what happens besides.
    pub(crate) fn aside(self, text: &str) {
        let (dim, plain) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let mut out = io::stderr().lock();
        let text = fit(text, out.is_terminal());
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(out, "{dim}{text}{plain}");
    }
}

/// A line as a terminal gets it; a program, which compares texts, gets it without what only keeps their direction.
fn fit(line: &str, terminal: bool) -> Cow<'_, str> {
    if terminal { Cow::Borrowed(line) } else { Cow::Owned(as_written(line)) }
}

/// <https://no-color.org>: set and not empty means none.
pub(crate) fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
