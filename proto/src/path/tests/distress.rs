//! Consent, silence, loss and return.

use super::*;

fn cut(world: &mut World) {
    world.route = Box::new(|_, _, _| None);
}

fn lost(world: &World, side: usize) -> Vec<Duration> {
    world.told(side, |event| matches!(event, Event::Lost { .. })).iter().map(|(at, _)| *at).collect()
}

#[test]
fn an_idle_pair_exchanges_one_check_in_fifteen_seconds() {
    let mut world = World::connected(ms(20));
    world.run_until(ms(11_000));
    let before = world.sent.len();
    world.run_until(ms(611_000));
    let exchanges = (world.sent.len() - before) / 2;
    assert!((33..=52).contains(&exchanges), "{exchanges} in ten minutes");
    assert!(lost(&world, A).is_empty() && lost(&world, B).is_empty());
}

#[test]
fn traffic_counts_as_consent_and_saves_the_checks() {
    let mut world = World::connected(ms(20));
    world.run_until(ms(11_000));
    let before = world.sent.len();
    for second in 11..300 {
        let now = world.now;
        world.agents[A].handle_received(Base::MAIN, address("203.0.113.2:2000"), now);
        world.agents[B].handle_received(Base::MAIN, address("203.0.113.1:1000"), now);
        world.run_until(ms(second * 1000));
    }
    assert_eq!(world.sent.len(), before);
}

#[test]
fn a_path_that_is_silent_for_thirty_seconds_is_lost() {
    let mut world = World::connected(ms(20));
    cut(&mut world);
    world.run_until(ms(60_000));
    for side in [A, B] {
        let lost = lost(&world, side);
        assert_eq!(lost.len(), 1);
        assert!((ms(30_000)..=ms(30_100)).contains(&lost[0]), "{lost:?}");
        assert_eq!(world.agents[side].path(), None);
        assert_eq!(world.told(side, |event| *event == Event::Failed).len(), 1);
    }
}

#[test]
fn three_lost_consent_checks_in_a_row_do_not_cost_the_path() {
    let mut world = World::connected(ms(20));
    let mut dropped = 0;
    world.route = Box::new(move |by, _, _| {
        dropped += 1;
        let from = if by == A { "203.0.113.1:1000" } else { "203.0.113.2:2000" };
        (dropped > 3).then(|| (address(from), ms(20)))
    });
    world.run_until(ms(100_000));
    assert!(lost(&world, A).is_empty() && lost(&world, B).is_empty());
}

#[test]
fn silence_on_a_dead_path_is_confirmed_in_400_ms() {
    let mut world = World::connected(ms(20));
    cut(&mut world);
    let now = world.now;
    world.agents[A].handle_silence(now);
    world.agents[A].handle_silence(now);
    world.run_until(ms(1399));
    let quick: Vec<_> =
        world.checks(A, "203.0.113.2:2000").iter().map(|sent| sent.at).filter(|at| *at >= ms(1000)).collect();
    assert_eq!(quick, [ms(1000), ms(1060), ms(1120), ms(1180)]);
    world.run_until(ms(1400));
    assert_eq!(lost(&world, A), [ms(1400)]);
}

#[test]
fn on_a_long_path_silence_is_given_three_round_trips() {
    let mut world = World::connected(ms(150));
    cut(&mut world);
    let now = world.now;
    world.agents[A].handle_silence(now);
    world.run_until(ms(3000));
    assert_eq!(lost(&world, A), [ms(1900)]);
}

#[test]
fn silence_on_a_living_path_changes_nothing() {
    let mut world = World::connected(ms(20));
    let now = world.now;
    world.agents[A].handle_silence(now);
    world.run_until(ms(5000));
    assert!(lost(&world, A).is_empty());
    assert_eq!(world.selections(A).len(), 1);
}

#[test]
fn traffic_from_the_other_side_does_not_prove_that_ours_arrives() {
    let mut world = World::connected(ms(20));
    world.route = Box::new(|by, _, _| (by == B).then(|| (address("203.0.113.2:2000"), ms(20))));
    let now = world.now;
    world.agents[A].handle_silence(now);
    for step in 1..10 {
        world.run_until(ms(1000 + 50 * step));
        let now = world.now;
        world.agents[A].handle_received(Base::MAIN, address("203.0.113.2:2000"), now);
    }
    assert_eq!(lost(&world, A), [ms(1400)]);
}

#[test]
fn when_the_selected_path_is_lost_a_spare_one_is_checked_and_selected() {
    let lan_is_up = std::rc::Rc::new(std::cell::Cell::new(true));
    let cable = lan_is_up.clone();
    let mut world = World::new(move |by, transmit, _| {
        let lan = transmit.to.ip().to_string().starts_with("192.168.");
        let from = match (by, lan) {
            (A, false) => "203.0.113.1:1000",
            (A, true) => "192.168.1.1:1000",
            (_, false) => "203.0.113.2:2000",
            (_, true) => "192.168.1.2:2000",
        };
        (!lan || cable.get()).then(|| (address(from), ms(10)))
    });
    world.introduce(A, FIRST, Role::Inviter, &[host("192.168.1.2:2000"), host("203.0.113.2:2000")]);
    world.introduce(B, FIRST, Role::Invitee, &[]);
    world.run_until(ms(20_000));
    assert_eq!(world.agents[A].path().unwrap().remote, address("192.168.1.2:2000"));
    lan_is_up.set(false);
    let now = world.now;
    world.agents[A].handle_silence(now);
    world.run_until(ms(21_000));
    assert_eq!(lost(&world, A), [ms(20_400)]);
    let (at, path) = *world.selections(A).last().unwrap();
    assert_eq!(path.remote, address("203.0.113.2:2000"));
    assert!(at <= ms(20_430), "{at:?}: a round trip after the loss");
}

#[test]
fn a_path_that_comes_back_within_ten_seconds_is_selected_again() {
    let mut world = World::connected(ms(20));
    world.route = Box::new(|by, _, at| {
        let from = if by == A { "203.0.113.1:1000" } else { "203.0.113.2:2000" };
        (at >= ms(4000)).then(|| (address(from), ms(20)))
    });
    let now = world.now;
    world.agents[A].handle_silence(now);
    world.run_until(ms(6000));
    assert_eq!(lost(&world, A), [ms(1400)]);
    assert_eq!(world.selections(A).len(), 2);
    assert!(world.told(A, |event| *event == Event::Failed).is_empty());
}

#[test]
fn reset_forgets_everything() {
    let mut world = World::connected(ms(20));
    let check = world.checks(B, "203.0.113.1:1000")[0].transmit.payload.clone();
    world.agents[A].reset();
    assert_eq!(world.agents[A].path(), None);
    assert_eq!(world.agents[A].poll_timeout(), None);
    assert!(!world.agents[A].knows(&FIRST.0));
    assert!(!world.agents[A].admits(Base::MAIN, address("203.0.113.2:2000")));
    assert!(!world.deliver(A, address("203.0.113.2:2000"), &check));
}
