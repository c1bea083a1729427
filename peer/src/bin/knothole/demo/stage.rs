//! What the demo is played on: a rendezvous, alice and bob, who find each other as they would across the world.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use knothole::home::Home;
use knothole_proto::contact_link::RendezvousAddress;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contacts::way;
use crate::output::Output;
use crate::session::{Session, entries, word};

/// How long a step may take: on one machine each takes milliseconds, on a very busy one perhaps a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before the next look at what events do not tell.
const PAUSE: Duration = Duration::from_millis(20);

/// Everybody who plays, and where.
pub(super) struct Stage {
    pub(super) alice: Session,
    pub(super) bob: Session,
    rendezvous: Serving,
    begun: Instant,
    // Removed at the very end.
    _homes: TempDir,
}

impl Stage {
    /// Starts the three of them.
    pub(super) async fn build(output: &Output) -> anyhow::Result<Self> {
        let begun = Instant::now();
        output.line(
            "Knothole demo: a rendezvous and two peers, alice and bob, on this machine; nothing is left behind.",
        )?;
        let homes = tempfile::Builder::new()
            .prefix("knothole-demo-")
            .tempdir()
            .context("no temporary directory can be made; check the space on the disk, or set TMPDIR")?;
        let home = |name: &str| Home::open(Some(homes.path().join(name)));
        let rendezvous = Serving::start(Config {
            identity: home("rendezvous")?.identity()?,
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            alternate: None,
            public: None,
            policy: Policy::default(),
            mailboxes: None,
        })
        .await?;
        let address = rendezvous.address().clone();
        output.line(&format!("* the rendezvous serves at {}:{}", address.host, address.port))?;
        let alice = Session::open_on_loopback(home("alice")?, vec![address.clone()]).await?;
        let bob = Session::open_on_loopback(home("bob")?, vec![address]).await?;
        Ok(Self { alice, bob, rendezvous, begun, _homes: homes })
    }

    /// Lets alice and bob sign in, know each other, and connect.
    pub(super) async fn introduce(&mut self, output: &Output) -> anyhow::Result<()> {
        let address = self.rendezvous.address().clone();
        for (name, session) in [("alice", &self.alice), ("bob", &self.bob)] {
            let entry = registered(session, &address).await.with_context(|| format!("{name} cannot sign in"))?;
            output.line(&format!(
                "* {name} has signed in over QUIC{}: the rendezvous sees {name} at {}",
                rtt(&entry),
                word(&entry, "observed")
            ))?;
        }
        for (session, other, name) in [(&self.alice, &self.bob, "bob"), (&self.bob, &self.alice, "alice")] {
            let status = other.call("status", json!({})).await?;
            let added = json!({"link": word(&status, "link"), "name": name});
            session.call("contact.add", added).await.with_context(|| format!("{name} cannot be added"))?;
        }
        output.line("* each has added the other by contact link; alice asks the rendezvous to invite bob")?;
        self.alice.call("contact.connect", json!({"peer": "bob"})).await?;
        let path = connected(&self.alice, "bob").await?;
        output.line(&format!(
            "* both have sent checks to each other's addresses: the path is {}; the rendezvous is out of it",
            way(&path)
        ))?;
        output.line(&format!(
            "* a QUIC connection runs on it, {} ms after the start",
            self.begun.elapsed().as_millis()
        ))?;
        Ok(())
    }

    /// Ends all three.
    pub(super) async fn clear(self) {
        tokio::join!(self.alice.end(), self.bob.end());
        self.rendezvous.shutdown().await;
    }
}

/// Waits until the rendezvous knows the peer.
async fn registered(session: &Session, address: &RendezvousAddress) -> anyhow::Result<Value> {
    let address = address.to_string();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let status = session.call("status", json!({})).await?;
        let known = |entry: &&Value| word(entry, "address") == address && word(entry, "state") == "registered";
        if let Some(entry) = entries(&status["rendezvous"]).iter().find(known) {
            return Ok(entry.clone());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("no answer in {PATIENCE:?}; does a firewall block UDP on 127.0.0.1?")
}

/// Waits until there is a living connection to a contact and the relay is out of it, and gives its path.
async fn connected(session: &Session, name: &str) -> anyhow::Result<Value> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let contacts = session.call("contact.list", json!({})).await?;
        let there = |contact: &&Value| {
            word(contact, "name") == name
                && word(contact, "presence") == "online"
                && word(&contact["path"], "kind") == "direct"
        };
        if let Some(contact) = entries(&contacts).iter().find(there) {
            return Ok(contact["path"].clone());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{name} was not reached in {PATIENCE:?}; does a firewall block UDP on 127.0.0.1?")
}

fn rtt(entry: &Value) -> String {
    entry["rtt_ms"].as_f64().map_or_else(String::new, |rtt| format!(" ({rtt:.1} ms)"))
}
