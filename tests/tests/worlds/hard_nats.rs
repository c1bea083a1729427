//! Pairs of networks that only prediction or chance can join (docs/protocol.md, "Hard NATs"), in the simulated world.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use knothole_lab::nat::NatKind;
use knothole_lab::simulation::{Scenario, Simulation};
use knothole_lab::world::{HostId, Moment, Place, World};
use knothole_proto::hard_nat::Word;
use knothole_proto::path::Base;
use knothole_proto::traversal::{ContactId, Note, Unreachable};

/// Longer than any attempt with its rounds.
const LIMIT: Duration = Duration::from_secs(40);

/// The kinds that have one mapping for all destinations, and those that do not.
const EASY: [NatKind; 7] = {
    use NatKind::{EimAdf, EimApdf, EimApdfRandom, EimEif, LinuxAccept, LinuxDrop, Public};
    [Public, EimEif, EimAdf, EimApdf, EimApdfRandom, LinuxAccept, LinuxDrop]
};
const HARD: [NatKind; 5] = {
    use NatKind::{AddressDependent, Block, LinuxRandom, RandomSymmetric, Sequential};
    [AddressDependent, Block, LinuxRandom, RandomSymmetric, Sequential]
};

/// Mappings that a peer makes on the hard side: a socket toward the contact 256 times, toward the rendezvous 16 times, and
/// what it makes without any tactic, toward the rendezvous' four addresses, by its probes for the openers' TTL, and by checks.
const MOST_MAPPINGS: u64 = 256 + 16 + 24;

/// Two peers behind these, registered, and the first wants the second.
fn begun(a: NatKind, b: NatKind, seed: u64) -> (Simulation, [HostId; 2]) {
    let mut world = World::new(seed);
    let hosts = [world.host_behind(a), world.host_behind(b)];
    let mut simulation = Simulation::new(world, &hosts, seed);
    simulation.link_relayed();
    assert!(simulation.run_until_registered(Duration::from_secs(5)));
    simulation.connect(false);
    (simulation, hosts)
}

/// How long until one had a path, if both have spoken over one, and the mappings that the first one's router made.
fn meeting(a: NatKind, b: NatKind, seed: u64) -> (Option<Duration>, u64) {
    let (mut simulation, hosts) = begun(a, b, seed);
    let reached = simulation.run_until_reached(LIMIT).map(|reached| reached.first);
    let router = simulation.world.routers_before(hosts[0]).first().copied();
    let made = router.and_then(|router| simulation.world.nat(router)).map_or(0, |nat| nat.counts().created);
    (reached, made)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or(Duration::MAX)
}

/// Does something for each number below `count`, on both processors.
fn each<T: Send>(count: u64, deed: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let run = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count));
        numbers.map(&deed).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[test]
fn every_easy_network_meets_every_hard_one_directly() {
    let pairs: Vec<_> =
        HARD.into_iter().flat_map(|hard| EASY.map(|easy| [(easy, hard), (hard, easy)])).flatten().collect();
    let reports = each(pairs.len() as u64, |index| {
        let (a, b) = pairs[index as usize];
        let times: Vec<_> = (0..6).filter_map(|seed| meeting(a, b, 100 * index + seed).0).collect();
        let good = times.len() == 6 && median(times.clone()) < Duration::from_secs(6);
        (good, format!("{a:?} invites {b:?}: {} of 6, median {:?}", times.len(), median(times)))
    });
    let failed = reports.iter().filter(|(good, _)| !good).count();
    reports.iter().for_each(|(_, report)| println!("{report}"));
    assert_eq!(failed, 0, "{reports:#?}");
}

#[test]
fn random_ports_meet_a_port_restricted_filter_in_98_of_100_runs() {
    for (kind, easy) in [
        (NatKind::RandomSymmetric, NatKind::EimApdf),
        (NatKind::AddressDependent, NatKind::EimApdf),
        (NatKind::LinuxRandom, NatKind::LinuxAccept),
        (NatKind::Block, NatKind::LinuxAccept),
    ] {
        let runs = each(100, |seed| meeting(kind, easy, seed));
        let times: Vec<_> = runs.iter().filter_map(|(time, _)| *time).collect();
        let made = runs.iter().map(|(_, made)| *made).max().unwrap();
        let (count, longest) = (times.len(), times.iter().max().copied());
        let median = median(times);
        println!("{kind:?} with {easy:?}: {count} of 100, median {median:?}, longest {longest:?}, mappings ≤ {made}");
        assert!(count >= 98 && median < Duration::from_secs(6) && made <= MOST_MAPPINGS, "{count}, {median:?}, {made}");
    }
}

