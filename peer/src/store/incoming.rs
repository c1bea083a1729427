//! A contact's messages: stored once each, acknowledged without gaps, and marked when read.

use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::{Connection, OptionalExtension};

use super::change::{self, News, Word};
use super::contact::{known, talking};
use super::content::{self, Entry};
use super::expiry::CLOCK;
use super::{Outcome, Position, Store, StoreError, arrivals, saturating};

/// Logs that are remembered for each contact. A contact begins a new one after an accident; a hostile one at will.
const LOGS: u32 = 16;

/// How far ahead of the acknowledged number a message may come. Streams keep the order, so only what travels beside one
/// comes early, and few at a time; the bound keeps the work of closing a gap small.
const AHEAD: i64 = 1024;

/// What became of a message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// It is new, and stored now. Otherwise it is here already, or too far ahead to be taken.
    pub fresh: bool,
    /// All of the log up to this number is in durable storage: what may be acknowledged.
    pub upto: u64,
    /// What shows of it.
    pub news: Vec<News>,
}

/// Where the two sides of a conversation stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversation {
    /// My current log.
    pub log: u64,
    /// The number that my next message will have.
    pub next: u64,
    /// All of mine up to this number are acknowledged.
    pub acknowledged: u64,
    /// The contact's current log, and up to where it is in durable storage here.
    pub received: Option<Position>,
    /// Up to where the person has read the contact's current log, if any of it.
    pub read: Option<Position>,
    /// How many seconds new texts last, if they do not stay.
    pub timer: Option<u32>,
}

impl Conversation {
    /// Whether a contact that has my log `log` up to `received` can go on from there. If not, one side has lost part of its
    /// database, or went back to a backup: [`Store::renumber`] mends it.
    #[must_use]
    pub fn continues_from(&self, log: u64, received: u64) -> bool {
        let received = if log == self.log { received } else { 0 };
        (self.acknowledged..self.next).contains(&received)
    }
}

impl Store {
    /// Stores a contact's message, unless its number or its id tells that it is here already, and the letters that have
    /// waited for it. Numbers may come out of order; a log that is new begins at 1.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], [`StoreError::InvalidReaction`], [`StoreError::UnknownContact`],
    /// [`StoreError::NotAccepted`], [`StoreError::Blocked`], or those of the disk. Then it must not be acknowledged.
    pub fn receive(
        &self,
        peer: PeerId,
        position: Position,
        id: MessageId,
        content: Content,
        at: u64,
    ) -> Outcome<Receipt> {
        self.submit(move |database| {
            let contact = talking(database, peer)?;
            let mut receipt = take(database, contact, position, id, &content, at)?;
            // Letters may have waited for this one alone, and nothing brings them again: their mailbox has been told.
            for after in arrivals::follow(database, contact, position.log.cast_signed(), receipt.upto)? {
                receipt.upto = after.receipt.upto;
                receipt.news.extend(after.receipt.news);
            }
            Ok(receipt)
        })
    }

    /// Marks the contact's messages as read, up to the message `upto` in the order in which they are shown. Returns how far
    /// the contact may be told that its current log is read: nothing unread lies before.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], [`StoreError::UnknownMessage`], or those of the disk.
    pub fn mark_read(&self, peer: PeerId, upto: MessageId) -> Outcome<Option<Position>> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            let last = sequence(database, contact, upto)?;
            let mut update = database.prepare_cached(&format!(
                "UPDATE messages INDEXED BY messages_unread SET state = 'read', {CLOCK}
                    WHERE contact = ?1 AND mine = 0 AND state = 'delivered' AND sequence <= ?2",
            ))?;
            update.execute((contact, last))?;
            read(database, contact)
        })
    }

    /// Where the conversation with this contact stands: what a new connection begins with.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn conversation(&self, peer: PeerId) -> Outcome<Conversation> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            let (log, next, acknowledged) = mine(database, contact)?;
            let mut timer = database.prepare_cached("SELECT timer_s FROM contacts WHERE contact = ?1")?;
            let timer = timer.query_one([contact], |row| row.get(0))?;
            Ok(Conversation {
                log: log.cast_unsigned(),
                next: next.unsigned_abs(),
                acknowledged: acknowledged.unsigned_abs(),
                received: current(database, contact)?,
                read: read(database, contact)?,
                timer,
            })
        })
    }
}

