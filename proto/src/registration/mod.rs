//! A registration: how a peer becomes and stays known to a rendezvous without costing it a connection.
//!
//! The sign-in over QUIC gives both sides a slot and a secret; then [`client::Client`] sends keepalives and
//! [`server::Registration`] believes them. What is not here: the QUIC sign-in itself (the driver's), the table of all
//! registrations (the rendezvous').

pub mod client;
pub mod server;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A keepalive this often unless the peer chooses otherwise: most home gateways drop a UDP mapping after 30 s or more.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// A registration lives this many intervals: one lost keepalive is no absence, two are.
pub const LIFETIME_INTERVALS: u32 = 2;
/// The intervals that a rendezvous accepts, in seconds: below, a peer would be a load; above, no NAT would bear it.
pub const INTERVAL_RANGE_S: std::ops::RangeInclusive<u16> = 1..=600;
/// The longest sign-in request or answer, in bytes.
pub const MAX_SIGN_IN: usize = 1024;

/// What a peer asks when it signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInRequest {
    /// Seconds between the peer's keepalives, within [`INTERVAL_RANGE_S`].
    pub interval_s: u16,
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
