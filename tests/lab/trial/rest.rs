//! What it costs to be there and say nothing: packets on the wire at a site, with their IP headers.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::meeting::registered;
use super::{Setting, Site};
use crate::network::Network;
use crate::person::Person;

/// How long a contact may take to get a direct path before both rest.
const DIRECT: Duration = Duration::from_secs(12);

/// The profiles that a home may ask for.
pub const PROFILES: [&str; 3] = ["default", "strict", "frugal"];

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// One of [`PROFILES`].
    pub profile: &'static str,
    /// Whether there is a contact with a direct path.
    pub contact: bool,
    /// How long to wait for everything to calm down.
    pub settling: Duration,
    /// How long to count.
    pub time: Duration,
}

/// What one peer has sent and received.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rested {
    /// The keepalive profile.
    pub profile: String,
    /// Whether there is a contact with a direct path.
    pub contact: bool,
    /// Seconds before the count.
    pub settled: f64,
    /// Seconds of the count.
    pub seconds: f64,
    /// Packets out and in.
    pub packets: [u64; 2],
    /// Bytes out and in.
    pub bytes: [u64; 2],
    /// What went wrong.
    pub failure: Option<String>,
}

impl Rest {
    /// Measures it: of the one who invited, where there is a contact.
    pub fn take(self, setting: &Setting<'_>) -> Rested {
        let Self { profile, contact, .. } = self;
        let mut rested = Rested { profile: profile.into(), contact, ..Rested::default() };
        rested.failure = self.measure(setting, &mut rested).err().map(|error| format!("{error:#}"));
        rested
    }

    fn measure(self, setting: &Setting<'_>, rested: &mut Rested) -> Result<()> {
        let sites = [setting.site(Network::Apdf)?, setting.site(Network::Apdf)?];
        let mut alice = self.person(setting, &sites[0])?;
        let mut bob = None;
        if self.contact {
            let bob = bob.insert(self.person(setting, &sites[1])?);
            bob.call("contact.add", json!({"link": alice.link()?, "name": "alice"}))?;
            alice.call("contact.add", json!({"link": bob.link()?, "name": "bob"}))?;
            let direct = alice.event_if_any("path", &json!({"kind": "direct"}), DIRECT)?;
            direct.context("no direct path")?;
        }
        thread::sleep(self.settling);
        let (begin, before) = (Instant::now(), setting.lab().traffic(&sites[0]));
        thread::sleep(self.time);
        let (seconds, after) = (begin.elapsed().as_secs_f64(), setting.lab().traffic(&sites[0]));
        (rested.settled, rested.seconds) = (self.settling.as_secs_f64(), seconds);
        rested.packets = [after.sent_packets - before.sent_packets, after.received_packets - before.received_packets];
        rested.bytes = [after.sent_bytes - before.sent_bytes, after.received_bytes - before.received_bytes];
        if self.contact {
            let contacts = alice.call("contact.list", json!({}))?;
            (contacts[0]["path"]["kind"] == "direct").then_some(()).context("the direct path was lost")?;
        }
        Ok(())
    }

    fn person(&self, setting: &Setting<'_>, site: &Site) -> Result<Person> {
        let home = setting.home();
        if self.profile != PROFILES[0] {
            fs::create_dir_all(&home)?;
            fs::write(home.join("config.toml"), format!("keepalive = \"{}\"\n", self.profile))?;
        }
        let mut person = setting.person(site, &home)?;
        registered(&mut person)?;
        Ok(person)
    }
}
