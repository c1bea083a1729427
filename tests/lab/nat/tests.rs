//! RFC 4787, requirement by requirement, and what NATs do against it.

use std::{collections::BTreeSet, time::Duration};

use super::*;

const INSIDE: &str = "192.168.0.2:4000";
const SERVER: &str = "198.51.100.1:3478";
const STRANGER: &str = "198.51.100.2:5000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn outside(port: u16) -> SocketAddr {
    SocketAddr::new(at("203.0.113.1:0").ip(), port)
}

fn nat(kind: NatKind) -> Nat {
    with(kind, |_| {})
}

fn with(kind: NatKind, change: impl Fn(&mut Behaviour)) -> Nat {
    let mut behaviour = kind.behaviour().unwrap();
    change(&mut behaviour);
    Nat::new(behaviour, vec![outside(0).ip()], 1)
}

/// Ports given to one socket for `count` destinations.
fn ports(nat: &mut Nat, now: Instant, count: u16) -> Vec<u16> {
    let remote = |port| SocketAddr::new(at(STRANGER).ip(), port);
    (1..=count).map(|port| nat.outbound(now, at(INSIDE), remote(port)).unwrap().port()).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn req_1_an_endpoint_independent_mapping_serves_every_destination() {
    let now = Instant::now();
    for kind in [NatKind::EimEif, NatKind::EimAdf, NatKind::EimApdf, NatKind::EimApdfRandom] {
        let mut nat = nat(kind);
        assert_eq!(ports(&mut nat, now, 50).iter().collect::<BTreeSet<_>>().len(), 1, "{kind:?}");
        assert_eq!(nat.counts().created, 1);
    }
}

#[test]
fn section_4_1_an_address_dependent_mapping_keeps_the_port_for_one_address_only() {
    let (now, mut nat) = (Instant::now(), nat(NatKind::AddressDependent));
    assert_eq!(ports(&mut nat, now, 50).iter().collect::<BTreeSet<_>>().len(), 1);
    assert_ne!(nat.outbound(now, at(INSIDE), at(SERVER)).unwrap().port(), ports(&mut nat, now, 1)[0]);
}

#[test]
fn section_4_1_a_symmetric_mapping_has_a_port_for_each_destination() {
    let now = Instant::now();
    for kind in [NatKind::Sequential, NatKind::Block, NatKind::RandomSymmetric] {
        assert_eq!(ports(&mut nat(kind), now, 50).iter().collect::<BTreeSet<_>>().len(), 50, "{kind:?}");
    }
}

#[test]
fn req_2_with_several_addresses_an_inside_host_keeps_to_one() {
    let now = Instant::now();
    let pool: Vec<IpAddr> = (1..=4).map(|last| IpAddr::from([203, 0, 113, last])).collect();
    let mut nat = Nat::new(NatKind::RandomSymmetric.behaviour().unwrap(), pool, 1);
    let mut used = BTreeSet::new();
    for host in 2..10 {
        let addresses: BTreeSet<IpAddr> = (1..20)
            .map(|port| nat.outbound(now, SocketAddr::from(([192, 168, 0, host], port)), at(SERVER)).unwrap().ip())
            .collect();
        assert_eq!(addresses.len(), 1);
        used.extend(addresses);
    }
    assert_eq!(used.len(), 4);
}

#[test]
fn req_3_two_inside_hosts_never_share_an_external_endpoint() {
    let (now, mut nat) = (Instant::now(), nat(NatKind::EimApdf));
    let first = nat.outbound(now, at("192.168.0.2:4000"), at(SERVER)).unwrap();
    let second = nat.outbound(now, at("192.168.0.3:4000"), at(STRANGER)).unwrap();
    assert_eq!(first, outside(4000));
    assert_ne!(second, first);
}

#[test]
fn req_3_is_broken_by_linux_which_overloads_a_port_while_destinations_differ() {
    let (now, mut nat) = (Instant::now(), nat(NatKind::LinuxDrop));
    let [first, second] = [at("192.168.0.2:4000"), at("192.168.0.3:4000")];
    assert_eq!(nat.outbound(now, first, at(SERVER)), Some(outside(4000)));
    assert_eq!(nat.outbound(now, second, at(STRANGER)), Some(outside(4000)));
    assert_eq!(nat.inbound(now, at(SERVER), outside(4000)), Some(first));
    assert_eq!(nat.inbound(now, at(STRANGER), outside(4000)), Some(second));
    let moved = nat.outbound(now, second, at(SERVER)).unwrap();
    assert_ne!(moved, outside(4000));
    assert_eq!(nat.inbound(now, at(SERVER), moved), Some(second));
}

#[test]
fn section_4_2_a_sequential_nat_counts_on_and_passes_over_what_is_taken() {
    let (now, mut counting) = (Instant::now(), nat(NatKind::Sequential));
    let seen = ports(&mut counting, now, 20);
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1));
    let mut wide = with(NatKind::Sequential, |nat| nat.ports = PortAssignment::Sequential { step: 2 });
    let seen = ports(&mut wide, now, 20);
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 2));
}

