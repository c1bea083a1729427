//! Contacts on loopback, each with a socket and links over it.

use std::net::SocketAddr;
use std::time::Instant;

use quinn::ConnectionError;

use super::*;

const ALICE: VirtualAddress = VirtualAddress::new(1);
const BOB: VirtualAddress = VirtualAddress::new(2);
const SOON: Duration = Duration::from_secs(20);
const RTT: Duration = Duration::from_millis(5);
/// Short enough to wait for, long enough for a busy machine.
const BRISK: Heartbeat = Heartbeat { keep_alive: Duration::from_millis(300), idle_timeout: Duration::from_secs(3) };

struct Person {
    socket: Arc<Socket>,
    links: Links,
    events: mpsc::Receiver<LinkEvent>,
    key: PeerId,
}

impl Person {
    fn new(seed: u8, heartbeat: Heartbeat) -> Self {
        let secret = IdentitySecret::new([seed; 32]);
        let (socket, _arrivals) = Socket::bind(0).unwrap();
        let (links, events) = Links::new(socket.clone(), &secret, heartbeat).unwrap();
        Self { socket, links, events, key: secret.public_key() }
    }

    fn at(&self, host: &str) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap(), self.socket.port())
    }

    /// Knows the other one's key and is reached by it at either loopback.
    fn meet(&self, other: &Self, virtual_address: VirtualAddress) {
        self.links.expect(virtual_address, other.key);
        for host in ["::1", "127.0.0.1"] {
            self.socket.routes().admit(other.at(host), virtual_address);
            self.socket.routes().set_route(virtual_address, Some(other.at(host).into()));
        }
    }

    async fn next(&mut self) -> LinkEvent {
        timeout(SOON, self.events.recv()).await.unwrap().unwrap()
    }

    async fn up(&mut self) -> LinkId {
        match self.next().await {
            LinkEvent::Up { link, .. } => link,
            event => panic!("{event:?}"),
        }
    }

    async fn body(&mut self) -> Vec<u8> {
        match self.next().await {
            LinkEvent::Body { body, .. } => body,
            event => panic!("{event:?}"),
        }
    }

    async fn down(&mut self) -> Down {
        match self.next().await {
            LinkEvent::Down { why, .. } => why,
            event => panic!("{event:?}"),
        }
    }
}

fn acquainted(heartbeat: Heartbeat) -> (Person, Person) {
    let (alice, bob) = (Person::new(1, heartbeat), Person::new(2, heartbeat));
    alice.meet(&bob, BOB);
    bob.meet(&alice, ALICE);
    (alice, bob)
}

async fn linked(alice: &mut Person, bob: &mut Person) -> (LinkId, LinkId) {
    let dialled = alice.links.dial(BOB, bob.key, RTT);
    let accepted = bob.up().await;
    assert_eq!(alice.up().await, dialled);
    (dialled, accepted)
}

#[tokio::test]
async fn both_sides_learn_of_the_link_and_bodies_of_every_length_go_both_ways_in_order() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let link = alice.links.dial(BOB, bob.key, RTT);
    // Nobody waits for the handshake to speak.
    alice.links.send(link, b"first".to_vec()).unwrap();
    let peer = alice.key;
    let LinkEvent::Up { link: accepted, virtual_address: ALICE, peer: proved, dialled: false, early: false } =
        bob.next().await
    else {
        panic!("no link")
    };
    assert_eq!(proved, peer);
    assert_eq!(bob.body().await, b"first");
    let up = LinkEvent::Up { link, virtual_address: BOB, peer: bob.key, dialled: true, early: false };
    assert_eq!(alice.next().await, up);
    for length in [1, 1000, BODY] {
        alice.links.send(link, vec![]).unwrap();
        alice.links.send(link, vec![1; length]).unwrap();
        bob.links.send(accepted, vec![2; length]).unwrap();
        assert_eq!(bob.body().await, vec![1; length]);
        assert_eq!(alice.body().await, vec![2; length]);
    }
    assert_eq!(alice.links.send(link, vec![0; BODY + 1]), Err(SendError::TooLong));
    let ours = alice.links.exported_secret(link, b"EXPORTER-knothole-test").unwrap();
    assert_eq!(bob.links.exported_secret(accepted, b"EXPORTER-knothole-test"), Some(ours));
    assert_ne!(bob.links.exported_secret(accepted, b"EXPORTER-knothole-other"), Some(ours));
}

