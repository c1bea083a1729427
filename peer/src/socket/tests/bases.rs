//! QUIC over further sockets, and their opening and closing.

use super::*;
use crate::socket::bases::BASES;

/// A source or route from a further socket.
fn by(base: Base, remote: SocketAddr) -> Route {
    Route::Direct { base, remote }
}

/// The address of a further socket on loopback.
fn base_at(person: &Person, base: Base) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], person.socket.bases.number(base)))
}

/// Alice and Bob go by further sockets: by one of Alice's and Bob's main one, then by one of each.
fn by_bases(alice: &Person, bob: &Person) -> [Base; 2] {
    let (base, other) = (alice.socket.open_bases(1)[0], bob.socket.open_bases(1)[0]);
    let (at_alice, at_bob) = (base_at(alice, base), base_at(bob, other));
    for (own, remote) in [(Base::MAIN, at_alice), (other, at_alice)] {
        bob.listen(ALICE, by(own, remote));
    }
    for remote in [bob.at("127.0.0.1"), at_bob] {
        alice.listen(BOB, by(base, remote));
    }
    [base, other]
}

#[tokio::test]
async fn quic_runs_over_further_sockets_in_both_directions_and_back_over_the_main_ones() {
    let (alice, bob) = acquainted("127.0.0.1");
    let [base, other] = by_bases(&alice, &bob);
    let (at_alice, at_bob) = (base_at(&alice, base), base_at(&bob, other));
    let (main_alice, main_bob) = (alice.at("127.0.0.1"), bob.at("127.0.0.1"));
    alice.route(BOB, by(base, main_bob));
    bob.route(ALICE, at_alice);
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    transfer(&to_bob, &to_alice, 4 << 20, || {
        alice.route(BOB, by(base, at_bob));
        bob.route(ALICE, by(other, at_alice));
    })
    .await;
    transfer(&to_alice, &to_bob, 4 << 20, || {
        alice.route(BOB, main_bob);
        bob.route(ALICE, main_alice);
    })
    .await;
    transfer(&to_bob, &to_alice, 1 << 20, || {}).await;
    assert!(to_bob.close_reason().is_none() && to_alice.close_reason().is_none());
    for person in [&alice, &bob] {
        let counters = person.socket.counters();
        assert_eq!(counters.dropped_unknown_source.count() + counters.dropped_no_route.count(), 0);
        assert_eq!(counters.send_errors.count(), 0);
        assert_eq!(person.socket.bases.carrying().len(), 1);
    }
}

#[tokio::test]
async fn a_source_is_admitted_at_the_socket_where_it_was_checked_and_at_no_other() {
    let (alice, bob) = acquainted("127.0.0.1");
    let base = bob.socket.open_bases(1)[0];
    alice.socket.send(Base::MAIN, base_at(&bob, base), &[0x40; 50], None);
    timeout(SOON, async {
        while bob.socket.counters().dropped_unknown_source.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(bob.socket.routes().owner(alice.at("127.0.0.1")), Some(ALICE));
    assert_eq!(bob.socket.routes().owner(by(base, alice.at("127.0.0.1"))), None);
    assert!(bob.socket.bases.carrying().is_empty(), "a stranger's QUIC gets no room");
}

#[tokio::test]
async fn a_further_socket_that_is_closed_leaves_nothing_behind() {
    let (alice, bob) = acquainted("127.0.0.1");
    let [base, other] = by_bases(&alice, &bob);
    let (at_alice, at_bob) = (base_at(&alice, base), base_at(&bob, other));
    alice.route(BOB, by(base, at_bob));
    bob.route(ALICE, by(other, at_alice));
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    transfer(&to_bob, &to_alice, 1 << 20, || {}).await;
    for (person, base, contact, remote) in [(&alice, base, BOB, at_bob), (&bob, other, ALICE, at_alice)] {
        person.socket.close_base(base);
        person.socket.close_base(base);
        assert_eq!(person.socket.routes().route(contact), None);
        assert_eq!(person.socket.routes().owner(by(base, remote)), None);
        person.socket.send(base, remote, &[1], None);
        assert!(person.socket.counters().dropped_no_route.count() > 0);
    }
    // Another may have the port as soon as whoever was just then sending is done.
    timeout(SOON, async {
        while alice.socket.bases.leftovers() > 0 || std::net::UdpSocket::bind(at_alice).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    alice.route(BOB, bob.at("127.0.0.1"));
    bob.route(ALICE, alice.at("127.0.0.1"));
    transfer(&to_bob, &to_alice, 1 << 20, || {}).await;
}

#[tokio::test]
async fn two_hundred_and_fifty_six_sockets_are_heard_each_and_closed_while_the_main_one_works_on() {
    let (mut alice, bob) = acquainted("127.0.0.1");
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    let bases = alice.socket.open_bases(BASES + 44);
    assert_eq!(bases.len(), BASES, "does `ulimit -n` allow them?");
    assert!(alice.socket.open_bases(1).is_empty(), "no more than that");
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = stranger.local_addr().unwrap();
    let listen = async {
        for round in 0..2_u8 {
            for base in &bases {
                stranger.send_to(&[1, round], base_at(&alice, *base)).unwrap();
            }
            let mut heard = std::collections::BTreeSet::new();
            while heard.len() < BASES {
                let Arrival { base, from: sender, datagram } = alice.arrivals.recv().await.unwrap();
                assert_eq!((sender, datagram), (from, vec![1, round]));
                assert!(heard.insert(base), "each is heard once");
            }
            assert!(heard.iter().eq(&bases));
        }
        // And each speaks.
        for base in &bases {
            alice.socket.send(*base, from, &[2], None);
        }
    };
    timeout(SOON, async { tokio::join!(listen, transfer(&to_bob, &to_alice, 8 << 20, || {})) }).await.unwrap();
    let mut byte = [0];
    stranger.set_read_timeout(Some(SOON)).unwrap();
    let ports: std::collections::BTreeSet<_> =
        bases.iter().map(|_| stranger.recv_from(&mut byte).unwrap().1.port()).collect();
    assert!(bases.iter().all(|base| ports.contains(&alice.socket.bases.number(*base))));
    bases.iter().for_each(|base| alice.socket.close_base(*base));
    assert!(!alice.socket.bases.any());
    transfer(&to_bob, &to_alice, 1 << 20, || {}).await;
    assert_eq!(alice.socket.bases.leftovers(), 0);
    assert!(!bases.contains(&alice.socket.open_bases(1)[0]), "what is still said of a closed one means no other");
}
