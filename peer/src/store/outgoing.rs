//! My messages: numbered when composed, kept until acknowledged, followed until read.

use std::borrow::Cow;

use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::{Connection, Params};

use super::change::{self, Change, Word};
use super::contact::{known, talking};
use super::content::{self, Entry};
use super::expiry::CLOCK;
use super::{Outcome, Position, Store, StoreError, incoming, saturating};

/// A message of mine that the contact has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place in my log with this contact.
    pub position: Position,
    /// Its name.
    pub id: MessageId,
    /// What it says.
    pub content: Content,
    /// When it was written, in milliseconds since 1970.
    pub at: u64,
}

/// A change of mine, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amended {
    /// Its place in my log with this contact.
    pub position: Position,
    /// When it was made, as the contact is told: not before what it changes.
    pub at: u64,
    /// What shows of it; `None` if that was so already.
    pub change: Option<Change>,
}

impl Store {
    /// Puts a message at the end of my log with `peer`: it is queued, and has the returned position, once this is done.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], [`StoreError::InvalidReaction`], [`StoreError::MessageKnown`],
    /// [`StoreError::UnknownContact`], [`StoreError::NotAccepted`], [`StoreError::Blocked`], or those of the disk.
    pub fn compose(&self, peer: PeerId, id: MessageId, content: Content, at: u64) -> Outcome<Position> {
        self.submit(move |database| compose(database, peer, id, &content, at))
    }

    /// Puts a change of an earlier message, or of the conversation, at the end of my log with `peer`, and lets it have its
    /// effect here.
    ///
    /// # Errors
    /// [`StoreError::UnknownMessage`], [`StoreError::NotMine`], [`StoreError::NotChangeable`], or those of
    /// [`compose`](Self::compose).
    pub fn amend(&self, peer: PeerId, id: MessageId, content: Content, at: u64) -> Outcome<Amended> {
        self.submit(move |database| amend(database, peer, id, &content, at))
    }

    /// In whose conversation a message is.
    ///
    /// # Errors
    /// [`StoreError::UnknownMessage`] if it is in none, or in several, which only a contact can bring about that takes the
    /// name of a message that it was not sent; or those of the disk.
    pub fn whose(&self, id: MessageId) -> Outcome<PeerId> {
        self.submit(move |database| {
            // For each contact one look into the index.
            let mut statement = database.prepare_cached(
                "SELECT peer FROM contacts CROSS JOIN messages
                    WHERE messages.contact = contacts.contact AND messages.id = ?1 LIMIT 2",
            )?;
            let found = statement.query_map([id.0], |row| row.get(0).map(PeerId::new))?;
            match found.collect::<rusqlite::Result<Vec<_>>>()?.as_slice() {
                [peer] => Ok(*peer),
                _ => Err(StoreError::UnknownMessage),
            }
        })
    }

    /// What the contact has not acknowledged, beyond `after` in my current log, in the order of the numbers: at most
    /// `limit` messages and `budget` bytes of text, yet always one if there is one.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn outbox(&self, peer: PeerId, after: u64, limit: u32, budget: usize) -> Outcome<Vec<Outgoing>> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            unacknowledged(database, contact, after, limit, budget)
        })
    }

    /// Notes that my messages up to `upto` have left this machine; returns those that had not before.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn mark_sent(&self, peer: PeerId, upto: Position) -> Outcome<Vec<MessageId>> {
        self.progress(peer, upto, SENT)
    }

    /// Notes that the contact has my messages up to `upto` in durable storage; returns those newly delivered. A log that is
    /// no longer current, and numbers that were never given, are passed over.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn acknowledged(&self, peer: PeerId, upto: Position) -> Outcome<Vec<MessageId>> {
        self.progress(
            peer,
            upto,
            format!(
                "UPDATE messages INDEXED BY messages_unacknowledged SET state = 'delivered', content = NULL, {CLOCK}
                    WHERE contact = ?1 AND mine = 1 AND log = ?2 AND number <= ?3
                    AND state IN ('queued', 'sent') RETURNING number, id",
            ),
        )
    }

    /// Notes that the person at the other side has read my messages up to `upto`; returns those newly read.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn read_by_peer(&self, peer: PeerId, upto: Position) -> Outcome<Vec<MessageId>> {
        self.progress(
            peer,
            upto,
            format!(
                "UPDATE messages INDEXED BY messages_unread_by_peer SET state = 'read', content = NULL, {CLOCK}
                    WHERE contact = ?1 AND mine = 1 AND log = ?2 AND number <= ?3
                    AND state IN ('queued', 'sent', 'delivered') RETURNING number, id",
            ),
        )
    }

    /// Begins a new log with this contact, in which all that is unacknowledged is queued again, numbered from 1 in the old
    /// order; returns the new log's id. It is called for when the contact's place in the current log cannot be right
    /// ([`Conversation::continues_from`](super::Conversation::continues_from)). Message ids stay, by which the contact
    /// knows what it has already.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn renumber(&self, peer: PeerId) -> Outcome<u64> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            Ok(renumber(database, contact)?.cast_unsigned())
        })
    }

    fn progress(
        &self,
        peer: PeerId,
        upto: Position,
        statement: impl Into<Cow<'static, str>>,
    ) -> Outcome<Vec<MessageId>> {
        let statement = statement.into();
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            ids(database, &statement, (contact, upto.log.cast_signed(), saturating(upto.number)))
        })
    }
}