#[tokio::test]
async fn a_sender_that_is_faster_than_the_reader_is_told_and_loses_nothing() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let (link, _) = linked(&mut alice, &mut bob).await;
    let body = |n: u32| n.to_be_bytes().repeat(8 << 10);
    let (mut sent, mut read) = (0, 0);
    // Bob reads nothing: his queue, QUIC's windows and Alice's queue fill up.
    let mut full = timeout(SOON, async {
        loop {
            match alice.links.send(link, body(sent)) {
                Ok(()) => sent += 1,
                Err(SendError::Full(back)) => break back,
                Err(why) => panic!("{why}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    for _ in 0..3 {
        assert_eq!(full, body(sent), "the body comes back whole");
        // Bob reads until Alice hears that there is room.
        while read < sent && alice.events.is_empty() {
            assert_eq!(bob.body().await, body(read));
            read += 1;
            tokio::task::yield_now().await;
        }
        assert_eq!(alice.next().await, LinkEvent::Drained { link });
        full = loop {
            match alice.links.send(link, body(sent)) {
                Ok(()) => sent += 1,
                Err(SendError::Full(back)) => break back,
                Err(why) => panic!("{why}"),
            }
        };
    }
    while read < sent {
        assert_eq!(bob.body().await, body(read));
        read += 1;
    }
}

#[tokio::test]
async fn one_who_vanishes_is_missed_after_the_idle_time() {
    let (mut alice, mut bob) = acquainted(BRISK);
    linked(&mut alice, &mut bob).await;
    bob.socket.routes().set_route(ALICE, None);
    drop(bob);
    let begin = Instant::now();
    assert_eq!(alice.down().await, Down::TimedOut);
    assert!(begin.elapsed() >= BRISK.idle_timeout / 2);
}

#[tokio::test]
async fn an_idle_link_is_kept_alive() {
    let (mut alice, mut bob) = acquainted(BRISK);
    let (link, _) = linked(&mut alice, &mut bob).await;
    assert!(timeout(BRISK.idle_timeout * 2, alice.events.recv()).await.is_err(), "nothing happens");
    alice.links.send(link, b"still there".to_vec()).unwrap();
    assert_eq!(bob.body().await, b"still there");
}

#[tokio::test]
async fn one_who_was_restarted_resets_the_links_of_the_former_life() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let (link, _) = linked(&mut alice, &mut bob).await;
    bob.socket.routes().set_route(ALICE, None);
    drop(bob);
    let reborn = Person::new(2, Heartbeat::default());
    alice.meet(&reborn, BOB);
    reborn.meet(&alice, ALICE);
    alice.links.send(link, vec![0; 100]).unwrap();
    assert_eq!(alice.down().await, Down::Reset);
    assert_eq!(alice.links.send(link, vec![1]), Err(SendError::Gone));
}

#[tokio::test]
async fn a_shutdown_delivers_what_was_queued_and_says_goodbye() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let (link, _) = linked(&mut alice, &mut bob).await;
    (0..4).for_each(|n| alice.links.send(link, vec![n; 100_000]).unwrap());
    let begin = Instant::now();
    timeout(SOON, alice.links.shutdown()).await.unwrap();
    println!("shut down in {:?}", begin.elapsed());
    for n in 0..4 {
        assert_eq!(bob.body().await, vec![n; 100_000]);
    }
    assert_eq!(bob.down().await, Down::Goodbye);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_one_who_has_vanished() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let (link, _) = linked(&mut alice, &mut bob).await;
    alice.socket.routes().set_route(BOB, None);
    alice.links.send(link, vec![1; 100]).unwrap();
    let begin = Instant::now();
    alice.links.shutdown().await;
    // And not the 30 s after which such a link would end by itself.
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn closing_one_link_delivers_what_was_queued_and_leaves_the_other() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let (first, _) = linked(&mut alice, &mut bob).await;
    let (second, _) = linked(&mut alice, &mut bob).await;
    alice.links.send(first, b"last".to_vec()).unwrap();
    alice.links.close(first);
    assert_eq!(alice.links.send(first, vec![]), Err(SendError::Gone));
    assert_eq!(bob.body().await, b"last");
    assert_eq!(bob.down().await, Down::Goodbye);
    assert_eq!(alice.next().await, LinkEvent::Down { link: first, virtual_address: BOB, why: Down::Goodbye });
    alice.links.send(second, b"on".to_vec()).unwrap();
    assert_eq!(bob.body().await, b"on");
}

#[tokio::test]
async fn bodies_go_on_while_both_routes_change() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let (link, accepted) = linked(&mut alice, &mut bob).await;
    for n in 0..40 {
        let host = if n % 2 == 0 { "::1" } else { "127.0.0.1" };
        alice.links.send(link, vec![n; 50_000]).unwrap();
        alice.socket.routes().set_route(BOB, Some(bob.at(host).into()));
        bob.links.send(accepted, vec![n; 50_000]).unwrap();
        bob.socket.routes().set_route(ALICE, Some(alice.at(host).into()));
        assert_eq!(bob.body().await, vec![n; 50_000]);
        assert_eq!(alice.body().await, vec![n; 50_000]);
    }
}

