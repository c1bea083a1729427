//! The methods: parameters to commands, answers to results. Scripts rely on their names and fields: both may grow, and
//! neither changes its meaning.

use std::path::PathBuf;
use std::time::Duration;

use knothole_proto::code::Code;
use knothole_proto::contact_link::ContactLink;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::command::{
    Command, CommandError, ContactView, PathKind, PathView, PresenceMode, RendezvousState, RendezvousStatus,
};
use crate::handle::Peer;
use crate::passphrase::Passphrase;
use crate::store::Place;

use super::content;
use super::message::{Failure, Request};
use super::netcheck::netcheck;

/// Messages in a page of history when the request does not say.
const PAGE: u32 = 50;

#[derive(Deserialize)]
struct Add {
    link: String,
    #[serde(default)]
    name: Option<String>,
    /// Whether the name is to be taken from another who has it.
    #[serde(default)]
    replace: bool,
    /// What it is told of us, should it not know us.
    #[serde(default)]
    greeting: Option<String>,
    /// What whoever made a code is told to call us.
    #[serde(default)]
    me: Option<String>,
    /// How the two may meet from the first invitation on.
    #[serde(default)]
    path: Option<String>,
}

#[derive(Deserialize)]
struct MakeCode {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    me: Option<String>,
    #[serde(default)]
    path: Option<String>,
}

#[derive(Deserialize)]
struct Accept {
    peer: String,
    #[serde(default)]
    path: Option<String>,
}

