//! The oracle of direct paths, held against punches that are really played in the world: for every pair of NATs the
//! two must agree. The punch here is the plainest there is; it knows nothing of Knothole's protocol.

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use knothole_lab::{
    nat::{Behaviour, Filtering, Mapping, Nat, NatKind, PortAssignment},
    packet::{DEFAULT_TTL, Packet},
    world::{HostId, World},
};

/// One host's side of the punch.
struct Side {
    host: HostId,
    port: u16,
    reflexive: Option<SocketAddr>,
    /// Where to send: the peer's candidates, and whoever was heard.
    targets: BTreeSet<SocketAddr>,
    /// Who was heard, to be told so.
    heard: BTreeSet<SocketAddr>,
    connected: bool,
}

impl Side {
    fn source(&self) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], self.port))
    }
}

/// What a host's packets are sent with in each round, if it knows how to open: they die one router out while the other
/// has not begun, which is before a neighbour's router even in the house of one carrier; then in the core; then no more.
fn opening_ttl(world: &World, host: HostId, round: usize) -> u8 {
    match round {
        0 | 1 => 2,
        2 => u8::try_from(world.routers_before(host).len() + 1).unwrap(),
        _ => DEFAULT_TTL,
    }
}

/// Whether two hosts come to hear each other, knowing host and reflexive candidates only. The first one begins
/// earlier, as whoever invites does, so that its packets arrive before the other has sent any.
fn punch(world: &mut World, a: HostId, b: HostId, low_ttl: bool) -> bool {
    let server = world.public_host();
    let server_at = SocketAddr::new(world.address(server), 3478);
    let mut now = Instant::now();
    // Two ports, so that neither takes the other's where they share a router.
    let mut sides = [(a, 4000), (b, 4001)].map(|(host, port)| {
        let (targets, heard) = (BTreeSet::new(), BTreeSet::new());
        Side { host, port, reflexive: None, targets, heard, connected: false }
    });
    for side in &sides {
        world.send(now, side.host, Packet::udp(side.source(), server_at, ""));
    }
    settle(world, &mut now, |world, now, host, packet| {
        if host == server {
            world.send(now, server, Packet::udp(server_at, packet.src, packet.src.to_string()));
        } else if let Some(side) = sides.iter_mut().find(|side| side.host == host) {
            side.reflexive = String::from_utf8(packet.payload).unwrap().parse().ok();
        }
    });
    let candidates = sides.each_ref().map(|side| {
        let own = SocketAddr::new(world.address(side.host), side.port);
        side.reflexive.into_iter().chain([own]).collect::<BTreeSet<_>>()
    });
    let [of_a, of_b] = candidates;
    sides[0].targets = of_b;
    sides[1].targets = of_a;
    for round in 0..7 {
        for side in sides.iter().take(round + 1) {
            for &target in &side.targets {
                let told = if side.heard.contains(&target) { "heard" } else { "" };
                let packet = Packet::udp(side.source(), target, told);
                let ttl = if low_ttl { opening_ttl(world, side.host, round) } else { DEFAULT_TTL };
                world.send(now, side.host, packet.with_ttl(ttl));
            }
        }
        settle(world, &mut now, |_, _, host, packet| {
            if let Some(side) = sides.iter_mut().find(|side| side.host == host && packet.expired_toward.is_none()) {
                side.targets.insert(packet.src);
                side.heard.insert(packet.src);
                side.connected |= packet.payload == b"heard";
            }
        });
    }
    sides.iter().all(|side| side.connected)
}

/// Runs until nothing is under way, and some time on.
fn settle(world: &mut World, now: &mut Instant, mut handle: impl FnMut(&mut World, Instant, HostId, Packet)) {
    while let Some(at) = world.poll_timeout() {
        *now = at;
        while let Some((host, packet)) = world.poll_delivery(at) {
            handle(world, at, host, packet);
        }
    }
    *now += Duration::from_millis(100);
}

fn behaviour(kind: NatKind) -> Behaviour {
    kind.behaviour().unwrap()
}

/// Every mapping with every filtering, with ports kept or random, and the kinds that have names.
fn every_behaviour() -> Vec<Behaviour> {
    let mut all = Vec::new();
    for mapping in [Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent] {
        for filtering in
            [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]
        {
            for ports in [PortAssignment::Preserving, PortAssignment::Random] {
                let base = behaviour(NatKind::RandomSymmetric);
                all.push(Behaviour { mapping, filtering, ports, hairpin: true, ..base });
            }
        }
    }
    all.extend(NatKind::ALL.into_iter().filter_map(NatKind::behaviour));
    all
}

fn assert_agreement(mut world: World, a: HostId, b: HostId, what: &str) -> bool {
    let promised = world.direct_path_possible(a, b);
    assert_eq!(promised, world.direct_path_possible(b, a), "the oracle is symmetric: {what}");
    assert_eq!(promised, punch(&mut world, a, b, true), "{what}");
    promised
}

