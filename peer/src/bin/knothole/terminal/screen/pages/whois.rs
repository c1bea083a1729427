//! The page that tells everything about a contact.

use super::leaf::{ago, pair, span};
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::contacts::{Contact, Standing};
use crate::terminal::screen::rows::{Row, Tone};
use crate::terminal::words::{Words, fill};

pub(super) fn rows(screen: &Screen, peer: &str, width: usize) -> Vec<Row> {
    // It may have been removed meanwhile.
    let Some(contact) = screen.contacts.find(peer) else { return Vec::new() };
    let told = told(contact, screen.now, screen.words);
    let columns = told.iter().map(|(name, _)| cells::width(name)).max().unwrap_or_default();
    told.iter().flat_map(|(name, told)| pair(name, Tone::Dim, told, columns, width)).collect()
}

/// Each thing that is known, by its name.
pub(crate) fn told(contact: &Contact, now: u64, words: &Words) -> Vec<(&'static str, String)> {
    let (people, status) = (&words.people, &words.status);
    let standing = match contact.standing {
        Standing::Contact => people.connected,
        Standing::Requested => people.requested,
        Standing::Request => people.asks,
        Standing::Blocked => people.blocked,
    };
    let mut told = vec![(people.field_id, contact.peer.clone()), (people.field_state, standing.to_owned())];
    let mut tell = |name: &'static str, text: String| told.push((name, text));
    if let Some(greeting) = &contact.greeting {
        tell(people.request_says, greeting.clone());
    }
    let presence = match contact.last_seen {
        _ if contact.online => status.online.to_owned(),
        Some(then) => format!("{}, {}", status.offline, fill(people.seen, &[&ago(then, now, people)])),
        None => status.offline.to_owned(),
    };
    tell(people.field_presence, presence);
    let path = contact.way.as_ref().map_or_else(
        || people.no_connection.to_owned(),
        |way| {
            let kind = if way.direct { status.direct } else { status.relay };
            let rtt = way.rtt_ms.map(|rtt| format!(", {rtt:.0} ms")).unwrap_or_default();
            format!("{kind} {}{rtt}", way.remote)
        },
    );
    tell(people.field_path, path);
    if let Some(why) = contact.way.as_ref().and_then(|way| way.why.as_deref()) {
        tell(people.field_why, words.phrases.said(why));
    }
    let either = |yes: bool, one: &str, other: &str| if yes { one.to_owned() } else { other.to_owned() };
    tell(people.field_identity, either(contact.verified, people.verified, people.not_verified));
    tell(people.field_reach, either(contact.relay_only, people.relay_only, people.any_path));
    tell(people.field_sight, either(contact.hidden, people.sees_us_not, people.sees_us));
    let texts = contact.timer.map_or_else(|| people.stays.to_owned(), |timer| fill(people.lasts, &[&span(timer)]));
    tell(people.field_texts, texts);
    told
}
