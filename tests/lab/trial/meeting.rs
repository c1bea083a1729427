//! Two peers who know each other, and one writes: when it is read, and when the two have a direct path.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record::milliseconds;
use super::{Setting, Site};
use crate::network::Network;
use crate::person::Person;

/// Registration takes two round trips, or the seconds that it takes to give UDP up.
const REGISTRATION: Duration = Duration::from_secs(30);
/// Whoever is not registered by then is waiting, and keeps the machine from nothing.
const BUSY: Duration = Duration::from_millis(700);
/// A message that takes longer is lost to whoever waits for it.
pub(super) const DELIVERY: Duration = Duration::from_secs(20);
/// Both have been online this long when the first word is written, so that they know what their networks do.
const SETTLING: Duration = Duration::from_secs(1);
/// By then the second side has the path that the first has found.
const OTHER_SIDE: Duration = Duration::from_secs(1);

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// The network of the one who writes.
    pub alice: Network,
    /// The network of the one who reads.
    pub bob: Network,
    /// The how manieth try of this pair.
    pub run: usize,
    /// How long to wait for a direct path.
    pub patience: Duration,
}

/// What came of it. Times are milliseconds since Alice took Bob in and wrote, which both is one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Met {
    /// The network of the one who wrote.
    pub alice: String,
    /// The network of the one who read.
    pub bob: String,
    /// The how manieth try of this pair.
    pub run: usize,
    /// Until the first message was shown at Bob.
    pub first: Option<f64>,
    /// Until one of the two said that its path is direct.
    pub direct: Option<f64>,
    /// `direct`, `relay` or `none`, as Alice has it in the end.
    pub kind: String,
    /// `udp` or `tcp`, likewise.
    pub transport: String,
    /// Why the path is not direct, in the program's words.
    pub why: String,
    /// Mappings that were made at each one's routers meanwhile.
    pub mappings: [u64; 2],
    /// What went wrong with the conversation; nothing if every message came once, in order, both ways.
    pub failure: Option<String>,
}

impl Met {
    /// Both networks, the easier first, whoever wrote; `None` for names that are none.
    #[must_use]
    pub fn pair(&self) -> Option<(Network, Network)> {
        let (alice, bob) = (self.alice.parse().ok()?, self.bob.parse().ok()?);
        Some(if alice <= bob { (alice, bob) } else { (bob, alice) })
    }

    /// Mappings made at the router of the one of the two who is in this network; with both in it, Alice's.
    #[must_use]
    pub fn mappings_in(&self, network: Network) -> u64 {
        self.mappings[usize::from(self.alice != network.name())]
    }
}

impl Meeting {
    /// Tries it. Whatever goes wrong is part of the record.
    pub fn hold(self, setting: &Setting<'_>) -> Met {
        let mut met = Met {
            alice: self.alice.name().into(),
            bob: self.bob.name().into(),
            run: self.run,
            kind: "none".into(),
            ..Met::default()
        };
        met.failure = self.converse(setting, &mut met).err().map(|error| format!("{error:#}"));
        met
    }

    fn converse(self, setting: &Setting<'_>, met: &mut Met) -> Result<()> {
        let sites = setting.one_at_a_time(|| Ok::<_, Error>([setting.site(self.alice)?, setting.site(self.bob)?]))?;
        let [mut alice, mut bob] = move_in(setting, &sites)?;
        thread::sleep(SETTLING);
        // Bob knows Alice first, who does not answer a stranger: so it is Alice alone who sets out when she writes.
        let link_of_bob = bob.link()?;
        bob.call("contact.add", json!({"link": alice.link()?, "name": "alice"}))?;
        alice.event("contact.request", &json!({}), DELIVERY)?;

        let before = mappings(&sites)?;
        let begin = Instant::now();
        alice.call("contact.add", json!({"link": link_of_bob, "name": "bob"}))?;
        let outcome = talk(&mut alice, &mut bob, begin, self.patience, met);
        let after = mappings(&sites)?;
        met.mappings = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
        describe_path(&mut alice, met)?;
        outcome
    }
}

/// Starts both and waits until they are registered.
///
/// # Errors
/// They are not, in half a minute.
pub(super) fn move_in(setting: &Setting<'_>, sites: &[Site; 2]) -> Result<[Person; 2]> {
    move_into(setting, sites, [&setting.home(), &setting.home()])
}

