//! Two who have talked before, both in new processes, and one writes: when it is read.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::meeting::{DELIVERY, move_into, registered};
use super::record::milliseconds;
use super::{Setting, Site};
use crate::network::Network;
use crate::person::Person;

/// What follows a message that is delivered, keys for letters among it, is on both disks by then.
const SETTLING: Duration = Duration::from_secs(1);
/// Whatever two processes do when they start, they have done by then.
const IDLE: Duration = Duration::from_secs(4);

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct FirstLetter {
    /// The networks of the one who writes and the one who reads.
    pub networks: (Network, Network),
    /// Whether both have been idle for seconds; otherwise it is written in the moment in which the writer is registered.
    pub idle: bool,
    /// The how manieth try.
    pub run: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Read {
    /// The network of the one who writes.
    pub alice: String,
    /// The network of the one who reads.
    pub bob: String,
    /// Whether both were idle before.
    pub idle: bool,
    /// The how manieth try.
    pub run: usize,
    /// Whether the two had a connection when it was written. When registered they have none: that takes trips, and a handshake.
    pub connected: bool,
    /// Milliseconds from the writing to the reading.
    pub shown: Option<f64>,
    /// What went wrong; nothing if every message came once.
    pub failure: Option<String>,
}

impl FirstLetter {
    /// Tries it. Whatever goes wrong is part of the record.
    pub fn write(self, setting: &Setting<'_>) -> Read {
        let (alice, bob) = self.networks;
        let mut read = Read { alice: alice.name().into(), bob: bob.name().into(), ..Read::default() };
        (read.idle, read.run) = (self.idle, self.run);
        read.failure = self.attempt(setting, &mut read).err().map(|error| format!("{error:#}"));
        read
    }

    fn attempt(self, setting: &Setting<'_>, read: &mut Read) -> Result<()> {
        let (alice, bob) = self.networks;
        let sites = setting.one_at_a_time(|| Ok::<_, Error>([setting.site(alice)?, setting.site(bob)?]))?;
        let homes = [setting.home(), setting.home()];
        talk_and_end(setting, &sites, &homes)?;

        let mut bob = setting.person(&sites[1], &homes[1])?;
        registered(&mut bob)?;
        let mut alice = setting.person(&sites[0], &homes[0])?;
        registered(&mut alice)?;
        if self.idle {
            thread::sleep(IDLE);
        }
        read.connected = self.idle && !alice.call("contact.list", json!({}))?[0]["path"].is_null();
        let begin = Instant::now();
        alice.tell("message.send", json!({"to": "bob", "text": "first"}))?;
        let shown = bob.event_if_any("message", &json!({"text": "first"}), DELIVERY)?.context("it did not come")?.0;
        read.shown = Some(milliseconds(shown - begin));
        bob.call("message.send", json!({"to": "alice", "text": "reply"}))?;
        alice.event_if_any("message", &json!({"text": "reply"}), DELIVERY)?.context("the reply did not come")?;
        let (at_bob, at_alice) = (bob.received("alice")?, alice.received("bob")?);
        ensure!(at_bob == ["before", "first"], "bob has {at_bob:?}");
        ensure!(at_alice == ["reply"], "alice has {at_alice:?}");
        Ok(())
    }
}

/// The two get to know each other, and leave in good order.
fn talk_and_end(setting: &Setting<'_>, sites: &[Site; 2], homes: &[std::path::PathBuf; 2]) -> Result<()> {
    let [mut alice, mut bob] = move_into(setting, sites, [&homes[0], &homes[1]])?;
    bob.call("contact.add", json!({"link": alice.link()?, "name": "alice"}))?;
    alice.call("contact.add", json!({"link": bob.link()?, "name": "bob"}))?;
    alice.call("message.send", json!({"to": "bob", "text": "before"}))?;
    alice.event("state", &json!({"state": "delivered"}), DELIVERY)?;
    thread::sleep(SETTLING);
    end(alice)?;
    end(bob)
}

fn end(mut person: Person) -> Result<()> {
    person.process.signal(Signal::SIGTERM)?;
    person.process.wait().map(drop)
}