/// Stores a contact's message, whatever way it has come.
pub(super) fn take(
    database: &Connection,
    contact: i64,
    position: Position,
    id: MessageId,
    content: &Content,
    at: u64,
) -> Result<Receipt, StoreError> {
    content::check(content)?;
    let log = position.log.cast_signed();
    let before = upto(database, contact, log)?;
    let number = saturating(position.number);
    let mut news = Vec::new();
    let arrival = if number <= before || number > before.saturating_add(AHEAD) {
        Arrival::Repeated
    } else {
        arrival(database, contact, log, number, id)?
    };
    match arrival {
        Arrival::Fresh => {
            content::insert(database, &Entry { contact, id, mine: false, position, at, content })?;
            news = change::arrived(database, Word { contact, id, mine: false, at, content })?;
        }
        // It was stored under another number, which its author no longer uses.
        Arrival::Renumbered => {
            let mut update =
                database.prepare_cached("UPDATE messages SET log = ?3, number = ?4 WHERE contact = ?1 AND id = ?2")?;
            update.execute((contact, id.0, log, number))?;
        }
        // An id of mine: of no use, yet it must not stand in the way of what follows.
        Arrival::Stolen if number == before + 1 => note(database, contact, log, number)?,
        Arrival::Stolen | Arrival::Repeated => {}
    }
    let upto = close_gap(database, contact, log)?;
    Ok(Receipt { fresh: arrival == Arrival::Fresh, upto: upto.unsigned_abs(), news })
}

