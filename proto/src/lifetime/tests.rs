//! The search behind NATs of every patience, and the watch over what changes.

use std::net::SocketAddr;

use super::search::SETTLE;
use super::*;

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    Instant::now()
}

fn seen(port: u16) -> SocketAddr {
    ([203, 0, 113, 1], port).into()
}

/// Searches behind a NAT that bears this many seconds; returns the machine, the trials, and how long it took.
fn searched(profile: Profile, known: Known, bears_s: u16, now: Instant) -> (Lifetime, Vec<u16>, Duration) {
    let mut lifetime = Lifetime::new(profile, known);
    let began = now;
    let mut now = now;
    let mut trials = Vec::new();
    lifetime.handle_observed(seen(1), now);
    while let Some(due) = lifetime.poll_timeout() {
        now = now.max(due);
        lifetime.handle_timeout(now);
        while let Some(event) = lifetime.poll_event() {
            if let Event::Trial { delay_s } = event {
                trials.push(delay_s);
                now += Duration::from_secs(delay_s.into());
                let trial = if delay_s < bears_s { Trial::Borne } else { Trial::Died };
                lifetime.handle_trial(trial, now);
            }
        }
    }
    (lifetime, trials, now - began)
}

#[test]
fn the_interval_found_is_safe_and_at_least_half_of_what_the_nat_bears() {
    for bears_s in [20, 31, 35, 50, 61, 65, 100, 119, 121, 180, 240, 300, 450, 590, 601, 7_440] {
        let (lifetime, trials, took) = searched(Profile::Frugal, Known::default(), bears_s, start());
        let interval = lifetime.interval().as_secs() as u16;
        assert!(interval < bears_s, "{bears_s}: {interval}");
        assert!(interval <= 600);
        let most = bears_s.min(600);
        assert!(interval >= most / 2, "{bears_s}: {interval} after {trials:?}");
        assert!(trials.len() <= 14, "{trials:?}");
        assert!(took <= Duration::from_secs(60 * 60), "{took:?}");
    }
}

#[test]
fn a_nat_with_hopelessly_short_mappings_is_kept_alive_as_usual() {
    let (lifetime, trials, _) = searched(Profile::Frugal, Known::default(), 8, start());
    assert_eq!(lifetime.interval(), KEEPALIVE_INTERVAL);
    assert!(trials.len() <= 5, "{trials:?}");
}

#[test]
fn only_the_frugal_search() {
    for profile in [Profile::Default, Profile::Strict] {
        let (lifetime, trials, _) = searched(profile, Known::default(), 120, start());
        assert_eq!((trials, lifetime.interval()), (vec![], profile.interval()));
    }
}