/// What the contact has not acknowledged, beyond `after` in my current log, as [`Store::outbox`] gives it.
pub(super) fn unacknowledged(
    database: &Connection,
    contact: i64,
    after: u64,
    limit: u32,
    budget: usize,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut statement = database.prepare_cached(&format!(
        "SELECT log, number, id, at, {} FROM messages INDEXED BY messages_unacknowledged
            WHERE contact = ?1 AND mine = 1 AND state IN ('queued', 'sent')
                AND log = (SELECT log FROM contacts WHERE contact = ?1) AND number > ?2
            ORDER BY number LIMIT ?3",
        content::COLUMNS,
    ))?;
    let mut rows = statement.query((contact, saturating(after), limit))?;
    let mut outbox = Vec::new();
    let mut left = budget;
    while let Some(row) = rows.next()? {
        let content = content::content(row, 4)?;
        match left.checked_sub(content.text_len()) {
            Some(rest) => left = rest,
            None if outbox.is_empty() => left = 0,
            None => break,
        }
        outbox.push(Outgoing {
            position: Position {
                log: row.get::<_, i64>(0)?.cast_unsigned(),
                number: row.get::<_, i64>(1)?.unsigned_abs(),
            },
            id: MessageId(row.get(2)?),
            content,
            at: row.get::<_, i64>(3)?.unsigned_abs(),
        });
    }
    Ok(outbox)
}

/// The wider condition is the index's; the narrower one alone would not be known to imply it.
const SENT: &str = "UPDATE messages INDEXED BY messages_unacknowledged SET state = 'sent'
    WHERE contact = ?1 AND mine = 1 AND log = ?2 AND number <= ?3
    AND state IN ('queued', 'sent') AND state = 'queued' RETURNING number, id";

/// Notes that my messages of the current log up to this number have left this machine; returns those that had not before.
pub(super) fn sent_upto(database: &Connection, contact: i64, upto: i64) -> Result<Vec<MessageId>, StoreError> {
    let (log, ..) = incoming::mine(database, contact)?;
    ids(database, SENT, (contact, log, upto))
}

