//! Who a person knows, who asks to be known, and who is kept away.

use knothole_proto::contact_link::{MAX_VIA, RendezvousAddress};
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::Connection;

use super::contact::{Contact, ContactState, known, one, read};
use super::{MAX_GREETING, MAX_NAME, MAX_REQUESTS, Outcome, Store, StoreError, now, outgoing};

impl Store {
    /// All contacts in the order of their names, whatever their state.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn contacts(&self) -> Outcome<Vec<Contact>> {
        self.submit(|database| read(database, None))
    }

    /// The contact that has this id, whatever its state.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn contact(&self, peer: PeerId) -> Outcome<Contact> {
        self.submit(move |database| one(database, peer))
    }

    /// Makes `peer` a contact whom the two may talk to: new, out of a request, or no longer blocked. Without a `name` a new
    /// one gets the short form of its id, and a known one keeps its name. At most [`MAX_VIA`] of `via` are kept, in place
    /// of earlier ones.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::InvalidName`], or those of the disk.
    pub fn add(&self, peer: PeerId, name: Option<String>, via: Vec<RendezvousAddress>) -> Outcome<Contact> {
        self.add_reached(peer, name, via, None)
    }

    /// The same, with whether the two meet through a relay alone: whoever is told an address before that is chosen has it.
    ///
    /// # Errors
    /// Those of [`add`](Self::add).
    pub fn add_reached(
        &self,
        peer: PeerId,
        name: Option<String>,
        via: Vec<RendezvousAddress>,
        relay_only: Option<bool>,
    ) -> Outcome<Contact> {
        self.submit(move |database| {
            let name = name.as_deref();
            match known(database, peer) {
                Err(StoreError::UnknownContact) => insert(database, peer, name, ContactState::Contact, None)?,
                Err(error) => return Err(error),
                Ok(_) => {
                    settle(database, peer)?;
                    if let Some(name) = name {
                        rename(database, peer, name)?;
                    }
                }
            }
            keep_via(database, peer, &via)?;
            choose(database, peer, relay_only)?;
            one(database, peer)
        })
    }

    /// Notes that a stranger asks to be a contact. `None`: nothing is to be asked, for the peer is known already, as a
    /// contact, by an earlier request, or as blocked. A `greeting` is cut at [`MAX_GREETING`] bytes.
    ///
    /// # Errors
    /// [`StoreError::TooManyRequests`]: [`MAX_REQUESTS`] wait; or those of the disk.
    pub fn request(
        &self,
        peer: PeerId,
        via: Vec<RendezvousAddress>,
        greeting: Option<String>,
    ) -> Outcome<Option<Contact>> {
        self.submit(move |database| {
            match known(database, peer) {
                Err(StoreError::UnknownContact) => {}
                answer => return answer.map(|_| None),
            }
            let mut open = database.prepare_cached("SELECT count(*) FROM contacts WHERE state = 'request'")?;
            if open.query_row([], |row| row.get::<_, u32>(0))? >= MAX_REQUESTS {
                return Err(StoreError::TooManyRequests);
            }
            let greeting = greeting.as_deref().map(beginning);
            insert(database, peer, None, ContactState::Request, greeting)?;
            keep_via(database, peer, &via)?;
            one(database, peer).map(Some)
        })
    }

    /// Makes a contact of a request or of a blocked one, met through a relay alone if that is said. For a contact it changes nothing
    /// else.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn accept(&self, peer: PeerId, relay_only: Option<bool>) -> Outcome<Contact> {
        self.submit(move |database| {
            known(database, peer)?;
            settle(database, peer)?;
            choose(database, peer, relay_only)?;
            one(database, peer)
        })
    }

    /// Keeps a contact or a stranger away. The conversation stays to be read; messages on their way to them fail, and are
    /// returned.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn block(&self, peer: PeerId) -> Outcome<Vec<MessageId>> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            let mut change =
                database.prepare_cached("UPDATE contacts SET state = 'blocked', greeting = NULL WHERE contact = ?1")?;
            change.execute([contact])?;
            outgoing::give_up(database, contact)
        })
    }

    /// Keeps somebody away who is not known yet.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn block_stranger(&self, peer: PeerId) -> Outcome<Contact> {
        self.submit(move |database| {
            match known(database, peer) {
                Err(StoreError::UnknownContact) => insert(database, peer, None, ContactState::Blocked, None)?,
                Err(error) => return Err(error),
                Ok(_) => {}
            }
            one(database, peer)
        })
    }

    /// Sets what our invitations to a contact say of us; `None`: nothing.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn greet(&self, peer: PeerId, hello: Option<String>) -> Outcome<Contact> {
        self.submit(move |database| {
            known(database, peer)?;
            let mut change = database.prepare_cached("UPDATE contacts SET hello = ?2 WHERE peer = ?1")?;
            change.execute((peer.as_bytes(), &hello))?;
            one(database, peer)
        })
    }

    /// Removes a contact, a request or a block, and the conversation with it: nothing is kept. What SQLite's log still holds of
    /// it goes by the next [`close`](Self::close).
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn remove(&self, peer: PeerId) -> Outcome<()> {
        let removed = self.change("DELETE FROM contacts WHERE peer = ?1", peer);
        // The search index only marks what is deleted, until it is merged: about a second for 200,000 messages. (Its own
        // `secure-delete` took minutes to remove as many.) A job apart: on a full disk the removal is worth having without.
        drop(self.submit(|database| {
            let mut merge =
                database.prepare_cached("INSERT INTO messages_grams (messages_grams) VALUES ('optimize')")?;
            merge.execute([])?;
            Ok(())
        }));
        removed
    }

    /// Notes that the person has compared the keys with this contact's.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn verify(&self, peer: PeerId) -> Outcome<()> {
        self.change("UPDATE contacts SET verified = 1 WHERE peer = ?1", peer)
    }

    /// Sets whether the two meet through a relay alone.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn set_relay_only(&self, peer: PeerId, relay_only: bool) -> Outcome<Contact> {
        self.submit(move |database| {
            known(database, peer)?;
            choose(database, peer, Some(relay_only))?;
            one(database, peer)
        })
    }

    /// Calls a contact by another name; spaces around it do not count.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], [`StoreError::NameTaken`], [`StoreError::InvalidName`], or those of the disk.
    pub fn rename(&self, peer: PeerId, name: String) -> Outcome<Contact> {
        self.submit(move |database| {
            known(database, peer)?;
            rename(database, peer, &name)?;
            one(database, peer)
        })
    }

    fn change(&self, statement: &'static str, peer: PeerId) -> Outcome<()> {
        self.submit(move |database| match database.prepare_cached(statement)?.execute([peer.as_bytes()])? {
            0 => Err(StoreError::UnknownContact),
            _ => Ok(()),
        })
    }
}

