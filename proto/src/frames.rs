//! What two peers say to each other inside their QUIC connection: frames, each one body on the conversation stream.
//! Layout: docs/protocol.md, "Frames".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::envelope::EpochName;
use crate::identity::{InvalidKey, base32_bytes, base32_text};
use crate::traversal::MAX_NOTE;

/// The longest text of a message, in bytes of UTF-8.
pub const MAX_TEXT: usize = 64 * 1024;
/// The longest frame: a text and what stands around it.
pub const MAX_FRAME: usize = MAX_TEXT + 256;
/// The version of this module's frames; the first byte of every frame.
pub const VERSION: u8 = 1;

/// The name of a message, chosen at random by its author, the same on both sides. Its text is 26 characters of base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub [u8; 16]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32_text(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MessageId {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        base32_bytes(text)?.try_into().map(Self).map_err(|_| InvalidKey)
    }
}

/// One thing said. New frames are appended, never inserted; one that is not known is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// First on every connection, from both sides.
    Hello {
        /// Names the sequence of numbers of the sender's messages; a new one when its database is new.
        log: u64,
        /// The log of the other side that `received` speaks of; zero if none is known.
        received_log: u64,
        /// The highest number of that log that is in durable storage.
        received: u64,
    },
    /// A message.
    Message {
        /// Its place in the sender's log: 1, 2, 3…
        number: u64,
        /// Its name.
        message: MessageId,
        /// When it was written, by the author's clock, in milliseconds since 1970.
        at: u64,
        /// What it says.
        content: Content,
    },
    /// All messages of this log up to this number are in durable storage.
    Acknowledge {
        /// Whose numbers these are.
        log: u64,
        /// The highest number.
        upto: u64,
    },
    /// A person has read all messages of this log up to this number.
    Read {
        /// Whose numbers these are.
        log: u64,
        /// The highest number.
        upto: u64,
    },
    /// What the sender's [`traversal`](crate::traversal) tells the receiver's: addresses and tactics that the rendezvous
    /// need not know. No part of the conversation.
    Note {
        /// A [`traversal::Note`](crate::traversal::Note), at most [`MAX_NOTE`] bytes.
        note: Vec<u8>,
    },
    /// The [`envelope`](crate::envelope) epoch of this connection is in durable storage: letters may be sealed with it. No
    /// part of the conversation.
    Epoch {
        /// Its name, which follows from the connection.
        name: EpochName,
    },
    /// A person types, or has stopped. No part of the conversation: never stored nor repeated.
    Typing {
        /// Whether it goes on.
        on: bool,
    },
}

/// Why a body is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// The other side speaks a version that is not known.
    #[error("the other side speaks another version of the protocol: one of the two needs an update")]
    Version,
    /// Too long, or a field beyond its bounds.
    #[error("a field is beyond its bounds")]
    Bounds,
}

impl Frame {
    /// The frame as a body.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        // Serialising into memory cannot fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads a body. `Ok(None)`: well-formed as far as can be told, but of a kind not known here.
    ///
    /// # Errors
    /// The body is of another version or beyond the bounds.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, InvalidFrame> {
        let (&version, rest) = body.split_first().ok_or(InvalidFrame::Bounds)?;
        if version != VERSION {
            return Err(InvalidFrame::Version);
        }
        match postcard::take_from_bytes::<Self>(rest) {
            Ok((Self::Message { content, .. }, _)) if !content.is_within_bounds() => Err(InvalidFrame::Bounds),
            Ok((Self::Note { note }, _)) if note.len() > MAX_NOTE => Err(InvalidFrame::Bounds),
            Ok((frame, [])) => Ok(Some(frame)),
            Ok(_) => Err(InvalidFrame::Bounds),
            // A kind of a later version, whatever its length: the link bounds that.
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::any_content;
    use proptest::prelude::*;

    fn message(text: String) -> Frame {
        let reply = Some(MessageId([255; 16]));
        let content = Content::Text { text, reply, expires_s: Some(u32::MAX) };
        Frame::Message { number: u64::MAX, message: MessageId([255; 16]), at: u64::MAX, content }
    }

    #[test]
    fn the_longest_message_fits_and_a_longer_one_is_out_of_bounds() {
        let frame = message("x".repeat(MAX_TEXT));
        let body = frame.to_body();
        assert!(body.len() <= MAX_FRAME);
        assert_eq!(Frame::parse(&body), Ok(Some(frame)));
        assert_eq!(Frame::parse(&message("x".repeat(MAX_TEXT + 1)).to_body()), Err(InvalidFrame::Bounds));
    }

    #[test]
    fn unknown_kinds_are_passed_over_unknown_versions_are_errors() {
        assert_eq!(Frame::parse(&[VERSION, 99, 1, 2, 3]), Ok(None));
        assert_eq!(Frame::parse(&[VERSION + 1, 0]), Err(InvalidFrame::Version));
        assert_eq!(Frame::parse(&[]), Err(InvalidFrame::Bounds));
    }

    proptest! {
        #[test]
        fn every_message_reads_back(content in any_content(), number: u64, at: u64, id: [u8; 16]) {
            let frame = Frame::Message { number, message: MessageId(id), at, content };
            prop_assert_eq!(Frame::parse(&frame.to_body()), Ok(Some(frame)));
        }

        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = Frame::parse(&body);
        }
    }
}
