//! One-time codes like `7-orchard-velvet`: two people who can say three words to each other become contacts.
//!
//! The number leads to the maker of the code, through a rendezvous; the words are the secret. SPAKE2 (RFC 9382's protocol in
//! the form of the `spake2` crate, on Ed25519's group) makes a key of them that nobody has who does not know them, and who
//! does not cannot try any: only by playing one of the two ends, once. Under that key each end seals its [`Card`]. The order
//! is such that the maker proves nothing before the other end has: docs/protocol.md, "Codes".
//!
//! The machines here have no clock: their owner gives up an exchange that takes too long, and never uses a machine twice.

mod exchange;
mod sealing;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use exchange::{Failure, Joiner, Maker, Progress};

use serde::{Deserialize, Serialize};

use crate::contact_link::ContactLink;
use crate::control::MAX_CODE_MESSAGE;
use crate::words::{BITS, recognise, word};

/// Characters of a name that somebody gives itself at most.
pub const MAX_NAME: usize = 64;

/// What a sealed card may take, less what is around it.
const MAX_CARD: usize = MAX_CODE_MESSAGE - 32;

/// A code: where it leads, and the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    number: u16,
    words: [&'static str; 2],
}

/// Why a text is no code; the texts are for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCode {
    /// It does not look like one.
    #[error("a code is a number and two words, like 7-orchard-velvet")]
    Form,
    /// One of the words is none of the list: it was misheard or mistyped, and nothing was tried.
    #[error("{0:?} is no word of a code; ask for it again, letter by letter")]
    Word(String),
}

impl Code {
    /// A code of this number. Of the chance the lowest 22 bits make the words.
    #[must_use]
    pub fn new(number: u16, chance: u32) -> Self {
        // Eleven bits each.
        Self { number, words: [word(chance as u16), word((chance >> BITS) as u16)] }
    }

    /// The number, which is no secret.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Whether a text is meant to be a code: then what is wrong with it can be told.
    #[must_use]
    pub fn looks_like_one(text: &str) -> bool {
        text.trim().starts_with(|c: char| c.is_ascii_digit())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.words;
        write!(f, "{}-{first}-{second}", self.number)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-…", self.number)
    }
}

impl FromStr for Code {
    type Err = InvalidCode;

    /// Capitals, spaces in place of hyphens and all but the first four letters of a word do not count.
    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let parts: Vec<_> =
            text.split(|c: char| c == '-' || c.is_whitespace()).filter(|part| !part.is_empty()).collect();
        let [number, first, second] = parts[..] else { return Err(InvalidCode::Form) };
        let number = number.parse().ok().filter(|number| *number != 0).ok_or(InvalidCode::Form)?;
        let word = |typed: &str| recognise(typed).ok_or_else(|| InvalidCode::Word(typed.to_owned()));
        Ok(Self { number, words: [word(first)?, word(second)?] })
    }
}

/// What each end gives the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Where it is to be reached.
    pub link: ContactLink,
    /// What it calls itself; not looked at yet.
    pub name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    link: String,
    name: Option<String>,
}

impl Card {
    /// As it is sealed. The last of many rendezvous are left out where they do not fit.
    fn to_bytes(&self) -> Vec<u8> {
        let name: Option<String> = self.name.as_ref().map(|name| name.chars().take(MAX_NAME).collect());
        let mut link = self.link.clone();
        loop {
            let written = Written { link: link.to_string(), name: name.clone() };
            // Serialising into memory cannot fail.
            let bytes = postcard::to_allocvec(&written).unwrap_or_default();
            if bytes.len() <= MAX_CARD || link.via.pop().is_none() {
                return bytes;
            }
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (Written { link, name }, _) = postcard::take_from_bytes(bytes).ok()?;
        let name = name.filter(|name| name.chars().count() <= MAX_NAME);
        Some(Self { link: link.parse().ok()?, name })
    }
}