/// See [`Store::compose`].
pub(super) fn compose(
    database: &Connection,
    peer: PeerId,
    id: MessageId,
    content: &Content,
    at: u64,
) -> Result<Position, StoreError> {
    content::check(content)?;
    let contact = talking(database, peer)?;
    let mut known = database.prepare_cached("SELECT 1 FROM messages WHERE contact = ?1 AND id = ?2")?;
    if known.exists((contact, id.0))? {
        return Err(StoreError::MessageKnown);
    }
    let (log, number): (i64, i64) = database
        .prepare_cached("UPDATE contacts SET next = next + 1 WHERE contact = ?1 RETURNING log, next - 1")?
        .query_one([contact], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let position = Position { log: log.cast_unsigned(), number: number.unsigned_abs() };
    content::insert(database, &Entry { contact, id, mine: true, position, at, content })?;
    Ok(position)
}

/// See [`Store::amend`].
fn amend(
    database: &Connection,
    peer: PeerId,
    id: MessageId,
    content: &Content,
    at: u64,
) -> Result<Amended, StoreError> {
    let contact = talking(database, peer)?;
    if matches!(content, Content::Reaction { emoji, .. } if emoji.contains(|c: char| c.is_whitespace() || c.is_control()))
    {
        return Err(StoreError::InvalidReaction);
    }
    if let Content::Edit { of, .. } | Content::Delete { of } | Content::Reaction { of, .. } = content {
        let target = change::target(database, contact, *of)?.ok_or(StoreError::UnknownMessage)?;
        if !target.mine && !matches!(content, Content::Reaction { .. }) {
            return Err(StoreError::NotMine);
        }
        if !target.alive {
            return Err(StoreError::NotChangeable);
        }
    }
    // What a person does now is later than what it is meant to change, whatever the clocks say.
    let at = at.max(change::standing(database, contact, content)?.saturating_add(1));
    let position = compose(database, peer, id, content, at)?;
    let change = match change::apply(database, Word { contact, id, mine: true, at, content })? {
        change::Outcome::Shown(change) => Some(change),
        change::Outcome::Nothing | change::Outcome::NoTarget => None,
    };
    Ok(Amended { position, at, change })
}

/// Queues all that is unacknowledged again, in a new log, whose id it returns.
pub(super) fn renumber(database: &Connection, contact: i64) -> Result<i64, StoreError> {
    let waiting = ids(
        database,
        "SELECT number, id FROM messages INDEXED BY messages_unacknowledged
            WHERE contact = ?1 AND mine = 1 AND state IN ('queued', 'sent')",
        [contact],
    )?;
    let log = new_log(database, contact)?;
    let mut renumber = database
        .prepare_cached("UPDATE messages SET log = ?3, number = ?4, state = 'queued' WHERE contact = ?1 AND id = ?2")?;
    for (number, id) in (1i64..).zip(&waiting) {
        renumber.execute((contact, id.0, log, number))?;
    }
    let mut advance = database.prepare_cached("UPDATE contacts SET next = ?2 WHERE contact = ?1")?;
    advance.execute((contact, saturating(waiting.len()) + 1))?;
    Ok(log)
}

/// Fails all messages on their way to a contact. Their numbers will never be filled, so a new log begins.
pub(super) fn give_up(database: &Connection, contact: i64) -> Result<Vec<MessageId>, StoreError> {
    let failed = ids(
        database,
        "UPDATE messages INDEXED BY messages_unacknowledged SET state = 'failed', content = NULL
            WHERE contact = ?1 AND mine = 1 AND state IN ('queued', 'sent')
            RETURNING number, id",
        [contact],
    )?;
    new_log(database, contact)?;
    Ok(failed)
}

/// Lets my numbers begin at 1 in a log that the contact cannot have heard of.
fn new_log(database: &Connection, contact: i64) -> Result<i64, StoreError> {
    let mut statement =
        database.prepare_cached("UPDATE contacts SET log = random() | 1, next = 1 WHERE contact = ?1 RETURNING log")?;
    Ok(statement.query_one([contact], |row| row.get(0))?)
}

/// The ids that `statement` finds or changes, each after its number, in the order of the numbers. All that is unacknowledged
/// lies in one log, so that is the order of writing.
fn ids(database: &Connection, statement: &str, params: impl Params) -> Result<Vec<MessageId>, StoreError> {
    let mut statement = database.prepare_cached(statement)?;
    let rows = statement.query_map(params, |row| Ok((row.get::<_, i64>(0)?, MessageId(row.get(1)?))))?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

#[cfg(test)]
mod tests {
    use knothole_proto::frames::MAX_TEXT;

    use super::*;
    use crate::store::MessageState;
    use crate::store::fixture::{Home, home_with_bob, id, peer};

    async fn compose(home: &Home, n: u8) -> Position {
        home.store.compose(peer(2), id(n), format!("text {n}").into(), u64::from(n)).await.unwrap()
    }

    async fn numbers(home: &Home, after: u64, limit: u32, budget: usize) -> Vec<u64> {
        let outbox = home.store.outbox(peer(2), after, limit, budget).await.unwrap();
        outbox.iter().map(|outgoing| outgoing.position.number).collect()
    }

    #[tokio::test]
    async fn numbers_are_contiguous_in_the_order_of_the_calls_for_each_contact() {
        let home = home_with_bob().await;
        home.store.add(peer(3), None, vec![]).await.unwrap();
        // Polled in the opposite order.
        let mut composing: Vec<_> =
            (0..50).map(|n| home.store.compose(peer(2 + n % 2), id(n), "x".into(), 0)).collect();
        let mut positions = Vec::new();
        while let Some(composed) = composing.pop() {
            positions.insert(0, composed.await.unwrap().number);
        }
        assert_eq!(positions, (0..50).map(|n| n / 2 + 1).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_refused_message_takes_no_number() {
        let home = home_with_bob().await;
        compose(&home, 1).await;
        assert_eq!(home.store.compose(peer(2), id(1), "x".into(), 0).await, Err(StoreError::MessageKnown));
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!(home.store.compose(peer(2), id(2), long.into(), 0).await, Err(StoreError::TooLong(MAX_TEXT + 1)));
        assert_eq!(home.store.compose(peer(3), id(2), "x".into(), 0).await, Err(StoreError::UnknownContact));
        assert_eq!(compose(&home, 2).await.number, 2);
    }

    #[tokio::test]
    async fn the_longest_text_comes_back_whole() {
        let home = home_with_bob().await;
        let text = "語".repeat(MAX_TEXT / 3) + "\0";
        assert_eq!(text.len(), MAX_TEXT);
        home.store.compose(peer(2), id(1), text.clone().into(), u64::MAX).await.unwrap();
        let outbox = home.store.outbox(peer(2), 0, 9, 0).await.unwrap();
        assert_eq!((&outbox[0].content, outbox[0].at), (&text.into(), i64::MAX.unsigned_abs()));
    }

    #[tokio::test]
    async fn the_outbox_ends_at_its_limits_but_never_hides_the_first() {
        let home = home_with_bob().await;
        for n in 1..=5 {
            compose(&home, n).await;
        }
        assert_eq!(numbers(&home, 0, 9, usize::MAX).await, [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&home, 2, 2, usize::MAX).await, [3, 4]);
        assert_eq!(numbers(&home, 0, 9, 12).await, [1, 2]);
        assert_eq!(numbers(&home, 0, 9, 3).await, [1]);
        assert_eq!(numbers(&home, u64::MAX, 9, 99).await, [0; 0]);
    }

    #[tokio::test]
    async fn each_step_of_a_message_is_told_once_in_order() {
        let home = home_with_bob().await;
        for n in 1..=4 {
            compose(&home, 5 - n).await;
        }
        let log = home.store.conversation(peer(2)).await.unwrap().log;
        let upto = |number| Position { log, number };
        let store = &home.store;
        assert_eq!(store.mark_sent(peer(2), upto(3)).await.unwrap(), [id(4), id(3), id(2)]);
        assert_eq!(store.mark_sent(peer(2), upto(3)).await.unwrap(), []);
        assert_eq!(store.acknowledged(peer(2), upto(2)).await.unwrap(), [id(4), id(3)]);
        assert_eq!(store.mark_sent(peer(2), upto(2)).await.unwrap(), []);
        assert_eq!(numbers(&home, 0, 9, 99).await, [3, 4]);
        assert_eq!(store.read_by_peer(peer(2), upto(1)).await.unwrap(), [id(4)]);
        assert_eq!(store.acknowledged(peer(2), upto(u64::MAX)).await.unwrap(), [id(2), id(1)]);
        assert_eq!(store.read_by_peer(peer(2), upto(9)).await.unwrap(), [id(3), id(2), id(1)]);
        assert_eq!(store.read_by_peer(peer(2), upto(9)).await.unwrap(), []);
        let other = Position { log: log ^ 1, number: 9 };
        assert_eq!(store.acknowledged(peer(2), other).await.unwrap(), []);
    }

    #[tokio::test]
    async fn renumbering_queues_all_that_is_unacknowledged_again_in_a_new_log() {
        let home = home_with_bob().await;
        for n in 1..=4 {
            compose(&home, n).await;
        }
        let old = home.store.conversation(peer(2)).await.unwrap().log;
        home.store.mark_sent(peer(2), Position { log: old, number: 3 }).await.unwrap();
        home.store.acknowledged(peer(2), Position { log: old, number: 2 }).await.unwrap();
        let new = home.store.renumber(peer(2)).await.unwrap();
        assert_ne!(new, old);

        let outbox = home.store.outbox(peer(2), 0, 9, 99).await.unwrap();
        let places: Vec<_> = outbox.iter().map(|outgoing| (outgoing.id, outgoing.position)).collect();
        let at = |number| Position { log: new, number };
        assert_eq!(places, [(id(3), at(1)), (id(4), at(2))]);
        assert_eq!(home.store.history(peer(2), None, None, 2).await.unwrap()[0].state, MessageState::Queued);
        assert_eq!(compose(&home, 5).await, at(3));
        // An acknowledgement that was on its way speaks of numbers that mean nothing now.
        assert_eq!(home.store.acknowledged(peer(2), Position { log: old, number: 4 }).await.unwrap(), []);
    }
}
