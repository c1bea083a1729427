//! Random worlds: any two sites of the catalogue, on lines of any quality.

use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Simulation;
use crate::link::Link;
use crate::nat::NatKind;
use crate::world::{HostId, World};

/// Where a pair of peers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Each behind a router of its own.
    Apart(NatKind, NatKind),
    /// Each behind two routers, the inner named first.
    Nested([NatKind; 2], [NatKind; 2]),
    /// Both on one LAN behind this router.
    OneLan(NatKind),
    /// Each behind a home router (the first two), both homes behind one carrier.
    OneCarrier(NatKind, NatKind, NatKind),
}

/// A random world, made wholly from its seed.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it was made from.
    pub seed: u64,
    /// Where the peers are.
    pub site: Site,
    /// The two peers' lines to the core.
    pub links: [Link; 2],
    /// Whether both want each other at the same moment, or only the first the other.
    pub glare: bool,
}

impl Scenario {
    /// The world of this seed.
    pub fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut kind = {
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
            move || NatKind::ALL[rng.next_u32() as usize % NatKind::ALL.len()]
        };
        let site = match rng.next_u32() % 10 {
            0 => Site::OneLan(kind()),
            1 => Site::OneCarrier(kind(), kind(), kind()),
            2 | 3 => Site::Nested([kind(), kind()], [kind(), kind()]),
            _ => Site::Apart(kind(), kind()),
        };
        let mut link = || {
            let lossy = rng.next_u32().is_multiple_of(3);
            Link {
                delay: Duration::from_millis(u64::from(1 + rng.next_u32() % 120)),
                jitter: Duration::from_millis(u64::from(rng.next_u32() % 10)),
                loss: if lossy { f64::from(rng.next_u32() % 8) / 100.0 } else { 0.0 },
                reordering: if lossy { f64::from(rng.next_u32() % 5) / 100.0 } else { 0.0 },
                duplication: if lossy { f64::from(rng.next_u32() % 3) / 100.0 } else { 0.0 },
                ..Link::WIRE
            }
        };
        let links = [link(), link()];
        Self { seed, site, links, glare: rng.next_u32().is_multiple_of(4) }
    }

    /// Builds the world, and the two hosts in it.
    pub fn build(&self) -> (World, [HostId; 2]) {
        let mut world = World::new(self.seed);
        let hosts = match self.site {
            Site::Apart(a, b) => [world.host_behind(a), world.host_behind(b)],
            Site::Nested([a, outer_a], [b, outer_b]) => [world.double_nat(a, outer_a), world.double_nat(b, outer_b)],
            Site::OneLan(nat) => pair(&world.hosts_on_one_lan(2, nat)),
            Site::OneCarrier(a, b, carrier) => pair(&world.homes_behind_one_carrier([a, b], carrier)),
        };
        for (host, link) in hosts.into_iter().zip(self.links) {
            world.set_link(host, link);
        }
        (world, hosts)
    }

    /// Whether no line loses, reorders or doubles anything.
    pub fn is_lossless(&self) -> bool {
        self.links.iter().all(|link| link.loss == 0.0 && link.reordering == 0.0 && link.duplication == 0.0)
    }

    /// Runs it, where a direct path can be with the relayed connection by which peers hear of each other's LAN addresses: whether the oracle says that a direct path must be found, and whether one was within `limit`.
    pub fn run(&self, limit: Duration) -> (bool, Option<super::Reached>, Simulation) {
        let (world, hosts) = self.build();
        let possible = world.direct_path_possible(hosts[0], hosts[1]);
        let (reached, simulation) = self.simulate(world, &hosts, possible, limit);
        (possible, reached, simulation)
    }

    /// Runs it with a relayed connection between the peers, so that tactics for hard NATs are tried: what happened.
    pub fn run_linked(&self, limit: Duration) -> (Option<super::Reached>, Simulation) {
        let (world, hosts) = self.build();
        self.simulate(world, &hosts, true, limit)
    }

    fn simulate(
        &self,
        world: World,
        hosts: &[HostId],
        linked: bool,
        limit: Duration,
    ) -> (Option<super::Reached>, Simulation) {
        let mut simulation = Simulation::new(world, hosts, self.seed);
        if linked {
            simulation.link_relayed();
        }
        simulation.run_until_registered(Duration::from_secs(30));
        simulation.connect(self.glare);
        let reached = simulation.run_until_reached(limit);
        (reached, simulation)
    }
}

fn pair(hosts: &[HostId]) -> [HostId; 2] {
    [hosts[0], hosts[1]]
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.links.map(|link| format!("{:?} ± {:?}, loss {}", link.delay, link.jitter, link.loss));
        write!(f, "seed {}: {:?}, lines {a} and {b}, glare {}", self.seed, self.site, self.glare)
    }
}
