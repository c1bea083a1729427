//! What a message says: a text, or a change of an earlier message, of its reactions, or of the conversation.
//! Layout and the rules by which both sides come to show the same: docs/protocol.md, "Content".
//!
//! Changes are messages like any other, numbered, acknowledged and repeated. What is not here: applying them, which is the
//! store's.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::frames::{MAX_TEXT, MessageId};

/// The longest reaction, in bytes of UTF-8: emoji that are joined of many, a family with skin tones say, take this many.
pub const MAX_EMOJI: usize = 64;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Something to read.
    Text {
        /// What was written, at most [`MAX_TEXT`] bytes.
        text: String,
        /// The message that it answers; the reader may not have that.
        reply: Option<MessageId>,
        /// Seconds after which it disappears on both sides, if it does; docs/protocol.md says from when they count.
        expires_s: Option<u32>,
    },
    /// The author's own message has another text now.
    Edit {
        /// Which message.
        of: MessageId,
        /// The whole new text, at most [`MAX_TEXT`] bytes.
        text: String,
    },
    /// The author's own message is taken back.
    Delete {
        /// Which message.
        of: MessageId,
    },
    /// A reaction to a message of either side, or the end of one.
    Reaction {
        /// Which message.
        of: MessageId,
        /// 1 to [`MAX_EMOJI`] bytes.
        emoji: String,
        /// Whether it is there from now on.
        on: bool,
    },
    /// Later texts of both sides disappear after so long, unless they say otherwise themselves.
    Timer {
        /// In seconds; `None`: they stay.
        expires_s: Option<u32>,
    },
    /// Of a kind that this version does not know, as it came. Never to be made here.
    Unknown(Vec<u8>),
}

/// The known kinds as they are on the wire. New ones are appended, never inserted.
#[derive(Serialize, Deserialize)]
enum Known<'a> {
    Text {
        #[serde(borrow)]
        text: &'a str,
        reply: Option<MessageId>,
        expires_s: Option<u32>,
    },
    Edit {
        of: MessageId,
        text: &'a str,
    },
    Delete {
        of: MessageId,
    },
    Reaction {
        of: MessageId,
        emoji: &'a str,
        on: bool,
    },
    Timer {
        expires_s: Option<u32>,
    },
}

impl Content {
    /// The content as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let known = match self {
            Self::Text { text, reply, expires_s } => Known::Text { text, reply: *reply, expires_s: *expires_s },
            Self::Edit { of, text } => Known::Edit { of: *of, text },
            Self::Delete { of } => Known::Delete { of: *of },
            Self::Reaction { of, emoji, on } => Known::Reaction { of: *of, emoji, on: *on },
            Self::Timer { expires_s } => Known::Timer { expires_s: *expires_s },
            Self::Unknown(bytes) => return bytes.clone(),
        };
        // Serialising into memory cannot fail.
        postcard::to_extend(&known, Vec::new()).unwrap_or_default()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made here or in a later version.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match postcard::take_from_bytes(&bytes) {
            Ok((known, [])) => match known {
                Known::Text { text, reply, expires_s } => Self::Text { text: text.to_owned(), reply, expires_s },
                Known::Edit { of, text } => Self::Edit { of, text: text.to_owned() },
                Known::Delete { of } => Self::Delete { of },
                Known::Reaction { of, emoji, on } => Self::Reaction { of, emoji: emoji.to_owned(), on },
                Known::Timer { expires_s } => Self::Timer { expires_s },
            },
            _ => Self::Unknown(bytes),
        }
    }

    /// Whether every field keeps to its bounds.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        match self {
            Self::Reaction { emoji, .. } => (1..=MAX_EMOJI).contains(&emoji.len()),
            other => other.text_len() <= MAX_TEXT,
        }
    }

    /// The bytes in it that may be many: those of a text.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match self {
            Self::Text { text, .. } | Self::Edit { text, .. } => text.len(),
            Self::Unknown(bytes) => bytes.len(),
            Self::Delete { .. } | Self::Reaction { .. } | Self::Timer { .. } => 0,
        }
    }
}

/// A text that answers nothing and stays.
impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text { text, reply: None, expires_s: None }
    }
}

/// A text that answers nothing and stays.
impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// With its length before it, so that who does not know its kind can still tell where it ends.
impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(Self::from_bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any content that a peer may send.
    pub(crate) fn any_content() -> impl Strategy<Value = Content> {
        let id = || any::<[u8; 16]>().prop_map(MessageId);
        prop_oneof![
            (".*", proptest::option::of(id()), any::<Option<u32>>())
                .prop_map(|(text, reply, expires_s)| Content::Text { text, reply, expires_s }),
            (id(), ".*").prop_map(|(of, text)| Content::Edit { of, text }),
            id().prop_map(|of| Content::Delete { of }),
            (id(), ".{1,16}", any::<bool>()).prop_map(|(of, emoji, on)| Content::Reaction { of, emoji, on }),
            any::<Option<u32>>().prop_map(|expires_s| Content::Timer { expires_s }),
        ]
    }

    #[test]
    fn each_kind_has_its_documented_number() {
        let of = MessageId([7; 16]);
        let kinds = [
            Content::from(""),
            Content::Edit { of, text: String::new() },
            Content::Delete { of },
            Content::Reaction { of, emoji: "👍".into(), on: true },
            Content::Timer { expires_s: None },
        ];
        assert_eq!(kinds.map(|content| content.to_bytes()[0]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_a_later_version_says_is_kept_as_it_came() {
        for bytes in [vec![99, 1, 2, 3], vec![], [Content::from("x").to_bytes(), vec![0]].concat()] {
            let content = Content::from_bytes(bytes.clone());
            assert_eq!(content, Content::Unknown(bytes.clone()));
            let body = postcard::to_allocvec(&(content.clone(), 5_u8)).unwrap();
            assert_eq!(postcard::from_bytes::<(Content, u8)>(&body), Ok((content, 5)));
        }
    }

    #[test]
    fn texts_and_reactions_have_bounds() {
        let of = MessageId([7; 16]);
        let reaction = |emoji: &str| Content::Reaction { of, emoji: emoji.into(), on: true }.is_within_bounds();
        assert!(reaction("👨‍👩‍👧‍👦"));
        assert!(!reaction(""));
        assert!(!reaction(&"x".repeat(MAX_EMOJI + 1)));
        for (length, within) in [(MAX_TEXT, true), (MAX_TEXT + 1, false)] {
            let text = "x".repeat(length);
            assert_eq!(Content::from(text.as_str()).is_within_bounds(), within);
            assert_eq!(Content::Edit { of, text: text.clone() }.is_within_bounds(), within);
            assert_eq!(Content::Unknown(text.into_bytes()).is_within_bounds(), within);
        }
    }

    proptest! {
        #[test]
        fn every_content_reads_back(content in any_content()) {
            let body = postcard::to_allocvec(&content).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Content>(&body), Ok(content));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Content::from_bytes(bytes);
        }
    }
}
