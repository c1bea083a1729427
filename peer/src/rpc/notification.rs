//! Events as notifications.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::event::{Event, EventKind, PathChange};
use crate::store::MessageState;

use super::method::{self, milliseconds, presence};
use super::{content, message};

/// The notification of an event; `None` if it is of no concern to a client.
pub(super) fn event(event: &Event) -> Option<Value> {
    let mut told = told(&event.kind)?;
    told["at"] = event.at.into();
    Some(message::notification("event", &told))
}

/// The notification that so many events were not told, because the client did not read them in time.
pub(super) fn lagged(missed: u64) -> Value {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let at = u64::try_from(at).unwrap_or(u64::MAX);
    message::notification("event", &json!({"type": "lagged", "at": at, "missed": missed}))
}

fn told(kind: &EventKind) -> Option<Value> {
    Some(match kind {
        EventKind::Registered { rendezvous, observed } => {
            json!({"type": "registered", "rendezvous": rendezvous.to_string(), "observed": observed})
        }
        EventKind::Unregistered { rendezvous } => {
            json!({"type": "unregistered", "rendezvous": rendezvous.to_string(), "observed": null})
        }
        EventKind::ContactRequest { peer, name, text } => {
            json!({"type": "contact.request", "peer": peer.to_string(), "name": name, "text": text})
        }
        EventKind::ContactAdded { peer, name } => {
            json!({"type": "contact.added", "peer": peer.to_string(), "name": name})
        }
        EventKind::CodeFailed { why } => json!({"type": "contact.code", "state": "failed", "why": why}),
        EventKind::Presence { peer, name, online } => {
            json!({"type": "presence", "peer": peer.to_string(), "name": name, "state": presence(*online)})
        }
        EventKind::Path { peer, name, path } => {
            let mut told = way(path);
            told["type"] = "path".into();
            told["peer"] = peer.to_string().into();
            told["name"] = name.as_str().into();
            told
        }
        EventKind::Message { peer, name, message, text, reply, expires_s } => {
            let mut told = json!({
                "type": "message",
                "peer": peer.to_string(),
                "name": name,
                "message": message.to_string(),
                "text": text,
            });
            content::put(&mut told, *reply, *expires_s);
            told
        }
        EventKind::Sent { peer, name, message, text, reply, expires_s } => {
            let mut told = json!({
                "type": "sent",
                "peer": peer.to_string(),
                "name": name,
                "message": message.to_string(),
                "text": text,
            });
            content::put(&mut told, *reply, *expires_s);
            told
        }
        EventKind::Read { peer, name, upto, unread } => json!({
            "type": "read",
            "peer": peer.to_string(),
            "name": name,
            "upto": upto.to_string(),
            "unread": unread,
        }),
        EventKind::ContactChanged { contact } => {
            let mut told = method::contact(contact);
            told["type"] = "contact.changed".into();
            told
        }
        EventKind::ContactRemoved { peer, name } => {
            json!({"type": "contact.removed", "peer": peer.to_string(), "name": name})
        }
        EventKind::Typing { peer, name, on } => {
            json!({"type": "typing", "peer": peer.to_string(), "name": name, "on": on})
        }
        EventKind::Change { peer, name, change } => {
            let mut told = content::change(change);
            told["type"] = "change".into();
            told["peer"] = peer.to_string().into();
            told["name"] = name.as_str().into();
            told
        }
        // A message that waits has not gone anywhere yet.
        EventKind::State { state: MessageState::Queued, .. } => return None,
        EventKind::State { message, state } => {
            json!({"type": "state", "message": message.to_string(), "state": state.as_str()})
        }
    })
}

