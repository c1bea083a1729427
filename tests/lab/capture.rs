//! What passed between two sites, from the packets that the world has seen.

use std::net::IpAddr;

use crate::namespaces::Host;
use crate::world::{Moment, Place, Sight};

/// More packets than any of our talks take.
pub const SIGHTS: usize = 1_000_000;

/// The packets with an address of one of the two at one end and of the other at the other, wherever they were seen, those that
/// were dropped too.
#[must_use]
pub fn between<'a>(sights: &'a [Sight], one: &Host, other: &Host) -> Vec<&'a Sight> {
    let addresses = |host: &Host| [host.address(), host.public_address()];
    let (ours, theirs) = (addresses(one), addresses(other));
    // Two behind one router share its address; from it to itself nothing goes.
    let goes = |from: &[IpAddr; 2], to: &[IpAddr; 2], sight: &Sight| {
        from.contains(&sight.src.ip()) && to.contains(&sight.dst.ip()) && sight.src.ip() != sight.dst.ip()
    };
    sights.iter().filter(|sight| goes(&ours, &theirs, sight) || goes(&theirs, &ours, sight)).collect()
}

/// The packets that a host has sent or received, as somebody would see them who listens at its line.
#[must_use]
pub fn at<'a>(sights: &'a [Sight], host: &Host) -> Vec<&'a Sight> {
    let passed = |moment| matches!(moment, Moment::Sent | Moment::Received);
    sights.iter().filter(|sight| sight.place == Place::Host(host.id()) && passed(sight.moment)).collect()
}
