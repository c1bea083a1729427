//! What a person, or a script, gets to see.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::text::escaped;

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
        writeln!(out, "{text}")?;
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
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{dim}{text}{plain}");
    }
}

/// <https://no-color.org>: set and not empty means none.
pub(crate) fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
