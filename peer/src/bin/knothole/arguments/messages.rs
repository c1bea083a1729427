//! What the verbs about messages take: `send`, `history`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use crate::duration::{duration, lasting};

#[derive(Debug, Args)]
pub(crate) struct Message {
    /// A name or a peer id
    pub(crate) name: String,
    /// What to say; `-`, or nothing where the input is no terminal, reads it from there
    pub(crate) text: Option<String>,
    /// A file to send along; may be given more than once. Not possible yet
    #[arg(long = "file", value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// How far it must have come
    #[arg(long, value_enum, default_value_t = Wait::Delivered, value_name = "STATE")]
    pub(crate) wait: Wait,
    /// How long to wait: 500ms, 30s, 2m, 1h
    #[arg(long, value_parser = duration, default_value = "30s", value_name = "DURATION")]
    pub(crate) timeout: Duration,
    /// Answer a message: its id, the beginning of it, or `last` for the last one they wrote
    #[arg(long, value_name = "MESSAGE")]
    pub(crate) reply: Option<String>,
    /// Let it disappear on both sides, so long after it was read: 30s, 5m, 1h, 1d, 1w, or off [default: as the conversation's
    /// timer says]
    #[arg(long, value_parser = lasting, value_name = "DURATION")]
    pub(crate) expires: Option<u32>,
}

/// What `send` may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Wait {
    /// On its way
    Sent,
    /// In durable storage at the other side
    Delivered,
    /// Seen by the other person
    Read,
}

impl Wait {
    /// The word for it, as in JSON-RPC.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Page {
    /// A name or a peer id
    pub(crate) name: String,
    /// Only messages that hold this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Show the beginning of each message's id
    #[arg(long)]
    pub(crate) ids: bool,
}

#[cfg(test)]
mod tests {
    use super::super::Verb;
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn send_waits_half_a_minute_for_delivery_unless_told() {
        let Some(Verb::Send(message)) = parsed(&["send", "bob", "-"]).unwrap().verb else {
            panic!("send");
        };
        assert_eq!((message.wait, message.timeout), (Wait::Delivered, Duration::from_secs(30)));
        assert!(parsed(&["send", "bob", "x", "--timeout", "soon"]).is_err());
        assert!(parsed(&["history", "bob", "--limit", "0"]).is_err());
    }
}
