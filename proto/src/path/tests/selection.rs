//! Which path is used, and when another takes its place.

use super::*;

/// B answers at a public address (`public` one way) and at a private one (`private` one way); A has one of each, too.
fn two_ways(public: Duration, private: Duration) -> World {
    World::new(move |by, transmit, _| {
        let lan = matches!(transmit.to.ip(), std::net::IpAddr::V4(v4) if v4.is_private());
        let from = match (by, lan) {
            (A, false) => "203.0.113.1:1000",
            (A, true) => "192.168.1.1:1000",
            (_, false) => "203.0.113.2:2000",
            (_, true) => "192.168.1.2:2000",
        };
        Some((address(from), if lan { private } else { public }))
    })
}

const BOTH_OF_B: [&str; 2] = ["203.0.113.2:2000", "192.168.1.2:2000"];

fn meet(world: &mut World, candidates: &[Candidate]) {
    world.introduce(A, FIRST, Role::Inviter, candidates);
    world.introduce(B, FIRST, Role::Invitee, &[]);
    world.run_until(ms(3000));
}

#[test]
fn the_private_path_takes_over_from_a_public_one_that_answered_first() {
    let mut world = two_ways(ms(10), ms(11));
    meet(&mut world, &BOTH_OF_B.map(reflexive));
    let remotes: Vec<_> = world.selections(A).iter().map(|(_, path)| path.remote).collect();
    assert_eq!(remotes.last(), Some(&address("192.168.1.2:2000")));
    assert!(remotes.len() <= 2);
}

/// A machine that has just started two programs answers late, and a router in the way would be in it for good.
#[test]
fn a_private_path_that_seemed_slower_is_looked_at_again() {
    let mut world = World::new(|by, transmit, elapsed| {
        let lan = matches!(transmit.to.ip(), std::net::IpAddr::V4(v4) if v4.is_private());
        let from =
            [["203.0.113.1:1000", "192.168.1.1:1000"], ["203.0.113.2:2000", "192.168.1.2:2000"]][by][usize::from(lan)];
        let busy = elapsed < ms(3500);
        Some((address(from), if lan && busy { ms(40) } else { ms(5) }))
    });
    meet(&mut world, &BOTH_OF_B.map(host));
    assert_eq!(world.selections(A).last().unwrap().1.remote, address("203.0.113.2:2000"));
    world.run_until(ms(20_000));
    assert_eq!(world.selections(A).last().unwrap().1.remote, address("192.168.1.2:2000"));
    let looked = world.checks(A, "192.168.1.2:2000").len();
    world.run_until(ms(100_000));
    assert_eq!(looked, world.checks(A, "192.168.1.2:2000").iter().filter(|sent| sent.at < ms(20_000)).count());
}

#[test]
fn a_private_address_that_leads_around_the_world_is_not_preferred() {
    let mut world = two_ways(ms(10), ms(90));
    meet(&mut world, &BOTH_OF_B.map(host));
    let selections = world.selections(A);
    assert_eq!(selections.len(), 1);
    assert_eq!(selections[0].1.remote, address("203.0.113.2:2000"));
}

#[test]
fn a_clearly_faster_path_takes_over_and_a_slightly_faster_one_does_not() {
    for (second, switched) in [(46, false), (44, true)] {
        let mut world = World::new(move |by, transmit, _| {
            let v6 = transmit.to.is_ipv6();
            let from = match (by, v6) {
                (A, false) => "203.0.113.1:1000",
                (A, true) => "[2001:db8::1]:1000",
                (_, false) => "203.0.113.2:2000",
                (_, true) => "[2001:db8::2]:2000",
            };
            Some((address(from), if v6 { ms(second) } else { ms(50) }))
        });
        world.introduce(A, FIRST, Role::Inviter, &[host("203.0.113.2:2000")]);
        world.introduce(B, FIRST, Role::Invitee, &[]);
        world.run_until(ms(500));
        let now = world.now;
        world.agents[A].add_candidates(FIRST.0, &[host("[2001:db8::2]:2000")], now);
        world.run_until(ms(2000));
        assert_eq!(world.selections(A).len(), if switched { 2 } else { 1 }, "{second} ms");
    }
}

#[test]
fn two_like_paths_with_noise_do_not_alternate() {
    let mut noise = 0_u64;
    let mut world = World::new(move |by, transmit, _| {
        noise = (noise * 7 + 3) % 11; // 0 to 10 ms more on each way
        let second = transmit.to.port() == 2001 || transmit.to.port() == 1001;
        let from = match (by, second) {
            (A, false) => "203.0.113.1:1000",
            (A, true) => "203.0.113.1:1001",
            (_, false) => "203.0.113.2:2000",
            (_, true) => "203.0.113.2:2001",
        };
        Some((address(from), ms(100 + noise)))
    });
    let both = [host("203.0.113.2:2000"), host("203.0.113.2:2001")];
    meet(&mut world, &both);
    for round in 2..20 {
        // Each new introduction checks both again.
        let introduction = (IntroductionId([round; 12]), CheckKey([round; 20]));
        world.introduce(B, introduction, Role::Invitee, &[]);
        world.introduce(A, introduction, Role::Inviter, &both);
        world.run_until(ms(3000 + 1000 * u64::from(round)));
    }
    // A tie is decided by who answers first after an introduction; the loser never comes back within it.
    assert!(world.selections(A).len() <= 20, "{:?}", world.selections(A));
    for pair in world.selections(A).windows(2) {
        assert!(pair[1].0 - pair[0].0 > ms(500), "{pair:?}");
    }
}

