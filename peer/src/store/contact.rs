//! A contact as it is kept.

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::{PeerId, PublicKey};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use super::StoreError;

/// One who can be written to, or who asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub peer: PeerId,
    /// What the person calls them: 1 to [`MAX_NAME`](super::MAX_NAME) characters, unlike any other contact's.
    pub name: String,
    /// How the two stand.
    pub state: ContactState,
    /// Where they keep alive, the preferred first.
    pub via: Vec<RendezvousAddress>,
    /// When they came into the list, in milliseconds since 1970.
    pub added_at: u64,
    /// The person has compared the keys.
    pub verified: bool,
    /// The two meet through a relay alone, and neither learns the other's address.
    pub relay_only: bool,
    /// What a stranger said with the request, at most [`MAX_GREETING`](super::MAX_GREETING) bytes; only while it is a request.
    pub greeting: Option<String>,
    /// What we say of ourselves with our invitations, until they have let us in.
    pub hello: Option<String>,
    /// What a list of conversations shows of the one with them.
    pub summary: Summary,
}

/// A conversation in short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Their messages that the person has not read.
    pub unread: u64,
    /// The first of those.
    pub first_unread: Option<MessageId>,
    /// When the newest message that is shown was stored here, in milliseconds since 1970.
    pub last_at: Option<u64>,
    /// What is begun and not sent; never empty.
    pub draft: Option<String>,
}

/// How the person and a contact stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactState {
    /// The person has added them, and they have not accepted. Nothing sets this yet: [`Store::add`](super::Store::add) makes a contact at once.
    Requested,
    /// The two may talk.
    Contact,
    /// They ask to be a contact, and the person has not answered.
    Request,
    /// Nothing of theirs is taken.
    Blocked,
}

impl ContactState {
    /// The word for it, in the database as on JSON-RPC.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Contact => "contact",
            Self::Request => "request",
            Self::Blocked => "blocked",
        }
    }
}

impl ToSql for ContactState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for ContactState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?;
        [Self::Requested, Self::Contact, Self::Request, Self::Blocked]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or(FromSqlError::InvalidType)
    }
}

/// What the other operations need of a contact.
pub(super) struct Known {
    /// Its row.
    pub(super) contact: i64,
    /// How the two stand.
    pub(super) state: ContactState,
}

/// The contact that has this id, whatever its state.
pub(super) fn known(database: &Connection, peer: PeerId) -> Result<Known, StoreError> {
    let mut statement = database.prepare_cached("SELECT contact, state FROM contacts WHERE peer = ?1")?;
    let found = statement
        .query_row([peer.as_bytes()], |row| Ok(Known { contact: row.get(0)?, state: row.get(1)? }))
        .optional()?;
    found.ok_or(StoreError::UnknownContact)
}

/// The row of a contact to whom one may write, and who may write.
pub(super) fn talking(database: &Connection, peer: PeerId) -> Result<i64, StoreError> {
    let known = known(database, peer)?;
    match known.state {
        ContactState::Contact | ContactState::Requested => Ok(known.contact),
        ContactState::Request => Err(StoreError::NotAccepted),
        ContactState::Blocked => Err(StoreError::Blocked),
    }
}

/// The contact that has this id, whole.
pub(super) fn one(database: &Connection, peer: PeerId) -> Result<Contact, StoreError> {
    read(database, Some(peer))?.pop().ok_or(StoreError::UnknownContact)
}

/// All contacts by name, or only the one that has this id.
pub(super) fn read(database: &Connection, peer: Option<PeerId>) -> Result<Vec<Contact>, StoreError> {
    let mut contacts = database.prepare_cached(
        "SELECT contact, peer, name, state, added_at, verified, greeting, relay_only, hello
            FROM contacts WHERE ?1 IS NULL OR peer = ?1 ORDER BY name",
    )?;
    let mut via =
        database.prepare_cached("SELECT key, host, port FROM contact_via WHERE contact = ?1 ORDER BY position")?;
    let mut rows = contacts.query([peer.as_ref().map(PublicKey::as_bytes)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let via = via.query_map([id], address)?.collect::<rusqlite::Result<_>>()?;
        found.push(contact(row, via, summary(database, id)?)?);
    }
    Ok(found)
}

/// Each of these is one look into an index, whatever the length of the conversation; what is unread is counted there.
fn summary(database: &Connection, contact: i64) -> rusqlite::Result<Summary> {
    let mut statement = database.prepare_cached(
        "SELECT unread, (SELECT id FROM messages WHERE sequence = first),
                (SELECT stored_at FROM messages INDEXED BY messages_shown
                    WHERE contact = ?1 AND shown = 1 ORDER BY sequence DESC LIMIT 1),
                (SELECT text FROM drafts WHERE contact = ?1)
            FROM (SELECT count(*) AS unread, min(sequence) AS first FROM messages INDEXED BY messages_unread
                WHERE contact = ?1 AND mine = 0 AND state = 'delivered')",
    )?;
    statement.query_one([contact], |row| {
        Ok(Summary {
            unread: row.get::<_, i64>(0)?.unsigned_abs(),
            first_unread: row.get::<_, Option<_>>(1)?.map(MessageId),
            last_at: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
            draft: row.get(3)?,
        })
    })
}

fn contact(row: &Row<'_>, via: Vec<RendezvousAddress>, summary: Summary) -> rusqlite::Result<Contact> {
    Ok(Contact {
        peer: PeerId::new(row.get(1)?),
        name: row.get(2)?,
        state: row.get(3)?,
        via,
        added_at: row.get::<_, i64>(4)?.unsigned_abs(),
        verified: row.get(5)?,
        greeting: row.get(6)?,
        relay_only: row.get(7)?,
        hello: row.get(8)?,
        summary,
    })
}

fn address(row: &Row<'_>) -> rusqlite::Result<RendezvousAddress> {
    Ok(RendezvousAddress { key: PublicKey::new(row.get(0)?), host: row.get(1)?, port: row.get(2)? })
}
