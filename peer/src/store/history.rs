//! What was said, page by page, and finding it again.

use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};

use super::contact::known;
use super::grams::{self, fold, holds};
use super::incoming::sequence;
use super::{MAX_PAGE, Outcome, Store, StoreError};

/// A message as a conversation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// Who wrote it.
    pub author: Author,
    /// What it is.
    pub kind: Kind,
    /// What was written, as it is now; empty once deleted.
    pub text: String,
    /// The message that it answers, which may not be here.
    pub reply: Option<MessageId>,
    /// Whether its author has changed it.
    pub edited: bool,
    /// What the two feel about it, in the order of the emoji.
    pub reactions: Vec<Reaction>,
    /// How many seconds it lasts, if it does not stay.
    pub expires_s: Option<u32>,
    /// When it disappears here, by this machine's clock, in milliseconds since 1970, once that is known.
    pub expires_at: Option<u64>,
    /// When it was written, by the author's clock, in milliseconds since 1970.
    pub at: u64,
    /// When it was stored here, by this machine's clock, in milliseconds since 1970.
    pub stored_at: u64,
    /// How far it has come.
    pub state: MessageState,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something to read.
    Text,
    /// Something that its author took back.
    Deleted,
    /// The word that later texts last `expires_s` seconds, or stay.
    Timer,
    /// Of a later version, which alone can show it.
    Unknown,
}

/// Where a page of a conversation lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At its beginning: the oldest messages.
    Beginning,
    /// At its end: the newest messages.
    End,
    /// The newest of those that are older than this one.
    Before(MessageId),
    /// The oldest of those that are newer than this one.
    After(MessageId),
}

/// A reaction to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// Which.
    pub emoji: String,
    /// Whether the person here has it.
    pub mine: bool,
}

/// Which of the two wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The person here.
    Me,
    /// The contact.
    Contact,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// Mine, waiting here.
    Queued,
    /// Mine, on its way.
    Sent,
    /// In durable storage at the other side; or the contact's, here and unread.
    Delivered,
    /// The person whom it was written to has seen it.
    Read,
    /// Mine, and it will not be sent any more.
    Failed,
}

impl MessageState {
    /// The word for it, in the database as on JSON-RPC.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }
}

impl FromSql for MessageState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?;
        [Self::Queued, Self::Sent, Self::Delivered, Self::Read, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or(FromSqlError::InvalidType)
    }
}

impl Store {
    /// The newest messages of a conversation, or the newest `before` a given one, oldest first: at most `limit`, and at
    /// most [`MAX_PAGE`]. With a `search`, only those whose text contains it, whatever the case of its letters.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], [`StoreError::UnknownMessage`], or those of the disk.
    pub fn history(
        &self,
        peer: PeerId,
        search: Option<String>,
        before: Option<MessageId>,
        limit: u32,
    ) -> Outcome<Vec<Message>> {
        self.page(peer, search, before.map_or(Place::End, Place::Before), limit)
    }

    /// The same, of whatever place in the conversation. The message that names the place need not be one that is found, nor be
    /// shown any more.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], [`StoreError::UnknownMessage`], or those of the disk.
    pub fn page(&self, peer: PeerId, search: Option<String>, place: Place, limit: u32) -> Outcome<Vec<Message>> {
        self.submit(move |database| page(database, peer, search.as_deref(), place, limit))
    }
}

/// See [`Store::page`].
pub(super) fn page(
    database: &Connection,
    peer: PeerId,
    search: Option<&str>,
    place: Place,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let contact = known(database, peer)?.contact;
    let (edge, order) = match place {
        Place::Beginning => (i64::MIN, Order::Forth),
        Place::End => (i64::MAX, Order::Back),
        Place::Before(id) => (sequence(database, contact, id)?, Order::Back),
        Place::After(id) => (sequence(database, contact, id)?, Order::Forth),
    };
    let limit = limit.min(MAX_PAGE);
    let mut page = match fold(search.unwrap_or_default()).as_slice() {
        [] => neighbours(database, contact, (edge, order), limit)?,
        search => found(database, contact, (edge, order), limit, search)?,
    };
    if let Order::Back = order {
        page.reverse();
    }
    for message in &mut page {
        message.reactions = reactions(database, contact, message.id)?;
    }
    Ok(page)
}

/// Which way a conversation is walked from the edge of a page.
#[derive(Clone, Copy)]
enum Order {
    Back,
    Forth,
}

impl Order {
    /// How a place compares with the edge where it lies on this side, and how the way there is sorted.
    const fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Back => ("<", "DESC"),
            Self::Forth => (">", "ASC"),
        }
    }
}

/// The columns that [`message`] reads, in its order.
const COLUMNS: &str = "id, mine, text, at, stored_at, state, kind, deleted, target, edit_at IS NOT NULL AND deleted = 0, \
     expires_s, expires_at";

