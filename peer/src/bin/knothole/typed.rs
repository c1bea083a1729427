//! Standard input: lines as they are typed, or one text as a whole.

use std::io::{self, BufRead, IsTerminal as _, Read as _};
use std::thread;

use anyhow::{Context as _, bail};
use knothole_proto::frames::MAX_TEXT;
use tokio::sync::mpsc;

/// Lines that wait; the thread that reads them waits, too, then.
const LINES: usize = 16;

/// A line that was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line(String),
    /// More than a message can hold.
    TooLong,
}

/// Whether a person types there.
pub(crate) fn at_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The lines of standard input, until its end. They are read by a thread that outlives the interest in it: a read of a terminal
/// cannot be broken off.
pub(crate) fn lines() -> mpsc::Receiver<Typed> {
    let (sender, lines) = mpsc::channel(LINES);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(Some(line)) = next(&mut input) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// All of standard input, less one line end at its end.
pub(crate) async fn whole() -> anyhow::Result<String> {
    let reading = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        // Two more for a line end, one more to tell too much.
        io::stdin().lock().take(MAX_TEXT as u64 + 3).read_to_end(&mut bytes).map(|_| bytes)
    });
    text(reading.await?.context("standard input cannot be read; give the text as an argument")?)
}

fn text(bytes: Vec<u8>) -> anyhow::Result<String> {
    let mut text = String::from_utf8(bytes).map_err(|_| {
        anyhow::anyhow!("standard input is no UTF-8 text; convert it first, with `iconv -t UTF-8` for one")
    })?;
    text.truncate(without_end(&text).len());
    if text.len() > MAX_TEXT {
        bail!("a message has at most {MAX_TEXT} bytes, and this is longer; split it into several");
    }
    Ok(text)
}

fn next(input: &mut impl BufRead) -> io::Result<Option<Typed>> {
    let mut bytes = Vec::new();
    let limit = MAX_TEXT + 2;
    if input.by_ref().take(limit as u64).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.len() == limit && bytes.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
        return Ok(Some(Typed::TooLong));
    }
    let line = String::from_utf8_lossy(&bytes);
    let line = without_end(&line);
    // What is no UTF-8 has grown.
    Ok(Some(if line.len() > MAX_TEXT { Typed::TooLong } else { Typed::Line(line.to_owned()) }))
}

fn without_end(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.len() == text.len() { line } else { line.strip_suffix('\r').unwrap_or(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> Vec<Typed> {
        std::iter::from_fn(|| next(&mut input).unwrap()).collect()
    }

    fn line(text: &str) -> Typed {
        Typed::Line(text.into())
    }

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        assert_eq!(all(b"a\n b \r\n\n\rc"), [line("a"), line(" b "), line(""), line("\rc")]);
        assert_eq!(all(b"\xff\n"), [line("\u{FFFD}")]);
    }

    #[test]
    fn a_line_longer_than_a_message_is_passed_over_as_a_whole() {
        let longest = "x".repeat(MAX_TEXT);
        for end in ["\n", "\r\n", ""] {
            assert_eq!(all(format!("{longest}{end}").as_bytes()), [line(&longest)]);
        }
        let input = format!("{longest}x\n{longest}{longest}\nshort\n");
        assert_eq!(all(input.as_bytes()), [Typed::TooLong, Typed::TooLong, line("short")]);
    }

    #[test]
    fn a_piped_text_loses_one_line_end_and_must_fit() {
        assert_eq!(text(b"a\n\n".into()).unwrap(), "a\n");
        assert_eq!(text(b"a\r\n".into()).unwrap(), "a");
        assert_eq!(text(format!("{}\r\n", "x".repeat(MAX_TEXT)).into()).unwrap().len(), MAX_TEXT);
        assert!(text("x".repeat(MAX_TEXT + 1).into()).unwrap_err().to_string().contains("split"));
        assert!(text(b"\xff".into()).unwrap_err().to_string().contains("UTF-8"));
    }
}
