//! What a list of observed mappings says about a NAT.

use std::net::SocketAddr;

use crate::nat::{Mapping, Ports};

/// Between two mappings made one after the other, a sequential NAT gives others at most so many: a busy home makes some
/// tens of mappings a second, and samples are milliseconds apart.
const LONGEST_STRIDE: i16 = 64;
/// Samples within this are in one block; carriers give a customer 512 to 4,096 ports, and by chance four random ones lie so
/// close once in a thousand times, sixteen never.
const WIDEST_BLOCK: u16 = 4096;
/// Fewer than this say nothing about a block …
const BLOCK_SAMPLES: usize = 4;
/// … or about a sequence: two steps in the same direction.
const SEQUENCE_SAMPLES: usize = 3;

/// Where one destination saw our socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) to: SocketAddr,
    pub(super) mapped: SocketAddr,
}

/// How the NAT maps, from one socket's mappings toward different destinations.
pub(super) fn mapping(samples: &[Sample]) -> Mapping {
    let pairs =
        || samples.iter().enumerate().flat_map(|(i, one)| samples[i + 1..].iter().map(move |other| (one, other)));
    let differs = |(one, other): &(&Sample, &Sample)| one.mapped != other.mapped;
    let same_address = |(one, other): &(&Sample, &Sample)| one.to.ip() == other.to.ip();
    if pairs().any(|pair| same_address(&pair) && differs(&pair)) {
        Mapping::AddressAndPortDependent
    } else if pairs().any(|pair| differs(&pair)) {
        // Without two ports of one address it may be either; both are met in the same way.
        Mapping::AddressDependent
    } else if pairs().next().is_some() {
        Mapping::EndpointIndependent
    } else {
        Mapping::Unknown
    }
}

/// How the ports of new mappings follow each other, from some in the order in which they were made.
pub(super) fn ports(ports: &[u16]) -> Ports {
    let steps: Vec<i16> = ports.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).cast_signed()).collect();
    let short = |step: &i16| *step != 0 && step.unsigned_abs() <= LONGEST_STRIDE.unsigned_abs();
    let one_way = steps.iter().all(|step| *step > 0) || steps.iter().all(|step| *step < 0);
    if ports.len() >= SEQUENCE_SAMPLES && one_way && steps.iter().all(short) {
        let step = steps.iter().copied().min_by_key(|step| step.unsigned_abs()).unwrap_or(1);
        return Ports::Sequential { step };
    }
    let (Some(&low), Some(&high)) = (ports.iter().min(), ports.iter().max()) else { return Ports::Unknown };
    match high - low {
        _ if ports.len() < BLOCK_SAMPLES => Ports::Unknown,
        span if span < WIDEST_BLOCK => block(low, high),
        _ => Ports::Random,
    }
}

/// The block that holds all from `low` to `high`. Blocks are powers of two and aligned to their size nearly always; where the
/// aligned one is much too wide, the samples lie across a border, and a quarter more on either side holds the rest.
fn block(low: u16, high: u16) -> Ports {
    let span = u32::from(high - low) + 1;
    let size = (u32::from(low ^ high) + 1).next_power_of_two();
    if size <= 4 * span {
        let first = u32::from(low) & !(size - 1);
        let last = (first + size - 1).min(u16::MAX.into());
        return Ports::Block { first: u16::try_from(first).unwrap_or(low), last: u16::try_from(last).unwrap_or(high) };
    }
    let margin = (high - low) / 4 + 1;
    Ports::Block { first: low.saturating_sub(margin), last: high.saturating_add(margin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(to: &str, port: u16) -> Sample {
        Sample { to: to.parse().unwrap(), mapped: SocketAddr::from(([203, 0, 113, 1], port)) }
    }

    #[test]
    fn destinations_that_see_one_port_or_several_tell_the_mapping() {
        let see = |ports: [u16; 4]| {
            let places = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"];
            mapping(&places.iter().zip(ports).map(|(place, port)| sample(place, port)).collect::<Vec<_>>())
        };
        assert_eq!(see([9, 9, 9, 9]), Mapping::EndpointIndependent);
        assert_eq!(see([9, 9, 7, 7]), Mapping::AddressDependent);
        assert_eq!(see([9, 8, 7, 6]), Mapping::AddressAndPortDependent);
        assert_eq!(mapping(&[sample("192.0.2.1:1", 9)]), Mapping::Unknown);
    }

    #[test]
    fn a_sequence_is_told_by_its_shortest_step_in_either_direction() {
        assert_eq!(ports(&[4000, 4001, 4002, 4007]), Ports::Sequential { step: 1 });
        assert_eq!(ports(&[4000, 3998, 3994]), Ports::Sequential { step: -2 });
        assert_eq!(ports(&[4000, 4001]), Ports::Unknown);
    }

    #[test]
    fn a_block_is_the_aligned_range_around_the_samples_or_a_little_more_than_they_span() {
        assert_eq!(ports(&[2050, 2500, 2100, 2300]), Ports::Block { first: 2048, last: 2559 });
        assert_eq!(ports(&[32_700, 32_800, 32_760, 32_790]), Ports::Block { first: 32_674, last: 32_826 });
        assert_eq!(ports(&[2050, 62_500, 12_100, 2300]), Ports::Random);
        assert_eq!(ports(&[65_535, 65_000, 65_300, 65_010]), Ports::Block { first: 64_512, last: 65_535 });
        assert_eq!(ports(&[]), Ports::Unknown);
    }
}
