//! Sign-ins over QUIC (docs/protocol.md, "Sign-in"): one stream a connection, one request, one answer, goodbye.
//!
//! QUIC lets a server send three bytes for each byte from an address that has proved nothing. Here such an address
//! gets a Retry, shorter than what it sent, and nothing else, unless it shows a token from an earlier sign-in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use knothole_proto::certificate::{self, IdentitySecret, RENDEZVOUS_ALPN, peer_key};
use knothole_proto::registration::{MAX_SIGN_IN, SignInRequest, from_bytes, to_bytes};
use knothole_proto::seal::RegistrationSecret;
use knothole_proto::tunnel::is_made_up;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig,
    ValidationTokenConfig,
};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::driver::{Arrival, Command, SignIn};
use super::tokens::{LIFETIME, UsedTokens};
use crate::{Admission, Rate};

/// Handshakes at once, at each address: a core does some 1,700 a second, each lasts two round trips of up to 0.3 s. At
/// 30–40 KB a connection these hold 40 MB.
pub(super) const MAX_HANDSHAKES: usize = 1024;
/// Connections whose first packet waits to be looked at; that takes microseconds, so as many are a burst, not a queue.
const MAX_INCOMING: usize = 1024;
/// What a connection may send before it is looked at, in bytes: a ClientHello with a post-quantum key share is 1.5 KB,
/// and comes twice if the first is lost.
const MAX_EARLY_BYTES: u64 = 8 * 1024;
/// Sign-ins by one network: a carrier's NAT has hundreds of peers behind it; a core's time has room for some 1,700.
const SIGN_INS: Rate = Rate { burst: 256, per_second: 64 };
/// From the first packet to the answer's acknowledgement: many round trips. The peer's own patience is 10 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// What both sides take from TLS (RFC 5705) to make the registration's keys from.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-knothole-registration";

/// How QUIC is served.
pub(super) fn server_config(identity: &IdentitySecret) -> Result<ServerConfig, String> {
    let tls = certificate::server_config(identity, &[RENDEZVOUS_ALPN]).map_err(|why| why.to_string())?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|why| why.to_string())?;
    // The key of the tokens outlives a restart: just then everybody comes back, and would need a Retry.
    let token_key = Prk::new_less_safe(HKDF_SHA256, &identity.derived_key("quic address tokens"));
    let mut config = ServerConfig::new(Arc::new(crypto), Arc::new(token_key));

    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(PATIENCE.try_into().map_err(|_| "the idle time-out is out of range")?))
        .max_concurrent_bidi_streams(1_u8.into())
        .max_concurrent_uni_streams(0_u8.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window((MAX_SIGN_IN as u32).into())
        .receive_window((MAX_SIGN_IN as u32).into())
        // A connection is over before it would know its path's MTU.
        .mtu_discovery_config(None);
    let mut tokens = ValidationTokenConfig::default();
    tokens.lifetime(LIFETIME).log(Arc::new(UsedTokens::default())).sent(1);
    config
        .transport_config(Arc::new(transport))
        .validation_token_config(tokens)
        .migration(false)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(MAX_EARLY_BYTES)
        .incoming_buffer_size_total(MAX_EARLY_BYTES * MAX_INCOMING as u64);
    Ok(config)
}

/// A QUIC endpoint on this socket.
pub(super) fn endpoint(socket: Arc<dyn AsyncUdpSocket>, config: ServerConfig) -> std::io::Result<Endpoint> {
    let mut endpoint = EndpointConfig::default();
    // The first byte must tell QUIC from STUN and Knothole (RFC 9443).
    endpoint.grease_quic_bit(false);
    Endpoint::new_with_abstract_socket(endpoint, Some(config), socket, Arc::new(TokioRuntime))
}

/// Takes connections until the endpoint closes. `port` is the number that the loop knows it by.
pub(super) async fn accept(endpoint: Endpoint, port: usize, commands: mpsc::Sender<Command>, seed: [u8; 16]) {
    let mut admission = Admission::new(SIGN_INS, seed, Instant::now());
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        // TCP has proved where a stream comes from.
        if !incoming.remote_address_validated() && !is_made_up(incoming.remote_address()) {
            // It fails only for an address that has been validated.
            let _ = incoming.retry();
            continue;
        }
        let permit = match Arc::clone(&handshakes).try_acquire_owned() {
            Ok(permit) if admission.admits(incoming.remote_address(), Instant::now()) => permit,
            _ => {
                // Told, it comes back after its pause; not told, it would send its packet again and again.
                incoming.refuse();
                continue;
            }
        };
        let commands = commands.clone();
        tokio::spawn(async move {
            let from = incoming.remote_address();
            match tokio::time::timeout(PATIENCE, sign_in(incoming, port, commands)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%from, %error, "sign-in failed"),
                Err(_) => tracing::debug!(%from, "sign-in took too long"),
            }
            drop(permit);
        });
    }
}

/// Why a sign-in came to nothing; all but `Stopped` are the peer's or the network's doing.
#[derive(Debug, thiserror::Error)]
enum SignInError {
    #[error("the connection ended: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the request did not come: {0}")]
    Read(#[from] quinn::ReadToEndError),
    #[error("the answer did not go: {0}")]
    Write(#[from] quinn::WriteError),
    #[error("the certificate holds no Ed25519 key")]
    Key,
    #[error("the request is none")]
    Request,
    #[error("the rendezvous stops")]
    Stopped,
}

async fn sign_in(incoming: Incoming, port: usize, commands: mpsc::Sender<Command>) -> Result<(), SignInError> {
    let connection = incoming.accept()?.await?;
    let (mut send, mut receive) = connection.accept_bi().await?;
    let request: SignInRequest = from_bytes(&receive.read_to_end(MAX_SIGN_IN).await?).ok_or(SignInError::Request)?;
    let mut secret = [0; 32];
    // Nothing but a length that no hash can give makes it fail.
    connection.export_keying_material(&mut secret, EXPORTER_LABEL, b"").map_err(|_| SignInError::Stopped)?;
    let arrival = Arrival {
        peer: proven_key(&connection).ok_or(SignInError::Key)?,
        remote: connection.remote_address(),
        port,
        local_ip: connection.local_ip(),
    };
    let (reply, answer) = oneshot::channel();
    let sign_in = SignIn { arrival, request, secret: RegistrationSecret(secret), reply };
    commands.send(Command::SignIn(Box::new(sign_in))).await.map_err(|_| SignInError::Stopped)?;
    let answer = answer.await.map_err(|_| SignInError::Stopped)?;
    send.write_all(&to_bytes(&answer)).await?;
    // It fails only for a stream that is finished already.
    let _ = send.finish();
    // The peer closes when it has read; until then its acknowledgements keep the answer from being lost.
    connection.closed().await;
    Ok(())
}

fn proven_key(connection: &Connection) -> Option<knothole_proto::identity::PublicKey> {
    let identity = connection.peer_identity()?;
    peer_key(identity.downcast_ref::<Vec<CertificateDer<'static>>>()?)
}
