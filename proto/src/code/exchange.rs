//! The two ends of an exchange: four messages, after each of which one end knows more.
//!
//! ```text
//!  joiner                     maker
//!    | Join: SPAKE2 ----------->|
//!    |<--------- Answer: SPAKE2 |   so far nobody can tell whether the words were the same
//!    | Proof: sealed card ----->|   opens: the joiner knows the words; else the code is burnt
//!    |<------ Card: sealed card |   opens: the maker knows them, too
//! ```

use serde::{Deserialize, Serialize};

use super::sealing::{Half, Keys};
use super::{Card, Code};

/// A message of an exchange. New ones are appended.
#[derive(Serialize, Deserialize)]
enum Message {
    Join(Vec<u8>),
    Answer(Vec<u8>),
    Proof(Vec<u8>),
    Card(Vec<u8>),
}

impl Message {
    fn to_bytes(&self) -> Vec<u8> {
        // Serialising into memory cannot fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        postcard::take_from_bytes(bytes).ok().map(|(message, _)| message)
    }
}

/// What came of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: it was not its turn, or it is no message of an exchange.
    Nothing,
    /// This is to be said to the other end.
    Say(Vec<u8>),
    /// The other end knows the words.
    Met {
        /// Who it is.
        card: Card,
        /// What is still to be said to it, by the maker: the joiner does not know yet.
        say: Option<Vec<u8>>,
    },
    /// It is over; the code is burnt.
    Failed(Failure),
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The other end does not know the words.
    #[error("the words were not the same on both sides: mistyped, or somebody guessed")]
    WrongWords,
}

/// The end that made the code.
pub struct Maker {
    code: Code,
    card: Card,
    seed: [u8; 32],
    state: Making,
}

enum Making {
    Open,
    Answered(Keys),
    Over,
}

impl Maker {
    /// The maker of this code, who gives this card. The seed must be secret and used once.
    #[must_use]
    pub const fn new(code: Code, card: Card, seed: [u8; 32]) -> Self {
        Self { code, card, seed, state: Making::Open }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &Code {
        &self.code
    }

    /// Whether somebody has taken the code up.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        !matches!(self.state, Making::Open)
    }

    /// Takes what came from the other end.
    pub fn handle(&mut self, message: &[u8]) -> Progress {
        match (std::mem::replace(&mut self.state, Making::Over), Message::parse(message)) {
            (Making::Open, Some(Message::Join(join))) => {
                let (half, answer) = Half::of_maker(&self.code, self.seed);
                let Some(keys) = half.finish(&self.code, &join, &join, &answer) else {
                    return Progress::Failed(Failure::WrongWords);
                };
                self.state = Making::Answered(keys);
                Progress::Say(Message::Answer(answer).to_bytes())
            }
            (Making::Answered(keys), Some(Message::Proof(proof))) => match keys.open_proof(&proof) {
                Some(card) => {
                    let say = Message::Card(keys.seal_answer(&proof, &self.card)).to_bytes();
                    Progress::Met { card, say: Some(say) }
                }
                None => Progress::Failed(Failure::WrongWords),
            },
            // Of each there is one: a second is nobody's guess.
            (state, _) => {
                self.state = state;
                Progress::Nothing
            }
        }
    }
}

/// The end that typed the code.
pub struct Joiner {
    code: Code,
    card: Card,
    state: Joining,
}

enum Joining {
    Joined { half: Half, join: Vec<u8> },
    Proved { keys: Keys, proof: Vec<u8> },
    Over,
}

impl Joiner {
    /// The end that typed this code and gives this card, and what it says first. The seed must be secret and used once.
    #[must_use]
    pub fn new(code: Code, card: Card, seed: [u8; 32]) -> (Self, Vec<u8>) {
        let (half, join) = Half::of_joiner(&code, seed);
        let first = Message::Join(join.clone()).to_bytes();
        (Self { code, card, state: Joining::Joined { half, join } }, first)
    }

    /// Whether the maker has had the chance to see that the words differ.
    #[must_use]
    pub const fn has_proved(&self) -> bool {
        matches!(self.state, Joining::Proved { .. })
    }

    /// Takes what came from the other end.
    pub fn handle(&mut self, message: &[u8]) -> Progress {
        match (std::mem::replace(&mut self.state, Joining::Over), Message::parse(message)) {
            (Joining::Joined { half, join }, Some(Message::Answer(answer))) => {
                let Some(keys) = half.finish(&self.code, &answer, &join, &answer) else {
                    return Progress::Failed(Failure::WrongWords);
                };
                let proof = keys.seal_proof(&self.card);
                let say = Message::Proof(proof.clone()).to_bytes();
                self.state = Joining::Proved { keys, proof };
                Progress::Say(say)
            }
            (Joining::Proved { keys, proof }, Some(Message::Card(card))) => match keys.open_answer(&proof, &card) {
                Some(card) => Progress::Met { card, say: None },
                None => Progress::Failed(Failure::WrongWords),
            },
            (state, _) => {
                self.state = state;
                Progress::Nothing
            }
        }
    }
}
