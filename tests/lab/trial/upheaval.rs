//! What happens to networks while two peers talk, and how long they hear nothing of each other.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::meeting::move_in;
use super::record::milliseconds;
use super::stream::{Heard, Progress, stream};
use super::{Setting, Site};
use crate::network::Network;
use crate::person::Person;

/// How long a stream flows before anything is done to it: fifty messages.
const BEFORE: usize = 50;
/// What should be over in two seconds has this long before it is called over, so that what fails is measured too.
const RECOVERY: Duration = Duration::from_secs(35);
/// How long the stream goes on after it has recovered, so that a second stall shows.
const AFTER: Duration = Duration::from_secs(3);
/// How long a device is down: long enough to be noticed, too short for anything to give up.
const DOWN: Duration = Duration::from_secs(1);
/// Until both are direct at first: nobody has to guess here.
const DIRECT: Duration = Duration::from_secs(30);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upheaval {
    /// The two have talked through the relay, and now can meet.
    ToDirect,
    /// Nothing passes between the two any more but through the relay, and nobody says so.
    ToRelay,
    /// The router of some forgets its mappings, and nobody says so.
    Rebinding(Who),
    /// The router of some gets another address on the internet, and nobody says so.
    ExternalAddress(Who),
    /// The device of some gets another address, which its system notices.
    Address(Who),
    /// The device of some goes down, and comes up a second later with another address.
    Device(Who),
    /// The rendezvous is killed and started again, while the path is direct.
    RestartWhileDirect,
    /// The same while the talk goes through it.
    RestartWhileRelayed,
}

/// To whom it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one who invited.
    Alice,
    /// The one who was invited.
    Bob,
    /// Both in one moment.
    Both,
}

impl Who {
    const ALL: [Self; 3] = [Self::Alice, Self::Bob, Self::Both];

    const fn sides(self) -> &'static [usize] {
        match self {
            Self::Alice => &[0],
            Self::Bob => &[1],
            Self::Both => &[0, 1],
        }
    }
}

/// What came of it. Times are milliseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Gap {
    /// What happened.
    pub case: String,
    /// The how manieth try.
    pub run: usize,
    /// The longest silence that Alice and Bob each heard, from the moment of the change on.
    pub silence: [f64; 2],
    /// The longest silence of either before the change, for comparison.
    pub before: f64,
    /// The kind of path that each had in the end.
    pub path: [String; 2],
    /// Messages sent by both.
    pub messages: usize,
    /// What went wrong; nothing if every message came once and in order.
    pub failure: Option<String>,
}

