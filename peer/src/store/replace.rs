//! Another key under a name that was somebody's: the one change of a contact's name that the person did not spell out.

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::identity::PeerId;
use rusqlite::Connection;

use super::contact::{Contact, ContactState, known, one};
use super::contacts::{choose, insert, keep_via, rename, settle};
use super::{MAX_NAME, Outcome, Store, StoreError};

impl Store {
    /// Gives the name of `old` to `new`, who becomes a contact, met through a relay alone if that is said or, unless
    /// anything is, if `old` was, and takes back that
    /// `old` was verified: what the person once compared was the key behind this name. `old` and its conversation stay, under a name that says so. Both are returned, the
    /// new one first.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`]: there is no `old`; [`StoreError::InvalidName`], or those of the disk.
    pub fn replace(
        &self,
        old: PeerId,
        new: PeerId,
        name: String,
        via: Vec<RendezvousAddress>,
        relay_only: Option<bool>,
    ) -> Outcome<(Contact, Contact)> {
        self.submit(move |database| {
            known(database, old)?;
            set_aside(database, old, &name)?;
            database.prepare_cached("UPDATE contacts SET verified = 0 WHERE peer = ?1")?.execute([old.as_bytes()])?;
            match known(database, new) {
                Err(StoreError::UnknownContact) => insert(database, new, Some(&name), ContactState::Contact, None)?,
                Err(error) => return Err(error),
                Ok(_) => {
                    settle(database, new)?;
                    rename(database, new, &name)?;
                }
            }
            keep_via(database, new, &via)?;
            let mut inherit = database.prepare_cached(
                "UPDATE contacts SET relay_only = 1
                    WHERE peer = ?1 AND EXISTS (SELECT 1 FROM contacts WHERE peer = ?2 AND relay_only = 1)",
            )?;
            inherit.execute((new.as_bytes(), old.as_bytes()))?;
            choose(database, new, relay_only)?;
            Ok((one(database, new)?, one(database, old)?))
        })
    }
}

/// Calls the former holder of a name `NAME (old key abcdefghij)`, or by its whole id if even that is taken.
fn set_aside(database: &Connection, old: PeerId, name: &str) -> Result<(), StoreError> {
    let suffix = format!(" (old key {})", old.short());
    let kept: String = name.trim().chars().take(MAX_NAME - suffix.chars().count()).collect();
    rename(database, old, &format!("{kept}{suffix}")).or_else(|_| rename(database, old, &old.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{home, home_with_bob, id, peer};

    #[tokio::test]
    async fn the_new_key_has_the_name_and_the_old_one_its_conversation() {
        let home = home_with_bob().await;
        home.store.verify(peer(2)).await.unwrap();
        home.store.set_relay_only(peer(2), true).await.unwrap();
        home.store.compose(peer(2), id(1), "hi".into(), 0).await.unwrap();
        let (new, old) = home.store.replace(peer(2), peer(3), "Bob".into(), vec![], None).await.unwrap();
        assert_eq!((new.peer, new.name.as_str(), new.verified), (peer(3), "Bob", false));
        assert!(new.relay_only, "whoever answers to this name was not to learn our address");
        let set_aside = format!("Bob (old key {})", peer(2).short());
        assert_eq!((old.peer, old.name, old.verified), (peer(2), set_aside, false));
        assert_eq!(home.store.history(peer(2), None, None, 9).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_is_known_under_another_name_may_take_it_and_long_names_are_cut() {
        let home = home();
        let long = "x".repeat(MAX_NAME);
        home.store.add(peer(2), Some(long.clone()), vec![]).await.unwrap();
        home.store.add(peer(3), Some("Eve".into()), vec![]).await.unwrap();
        let (new, old) = home.store.replace(peer(2), peer(3), long.clone(), vec![], None).await.unwrap();
        assert_eq!((&new.name, new.peer), (&long, peer(3)));
        assert_eq!(old.name.chars().count(), MAX_NAME);
        let nobody = home.store.replace(peer(9), peer(3), "Bob".into(), vec![], None).await;
        assert_eq!(nobody, Err(StoreError::UnknownContact));
    }
}
