//! What a NAT does, in the terms of RFC 4787 and RFC 5780, and how that is concluded from what was observed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// How a NAT maps inside addresses to outside ones (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mapping {
    /// There is no NAT: the address outside is the one inside.
    None,
    /// One mapping for all destinations.
    EndpointIndependent,
    /// One for each destination address.
    AddressDependent,
    /// One for each destination address and port.
    AddressAndPortDependent,
    /// Not enough was observed.
    Unknown,
}

/// What a NAT or firewall lets in (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Filtering {
    /// Whatever comes: there is no filter.
    None,
    /// From anywhere, once the mapping exists.
    EndpointIndependent,
    /// From addresses that were sent to.
    AddressDependent,
    /// From addresses and ports that were sent to.
    AddressAndPortDependent,
    /// Not enough was observed.
    Unknown,
}

/// How the ports of new mappings follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ports {
    /// The port outside is the one inside, where that is free.
    Preserved,
    /// Each is the last one and this much more (or less); every second port only where a NAT keeps parity.
    Sequential {
        /// The step, never 0.
        step: i16,
    },
    /// Without order, but all within a small range.
    Block {
        /// The lowest port of the range.
        first: u16,
        /// The highest.
        last: u16,
    },
    /// Without order.
    Random,
    /// Not enough was observed.
    Unknown,
}

impl Mapping {
    /// The word for it, as interfaces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Unknown => "unknown",
        }
    }
}

impl Filtering {
    /// The word for it, as interfaces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preserved => f.write_str("preserved"),
            Self::Sequential { step } => write!(f, "sequential {step:+}"),
            Self::Block { first, last } => write!(f, "block of {}", u32::from(last.saturating_sub(*first)) + 1),
            Self::Random => f.write_str("random"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Where one destination saw our socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The destination.
    pub to: SocketAddr,
    /// Our address as it was seen there.
    pub mapped: SocketAddr,
}

/// How the NAT between maps, from one socket's mappings toward different destinations (RFC 5780 section 4.3); `inside` is
/// the socket's own address, where that is known. A NAT that maps by destination and keeps the inside port looks
/// endpoint-independent, and is, until two inside sockets want one port. Where a difference is seen and its cause is
/// not, the worse is said.
#[must_use]
pub fn mapping(inside: Option<SocketAddr>, samples: &[Sample]) -> Mapping {
    if samples.iter().any(|sample| Some(sample.mapped) == inside) {
        return Mapping::None;
    }
    let pairs = samples.iter().enumerate().flat_map(|(i, one)| samples[i + 1..].iter().map(move |other| (one, other)));
    let (one_address, two_addresses): (Vec<_>, Vec<_>) = pairs.partition(|(one, other)| one.to.ip() == other.to.ip());
    let differ = |pairs: &[(&Sample, &Sample)]| pairs.iter().any(|(one, other)| one.mapped != other.mapped);
    match (differ(&one_address), differ(&two_addresses)) {
        (true, _) => Mapping::AddressAndPortDependent,
        // Two ports of one address saw the same.
        (false, true) if !one_address.is_empty() => Mapping::AddressDependent,
        (false, true) => Mapping::AddressAndPortDependent,
        (false, false) if two_addresses.is_empty() => Mapping::Unknown,
        (false, false) => Mapping::EndpointIndependent,
    }
}

/// What came back to one socket that had sent to the first server and to nobody else (RFC 5780 section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// An answer from where it was asked.
    pub first: bool,
    /// An answer from another IP address and port.
    pub other_ip_and_port: bool,
    /// An answer from the same IP address and another port.
    pub other_port: bool,
}

impl Heard {
    /// What the NAT, or without one the firewall, lets in. Silence is taken for a filter: the caller has made sure that the
    /// other addresses do answer, and asked more than once.
    #[must_use]
    pub const fn filtering(&self, mapping: Mapping) -> Filtering {
        match (self.other_ip_and_port, self.other_port) {
            _ if !self.first => Filtering::Unknown,
            (true, _) if matches!(mapping, Mapping::None) => Filtering::None,
            (true, _) => Filtering::EndpointIndependent,
            (false, true) => Filtering::AddressDependent,
            (false, false) => Filtering::AddressAndPortDependent,
        }
    }
}

/// The ports of one fresh mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreshMapping {
    /// The socket's own.
    pub inside: u16,
    /// As a server saw it.
    pub outside: u16,
}

/// With fewer different ports than that, two of them may be neighbours by chance.
const ENOUGH: usize = 3;

/// Between two mappings of ours others behind the NAT make theirs; more than so many ports on is another place.
const NEARBY: u16 = 32;

/// No range is concluded that as many random ports would share once in so many tries, or more often.
const ODDS: f64 = 1000.0;

