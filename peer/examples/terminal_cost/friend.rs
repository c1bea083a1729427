//! The other one of the long conversation, in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use knothole::command::Command;
use knothole::engine;
use knothole::handle::{Options, Peer};
use knothole_proto::contact_link::{ContactLink, RendezvousAddress};
use knothole_proto::identity::PeerId;
use knothole_proto::registration::Profile;
use tokio::runtime::Runtime;

pub(crate) struct Friend(Arc<Peer>);

impl Friend {
    /// Starts them, and lets them know us.
    pub(crate) async fn start(home: &Path, us: PeerId, rendezvous: RendezvousAddress) -> anyhow::Result<Self> {
        let link = ContactLink { peer: us, via: vec![rendezvous.clone()] };
        let options = Options {
            home: home.to_owned(),
            rendezvous: vec![rendezvous],
            allow_loopback: true,
            keepalive: Profile::Default,
        };
        let peer = engine::start(options).await?;
        let name = Some("alice".to_owned());
        peer.request(|reply| Command::AddContact { link, name, relay_only: None, reply }).await?;
        Ok(Self(Arc::new(peer)))
    }

    /// Writes a message every so often, until what is returned is called.
    pub(crate) fn write_every(&self, runtime: &Runtime, pace: Duration) -> impl FnOnce() + use<> {
        let peer = self.0.clone();
        let writing = runtime.spawn(async move {
            let mut ticks = tokio::time::interval(pace);
            for n in 0_u64.. {
                ticks.tick().await;
                let message = format!("{n} and so on, 还有更多的话要说").into();
                let sent = peer.request(|reply| Command::Send { to: "alice".into(), message, reply }).await;
                sent.expect("it is written");
            }
        });
        move || writing.abort()
    }

    pub(crate) async fn stop(self) {
        // The one that wrote has let go of it.
        if let Some(peer) = Arc::into_inner(self.0) {
            peer.stop().await;
        }
    }
}
