//! How the ports of fresh mappings follow each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Ports;

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
