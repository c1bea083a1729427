//! A contact's letters: opened once, and taken as messages when their turn comes.
//!
//! What an envelope held is stored in the transaction in which its key is forgotten. It waits there for the other pieces of
//! its message, and for the messages before that, whatever way they come.

use knothole_proto::content::Content;
use knothole_proto::envelope::{EpochName, Letter, MAX_PIECES, Piece, Unopened, Way};
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::Connection;

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
            let piece = Piece::parse(&text);
            if let Ok(piece) = &piece
                && !has_room(database, contact, piece)?
            {
                return Ok(Opened::Left);
            }
            epochs::opened(database, opening.epoch, &opening.chain)?;
            let messages = match piece {
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

/// Whether one more piece may wait. What its number was to say before, and says no longer, makes room for it.
fn has_room(database: &Connection, contact: i64, piece: &Piece) -> Result<bool, StoreError> {
    let mut count = database.prepare_cached("SELECT count(*) FROM letters_pieces WHERE contact = ?1")?;
    let waiting: i64 = count.query_one([contact], |row| row.get(0))?;
    if waiting < PIECES {
        return Ok(true);
    }
    let mut former = database
        .prepare_cached("DELETE FROM letters_pieces WHERE contact = ?1 AND log = ?2 AND number = ?3 AND mark <> ?4")?;
    Ok(former.execute((contact, piece.log.cast_signed(), saturating(piece.number), piece.mark))? > 0)
}

/// Stores a piece, unless it is of no use, and takes what is complete and next.
fn take(database: &Connection, opening: &Opening, piece: &Piece) -> Result<Vec<Arrived>, StoreError> {
    let (contact, log) = (opening.contact, piece.log.cast_signed());
    // In place of a former log its author has begun another, and repeats there what had not come.
    let Some(upto) = incoming::upto_if_current(database, contact, log)? else { return Ok(Vec::new()) };
    if piece.number <= upto || piece.number - upto > AHEAD {
        return Ok(Vec::new());
    }
    let mut insert = database.prepare_cached(
        "INSERT INTO letters_pieces (contact, log, number, mark, piece, pieces, share)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?;
    insert.execute((contact, log, saturating(piece.number), piece.mark, piece.index, piece.count, &piece.share))?;
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
    let mut whole = database.prepare_cached(
        "SELECT mark FROM letters_pieces WHERE contact = ?1 AND log = ?2 AND number = ?3
            GROUP BY mark HAVING count(*) >= max(pieces)",
    )?;
    let marks = whole.query_map(place, |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for mark in marks {
        let place = (contact, log, saturating(number), mark);
        let mut statement = database.prepare_cached(
            "SELECT share FROM letters_pieces WHERE contact = ?1 AND log = ?2 AND number = ?3 AND mark = ?4
                ORDER BY piece",
        )?;
        let shares = statement.query_map(place, |row| row.get(0))?.collect::<rusqlite::Result<Vec<Vec<u8>>>>()?;
        match Letter::from_shares(log.cast_unsigned(), number, mark, &shares.concat()) {
            Ok(letter) => return Ok(Some(letter)),
            Err(error) => {
                tracing::info!(%error, "a letter was not taken");
                let mut nonsense = database.prepare_cached(
                    "DELETE FROM letters_pieces WHERE contact = ?1 AND log = ?2 AND number = ?3 AND mark = ?4",
                )?;
                nonsense.execute(place)?;
            }
        }
    }
    Ok(None)
}
