//! My messages in letters: sealed once, kept byte for byte until a rendezvous has them, and gone when the message has come.

use knothole_proto::control::LetterName;
use knothole_proto::conversation::LOAD_BYTES;
use knothole_proto::envelope::{Letter, SALT, Way};
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::{Connection, OptionalExtension};

use super::contact::{known, talking};
use super::{Outcome, Store, StoreError, epochs, incoming, outgoing, saturating};

/// Letters that wait for a rendezvous to take them, for each contact: the longest text and some short ones. What is written
/// beyond that waits for the connection.
pub const MAX_LETTERS: usize = 96;

/// Messages looked at for one sealing.
const MESSAGES: u32 = 64;

/// A letter that no rendezvous has yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its name between us and the rendezvous.
    pub name: LetterName,
    /// What is sealed, always the same bytes.
    pub envelope: Vec<u8>,
}

impl Store {
    /// Seals what is unacknowledged and in no letter yet, in the order of the numbers and without gaps, as far as
    /// [`MAX_LETTERS`] goes; returns the first `limit` letters that no rendezvous has, in the order in which they are to be
    /// posted. None where the two have no keys in common.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], [`StoreError::NotAccepted`], [`StoreError::Blocked`], or those of the disk.
    pub fn seal(&self, me: PeerId, peer: PeerId, limit: u32) -> Outcome<Vec<Sealed>> {
        self.submit(move |database| {
            let contact = talking(database, peer)?;
            if let Some((epoch, name, mut chain)) = epochs::sealing(database, contact)? {
                let way = Way { from: me, to: peer };
                let mut left = MAX_LETTERS.saturating_sub(count(database, contact)?);
                let mut insert = database
                    .prepare_cached("INSERT INTO letters (contact, name, number, envelope) VALUES (?1, ?2, ?3, ?4)")?;
                let mut advanced = false;
                for message in
                    outgoing::unacknowledged(database, contact, sealed_upto(database, contact)?, MESSAGES, LOAD_BYTES)?
                {
                    let (log, number) = (message.position.log, message.position.number);
                    let letter = Letter { log, number, message: message.id, at: message.at, content: message.content };
                    let pieces = letter.to_pieces();
                    let Some(rest) = left.checked_sub(pieces.len()) else { break };
                    left = rest;
                    for piece in pieces {
                        let Some(envelope) = chain.seal(name, &way, random::<SALT>(), &piece) else { break };
                        insert.execute((contact, random::<8>(), saturating(number), envelope))?;
                        advanced = true;
                    }
                }
                if advanced {
                    epochs::sealed(database, epoch, &chain)?;
                }
            }
            waiting(database, contact, limit)
        })
    }

    /// Notes that a rendezvous has this letter, passed on or kept; returns the messages that have left this machine by it:
    /// all up to the first whose letters some still wait.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn posted(&self, peer: PeerId, letter: LetterName) -> Outcome<Vec<MessageId>> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            let mut hand_over = database.prepare_cached(
                "UPDATE letters SET envelope = NULL WHERE contact = ?1 AND name = ?2 RETURNING letter",
            )?;
            if hand_over.query_row((contact, letter.0), |row| row.get::<_, i64>(0)).optional()?.is_none() {
                return Ok(Vec::new());
            }
            let mut upto = database.prepare_cached(
                "SELECT ifnull(
                    (SELECT min(number) - 1 FROM letters WHERE contact = ?1 AND envelope IS NOT NULL),
                    (SELECT max(number) FROM letters WHERE contact = ?1))",
            )?;
            let upto: i64 = upto.query_one([contact], |row| row.get(0))?;
            outgoing::sent_upto(database, contact, upto)
        })
    }
}

/// My messages up to this number are in letters, or acknowledged.
fn sealed_upto(database: &Connection, contact: i64) -> Result<u64, StoreError> {
    let mut statement = database.prepare_cached("SELECT max(number) FROM letters WHERE contact = ?1")?;
    let sealed: Option<i64> = statement.query_one([contact], |row| row.get(0))?;
    let (_, _, acknowledged) = incoming::mine(database, contact)?;
    Ok(sealed.unwrap_or(0).max(acknowledged).unsigned_abs())
}

fn count(database: &Connection, contact: i64) -> Result<usize, StoreError> {
    let mut statement =
        database.prepare_cached("SELECT count(*) FROM letters WHERE contact = ?1 AND envelope IS NOT NULL")?;
    Ok(statement.query_one([contact], |row| row.get::<_, u32>(0))? as usize)
}

fn waiting(database: &Connection, contact: i64, limit: u32) -> Result<Vec<Sealed>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT name, envelope FROM letters WHERE contact = ?1 AND envelope IS NOT NULL ORDER BY letter LIMIT ?2",
    )?;
    let letters = statement
        .query_map((contact, limit), |row| Ok(Sealed { name: LetterName(row.get(0)?), envelope: row.get(1)? }))?;
    Ok(letters.collect::<rusqlite::Result<_>>()?)
}

/// Chance from the system. A job that is run again draws anew, so that no salt is ever used for two texts.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness there is no cryptography and nothing may go on")]
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
