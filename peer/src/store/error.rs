//! What can go wrong in the store, in words for the person at the screen.

use std::io;
use std::path::PathBuf;

use knothole_proto::content::MAX_EMOJI;
use knothole_proto::frames::MAX_TEXT;
use rusqlite::ErrorCode;

use super::{CAPACITY, MAX_NAME, MAX_REQUESTS};

/// Why the store does not open. Nothing was written to the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or made private.
    #[error("cannot make {}: {source}; check that its directory exists and belongs to you", path.display())]
    File {
        /// The database file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The home is under a passphrase, and no key was given.
    #[error("{} is encrypted; give its passphrase first", .0.display())]
    Sealed(PathBuf),
    /// A database of some other program lies there.
    #[error("{} belongs to another program; move it away and start again, or choose another home", .0.display())]
    Foreign(PathBuf),
    /// A later Knothole has been here.
    #[error(
        "{} was written by a newer Knothole (format {found}, this one knows {known}); install the newer version",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The format of the file.
        found: usize,
        /// The latest format that this program knows.
        known: usize,
    },
    /// The file is broken, or no database at all.
    #[error(
        "{} is damaged or no database; restore it from a backup, or move it away to begin with an empty history",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The file is fine, as far as can be told, and cannot be used now.
    #[error("cannot open {}: {source}", path.display())]
    Unusable {
        /// The database file.
        path: PathBuf,
        /// What stands in the way.
        source: StoreError,
    },
    /// The system gives no thread.
    #[error("cannot start the database's thread: {0}; close other programs or raise the limit on processes")]
    Thread(io::Error),
}

/// Why an operation was not done. It left no trace in the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// [`CAPACITY`] operations wait already: the disk is slower than the callers.
    #[error("the disk cannot keep up ({CAPACITY} operations wait); try again in a moment")]
    Busy,
    /// The store is closed, or a bug of ours has ended its thread.
    #[error("the database is closed; start knothole again")]
    Stopped,
    /// No space is left.
    #[error("the disk is full and this was not stored; free some space, then try again")]
    Full,
    /// Another program keeps the database locked.
    #[error("another program holds the database; close it, then try again")]
    Locked,
    /// What was read makes no sense.
    #[error("the database is damaged; stop knothole, then restore knothole.db from a backup or move it away")]
    Damaged,
    /// SQLite or the system refuses for another reason, which it names.
    #[error("the database cannot be used ({0}); check the disk that holds knothole.db")]
    Disk(String),
    /// No contact has this peer id.
    #[error("no such contact; see `knothole contacts`")]
    UnknownContact,
    /// No message of this conversation has this id.
    #[error("no such message in this conversation; see `knothole history`")]
    UnknownMessage,
    /// Only its author may change a message.
    #[error("only who wrote a message can edit or delete it; react or reply to it instead")]
    NotMine,
    /// There is nothing left to change.
    #[error("that message cannot be changed: it was deleted, has disappeared or is no text; send a new one")]
    NotChangeable,
    /// A reaction is empty or too long to be one.
    #[error("a reaction is one emoji, of at most {MAX_EMOJI} bytes; send more as a message")]
    InvalidReaction,
    /// Another contact is called so.
    #[error("another contact is already called \"{0}\"; choose another name")]
    NameTaken(String),
    /// The text cannot be a name.
    #[error(
        "a name has 1 to {MAX_NAME} characters, none of them a control character, and is no peer id; choose another"
    )]
    InvalidName,
    /// The contact's request waits for the person.
    #[error("this contact request is not accepted yet; see `knothole accept`")]
    NotAccepted,
    /// The person has blocked this contact.
    #[error("this contact is blocked; add its link again to talk to it")]
    Blocked,
    /// So many strangers wait already.
    #[error("{MAX_REQUESTS} contact requests wait already; accept, block or remove some")]
    TooManyRequests,
    /// The text of a message has this many bytes.
    #[error("the message has {0} bytes, {MAX_TEXT} is the most; split it, or send it as a file")]
    TooLong(usize),
    /// Another message has the id that a new one was to get.
    #[error("another message has this id already; send the text under a new one")]
    MessageKnown,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
        match (error.sqlite_error_code(), &error) {
            (Some(ErrorCode::DiskFull), _) => Self::Full,
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => Self::Locked,
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _)
            | (None, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..)) => {
                Self::Damaged
            }
            _ => Self::Disk(error.to_string()),
        }
    }
}
