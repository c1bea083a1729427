//! A contact's letters: opened once, and taken as messages when their turn comes.
//!
//! What an envelope held is stored in the transaction in which its key is forgotten. It waits there for the other pieces of
//! its message, and for the messages before that, whatever way they come.

use knothole_proto::content::Content;
use knothole_proto::envelope::{EpochName, Letter, MAX_PIECES, Piece, Unopened, Way};
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::{Connection, OptionalExtension};

use super::epochs::{self, Opening};
use super::{Outcome, Position, Receipt, Store, StoreError, incoming, saturating};

/// Pieces that wait for others, of each contact: two of the longest letters, and more than a mailbox holds.
const PIECES: i64 = 2 * MAX_PIECES as i64;
/// How far ahead of what is here a letter may be: as far as a mailbox can be.
const AHEAD: u64 = 256;

/// What became of a letter that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is stored, or of no use any more: the rendezvous need not keep it.
    Taken {
        /// Who wrote it.
        peer: PeerId,
        /// The messages whose turn has come with it, perhaps none.
        messages: Vec<Arrived>,
    },
    /// There is no room for it yet; a mailbox may bring it again.
    Left,
    /// Nobody with whom we talk sealed it, or its key is not here.
    Unopened,
}

/// A message that came by letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Its place in its author's log.
    pub position: Position,
    /// Its name.
    pub id: MessageId,
    /// When it was written, by its author's clock, in milliseconds since 1970.
    pub at: u64,
    /// What it says.
    pub content: Content,
    /// What became of it.
    pub receipt: Receipt,
}

impl Store {
    /// Opens a letter, and takes the messages whose turn it is. `from`: who sends it, where that is known.
    ///
    /// # Errors
    /// Those of the disk. Then it must not be told that it is here.
    pub fn open_letter(&self, me: PeerId, from: Option<PeerId>, envelope: Vec<u8>) -> Outcome<Opened> {
        self.submit(move |database| {
            let Some(name) = EpochName::of(&envelope) else { return Ok(Opened::Unopened) };
            let Some(mut opening) = epochs::opening(database, name, from)? else { return Ok(Opened::Unopened) };
            let (peer, contact) = (opening.peer, opening.contact);
            let text = match opening.chain.open(name, &Way { from: peer, to: me }, &envelope) {
                Ok(text) => text,
                // A mailbox brings it again that was not told in time.
                Err(Unopened::Spent) => return Ok(Opened::Taken { peer, messages: Vec::new() }),
                Err(_) => return Ok(Opened::Unopened),
            };
            if waiting(database, contact)? >= PIECES {
                return Ok(Opened::Left);
            }
            epochs::opened(database, opening.epoch, &opening.chain)?;
            let messages = match Piece::parse(&text) {
                Ok(piece) => take(database, &opening, &piece)?,
                Err(error) => {
                    tracing::info!(contact = ?peer, %error, "a letter was not taken");
                    Vec::new()
                }
            };
            Ok(Opened::Taken { peer, messages })
        })
    }
}

fn waiting(database: &Connection, contact: i64) -> Result<i64, StoreError> {
    let mut statement = database.prepare_cached("SELECT count(*) FROM letters_pieces WHERE contact = ?1")?;
    Ok(statement.query_one([contact], |row| row.get(0))?)
}

/// Stores a piece, unless it is of no use, and takes what is complete and next.
fn take(database: &Connection, opening: &Opening, piece: &Piece) -> Result<Vec<Arrived>, StoreError> {
    let (contact, log) = (opening.contact, piece.log.cast_signed());
    // In place of a former log its author has begun another, and repeats there what had not come.
    let Some(upto) = incoming::upto_if_current(database, contact, log)? else { return Ok(Vec::new()) };
    if piece.number <= upto || piece.number - upto > AHEAD {
        return Ok(Vec::new());
    }
    let mut sibling = database
        .prepare_cached("SELECT pieces FROM letters_pieces WHERE contact = ?1 AND log = ?2 AND number = ?3 LIMIT 1")?;
    let number = saturating(piece.number);
    let pieces: Option<u8> = sibling.query_row((contact, log, number), |row| row.get(0)).optional()?;
    if pieces.is_some_and(|pieces| pieces != piece.count) {
        return Ok(Vec::new());
    }
    let mut insert = database.prepare_cached(
        "INSERT INTO letters_pieces (contact, log, number, piece, pieces, share) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT DO NOTHING",
    )?;
    insert.execute((contact, log, number, piece.index, piece.count, &piece.share))?;
    follow(database, contact, log, upto)
}

/// Takes the letters whose turn has come, now that all up to `upto` is here: whatever brought the last of it.
pub(super) fn follow(database: &Connection, contact: i64, log: i64, mut upto: u64) -> Result<Vec<Arrived>, StoreError> {
    let mut arrived = Vec::new();
    while let Some(letter) = complete(database, contact, log, upto + 1)? {
        let Letter { log, number, message: id, at, content } = letter;
        let position = Position { log, number };
        let receipt = incoming::take(database, contact, position, id, &content, at)?;
        upto = receipt.upto;
        arrived.push(Arrived { position, id, at, content, receipt });
        if upto < number {
            break;
        }
    }
    Ok(arrived)
}

/// The letter of this number, if all its pieces are here. Pieces that are nonsense together go.
fn complete(database: &Connection, contact: i64, log: i64, number: u64) -> Result<Option<Letter>, StoreError> {
    let place = (contact, log, saturating(number));
    let mut statement = database.prepare_cached(
        "SELECT share, pieces FROM letters_pieces WHERE contact = ?1 AND log = ?2 AND number = ?3 ORDER BY piece",
    )?;
    let rows = statement.query_map(place, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(Vec<u8>, u8)> = rows.collect::<rusqlite::Result<_>>()?;
    if rows.first().is_none_or(|(_, pieces)| usize::from(*pieces) != rows.len()) {
        return Ok(None);
    }
    let shares: Vec<_> = rows.into_iter().map(|(share, _)| share).collect();
    let letter = Letter::from_shares(log.cast_unsigned(), number, &shares.concat());
    if let Err(error) = &letter {
        tracing::info!(%error, "a letter was not taken");
        database
            .prepare_cached("DELETE FROM letters_pieces WHERE contact = ?1 AND log = ?2 AND number = ?3")?
            .execute(place)?;
    }
    Ok(letter.ok())
}
