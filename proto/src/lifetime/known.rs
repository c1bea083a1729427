//! What was found out about networks, and how it is stored.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is known of a network's NAT; the owner remembers it by the address that the rendezvous observes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The longest silence that a mapping is known to bear, in seconds; 0: none is.
    pub borne_s: u16,
    /// The shortest that it does not bear, in seconds; 0: none is known.
    pub died_s: u16,
    /// The age at which mappings end whatever is sent, in seconds; 0: they do not.
    pub absolute_s: u16,
}

impl Known {
    /// How long an idle mapping is known to live at least; `None` if nothing was found out.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        let bounds = [self.borne_s, self.absolute_s].into_iter().filter(|bound| *bound > 0);
        bounds.min().map(|bound| Duration::from_secs(bound.into()))
    }
}

/// What is known of networks, as it stands in the peer's store.
#[must_use]
pub fn to_bytes(networks: &[(IpAddr, Known)]) -> Vec<u8> {
    // Serialising numbers and addresses into memory cannot fail.
    postcard::to_allocvec(networks).unwrap_or_default()
}

/// Reads what [`to_bytes`] wrote; `None` for anything else.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<(IpAddr, Known)>> {
    postcard::take_from_bytes(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(networks, _)| networks)
}