#[test]
fn whoever_wants_to_know_has_it_searched_for_once_and_no_interval_changes() {
    let now = start();
    let mut lifetime = Lifetime::new(Profile::Default, Known::default());
    lifetime.seek(now);
    assert!(!lifetime.is_searching(), "nobody sees us yet");
    lifetime.handle_observed(seen(1), now);
    assert!(lifetime.is_searching());
    lifetime.handle_timeout(now + SETTLE);
    lifetime.seek(now + SETTLE);
    let mut trials = 0;
    while let Some(event) = lifetime.poll_event() {
        match event {
            Event::Trial { delay_s } => {
                trials += 1;
                lifetime.handle_trial(if delay_s < 65 { Trial::Borne } else { Trial::Died }, now);
            }
            Event::Learnt(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((3..=14).contains(&trials), "{trials}");
    assert!((55..65).contains(&lifetime.known().borne_s), "{lifetime:?}");
    assert!(!lifetime.is_searching());
    lifetime.seek(now);
    assert!(!lifetime.is_searching() && lifetime.poll_event().is_none(), "it is known");
}

#[test]
fn whoever_wants_to_know_does_not_wait_for_a_rendezvous_without_echoes_nor_for_an_hours_pause() {
    let began = start();
    let mut now = began;
    let mut lifetime = Lifetime::new(Profile::Default, Known::default());
    lifetime.handle_observed(seen(1), now);
    lifetime.seek(now);
    while lifetime.is_searching() {
        now = lifetime.poll_timeout().unwrap();
        lifetime.handle_timeout(now);
    }
    assert!(now - began < Duration::from_secs(15 * 60), "{:?}", now - began);
    assert_eq!(lifetime.poll_timeout(), None);

    let mut lifetime = Lifetime::new(Profile::Frugal, Known::default());
    lifetime.handle_observed(seen(1), now);
    for _ in 0..20 {
        now = lifetime.poll_timeout().unwrap();
        lifetime.handle_timeout(now);
    }
    lifetime.handle_trial(Trial::Void, now);
    lifetime.seek(now);
    assert!(lifetime.poll_timeout().unwrap() - now <= SETTLE);
}

#[test]
fn what_is_remembered_is_used_at_once_and_tried_once() {
    let known = Known { borne_s: 112, died_s: 120, absolute_s: 0 };
    assert_eq!(Lifetime::new(Profile::Frugal, known).interval(), Duration::from_secs(89));
    let (lifetime, trials, _) = searched(Profile::Frugal, known, 120, start());
    assert_eq!((trials, lifetime.known()), (vec![112], known));
    let (lifetime, trials, _) = searched(Profile::Frugal, known, 65, start());
    assert_eq!(trials[..2], [112, 112], "once more, for it may have been lost");
    assert!((40..65).contains(&lifetime.interval().as_secs()), "{lifetime:?}");
}

#[test]
fn an_echo_that_is_lost_once_costs_nothing_but_time() {
    let now = start();
    let mut lifetime = Lifetime::new(Profile::Frugal, Known::default());
    lifetime.handle_observed(seen(1), now);
    lifetime.handle_timeout(now + SETTLE);
    assert_eq!(lifetime.poll_event(), Some(Event::Trial { delay_s: 30 }));
    lifetime.handle_trial(Trial::Died, now);
    assert_eq!(lifetime.poll_event(), Some(Event::Trial { delay_s: 30 }));
    lifetime.handle_trial(Trial::Borne, now);
    assert_eq!(lifetime.known(), Known { borne_s: 30, ..Known::default() });
}

#[test]
fn trials_without_any_answer_come_more_and_more_rarely_and_change_nothing() {
    let mut now = start();
    let mut lifetime = Lifetime::new(Profile::Frugal, Known::default());
    lifetime.handle_observed(seen(1), now);
    let began = now;
    let mut trials = 0;
    while now - began < Duration::from_secs(24 * 3600) {
        now = lifetime.poll_timeout().unwrap();
        lifetime.handle_timeout(now);
        if let Some(event) = lifetime.poll_event() {
            assert_eq!(event, Event::Trial { delay_s: 30 });
            trials += 1;
            // Every second one is not even reported.
            if trials % 2 == 0 {
                lifetime.handle_trial(Trial::Void, now);
            }
        }
    }
    assert!((20..40).contains(&trials), "{trials}");
    assert_eq!(lifetime.known(), Known::default());
}

#[test]
fn a_mapping_that_changes_at_an_interval_believed_safe_halves_it_and_begins_the_search_again() {
    let known = Known { borne_s: 300, died_s: 330, absolute_s: 0 };
    let now = start();
    let mut lifetime = Lifetime::new(Profile::Frugal, known);
    while lifetime.poll_event().is_some() {}
    lifetime.handle_observed(seen(1), now);
    let later = now + Duration::from_secs(3600);
    lifetime.handle_observed(seen(2), later);
    assert_eq!(lifetime.poll_event(), Some(Event::Learnt(Known { borne_s: 0, died_s: 240, absolute_s: 0 })));
    assert_eq!(lifetime.poll_event(), Some(Event::Interval(Duration::from_secs(120))));
    lifetime.handle_timeout(later + SETTLE);
    assert_eq!(lifetime.poll_event(), Some(Event::Trial { delay_s: 120 }));
}

#[test]
fn mappings_that_end_at_a_similar_age_are_left_before_it() {
    for profile in [Profile::Default, Profile::Strict] {
        let mut now = start();
        let mut lifetime = Lifetime::new(profile, Known::default());
        lifetime.handle_observed(seen(1), now);
        for (port, age) in [(2, 66), (3, 58), (4, 71)] {
            assert_eq!(lifetime.poll_event(), None);
            now += Duration::from_secs(age);
            lifetime.handle_observed(seen(port), now);
        }
        let Some(Event::Learnt(Known { absolute_s, .. })) = lifetime.poll_event() else { panic!("{lifetime:?}") };
        assert!((38..=58).contains(&absolute_s), "{absolute_s}");
        let due = lifetime.poll_timeout().unwrap();
        assert!(due - now <= Duration::from_secs(50), "{:?}", due - now);
        assert!(due - now >= Duration::from_secs(30));
        lifetime.handle_timeout(due);
        assert_eq!(lifetime.poll_event(), Some(Event::Renew));
        // The owner did so, and that is no mapping that ended.
        lifetime.handle_observed(seen(5), due + Duration::from_secs(1));
        assert_eq!(lifetime.poll_event(), None);
        assert!(lifetime.poll_timeout().unwrap() > due);
    }
}

#[test]
fn mappings_that_end_by_chance_or_with_the_network_are_no_pattern() {
    let mut now = start();
    let mut lifetime = Lifetime::new(Profile::Default, Known::default());
    lifetime.handle_observed(seen(1), now);
    for (port, age) in [(2, 66), (3, 600), (4, 90), (5, 4_000), (6, 70), (7, 300)] {
        now += Duration::from_secs(age);
        lifetime.handle_observed(seen(port), now);
    }
    for (n, age) in [(1, 66), (2, 67), (3, 68), (4, 66)] {
        now += Duration::from_secs(age);
        lifetime.handle_observed(([203, 0, 113, n + 1], 7).into(), now);
    }
    assert_eq!(lifetime.poll_event(), None);
    assert_eq!(lifetime.poll_timeout(), None);
}
