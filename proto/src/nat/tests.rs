//! Every conclusion, from samples made up for it and from any.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What is concluded from what a server saw, its other IP address at the same port, and that at another port.
fn seen(first: &str, other_ip: &str, other_ip_and_port: &str) -> Mapping {
    let places = ["198.51.100.1:3478", "198.51.100.2:3478", "198.51.100.2:3479"].map(at);
    let samples = places.into_iter().zip([first, other_ip, other_ip_and_port]);
    let samples = samples.filter_map(|(to, mapped)| Some(Sample { to, mapped: mapped.parse().ok()? }));
    mapping(Some(at("10.0.0.2:5000")), &samples.collect::<Vec<_>>())
}

#[test]
fn mapping_is_told_as_in_rfc_5780_section_4_3() {
    for (first, other_ip, other_ip_and_port, wanted) in [
        ("", "192.0.2.1:7", "192.0.2.1:7", Mapping::Unknown),
        ("10.0.0.2:5000", "", "", Mapping::None),
        ("192.0.2.1:7", "192.0.2.1:7", "192.0.2.1:7", Mapping::EndpointIndependent),
        ("192.0.2.1:7", "192.0.2.1:8", "192.0.2.1:8", Mapping::AddressDependent),
        ("192.0.2.1:7", "192.0.2.1:8", "192.0.2.1:9", Mapping::AddressAndPortDependent),
        ("192.0.2.1:7", "192.0.2.1:7", "192.0.2.1:9", Mapping::AddressAndPortDependent),
        ("192.0.2.1:7", "192.0.2.9:7", "192.0.2.9:7", Mapping::AddressDependent),
    ] {
        assert_eq!(seen(first, other_ip, other_ip_and_port), wanted, "{first} {other_ip}");
    }
}

#[test]
fn one_other_address_is_enough_to_tell_that_nothing_changes_and_else_the_worse_is_said() {
    assert_eq!(seen("192.0.2.1:7", "", ""), Mapping::Unknown);
    for (same, changed) in [
        (seen("192.0.2.1:7", "192.0.2.1:7", ""), seen("192.0.2.1:7", "192.0.2.1:8", "")),
        (seen("192.0.2.1:7", "", "192.0.2.1:7"), seen("192.0.2.1:7", "", "192.0.2.1:8")),
    ] {
        assert_eq!(same, Mapping::EndpointIndependent);
        assert_eq!(changed, Mapping::AddressAndPortDependent);
    }
}

#[test]
fn filtering_is_told_as_in_rfc_5780_section_4_4() {
    let heard = |first, other_ip_and_port, other_port| Heard { first, other_ip_and_port, other_port };
    let nat = Mapping::EndpointIndependent;
    for (heard, mapping, wanted) in [
        (heard(false, true, true), nat, Filtering::Unknown),
        (heard(true, true, true), nat, Filtering::EndpointIndependent),
        (heard(true, true, false), nat, Filtering::EndpointIndependent),
        (heard(true, true, true), Mapping::None, Filtering::None),
        (heard(true, false, true), nat, Filtering::AddressDependent),
        (heard(true, false, false), nat, Filtering::AddressAndPortDependent),
        (heard(true, false, false), Mapping::None, Filtering::AddressAndPortDependent),
    ] {
        assert_eq!(heard.filtering(mapping), wanted, "{heard:?}");
    }
}

/// Mappings of sockets whose own ports tell nothing.
fn fresh(outside: &[u16]) -> Vec<FreshMapping> {
    outside.iter().map(|&outside| FreshMapping { inside: 7, outside }).collect()
}

#[test]
fn ports_that_follow_each_other_are_sequential_also_past_neighbours_and_the_end() {
    for (outside, step) in [
        (&[5000, 5001, 5002][..], 1),
        (&[5000, 5001, 5004, 5005, 5006], 1),
        (&[5000, 5002, 5004, 5006], 2),
        (&[5006, 5005, 5004], -1),
        (&[65_534, 65_535, 1024, 1025, 1026, 1027], 1),
        (&[65_535, 0, 1, 2], 1),
        (&[4000, 3998, 3994], -2),
        (&[4000, 4003, 4004, 4011, 4013], 1),
    ] {
        assert_eq!(ports(&fresh(outside)), Ports::Sequential { step }, "{outside:?}");
    }
}

#[test]
fn ports_within_an_aligned_range_are_a_block() {
    let block = ports(&fresh(&[2050, 2300, 2099, 2555, 2400, 2111, 2222, 2513]));
    assert_eq!(block, Ports::Block { first: 2048, last: 2559 });
    assert_eq!(block.to_string(), "block of 512");
    assert_eq!(ports(&fresh(&[1, 2, 3, 0, 9])), Ports::Block { first: 0, last: 15 });
    assert_eq!(ports(&fresh(&[65_535, 65_510, 65_530])), Ports::Block { first: 65_504, last: 65_535 });
}

