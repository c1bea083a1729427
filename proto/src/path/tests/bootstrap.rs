//! Introductions, openers, being heard.

use super::*;
use crate::stun::check::CHECK_LENGTH;

const A_NAT: &str = "198.51.100.1:1111";
const B_NAT: &str = "198.51.100.2:2222";

/// Each side behind a port-restricted NAT of which the other's candidate is known. A full-TTL packet that comes before
/// the router was opened spoils its port for good, as Linux routers that accept on INPUT have it; TTL 2 never arrives.
fn restricted_nats() -> World {
    let mut opened = [false; 2];
    let mut spoilt = [false; 2];
    let mut flying: Vec<(Duration, usize)> = Vec::new();
    World::new(move |by, transmit, at| {
        // Packets that reach the other router before now decide its fate first.
        flying.retain(|(arrival, router)| {
            if *arrival <= at && !opened[*router] {
                spoilt[*router] = true;
            }
            *arrival > at
        });
        opened[by] = true;
        if transmit.ttl.is_some_and(|ttl| ttl <= 2) {
            return None;
        }
        flying.push((at + ms(40), 1 - by));
        let arrives = opened[1 - by] && !spoilt[by] && !spoilt[1 - by];
        arrives.then(|| (address(if by == A { A_NAT } else { B_NAT }), ms(40)))
    })
}

#[test]
fn two_open_hosts_have_a_path_after_one_round_trip() {
    let world = World::connected(ms(20));
    for (side, remote) in [(A, "203.0.113.2:2000"), (B, "203.0.113.1:1000")] {
        let selections = world.selections(side);
        assert_eq!(selections.len(), 1);
        let (at, path) = selections[0];
        assert_eq!((at, path.remote, path.rtt), (ms(40), address(remote), ms(40)));
        assert_eq!(path.kind, CandidateKind::Host);
        assert_eq!(world.agents[side].path(), Some(path));
    }
}

#[test]
fn an_address_is_announced_once_and_before_it_is_selected() {
    let world = World::connected(ms(20));
    for side in [A, B] {
        let events = world.told(side, |event| !matches!(event, Event::Observed { .. }));
        let names: Vec<_> = events.iter().map(|(_, event)| event).collect();
        assert!(matches!(names[..], [Event::Heard { .. }, Event::Selected(_)]), "{names:?}");
    }
    assert!(world.agents[A].admits(Base::MAIN, address("203.0.113.2:2000")));
    assert!(world.agents[A].admits(Base::MAIN, address("[::ffff:203.0.113.2]:2000")));
    assert!(!world.agents[A].admits(Base::MAIN, address("203.0.113.2:2001")));
}

#[test]
fn each_side_learns_where_the_other_sees_it() {
    let world = World::connected(ms(20));
    let observed = world.told(A, |event| matches!(event, Event::Observed { .. }));
    assert_eq!(observed[0].1, Event::Observed { base: Base::MAIN, address: address("203.0.113.1:1000") });
    assert_eq!(observed.len(), 1);
}

#[test]
fn the_invitee_sends_two_openers_and_waits_to_hear_from_the_inviter() {
    let mut world = restricted_nats();
    world.introduce(B, FIRST, Role::Invitee, &[reflexive(A_NAT)]);
    world.run_until(ms(100));
    let openers = world.checks(B, A_NAT);
    assert_eq!(openers.iter().map(|sent| sent.at).collect::<Vec<_>>(), [ms(0), ms(5)]);
    assert!(openers.iter().all(|sent| sent.transmit.ttl == Some(2)));

    world.introduce(A, FIRST, Role::Inviter, &[reflexive(B_NAT)]);
    world.run_until(ms(400));
    let first = world.checks(A, B_NAT)[0];
    assert_eq!((first.at, first.transmit.ttl), (ms(100), None));
    // One way to be heard, then each side's own round trip: the invitee's begins when the inviter's check arrives.
    assert_eq!(world.selections(A)[0].0, ms(180));
    assert_eq!(world.selections(B)[0].0, ms(220));
}

