//! The people in the list: as the engine lists them, and as events change them.

use serde_json::Value;

use crate::session::{entries, word};
use crate::terminal::composer::quoted;
use crate::terminal::words::{Words, fill};
use crate::text::harmless;

/// How somebody stands with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Each knows the other.
    Contact,
    /// We have asked, and are not answered yet.
    Requested,
    /// They ask.
    Request,
    /// Kept away.
    Blocked,
}

/// How a contact is reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Way {
    pub(crate) direct: bool,
    pub(crate) remote: String,
    pub(crate) rtt_ms: Option<f64>,
    /// For a relay: why not directly.
    pub(crate) why: Option<String>,
}

/// Somebody in the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contact {
    pub(crate) peer: String,
    /// What we call them, made harmless.
    pub(crate) name: String,
    pub(crate) standing: Standing,
    pub(crate) online: bool,
    pub(crate) typing: bool,
    pub(crate) last_seen: Option<u64>,
    /// When something was last said, by either side.
    pub(crate) last_at: Option<u64>,
    pub(crate) way: Option<Way>,
    pub(crate) verified: bool,
    pub(crate) relay_only: bool,
    /// They see us offline.
    pub(crate) hidden: bool,
    pub(crate) greeting: Option<String>,
    pub(crate) unread: u64,
    /// The first message that is unread.
    pub(crate) first_unread: Option<String>,
    /// What is begun to them, and not sent.
    pub(crate) draft: Option<String>,
    /// Seconds after which texts disappear that were read.
    pub(crate) timer: Option<u64>,
}

/// Everybody, in the order of the list: by name, behind them those who ask, for no stranger gives the others new numbers; blocked
/// ones last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contacts {
    list: Vec<Contact>,
}

impl Contacts {
    /// Takes the engine's list in the place of what was known. Who types is no part of it.
    pub(crate) fn replace(&mut self, list: &Value) {
        let former = std::mem::take(&mut self.list);
        self.list = entries(list).iter().map(Contact::read).collect();
        for contact in &mut self.list {
            contact.typing = former.iter().any(|was| was.peer == contact.peer && was.typing && contact.online);
        }
        self.sort();
    }

    /// Takes what a `contact.changed` event tells of one, who may be new.
    pub(crate) fn change(&mut self, told: &Value) {
        let mut contact = Contact::read(told);
        if let Some(former) = self.find(&contact.peer) {
            contact.typing = former.typing && contact.online;
        }
        self.remove(&contact.peer);
        self.list.push(contact);
        self.sort();
    }

    pub(crate) fn remove(&mut self, peer: &str) {
        self.list.retain(|contact| contact.peer != peer);
    }

    /// Somebody asks, as an event tells: they are in the list from then on, so that they can be answered at once.
    pub(crate) fn add_request(&mut self, event: &Value) {
        if self.find(word(event, "peer")).is_some() {
            return;
        }
        let mut asks = Contact::read(event);
        asks.standing = Standing::Request;
        asks.greeting = event["text"].as_str().map(harmless).filter(|said| !said.is_empty());
        self.list.push(asks);
        self.sort();
    }

    fn sort(&mut self) {
        self.list.sort_by_key(|contact| (contact.rank(), contact.name.to_lowercase(), contact.peer.clone()));
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Contact> + ExactSizeIterator {
        self.list.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn at(&self, place: usize) -> Option<&Contact> {
        self.list.get(place)
    }

    pub(crate) fn find(&self, peer: &str) -> Option<&Contact> {
        self.list.iter().find(|contact| contact.peer == peer)
    }

    pub(crate) fn find_mut(&mut self, peer: &str) -> Option<&mut Contact> {
        self.list.iter_mut().find(|contact| contact.peer == peer)
    }

    pub(crate) fn place(&self, peer: &str) -> Option<usize> {
        self.list.iter().position(|contact| contact.peer == peer)
    }

    /// The one who asks to be a contact; an error says that nobody does, or several.
    pub(crate) fn only_request(&self, words: &Words) -> Result<&Contact, String> {
        let all: Vec<_> = self.list.iter().filter(|contact| contact.standing == Standing::Request).collect();
        match &all[..] {
            [] => Err(words.commands.nobody_asks.to_owned()),
            [only] => Ok(only),
            several => {
                let names: Vec<_> = several.iter().map(|contact| quoted(&contact.name)).collect();
                Err(fill(words.commands.several_ask, &[&names.join(words.plain.separator)]))
            }
        }
    }

    /// Who is meant by a name or a peer id; capitals do not count where only one is called so.
    pub(crate) fn named(&self, who: &str) -> Option<&Contact> {
        if let Some(found) = self.list.iter().find(|contact| contact.name == who || contact.peer == who) {
            return Some(found);
        }
        let lower = who.to_lowercase();
        let mut alike = self.list.iter().filter(|contact| contact.name.to_lowercase() == lower);
        alike.next().filter(|_| alike.next().is_none())
    }
}

impl Contact {
    fn read(value: &Value) -> Self {
        let path = &value["path"];
        Self {
            peer: word(value, "peer").to_owned(),
            name: harmless(word(value, "name")),
            standing: match word(value, "state") {
                "requested" => Standing::Requested,
                "request" => Standing::Request,
                "blocked" => Standing::Blocked,
                _ => Standing::Contact,
            },
            online: word(value, "presence") == "online",
            typing: false,
            last_seen: value["last_seen"].as_u64(),
            last_at: value["last_at"].as_u64(),
            way: path.is_object().then(|| Way::read(path)),
            verified: value["verified"] == true,
            relay_only: value["relay_only"] == true,
            hidden: word(value, "seen_as") == "invisible",
            greeting: value["greeting"].as_str().map(harmless).filter(|said| !said.is_empty()),
            unread: value["unread"].as_u64().unwrap_or_default(),
            first_unread: value["first_unread"].as_str().map(str::to_owned),
            draft: value["draft"].as_str().map(str::to_owned),
            timer: value["expires_s"].as_u64(),
        }
    }

    fn rank(&self) -> u8 {
        match self.standing {
            Standing::Contact | Standing::Requested => 0,
            Standing::Request => 1,
            Standing::Blocked => 2,
        }
    }
}

impl Way {
    /// What a `path` object, or a `path` event, says; kinds other than direct are a relay's.
    pub(crate) fn read(path: &Value) -> Self {
        Self {
            direct: word(path, "kind") == "direct",
            remote: harmless(word(path, "remote")),
            rtt_ms: path["rtt_ms"].as_f64(),
            why: path["why"].as_str().map(harmless),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stranger_who_asks_comes_behind_all_contacts_and_before_the_blocked() {
        let mut contacts = Contacts::default();
        let entry = |name: &str, state: &str| json!({"peer": format!("id of {name}"), "name": name, "state": state});
        contacts.replace(&json!([
            entry("Zoe", "contact"),
            entry("eve", "blocked"),
            entry("adam", "contact"),
            entry("stranger", "request")
        ]));
        let names: Vec<_> = contacts.iter().map(|contact| contact.name.as_str()).collect();
        assert_eq!(names, ["adam", "Zoe", "stranger", "eve"]);
        assert_eq!(contacts.named("Zoe").map(|contact| contact.peer.as_str()), Some("id of Zoe"));
    }
}
