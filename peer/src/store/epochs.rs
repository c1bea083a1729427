//! The chains of keys that connections have given, each moved on in the transaction that stores what it sealed or opened.

use knothole_proto::envelope::{Epoch, EpochName, Receiving, Sending};
use knothole_proto::identity::PeerId;
use rusqlite::{Connection, OptionalExtension};

use super::contact::{ContactState, known, talking};
use super::{Outcome, Store, StoreError};

/// Epochs kept of each contact: letters may be on their way, or wait, that were sealed before the last connections.
const EPOCHS: u32 = 4;

impl Store {
    /// Keeps an epoch that a connection has given; the oldest beyond four goes. Once this is done, the other side may be told.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], [`StoreError::NotAccepted`], [`StoreError::Blocked`], or those of the disk.
    pub fn keep_epoch(&self, peer: PeerId, epoch: Epoch) -> Outcome<()> {
        self.submit(move |database| {
            let contact = talking(database, peer)?;
            let mut insert = database.prepare_cached(
                "INSERT INTO epochs (contact, name, sending, receiving) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?;
            insert.execute((
                contact,
                epoch.name.0,
                epoch.sending.to_bytes().as_slice(),
                epoch.receiving.to_bytes().as_slice(),
            ))?;
            let mut forget = database.prepare_cached(
                "DELETE FROM epochs WHERE contact = ?1 AND epoch IN
                    (SELECT epoch FROM epochs WHERE contact = ?1 ORDER BY epoch DESC LIMIT -1 OFFSET ?2)",
            )?;
            forget.execute((contact, EPOCHS))?;
            Ok(())
        })
    }

    /// Notes that the contact has this epoch in durable storage, too: it may be sealed with. One that is not known is passed
    /// over.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`], or those of the disk.
    pub fn share_epoch(&self, peer: PeerId, name: EpochName) -> Outcome<()> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            database
                .prepare_cached("UPDATE epochs SET ready = 1 WHERE contact = ?1 AND name = ?2")?
                .execute((contact, name.0))?;
            Ok(())
        })
    }
}

/// The epoch to seal with for a contact, if there is one that both sides have.
pub(super) fn sealing(database: &Connection, contact: i64) -> Result<Option<(i64, EpochName, Sending)>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT epoch, name, sending FROM epochs WHERE contact = ?1 AND ready = 1 ORDER BY epoch DESC LIMIT 1",
    )?;
    let found = statement
        .query_row([contact], |row| Ok((row.get(0)?, row.get(1)?, Sending::from_bytes(row.get_ref(2)?.as_blob()?))))
        .optional()?;
    Ok(found.and_then(|(epoch, name, sending)| Some((epoch, EpochName(name), sending?))))
}

/// Puts a sending chain that has moved in the place of what it was.
pub(super) fn sealed(database: &Connection, epoch: i64, chain: &Sending) -> Result<(), StoreError> {
    let mut statement = database.prepare_cached("UPDATE epochs SET sending = ?2 WHERE epoch = ?1")?;
    statement.execute((epoch, chain.to_bytes().as_slice()))?;
    Ok(())
}

/// An epoch by which a letter may be opened.
pub(super) struct Opening {
    pub(super) epoch: i64,
    pub(super) contact: i64,
    pub(super) peer: PeerId,
    pub(super) chain: Receiving,
}

/// The epoch of this name, if it is one of a contact with whom we talk; of this contact, if one is named.
pub(super) fn opening(
    database: &Connection,
    name: EpochName,
    from: Option<PeerId>,
) -> Result<Option<Opening>, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT epoch, contact, peer, state, receiving FROM epochs JOIN contacts USING (contact)
            WHERE epochs.name = ?1 AND (?2 IS NULL OR peer = ?2)",
    )?;
    let mut rows = statement.query((name.0, from.as_ref().map(PeerId::as_bytes)))?;
    while let Some(row) = rows.next()? {
        let talks = matches!(row.get(3)?, ContactState::Contact | ContactState::Requested);
        if let Some(chain) = Receiving::from_bytes(row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?)
            && talks
        {
            let (epoch, contact, peer) = (row.get(0)?, row.get(1)?, PeerId::new(row.get(2)?));
            return Ok(Some(Opening { epoch, contact, peer, chain }));
        }
    }
    Ok(None)
}

/// Puts a receiving chain that has moved in the place of what it was.
pub(super) fn opened(database: &Connection, epoch: i64, chain: &Receiving) -> Result<(), StoreError> {
    let mut statement = database.prepare_cached("UPDATE epochs SET receiving = ?2 WHERE epoch = ?1")?;
    statement.execute((epoch, chain.to_bytes().as_slice()))?;
    Ok(())
}