fn neighbours(
    database: &Connection,
    contact: i64,
    (edge, order): (i64, Order),
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let mut statement = database.prepare_cached(&neighbours_statement(order))?;
    let found = statement.query_map((contact, edge, limit), message)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn neighbours_statement(order: Order) -> String {
    let (beyond, sorted) = order.sql();
    format!(
        "SELECT {COLUMNS} FROM messages
            WHERE contact = ?1 AND shown = 1 AND sequence {beyond} ?2 ORDER BY sequence {sorted} LIMIT ?3",
    )
}

fn found(
    database: &Connection,
    contact: i64,
    (edge, order): (i64, Order),
    limit: u32,
    search: &[char],
) -> Result<Vec<Message>, StoreError> {
    let (beyond, sorted) = order.sql();
    // The cross join walks the index in the order of the page, and stops when that is full.
    let mut statement = database.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages_grams CROSS JOIN messages ON messages.sequence = messages_grams.rowid
            WHERE messages_grams MATCH ?3 AND messages_grams.rowid {beyond} ?2 AND contact = ?1 AND shown = 1
            ORDER BY messages_grams.rowid {sorted}",
    ))?;
    let candidates = statement.query_map((contact, edge, grams::expression(contact, search)), message)?;
    let found = candidates
        .filter(|candidate| candidate.as_ref().map_or(true, |message| holds(&message.text, search)))
        .take(limit as usize);
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: MessageId(row.get(0)?),
        author: if row.get(1)? { Author::Me } else { Author::Contact },
        text: row.get(2)?,
        at: row.get::<_, i64>(3)?.unsigned_abs(),
        stored_at: row.get::<_, i64>(4)?.unsigned_abs(),
        state: row.get(5)?,
        kind: match row.get_ref(6)?.as_str()? {
            "text" if row.get(7)? => Kind::Deleted,
            "text" => Kind::Text,
            "timer" => Kind::Timer,
            _ => Kind::Unknown,
        },
        reply: row.get::<_, Option<_>>(8)?.map(MessageId),
        edited: row.get(9)?,
        reactions: Vec::new(),
        expires_s: row.get(10)?,
        expires_at: row.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs),
    })
}

