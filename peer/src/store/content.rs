//! How the content of a message lies in its row.

use knothole_proto::content::Content;
use knothole_proto::frames::{MAX_TEXT, MessageId};
use rusqlite::{Connection, Row};

use super::{Position, StoreError, now, saturating};

/// A message to be inserted.
pub(super) struct Entry<'a> {
    pub(super) contact: i64,
    pub(super) id: MessageId,
    pub(super) mine: bool,
    pub(super) position: Position,
    pub(super) at: u64,
    pub(super) content: &'a Content,
}

/// The columns that [`content`] reads, in its order.
pub(super) const COLUMNS: &str = "kind, text, target, expires_s, content";

/// Refuses what no one may write.
pub(super) fn check(content: &Content) -> Result<(), StoreError> {
    match content {
        Content::Reaction { .. } if !content.is_within_bounds() => Err(StoreError::InvalidReaction),
        content if content.text_len() > MAX_TEXT => Err(StoreError::TooLong(content.text_len())),
        _ => Ok(()),
    }
}

/// Puts a message into its log. Theirs need no reading unless they are texts.
pub(super) fn insert(database: &Connection, entry: &Entry<'_>) -> Result<(), StoreError> {
    let Entry { contact, id, mine, position, at, content } = entry;
    let (kind, target, expires_s) = match content {
        Content::Text { reply, expires_s, .. } => ("text", *reply, *expires_s),
        Content::Edit { of, .. } => ("edit", Some(*of), None),
        Content::Delete { of } => ("delete", Some(*of), None),
        Content::Reaction { of, .. } => ("reaction", Some(*of), None),
        Content::Timer { expires_s } => ("timer", None, *expires_s),
        Content::Unknown(_) => ("unknown", None, None),
    };
    let (text, bytes) = match content {
        Content::Text { text, .. } => (text.as_str(), None),
        Content::Timer { .. } => ("", None),
        other => ("", Some(other.to_bytes())),
    };
    let state = match (mine, content) {
        (true, _) => "queued",
        // An empty one was taken back before it was sent.
        (false, Content::Text { text, .. }) if !text.is_empty() => "delivered",
        (false, _) => "read",
    };
    let shown = matches!(content, Content::Text { .. } | Content::Timer { .. } | Content::Unknown(_));
    let mut statement = database.prepare_cached(
        "INSERT INTO messages
                (contact, id, mine, log, number, text, at, stored_at, state, kind, shown, target, content, expires_s)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let (log, number) = (position.log.cast_signed(), saturating(position.number));
    let target = target.map(|target| target.0);
    statement.execute(rusqlite::params![
        contact,
        id.0,
        mine,
        log,
        number,
        text,
        saturating(*at),
        now(),
        state,
        kind,
        shown,
        target,
        bytes,
        expires_s
    ])?;
    Ok(())
}

/// The content of a row, whose [`COLUMNS`] begin at `first`. A text that was changed is told as it is now.
pub(super) fn content(row: &Row<'_>, first: usize) -> rusqlite::Result<Content> {
    let target = row.get::<_, Option<[u8; 16]>>(first + 2)?.map(MessageId);
    let expires_s = row.get(first + 3)?;
    Ok(match row.get_ref(first)?.as_str()? {
        "text" => Content::Text { text: row.get(first + 1)?, reply: target, expires_s },
        "timer" => Content::Timer { expires_s },
        _ => Content::from_bytes(row.get::<_, Option<Vec<u8>>>(first + 4)?.unwrap_or_default()),
    })
}
