//! Strangers, liars, and contacts that turned hostile.

use super::*;
use crate::candidate::MAX_CANDIDATES;
use crate::path::agent::MAX_REMOTES;
use crate::stun::TransactionId;
use proptest::prelude::*;

const SOURCE: &str = "203.0.113.2:2000";

fn introduced() -> (Agent, Instant) {
    let (mut agent, now) = (agent(1), epoch());
    agent.introduce(FIRST.0, FIRST.1, Role::Inviter, &[host(SOURCE)], now);
    (agent, now)
}

#[test]
fn a_check_with_another_key_or_introduction_gets_silence() {
    let (mut agent, now) = introduced();
    while agent.poll_transmit().is_some() {}
    let id = TransactionId([5; 12]);
    for wrong in [
        check::request(id, &FIRST.0, &SECOND.1),
        check::request(id, &SECOND.0, &FIRST.1),
        check::request(id, &FIRST.0, &FIRST.1)[..75].to_vec(),
    ] {
        assert!(!agent.handle_request(Base::MAIN, address(SOURCE), &wrong, now));
        assert_eq!((agent.poll_transmit(), agent.poll_event()), (None, None));
    }
    assert!(agent.handle_request(Base::MAIN, address(SOURCE), &check::request(id, &FIRST.0, &FIRST.1), now));
    let answer = agent.poll_transmit().unwrap();
    assert_eq!(check::verify_response(&answer.payload, &FIRST.1), Some((id, address(SOURCE))));
}

#[test]
fn a_response_from_another_address_is_ignored_and_the_right_one_still_counts() {
    let (mut agent, now) = introduced();
    let request = agent.poll_transmit().unwrap();
    let id = check::verify_request(&request.payload, &FIRST.0, &FIRST.1).unwrap();
    let response = check::response(id, address("203.0.113.1:1"), &FIRST.1);
    assert!(agent.expects(&id));
    assert!(!agent.handle_response(Base::MAIN, address("203.0.113.66:2000"), &response, now + ms(5)));
    assert_eq!(agent.path(), None);
    assert!(agent.handle_response(Base::MAIN, address(SOURCE), &response, now + ms(10)));
    assert_eq!(agent.path().unwrap().rtt, ms(10));
    assert!(!agent.expects(&id));
    assert!(!agent.handle_response(Base::MAIN, address(SOURCE), &response, now + ms(11)), "twice");
}

#[test]
fn a_response_under_another_key_is_ignored() {
    let (mut agent, now) = introduced();
    let request = agent.poll_transmit().unwrap();
    let id = check::verify_request(&request.payload, &FIRST.0, &FIRST.1).unwrap();
    assert!(!agent.handle_response(Base::MAIN, address(SOURCE), &check::response(id, address(SOURCE), &SECOND.1), now));
    assert_eq!(agent.path(), None);
}

#[test]
fn candidates_where_nobody_can_be_are_not_checked() {
    let (mut agent, now) = (agent(1), epoch());
    let remotes = ["127.0.0.1:53", "224.0.0.1:9", "255.255.255.255:9", "0.0.0.0:9", "192.0.2.1:0"].map(host);
    agent.introduce(FIRST.0, FIRST.1, Role::Inviter, &remotes, now);
    assert_eq!(agent.poll_transmit(), None);
    let mut demo = Agent::new(Config { allow_loopback: true, ..Config::default() }, [1; 32]);
    demo.introduce(FIRST.0, FIRST.1, Role::Inviter, &remotes, now);
    assert_eq!(demo.poll_transmit().unwrap().to, address("127.0.0.1:53"));
}

#[test]
fn an_introduction_causes_at_most_sixteen_times_twenty_four_checks() {
    let mut world = World::new(|_, _, _| None);
    let remotes: Vec<_> = (1..100).map(|port| host(&format!("203.0.113.7:{port}"))).collect();
    for second in 0..60 {
        world.introduce(A, FIRST, Role::Inviter, &remotes[..50]);
        let now = world.now;
        world.agents[A].add_candidates(FIRST.0, &remotes, now);
        world.run_until(ms(second * 1000));
    }
    let mut each = BTreeMap::new();
    for sent in &world.sent {
        *each.entry(sent.transmit.to).or_insert(0_usize) += 1;
    }
    assert_eq!(each.len(), MAX_CANDIDATES);
    assert!(each.values().all(|checks| *checks <= 24), "{each:?}");
}