fn reactions(database: &Connection, contact: i64, id: MessageId) -> rusqlite::Result<Vec<Reaction>> {
    let mut statement = database.prepare_cached(
        "SELECT emoji, mine FROM reactions WHERE contact = ?1 AND target = ?2 AND there = 1 ORDER BY emoji, mine",
    )?;
    let found = statement.query_map((contact, id.0), |row| Ok(Reaction { emoji: row.get(0)?, mine: row.get(1)? }))?;
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{Home, home_with_bob, id, peer};

    async fn found(home: &Home, search: &str) -> Vec<String> {
        let page = home.store.history(peer(2), Some(search.into()), None, 9).await.unwrap();
        page.into_iter().map(|message| message.text).collect()
    }

    async fn home_with(texts: &[&str]) -> Home {
        let home = home_with_bob().await;
        home.store.add(peer(3), None, vec![]).await.unwrap();
        for (n, text) in (1..).zip(texts) {
            home.store.compose(peer(2), id(n), (*text).into(), 0).await.unwrap();
            home.store.compose(peer(3), id(n), format!("to another: {text}").into(), 0).await.unwrap();
        }
        home
    }

    #[tokio::test]
    async fn pages_go_from_the_newest_back_each_oldest_first() {
        let home = home_with(&["a", "b", "c", "d", "e"]).await;
        let page = async |before| {
            let page = home.store.history(peer(2), None, before, 2).await.unwrap();
            page.iter().map(|message| message.id).collect::<Vec<_>>()
        };
        assert_eq!(page(None).await, [id(4), id(5)]);
        assert_eq!(page(Some(id(4))).await, [id(2), id(3)]);
        assert_eq!(page(Some(id(2))).await, [id(1)]);
        assert_eq!(page(Some(id(1))).await, []);
        let unknown = home.store.history(peer(2), None, Some(id(77)), 2).await;
        assert_eq!(unknown, Err(StoreError::UnknownMessage));
    }

    #[tokio::test]
    async fn pages_go_forth_from_a_message_to_the_newest_each_oldest_first() {
        let home = home_with(&["a", "b", "c", "d", "e"]).await;
        let page = async |after| {
            let page = home.store.page(peer(2), None, Place::After(after), 2).await.unwrap();
            page.iter().map(|message| message.id).collect::<Vec<_>>()
        };
        assert_eq!(page(id(1)).await, [id(2), id(3)]);
        assert_eq!(page(id(3)).await, [id(4), id(5)]);
        assert_eq!(page(id(4)).await, [id(5)]);
        assert_eq!(page(id(5)).await, []);
        let unknown = home.store.page(peer(2), None, Place::After(id(77)), 2).await;
        assert_eq!(unknown, Err(StoreError::UnknownMessage));
    }

    #[tokio::test]
    async fn what_is_not_shown_any_more_still_tells_a_place() {
        let home = home_with(&["a", "b", "c"]).await;
        home.execute("UPDATE messages SET shown = 0 WHERE contact = 1 AND number = 2").await.unwrap();
        for (place, expected) in [(Place::Before(id(2)), id(1)), (Place::After(id(2)), id(3))] {
            let page = home.store.page(peer(2), None, place, 9).await.unwrap();
            assert_eq!(page.iter().map(|message| message.id).collect::<Vec<_>>(), [expected]);
        }
    }

    /// A conversation of 100,000 is not walked for a page, whichever way it goes: the first is far from 'found'.
    #[tokio::test]
    async fn a_page_is_looked_up_in_an_index_both_ways() {
        let home = home_with(&["a"]).await;
        for order in [Order::Back, Order::Forth] {
            let beyond = order.sql().0;
            let plan = home.store.submit(move |database| {
                let mut statement = database.prepare(&format!("EXPLAIN QUERY PLAN {}", neighbours_statement(order)))?;
                let steps = statement.query_map((1, 7, 9), |row| row.get(3))?;
                Ok(steps.collect::<rusqlite::Result<Vec<String>>>()?)
            });
            let plan = plan.await.unwrap();
            let expected = format!("SEARCH messages USING INDEX messages_shown (contact=? AND rowid{beyond}?)");
            assert_eq!(plan, [expected], "no sorting, no scan");
        }
    }

    #[tokio::test]
    async fn a_page_tells_who_wrote_when_and_how_far_it_came() {
        let home = home_with(&["mine"]).await;
        home.receive(7, 40).await.unwrap();
        let page = home.store.history(peer(2), None, None, 9).await.unwrap();
        assert_eq!((page[0].author, page[0].state), (Author::Me, MessageState::Queued));
        assert_eq!((page[1].author, page[1].state, page[1].at), (Author::Contact, MessageState::Delivered, 40));
        // This program was written after 2020.
        assert!(page[1].stored_at > 1_577_836_800_000);
    }

    #[tokio::test]
    async fn search_finds_any_run_of_characters_whatever_their_case_and_script() {
        let home = home_with(&["今日は東京に行きます", "東京タワー", "Grüße aus KÖLN", "100% \"sure\" _x_"]).await;
        for (search, expected) in [
            ("東京に", vec!["今日は東京に行きます"]),
            ("東京", vec!["今日は東京に行きます", "東京タワー"]),
            ("ー", vec!["東京タワー"]),
            ("köln", vec!["Grüße aus KÖLN"]),
            ("Öl", vec!["Grüße aus KÖLN"]),
            ("\"sure\"", vec!["100% \"sure\" _x_"]),
            ("0%", vec!["100% \"sure\" _x_"]),
            ("0% OR Gr", vec![]),
            ("_", vec!["100% \"sure\" _x_"]),
            ("g", vec!["Grüße aus KÖLN"]),
            ("s k", vec!["Grüße aus KÖLN"]),
            ("東タワ", vec![]),
            ("another", vec![]),
            ("kö\0n", vec![]),
            (&"x".repeat(300), vec![]),
        ] {
            assert_eq!(found(&home, search).await, expected, "{search}");
        }
        assert_eq!(found(&home, "").await.len(), 4);
    }

    #[tokio::test]
    async fn search_pages_like_history_does() {
        let home = home_with(&["one knot", "two knots", "a hole", "three knots"]).await;
        for search in ["knot", "no"] {
            let page = home.store.history(peer(2), Some(search.into()), Some(id(4)), 1).await.unwrap();
            assert_eq!(page.iter().map(|message| message.id).collect::<Vec<_>>(), [id(2)], "{search}");
            let page = home.store.page(peer(2), Some(search.into()), Place::After(id(1)), 1).await.unwrap();
            assert_eq!(page.iter().map(|message| message.id).collect::<Vec<_>>(), [id(2)], "{search}");
            // A message that is not found tells a place as well.
            let page = home.store.page(peer(2), Some(search.into()), Place::After(id(3)), 9).await.unwrap();
            assert_eq!(page.iter().map(|message| message.id).collect::<Vec<_>>(), [id(4)], "{search}");
        }
    }

    #[tokio::test]
    async fn the_index_agrees_with_the_messages_after_edits_and_removals() {
        let home = home_with(&["one knot", "two knots"]).await;
        home.execute("UPDATE messages SET text = 'a hole' WHERE number = 1").await.unwrap();
        home.store.remove(peer(3)).await.unwrap();
        assert_eq!(found(&home, "knot").await, ["two knots"]);
        assert_eq!(found(&home, "hole").await, ["a hole"]);
        home.execute("INSERT INTO messages_grams (messages_grams) VALUES ('integrity-check')").await.unwrap();
    }
}