#[test]
fn the_invitee_goes_on_at_full_ttl_when_told_that_the_inviter_is_ready() {
    let mut world = restricted_nats();
    world.introduce(B, FIRST, Role::Invitee, &[reflexive(A_NAT)]);
    world.run_until(ms(150));
    world.agents[B].handle_opened(FIRST.0, world.now);
    world.run_until(ms(151));
    let last = world.checks(B, A_NAT).pop().unwrap();
    assert_eq!((last.at, last.transmit.ttl), (ms(150), None));
}

#[test]
fn the_invitee_goes_on_at_full_ttl_after_a_second_without_word() {
    let mut world = World::new(|_, _, _| None);
    world.introduce(B, FIRST, Role::Invitee, &[reflexive(A_NAT)]);
    world.run_until(ms(1500));
    let checks = world.checks(B, A_NAT);
    assert_eq!(checks.iter().filter(|sent| sent.transmit.ttl.is_some()).count(), 2);
    let first_full = checks.iter().find(|sent| sent.transmit.ttl.is_none()).unwrap();
    assert_eq!(first_full.at, ms(1000));
}

#[test]
fn a_full_ttl_check_that_comes_first_would_have_spoilt_the_router() {
    // The same world and the same timing, but the invitee believes itself the inviter: this is why openers exist.
    let mut world = restricted_nats();
    world.introduce(B, FIRST, Role::Inviter, &[reflexive(A_NAT)]);
    world.run_until(ms(100));
    world.introduce(A, FIRST, Role::Inviter, &[reflexive(B_NAT)]);
    world.run_until(ms(11_000));
    assert_eq!((world.agents[A].path(), world.agents[B].path()), (None, None));
}

#[test]
fn private_and_host_addresses_need_no_openers() {
    let mut world = World::new(|_, _, _| None);
    let remotes = [host("192.168.1.7:1"), host("[2001:db8::7]:1"), reflexive("10.0.0.7:1")];
    world.introduce(B, FIRST, Role::Invitee, &remotes);
    world.run_until(ms(30));
    assert!(world.sent.len() >= 3);
    assert!(world.sent.iter().all(|sent| sent.transmit.ttl.is_none()));
}

#[test]
fn the_configured_ttl_is_used() {
    let mut agent = Agent::new(Config { opener_ttl: 3, ..Config::default() }, [1; 32]);
    agent.introduce(FIRST.0, FIRST.1, Role::Invitee, &[reflexive(A_NAT)], epoch());
    assert_eq!(agent.poll_transmit().unwrap().ttl, Some(3));
}

#[test]
fn when_both_invite_at_once_either_introduction_serves() {
    let mut world = restricted_nats();
    // The rendezvous tells each invitee at once, and the inviter 80 ms later.
    world.introduce(B, FIRST, Role::Invitee, &[reflexive(A_NAT)]);
    world.run_until(ms(3));
    world.introduce(A, SECOND, Role::Invitee, &[reflexive(B_NAT)]);
    world.run_until(ms(80));
    world.introduce(A, FIRST, Role::Inviter, &[reflexive(B_NAT)]);
    world.run_until(ms(83));
    world.introduce(B, SECOND, Role::Inviter, &[reflexive(A_NAT)]);
    world.run_until(ms(400));
    assert!(world.selections(A)[0].0 <= ms(210), "{:?}", world.selections(A));
    assert!(world.selections(B)[0].0 <= ms(210), "{:?}", world.selections(B));
}