/// The largest range that is called a block. What is larger helps nobody to guess.
const LARGEST_BLOCK: u32 = 1 << 14;

/// How a NAT chooses ports, from fresh mappings in the order in which they were made: each of another socket, or to a
/// destination that the NAT maps anew. Up to a quarter of them may be out of the order, because of others behind the NAT.
///
/// A block is the smallest range of a power of two, at a multiple of its size, that holds all. With `n` mappings it comes
/// out too small once in `2^(n-1)` cases. Where that range is much wider than the ports lie, the NAT aligns its blocks
/// in another way, and the range is what they span and some more.
#[must_use]
pub fn ports(fresh: &[FreshMapping]) -> Ports {
    let preserved = fresh.iter().filter(|mapping| mapping.inside == mapping.outside).count();
    if preserved > 0 && is_most(preserved, fresh.len()) {
        return Ports::Preserved;
    }
    let outside: Vec<u16> = fresh.iter().map(|mapping| mapping.outside).collect();
    sequence(&outside)
}

/// The same from the ports outside alone, where nothing is known of those inside: never [`Ports::Preserved`].
#[must_use]
pub fn sequence(outside: &[u16]) -> Ports {
    let different: BTreeSet<u16> = outside.iter().copied().collect();
    let (Some(&lowest), Some(&highest), true) = (different.first(), different.last(), different.len() >= ENOUGH) else {
        return Ports::Unknown;
    };
    if let Some(step) = step(outside) {
        return Ports::Sequential { step };
    }
    block(lowest, highest, different.len()).unwrap_or(Ports::Random)
}

/// The range in which so many different ports lie, if it is one.
fn block(lowest: u16, highest: u16, count: usize) -> Option<Ports> {
    let others = u32::try_from(count.checked_sub(1).filter(|others| *others > 0)?).ok()?;
    // Each of the gaps between them is one more at either end, on average.
    let gap = u32::from(highest - lowest) / others;
    let likely = u32::from(highest - lowest) + 1 + 2 * gap;
    let aligned = 1_u32 << (u16::BITS - (lowest ^ highest).leading_zeros());
    let size = if aligned <= 4 * likely { aligned } else { likely };
    // Chance has one port anywhere and the others in the same range.
    let chance = (f64::from(size) / f64::from(1_u32 << u16::BITS)).powi(others.cast_signed());
    if size > LARGEST_BLOCK || chance * ODDS >= 1.0 {
        return None;
    }
    let (first, last) = if size == aligned {
        let first = u32::from(lowest) / size * size;
        (first, first + size - 1)
    } else {
        (u32::from(lowest).saturating_sub(gap), (u32::from(highest) + gap).min(u32::from(u16::MAX)))
    };
    Some(Ports::Block { first: u16::try_from(first).ok()?, last: u16::try_from(last).ok()? })
}

/// Whether each mapping's outside port is even where the inside one is, and odd where that is odd (RFC 4787 section 4.2.2).
/// `None` if chance would do as much once in 256 tries, or no inside port differs from the others in this.
#[must_use]
pub fn keeps_parity(fresh: &[FreshMapping]) -> Option<bool> {
    if fresh.iter().any(|mapping| (mapping.inside ^ mapping.outside) & 1 == 1) {
        return Some(false);
    }
    let odd = fresh.iter().filter(|mapping| mapping.inside & 1 == 1).count();
    (fresh.len() >= 8 && odd > 0 && odd < fresh.len()).then_some(true)
}

/// The step by which ports follow each other, if they do: the one that most of them make, up or down, if none of most of them
/// is far away; or else, where all go one way and none far, because others behind the NAT are busy, the shortest.
fn step(outside: &[u16]) -> Option<i16> {
    let steps: Vec<i16> = outside.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).cast_signed()).collect();
    let mut counts = BTreeMap::<i16, usize>::new();
    steps.iter().filter(|step| **step != 0).for_each(|step| *counts.entry(*step).or_default() += 1);
    let (step, count) = counts.iter().max_by_key(|(step, count)| (**count, Reverse(step.unsigned_abs())))?;
    let near = |step: i16, other: i16| other.signum() == step.signum() && other.unsigned_abs() <= NEARBY;
    let all_near = |step: i16| steps.iter().filter(|other| near(step, **other)).count();
    if count * 2 > steps.len() && is_most(all_near(*step), steps.len()) {
        return Some(*step);
    }
    let shortest = steps.iter().copied().min_by_key(|step| step.unsigned_abs())?;
    (all_near(shortest) == steps.len()).then_some(shortest)
}

/// Whether a quarter at most is missing.
const fn is_most(count: usize, all: usize) -> bool {
    count * 4 >= all * 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
}