/// My current log, the number that comes next there, and up to where all is acknowledged.
pub(super) fn mine(database: &Connection, contact: i64) -> Result<(i64, i64, i64), StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT log, next, ifnull(
                (SELECT min(number) FROM messages INDEXED BY messages_unacknowledged
                    WHERE contact = ?1 AND mine = 1 AND state IN ('queued', 'sent') AND log = contacts.log),
                next) - 1
            FROM contacts WHERE contact = ?1",
    )?;
    Ok(statement.query_one([contact], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
}

/// The contact's current log, and up to where it is stored here.
fn current(database: &Connection, contact: i64) -> Result<Option<Position>, StoreError> {
    let mut statement =
        database.prepare_cached("SELECT log, upto FROM received WHERE contact = ?1 ORDER BY used DESC LIMIT 1")?;
    Ok(statement.query_row([contact], |row| Ok(place(row.get(0)?, row.get(1)?))).optional()?)
}

/// Up to where this log is stored here, if it is the contact's current one or one that is new here; `None` for a former one.
pub(super) fn upto_if_current(database: &Connection, contact: i64, log: i64) -> Result<Option<u64>, StoreError> {
    match current(database, contact)? {
        Some(current) if current.log == log.cast_unsigned() => Ok(Some(current.number)),
        Some(_) => {
            let mut former = database.prepare_cached("SELECT 1 FROM received WHERE contact = ?1 AND log = ?2")?;
            Ok((!former.exists((contact, log))?).then_some(0))
        }
        None => Ok(Some(0)),
    }
}

/// The place of a message in the order in which a conversation is shown.
pub(super) fn sequence(database: &Connection, contact: i64, id: MessageId) -> Result<i64, StoreError> {
    let mut statement = database.prepare_cached("SELECT sequence FROM messages WHERE contact = ?1 AND id = ?2")?;
    let found = statement.query_row((contact, id.0), |row| row.get(0)).optional()?;
    found.ok_or(StoreError::UnknownMessage)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Fresh,
    Repeated,
    Renumbered,
    Stolen,
}

fn arrival(database: &Connection, contact: i64, log: i64, number: i64, id: MessageId) -> Result<Arrival, StoreError> {
    let mut by_number = database
        .prepare_cached("SELECT 1 FROM messages WHERE contact = ?1 AND mine = 0 AND log = ?2 AND number = ?3")?;
    if by_number.exists((contact, log, number))? {
        return Ok(Arrival::Repeated);
    }
    let mut by_id = database.prepare_cached("SELECT mine FROM messages WHERE contact = ?1 AND id = ?2")?;
    Ok(match by_id.query_row((contact, id.0), |row| row.get(0)).optional()? {
        None => Arrival::Fresh,
        Some(false) => Arrival::Renumbered,
        Some(true) => Arrival::Stolen,
    })
}

fn upto(database: &Connection, contact: i64, log: i64) -> Result<i64, StoreError> {
    let mut statement = database.prepare_cached("SELECT upto FROM received WHERE contact = ?1 AND log = ?2")?;
    Ok(statement.query_row((contact, log), |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Moves the acknowledged number over all that is stored without a gap, and returns it.
fn close_gap(database: &Connection, contact: i64, log: i64) -> Result<i64, StoreError> {
    let before = upto(database, contact, log)?;
    let mut statement = database.prepare_cached(
        "SELECT number FROM messages WHERE contact = ?1 AND mine = 0 AND log = ?2 AND number > ?3 ORDER BY number",
    )?;
    let mut rows = statement.query((contact, log, before))?;
    let mut after = before;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? != after + 1 {
            break;
        }
        after += 1;
    }
    if after > before {
        note(database, contact, log, after)?;
    }
    Ok(after)
}

/// Remembers that this log, which is now the current one, is stored up to `upto`.
fn note(database: &Connection, contact: i64, log: i64, upto: i64) -> Result<(), StoreError> {
    let mut statement = database.prepare_cached(
        "INSERT INTO received (contact, log, upto, used)
            VALUES (?1, ?2, ?3, (SELECT ifnull(max(used), 0) + 1 FROM received WHERE contact = ?1))
            ON CONFLICT DO UPDATE SET upto = excluded.upto, used = excluded.used",
    )?;
    statement.execute((contact, log, upto))?;
    let mut forget = database.prepare_cached(
        "DELETE FROM received WHERE contact = ?1 AND log IN
            (SELECT log FROM received WHERE contact = ?1 ORDER BY used DESC LIMIT -1 OFFSET ?2)",
    )?;
    forget.execute((contact, LOGS))?;
    Ok(())
}

/// Up to where the contact's current log is read: before its first unread message, and no further than acknowledged.
fn read(database: &Connection, contact: i64) -> Result<Option<Position>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT log, min(upto, ifnull(
                (SELECT min(number) - 1 FROM messages INDEXED BY messages_unread
                    WHERE contact = ?1 AND mine = 0 AND state = 'delivered' AND messages.log = received.log),
                upto))
            FROM received WHERE contact = ?1 ORDER BY used DESC LIMIT 1",
    )?;
    let place = statement.query_row([contact], |row| Ok(place(row.get(0)?, row.get(1)?))).optional()?;
    Ok(place.filter(|place| place.number > 0))
}

fn place(log: i64, number: i64) -> Position {
    Position { log: log.cast_unsigned(), number: number.unsigned_abs() }
}

#[cfg(test)]
mod tests {
    use knothole_proto::frames::MAX_TEXT;

    use super::*;
    use crate::store::fixture::{home, home_with_bob, id, peer};

    fn receipt(fresh: bool, upto: u64) -> (bool, u64) {
        (fresh, upto)
    }

    fn told(receipt: Result<Receipt, StoreError>) -> (bool, u64) {
        let Receipt { fresh, upto, .. } = receipt.unwrap();
        (fresh, upto)
    }

    #[tokio::test]
    async fn a_repeated_number_is_stored_once() {
        let home = home_with_bob().await;
        assert_eq!(told(home.receive(7, 1).await), receipt(true, 1));
        assert_eq!(told(home.receive(7, 1).await), receipt(false, 1));
        let again = Position { log: 7, number: 1 };
        assert_eq!(told(home.store.receive(peer(2), again, id(9), "x".into(), 0).await), receipt(false, 1));
        let zero = Position { log: 7, number: 0 };
        assert_eq!(told(home.store.receive(peer(2), zero, id(9), "x".into(), 0).await), receipt(false, 1));
        assert_eq!(home.count("SELECT count(*) FROM messages").await, 1);
    }

    #[tokio::test]
    async fn only_what_is_stored_without_a_gap_is_acknowledged() {
        let home = home_with_bob().await;
        assert_eq!(told(home.receive(7, 2).await), receipt(true, 0));
        assert_eq!(told(home.receive(7, 4).await), receipt(true, 0));
        assert_eq!(told(home.receive(7, 2).await), receipt(false, 0));
        assert_eq!(told(home.receive(7, 1).await), receipt(true, 2));
        assert_eq!(told(home.receive(7, 3).await), receipt(true, 4));
        let far = Position { log: 7, number: u64::MAX };
        assert_eq!(told(home.store.receive(peer(2), far, id(9), "x".into(), 0).await), receipt(false, 4));
    }

    #[tokio::test]
    async fn a_new_log_begins_at_one_and_old_ones_are_remembered() {
        let home = home_with_bob().await;
        home.receive(7, 1).await.unwrap();
        let new = Position { log: u64::MAX, number: 1 };
        assert_eq!(told(home.store.receive(peer(2), new, id(50), "x".into(), 0).await), receipt(true, 1));
        assert_eq!(home.store.conversation(peer(2)).await.unwrap().received, Some(new));
        assert_eq!(told(home.receive(7, 1).await), receipt(false, 1));
        assert_eq!(told(home.receive(7, 2).await), receipt(true, 2));
    }

    #[tokio::test]
    async fn a_message_that_was_renumbered_is_known_by_its_id() {
        let home = home_with_bob().await;
        for number in 1..=3 {
            home.receive(7, number).await.unwrap();
        }
        // Their messages 2 and 3 come again as 1 and 2 of a new log, then a new one; the second arrives first.
        for (number, n, expected) in [(2, 3, receipt(false, 0)), (1, 2, receipt(false, 2)), (3, 4, receipt(true, 3))] {
            let position = Position { log: 8, number };
            assert_eq!(told(home.store.receive(peer(2), position, id(n), "x".into(), 0).await), expected);
        }
        assert_eq!(home.count("SELECT count(*) FROM messages").await, 4);
        // What they are told that is read is in numbers which they know.
        assert_eq!(home.store.mark_read(peer(2), id(4)).await, Ok(Some(Position { log: 8, number: 3 })));
    }

    #[tokio::test]
    async fn an_id_of_mine_is_not_stored_and_does_not_stop_what_follows() {
        let home = home_with_bob().await;
        home.store.compose(peer(2), id(1), "mine".into(), 0).await.unwrap();
        assert_eq!(told(home.receive(7, 1).await), receipt(false, 1));
        assert_eq!(told(home.receive(7, 2).await), receipt(true, 2));
        assert_eq!(home.store.history(peer(2), None, None, 9).await.unwrap()[0].text, "mine");
    }

    #[tokio::test]
    async fn logs_that_a_contact_makes_up_are_dropped_beyond_a_number() {
        let home = home_with_bob().await;
        for n in 0..40 {
            let position = Position { log: u64::from(n) + 1, number: 1 };
            home.store.receive(peer(2), position, id(n), "x".into(), 0).await.unwrap();
        }
        assert_eq!(home.count("SELECT count(*) FROM received").await, i64::from(LOGS));
        assert_eq!(home.count("SELECT max(log) FROM received").await, 40);
        // The numbers of a log that is forgotten tell nothing; the ids still do.
        let forgotten = Position { log: 1, number: 1 };
        assert_eq!(told(home.store.receive(peer(2), forgotten, id(0), "x".into(), 0).await), receipt(false, 1));
    }

    #[tokio::test]
    async fn strangers_and_long_texts_are_refused() {
        let home = home();
        let position = Position { log: 1, number: 1 };
        let from = |text: String| home.store.receive(peer(2), position, id(1), text.into(), 0);
        assert_eq!(from("x".into()).await, Err(StoreError::UnknownContact));
        home.store.request(peer(2), vec![], None).await.unwrap();
        assert_eq!(from("x".into()).await, Err(StoreError::NotAccepted));
        home.store.accept(peer(2), None).await.unwrap();
        assert_eq!(from("x".repeat(MAX_TEXT + 1)).await, Err(StoreError::TooLong(MAX_TEXT + 1)));
        assert_eq!(told(from("x".repeat(MAX_TEXT)).await), receipt(true, 1));
    }

    #[tokio::test]
    async fn reading_moves_to_before_the_first_unread() {
        let home = home_with_bob().await;
        let unread = async || {
            let summary = home.store.contact(peer(2)).await.unwrap().summary;
            (summary.unread, summary.first_unread)
        };
        let read = |number| Ok(Some(Position { log: 7, number }));
        for number in [1, 3, 2, 4] {
            home.receive(7, number).await.unwrap();
        }
        assert_eq!(unread().await, (4, Some(id(1))));
        assert_eq!(home.store.conversation(peer(2)).await.unwrap().read, None);
        // Shown in the order of arrival: 1, 3, 2, 4.
        assert_eq!(home.store.mark_read(peer(2), id(3)).await, read(1));
        assert_eq!(unread().await, (2, Some(id(2))), "the first that is shown, not that of the lowest number");
        assert_eq!(home.store.mark_read(peer(2), id(2)).await, read(3));
        assert_eq!(home.store.mark_read(peer(2), id(1)).await, read(3));
        home.store.compose(peer(2), id(20), "mine".into(), 0).await.unwrap();
        assert_eq!(home.store.mark_read(peer(2), id(20)).await, read(4));
        assert_eq!(home.store.conversation(peer(2)).await.unwrap().read, Some(Position { log: 7, number: 4 }));
        assert_eq!(unread().await, (0, None));
        assert_eq!(home.store.mark_read(peer(2), id(99)).await, Err(StoreError::UnknownMessage));
    }

    #[tokio::test]
    async fn a_contact_that_lost_its_place_or_is_ahead_of_mine_is_noticed() {
        let home = home_with_bob().await;
        let state = home.store.conversation(peer(2)).await.unwrap();
        assert_eq!((state.next, state.acknowledged, state.received), (1, 0, None));
        assert!(state.continues_from(0, 0), "nothing was said yet");
        assert!(!state.continues_from(state.log, 1), "it has a message that I have not");
        for n in 1..=5 {
            home.store.compose(peer(2), id(n), "x".into(), 0).await.unwrap();
        }
        home.store.acknowledged(peer(2), Position { log: state.log, number: 2 }).await.unwrap();
        let state = home.store.conversation(peer(2)).await.unwrap();
        assert_eq!((state.next, state.acknowledged), (6, 2));
        for (log, received, continues) in
            [(state.log, 2, true), (state.log, 5, true), (state.log, 1, false), (state.log, 6, false), (0, 0, false)]
        {
            assert_eq!(state.continues_from(log, received), continues, "{received}");
        }
    }
}