/// The same, into these homes.
///
/// # Errors
/// See [`move_in`].
pub(super) fn move_into(setting: &Setting<'_>, sites: &[Site; 2], homes: [&Path; 2]) -> Result<[Person; 2]> {
    let (mut persons, mut waiting) = setting.one_at_a_time(|| {
        let mut persons = [setting.person(&sites[0], homes[0])?, setting.person(&sites[1], homes[1])?];
        let mut waiting = Vec::new();
        for (index, person) in persons.iter_mut().enumerate() {
            if person.event_if_any("registered", &json!({}), BUSY)?.is_none() {
                waiting.push(index);
            }
        }
        Ok::<_, Error>((persons, waiting))
    })?;
    for index in waiting.drain(..) {
        registered(&mut persons[index])?;
    }
    Ok(persons)
}

/// Waits until it is registered, and returns when that was.
///
/// # Errors
/// It is not, in half a minute.
pub fn registered(person: &mut Person) -> Result<Instant> {
    let event = person.event_if_any("registered", &json!({}), REGISTRATION)?;
    Ok(event.context("not registered")?.0)
}

fn talk(alice: &mut Person, bob: &mut Person, begin: Instant, patience: Duration, met: &mut Met) -> Result<()> {
    alice.call("message.send", json!({"to": "bob", "text": "first"}))?;
    met.first = Some(milliseconds(hear(bob, "first")? - begin));
    bob.call("message.send", json!({"to": "alice", "text": "reply"}))?;
    hear(alice, "reply").context("the reply")?;
    met.direct = direct(alice, bob, begin + patience)?.map(|at| milliseconds(at - begin));
    alice.call("message.send", json!({"to": "bob", "text": "second"}))?;
    hear(bob, "second")?;
    bob.call("message.send", json!({"to": "alice", "text": "second reply"}))?;
    hear(alice, "second reply")?;
    let (at_bob, at_alice) = (bob.received("alice")?, alice.received("bob")?);
    ensure!(at_bob == ["first", "second"], "bob has {at_bob:?}");
    ensure!(at_alice == ["reply", "second reply"], "alice has {at_alice:?}");
    Ok(())
}

fn hear(person: &mut Person, text: &str) -> Result<Instant> {
    let event = person.event_if_any("message", &json!({"text": text}), DELIVERY)?;
    Ok(event.with_context(|| format!("the message {text:?} did not come"))?.0)
}

/// When the first of the two had a direct path; `None` if neither has one by `until`.
fn direct(alice: &mut Person, bob: &mut Person, until: Instant) -> Result<Option<Instant>> {
    const TURN: Duration = Duration::from_millis(20);
    let fields = json!({"kind": "direct"});
    loop {
        let at_alice = alice.event_if_any("path", &fields, TURN)?;
        let at_bob = bob.event_if_any("path", &fields, TURN)?;
        let found = match (at_alice, at_bob) {
            (None, None) if Instant::now() < until => continue,
            (None, None) => None,
            (Some((at, _)), None) => {
                Some(bob.event_if_any("path", &fields, OTHER_SIDE)?.map_or(at, |(other, _)| at.min(other)))
            }
            (None, Some((at, _))) => {
                Some(alice.event_if_any("path", &fields, OTHER_SIDE)?.map_or(at, |(other, _)| at.min(other)))
            }
            (Some((at, _)), Some((other, _))) => Some(at.min(other)),
        };
        return Ok(found);
    }
}

/// The path that Alice has now, and the last reason that she was given for one that is not direct.
fn describe_path(alice: &mut Person, met: &mut Met) -> Result<()> {
    let contacts = alice.call("contact.list", json!({}))?;
    met.kind = contacts[0]["path"]["kind"].as_str().unwrap_or("none").into();
    let paths: Vec<_> = alice.events().filter(|(_, event)| event["type"] == "path").collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let last = |kind: &str| paths.iter().rev().find(|(_, event)| event["kind"] == kind);
    if met.kind == "direct" {
        met.transport = "udp".into();
    } else if let Some((_, event)) = last(&met.kind) {
        met.transport = text(&event["transport"]);
        met.why = text(&event["why"]);
    }
    Ok(())
}

fn mappings(sites: &[Site; 2]) -> Result<[u64; 2]> {
    Ok([sites[0].mappings_made()?, sites[1].mappings_made()?])
}