#[test]
fn two_sequential_networks_meet_by_foreseeing_each_other() {
    let runs = each(20, |seed| meeting(NatKind::Sequential, NatKind::Sequential, seed).0);
    let times: Vec<_> = runs.into_iter().flatten().collect();
    assert_eq!(times.len(), 20);
    assert!(median(times) < Duration::from_secs(3));
}

#[test]
fn openers_at_full_ttl_would_spoil_the_port_of_a_router_that_accepts() {
    let reached = |ttl: Option<u8>| {
        let runs = each(10, |seed| {
            let (mut simulation, _) = begun(NatKind::RandomSymmetric, NatKind::LinuxAccept, seed);
            if let Some(ttl) = ttl {
                simulation.nodes[0].set_opener_ttl(ttl);
            }
            simulation.run_until_reached(LIMIT).is_some()
        });
        runs.into_iter().filter(|reached| *reached).count()
    };
    let (low, full) = (reached(None), reached(Some(64)));
    println!("low TTL: {low} of 10, full TTL: {full} of 10");
    assert!(low == 10 && full <= 2);
}

#[test]
fn two_random_networks_stay_relayed_without_a_storm_and_say_why() {
    let (mut simulation, _) = begun(NatKind::RandomSymmetric, NatKind::RandomSymmetric, 1);
    assert_eq!(simulation.run_until_reached(LIMIT), None);
    for node in &simulation.nodes {
        assert_eq!(node.most_bases(), 0);
        let sent = simulation.world.traffic(node.host()).sent_packets;
        assert!(sent < 200, "{sent} packets");
        let whys: Vec<_> = node.unreachable().iter().map(|(_, why)| *why).collect();
        assert!(!whys.is_empty() && whys.iter().all(|why| *why == Unreachable::BothHard), "{whys:?}");
    }
}

#[test]
fn sockets_that_carry_no_path_are_closed_and_the_winner_stays_alive() {
    for seed in 0..4 {
        let (mut simulation, _) = begun(NatKind::RandomSymmetric, NatKind::EimApdf, seed);
        assert!(simulation.run_until_reached(LIMIT).is_some());
        let paths = |simulation: &Simulation| simulation.nodes.iter().map(|n| (n.base(), n.path())).collect::<Vec<_>>();
        let before = paths(&simulation);
        assert!(simulation.nodes.iter().all(|node| node.base() != Some(Base::MAIN)));
        // Mappings live two minutes, and only consent's checks keep them.
        simulation.run_until(Duration::from_secs(600), |_| false);
        assert_eq!(paths(&simulation), before, "seed {seed}");
        let [hard, easy] = [&simulation.nodes[0], &simulation.nodes[1]].map(|node| (node.bases(), node.most_bases()));
        let whys: Vec<_> = simulation.nodes.iter().flat_map(|node| node.unreachable()).collect();
        assert!(whys.is_empty(), "what succeeds tells of no failure: {whys:?}");
        assert!((1..=2).contains(&hard.0) && (200..=256).contains(&hard.1), "{hard:?}");
        assert_eq!(easy, (1, 1));
    }
}

#[test]
fn a_path_that_is_lost_with_its_mappings_is_found_again_and_what_worked_is_remembered() {
    let (mut simulation, _) = begun(NatKind::RandomSymmetric, NatKind::EimApdf, 5);
    assert!(simulation.run_until_reached(LIMIT).is_some());
    let now = simulation.now;
    let remembered = simulation.nodes.iter().map(|node| node.traversal().memory(now)).collect::<Vec<_>>();
    assert!(remembered.iter().all(|memory| memory.len() == 1 && memory[0].failures == 0));
    let router = simulation.world.routers_before(simulation.nodes[0].host())[0];
    simulation.world.rebind_ports(router);
    assert!(simulation.run_until(Duration::from_secs(60), |s| !s.nodes.iter().all(|node| node.has_path())));
    assert!(simulation.run_until(LIMIT, |s| s.nodes.iter().all(|node| node.has_path())));
    assert!(simulation.nodes.iter().all(|node| node.base() != Some(Base::MAIN)));
}