#[test]
fn a_living_path_is_used_on_while_a_new_introduction_looks_for_a_better_one() {
    let mut world = World::connected(ms(20));
    world.introduce(B, SECOND, Role::Invitee, &[host("203.0.113.77:1")]);
    world.introduce(A, SECOND, Role::Inviter, &[host("203.0.113.88:1"), host("203.0.113.2:2000")]);
    world.run_until(ms(15_000));
    for side in [A, B] {
        assert_eq!(world.selections(side).len(), 1);
        assert!(world.told(side, |event| matches!(event, Event::Lost { .. } | Event::Failed)).is_empty());
        assert!(world.agents[side].path().is_some());
    }
}

#[test]
fn a_side_that_restarted_is_found_again_at_its_old_address() {
    let mut world = World::connected(ms(20));
    world.agents[B] = agent(9);
    world.introduce(B, SECOND, Role::Invitee, &[host("203.0.113.1:1000")]);
    world.introduce(A, SECOND, Role::Inviter, &[host("203.0.113.2:2000")]);
    world.run_until(ms(1100));
    assert_eq!(world.selections(B).len(), 2);
    let again = world.checks(A, "203.0.113.2:2000").into_iter().find(|sent| sent.at >= ms(1000)).unwrap();
    assert_eq!(check::peek(&again.transmit.payload), Peek::Request(SECOND.0), "a key that B has now");
    assert_eq!(world.selections(A).len(), 1, "for A nothing has changed");
    world.run_until(ms(70_000));
    assert!(world.told(A, |event| matches!(event, Event::Lost { .. })).is_empty(), "checks use a key that B knows");
}

#[test]
fn an_introduction_that_reached_only_one_side_does_not_cost_the_path() {
    let mut world = World::connected(ms(20));
    for n in 10..20 {
        world.introduce(A, (IntroductionId([n; 12]), CheckKey([n; 20])), Role::Inviter, &[host("203.0.113.2:2000")]);
        let elapsed = world.elapsed();
        world.run_until(elapsed + ms(20_000));
    }
    for side in [A, B] {
        assert_eq!(world.selections(side).len(), 1);
        assert!(world.agents[side].path().is_some());
    }
}

#[test]
fn doubt_is_settled_under_the_key_that_the_other_side_knows() {
    let mut world = World::connected(ms(20));
    world.introduce(A, SECOND, Role::Inviter, &[]);
    let now = world.now;
    world.agents[A].handle_silence(now);
    world.run_until(ms(2000));
    assert!(world.told(A, |event| matches!(event, Event::Lost { .. })).is_empty());
}

#[test]
fn a_side_that_moved_is_followed_within_a_round_trip_of_the_introduction() {
    let mut world = World::connected(ms(20));
    world.route = Box::new(|by, transmit, _| match by {
        A => (transmit.to == address("203.0.113.3:3000")).then(|| (address("203.0.113.1:1000"), ms(20))),
        _ => Some((address("203.0.113.3:3000"), ms(20))),
    });
    world.introduce(B, SECOND, Role::Invitee, &[host("203.0.113.1:1000")]);
    world.introduce(A, SECOND, Role::Inviter, &[host("203.0.113.3:3000")]);
    world.run_until(ms(1200));
    let (at, path) = *world.selections(A).last().unwrap();
    assert_eq!(
        (at, path.remote),
        (ms(1050), address("203.0.113.3:3000")),
        "10 ms after the old path should have answered"
    );
    assert_eq!(world.agents[B].path().unwrap().remote, address("203.0.113.1:1000"));
}

#[test]
fn a_rebinding_is_followed_at_the_first_check_from_the_new_address() {
    let mut world = World::connected(ms(20));
    world.route = Box::new(|by, transmit, _| match by {
        A => (transmit.to == address("203.0.113.2:2999")).then(|| (address("203.0.113.1:1000"), ms(20))),
        _ => Some((address("203.0.113.2:2999"), ms(20))),
    });
    let now = world.now;
    world.agents[B].handle_silence(now);
    world.run_until(ms(1200));
    let (at, path) = *world.selections(A).last().unwrap();
    assert_eq!(path.remote, address("203.0.113.2:2999"));
    assert!(at <= ms(1070), "{at:?}: one way to be heard and a round trip");
    assert!(world.told(B, |event| matches!(event, Event::Lost { .. })).is_empty());
}

#[test]
fn a_check_from_another_address_of_a_living_contact_does_not_move_the_path() {
    let mut world = World::connected(ms(20));
    let id = crate::stun::TransactionId([9; 12]);
    // B's second interface: alive, answering, and no better.
    world.route = Box::new(|by, transmit, _| {
        let second = matches!(transmit.to.port(), 1001 | 2001);
        let from = match (by, second) {
            (A, false) => "203.0.113.1:1000",
            (A, true) => "203.0.113.1:1001",
            (_, false) => "203.0.113.2:2000",
            (_, true) => "203.0.113.3:2001",
        };
        Some((address(from), ms(20)))
    });
    world.deliver(A, address("203.0.113.3:2001"), &check::request(id, &FIRST.0, &FIRST.1));
    world.run_until(ms(5000));
    let answered = world.agents[A].remote(Pair::new(Base::MAIN, address("203.0.113.3:2001"))).unwrap().answered;
    assert!(answered.is_some());
    assert_eq!(world.selections(A).len(), 1);
}

#[test]
fn a_spare_path_costs_nothing_while_the_selected_one_lives() {
    let mut world = two_ways(ms(10), ms(1));
    meet(&mut world, &BOTH_OF_B.map(host));
    let before = world.checks(A, "203.0.113.2:2000").len();
    world.run_until(ms(120_000));
    assert_eq!(world.checks(A, "203.0.113.2:2000").len(), before);
}