impl Upheaval {
    /// Every case.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::ToDirect, Self::ToRelay];
        for change in [Self::Rebinding, Self::ExternalAddress, Self::Address, Self::Device] {
            all.extend(Who::ALL.map(change));
        }
        all.extend([Self::RestartWhileDirect, Self::RestartWhileRelayed]);
        all
    }

    /// Its name in tables and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToDirect => "relay-to-direct",
            Self::ToRelay => "direct-to-relay",
            Self::Rebinding(Who::Alice) => "rebinding-alice",
            Self::Rebinding(Who::Bob) => "rebinding-bob",
            Self::Rebinding(Who::Both) => "rebinding-both",
            Self::ExternalAddress(Who::Alice) => "external-alice",
            Self::ExternalAddress(Who::Bob) => "external-bob",
            Self::ExternalAddress(Who::Both) => "external-both",
            Self::Address(Who::Alice) => "address-alice",
            Self::Address(Who::Bob) => "address-bob",
            Self::Address(Who::Both) => "address-both",
            Self::Device(Who::Alice) => "device-alice",
            Self::Device(Who::Bob) => "device-bob",
            Self::Device(Who::Both) => "device-both",
            Self::RestartWhileDirect => "restart-direct",
            Self::RestartWhileRelayed => "restart-relayed",
        }
    }

    /// Whether the system tells the peer that it happens to; else only silence does.
    #[must_use]
    pub const fn is_told(self) -> bool {
        matches!(self, Self::ToDirect | Self::Address(_) | Self::Device(_))
    }

    /// Whether it happens to everybody who is registered.
    #[must_use]
    pub const fn restarts_rendezvous(self) -> bool {
        matches!(self, Self::RestartWhileDirect | Self::RestartWhileRelayed)
    }

    const fn begins_relayed(self) -> bool {
        matches!(self, Self::ToDirect | Self::RestartWhileRelayed)
    }

    /// Tries it. Whatever goes wrong is part of the record.
    pub fn suffer(self, setting: &Setting<'_>, run: usize) -> Gap {
        let mut gap = Gap { case: self.name().into(), run, ..Gap::default() };
        if let Err(error) = self.measure(setting, &mut gap) {
            gap.failure = Some(format!("{error:#}"));
        }
        gap
    }

    fn measure(self, setting: &Setting<'_>, gap: &mut Gap) -> Result<()> {
        let sites = [setting.site(Network::Apdf)?, setting.site(Network::Apdf)?];
        if self.begins_relayed() {
            setting.set_apart(&sites[0], &sites[1], true)?;
        }
        let [mut alice, mut bob] = move_in(setting, &sites)?;
        meet(&mut alice, &mut bob)?;
        let change = |progress: &Progress<'_>| {
            if !self.begins_relayed() {
                progress.wait_for_path("direct", DIRECT)?;
            }
            progress.wait_for_messages(BEFORE, DIRECT)?;
            let begin = self.happen(setting, &sites)?;
            // Both flow again, and have done so for a while.
            let flows = progress.wait_for_messages(BEFORE, RECOVERY);
            if flows.is_ok() && self == Self::ToDirect {
                progress.ask_for_direct(RECOVERY)?;
            }
            thread::sleep(AFTER);
            Ok(begin)
        };
        let (begin, heard) = stream(&mut alice, &mut bob, "relay", change)?;
        describe(begin, &heard, gap);
        Ok(())
    }

    /// Returns when it began; for a device that was down, when it was up again.
    fn happen(self, setting: &Setting<'_>, sites: &[Site; 2]) -> Result<Instant> {
        let mut begin = Instant::now();
        match self {
            Self::ToDirect => setting.set_apart(&sites[0], &sites[1], false)?,
            Self::ToRelay => setting.set_apart(&sites[0], &sites[1], true)?,
            Self::RestartWhileDirect | Self::RestartWhileRelayed => setting.restart_rendezvous()?,
            Self::Rebinding(who) => each(who, |side| setting.lab().rebind_nat(&sites[side]))?,
            Self::ExternalAddress(who) => each(who, |side| {
                let host = sites[side].id();
                setting.lab().world(|world| {
                    let router = world.routers_before(host).last().copied().context("no router")?;
                    world.rebind_address(router);
                    Ok(())
                })
            })?,
            Self::Address(who) => each(who, |side| setting.lab().change_address(&sites[side]).map(drop))?,
            Self::Device(who) => {
                each(who, |side| setting.lab().set_device(&sites[side], false))?;
                thread::sleep(DOWN);
                begin = Instant::now();
                each(who, |side| setting.lab().change_address(&sites[side]).map(drop))?;
            }
        }
        Ok(begin)
    }
}

fn each(who: Who, change: impl FnMut(usize) -> Result<()>) -> Result<()> {
    who.sides().iter().copied().try_for_each(change)
}

/// Lets them know each other, and Alice set out.
pub(super) fn meet(alice: &mut Person, bob: &mut Person) -> Result<()> {
    let link = bob.link()?;
    bob.call("contact.add", json!({"link": alice.link()?, "name": "alice"}))?;
    alice.event("contact.request", &json!({}), DIRECT)?;
    alice.call("contact.add", json!({"link": link, "name": "bob"}))?;
    for (person, other) in [(alice, "bob"), (bob, "alice")] {
        let online = json!({"name": other, "state": "online"});
        if person.event_if_any("presence", &online, DIRECT)?.is_none() {
            bail!("{other} does not come online");
        }
    }
    Ok(())
}

fn describe(begin: Instant, heard: &[Heard; 2], gap: &mut Gap) {
    gap.silence = [0, 1].map(|side| milliseconds(heard[side].silence_after(begin)));
    let quiet = |side: &Heard| side.silence_before(begin);
    gap.before = milliseconds(heard.iter().map(quiet).max().unwrap_or_default());
    gap.path = [0, 1].map(|side: usize| heard[side].paths.last().map(|(_, kind)| kind.clone()).unwrap_or_default());
    gap.messages = heard[0].expected + heard[1].expected;
    let wrong = |(name, side): (&str, &Heard)| side.wrong().map(|wrong| format!("{name} heard: {wrong}"));
    let wrong: Vec<_> = ["alice", "bob"].into_iter().zip(heard).filter_map(wrong).collect();
    gap.failure = (!wrong.is_empty()).then(|| wrong.join("; "));
}