#[test]
fn a_block_across_a_border_of_powers_of_two_is_what_the_ports_span_and_some_more() {
    let Ports::Block { first, last } = ports(&fresh(&[32_700, 32_800, 32_760, 32_795, 32_720])) else {
        panic!("no block");
    };
    assert_eq!((first, last), (32_675, 32_825));
    assert!(matches!(ports(&fresh(&[0, 5, 3, 9, 20, 1])), Ports::Block { first: 0, last: 31 }));
}

#[test]
fn too_few_ports_tell_nothing_and_ports_all_over_the_place_are_random() {
    for outside in [&[][..], &[5000], &[5000, 5001], &[5000; 9], &[5000, 5000, 5001]] {
        assert_eq!(ports(&fresh(outside)), Ports::Unknown, "{outside:?}");
    }
    assert_eq!(ports(&fresh(&[5000, 61_000, 20_000, 33_000])), Ports::Random);
    assert_eq!(ports(&fresh(&[5000, 9000, 7000])), Ports::Random, "three random ports are as close now and then");
}

#[test]
fn every_kind_has_its_short_text() {
    let texts = [Ports::Preserved, Ports::Sequential { step: 1 }, Ports::Sequential { step: -2 }, Ports::Random];
    assert_eq!(texts.map(|ports| ports.to_string()), ["preserved", "sequential +1", "sequential -2", "random"]);
    assert_eq!(Ports::Block { first: 0, last: 65_535 }.to_string(), "block of 65536");
}

#[test]
fn parity_is_told_by_enough_ports_of_both_kinds() {
    let kept = |inside: &[u16], change: u16| {
        let mapped = |&inside: &u16| FreshMapping { inside, outside: inside.wrapping_mul(3) ^ 0x4000 ^ change };
        keeps_parity(&inside.iter().map(mapped).collect::<Vec<_>>())
    };
    assert_eq!(kept(&[1, 2, 3, 4, 5, 6, 7, 8], 0), Some(true));
    assert_eq!(kept(&[1, 2, 3, 4, 5, 6, 7, 8], 1), Some(false));
    assert_eq!(kept(&[1, 2, 3], 0), None);
    assert_eq!(kept(&[2, 4, 6, 8, 10, 12, 14, 16], 0), None);
}

proptest! {
    #[test]
    fn kept_ports_are_preserved_whatever_they_are_and_though_one_in_four_was_taken(
        inside in proptest::collection::vec(any::<u16>(), 4..40),
    ) {
        let taken = |(n, &inside): (usize, &u16)| {
            FreshMapping { inside, outside: if n % 4 == 3 { inside.wrapping_add(9) } else { inside } }
        };
        let fresh: Vec<_> = inside.iter().enumerate().map(taken).collect();
        prop_assert_eq!(ports(&fresh), Ports::Preserved);
    }

    #[test]
    fn any_small_step_is_found_from_anywhere(first: u16, step in 1..=8_i16, down: bool, count in 3..40_u16) {
        let step = if down { -step } else { step };
        let outside = |n: u16| first.wrapping_add_signed(step.wrapping_mul(n.cast_signed()));
        let all: Vec<_> = (0..count).map(outside).collect();
        // The sockets' own ports are others.
        let fresh: Vec<_> = all
            .iter()
            .map(|&outside| FreshMapping { inside: outside ^ 0x5555, outside })
            .collect();
        prop_assert_eq!(ports(&fresh), Ports::Sequential { step });
    }

    #[test]
    fn a_block_holds_every_port_seen_and_is_no_larger_than_the_nats(
        size in 6..=12_u32,
        place: u16,
        offsets in proptest::collection::vec(any::<u16>(), 12..40),
    ) {
        let size = 1_u16 << size;
        let begin = place & !(size - 1);
        let outside: Vec<_> = offsets.iter().map(|offset| begin + offset % size).collect();
        match ports(&fresh(&outside)) {
            Ports::Block { first, last } => {
                prop_assert!(first >= begin && last <= begin + (size - 1));
                prop_assert!(outside.iter().all(|port| (first..=last).contains(port)));
                let length = u32::from(last - first) + 1;
                prop_assert!(length.is_power_of_two() && u32::from(first) % length == 0);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn twelve_random_ports_are_random(seeds in proptest::array::uniform12(any::<u16>())) {
        // One chance in a thousand is allowed to be a block; of that size it would be a large one.
        match ports(&fresh(&seeds)) {
            Ports::Random => {}
            Ports::Block { first, last } => prop_assert!(last - first >= 4095),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn nothing_that_is_seen_panics(
        outside in proptest::collection::vec(any::<(u16, u16)>(), 0..20),
    ) {
        let fresh: Vec<_> = outside.iter().map(|&(inside, outside)| FreshMapping { inside, outside }).collect();
        let _ = (ports(&fresh), keeps_parity(&fresh));
    }
}
