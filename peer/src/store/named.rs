//! Messages whose names their sender chose: one of them may be sent again, by somebody who did not hear that it was stored, and is
//! stored once. What comes under a name that is taken by something else is refused, for it would be lost without a word.

use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::{Connection, OptionalExtension as _};

use super::contact::talking;
use super::{Outcome, Position, Store, StoreError, content, drafts, outgoing};

impl Store {
    /// [`compose`](Self::compose), or nothing (`None`) if this text is a message already; with `from_draft` the contact's draft is gone
    /// in the same commit, of a message that was there already only if the draft is its text.
    ///
    /// # Errors
    /// [`StoreError::MessageKnown`] if the name is another text's, or of a message to somebody else; or those of
    /// [`compose`](Self::compose).
    pub fn compose_named(
        &self,
        peer: PeerId,
        id: MessageId,
        content: Content,
        at: u64,
        from_draft: bool,
    ) -> Outcome<Option<Position>> {
        self.submit(move |database| {
            content::check(&content)?;
            let contact = talking(database, peer)?;
            if is_composed(database, contact, id, &content)? {
                if let (true, Content::Text { text, .. }) = (from_draft, &content) {
                    let mut used = database.prepare_cached("DELETE FROM drafts WHERE contact = ?1 AND text = ?2")?;
                    used.execute((contact, text))?;
                }
                return Ok(None);
            }
            if is_mine(database, id)? {
                return Err(StoreError::MessageKnown);
            }
            let position = outgoing::compose(database, peer, id, &content, at)?;
            if from_draft {
                drafts::drop_draft(database, contact)?;
            }
            Ok(Some(position))
        })
    }
}

/// Whether this text of mine is in the conversation, or one that has been changed or is gone since: of that nobody can tell.
fn is_composed(database: &Connection, contact: i64, id: MessageId, content: &Content) -> Result<bool, StoreError> {
    let Content::Text { text, reply, .. } = content else { return Ok(false) };
    let mut statement = database.prepare_cached(
        "SELECT shown = 0 OR deleted = 1 OR edit_at IS NOT NULL OR text = ?3 AND target IS ?4 FROM messages
            WHERE contact = ?1 AND id = ?2 AND mine = 1 AND kind = 'text'",
    )?;
    let found = statement.query_row((contact, id.0, text, reply.map(|reply| reply.0)), |row| row.get(0));
    Ok(found.optional()?.unwrap_or(false))
}

/// Whether a message of mine has this name, in whichever conversation: for each contact one look into the index.
fn is_mine(database: &Connection, id: MessageId) -> Result<bool, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT 1 FROM contacts CROSS JOIN messages
            WHERE messages.contact = contacts.contact AND messages.id = ?1 AND mine = 1",
    )?;
    Ok(statement.exists([id.0])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MessageState;
    use crate::store::fixture::{Home, home_with_bob, id, peer};

    const KNOWN: Result<Option<Position>, StoreError> = Err(StoreError::MessageKnown);

    async fn send(home: &Home, to: u8, text: &str) -> Result<Option<Position>, StoreError> {
        home.store.compose_named(peer(to), id(1), text.into(), 0, true).await
    }

    async fn texts(home: &Home) -> Vec<String> {
        let page = home.store.history(peer(2), None, None, 9).await.unwrap();
        page.into_iter().map(|message| message.text).collect()
    }

    async fn draft(home: &Home) -> Option<String> {
        home.store.contacts().await.unwrap()[0].summary.draft.clone()
    }

    #[tokio::test]
    async fn a_text_that_is_sent_again_under_its_name_is_stored_once() {
        let home = home_with_bob().await;
        assert!(send(&home, 2, "one").await.unwrap().is_some());
        assert_eq!(send(&home, 2, "one").await, Ok(None));
        assert_eq!(texts(&home).await, ["one"]);
        assert_eq!(home.store.history(peer(2), None, None, 9).await.unwrap()[0].state, MessageState::Queued);
    }

    #[tokio::test]
    async fn a_name_is_refused_to_another_text_and_to_another_answer() {
        let home = home_with_bob().await;
        send(&home, 2, "one").await.unwrap();
        home.store.set_draft(peer(2), "TWO".into()).await.unwrap();
        assert_eq!(send(&home, 2, "TWO").await, KNOWN);
        assert_eq!(draft(&home).await.as_deref(), Some("TWO"), "it is not lost");
        let answer = Content::Text { text: "one".into(), reply: Some(id(9)), expires_s: None };
        assert_eq!(home.store.compose_named(peer(2), id(1), answer, 0, false).await, KNOWN);
        assert_eq!(texts(&home).await, ["one"]);
    }

    #[tokio::test]
    async fn a_name_is_refused_to_a_message_to_somebody_else_and_to_one_of_theirs() {
        let home = home_with_bob().await;
        home.store.add(peer(3), None, vec![]).await.unwrap();
        send(&home, 2, "one").await.unwrap();
        assert_eq!(send(&home, 3, "one").await, KNOWN);
        home.receive(7, 5).await.unwrap();
        assert_eq!(home.store.compose_named(peer(2), id(5), "text 5".into(), 0, false).await, KNOWN);
    }

    #[tokio::test]
    async fn a_text_that_is_not_as_it_was_written_any_more_was_stored_whatever_is_sent_again() {
        let home = home_with_bob().await;
        for change in [Content::Edit { of: id(1), text: "better".into() }, Content::Delete { of: id(1) }] {
            send(&home, 2, "one").await.unwrap();
            home.store
                .amend(peer(2), id(if matches!(change, Content::Edit { .. }) { 2 } else { 3 }), change, 1)
                .await
                .unwrap();
            assert_eq!(send(&home, 2, "one").await, Ok(None));
        }
        home.execute("UPDATE messages SET deleted = 0, edit_at = NULL, shown = 0 WHERE number = 1").await.unwrap();
        assert_eq!(send(&home, 2, "one").await, Ok(None), "it has expired");
    }

    #[tokio::test]
    async fn a_text_that_is_sent_again_from_its_draft_leaves_none_but_what_was_begun_since_stays() {
        let home = home_with_bob().await;
        home.store.compose_named(peer(2), id(1), "one".into(), 0, false).await.unwrap();
        for (begun, left) in [("one", None), ("one more", Some("one more"))] {
            home.store.set_draft(peer(2), begun.into()).await.unwrap();
            assert_eq!(send(&home, 2, "one").await, Ok(None));
            assert_eq!(draft(&home).await.as_deref(), left);
        }
    }

    #[tokio::test]
    async fn a_message_takes_its_draft_with_it() {
        let home = home_with_bob().await;
        home.store.set_draft(peer(2), "on".into()).await.unwrap();
        send(&home, 2, "one").await.unwrap();
        assert_eq!(draft(&home).await, None);
    }
}
