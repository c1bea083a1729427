//! A peer that reaches its rendezvous by TCP alone (docs/protocol.md, "TCP"), on loopback: at the address that it is given
//! nobody listens by UDP.

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::net::SocketAddr;
use std::sync::Arc;

use knothole::command::{RendezvousState, Status, Transport};
use knothole::event::{Event, EventKind};
use knothole::handle::Peer;
use knothole_proto::certificate::{IdentitySecret, tunnel_server_config};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_rendezvous::serve::Serving;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::neighbours::{PATIENCE, add, arrives, event, rendezvous, send, start, status};

/// A port that passes TCP on to the rendezvous, and no UDP. Notified, it breaks all connections.
async fn without_udp(serving: &Serving) -> (RendezvousAddress, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (breaking, to) = (Arc::new(Notify::new()), serving.bound()[0]);
    let breaks = breaking.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let breaks = breaks.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = breaks.notified() => {}
                }
            });
        }
    });
    (RendezvousAddress { port, ..serving.address().clone() }, breaking)
}

struct Person {
    peer: Peer,
    events: Receiver<Arc<Event>>,
    _home: tempfile::TempDir,
}

impl Person {
    async fn new(rendezvous: &RendezvousAddress) -> Self {
        let home = tempfile::tempdir().unwrap();
        let peer = start(home.path(), rendezvous).await;
        Self { events: peer.events(), peer, _home: home }
    }

    async fn status(&self) -> Status {
        status(&self.peer).await
    }

    async fn add(&self, other: &Self, name: &str) {
        add(&self.peer, &other.peer, name).await;
    }

    async fn send(&self, to: &str, text: &str) {
        send(&self.peer, to, text).await;
    }

    async fn registered(&mut self) -> SocketAddr {
        self.event(|kind| match kind {
            EventKind::Registered { observed, .. } => Some(*observed),
            _ => None,
        })
        .await
    }

    async fn hears(&mut self, wanted: &str) {
        arrives(&mut self.events, wanted).await;
    }

    async fn event<T>(&mut self, wanted: impl FnMut(&EventKind) -> Option<T>) -> T {
        event(&mut self.events, wanted).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_registers_says_by_what_and_goes_on_after_the_stream_broke() {
    let serving = rendezvous().await;
    let (address, breaking) = without_udp(&serving).await;
    let (mut alice, mut bob) = (Person::new(&address).await, Person::new(serving.address()).await);
    assert_eq!(alice.registered().await, "127.0.0.1:0".parse().unwrap());
    let status = alice.status().await;
    assert_eq!(
        (status.rendezvous[0].state, status.rendezvous[0].transport),
        (RendezvousState::Registered, Transport::Tcp)
    );
    assert_ne!(bob.registered().await.port(), 0);
    assert_eq!(bob.status().await.rendezvous[0].transport, Transport::Udp);
    alice.add(&bob, "bob").await;
    bob.add(&alice, "alice").await;
    alice.send("bob", "one").await;
    bob.hears("one").await;
    let streams = serving.counters().await.streams_opened;
    breaking.notify_waiters();
    alice.send("bob", "two").await;
    bob.hears("two").await;
    bob.send("alice", "three").await;
    alice.hears("three").await;
    // On one machine the two have a direct path too; the stream is opened again all the same, and the registration kept.
    let again = async {
        while serving.counters().await.moved == 0 || serving.counters().await.streams_opened == streams {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    assert_eq!(serving.counters().await.signed_in, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendezvous_that_lies_in_its_stream_is_left_and_asked_again() {
    let liar = IdentitySecret::new([42; 32]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = RendezvousAddress { key: liar.public_key(), host: "127.0.0.1".to_owned(), port };
    let tls = TlsAcceptor::from(Arc::new(tunnel_server_config(&liar).unwrap()));
    let alice = Person::new(&address).await;
    for lie in [&[0, 0][..], &[255, 255, 1], &[0, 1, 0x41, 0, 1, 200, 5, 221]] {
        let came = async {
            let (connection, _) = listener.accept().await.unwrap();
            let mut stream = tls.accept(connection).await.unwrap();
            stream.write_all(lie).await.unwrap();
            stream.flush().await.unwrap();
            // Left with a goodbye or without, but left.
            let mut bytes = [0; 1024];
            while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        };
        timeout(PATIENCE, came).await.unwrap();
    }
    assert_ne!(alice.status().await.rendezvous[0].state, RendezvousState::Registered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_is_not_spoken_to() {
    let serving = rendezvous().await;
    let (address, _) = without_udp(&serving).await;
    let wrong = RendezvousAddress { key: IdentitySecret::new([43; 32]).public_key(), ..address };
    let alice = Person::new(&wrong).await;
    let failed = async {
        while serving.counters().await.streams_failed == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, failed).await.unwrap();
    assert_eq!(serving.counters().await.streams_opened, 0);
    assert_ne!(alice.status().await.rendezvous[0].state, RendezvousState::Registered);
}
