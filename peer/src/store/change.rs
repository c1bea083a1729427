//! What changes bring about: edits, deletions, reactions and timers, applied so that both sides come to show the same in
//! whatever order they come (docs/protocol.md, "Content").

#[cfg(test)]
mod tests;

use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use rusqlite::{Connection, OptionalExtension, Row};

use super::content::content;
use super::{StoreError, now, saturating, tidying};

/// Changes of a conversation that may wait for their targets. A target comes before its changes but for messages that
/// overtake each other, which are few; a hostile contact can name targets that never come.
const PENDING: u32 = 256;

/// Reactions of one author to one message that are remembered, those taken back included: nobody shows more.
const REACTIONS: u32 = 32;

/// Clocks that are set at all differ by less: the wrong time zone is the worst that is common.
const CLOCKS_APART_MS: i64 = 24 * 60 * 60 * 1000;

/// What is different for who looks at a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// There is a text that was not there.
    Text {
        /// Which message it is.
        message: MessageId,
        /// What it says, after what changes came before it.
        text: String,
        /// The message that it answers.
        reply: Option<MessageId>,
        /// How many seconds it lasts after it was read, if it does not stay.
        expires_s: Option<u32>,
    },
    /// Something else has changed.
    Change(Change),
}

/// One change, as it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which message it has happened to; of a timer, the one that set it.
    pub message: MessageId,
    /// Whether the person here did it.
    pub mine: bool,
    /// What has happened.
    pub what: What,
}

/// What has happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It says something else now.
    Edited {
        /// The whole text.
        text: String,
    },
    /// Its author took it back.
    Deleted,
    /// A reaction to it is there, or there no longer.
    Reacted {
        /// Which.
        emoji: String,
        /// Whether it is there now.
        on: bool,
    },
    /// Later texts last so many seconds, or stay.
    Timer {
        /// How many.
        expires_s: Option<u32>,
    },
    /// Its time was over.
    Expired,
}

/// A change and whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) contact: i64,
    pub(super) id: MessageId,
    pub(super) mine: bool,
    pub(super) at: u64,
    pub(super) content: &'a Content,
}

/// What came of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It shows.
    Shown(Change),
    /// A later word stands, or its author had no right to it.
    Nothing,
    /// What it changes is not here.
    NoTarget,
}

/// A message as changes find it.
pub(super) struct Target {
    pub(super) mine: bool,
    /// A text that is neither deleted nor expired.
    pub(super) alive: bool,
    /// The word that gave it its text, if that was an edit.
    edit: Option<(i64, [u8; 16])>,
}

/// The message that changes of it would find.
pub(super) fn target(database: &Connection, contact: i64, id: MessageId) -> Result<Option<Target>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT mine, kind = 'text' AND shown = 1 AND deleted = 0, edit_at, edit_id FROM messages
            WHERE contact = ?1 AND id = ?2",
    )?;
    let found = statement.query_row((contact, id.0), |row| {
        let edit = row.get::<_, Option<i64>>(2)?.zip(row.get(3)?);
        Ok(Target { mine: row.get(0)?, alive: row.get(1)?, edit })
    });
    Ok(found.optional()?)
}

/// The author's clock of the word that stands where this one would: a later one has to be later than that.
pub(super) fn standing(database: &Connection, contact: i64, content: &Content) -> Result<u64, StoreError> {
    let at: Option<i64> = match content {
        Content::Edit { of, .. } => target(database, contact, *of)?.and_then(|target| target.edit).map(|(at, _)| at),
        Content::Reaction { of, emoji, .. } => database
            .prepare_cached("SELECT at FROM reactions WHERE contact = ?1 AND target = ?2 AND mine = 1 AND emoji = ?3")?
            .query_row((contact, of.0, emoji), |row| row.get(0))
            .optional()?,
        Content::Timer { .. } => database
            .prepare_cached("SELECT timer_at FROM contacts WHERE contact = ?1")?
            .query_row([contact], |row| row.get(0))?,
        Content::Text { .. } | Content::Delete { .. } | Content::Unknown(_) => None,
    };
    Ok(at.map_or(0, i64::unsigned_abs))
}