pub(super) fn insert(
    database: &Connection,
    peer: PeerId,
    name: Option<&str>,
    state: ContactState,
    greeting: Option<&str>,
) -> Result<(), StoreError> {
    let name = match name {
        Some(name) => free_name(database, peer, name)?,
        // The short form may be another contact's name, by a joke or by chance; the whole id can be no one else's.
        None => free_name(database, peer, &peer.short()).unwrap_or_else(|_| peer.to_string()),
    };
    let mut statement = database
        .prepare_cached("INSERT INTO contacts (peer, name, state, greeting, added_at) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    statement.execute((peer.as_bytes(), name, state, greeting, now()))?;
    Ok(())
}

pub(super) fn settle(database: &Connection, peer: PeerId) -> Result<(), StoreError> {
    let mut statement =
        database.prepare_cached("UPDATE contacts SET state = 'contact', greeting = NULL WHERE peer = ?1")?;
    statement.execute([peer.as_bytes()])?;
    Ok(())
}

/// Whether the two meet through a relay alone; `None` leaves it as it is.
pub(super) fn choose(database: &Connection, peer: PeerId, relay_only: Option<bool>) -> Result<(), StoreError> {
    let Some(relay_only) = relay_only else { return Ok(()) };
    let mut change = database.prepare_cached("UPDATE contacts SET relay_only = ?2 WHERE peer = ?1")?;
    change.execute((peer.as_bytes(), relay_only))?;
    Ok(())
}

pub(super) fn rename(database: &Connection, peer: PeerId, name: &str) -> Result<(), StoreError> {
    let name = free_name(database, peer, name)?;
    database.prepare_cached("UPDATE contacts SET name = ?2 WHERE peer = ?1")?.execute((peer.as_bytes(), name))?;
    Ok(())
}

/// The name as it is kept, if `peer` may have it. A name serves wherever a peer id does, so it must not be another's.
fn free_name(database: &Connection, peer: PeerId, name: &str) -> Result<String, StoreError> {
    let name = name.trim();
    let another_id = name.parse::<PeerId>().is_ok_and(|id| id != peer);
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) || another_id {
        return Err(StoreError::InvalidName);
    }
    let mut statement = database.prepare_cached("SELECT 1 FROM contacts WHERE name = ?1 AND peer <> ?2")?;
    if statement.exists((name, peer.as_bytes()))? {
        return Err(StoreError::NameTaken(name.to_owned()));
    }
    Ok(name.to_owned())
}