#[derive(Deserialize)]
struct Verify {
    peer: String,
    /// What the contact shows, to be compared here; without it the person has compared the words.
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct Whom {
    peer: String,
}

#[derive(Deserialize)]
struct Rename {
    peer: String,
    name: String,
}

#[derive(Deserialize)]
struct Way {
    peer: String,
    mode: String,
}

#[derive(Deserialize)]
struct Visibility {
    mode: String,
    #[serde(default)]
    peer: Option<String>,
}

#[derive(Deserialize)]
struct History {
    with: String,
    #[serde(default)]
    search: Option<String>,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
    // Last, for parameters by position.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Deserialize)]
struct SetMailbox {
    open: bool,
}

#[derive(Deserialize)]
struct Read {
    with: String,
    upto: String,
}

#[derive(Deserialize)]
struct Export {
    path: PathBuf,
    passphrase: String,
}

/// Carries a request out. The first command is with the engine, or waits for its place there, after the first poll.
pub(super) async fn call(peer: &Peer, request: Request) -> Result<Value, Failure> {
    let given = request.parameters;
    match request.method.as_str() {
        "status" => status(peer).await,
        "contact.add" => {
            let Add { link, name, replace, greeting, me, path } = parameters(given)?;
            let relay_only = relay_only_at_first(path.as_deref())?;
            if Code::looks_like_one(&link) {
                let code = link.parse().map_err(|error| refused("link", &error))?;
                let contact = peer.request(|reply| Command::JoinCode { code, name, me, relay_only, reply }).await?;
                return Ok(peer_and_name(&contact));
            }
            let link: ContactLink = link.parse().map_err(|error| refused("link", &error))?;
            if let Some(greeting) = greeting.filter(|_| !replace) {
                let introduced = |reply| Command::Introduce { link, name, greeting, relay_only, reply };
                return Ok(peer_and_name(&peer.request(introduced).await?));
            }
            if let Some(name) = name.clone().filter(|_| replace) {
                let replaced = peer.request(|reply| Command::ReplaceContact { link, name, relay_only, reply }).await?;
                let mut told = peer_and_name(&replaced.contact);
                told["former"] = json!({"peer": replaced.former.0.to_string(), "name": replaced.former.1});
                return Ok(told);
            }
            let contact = peer.request(|reply| Command::AddContact { link, name, relay_only, reply }).await?;
            Ok(peer_and_name(&contact))
        }
        "contact.list" => {
            let contacts = peer.request(Command::Contacts).await?;
            Ok(contacts.iter().map(contact).collect())
        }
        "contact.accept" => {
            let Accept { peer: who, path } = parameters(given)?;
            let relay_only = relay_only_at_first(path.as_deref())?;
            Ok(peer_and_name(&peer.request(|reply| Command::Accept { who, relay_only, reply }).await?))
        }
        "contact.code" => {
            let MakeCode { name, me, path } = parameters(given)?;
            let relay_only = relay_only_at_first(path.as_deref())?;
            let view = peer.request(|reply| Command::MakeCode { name, me, relay_only, reply }).await?;
            Ok(json!({"code": view.code, "expires_at": view.expires_at}))
        }
        "contact.words" => {
            let Whom { peer: who } = parameters(given)?;
            let view = peer.request(|reply| Command::Words { who, reply }).await?;
            Ok(json!({"words": view.words, "qr": view.text}))
        }
        "contact.verify" => {
            let Verify { peer: who, text: shown } = parameters(given)?;
            let contact = peer.request(|reply| Command::Verify { who, shown, reply }).await?;
            let mut told = peer_and_name(&contact);
            told["verified"] = contact.verified.into();
            Ok(told)
        }
        "contact.rename" => {
            let Rename { peer: who, name } = parameters(given)?;
            Ok(peer_and_name(&peer.request(|reply| Command::Rename { who, name, reply }).await?))
        }
        "contact.path" => {
            let Way { peer: who, mode } = parameters(given)?;
            let relay_only = relay_only("mode", &mode)?;
            let contact = peer.request(|reply| Command::Path { who, relay_only, reply }).await?;
            Ok(json!({"peer": contact.peer.to_string(), "name": contact.name, "relay_only": contact.relay_only}))
        }
        "contact.block" => {
            let Whom { peer: who } = parameters(given)?;
            Ok(peer_and_name(&peer.request(|reply| Command::Block { who, reply }).await?))
        }
        "contact.remove" => {
            let Whom { peer: who } = parameters(given)?;
            done(peer.request(|reply| Command::Remove { who, reply }).await)
        }
        "contact.connect" => {
            let Whom { peer: who } = parameters(given)?;
            done(peer.request(|reply| Command::Connect { who, reply }).await)
        }
        "presence.set" => {
            let Visibility { mode, peer: who } = parameters(given)?;
            let mode = presence_mode(&mode)?;
            done(peer.request(|reply| Command::Presence { mode, who, reply }).await)
        }
        "draft.set" => content::set_draft(peer, given).await,
        "message.send" => content::send(peer, given).await,
        "message.edit" => content::edit(peer, given).await,
        "message.delete" => content::delete(peer, given).await,
        "message.react" => content::react(peer, given).await,
        "typing.set" => content::typing(peer, given).await,
        "conversation.timer" => content::timer(peer, given).await,
        "message.history" => history(peer, parameters(given)?).await,
        "message.read" => {
            let Read { with, upto } = parameters(given)?;
            let upto = message_id("upto", &upto)?;
            done(peer.request(|reply| Command::Read { with, upto, reply }).await)
        }
        "store.export" => {
            let Export { path, passphrase } = parameters(given)?;
            let passphrase = Passphrase::new(passphrase);
            done(peer.request(|reply| Command::Export { path, passphrase, reply }).await)
        }
        "store.check" => Ok(json!({"findings": peer.request(Command::Check).await?})),
        "mailbox.set" => {
            let SetMailbox { open } = parameters(given)?;
            done(peer.request(|reply| Command::SetMailbox { open, reply }).await)
        }
        "netcheck" => netcheck(peer, parameters(given)?).await,
        unknown => Err(Failure::unknown_method(unknown)),
    }
}

async fn status(peer: &Peer) -> Result<Value, Failure> {
    let status = peer.request(Command::Status).await?;
    Ok(json!({
        "peer": status.peer.to_string(),
        "link": status.link.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "rendezvous": status.rendezvous.iter().map(rendezvous).collect::<Value>(),
        "presence": shown(!status.invisible),
        "mailbox": status.mailbox,
        "letters_unopened": status.letters_unopened,
    }))
}

async fn history(peer: &Peer, asked: History) -> Result<Value, Failure> {
    let History { with, search, before, after, limit } = asked;
    let place = match (before, after) {
        (None, None) => Place::End,
        (Some(before), None) => Place::Before(message_id("before", &before)?),
        (None, Some(after)) if after.is_empty() => Place::Beginning,
        (None, Some(after)) => Place::After(message_id("after", &after)?),
        (Some(_), Some(_)) => return Err(Failure::parameters("before and after do not go together; ask twice")),
    };
    let limit = limit.unwrap_or(PAGE);
    let whom = with.clone();
    let page = peer.request(|reply| Command::History { with, search, place, limit, reply }).await?;
    let me = peer.request(Command::Status).await?.peer;
    let contact = whose(peer, whom).await?;
    Ok(page.iter().map(|message| content::entry(message, me, contact)).collect())
}

/// Who is meant by an id or a name.
async fn whose(peer: &Peer, who: String) -> Result<PeerId, Failure> {
    if let Ok(id) = who.parse() {
        return Ok(id);
    }
    let contacts = peer.request(Command::Contacts).await?;
    let found = contacts.iter().find(|contact| contact.name == who);
    found.map(|contact| contact.peer).ok_or_else(|| CommandError::UnknownContact(who).into())
}

fn rendezvous(status: &RendezvousStatus) -> Value {
    json!({
        "address": status.address.to_string(),
        "state": match status.state {
            RendezvousState::Registered => "registered",
            RendezvousState::Connecting => "connecting",
            RendezvousState::Unreachable => "unreachable",
        },
        "observed": status.observed,
        "rtt_ms": status.rtt.map(milliseconds),
        "transport": status.transport.as_str(),
        "mailbox": status.mailbox.as_str(),
    })
}

/// A contact as the list of contacts tells it.
pub(super) fn contact(contact: &ContactView) -> Value {
    json!({
        "peer": contact.peer.to_string(),
        "name": contact.name,
        "state": contact.state.as_str(),
        "presence": presence(contact.online),
        "last_seen": contact.last_seen,
        "seen_as": shown(contact.shown),
        "path": contact.path.as_ref().map(path),
        "verified": contact.verified,
        "relay_only": contact.relay_only,
        "expires_s": contact.expires_s,
        "greeting": contact.greeting,
        "unread": contact.summary.unread,
        "first_unread": contact.summary.first_unread.map(|message| message.to_string()),
        "last_at": contact.summary.last_at,
        "draft": contact.summary.draft,
    })
}

fn path(path: &PathView) -> Value {
    let kind = match path.kind {
        PathKind::Direct => "direct",
        PathKind::Relay => "relay",
    };
    json!({"kind": kind, "remote": path.remote, "rtt_ms": path.rtt.map(milliseconds), "why": path.why})
}

fn peer_and_name(contact: &ContactView) -> Value {
    json!({"peer": contact.peer.to_string(), "name": contact.name})
}

fn done(outcome: Result<(), CommandError>) -> Result<Value, Failure> {
    outcome.map(|()| json!({})).map_err(Failure::from)
}

pub(super) fn parameters<T: DeserializeOwned>(given: Value) -> Result<T, Failure> {
    serde_json::from_value(given).map_err(|error| Failure::parameters(error.to_string()))
}

pub(super) fn message_id(parameter: &str, text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|_| Failure::parameters(format!("{parameter} is no message id; message.history tells them")))
}

fn refused(parameter: &str, why: &dyn std::error::Error) -> Failure {
    Failure::parameters(format!("{parameter}: {why}"))
}

/// The word for a living connection, or for none.
pub(super) const fn presence(online: bool) -> &'static str {
    if online { "online" } else { "offline" }
}

/// The word for what a contact may see of us.
const fn shown(shown: bool) -> &'static str {
    if shown { "online" } else { "invisible" }
}

fn presence_mode(word: &str) -> Result<PresenceMode, Failure> {
    match word {
        "online" => Ok(PresenceMode::Online),
        "invisible" => Ok(PresenceMode::Invisible),
        "default" => Ok(PresenceMode::Default),
        _ => Err(Failure::parameters("mode is \"online\", \"invisible\" or, with a peer, \"default\"")),
    }
}

/// Whether the word for how a contact may be met says: through a relay alone.
fn relay_only(parameter: &str, word: &str) -> Result<bool, Failure> {
    match word {
        "any" => Ok(false),
        "relay" => Ok(true),
        _ => Err(Failure::parameters(format!("{parameter} is \"any\" or \"relay\""))),
    }
}

/// The same of one who is about to be a contact, if it is said.
fn relay_only_at_first(path: Option<&str>) -> Result<Option<bool>, Failure> {
    path.map(|word| relay_only("path", word)).transpose()
}

/// Milliseconds with one decimal: paths within a machine take less than one.
pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