#[test]
fn naming_an_address_again_and_again_does_not_begin_again() {
    let mut world = World::new(|_, _, _| None);
    for second in 1..60 {
        world.introduce(A, FIRST, Role::Inviter, &[host("203.0.113.7:53")]);
        world.run_until(ms(second * 1000));
    }
    assert!(world.sent.len() <= 24, "{}", world.sent.len());
}

#[test]
fn checks_from_an_address_that_never_answers_begin_few_series() {
    let mut world = World::new(|_, _, _| None);
    world.introduce(A, FIRST, Role::Inviter, &[host(SOURCE)]);
    world.run_until(ms(20_000));
    let before = world.checks(A, SOURCE).len();
    for turn in 0..1200_u32 {
        let id = TransactionId(std::array::from_fn(|i| (turn >> (8 * (i % 4))) as u8));
        world.deliver(A, address(SOURCE), &check::request(id, &FIRST.0, &FIRST.1));
        world.run_until(ms(20_000 + 500 * u64::from(turn)));
    }
    let checks = world.checks(A, SOURCE).len() - before;
    assert!(checks <= 8 * (8 + 60 + 1), "{checks} in ten minutes");
}

#[test]
fn the_selected_path_is_not_evicted_by_others_that_answer_too() {
    let mut world = World::new(|by, transmit, _| {
        let ip = if by == A { "203.0.113.1" } else { "198.51.100.7" };
        Some((SocketAddr::new(ip.parse().unwrap(), transmit.to.port()), ms(20)))
    });
    for n in 1..=4_u8 {
        let introduction = (IntroductionId([n; 12]), CheckKey([n; 20]));
        let at = |ip: &str| -> Vec<_> {
            (0..16).map(|port| host(&format!("{ip}:{}", 1000 + u16::from(n) * 16 + port))).collect()
        };
        world.introduce(B, introduction, Role::Invitee, &at("203.0.113.1"));
        world.introduce(A, introduction, Role::Inviter, &at("198.51.100.7"));
        world.run_until(ms(u64::from(n) * 2000));
    }
    assert!(!world.told(A, |event| matches!(event, Event::Forgotten { .. })).is_empty());
    assert_eq!(world.selections(A).len(), 1);
    assert_eq!(world.agents[A].path().unwrap().remote, address("198.51.100.7:1016"));
}

#[test]
fn a_contact_that_forges_sources_makes_few_checks_and_no_more_answers_than_it_sent() {
    let mut world = World::new(|_, _, _| None);
    world.introduce(A, FIRST, Role::Inviter, &[]);
    let minutes = 10;
    for forged in 0..minutes * 60 * 10_u32 {
        let source = SocketAddr::new(std::net::Ipv4Addr::from(0xcb00_7100 + forged % 256).into(), 1000 + forged as u16);
        let id = TransactionId(std::array::from_fn(|i| (forged >> (8 * (i % 4))) as u8));
        world.deliver(A, source, &check::request(id, &FIRST.0, &FIRST.1));
        world.run_until(ms(u64::from(forged) * 100));
    }
    let checks = world.sent.iter().filter(|sent| sent.is_request()).count();
    let answers = world.sent.len() - checks;
    assert!(checks <= 8 * (8 + minutes as usize * 6 + 1), "{checks} checks");
    assert!(answers <= 8 + minutes as usize * 6 + 1, "{answers} answers");
    let told = world.told(A, |event| matches!(event, Event::Heard { .. })).len();
    let forgotten = world.told(A, |event| matches!(event, Event::Forgotten { .. })).len();
    assert_eq!(told - forgotten, world.agents[A].remotes.len());
    assert!(world.agents[A].remotes.len() <= MAX_REMOTES);
}

#[test]
fn memory_is_bounded_through_a_hundred_introductions_and_the_path_survives() {
    let mut world = World::connected(ms(20));
    for n in 10..110_u8 {
        let remotes: Vec<_> = (1..=16).map(|port| host(&format!("198.51.100.{n}:{port}"))).collect();
        world.introduce(A, (IntroductionId([n; 12]), CheckKey([n; 20])), Role::Inviter, &remotes);
        let elapsed = world.elapsed();
        world.run_until(elapsed + ms(300));
        let agent = &world.agents[A];
        assert!(agent.remotes.len() <= MAX_REMOTES);
        assert!(agent.transactions.len() <= 200);
    }
    assert_eq!(world.agents[A].path().unwrap().remote, address(SOURCE));
    let known = |n| world.agents[A].knows(&IntroductionId([n; 12]));
    assert!(known(109) && known(108) && known(107) && !known(106), "the last three are valid");
    assert!(known(1), "and the one that the other side surely knows, for it never heard of the others");
}