/// Lets a change have its effect. Doing it again does nothing.
pub(super) fn apply(database: &Connection, word: Word<'_>) -> Result<Outcome, StoreError> {
    let Word { contact, mine, content, .. } = word;
    let (of, shows) = match content {
        Content::Text { .. } | Content::Unknown(_) => return Ok(Outcome::Nothing),
        Content::Timer { expires_s } => {
            let what = What::Timer { expires_s: *expires_s };
            return Ok(shown(set_timer(database, word, *expires_s)?, word.id, mine, what));
        }
        Content::Edit { of, .. } | Content::Delete { of } | Content::Reaction { of, .. } => {
            let Some(target) = target(database, contact, *of)? else {
                return Ok(Outcome::NoTarget);
            };
            let right = mine == target.mine || matches!(content, Content::Reaction { .. });
            let later = target.edit.is_none_or(|standing| standing < (saturating(word.at), word.id.0));
            (*of, target.alive && right && (later || !matches!(content, Content::Edit { .. })))
        }
    };
    if !shows {
        return Ok(Outcome::Nothing);
    }
    Ok(match content {
        Content::Edit { text, .. } => {
            let mut update = database.prepare_cached(
                "UPDATE messages SET text = ?3, edit_at = ?4, edit_id = ?5 WHERE contact = ?1 AND id = ?2",
            )?;
            update.execute((contact, of.0, text, saturating(word.at), word.id.0))?;
            // Empty: taken back before it was sent, which follows.
            shown(!text.is_empty(), of, mine, What::Edited { text: text.clone() })
        }
        Content::Reaction { emoji, on, .. } => {
            let what = What::Reacted { emoji: emoji.clone(), on: *on };
            shown(react(database, word, of, emoji, *on)?, of, mine, what)
        }
        _ => {
            erase(database, contact, of)?;
            let mut update = database.prepare_cached(
                "UPDATE messages SET deleted = 1, state = iif(mine, state, 'read') WHERE contact = ?1 AND id = ?2",
            )?;
            update.execute((contact, of.0))?;
            shown(true, of, mine, What::Deleted)
        }
    })
}

/// Lets a message of theirs that was just stored have its effect; returns what shows.
pub(super) fn arrived(database: &Connection, word: Word<'_>) -> Result<Vec<News>, StoreError> {
    let Word { contact, id, .. } = word;
    match word.content {
        Content::Text { reply, expires_s, .. } => {
            let changes = catch_up(database, contact, id)?;
            if changes.iter().any(|change| change.what == What::Deleted) {
                return Ok(Vec::new());
            }
            let mut text = database.prepare_cached("SELECT text FROM messages WHERE contact = ?1 AND id = ?2")?;
            let text: String = text.query_one((contact, id.0), |row| row.get(0))?;
            if text.is_empty() {
                return Ok(Vec::new());
            }
            let text = News::Text { message: id, text, reply: *reply, expires_s: *expires_s };
            // Its edits are in the text.
            let others = changes.into_iter().filter(|change| !matches!(change.what, What::Edited { .. }));
            Ok([text].into_iter().chain(others.map(News::Change)).collect())
        }
        Content::Unknown(_) => Ok(Vec::new()),
        Content::Edit { of, .. } | Content::Delete { of } | Content::Reaction { of, .. } => {
            match apply(database, word)? {
                Outcome::NoTarget => {
                    keep(database, word, *of)?;
                    Ok(Vec::new())
                }
                Outcome::Nothing => settle(database, contact, id).map(|()| Vec::new()),
                Outcome::Shown(change) => settle(database, contact, id).map(|()| vec![News::Change(change)]),
            }
        }
        Content::Timer { .. } => match apply(database, word)? {
            Outcome::Shown(change) => Ok(vec![News::Change(change)]),
            Outcome::Nothing | Outcome::NoTarget => Ok(Vec::new()),
        },
    }
}

fn shown(shows: bool, message: MessageId, mine: bool, what: What) -> Outcome {
    if shows { Outcome::Shown(Change { message, mine, what }) } else { Outcome::Nothing }
}

/// The latest word of both stands, so one from far ahead would take the timer away from the person here for as long: it has
/// no effect.
fn set_timer(database: &Connection, word: Word<'_>, expires_s: Option<u32>) -> Result<bool, StoreError> {
    if !word.mine && saturating(word.at) > now().saturating_add(CLOCKS_APART_MS) {
        return Ok(false);
    }
    let mut update = database.prepare_cached(
        "UPDATE contacts SET timer_s = ?2, timer_at = ?3, timer_id = ?4
            WHERE contact = ?1 AND (timer_at IS NULL OR (timer_at, timer_id) < (?3, ?4))",
    )?;
    Ok(update.execute((word.contact, expires_s, saturating(word.at), word.id.0))? > 0)
}

