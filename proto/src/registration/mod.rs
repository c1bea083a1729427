//! A registration: how a peer becomes and stays known to a rendezvous without costing it a connection.
//!
//! The sign-in over QUIC gives both sides a slot and a secret; then [`client::Client`] sends keepalives and
//! [`server::Registration`] believes them, and a [`ticket`] brings a peer back to a rendezvous that forgot it. What is not here: the QUIC sign-in itself (the driver's), the table of all
//! registrations (the rendezvous').

pub mod client;
pub mod echo;
mod profile;
pub mod server;
pub mod ticket;

use std::net::SocketAddr;
use std::time::Duration;

pub use profile::Profile;
use serde::{Deserialize, Serialize};

/// A keepalive this often unless the peer chooses otherwise: most home gateways drop a UDP mapping after 30 s or more.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// A registration lives this many intervals at most.
const MOST_INTERVALS: u16 = 3;
/// Keepalives more frequent than this are for those who must not be missed: of them two may be lost, of others one.
const FREQUENT_S: u16 = 5;
/// The intervals that a rendezvous accepts, in seconds: below, a peer would be a load; above, no NAT would bear it.
pub const INTERVAL_RANGE_S: std::ops::RangeInclusive<u16> = 1..=600;
/// The longest sign-in request or answer, in bytes.
pub const MAX_SIGN_IN: usize = 1024;

/// The longest that a registration lives, in seconds.
pub const LONGEST_LIFETIME_S: u16 = *INTERVAL_RANGE_S.end() * MOST_INTERVALS;

/// How long a registration with keepalives so many seconds apart lives after the last one: two intervals, three of
/// those below 5 s. An interval out of [`INTERVAL_RANGE_S`] counts as the nearest in it.
#[must_use]
pub fn lifetime(interval_s: u16) -> Duration {
    let interval_s = interval_s.clamp(*INTERVAL_RANGE_S.start(), *INTERVAL_RANGE_S.end());
    let intervals = if interval_s < FREQUENT_S { MOST_INTERVALS } else { 2 };
    Duration::from_secs((interval_s * intervals).into())
}

/// What a peer asks when it signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInRequest {
    /// Seconds between the peer's keepalives, within [`INTERVAL_RANGE_S`].
    pub interval_s: u16,
    /// Whether this peer is away for all whom it has not named, see [`Watch`](crate::control::ToRendezvous::Watch): who hides
    /// from somebody does so from its first moment on.
    pub unseen: bool,
}

/// What the rendezvous answers. New answers are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignInAnswer {
    /// The peer is registered.
    Registered {
        /// Names the registration in every datagram.
        slot: u32,
        /// Seconds after the last keepalive at which the registration ends.
        lifetime_s: u16,
        /// The peer's address as the rendezvous sees it.
        observed: SocketAddr,
        /// With this the peer comes back to a rendezvous that forgot it, see [`ticket`].
        ticket: Vec<u8>,
    },
    /// Not now.
    Refused {
        /// Seconds after which to try again.
        retry_after_s: u16,
    },
}

/// Writes a request or an answer.
#[must_use]
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising these types into memory cannot fail.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// Reads what [`to_bytes`] wrote; bytes after it belong to later versions and are passed over.
#[must_use]
pub fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    (bytes.len() <= MAX_SIGN_IN).then(|| postcard::take_from_bytes(bytes).ok().map(|(value, _)| value)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_survives_one_lost_keepalive_and_a_frequent_one_two() {
        for (interval_s, lifetime_s) in [(0, 3), (1, 3), (3, 9), (4, 12), (5, 10), (20, 40), (600, 1200), (700, 1200)] {
            assert_eq!(lifetime(interval_s), Duration::from_secs(lifetime_s), "{interval_s}");
        }
    }
}
