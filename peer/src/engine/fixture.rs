//! Engines and a rendezvous in this process, on loopback.

use knothole_proto::certificate::IdentitySecret;
use knothole_proto::registration::Profile;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use tempfile::TempDir;

use super::start;
use crate::handle::{Options, Peer};

/// A rendezvous, and `N` peers that are registered there or about to be, with their homes.
pub(super) async fn town<const N: usize>() -> (Serving, [TempDir; N], Vec<Peer>) {
    let config = Config {
        identity: IdentitySecret::new([42; 32]),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        alternate: None,
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    };
    let serving = Serving::start(config).await.unwrap();
    let homes = [0; N].map(|_| tempfile::tempdir().unwrap());
    let mut peers = Vec::new();
    for home in &homes {
        let (home, rendezvous) = (home.path().to_owned(), vec![serving.address().clone()]);
        let options = Options { home, rendezvous, allow_loopback: true, keepalive: Profile::Default };
        peers.push(start(options).await.unwrap());
    }
    (serving, homes, peers)
}