fn way(path: &PathChange) -> Value {
    match path {
        PathChange::Direct { remote, rtt } => json!({
            "kind": "direct",
            "transport": "udp",
            "remote": remote,
            "rtt_ms": milliseconds(*rtt),
            "why": null,
        }),
        PathChange::Relay { rendezvous, transport, why } => json!({
            "kind": "relay",
            "transport": transport.as_str(),
            "remote": rendezvous,
            "rtt_ms": null,
            "why": why,
        }),
        PathChange::None { why } => json!({
            "kind": "none",
            "transport": null,
            "remote": null,
            "rtt_ms": null,
            "why": why,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use knothole_proto::frames::MessageId;
    use knothole_proto::identity::PublicKey;

    use super::super::fake::contact;
    use super::*;
    use crate::store::{Change, What};

    const PEER: &str = "amaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq";

    fn params(kind: EventKind) -> Value {
        let told = event(&Event { at: 1_700_000_000_123, kind }).unwrap();
        assert_eq!(told["jsonrpc"], "2.0");
        assert_eq!(told["method"], "event");
        assert_eq!(told["id"], Value::Null);
        told["params"].clone()
    }

    #[test]
    fn every_event_has_the_fields_of_the_documentation() {
        let peer = PEER.parse::<PublicKey>().unwrap();
        let name = || "bob".to_owned();
        let rendezvous = format!("{PEER}@r.example:3478");
        let at = 1_700_000_000_123_u64;
        let message = MessageId([0; 16]);
        let id = "a".repeat(26);
        let change = |mine, what| EventKind::Change { peer, name: name(), change: Change { message, mine, what } };
        let remote = "[2001:db8::1]:7".parse().unwrap();
        for (kind, expected) in [
            (
                EventKind::Registered {
                    rendezvous: rendezvous.parse().unwrap(),
                    observed: "203.0.113.5:4711".parse().unwrap(),
                },
                json!({"type": "registered", "at": at, "rendezvous": rendezvous, "observed": "203.0.113.5:4711"}),
            ),
            (
                EventKind::Unregistered { rendezvous: rendezvous.parse().unwrap() },
                json!({"type": "unregistered", "at": at, "rendezvous": rendezvous, "observed": null}),
            ),
            (
                EventKind::ContactRequest { peer, name: name(), text: "it is Bob".into() },
                json!({"type": "contact.request", "at": at, "peer": PEER, "name": "bob", "text": "it is Bob"}),
            ),
            (
                EventKind::ContactAdded { peer, name: name() },
                json!({"type": "contact.added", "at": at, "peer": PEER, "name": "bob"}),
            ),
            (
                EventKind::CodeFailed { why: "used up".into() },
                json!({"type": "contact.code", "at": at, "state": "failed", "why": "used up"}),
            ),
            (
                EventKind::Presence { peer, name: name(), online: true },
                json!({"type": "presence", "at": at, "peer": PEER, "name": "bob", "state": "online"}),
            ),
            (
                EventKind::Presence { peer, name: name(), online: false },
                json!({"type": "presence", "at": at, "peer": PEER, "name": "bob", "state": "offline"}),
            ),
            (
                EventKind::Path {
                    peer,
                    name: name(),
                    path: PathChange::Direct { remote, rtt: Duration::from_micros(23_456) },
                },
                json!({"type": "path", "at": at, "peer": PEER, "name": "bob", "kind": "direct", "transport": "udp",
                       "remote": "[2001:db8::1]:7", "rtt_ms": 23.5, "why": null}),
            ),
            (
                EventKind::Path { peer, name: name(), path: PathChange::None { why: "no answer".into() } },
                json!({"type": "path", "at": at, "peer": PEER, "name": "bob", "kind": "none", "transport": null,
                       "remote": null, "rtt_ms": null, "why": "no answer"}),
            ),
            (
                EventKind::Message {
                    peer,
                    name: name(),
                    message,
                    text: "a\n\"b\"".into(),
                    reply: None,
                    expires_s: None,
                },
                json!({"type": "message", "at": at, "peer": PEER, "name": "bob", "message": id, "text": "a\n\"b\""}),
            ),
            (
                EventKind::Message {
                    peer,
                    name: name(),
                    message,
                    text: "a".into(),
                    reply: Some(message),
                    expires_s: Some(60),
                },
                json!({"type": "message", "at": at, "peer": PEER, "name": "bob", "message": id, "text": "a",
                       "reply": id, "expires_s": 60}),
            ),
            (
                EventKind::Sent {
                    peer,
                    name: name(),
                    message,
                    text: "a".into(),
                    reply: Some(message),
                    expires_s: None,
                },
                json!({"type": "sent", "at": at, "peer": PEER, "name": "bob", "message": id, "text": "a", "reply": id}),
            ),
            (
                EventKind::Read { peer, name: name(), upto: message, unread: 1 },
                json!({"type": "read", "at": at, "peer": PEER, "name": "bob", "upto": id, "unread": 1}),
            ),
            (
                EventKind::ContactRemoved { peer, name: name() },
                json!({"type": "contact.removed", "at": at, "peer": PEER, "name": "bob"}),
            ),
            (
                EventKind::Typing { peer, name: name(), on: true },
                json!({"type": "typing", "at": at, "peer": PEER, "name": "bob", "on": true}),
            ),
            (
                change(false, What::Edited { text: "b".into() }),
                json!({"type": "change", "at": at, "peer": PEER, "name": "bob", "message": id, "mine": false,
                       "what": "edited", "text": "b"}),
            ),
            (
                change(true, What::Deleted),
                json!({"type": "change", "at": at, "peer": PEER, "name": "bob", "message": id, "mine": true,
                       "what": "deleted"}),
            ),
            (
                change(false, What::Reacted { emoji: "👍".into(), on: false }),
                json!({"type": "change", "at": at, "peer": PEER, "name": "bob", "message": id, "mine": false,
                       "what": "reaction", "emoji": "👍", "on": false}),
            ),
            (
                change(false, What::Timer { expires_s: None }),
                json!({"type": "change", "at": at, "peer": PEER, "name": "bob", "message": id, "mine": false,
                       "what": "timer", "expires_s": null}),
            ),
            (
                change(false, What::Expired),
                json!({"type": "change", "at": at, "peer": PEER, "name": "bob", "message": id, "mine": false,
                       "what": "expired"}),
            ),
            (
                EventKind::State { message, state: MessageState::Delivered },
                json!({"type": "state", "at": at, "message": id, "state": "delivered"}),
            ),
        ] {
            assert_eq!(params(kind), expected);
        }
    }

    #[test]
    fn a_contact_that_has_changed_is_told_as_in_the_list() {
        let told = params(EventKind::ContactChanged { contact: Box::new(contact()) });
        assert_eq!((&told["type"], &told["at"]), (&json!("contact.changed"), &json!(1_700_000_000_123_u64)));
        for (field, value) in method::contact(&contact()).as_object().unwrap() {
            assert_eq!(&told[field], value, "{field}");
        }
    }

    #[test]
    fn a_message_that_only_waits_is_no_news() {
        let kind = EventKind::State { message: MessageId([0; 16]), state: MessageState::Queued };
        assert_eq!(event(&Event { at: 0, kind }), None);
    }

    #[test]
    fn a_gap_in_the_events_says_how_many_are_missing() {
        let told = lagged(7);
        assert_eq!((&told["params"]["type"], &told["params"]["missed"]), (&json!("lagged"), &json!(7)));
    }
}
