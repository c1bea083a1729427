//! How QUIC is set up between contacts.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use knothole_proto::certificate::{IdentitySecret, PEER_ALPN, client_config, server_config};
use knothole_proto::identity::PublicKey;
use knothole_proto::registration::Profile;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::client::Resumption;
use quinn::rustls::server::ServerSessionMemoryCache;
use quinn::{ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::congestion::PerPath;
use crate::socket::Activity;

/// An Ethernet frame's 1500 bytes less IPv6's and UDP's headers and a relay frame's 8: what goes straight must also fit the
/// relay, for the path may change at any moment.
const LARGEST_DATAGRAM: u16 = 1444;

/// What one connection may hold unacknowledged, in bytes: 100 Mbit/s over a round trip of 80 ms. A short message waits
/// behind no more than this and the link's own queue.
const SEND_WINDOW: u64 = 1 << 20;

/// How many connection attempts may be undecided at a time. They come from admitted sources only, and are
/// decided at once.
const UNDECIDED: usize = 64;

/// Sessions of our contacts' that may be resumed: two tickets of each connection, and more contacts than most have. Each
/// takes some hundred bytes; the oldest makes way.
const SESSIONS: usize = 512;

/// Tickets for each connection: one more than the next connection needs, in case that one comes to nothing.
const TICKETS: usize = 2;

/// How a link finds out that the other side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// After how long a silence a sign of life is sent.
    pub keep_alive: Duration,
    /// After how long a silence of the other side the link is down. The smaller one of both sides holds.
    pub idle_timeout: Duration,
}

impl From<Profile> for Heartbeat {
    fn from(profile: Profile) -> Self {
        Self { keep_alive: profile.link_keep_alive(), idle_timeout: profile.link_idle_timeout() }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Profile::Default.into()
    }
}

/// Why QUIC could not be set up. No valid identity and heartbeat is known to lead here.
#[derive(Debug, thiserror::Error)]
#[error("QUIC cannot be set up: {0}")]
pub(crate) struct SetupError(pub(crate) String);

impl SetupError {
    pub(super) fn because(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

/// The endpoint of an identity. Its keys follow from the identity, so that a peer which was restarted recognises the
/// connections of its former life and ends them at once by a stateless reset (RFC 9000 section 10.3).
pub(super) fn endpoint(secret: &IdentitySecret) -> EndpointConfig {
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &secret.derived_key("knothole quic stateless reset"));
    let [a, b, c, d, e, f, g, h, ..] = secret.derived_key("knothole quic connection id");
    let ids = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    // The first byte must tell QUIC from the rest (RFC 9443).
    config.grease_quic_bit(false);
    config
}

/// What connections of contacts to us share; [`transport`] goes into a copy for each.
pub(super) fn server(secret: &IdentitySecret) -> Result<ServerConfig, SetupError> {
    let mut tls = server_config(secret, &[PEER_ALPN]).map_err(SetupError::because)?;
    // In memory alone, and each taken out when it is used: what comes early cannot be said again by somebody else, and
    // no key that outlives this process opens it.
    tls.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    tls.send_tls13_tickets = TICKETS;
    // The one value but 0 that QUIC knows (RFC 9001 section 4.6.1).
    tls.max_early_data_size = u32::MAX;
    let crypto = QuicServerConfig::try_from(tls).map_err(SetupError::because)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    // Paths change beneath QUIC. An address that changes above would be someone else's.
    config.migration(false).max_incoming(UNDECIDED);
    Ok(config)
}

/// How connections of ours to whoever holds the key `expected` are made, and to nobody else. With `resumes`, sessions made
/// with this configuration are resumed with it, and with no other.
pub(super) fn client(
    secret: &IdentitySecret,
    expected: PublicKey,
    alpn: &[u8],
    resumes: bool,
) -> Result<ClientConfig, SetupError> {
    let mut tls = client_config(secret, expected, alpn).map_err(SetupError::because)?;
    tls.resumption = if resumes { Resumption::in_memory_sessions(1) } else { Resumption::disabled() };
    tls.enable_early_data = resumes;
    let crypto = QuicClientConfig::try_from(tls).map_err(SetupError::because)?;
    Ok(ClientConfig::new(Arc::new(crypto)))
}

/// By how much later the accepting end sends its sign of life: both begin anew whenever they hear the other, so with one interval
/// both would send at the same moment, and each idle minute would cost twice as much. A tenth of the shortest is longer
/// than half a round trip.
const LATER: f64 = 1.1;

/// Which end of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Dialler,
    Acceptor,
}

/// One stream each way, opened by the dialler; a round trip of `rtt` until one is measured.
pub(super) fn transport(
    heartbeat: Heartbeat,
    end: End,
    rtt: Option<Duration>,
    activity: Arc<Activity>,
) -> Result<TransportConfig, SetupError> {
    let keep_alive = match end {
        End::Dialler => heartbeat.keep_alive,
        End::Acceptor => heartbeat.keep_alive.mul_f64(LATER),
    };
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .send_window(SEND_WINDOW)
        .keep_alive_interval(Some(keep_alive))
        .max_idle_timeout(Some(IdleTimeout::try_from(heartbeat.idle_timeout).map_err(SetupError::because)?))
        .congestion_controller_factory(Arc::new(PerPath::new(activity)));
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(LARGEST_DATAGRAM);
    config.mtu_discovery_config(Some(mtu));
    if let Some(rtt) = rtt {
        config.initial_rtt(rtt);
    }
    Ok(config)
}