#[test]
fn a_rendezvous_without_an_alternate_address_is_enough_where_the_easy_side_keeps_its_port() {
    let kinds = [NatKind::RandomSymmetric, NatKind::Sequential, NatKind::Block, NatKind::AddressDependent];
    for hard in kinds {
        for easy in [NatKind::EimApdf, NatKind::LinuxDrop] {
            let mut world = World::new(11);
            let hosts = [world.host_behind(easy), world.host_behind(hard)];
            let mut simulation = Simulation::with_rendezvous(world, &hosts, 11, false);
            simulation.link_relayed();
            assert!(simulation.run_until_registered(Duration::from_secs(5)));
            simulation.connect(false);
            let reached = simulation.run_until_reached(LIMIT).map(|reached| reached.first);
            let soon = reached.is_some_and(|reached| reached < Duration::from_secs(10));
            assert!(soon, "{easy:?} with {hard:?}: {reached:?}");
        }
    }
}

#[test]
fn nobody_probes_from_behind_a_network_that_may_be_hard() {
    // Nothing shows which of the two is: a probe from behind the block would take one of its 512 ports.
    let mut world = World::new(11);
    let hosts = [world.host_behind(NatKind::EimApdfRandom), world.host_behind(NatKind::Block)];
    let mut simulation = Simulation::with_rendezvous(world, &hosts, 11, false);
    simulation.link_relayed();
    assert!(simulation.run_until_registered(Duration::from_secs(5)));
    simulation.connect(false);
    assert_eq!(simulation.run_until_reached(LIMIT), None);
    let now = simulation.now;
    for attempt in 0..3 {
        let ask = Note::Tactic(Word::Ask { attempt, meet: false }).to_bytes();
        simulation.nodes[1].handle_note(ContactId(0), &ask, now);
        let (first, count, probes) = (1024, 60_000, 2048);
        let open = Note::Tactic(Word::Open { attempt, round: 0, first, count, step: 0, probes }).to_bytes();
        simulation.run_until(Duration::from_secs(1), |_| false);
        simulation.nodes[1].handle_note(ContactId(0), &open, simulation.now);
        simulation.run_until(Duration::from_secs(9), |_| false);
    }
    assert!(hosts.iter().all(|host| simulation.world.traffic(*host).sent_packets < 300));
}

#[test]
fn two_contacts_that_need_a_tactic_get_it_one_after_the_other() {
    let mut world = World::new(7);
    let hosts = [NatKind::EimApdf, NatKind::RandomSymmetric, NatKind::LinuxRandom].map(|kind| world.host_behind(kind));
    let mut simulation = Simulation::new(world, &hosts, 7);
    simulation.link_relayed();
    assert!(simulation.run_until_registered(Duration::from_secs(5)));
    simulation.connect(true);
    // To the two others the first one is the first contact, and each other they cannot reach.
    assert!(simulation.run_until(LIMIT, |s| s.nodes[1..].iter().all(|node| node.has_path())));
    assert!(simulation.nodes[1].most_bases() <= 256 && simulation.nodes[2].most_bases() <= 256);
}

#[test]
fn an_easy_side_without_sockets_probes_from_its_main_one_and_a_hard_side_without_stays_relayed() {
    let (mut simulation, _) = begun(NatKind::RandomSymmetric, NatKind::EimApdf, 2);
    simulation.nodes[1].set_sockets(0);
    assert!(simulation.run_until_reached(LIMIT).is_some());
    assert_eq!(simulation.nodes[1].base(), Some(Base::MAIN));
    let (mut simulation, hosts) = begun(NatKind::RandomSymmetric, NatKind::EimApdf, 2);
    simulation.nodes[0].set_sockets(0);
    assert_eq!(simulation.run_until_reached(LIMIT), None);
    assert!(hosts.iter().all(|host| simulation.world.traffic(*host).sent_packets < 300));
}