#[test]
fn rfc_7422_a_block_belongs_to_one_inside_address_and_ends() {
    let (now, mut nat) = (Instant::now(), nat(NatKind::Block));
    let seen = ports(&mut nat, now, 512);
    let (low, high) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
    assert_eq!(high - low, 511);
    assert_eq!(nat.outbound(now, at(INSIDE), at(SERVER)), None);
    assert_eq!(nat.counts().refused, 1);
    let other = nat.outbound(now, at("192.168.0.3:4000"), at(SERVER)).unwrap().port();
    assert!(!(low..=high).contains(&&other));
}

#[test]
fn req_5_a_mapping_lives_two_minutes_without_traffic() {
    let (begin, mut nat) = (Instant::now(), nat(NatKind::EimEif));
    let external = nat.outbound(begin, at(INSIDE), at(SERVER)).unwrap();
    assert!(nat.clone().inbound(begin + seconds(119), at(SERVER), external).is_some());
    assert!(nat.inbound(begin + seconds(120), at(SERVER), external).is_none());
    assert_eq!(nat.mappings(begin + seconds(120)), 0);
}

#[test]
fn req_6_outgoing_packets_refresh_and_incoming_ones_only_if_the_nat_says_so() {
    let begin = Instant::now();
    for refreshed_inbound in [false, true] {
        let mut nat = with(NatKind::EimApdf, |nat| nat.expiry.refreshed_inbound = refreshed_inbound);
        let external = nat.outbound(begin, at(INSIDE), at(SERVER)).unwrap();
        nat.outbound(begin + seconds(100), at(INSIDE), at(SERVER));
        assert!(nat.inbound(begin + seconds(200), at(SERVER), external).is_some());
        assert_eq!(nat.inbound(begin + seconds(300), at(SERVER), external).is_some(), refreshed_inbound);
    }
}

#[test]
fn linux_forgets_an_unanswered_mapping_after_half_a_minute() {
    let (begin, mut nat) = (Instant::now(), nat(NatKind::LinuxDrop));
    let external = nat.outbound(begin, at(INSIDE), at(SERVER)).unwrap();
    assert!(nat.clone().inbound(begin + seconds(30), at(SERVER), external).is_none());
    assert!(nat.inbound(begin + seconds(29), at(SERVER), external).is_some());
    assert!(nat.inbound(begin + seconds(29 + 119), at(SERVER), external).is_some());
}

#[test]
fn an_absolute_lifetime_ends_a_mapping_whatever_is_sent() {
    let begin = Instant::now();
    let mut nat = with(NatKind::EimApdfRandom, |nat| nat.expiry.lifetime = Some(seconds(60)));
    let first = nat.outbound(begin, at(INSIDE), at(SERVER));
    for second in 1..60 {
        assert_eq!(nat.outbound(begin + seconds(second), at(INSIDE), at(SERVER)), first);
    }
    assert_ne!(nat.outbound(begin + seconds(60), at(INSIDE), at(SERVER)), first);
}

#[test]
fn req_8_each_filter_lets_in_whom_it_names() {
    let now = Instant::now();
    let near_server = SocketAddr::new(at(SERVER).ip(), 9);
    for (kind, other_port, stranger) in
        [(NatKind::EimEif, true, true), (NatKind::EimAdf, true, false), (NatKind::EimApdf, false, false)]
    {
        let mut nat = nat(kind);
        let external = nat.outbound(now, at(INSIDE), at(SERVER)).unwrap();
        assert_eq!(nat.inbound(now, at(SERVER), external), Some(at(INSIDE)), "{kind:?}");
        assert_eq!(nat.inbound(now, near_server, external).is_some(), other_port, "{kind:?}");
        assert_eq!(nat.inbound(now, at(STRANGER), external).is_some(), stranger, "{kind:?}");
    }
}

#[test]
fn section_5_a_permission_ends_by_itself_while_the_mapping_lives_on() {
    let (begin, mut nat) = (Instant::now(), nat(NatKind::EimApdf));
    let external = nat.outbound(begin, at(INSIDE), at(STRANGER)).unwrap();
    nat.outbound(begin + seconds(100), at(INSIDE), at(SERVER));
    assert!(nat.inbound(begin + seconds(121), at(SERVER), external).is_some());
    assert!(nat.inbound(begin + seconds(121), at(STRANGER), external).is_none());
}

