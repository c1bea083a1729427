//! Texts that disappear. The clock of one of theirs starts when the person here has read it, that of one of mine when the
//! other side has it: it may never tell when it was read, and what is not delivered is not lost.

use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;

use super::change::erase;
use super::contact::known;
use super::{Outcome, Store, now};

/// Texts that are removed in one go, so that a long absence does not hold the other operations up.
const AT_ONCE: u32 = 256;

/// Sets when a text ends; part of the statements that start its clock.
pub(super) const CLOCK: &str = "expires_at = CASE WHEN kind = 'text' AND expires_s IS NOT NULL
    THEN ifnull(expires_at, CAST(unixepoch('subsec') * 1000 AS INTEGER) + expires_s * 1000) END";

/// What has disappeared, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The messages that are gone.
    pub gone: Vec<MessageId>,
    /// In how many milliseconds the next one is due.
    pub next_ms: Option<u64>,
}

impl Store {
    /// Removes the texts of a conversation whose time is over. Their places in the logs stay, so that no repetition brings
    /// them back.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`](super::StoreError::UnknownContact), or those of the disk.
    pub fn expire(&self, peer: PeerId) -> Outcome<Expired> {
        self.expire_at(peer, now)
    }

    pub(super) fn expire_at(&self, peer: PeerId, clock: impl Fn() -> i64 + Send + 'static) -> Outcome<Expired> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            let mut due = database.prepare_cached(
                "SELECT id FROM messages INDEXED BY messages_expiring
                    WHERE contact = ?1 AND expires_at IS NOT NULL AND expires_at <= ?2 ORDER BY expires_at LIMIT ?3",
            )?;
            let now = clock();
            let found = due.query_map((contact, now, AT_ONCE), |row| row.get(0).map(MessageId))?;
            let gone = found.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut hide = database
                .prepare_cached("UPDATE messages SET shown = 0, expires_at = NULL WHERE contact = ?1 AND id = ?2")?;
            for id in &gone {
                erase(database, contact, *id)?;
                hide.execute((contact, id.0))?;
            }
            let mut next = database.prepare_cached(
                "SELECT min(expires_at) FROM messages INDEXED BY messages_expiring
                    WHERE contact = ?1 AND expires_at IS NOT NULL",
            )?;
            let next: Option<i64> = next.query_one([contact], |row| row.get(0))?;
            let next_ms = next.map(|at| u64::try_from(at.saturating_sub(now)).unwrap_or(0));
            Ok(Expired { gone, next_ms })
        })
    }
}