/// Remembers a word on an emoji; whether that shows. The latest words are kept: what is dropped for them would be dropped
/// whatever the order in which they come.
fn react(database: &Connection, word: Word<'_>, of: MessageId, emoji: &str, on: bool) -> Result<bool, StoreError> {
    let Word { contact, id, mine, at, .. } = word;
    let there = |database: &Connection| {
        let mut statement = database.prepare_cached(
            "SELECT there FROM reactions WHERE contact = ?1 AND target = ?2 AND mine = ?3 AND emoji = ?4",
        )?;
        statement.query_row((contact, of.0, mine, emoji), |row| row.get::<_, bool>(0)).optional()
    };
    let before = there(database)?.unwrap_or(false);
    let mut insert = database.prepare_cached(
        "INSERT INTO reactions (contact, target, mine, emoji, at, id, there) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT DO UPDATE SET at = excluded.at, id = excluded.id, there = excluded.there
                WHERE (reactions.at, reactions.id) < (excluded.at, excluded.id)",
    )?;
    insert.execute((contact, of.0, mine, emoji, saturating(at), id.0, on))?;
    let mut drop = database.prepare_cached(
        "DELETE FROM reactions WHERE contact = ?1 AND target = ?2 AND mine = ?3 AND emoji IN
            (SELECT emoji FROM reactions WHERE contact = ?1 AND target = ?2 AND mine = ?3
                ORDER BY at DESC, id DESC LIMIT -1 OFFSET ?4)",
    )?;
    drop.execute((contact, of.0, mine, REACTIONS))?;
    Ok(there(database)?.unwrap_or(false) != before)
}

/// Keeps a change of theirs, already in the log, until its target comes.
pub(super) fn keep(database: &Connection, word: Word<'_>, of: MessageId) -> Result<(), StoreError> {
    let Word { contact, id, .. } = word;
    if matches!(word.content, Content::Delete { .. }) {
        // What was to be read before it was taken back will never be.
        let mut drop = database.prepare_cached(
            "UPDATE messages SET pending = 0, content = NULL
                WHERE contact = ?1 AND target = ?2 AND pending = 1 AND kind = 'edit'",
        )?;
        drop.execute((contact, of.0))?;
    }
    let mut keep =
        database.prepare_cached("UPDATE messages SET pending = 1 WHERE contact = ?1 AND id = ?2 AND mine = 0")?;
    keep.execute((contact, id.0))?;
    let mut bound = database.prepare_cached(
        "UPDATE messages SET pending = 0, content = NULL WHERE sequence IN
            (SELECT sequence FROM messages WHERE contact = ?1 AND pending = 1
                ORDER BY sequence DESC LIMIT -1 OFFSET ?2)",
    )?;
    bound.execute((contact, PENDING))?;
    Ok(())
}

/// Applies what has waited for this message of theirs; returns what shows.
pub(super) fn catch_up(database: &Connection, contact: i64, target: MessageId) -> Result<Vec<Change>, StoreError> {
    let mut waiting = database.prepare_cached(
        "SELECT id, at, kind, text, target, expires_s, content FROM messages
            WHERE contact = ?1 AND target = ?2 AND pending = 1",
    )?;
    let read = |row: &Row<'_>| Ok((MessageId(row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs(), content(row, 2)?));
    let waiting = waiting.query_map((contact, target.0), read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut changes = Vec::new();
    for (id, at, content) in waiting {
        if let Outcome::Shown(change) = apply(database, Word { contact, id, mine: false, at, content: &content })? {
            changes.push(change);
        }
        settle(database, contact, id)?;
    }
    Ok(changes)
}

/// Forgets what a change of theirs said: it has had its effect.
pub(super) fn settle(database: &Connection, contact: i64, id: MessageId) -> Result<(), StoreError> {
    let mut update =
        database.prepare_cached("UPDATE messages SET pending = 0, content = NULL WHERE contact = ?1 AND id = ?2")?;
    update.execute((contact, id.0))?;
    Ok(())
}

/// Removes what a message said, from the index and from edits that are still to be sent, too.
pub(super) fn erase(database: &Connection, contact: i64, id: MessageId) -> Result<(), StoreError> {
    let mut update =
        database.prepare_cached("UPDATE messages SET text = '', target = NULL WHERE contact = ?1 AND id = ?2")?;
    update.execute((contact, id.0))?;
    let mut empty = database.prepare_cached(
        "UPDATE messages INDEXED BY messages_unacknowledged SET content = ?3
            WHERE contact = ?1 AND mine = 1 AND state IN ('queued', 'sent') AND kind = 'edit' AND target = ?2",
    )?;
    empty.execute((contact, id.0, Content::Edit { of: id, text: String::new() }.to_bytes()))?;
    database.prepare_cached("DELETE FROM reactions WHERE contact = ?1 AND target = ?2")?.execute((contact, id.0))?;
    tidying::note(database)
}
