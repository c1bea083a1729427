//! Being told to end.

use std::fs;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and, unless it is to be ignored, SIGHUP, caught from the moment this is made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is gone.
    hangup: Option<Signal>,
}

impl Signals {
    /// `at_terminal`: what is done ends with its terminal. `nohup`, and whatever else starts a program with SIGHUP ignored, is
    /// obeyed; where the system does not say, only what ends with its terminal catches it.
    pub(crate) fn new(at_terminal: bool) -> io::Result<Self> {
        // Before it is caught, which makes of an ignored signal a caught one.
        let ignored = hangup_is_ignored().unwrap_or(!at_terminal);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if ignored { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// Done when either comes.
    pub(crate) async fn end(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// As this process was started; `None` where the system does not tell without code that is not safe.
fn hangup_is_ignored() -> Option<bool> {
    ignores_hangup(&fs::read_to_string("/proc/self/status").ok()?)
}

/// What proc_pid_status(5) says: a mask, whose lowest bit is signal 1, SIGHUP.
fn ignores_hangup(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok().map(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_systems_mask() {
        let status =
            |mask| format!("Name:\tknothole\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        assert_eq!(ignores_hangup(&status("0000000000001001")), Some(true));
        assert_eq!(ignores_hangup(&status("0000000000001000")), Some(false));
        assert_eq!(ignores_hangup(&status("?")), None);
        assert_eq!(ignores_hangup(""), None);
    }
}