/// As much of a greeting as is kept, in whole characters.
fn beginning(text: &str) -> &str {
    let end = (0..=MAX_GREETING).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    if text.len() > MAX_GREETING { &text[..end] } else { text }
}

pub(super) fn keep_via(database: &Connection, peer: PeerId, via: &[RendezvousAddress]) -> Result<(), StoreError> {
    let contact = known(database, peer)?.contact;
    database.prepare_cached("DELETE FROM contact_via WHERE contact = ?1")?.execute([contact])?;
    let mut statement = database
        .prepare_cached("INSERT INTO contact_via (contact, position, key, host, port) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (position, address) in (0i64..).zip(via.iter().take(MAX_VIA)) {
        statement.execute((contact, position, address.key.as_bytes(), &address.host, address.port))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use knothole_proto::frames::MAX_TEXT;
    use knothole_proto::identity::PublicKey;

    use super::*;
    use crate::store::fixture::{home, home_with_bob, id, peer};
    use crate::store::{MessageState, Position};

    fn address(host: &str) -> RendezvousAddress {
        RendezvousAddress { key: PublicKey::new([9; 32]), host: host.into(), port: 3478 }
    }

    #[tokio::test]
    async fn a_contact_is_listed_as_it_was_added() {
        let home = home();
        let via = vec![address("2001:db8::7"), address("a.example")];
        let added = home.store.add(peer(2), Some(" Bob ".into()), via.clone()).await.unwrap();
        assert_eq!((added.name.as_str(), added.state, &added.via), ("Bob", ContactState::Contact, &via));
        assert!(!added.verified);
        assert_eq!(home.store.contacts().await, Ok(vec![added]));
    }

    #[tokio::test]
    async fn a_contact_tells_when_the_newest_message_that_is_shown_was_stored() {
        let home = home_with_bob().await;
        let last_at = async || home.store.contact(peer(2)).await.unwrap().summary.last_at;
        assert_eq!(last_at().await, None);
        home.receive(7, 1).await.unwrap();
        home.store.compose(peer(2), id(2), "mine".into(), 0).await.unwrap();
        home.execute("UPDATE messages SET stored_at = number + mine").await.unwrap();
        assert_eq!(last_at().await, Some(2));
        home.execute("UPDATE messages SET shown = 0 WHERE mine = 1").await.unwrap();
        assert_eq!(last_at().await, Some(1));
        assert_eq!(home.store.contact(peer(3)).await, Err(StoreError::UnknownContact));
    }

    #[tokio::test]
    async fn without_a_name_the_short_id_serves_and_the_whole_one_where_that_is_taken() {
        let home = home();
        assert_eq!(home.store.add(peer(2), None, vec![]).await.unwrap().name, peer(2).short());
        home.store.add(peer(4), Some(peer(3).short()), vec![]).await.unwrap();
        assert_eq!(home.store.add(peer(3), None, vec![]).await.unwrap().name, peer(3).to_string());
    }

    #[tokio::test]
    async fn a_name_is_one_contacts_alone() {
        let home = home_with_bob().await;
        let taken = StoreError::NameTaken("Bob".into());
        assert_eq!(home.store.add(peer(3), Some("Bob".into()), vec![]).await, Err(taken.clone()));
        assert_eq!(home.store.contacts().await.unwrap().len(), 1);
        home.store.add(peer(3), Some("Eve".into()), vec![]).await.unwrap();
        assert_eq!(home.store.rename(peer(3), "Bob".into()).await, Err(taken));
        assert_eq!(home.store.rename(peer(3), "Eva".into()).await.unwrap().name, "Eva");
        assert_eq!(home.store.rename(peer(2), "Bob".into()).await.unwrap().name, "Bob");
    }

    #[tokio::test]
    async fn what_cannot_be_a_name_is_refused() {
        let home = home();
        for name in [String::new(), "  ".into(), "a\nb".into(), "x".repeat(MAX_NAME + 1), peer(3).to_string()] {
            assert_eq!(home.store.add(peer(2), Some(name), vec![]).await, Err(StoreError::InvalidName));
        }
        assert!(home.store.add(peer(2), Some("ü".repeat(MAX_NAME)), vec![]).await.is_ok());
    }

    #[tokio::test]
    async fn adding_again_renews_the_addresses_and_keeps_name_and_conversation() {
        let home = home_with_bob().await;
        home.store.compose(peer(2), id(1), "hi".into(), 0).await.unwrap();
        let again = home.store.add(peer(2), None, vec![address("b.example"); MAX_VIA + 1]).await.unwrap();
        assert_eq!((again.name.as_str(), again.via.len()), ("Bob", MAX_VIA));
        assert_eq!(home.store.outbox(peer(2), 0, 9, MAX_TEXT).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_request_is_asked_once_and_accepted() {
        let home = home();
        let greeting = "ü".repeat(MAX_GREETING);
        let request = home.store.request(peer(2), vec![address("h")], Some(greeting)).await.unwrap().unwrap();
        assert_eq!(request.state, ContactState::Request);
        assert_eq!(request.greeting.unwrap().len(), MAX_GREETING);
        assert_eq!(home.store.request(peer(2), vec![], None).await, Ok(None));
        assert_eq!(home.store.compose(peer(2), id(1), "hi".into(), 0).await, Err(StoreError::NotAccepted));
        let accepted = home.store.accept(peer(2), None).await.unwrap();
        assert_eq!((accepted.state, accepted.greeting, accepted.via.len()), (ContactState::Contact, None, 1));
        assert_eq!(home.store.request(peer(2), vec![], None).await, Ok(None));
    }

    #[tokio::test]
    async fn one_who_was_never_seen_can_be_kept_away_and_cannot_ask() {
        let home = home();
        let blocked = home.store.block_stranger(peer(2)).await.unwrap();
        assert_eq!((blocked.state, blocked.name), (ContactState::Blocked, peer(2).short()));
        assert_eq!(home.store.request(peer(2), vec![], None).await, Ok(None));
        assert_eq!(home.store.block_stranger(peer(2)).await.unwrap().state, ContactState::Blocked, "again");
    }

    #[tokio::test]
    async fn what_we_say_of_ourselves_is_kept_until_it_is_taken_back() {
        let home = home_with_bob().await;
        assert_eq!(home.store.greet(peer(2), Some("it is Ann".into())).await.unwrap().hello, Some("it is Ann".into()));
        assert_eq!(home.store.contacts().await.unwrap()[0].hello, Some("it is Ann".into()));
        assert_eq!(home.store.greet(peer(2), None).await.unwrap().hello, None);
        assert_eq!(home.store.greet(peer(3), None).await, Err(StoreError::UnknownContact));
    }

    #[tokio::test]
    async fn strangers_fill_only_so_many_requests() {
        let home = home();
        for n in 0..=100 {
            let request = home.store.request(peer(n), vec![], None).await;
            assert_eq!(request.is_ok(), n < 100, "{n}: {request:?}");
        }
        home.store.block(peer(0)).await.unwrap();
        assert!(home.store.request(peer(100), vec![], None).await.is_ok());
    }

    #[tokio::test]
    async fn blocking_fails_what_is_on_its_way_and_keeps_the_conversation() {
        let home = home_with_bob().await;
        let old = home.store.compose(peer(2), id(1), "arrived".into(), 0).await.unwrap();
        home.store.acknowledged(peer(2), old).await.unwrap();
        home.store.compose(peer(2), id(2), "on its way".into(), 0).await.unwrap();
        assert_eq!(home.store.block(peer(2)).await, Ok(vec![id(2)]));
        let history = home.store.history(peer(2), None, None, 9).await.unwrap();
        assert_eq!([history[0].state, history[1].state], [MessageState::Delivered, MessageState::Failed]);

        let position = Position { log: 1, number: 1 };
        assert_eq!(home.store.receive(peer(2), position, id(3), "x".into(), 0).await, Err(StoreError::Blocked));
        assert_eq!(home.store.compose(peer(2), id(3), "x".into(), 0).await, Err(StoreError::Blocked));

        assert_eq!(home.store.accept(peer(2), None).await.unwrap().state, ContactState::Contact);
        let new = home.store.compose(peer(2), id(4), "again".into(), 0).await.unwrap();
        assert_eq!(new.number, 1);
        assert_ne!(new.log, old.log);
    }

    #[tokio::test]
    async fn removal_keeps_nothing_and_a_return_begins_a_new_log() {
        let home = home_with_bob().await;
        let old = home.store.compose(peer(2), id(1), "a secret".into(), 0).await.unwrap();
        home.receive(7, 1).await.unwrap();
        home.store.set_draft(peer(2), "an intention".into()).await.unwrap();
        // FTS5 keeps its averages under 1 and its structure under 10.
        let grams = "SELECT count(*) FROM messages_grams_data WHERE id > 10";
        assert!(home.count(grams).await > 0);
        home.store.remove(peer(2)).await.unwrap();
        assert_eq!(home.store.remove(peer(2)).await, Err(StoreError::UnknownContact));
        for count in [
            grams,
            "SELECT count(*) FROM messages",
            "SELECT count(*) FROM received",
            "SELECT count(*) FROM drafts",
            "SELECT count(*) FROM messages_grams WHERE messages_grams MATCH 'sec'",
        ] {
            assert_eq!(home.count(count).await, 0, "{count}");
        }
        home.execute("INSERT INTO messages_grams (messages_grams) VALUES ('integrity-check')").await.unwrap();
        home.store.close().await.unwrap();
        let file = std::fs::read(home.directory.path().join("knothole.db")).unwrap();
        assert!(!file.windows(8).any(|bytes| bytes == b"a secret" || bytes == b"intentio"));

        let store = Store::open(home.directory.path()).unwrap();
        store.add(peer(2), Some("Bob".into()), vec![]).await.unwrap();
        let new = store.compose(peer(2), id(1), "hello again".into(), 0).await.unwrap();
        assert_eq!(new.number, 1);
        assert_ne!(new.log, old.log);
    }

    #[tokio::test]
    async fn relay_only_is_kept_with_the_contact_and_goes_with_it() {
        let home = home_with_bob().await;
        let chosen = |relay_only| home.store.add_reached(peer(3), None, vec![], relay_only);
        assert!(chosen(Some(true)).await.unwrap().relay_only, "from the first on");
        assert!(chosen(None).await.unwrap().relay_only);
        assert!(!chosen(Some(false)).await.unwrap().relay_only);
        assert!(home.store.accept(peer(3), Some(true)).await.unwrap().relay_only);
        assert!(home.store.set_relay_only(peer(2), true).await.unwrap().relay_only);
        assert!(home.store.add(peer(2), None, vec![]).await.unwrap().relay_only);
        assert!(!home.store.set_relay_only(peer(2), false).await.unwrap().relay_only);
        home.store.set_relay_only(peer(2), true).await.unwrap();
        home.store.remove(peer(2)).await.unwrap();
        assert!(!home.store.add(peer(2), None, vec![]).await.unwrap().relay_only);
        assert_eq!(home.store.set_relay_only(peer(4), true).await, Err(StoreError::UnknownContact));
    }

    #[tokio::test]
    async fn a_verified_contact_stays_so_and_a_stranger_cannot_be() {
        let home = home_with_bob().await;
        home.store.verify(peer(2)).await.unwrap();
        assert!(home.store.add(peer(2), None, vec![]).await.unwrap().verified);
        assert_eq!(home.store.verify(peer(3)).await, Err(StoreError::UnknownContact));
    }
}
