use std::{net::SocketAddr, time::Duration};

use super::*;
use crate::{link::Link, nat::NatKind};

fn endpoint(world: &World, host: HostId, port: u16) -> SocketAddr {
    SocketAddr::new(world.address(host), port)
}

/// Sends one datagram and returns what arrives anywhere, with the time that it took.
fn exchange(world: &mut World, now: Instant, from: HostId, packet: Packet) -> Vec<(HostId, Duration, Packet)> {
    world.send(now, from, packet);
    let mut seen = Vec::new();
    while let Some(at) = world.poll_timeout() {
        while let Some((host, packet)) = world.poll_delivery(at) {
            seen.push((host, at - now, packet));
        }
    }
    seen
}

#[test]
fn a_datagram_and_its_answer_take_each_sites_delay_both_ways() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let (client, server) = (world.host_behind(NatKind::RandomSymmetric), world.public_host());
    let (src, dst) = (endpoint(&world, client, 4000), endpoint(&world, server, 3478));
    let (to, took, question) = exchange(&mut world, now, client, Packet::udp(src, dst, "?")).remove(0);
    assert_eq!((to, took, question.ttl), (server, Duration::from_millis(40), 62));
    let (to, took, answer) = exchange(&mut world, now, server, Packet::udp(dst, question.src, "!")).remove(0);
    assert_eq!((to, took, answer.dst), (client, Duration::from_millis(40), src));
    assert_eq!(
        world.traffic(client),
        Traffic { sent_packets: 1, sent_bytes: 29, received_packets: 1, received_bytes: 29 }
    );
}

#[test]
fn hosts_on_one_lan_reach_each_other_without_a_hop_or_a_mapping() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let hosts = world.hosts_on_one_lan(2, NatKind::RandomSymmetric);
    let (src, dst) = (endpoint(&world, hosts[0], 4000), endpoint(&world, hosts[1], 4000));
    let (to, took, packet) = exchange(&mut world, now, hosts[0], Packet::udp(src, dst, "").with_ttl(1)).remove(0);
    assert_eq!((to, took, packet.src, packet.ttl), (hosts[1], Duration::ZERO, src, 1));
    assert_eq!(world.nat(world.routers_before(hosts[0])[0]).unwrap().counts().created, 0);
}

#[test]
fn a_ttl_of_2_makes_a_mapping_at_the_own_router_and_dies_in_the_core() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let (client, server) = (world.host_behind(NatKind::EimApdf), world.public_host());
    let (src, dst) = (endpoint(&world, client, 4000), endpoint(&world, server, 3478));
    let (to, took, notice) = exchange(&mut world, now, client, Packet::udp(src, dst, "").with_ttl(2)).remove(0);
    assert_eq!((to, took, notice.src.ip()), (client, Duration::from_millis(40), topology::CORE_ADDRESS));
    assert_eq!((notice.dst, notice.expired_toward), (src, Some(dst)));
    assert_eq!(world.dropped(Place::Core, DropReason::Expired), 1);
    assert_eq!(world.nat(RouterId(0)).unwrap().counts().created, 1);
}

#[test]
fn a_ttl_of_1_dies_at_the_own_router_before_it_makes_a_mapping() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let (client, server) = (world.host_behind(NatKind::EimApdf), world.public_host());
    let (src, dst) = (endpoint(&world, client, 4000), endpoint(&world, server, 3478));
    let (to, took, notice) = exchange(&mut world, now, client, Packet::udp(src, dst, "").with_ttl(1)).remove(0);
    assert_eq!((to, took, notice.src.to_string()), (client, Duration::ZERO, "192.168.0.1:0".into()));
    assert_eq!(world.nat(RouterId(0)).unwrap().counts().created, 0);
}

#[test]
fn a_ttl_of_3_claims_a_port_at_the_other_router_and_does_not_pass_it() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let (a, b) = (world.host_behind(NatKind::EimApdf), world.host_behind(NatKind::LinuxAccept));
    let src = endpoint(&world, a, 4000);
    let far = SocketAddr::new(world.nat(RouterId(1)).unwrap().external()[0], 5000);
    assert!(exchange(&mut world, now, a, Packet::udp(src, far, "").with_ttl(3)).is_empty());
    assert_eq!(world.nat(RouterId(1)).unwrap().counts().claimed, 1);
    // Once b's router knows whom it is for, the packet is forwarded, and needs a TTL for that.
    let near = SocketAddr::new(world.nat(RouterId(0)).unwrap().external()[0], 4001);
    let (src_b, src_a) = (endpoint(&world, b, 5000), endpoint(&world, a, 4001));
    exchange(&mut world, now, b, Packet::udp(src_b, near, "").with_ttl(2));
    let seen = exchange(&mut world, now, a, Packet::udp(src_a, far, "").with_ttl(3));
    assert_eq!((seen[0].0, seen[0].2.src.ip()), (a, far.ip()), "a notice from b's router");
    assert_eq!(exchange(&mut world, now, a, Packet::udp(src_a, far, "").with_ttl(4))[0].0, b);
}