#[tokio::test]
async fn another_key_than_the_one_dialled_is_refused() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let carol = IdentitySecret::new([3; 32]).public_key();
    let link = alice.links.dial(BOB, carol, RTT);
    assert_eq!(alice.next().await, LinkEvent::Down { link, virtual_address: BOB, why: Down::Refused });
    // The next to be heard of is a link that came about.
    linked(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn another_key_than_the_one_expected_at_an_address_is_refused() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    bob.links.expect(ALICE, IdentitySecret::new([3; 32]).public_key());
    let link = alice.links.dial(BOB, bob.key, RTT);
    assert_eq!(alice.next().await, LinkEvent::Down { link, virtual_address: BOB, why: Down::Refused });
    bob.links.expect(ALICE, alice.key);
    linked(&mut alice, &mut bob).await;
}

/// A link that came and went, and left Alice with tickets.
async fn parted(alice: &mut Person, bob: &mut Person) {
    let (link, accepted) = linked(alice, bob).await;
    // Tickets are sent before anything else.
    bob.links.send(accepted, b"ping".to_vec()).unwrap();
    assert_eq!(alice.body().await, b"ping");
    alice.links.close(link);
    assert_eq!((alice.down().await, bob.down().await), (Down::Goodbye, Down::Goodbye));
}

#[tokio::test]
async fn in_a_resumed_session_the_first_bodies_are_there_before_anything_was_answered() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    parted(&mut alice, &mut bob).await;
    bob.socket.routes().set_route(ALICE, None);
    let link = alice.links.dial(BOB, bob.key, RTT);
    alice.links.send(link, b"at once".to_vec()).unwrap();
    let LinkEvent::Up { peer, link: accepted, early: true, .. } = bob.next().await else { panic!("not up") };
    assert_eq!((peer, bob.body().await), (alice.key, b"at once".to_vec()));
    assert!(alice.events.is_empty(), "nothing has come back");
    bob.meet(&alice, ALICE);
    bob.links.send(accepted, b"and back".to_vec()).unwrap();
    assert_eq!(alice.up().await, link);
    assert_eq!(alice.body().await, b"and back");
    let ours = alice.links.exported_secret(link, b"EXPORTER-knothole-test").unwrap();
    assert_eq!(bob.links.exported_secret(accepted, b"EXPORTER-knothole-test"), Some(ours));
}

