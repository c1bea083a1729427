//! Two peers in a simulated world find a direct path exactly when there is one (docs/protocol.md, "Introduction" and
//! "Checks"). `KNOTHOLE_SEED=n cargo test -p knothole-tests --test worlds traversal` replays one world.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use knothole_lab::nat::NatKind;
use knothole_lab::simulation::{Scenario, Simulation};
use knothole_lab::world::World;

/// Random worlds to run.
const WORLDS: u64 = 10_000;

/// Long enough for a second and a third invitation where the first was lost.
const LIMIT: Duration = Duration::from_secs(60);
/// Where no path exists, two rounds of checks are enough to see that none is made up.
const HOPELESS: Duration = Duration::from_secs(25);

fn disagreement(seed: u64) -> Option<String> {
    let scenario = Scenario::random(seed);
    let (world, hosts) = scenario.build();
    let limit = if world.direct_path_possible(hosts[0], hosts[1]) { LIMIT } else { HOPELESS };
    let (possible, reached, simulation) = scenario.run(limit);
    let whys: Vec<_> = simulation.nodes.iter().map(|node| node.unreachable().to_vec()).collect();
    (possible != reached.is_some())
        .then(|| format!("{scenario}\n  the oracle says {possible}, reached: {reached:?}, unreachable: {whys:?}"))
}

#[test]
fn random_worlds_agree_with_the_oracle() {
    if let Some(seed) = std::env::var("KNOTHOLE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        assert_eq!(disagreement(seed), None);
        return;
    }
    let next = AtomicU64::new(0);
    let run = || {
        let mut found = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= WORLDS {
                return found;
            }
            found.extend(disagreement(seed));
        }
    };
    let found: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        found.is_empty(),
        "{} of {WORLDS} worlds disagree:\n{}",
        found.len(),
        found[..found.len().min(12)].join("\n")
    );
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 77, 4711] {
        let run = || {
            let (_, reached, simulation) = Scenario::random(seed).run(LIMIT);
            (reached, simulation.elapsed(), simulation.nodes.iter().map(|node| node.path()).collect::<Vec<_>>())
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}

/// Site round trips (80 ms) until both have a path and have spoken, on lines without loss.
fn round_trips(a: NatKind, b: NatKind) -> f64 {
    let mut world = World::new(1);
    let hosts = [world.host_behind(a), world.host_behind(b)];
    let mut simulation = Simulation::new(world, &hosts, 1);
    assert!(simulation.run_until_registered(Duration::from_secs(5)));
    simulation.connect(false);
    let reached = simulation.run_until_reached(LIMIT);
    // Without a path it took infinitely long.
    reached.map_or(f64::INFINITY, |reached| reached.first.as_secs_f64() / 0.080)
}

#[test]
fn every_easy_pair_meets_directly_within_four_round_trips() {
    use NatKind::{EimAdf, EimApdf, EimApdfRandom, EimEif, LinuxAccept, LinuxDrop, Public};
    let kinds = [Public, EimEif, EimAdf, EimApdf, EimApdfRandom, LinuxAccept, LinuxDrop];
    for a in kinds {
        for b in kinds {
            let trips = round_trips(a, b);
            assert!(trips <= 4.0, "{a:?} invites {b:?}: {trips:.2} round trips");
        }
    }
}