#[test]
fn req_9_a_hairpinned_packet_comes_from_the_external_endpoint() {
    let now = Instant::now();
    let [first, second] = [at("192.168.0.2:4000"), at("192.168.0.3:4001")];
    let mut nat = nat(NatKind::EimApdf);
    nat.outbound(now, first, at(SERVER));
    nat.outbound(now, second, at(SERVER));
    assert_eq!(nat.hairpin(now, first, outside(4001)), None, "filtered like any other");
    assert_eq!(nat.hairpin(now, second, outside(4000)), Some((outside(4001), first)));
    let mut without = with(NatKind::EimEif, |nat| nat.hairpin = false);
    without.outbound(now, second, at(SERVER));
    assert_eq!(without.hairpin(now, first, outside(4001)), None);
}

#[test]
fn req_10_an_error_about_a_packet_finds_its_sender() {
    let (now, mut nat) = (Instant::now(), nat(NatKind::RandomSymmetric));
    let external = nat.outbound(now, at(INSIDE), at(SERVER)).unwrap();
    assert_eq!(nat.sender_of(now, external, at(SERVER)), Some(at(INSIDE)));
    assert_eq!(nat.sender_of(now, external, at(STRANGER)), None);
}

#[test]
fn linux_keeps_a_port_for_every_destination_while_it_is_free() {
    let (now, mut nat) = (Instant::now(), nat(NatKind::LinuxDrop));
    assert_eq!(ports(&mut nat, now, 50), vec![4000; 50]);
    assert_eq!(nat.counts().created, 50);
}

#[test]
fn linux_follows_its_latest_port_to_every_new_destination() {
    let (now, mut nat) = (Instant::now(), nat(NatKind::LinuxAccept));
    nat.outbound(now, at(INSIDE), at(SERVER));
    nat.inbound(now, at(STRANGER), outside(4000));
    let moved = nat.outbound(now, at(INSIDE), at(STRANGER)).unwrap();
    assert_ne!(moved, outside(4000));
    for destination in ["10.0.0.1:1", "203.0.113.99:1"] {
        assert_eq!(nat.outbound(now, at(INSIDE), at(destination)), Some(moved));
    }
    assert_eq!(nat.outbound(now, at(INSIDE), at(SERVER)), Some(outside(4000)), "what stands stays");
}

#[test]
fn linux_that_accepts_input_lets_a_stranger_claim_a_port_until_the_claim_ends() {
    let begin = Instant::now();
    let mut nats = [nat(NatKind::LinuxAccept), nat(NatKind::LinuxDrop)];
    for nat in &mut nats {
        assert_eq!(nat.outbound(begin, at(INSIDE), at(SERVER)), Some(outside(4000)));
        assert_eq!(nat.inbound(begin, at(STRANGER), outside(4000)), None);
        nat.outbound(begin + seconds(20), at(INSIDE), at(SERVER));
    }
    let [mut accepting, mut dropping] = nats;
    assert_eq!(dropping.outbound(begin, at(INSIDE), at(STRANGER)), Some(outside(4000)));
    assert_ne!(accepting.clone().outbound(begin, at(INSIDE), at(STRANGER)), Some(outside(4000)));
    assert_eq!(accepting.outbound(begin + seconds(30), at(INSIDE), at(STRANGER)), Some(outside(4000)));
    assert_eq!((accepting.counts().claimed, dropping.counts().claimed), (1, 0));
}

#[test]
fn a_full_table_refuses_until_something_in_it_has_died() {
    let begin = Instant::now();
    let mut nat = with(NatKind::RandomSymmetric, |nat| nat.capacity = 10);
    ports(&mut nat, begin, 10);
    assert_eq!(nat.outbound(begin, at(INSIDE), at(SERVER)), None);
    assert_eq!((nat.mappings(begin), nat.counts().refused), (10, 1));
    assert!(nat.outbound(begin + seconds(121), at(INSIDE), at(SERVER)).is_some());
}

#[test]
fn every_port_can_be_given_out_and_none_twice() {
    let now = Instant::now();
    let mut nat = with(NatKind::Block, |nat| nat.ports = PortAssignment::Block { size: 4096 });
    let mut seen = BTreeSet::new();
    for number in 0..4096_u32 {
        let remote = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 1));
        assert!(seen.insert(nat.outbound(now, at(INSIDE), remote).unwrap()));
    }
    assert_eq!(nat.outbound(now, at(INSIDE), at(SERVER)), None);
}

#[test]
fn a_rebinding_moves_every_mapping_even_where_ports_are_preserved() {
    let now = Instant::now();
    for kind in NatKind::ALL.into_iter().filter(|kind| kind.behaviour().is_some()) {
        let mut nat = nat(kind);
        let before = nat.outbound(now, at(INSIDE), at(SERVER)).unwrap();
        nat.rebind(None);
        assert_eq!(nat.inbound(now, at(SERVER), before), None);
        assert_ne!(nat.outbound(now, at(INSIDE), at(SERVER)), Some(before), "{kind:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_ports() {
    let now = Instant::now();
    assert_eq!(ports(&mut nat(NatKind::Block), now, 100), ports(&mut nat(NatKind::Block), now, 100));
}