#[test]
fn a_double_nat_needs_one_hop_more_and_the_notice_finds_its_way_back() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let client = world.double_nat(NatKind::EimApdf, NatKind::RandomSymmetric);
    let server = world.public_host();
    let (src, dst) = (endpoint(&world, client, 4000), endpoint(&world, server, 3478));
    let hops: Vec<String> = (1..=3)
        .map(|ttl| {
            exchange(&mut world, now, client, Packet::udp(src, dst, "").with_ttl(ttl)).remove(0).2.src.ip().to_string()
        })
        .collect();
    assert_eq!(hops, ["192.168.0.1", "100.64.0.1", "192.0.2.1"]);
    assert_eq!(exchange(&mut world, now, client, Packet::udp(src, dst, "").with_ttl(4))[0].0, server);
}

#[test]
fn the_world_can_be_changed_while_it_runs() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let (client, server) = (world.host_behind(NatKind::EimApdf), world.public_host());
    let dst = endpoint(&world, server, 3478);
    let ask = |world: &mut World, client| {
        let src = endpoint(world, client, 4000);
        exchange(world, now, client, Packet::udp(src, dst, "")).pop().map(|(_, _, packet)| packet.src)
    };
    let first = ask(&mut world, client).unwrap();
    world.rebind_ports(RouterId(0));
    let second = ask(&mut world, client).unwrap();
    assert!(second.ip() == first.ip() && second.port() != first.port());
    let external = world.rebind_address(RouterId(0));
    assert_eq!(ask(&mut world, client).unwrap().ip(), external);
    world.change_address(client);
    assert!(ask(&mut world, client).is_some());
    world.set_loss(client, 1.0);
    assert_eq!(ask(&mut world, client), None);
    world.set_loss(client, 0.0);
    world.set_udp_blocked(client, true);
    assert_eq!(ask(&mut world, client), None);
    world.set_udp_blocked(client, false);
    world.set_cut(client, true);
    assert_eq!(ask(&mut world, client), None);
    world.set_cut(client, false);
    assert!(ask(&mut world, client).is_some());
}

#[test]
fn tcp_passes_where_udp_is_blocked() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let (client, server) = (world.host_behind(NatKind::LinuxDrop), world.public_host());
    world.set_udp_blocked(client, true);
    let datagram = Packet::udp(endpoint(&world, client, 4000), endpoint(&world, server, 443), vec![0; 20]);
    assert!(exchange(&mut world, now, client, datagram.clone()).is_empty());
    assert_eq!(exchange(&mut world, now, client, Packet { transport: Transport::Tcp, ..datagram }).len(), 1);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (now, mut world) = (Instant::now(), World::new(seed));
        let (client, server) = (world.host_behind(NatKind::RandomSymmetric), world.public_host());
        let link =
            Link { loss: 0.2, jitter: Duration::from_millis(9), reordering: 0.1, duplication: 0.1, ..Link::SITE };
        world.set_link(client, link);
        let (src, dst) = (endpoint(&world, client, 4000), endpoint(&world, server, 3478));
        (0..200)
            .flat_map(|_| exchange(&mut world, now, client, Packet::udp(src, dst, "")))
            .map(|(_, took, packet)| (took, packet))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn sights_tell_where_a_packet_went_and_the_oldest_give_way() {
    let (now, mut world) = (Instant::now(), World::new(1));
    let (client, server) = (world.host_behind(NatKind::EimApdf), world.public_host());
    let (src, dst) = (endpoint(&world, client, 4000), endpoint(&world, server, 3478));
    world.watch(2);
    for _ in 0..3 {
        exchange(&mut world, now, client, Packet::udp(src, dst, ""));
    }
    let moments: Vec<_> = world.take_sights().iter().map(|sight| (sight.place, sight.moment)).collect();
    assert_eq!(moments, [(Place::Host(client), Moment::Sent), (Place::Host(server), Moment::Received)]);
}
