//! The main socket goes on from fresh ports.

use super::*;
use crate::socket::bases::BASES;

const LOOPBACK: &str = "127.0.0.1";

#[tokio::test]
async fn quic_goes_on_over_renewals_on_either_side_in_both_directions() {
    let (alice, bob) = acquainted(LOOPBACK);
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    for _ in 0..2 {
        let before = alice.at(LOOPBACK);
        transfer(&to_bob, &to_alice, 4 << 20, || {
            alice.socket.renew().unwrap();
            assert_ne!(alice.at(LOOPBACK), before);
            // Bob still answers to the former port.
            bob.listen(ALICE, alice.at(LOOPBACK));
        })
        .await;
        transfer(&to_alice, &to_bob, 4 << 20, || bob.route(ALICE, alice.at(LOOPBACK))).await;
        transfer(&to_alice, &to_bob, 4 << 20, || {
            bob.socket.renew().unwrap();
            alice.listen(BOB, bob.at(LOOPBACK));
            alice.route(BOB, bob.at(LOOPBACK));
        })
        .await;
    }
    assert!(to_bob.close_reason().is_none() && to_alice.close_reason().is_none());
    for person in [&alice, &bob] {
        assert_eq!(person.socket.counters().dropped_no_route.count(), 0);
        assert_eq!(person.socket.counters().send_errors.count(), 0);
    }
}

#[tokio::test]
async fn frames_for_a_relay_leave_from_the_fresh_port_too() {
    let (alice, bob) = acquainted(LOOPBACK);
    let relay = Relay::between(&alice, &bob, usize::MAX);
    relay.take(&alice, &bob);
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    let former = alice.socket.port();
    alice.socket.renew().unwrap();
    let seen = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    seen.set_read_timeout(Some(SOON)).unwrap();
    alice.route(BOB, Route::Relay { rendezvous: seen.local_addr().unwrap(), channel: 7 });
    let mut stream = to_bob.open_uni().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let source = tokio::task::spawn_blocking(move || seen.recv_from(&mut [0; 2048]).unwrap().1).await.unwrap();
    assert_eq!(source.port(), alice.socket.port());
    assert_ne!(source.port(), former);
    drop(to_alice);
}

#[tokio::test]
async fn former_ports_are_heard_as_the_main_one_and_closed_in_time_or_when_there_are_too_many() {
    let (mut alice, _bob) = acquainted(LOOPBACK);
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(SOON)).unwrap();
    let from = stranger.local_addr().unwrap();
    let mut ports = vec![alice.at(LOOPBACK)];
    for n in 1..=2_u8 {
        alice.socket.renew().unwrap();
        ports.push(alice.at(LOOPBACK));
        for to in &ports {
            stranger.send_to(&[1, n], to).unwrap();
            let arrival = timeout(SOON, alice.arrivals.recv()).await.unwrap().unwrap();
            assert_eq!(arrival, Arrival { base: Base::MAIN, from, datagram: vec![1, n] });
        }
        alice.socket.send(Base::MAIN, from, &[2], None);
        assert_eq!(stranger.recv_from(&mut [0]).unwrap().1, alice.at(LOOPBACK));
    }
    alice.socket.renew_heard(Duration::ZERO).unwrap();
    is_free(ports[2]).await;
    assert!(std::net::UdpSocket::bind(ports[1]).is_err(), "its time has not come");
    let last = alice.at(LOOPBACK);
    for _ in 0..2 {
        alice.socket.renew().unwrap();
    }
    is_free(ports[1]).await;
    assert!(std::net::UdpSocket::bind(last).is_err());
    assert!(std::net::UdpSocket::bind(ports[0]).is_err(), "the first is named elsewhere");
}

#[tokio::test]
async fn when_their_time_has_come_the_present_port_alone_is_left_of_the_fresh_ones() {
    let (alice, bob) = acquainted(LOOPBACK);
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    for _ in 0..8 {
        alice.socket.renew_heard(Duration::from_millis(1)).unwrap();
    }
    bob.listen(ALICE, alice.at(LOOPBACK));
    bob.route(ALICE, alice.at(LOOPBACK));
    transfer(&to_bob, &to_alice, 1 << 20, || {}).await;
    timeout(SOON, async {
        // The socket, and its share of the list of news.
        while alice.socket.bases.leftovers() > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    transfer(&to_alice, &to_bob, 1 << 20, || {}).await;
}

#[tokio::test]
async fn a_renewal_finds_room_beside_all_further_sockets_and_takes_none_of_theirs() {
    let (alice, _bob) = acquainted(LOOPBACK);
    let (v4, v6): (std::net::IpAddr, std::net::IpAddr) = ([127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into());
    let bound = alice.socket.port();
    alice.socket.renew().unwrap();
    assert_eq!(alice.socket.open_bases(BASES + 1).len(), BASES, "does `ulimit -n` allow them?");
    alice.socket.renew().unwrap();
    assert_ne!(alice.socket.port(), bound);
    assert_eq!((alice.socket.port_of(v4), alice.socket.port_of(v6)), (alice.socket.port(), bound));
}

async fn is_free(address: SocketAddr) {
    timeout(SOON, async {
        while std::net::UdpSocket::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}