#[test]
fn the_oracle_agrees_with_a_punch_between_every_two_behaviours() {
    let all = every_behaviour();
    let mut possible = 0;
    for (index, &one) in all.iter().enumerate() {
        for &other in &all[index..] {
            let mut world = World::new(index as u64);
            let (a, b) = (world.host_behind(one), world.host_behind(other));
            possible += usize::from(assert_agreement(world, a, b, &format!("{one:?} with {other:?}")));
        }
    }
    let pairs = all.len() * (all.len() + 1) / 2;
    println!("a direct path in {possible} of {pairs} pairs");
    assert!(possible > pairs / 3 && possible < pairs);
}

#[test]
fn the_oracle_agrees_with_a_punch_through_two_nats_on_one_side() {
    let all = every_behaviour();
    for &inner in &all {
        for &outer in &all {
            for &other in &all {
                let mut world = World::new(3);
                let (a, b) = (world.double_nat(inner, outer), world.host_behind(other));
                assert_agreement(world, a, b, &format!("{inner:?} in {outer:?} with {other:?}"));
            }
        }
    }
}

#[test]
fn the_oracle_agrees_with_a_punch_between_neighbours_behind_one_carrier() {
    for &inner in &every_behaviour() {
        for &outer in &every_behaviour() {
            for hairpin in [false, true] {
                for neighbour in [inner, behaviour(NatKind::EimApdf), behaviour(NatKind::AddressDependent)] {
                    let mut world = World::new(4);
                    let homes = world.homes_behind_one_carrier([inner, neighbour], Behaviour { hairpin, ..outer });
                    let what = format!("{inner:?} and {neighbour:?} in {outer:?}, {hairpin}");
                    assert_agreement(world, homes[0], homes[1], &what);
                }
            }
        }
    }
}

#[test]
fn hosts_on_one_lan_always_meet_and_neighbours_without_hairpinning_never() {
    for kind in NatKind::ALL {
        let mut world = World::new(5);
        let hosts = world.hosts_on_one_lan(2, kind);
        assert!(assert_agreement(world, hosts[0], hosts[1], &format!("{kind:?}")));
    }
    let eim = behaviour(NatKind::EimEif);
    let mut world = World::new(5);
    let homes = world.homes_behind_one_carrier([eim, eim], Behaviour { hairpin: false, ..eim });
    assert!(!assert_agreement(world, homes[0], homes[1], "no hairpin"));
}

#[test]
fn a_host_beside_the_others_router_is_reached_by_its_host_address() {
    let symmetric = behaviour(NatKind::RandomSymmetric);
    let mut world = World::new(6);
    let outer = world.carrier(symmetric);
    let beside = world.lan_host(outer);
    let home = world.home(knothole_lab::world::Segment::Inside(outer), symmetric);
    let within = world.lan_host(home);
    assert!(assert_agreement(world, beside, within, "one LAN up"));
}

#[test]
fn blocked_udp_and_a_pulled_cable_leave_no_direct_path() {
    let mut world = World::new(7);
    let (a, b) = (world.host_behind(NatKind::EimEif), world.public_host());
    world.set_udp_blocked(a, true);
    assert!(!assert_agreement(world.clone(), a, b, "UDP blocked"));
    world.set_udp_blocked(a, false);
    world.set_cut(b, true);
    assert!(!world.direct_path_possible(a, b));
}

/// 256 sockets behind a random NAT, 1024 random probes from outside: one hits with 1 − (1 − 256/64512)^1024 = 98.3 %.
#[test]
fn the_birthday_odds_are_those_of_the_arithmetic() {
    let (now, server) = (Instant::now(), SocketAddr::from(([198, 51, 100, 1], 3478)));
    let external = IpAddr::from([203, 0, 113, 1]);
    let (runs, mut hits) = (200, 0);
    for seed in 0..runs {
        let mut nat = Nat::new(behaviour(NatKind::RandomSymmetric), vec![external], seed);
        for port in 0..256 {
            nat.outbound(now, SocketAddr::from(([192, 168, 0, 2], 10_000 + port)), server).unwrap();
        }
        // The ports are random, so any 1024 different probes are as good as random ones.
        hits += u64::from((1024..2048).any(|port| nat.inbound(now, server, SocketAddr::new(external, port)).is_some()));
    }
    println!("{hits} of {runs} birthdays");
    assert!((190..=200).contains(&hits), "{hits}");
}

#[test]
fn without_a_low_ttl_the_earlier_side_spoils_the_port_of_an_accepting_linux_router() {
    for (one, other, joined) in [
        (NatKind::LinuxAccept, NatKind::LinuxAccept, false),
        (NatKind::LinuxDrop, NatKind::LinuxAccept, false),
        (NatKind::LinuxAccept, NatKind::LinuxDrop, true),
        (NatKind::LinuxDrop, NatKind::LinuxDrop, true),
    ] {
        let mut world = World::new(8);
        let (a, b) = (world.host_behind(one), world.host_behind(other));
        assert_eq!(punch(&mut world.clone(), a, b, false), joined, "{one:?} with {other:?}");
        assert!(punch(&mut world, a, b, true), "{one:?} with {other:?}, low TTL");
    }
}
