//! Pairs of networks that only prediction or chance can join (docs/protocol.md, "Hard NATs"), in the simulated world.

use std::time::Duration;

use knothole_lab::nat::NatKind;
use knothole_lab::simulation::Simulation;
use knothole_lab::world::World;
use knothole_proto::traversal::Unreachable;

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

/// Two peers behind these, registered, and the first wants the second.
fn begun(a: NatKind, b: NatKind, seed: u64) -> Simulation {
    let mut world = World::new(seed);
    let hosts = [world.host_behind(a), world.host_behind(b)];
    let mut simulation = Simulation::new(world, &hosts, seed);
    simulation.link_relayed();
    assert!(simulation.run_until_registered(Duration::from_secs(5)));
    simulation.connect(false);
    simulation
}

/// How long until both have a path and have spoken.
fn meeting(a: NatKind, b: NatKind, seed: u64) -> Option<Duration> {
    begun(a, b, seed).run_until_reached(LIMIT).map(|reached| reached.first)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn every_easy_network_meets_every_hard_one_directly() {
    let mut report = String::new();
    let mut missed = Vec::new();
    for hard in HARD {
        for easy in EASY {
            for (a, b) in [(easy, hard), (hard, easy)] {
                let times: Vec<_> = (0..4).filter_map(|seed| meeting(a, b, seed)).collect();
                report += &format!("{a:?} invites {b:?}: {} of 4, {:?}\n", times.len(), times.iter().max());
                if times.len() < 4 || median(times) > Duration::from_secs(6) {
                    missed.push((a, b));
                }
            }
        }
    }
    println!("{report}");
    assert!(missed.is_empty(), "{missed:?}\n{report}");
}

#[test]
fn two_sequential_networks_meet_by_foreseeing_each_other() {
    let times: Vec<_> = (0..10).filter_map(|seed| meeting(NatKind::Sequential, NatKind::Sequential, seed)).collect();
    println!("{times:?}");
    assert_eq!(times.len(), 10);
    assert!(median(times) < Duration::from_secs(3));
}

#[test]
fn two_random_networks_stay_relayed_without_a_storm_and_say_why() {
    let mut simulation = begun(NatKind::RandomSymmetric, NatKind::RandomSymmetric, 1);
    assert_eq!(simulation.run_until_reached(LIMIT), None);
    for node in &simulation.nodes {
        assert_eq!(node.most_bases(), 0);
        let sent = simulation.world.traffic(node.host()).sent_packets;
        assert!(sent < 200, "{sent} packets");
        let whys: Vec<_> = node.unreachable().iter().map(|(_, why)| *why).collect();
        assert!(!whys.is_empty() && whys.iter().all(|why| *why == Unreachable::BothHard), "{whys:?}");
    }
}
