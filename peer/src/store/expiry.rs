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

#[cfg(test)]
mod tests {
    use knothole_proto::content::Content;

    use super::*;
    use crate::store::Position;
    use crate::store::fixture::{Home, home_with_bob, id, peer};

    /// Long after all that was written today is due.
    const LATER: i64 = 32_503_680_000_000;

    fn lasting(text: &str) -> Content {
        Content::Text { text: text.into(), reply: None, expires_s: Some(60) }
    }

    impl Home {
        async fn take_in(&self, n: u8, content: Content) {
            let position = Position { log: 7, number: n.into() };
            self.store.receive(peer(2), position, id(n), content, n.into()).await.unwrap();
        }

        async fn shown(&self) -> Vec<MessageId> {
            let page = self.store.history(peer(2), None, None, 99).await.unwrap();
            page.into_iter().map(|message| message.id).collect()
        }
    }

    #[tokio::test]
    async fn a_text_of_theirs_lasts_from_when_it_was_read() {
        let home = home_with_bob().await;
        home.take_in(1, lasting("goes")).await;
        home.take_in(2, "stays".into()).await;
        let unread = home.store.expire_at(peer(2), || LATER).await.unwrap();
        assert_eq!(unread, Expired { gone: vec![], next_ms: None });
        home.store.mark_read(peer(2), id(2)).await.unwrap();
        let Expired { gone, next_ms } = home.store.expire(peer(2)).await.unwrap();
        assert_eq!(gone, []);
        assert!(next_ms.is_some_and(|next_ms| next_ms <= 60_000), "{next_ms:?}");
        let expires_at = home.store.history(peer(2), None, None, 9).await.unwrap()[0].expires_at;
        // Reading it again does not give it more time.
        home.store.mark_read(peer(2), id(2)).await.unwrap();
        assert_eq!(home.store.history(peer(2), None, None, 9).await.unwrap()[0].expires_at, expires_at);
        let Expired { gone, next_ms } = home.store.expire_at(peer(2), || LATER).await.unwrap();
        assert_eq!((gone, next_ms), (vec![id(1)], None));
        assert_eq!(home.shown().await, [id(2)]);
    }

    #[tokio::test]
    async fn a_text_of_mine_lasts_from_when_they_have_it() {
        let home = home_with_bob().await;
        let position = home.store.compose(peer(2), id(1), lasting("goes"), 1).await.unwrap();
        home.store.mark_sent(peer(2), position).await.unwrap();
        assert_eq!(home.store.expire_at(peer(2), || LATER).await.unwrap().gone, []);
        home.store.acknowledged(peer(2), position).await.unwrap();
        assert_eq!(home.store.expire_at(peer(2), || LATER).await.unwrap().gone, [id(1)]);
        assert_eq!(home.shown().await, []);
    }

    #[tokio::test]
    async fn nothing_brings_back_what_has_disappeared() {
        let home = home_with_bob().await;
        home.take_in(1, lasting("a secret")).await;
        home.store.mark_read(peer(2), id(1)).await.unwrap();
        home.store.expire_at(peer(2), || LATER).await.unwrap();
        home.take_in(1, lasting("a secret")).await;
        home.take_in(2, Content::Edit { of: id(1), text: "a secret".into() }).await;
        // Renumbered, after an accident of theirs.
        let again = Position { log: 8, number: 1 };
        let receipt = home.store.receive(peer(2), again, id(1), lasting("a secret"), 1).await.unwrap();
        assert!(!receipt.fresh && receipt.news.is_empty(), "{receipt:?}");
        assert_eq!(home.shown().await, []);
        assert_eq!(home.count("SELECT count(*) FROM messages WHERE text <> '' OR content IS NOT NULL").await, 0);
    }

    #[tokio::test]
    async fn a_long_absence_is_made_up_for_in_parts() {
        let home = home_with_bob().await;
        home.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
                INSERT INTO messages (contact, id, mine, log, number, text, at, stored_at, state, expires_s, expires_at)
                SELECT 1, randomblob(16), 0, 7, i, 'x', i, i, 'read', 1, i FROM n",
        )
        .await
        .unwrap();
        let Expired { gone, next_ms } = home.store.expire(peer(2)).await.unwrap();
        assert_eq!((gone.len(), next_ms), (AT_ONCE as usize, Some(0)));
        let Expired { gone, next_ms } = home.store.expire(peer(2)).await.unwrap();
        assert_eq!((gone.len(), next_ms), (300 - AT_ONCE as usize, None));
    }
}