#[test]
fn an_idle_agent_keeps_no_transactions() {
    let mut world = World::connected(ms(20));
    world.run_until(ms(100_000));
    assert!(world.agents[A].transactions.len() <= 1);
}

#[derive(Debug, Clone)]
enum Deed {
    Introduce(u8, bool, Vec<u8>),
    Opened(u8),
    Check(u8, u8),
    Answer(u8),
    Noise(Vec<u8>),
    Received(u8),
    Silence,
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0_u8..6, any::<bool>(), proptest::collection::vec(0_u8..60, 0..20))
            .prop_map(|(n, r, a)| Deed::Introduce(n, r, a)),
        (0_u8..6).prop_map(Deed::Opened),
        (0_u8..6, 0_u8..60).prop_map(|(n, a)| Deed::Check(n, a)),
        (0_u8..6).prop_map(Deed::Answer),
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(Deed::Noise),
        (0_u8..60).prop_map(Deed::Received),
        Just(Deed::Silence),
        (0_u64..20_000).prop_map(Deed::Pass),
    ]
}

/// Sixty addresses: named kinds of hosts and NATs, private and public.
fn place(n: u8) -> Candidate {
    let text = format!(
        "{}.{}:{}",
        if n.is_multiple_of(2) { "192.168.1" } else { "203.0.113" },
        n / 4 + 1,
        1000 + u16::from(n)
    );
    if n.is_multiple_of(3) { host(&text) } else { reflexive(&text) }
}

proptest! {
    #[test]
    fn whatever_happens_time_moves_on_and_everything_stays_bounded(deeds in proptest::collection::vec(deed(), 1..60)) {
        let mut agent = agent(7);
        let mut now = epoch();
        let mut asked: Vec<Transmit> = Vec::new();
        for (turn, deed) in deeds.into_iter().enumerate() {
            let introduction = |n: u8| (IntroductionId([n; 12]), CheckKey([n; 20]));
            match deed {
                Deed::Introduce(n, inviter, places) => {
                    let (id, key) = introduction(n);
                    let remotes: Vec<_> = places.into_iter().map(place).collect();
                    agent.introduce(id, key, if inviter { Role::Inviter } else { Role::Invitee }, &remotes, now);
                }
                Deed::Opened(n) => agent.handle_opened(introduction(n).0, now),
                Deed::Check(n, from) => {
                    let (id, key) = introduction(n);
                    agent.handle_request(Base::MAIN, place(from).address, &check::request(TransactionId([turn as u8; 12]), &id, &key), now);
                }
                Deed::Answer(n) => if let Some(transmit) = asked.pop() {
                    let (introduction, key) = introduction(n);
                    if let Some(id) = check::verify_request(&transmit.payload, &introduction, &key) {
                        agent.handle_response(Base::MAIN, transmit.to, &check::response(id, transmit.to, &key), now);
                    }
                },
                Deed::Noise(bytes) => {
                    agent.handle_request(Base::MAIN, place(0).address, &bytes, now);
                    agent.handle_response(Base::MAIN, place(0).address, &bytes, now);
                }
                Deed::Received(from) => agent.handle_received(Base::MAIN, place(from).address, now),
                Deed::Silence => agent.handle_silence(now),
                Deed::Pass(time) => {
                    let end = now + ms(time);
                    while let Some(next) = agent.poll_timeout().filter(|next| *next <= end) {
                        now = now.max(next);
                        agent.handle_timeout(now);
                        prop_assert!(agent.poll_timeout().is_none_or(|next| next > now));
                    }
                    now = end;
                }
            }
            while let Some(transmit) = agent.poll_transmit() {
                prop_assert!(transmit.payload.len() <= check::CHECK_LENGTH);
                asked.push(transmit);
            }
            while agent.poll_event().is_some() {}
            prop_assert!(agent.remotes.len() <= MAX_REMOTES && agent.transactions.len() <= 200);
            prop_assert!(agent.path().is_none_or(|path| agent.admits(path.base, path.remote)));
        }
        // Left alone, it comes to rest: nothing but, at the end, nothing.
        for _ in 0..5_000 {
            let Some(next) = agent.poll_timeout() else { return Ok(()) };
            now = now.max(next);
            agent.handle_timeout(now);
            while agent.poll_transmit().is_some() || agent.poll_event().is_some() {}
        }
        prop_assert!(false, "it never rests");
    }
}
