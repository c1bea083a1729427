//! Why the engine did not carry a command out, in words for programs: a `kind` that stays, and what is special to the case.
//! The text beside it is for a person and may be worded anew.

use knothole_proto::content::MAX_EMOJI;
use knothole_proto::control::MAX_GREETING;
use knothole_proto::frames::MAX_TEXT;
use knothole_proto::verification::Mismatch;
use serde_json::{Value, json};

use crate::command::{CommandError, KeyDiffers};
use crate::store::{MAX_NAME, MAX_REQUESTS, StoreError};

use super::message::Failure;

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::command(error.to_string(), data(&error))
    }
}

/// The `data` of an error (JSON-RPC 2.0, section 5.1).
fn data(error: &CommandError) -> Value {
    match error {
        CommandError::UnknownContact(name) => json!({"kind": "unknown-contact", "name": name}),
        CommandError::NotAccepted(name) => json!({"kind": "not-accepted", "name": name}),
        CommandError::Blocked(name) => json!({"kind": "blocked", "name": name}),
        CommandError::Hidden(name) => json!({"kind": "hidden", "name": name}),
        CommandError::NoRendezvous => json!({"kind": "no-rendezvous"}),
        CommandError::NoRendezvousYet => json!({"kind": "rendezvous-unreachable"}),
        CommandError::OwnLink => json!({"kind": "own-link"}),
        CommandError::LongGreeting(bytes) => json!({"kind": "long-greeting", "bytes": bytes, "most": MAX_GREETING}),
        CommandError::OwnCode => json!({"kind": "own-code"}),
        CommandError::CodeReplaced => json!({"kind": "code-replaced"}),
        CommandError::NoCode => json!({"kind": "no-code"}),
        CommandError::UnknownCode(number) => json!({"kind": "unknown-code", "number": number}),
        CommandError::WrongWords => json!({"kind": "wrong-words"}),
        CommandError::CodeUnanswered => json!({"kind": "code-unanswered"}),
        CommandError::KeyDiffers(differs) => {
            let KeyDiffers { name, known, given } = &**differs;
            json!({"kind": "key-differs", "name": name, "known": known, "given": given})
        }
        CommandError::Unverified(mismatch) => {
            let why = match mismatch {
                Mismatch::NotOne => "no-such-text",
                Mismatch::NotForUs => "not-for-us",
                Mismatch::AnotherKey => "another-key",
            };
            json!({"kind": "unverified", "why": why})
        }
        CommandError::NoMemory => json!({"kind": "no-memory"}),
        CommandError::Store(error) => store(error),
        CommandError::Backup { kind, .. } => json!({"kind": kind}),
        CommandError::Stopping => json!({"kind": "stopping"}),
    }
}

/// The same of the store's. What can be refused by both has one word.
fn store(error: &StoreError) -> Value {
    match error {
        StoreError::Busy => json!({"kind": "busy"}),
        StoreError::Stopped => json!({"kind": "database-closed"}),
        StoreError::Full => json!({"kind": "disk-full"}),
        StoreError::Locked => json!({"kind": "database-locked"}),
        StoreError::Damaged => json!({"kind": "database-damaged"}),
        StoreError::Disk(why) => json!({"kind": "database-unusable", "why": why}),
        StoreError::UnknownContact => json!({"kind": "unknown-contact"}),
        StoreError::UnknownMessage => json!({"kind": "unknown-message"}),
        StoreError::NotMine => json!({"kind": "not-mine"}),
        StoreError::NotChangeable => json!({"kind": "not-changeable"}),
        StoreError::InvalidReaction => json!({"kind": "invalid-reaction", "most": MAX_EMOJI}),
        StoreError::NameTaken(name) => json!({"kind": "name-taken", "name": name}),
        StoreError::InvalidName => json!({"kind": "invalid-name", "most": MAX_NAME}),
        StoreError::NotAccepted => json!({"kind": "not-accepted"}),
        StoreError::Blocked => json!({"kind": "blocked"}),
        StoreError::TooManyRequests => json!({"kind": "too-many-requests", "most": MAX_REQUESTS}),
        StoreError::TooLong(bytes) => json!({"kind": "too-long", "bytes": bytes, "most": MAX_TEXT}),
        StoreError::MessageKnown => json!({"kind": "message-known"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &str = include_str!("../../../docs/json-rpc.md");

    /// One of each variant; that none is missing, the matches above tell.
    fn all() -> Vec<CommandError> {
        let name = || "bob".to_owned();
        let differs = KeyDiffers { name: name(), known: "abandon".into(), given: "zoo".into() };
        let stored = [
            StoreError::Busy,
            StoreError::Stopped,
            StoreError::Full,
            StoreError::Locked,
            StoreError::Damaged,
            StoreError::Disk("a fault".into()),
            StoreError::UnknownContact,
            StoreError::UnknownMessage,
            StoreError::NotMine,
            StoreError::NotChangeable,
            StoreError::InvalidReaction,
            StoreError::NameTaken(name()),
            StoreError::InvalidName,
            StoreError::NotAccepted,
            StoreError::Blocked,
            StoreError::TooManyRequests,
            StoreError::TooLong(70_000),
            StoreError::MessageKnown,
        ];
        let mut all = vec![
            CommandError::UnknownContact(name()),
            CommandError::NotAccepted(name()),
            CommandError::Blocked(name()),
            CommandError::Hidden(name()),
            CommandError::NoRendezvous,
            CommandError::NoRendezvousYet,
            CommandError::OwnLink,
            CommandError::LongGreeting(200),
            CommandError::OwnCode,
            CommandError::CodeReplaced,
            CommandError::NoCode,
            CommandError::UnknownCode(7),
            CommandError::WrongWords,
            CommandError::CodeUnanswered,
            CommandError::KeyDiffers(Box::new(differs)),
            CommandError::Unverified(Mismatch::NotOne),
            CommandError::Unverified(Mismatch::NotForUs),
            CommandError::Unverified(Mismatch::AnotherKey),
            CommandError::NoMemory,
            CommandError::Stopping,
        ];
        all.extend(stored.map(CommandError::Store));
        all
    }

    #[test]
    fn every_kind_of_error_is_in_the_documentation_with_its_fields() {
        for error in all() {
            let data = data(&error);
            let mut fields = data.as_object().unwrap().clone();
            let kind = fields.remove("kind").unwrap();
            let row = format!("| `{}` |", kind.as_str().unwrap());
            let line = KINDS.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{row}"));
            for field in fields.keys() {
                assert!(line.contains(&format!("`{field}")), "{field} of {kind}");
            }
        }
    }

    #[test]
    fn what_is_special_to_the_case_is_told_beside_the_kind() {
        let failure = Failure::from(CommandError::from(StoreError::NameTaken("bob".into())));
        assert_eq!((failure.code, failure.data), (-32_000, Some(json!({"kind": "name-taken", "name": "bob"}))));
        let failure = Failure::from(CommandError::from(StoreError::TooLong(70_000)));
        assert_eq!(failure.data, Some(json!({"kind": "too-long", "bytes": 70_000, "most": 65_536})));
        let differs = KeyDiffers { name: "bob".into(), known: "abandon".into(), given: "zoo".into() };
        let failure = Failure::from(CommandError::KeyDiffers(Box::new(differs)));
        let expected = json!({"kind": "key-differs", "name": "bob", "known": "abandon", "given": "zoo"});
        assert_eq!(failure.data, Some(expected));
    }
}