#[test]
fn a_check_from_an_unnamed_address_makes_a_peer_reflexive_path() {
    // A sits behind a NAT that gives this destination a port which no server saw, so that all that B knows is wrong.
    let mut world = World::new(|by, transmit, _| match by {
        A => Some((address("198.51.100.1:5555"), ms(20))),
        _ => (transmit.to == address("198.51.100.1:5555")).then(|| (address("203.0.113.2:2000"), ms(20))),
    });
    world.introduce(B, FIRST, Role::Invitee, &[reflexive(A_NAT)]);
    world.introduce(A, FIRST, Role::Inviter, &[host("203.0.113.2:2000")]);
    world.run_until(ms(300));
    let (at, path) = world.selections(B)[0];
    assert_eq!(path.remote, address("198.51.100.1:5555"));
    assert_eq!(path.kind, CandidateKind::PeerReflexive);
    assert_eq!(at, ms(60), "one way to hear it, and a round trip for the check that it triggers");
}

#[test]
fn first_checks_go_out_five_milliseconds_apart_the_most_promising_first() {
    let mut world = World::new(|_, _, _| None);
    let remotes = [
        reflexive("203.0.113.7:1"),
        candidate(CandidateKind::PortMapped, "203.0.113.7:2"),
        host("203.0.113.7:3"),
        host("192.168.1.7:4"),
    ];
    world.introduce(A, FIRST, Role::Inviter, &remotes);
    world.run_until(ms(20));
    let order: Vec<_> = world.sent.iter().map(|sent| (sent.at, sent.transmit.to.port())).collect();
    assert_eq!(order[..4], [(ms(0), 4), (ms(5), 3), (ms(10), 2), (ms(15), 1)]);
}

#[test]
fn repetitions_grow_from_40_ms_to_a_second_and_end_after_ten() {
    let mut world = World::new(|_, _, _| None);
    world.introduce(A, FIRST, Role::Inviter, &[host("203.0.113.7:1")]);
    world.run_until(ms(60_000));
    let times: Vec<_> = world.sent.iter().map(|sent| sent.at).collect();
    assert_eq!(times[..4], [ms(0), ms(40), ms(104), Duration::from_micros(206_400)]);
    assert_eq!(times.len(), 16);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= ms(1000)));
    assert!(world.sent.iter().all(|sent| sent.transmit.payload.len() == CHECK_LENGTH));
    assert_eq!(world.told(A, |_| true), [(ms(10_000), Event::Failed)]);
    assert_eq!(world.agents[A].poll_timeout(), None);
}

#[test]
fn without_any_candidate_failure_waits_for_the_round_to_end() {
    let mut world = World::new(|_, _, _| None);
    world.introduce(A, FIRST, Role::Inviter, &[]);
    world.run_until(ms(20_000));
    assert_eq!(world.told(A, |_| true), [(ms(10_000), Event::Failed)]);
}

#[test]
fn a_candidate_that_comes_later_joins_the_round() {
    let mut world = World::open(&["203.0.113.1:1000"], &["203.0.113.2:2000"], ms(20));
    world.introduce(A, FIRST, Role::Inviter, &[]);
    world.introduce(B, FIRST, Role::Invitee, &[]);
    world.run_until(ms(200));
    world.agents[A].add_candidates(FIRST.0, &[host("203.0.113.2:2000")], world.now);
    world.agents[A].add_candidates(SECOND.0, &[host("203.0.113.9:2000")], world.now);
    world.run_until(ms(300));
    assert_eq!(world.selections(A)[0].0, ms(240));
    assert_eq!(world.selections(B)[0].0, ms(260), "B knew nothing of A but was heard");
    assert!(world.checks(A, "203.0.113.9:2000").is_empty());
}

#[test]
fn a_path_is_found_through_heavy_loss() {
    for seed in 0..50_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut world = World::new(move |by, _, _| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let from = if by == A { "203.0.113.1:1000" } else { "203.0.113.2:2000" };
            (state >> 20 & 3 != 0 && state >> 30 & 3 != 0).then(|| (address(from), ms(30)))
        });
        world.introduce(A, FIRST, Role::Inviter, &[host("203.0.113.2:2000")]);
        world.introduce(B, FIRST, Role::Invitee, &[host("203.0.113.1:1000")]);
        world.run_until(ms(9_000));
        assert!(world.agents.iter().all(|agent| agent.path().is_some()), "44 % loss, seed {seed}");
    }
}