#[tokio::test]
async fn what_was_said_early_to_one_who_has_forgotten_the_session_is_said_again_once_and_in_order() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    parted(&mut alice, &mut bob).await;
    drop(bob);
    let mut reborn = Person::new(2, Heartbeat::default());
    alice.meet(&reborn, BOB);
    reborn.meet(&alice, ALICE);
    let link = alice.links.dial(BOB, reborn.key, RTT);
    for n in 0..10 {
        alice.links.send(link, vec![n; 1000]).unwrap();
    }
    reborn.up().await;
    for n in 0..10 {
        assert_eq!(reborn.body().await, vec![n; 1000]);
    }
    assert_eq!(alice.up().await, link);
    alice.links.send(link, b"on".to_vec()).unwrap();
    assert_eq!(reborn.body().await, b"on");
}

#[tokio::test]
async fn a_session_that_was_refused_before_anything_was_said_early_stops_nothing() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    parted(&mut alice, &mut bob).await;
    drop(bob);
    let mut reborn = Person::new(2, Heartbeat::default());
    alice.meet(&reborn, BOB);
    reborn.meet(&alice, ALICE);
    let connecting = alice.links.connect(BOB, reborn.key, PEER_ALPN, Some(RTT)).unwrap();
    let (connection, accepted) = connecting.into_0rtt().map_err(drop).unwrap();
    // On a busy machine the handshake may be over before the link's task has had a turn.
    let handshake = async {
        while exported(&connection, b"EXPORTER-knothole-test").is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, handshake).await.unwrap();
    let link = alice.links.follow(BOB, reborn.key, async { Ok((connection, Some(accepted))) });
    alice.links.send(link, b"late".to_vec()).unwrap();
    let accepted = reborn.up().await;
    assert_eq!(alice.up().await, link);
    assert_eq!(reborn.body().await, b"late");
    reborn.links.send(accepted, b"and back".to_vec()).unwrap();
    assert_eq!(alice.body().await, b"and back");
}