#[test]
fn an_attempt_that_an_ordinary_path_overtakes_stops_at_once() {
    // Checks alone join these two, but for a while the line carries nothing: long enough for an attempt to begin.
    let (mut simulation, hosts) = begun(NatKind::AddressDependent, NatKind::EimAdf, 3);
    simulation.run_until(Duration::from_millis(170), |_| false);
    simulation.world.set_loss(hosts[1], 1.0);
    assert!(simulation.run_until(Duration::from_secs(5), |s| s.nodes[0].most_bases() >= 256));
    simulation.world.set_loss(hosts[1], 0.0);
    assert!(simulation.run_until_reached(LIMIT).is_some());
    simulation.run_until(Duration::from_millis(500), |_| false);
    assert!(simulation.nodes.iter().all(|node| node.base() == Some(Base::MAIN) && node.bases() == 0));
    let sent = |s: &Simulation| s.nodes.iter().map(|node| s.world.traffic(node.host()).sent_packets).sum::<u64>();
    let before = sent(&simulation);
    simulation.run_until(Duration::from_secs(5), |_| false);
    assert!(sent(&simulation) - before < 20, "no probe after it");
}

#[test]
fn a_contact_that_asks_and_asks_gets_a_bounded_number_of_probes_and_none_to_anybody_else() {
    let (mut simulation, hosts) = begun(NatKind::RandomSymmetric, NatKind::EimApdf, 9);
    // The true contact's word is not heard: the hostile one takes its place.
    simulation.run_until(Duration::from_millis(800), |_| false);
    simulation.world.set_cut(hosts[0], true);
    simulation.world.watch(200_000);
    for attempt in 0..20 {
        let hear = |simulation: &mut Simulation, word| {
            let now = simulation.now;
            simulation.nodes[1].handle_note(ContactId(0), &Note::Tactic(word).to_bytes(), now);
            (0..40).for_each(|len| simulation.nodes[1].handle_note(ContactId(0), &vec![0xff; len], now));
            simulation.run_until(Duration::from_secs(1), |_| false);
        };
        hear(&mut simulation, Word::Ask { attempt, meet: attempt % 7 == 6 });
        for (round, step) in [(0, 0), (1, -1), (2, 0)] {
            let open = Word::Open { attempt, round, first: 1, count: u16::MAX, step, probes: u16::MAX };
            hear(&mut simulation, open);
            hear(&mut simulation, open);
        }
        simulation.run_until(Duration::from_secs(10), |_| false);
    }
    let sights = simulation.world.take_sights();
    let probes = sights.iter().filter(|sight| sight.place == Place::Host(hosts[1]));
    let probes: Vec<_> = probes.filter(|s| s.moment == Moment::Sent && s.dst.port() != 3478).collect();
    assert!((2 * 2048..4 * 2048 + 300).contains(&probes.len()), "{}", probes.len());
    let places: std::collections::BTreeSet<_> = probes.iter().map(|probe| probe.dst.ip()).collect();
    assert!(places.len() <= 2, "the contact's own address and the one that the rendezvous sees: {places:?}");
}

#[test]
fn random_worlds_with_a_relay_agree_with_the_oracle_of_tactics() {
    const WORLDS: u64 = 400;
    let runs = each(WORLDS, |seed| {
        let scenario = Scenario::random(1_000_000 + seed);
        let (world, hosts) = scenario.build();
        let direct = world.direct_path_possible(hosts[0], hosts[1]);
        let tactic = !direct && world.tactic_possible(hosts[0], hosts[1]);
        let limit = if direct || tactic { Duration::from_secs(60) } else { Duration::from_secs(25) };
        let (reached, simulation) = scenario.run_linked(limit);
        let whys: Vec<_> = simulation.nodes.iter().map(|node| node.unreachable().to_vec()).collect();
        (direct, tactic, reached.map(|reached| reached.first), format!("{scenario}: {whys:?}"))
    });
    let wrong: Vec<_> = runs
        .iter()
        .filter(|(direct, tactic, reached, _)| *direct && reached.is_none() || !direct && !tactic && reached.is_some())
        .map(|(.., what)| what)
        .collect();
    let hard: Vec<_> = runs.iter().filter(|(_, tactic, ..)| *tactic).collect();
    let times: Vec<_> = hard.iter().filter_map(|(_, _, reached, _)| *reached).collect();
    let missed: Vec<_> = hard.iter().filter(|(_, _, reached, _)| reached.is_none()).map(|(.., what)| what).collect();
    println!(
        "tactics: {} of {} worlds, median {:?}, missed {missed:?}",
        times.len(),
        hard.len(),
        median(times.clone())
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(times.len() * 100 >= hard.len() * 97 && median(times) < Duration::from_secs(6), "{missed:#?}");
}
