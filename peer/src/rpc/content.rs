//! What messages say, on JSON-RPC: the methods that change them, and how they are told.

use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::{Command, NewMessage};
use crate::handle::Peer;
use crate::store::{Author, Change, Kind, Message, What};

use super::message::Failure;
use super::method::{message_id, parameters};

#[derive(Deserialize)]
struct Send {
    to: String,
    text: String,
    #[serde(default)]
    reply: Option<String>,
    #[serde(default)]
    expires_s: Option<u32>,
    #[serde(default)]
    from_draft: bool,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct SetDraft {
    with: String,
    text: String,
}

#[derive(Deserialize)]
struct Edit {
    message: String,
    text: String,
    #[serde(default)]
    with: Option<String>,
}

#[derive(Deserialize)]
struct Delete {
    message: String,
    #[serde(default)]
    with: Option<String>,
}

#[derive(Deserialize)]
struct React {
    message: String,
    emoji: String,
    #[serde(default = "there")]
    on: bool,
    #[serde(default)]
    with: Option<String>,
}

#[derive(Deserialize)]
struct Timer {
    with: String,
    // Must be given: its absence means nothing, null means that texts stay.
    #[serde(deserialize_with = "Option::deserialize")]
    expires_s: Option<u32>,
}

#[derive(Deserialize)]
struct Typing {
    to: String,
    #[serde(default = "there")]
    on: bool,
}

const fn there() -> bool {
    true
}

/// `message.send`.
pub(super) async fn send(peer: &Peer, given: Value) -> Result<Value, Failure> {
    let Send { to, text, reply, expires_s, from_draft, message } = parameters(given)?;
    says_something(&text)?;
    let answers = reply.map(|reply| message_id("reply", &reply)).transpose()?;
    let id = message.map(|message| chosen_id(&message)).transpose()?;
    let message = NewMessage { id, text, answers, expires_s, from_draft };
    let message = peer.request(|reply| Command::Send { to, message, reply }).await?;
    Ok(json!({"message": message.to_string()}))
}

/// The name that a client has chosen for a message.
fn chosen_id(text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|_| Failure::parameters("message is no message id: 26 random characters of base32 (a-z, 2-7)"))
}

/// `draft.set`.
pub(super) async fn set_draft(peer: &Peer, given: Value) -> Result<Value, Failure> {
    let SetDraft { with, text } = parameters(given)?;
    peer.request(|reply| Command::SetDraft { with, text, reply }).await?;
    Ok(json!({}))
}

/// `message.edit`.
pub(super) async fn edit(peer: &Peer, given: Value) -> Result<Value, Failure> {
    let Edit { message, with, text } = parameters(given)?;
    says_something(&text)?;
    amend(peer, with, Content::Edit { of: message_id("message", &message)?, text }).await
}

/// `message.delete`.
pub(super) async fn delete(peer: &Peer, given: Value) -> Result<Value, Failure> {
    let Delete { message, with } = parameters(given)?;
    amend(peer, with, Content::Delete { of: message_id("message", &message)? }).await
}

/// `message.react`.
pub(super) async fn react(peer: &Peer, given: Value) -> Result<Value, Failure> {
    let React { message, with, emoji, on } = parameters(given)?;
    amend(peer, with, Content::Reaction { of: message_id("message", &message)?, emoji, on }).await
}

/// `conversation.timer`.
pub(super) async fn timer(peer: &Peer, given: Value) -> Result<Value, Failure> {
    let Timer { with, expires_s } = parameters(given)?;
    amend(peer, Some(with), Content::Timer { expires_s: expires_s.filter(|seconds| *seconds > 0) }).await
}

/// `typing.set`.
pub(super) async fn typing(peer: &Peer, given: Value) -> Result<Value, Failure> {
    let Typing { to, on } = parameters(given)?;
    peer.request(|reply| Command::Typing { to, on, reply }).await?;
    Ok(json!({}))
}

async fn amend(peer: &Peer, with: Option<String>, content: Content) -> Result<Value, Failure> {
    let change = peer.request(|reply| Command::Amend { with, content, reply }).await?;
    Ok(json!({"change": change.to_string()}))
}

fn says_something(text: &str) -> Result<(), Failure> {
    if text.is_empty() { Err(Failure::parameters("text is empty; a message says something")) } else { Ok(()) }
}

/// A message in a page of history.
pub(super) fn entry(message: &Message, me: PeerId, contact: PeerId) -> Value {
    let from = match message.author {
        Author::Me => me,
        Author::Contact => contact,
    };
    let mut entry = json!({
        "message": message.id.to_string(),
        "from": from.to_string(),
        "text": message.text,
        "at": message.at,
        "state": message.state.as_str(),
    });
    match message.kind {
        Kind::Text => {}
        Kind::Deleted => entry["deleted"] = true.into(),
        Kind::Timer => {
            entry["kind"] = "timer".into();
            entry["expires_s"] = message.expires_s.into();
        }
        Kind::Unknown => entry["kind"] = "unknown".into(),
    }
    if message.edited {
        entry["edited"] = true.into();
    }
    if !message.reactions.is_empty() {
        let reactions = message.reactions.iter();
        entry["reactions"] = reactions.map(|it| json!({"emoji": it.emoji, "mine": it.mine})).collect();
    }
    if let Some(expires_at) = message.expires_at {
        entry["expires_at"] = expires_at.into();
    }
    put(&mut entry, message.reply, message.expires_s);
    entry
}

/// Adds what only some messages have.
pub(super) fn put(told: &mut Value, reply: Option<MessageId>, expires_s: Option<u32>) {
    if let Some(reply) = reply {
        told["reply"] = reply.to_string().into();
    }
    if let Some(expires_s) = expires_s {
        told["expires_s"] = expires_s.into();
    }
}

/// The fields of a `change` event that say what has changed.
pub(super) fn change(change: &Change) -> Value {
    let mut told = match &change.what {
        What::Edited { text } => json!({"what": "edited", "text": text}),
        What::Deleted => json!({"what": "deleted"}),
        What::Reacted { emoji, on } => json!({"what": "reaction", "emoji": emoji, "on": on}),
        What::Timer { expires_s } => json!({"what": "timer", "expires_s": expires_s}),
        What::Expired => json!({"what": "expired"}),
    };
    told["message"] = change.message.to_string().into();
    told["mine"] = change.mine.into();
    told
}