#[tokio::test]
async fn a_resumed_session_is_that_of_the_key_it_was_made_with_and_lets_in_no_other() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let carol = IdentitySecret::new([3; 32]).public_key();
    parted(&mut alice, &mut bob).await;
    bob.links.expect(ALICE, carol);
    let link = alice.links.dial(BOB, bob.key, RTT);
    alice.links.send(link, b"let me in".to_vec()).unwrap();
    assert_eq!(alice.next().await, LinkEvent::Down { link, virtual_address: BOB, why: Down::Refused });
    bob.links.expect(ALICE, alice.key);
    // Nor is it offered to another key.
    let link = alice.links.dial(BOB, carol, RTT);
    assert_eq!(alice.next().await, LinkEvent::Down { link, virtual_address: BOB, why: Down::Refused });
    linked(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn one_who_does_not_greet_is_not_waited_for_however_alive_it_is() {
    let (mut alice, bob) = acquainted(BRISK);
    bob.links.accepting.abort();
    // Where what accepted ran is free for another when it is gone.
    tokio::task::yield_now().await;
    let link = alice.links.dial(BOB, bob.key, RTT);
    let silent = bob.links.endpoint.accept().await.unwrap().await.unwrap();
    let Down::Failed(why) = alice.down().await else { panic!("it ended otherwise") };
    assert_eq!(why, "it does not greet");
    assert!(matches!(silent.closed().await, ConnectionError::ApplicationClosed(_)), "it was alive until then");
    assert_eq!(alice.links.send(link, b"gone".to_vec()), Err(SendError::Gone));
}

#[tokio::test]
async fn an_attempt_that_is_aborted_ends_at_once() {
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    alice.socket.routes().set_route(BOB, None);
    let link = alice.links.dial(BOB, bob.key, RTT);
    alice.links.send(link, b"nobody there".to_vec()).unwrap();
    alice.links.abort(link, Abort::Goodbye);
    assert_eq!(alice.next().await, LinkEvent::Down { link, virtual_address: BOB, why: Down::Goodbye });
    alice.meet(&bob, BOB);
    linked(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn where_nobody_is_expected_nothing_is_answered() {
    let (mut alice, bob) = acquainted(BRISK);
    bob.links.expect_nobody(ALICE);
    let _ = alice.links.dial(BOB, bob.key, RTT);
    assert_eq!(alice.down().await, Down::TimedOut);
}

#[tokio::test]
async fn one_who_breaks_the_rules_of_the_stream_is_cut_off() {
    let wrong_lengths: [&[u32]; 3] = [&[5], &[0, 192 * 1024 + 1], &[0, u32::MAX]];
    for lengths in wrong_lengths {
        let (alice, mut bob) = acquainted(Heartbeat::default());
        let connecting = alice.links.connect(BOB, bob.key, PEER_ALPN, None).unwrap();
        let connection = timeout(SOON, connecting).await.unwrap().unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        for length in lengths {
            send.write_all(&length.to_be_bytes()).await.unwrap();
        }
        send.write_all(&[7; 5]).await.unwrap();
        if lengths[0] == 0 {
            bob.up().await;
        }
        assert!(matches!(bob.down().await, Down::Failed(_)));
        let ConnectionError::ApplicationClosed(close) = timeout(SOON, connection.closed()).await.unwrap() else {
            panic!("not closed by Bob")
        };
        assert_eq!(close.error_code, 2_u32.into());
    }
}

/// Not a test of speed: prints the figure for whoever runs it with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_of_bodies_go_through_and_the_rate_is_printed() {
    const BODIES: usize = 512;
    let (mut alice, mut bob) = acquainted(Heartbeat::default());
    let (link, _) = linked(&mut alice, &mut bob).await;
    let begin = Instant::now();
    let send = async {
        for _ in 0..BODIES {
            let mut body = vec![3; 128 << 10];
            while let Err(why) = alice.links.send(link, body) {
                let SendError::Full(back) = why else { panic!("{why}") };
                body = back;
                assert_eq!(alice.next().await, LinkEvent::Drained { link });
            }
        }
    };
    let read = async {
        for _ in 0..BODIES {
            assert_eq!(bob.body().await.len(), 128 << 10);
        }
    };
    tokio::join!(send, read);
    println!("64 MiB of bodies: {:.0} MiB/s", 64.0 / begin.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_dead_path_is_announced_and_the_link_goes_on_soon_after_the_switch() {
    for bulk in [false, true] {
        let (mut alice, mut bob) = acquainted(Heartbeat::default());
        let (link, _) = linked(&mut alice, &mut bob).await;
        let lost = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        alice.socket.routes().set_route(BOB, Some(lost.local_addr().unwrap().into()));
        let begin = Instant::now();
        let bodies = if bulk { 20 } else { 1 };
        // More than any window: the rest waits in the queue.
        let sent =
            (0..bodies).take_while(|&n| alice.links.send(link, vec![n; if bulk { BODY } else { 10 }]).is_ok()).count();
        assert_eq!(timeout(SOON, alice.socket.routes().next_silent()).await.unwrap(), BOB);
        let announced = begin.elapsed();
        alice.socket.routes().set_route(BOB, Some(bob.at("::1").into()));
        alice.links.nudge(BOB);
        assert_eq!(bob.body().await[0], 0);
        println!("bulk {bulk}: announced after {announced:?}, delivered {:?} later", begin.elapsed() - announced);
        for n in 1..sent {
            assert_eq!(usize::from(bob.body().await[0]), n);
        }
    }
}
