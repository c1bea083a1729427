//! How the program ends: its exit code, and one line that says why.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::text::harmless;

/// It failed. The line on standard error says what to do next.
const FAILED: u8 = 1;
/// The arguments are wrong; clap exits with the same.
const USAGE: u8 = 2;
/// What was waited for did not happen in time.
const NOT_IN_TIME: u8 = 3;

/// The arguments do not fit together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// What was waited for did not happen in time.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotInTime(pub(crate) String);

/// The person, or the system, has asked it to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; a message that was stored before stays queued")]
pub(crate) struct Interrupted;

/// Says what went wrong, if something did.
pub(crate) fn code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        // Whoever read our output has seen enough of it.
        return ExitCode::SUCCESS;
    }
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "knothole: {}", lines(&told(&error)));
    ExitCode::from(if error.is::<Usage>() {
        USAGE
    } else if error.is::<NotInTime>() {
        NOT_IN_TIME
    } else {
        FAILED
    })
}

/// What is told may quote what others chose, names for one.
fn lines(told: &str) -> String {
    told.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// The error with its causes, but for those whose text is in the error's own.
fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow!("disk full").context("cannot write x: disk full; free some").context("stopped");
        assert_eq!(told(&error), "stopped: cannot write x: disk full; free some");
    }

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let codes = [
            (code(Ok(())), ExitCode::SUCCESS),
            (code(Err(anyhow!("x"))), ExitCode::from(1)),
            (code(Err(Usage("x".into()).into())), ExitCode::from(2)),
            (code(Err(NotInTime("x".into()).into())), ExitCode::from(3)),
            (code(Err(io::Error::from(io::ErrorKind::BrokenPipe).into())), ExitCode::SUCCESS),
        ];
        for (found, expected) in codes {
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        }
    }
}
