//! A side whose network changes: the old path is used until a new one is proven.

use super::*;

const HOME: &str = "203.0.113.1:1000";
const AWAY: &str = "198.51.100.1:1000";
const B_AT: &str = "203.0.113.2:2000";

/// A leaves from `AWAY` after a second; what goes to `HOME` then arrives only if A keeps both networks.
fn moving(keeps_both: bool) -> World {
    let mut world = World::new(move |by, transmit, at| {
        let moved = at >= ms(1000);
        let source = match (by, moved) {
            (A, false) => HOME,
            (A, true) => AWAY,
            _ => B_AT,
        };
        let arrives = match (by, moved) {
            (A, _) => transmit.to == address(B_AT),
            (_, false) => transmit.to == address(HOME),
            (_, true) => transmit.to == address(AWAY) || keeps_both && transmit.to == address(HOME),
        };
        arrives.then(|| (address(source), ms(20)))
    });
    world.introduce(A, FIRST, Role::Inviter, &[host(B_AT)]);
    world.introduce(B, FIRST, Role::Invitee, &[host(HOME)]);
    world.run_until(ms(1000));
    assert!(world.agents.iter().all(|agent| agent.path().is_some()));
    world
}

fn lost(world: &World) -> usize {
    [A, B].iter().map(|side| world.told(*side, |event| matches!(event, Event::Lost { .. })).len()).sum()
}

#[test]
fn the_side_that_moved_keeps_its_path_and_the_other_follows_within_a_round_trip() {
    let mut world = moving(false);
    let now = world.now;
    world.agents[A].handle_silence(now);
    assert!(!world.agents[A].is_settled());
    // One trip for the check, one round trip for the other side's own, and the old path's last chance.
    world.run_until(ms(1000 + 20 + 40 + 30));
    assert_eq!(world.agents[B].path().map(|path| path.remote), Some(address(AWAY)));
    world.run_until(ms(5000));
    assert!(world.agents[A].is_settled());
    assert_eq!((world.selections(A).len(), world.selections(B).len(), lost(&world)), (1, 2, 0));
}

#[test]
fn with_two_living_networks_nothing_is_dropped_and_nothing_alternates() {
    let mut world = moving(true);
    let now = world.now;
    world.agents[A].handle_silence(now);
    world.run_until(ms(20_000));
    // The other side follows once to where A sends from, which the system's routes decide.
    assert_eq!((world.selections(A).len(), world.selections(B).len(), lost(&world)), (1, 2, 0));
}
