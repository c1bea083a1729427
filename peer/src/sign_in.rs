//! Signing in to a rendezvous: one request, one answer, and a secret that only the two of us have.
//!
//! The connection lives no longer than that. What is asked and answered, and what the secret is used for, is the
//! registration's matter.

use std::future::Future;
use std::time::Duration;

use knothole_proto::certificate::RENDEZVOUS_ALPN;
use knothole_proto::identity::PublicKey;
use quinn::{Connecting, ConnectionError, ReadToEndError, VarInt};

use crate::link::{Down, Links, SetupError, exported};
use crate::socket::VirtualAddress;

/// The most bytes that an answer may have; a registration with its ticket takes a few hundred.
const ANSWER: usize = 4 << 10;

/// Which secret of the connection's is taken.
const LABEL: &[u8] = b"EXPORTER-knothole-registration";

/// What a rendezvous answered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SignedIn {
    /// The answer's bytes, at most 4 KiB.
    pub answer: Vec<u8>,
    /// 32 bytes that both sides take from TLS (RFC 8446 section 7.5), with an empty context.
    pub secret: [u8; 32],
    /// The round-trip time to the rendezvous, as QUIC measured it.
    pub rtt: Duration,
}

/// Why there is no registration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignInError {
    /// Nothing comes back from the address.
    #[error("the rendezvous does not answer; check its address and your network")]
    Unreachable,
    /// The one at the address holds another key, or takes no part in this protocol, or does not let us in.
    #[error("the rendezvous refused, or is not the one named by the key in its address")]
    Refused,
    /// The rendezvous broke off before it had answered: it is restarting, or overloaded.
    #[error("the rendezvous broke off; try again later")]
    BrokenOff,
    /// The answer is longer than any answer is.
    #[error("the rendezvous gave an answer that is too long")]
    TooLong,
    /// It failed on our side.
    #[error("{0}")]
    Failed(String),
}

/// Signs in to the rendezvous that holds `key` and whose datagrams go by `virtual_address`.
///
/// The route must be set and its source admitted. Takes as long as the network lets it, up to the links' idle time-out;
/// dropping it gives up.
///
/// # Errors
/// [`SignInError`]. That the connection came about means nothing yet: a client that is refused learns so only by not
/// getting an answer.
pub(crate) fn sign_in(
    links: &Links,
    virtual_address: VirtualAddress,
    key: PublicKey,
    request: Vec<u8>,
) -> impl Future<Output = Result<SignedIn, SignInError>> + Send + use<> {
    let connecting = links.connect(virtual_address, key, RENDEZVOUS_ALPN, None);
    ask(connecting, request)
}

async fn ask(connecting: Result<Connecting, SetupError>, request: Vec<u8>) -> Result<SignedIn, SignInError> {
    let connecting = connecting.map_err(|why| SignInError::Failed(why.to_string()))?;
    let connection = connecting.await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    // A failure to write shows again, with its reason, in reading.
    let _ = send.write_all(&request).await;
    let _ = send.finish();
    let answer = recv.read_to_end(ANSWER).await.map_err(|why| match why {
        ReadToEndError::TooLong => SignInError::TooLong,
        ReadToEndError::Read(quinn::ReadError::ConnectionLost(why)) => why.into(),
        ReadToEndError::Read(_) => SignInError::BrokenOff,
    })?;
    let secret = exported(&connection, LABEL).ok_or(SignInError::BrokenOff)?;
    let rtt = connection.rtt();
    connection.close(VarInt::from_u32(0), b"");
    Ok(SignedIn { answer, secret, rtt })
}

impl From<ConnectionError> for SignInError {
    fn from(why: ConnectionError) -> Self {
        match Down::from(why) {
            Down::TimedOut => Self::Unreachable,
            Down::Refused => Self::Refused,
            Down::Goodbye | Down::Replaced | Down::Resting | Down::Reset => Self::BrokenOff,
            Down::Failed(why) => Self::Failed(why),
        }
    }
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").field("answer", &self.answer.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use knothole_proto::certificate::{IdentitySecret, PEER_ALPN, peer_key, server_config};
    use quinn::crypto::rustls::QuicServerConfig;
    use quinn::rustls::pki_types::CertificateDer;
    use quinn::{Endpoint, ServerConfig};
    use tokio::time::timeout;

    use super::*;
    use crate::link::Heartbeat;
    use crate::socket::Socket;

    const RENDEZVOUS: VirtualAddress = VirtualAddress::new(0);
    /// Loopback answers in milliseconds, a busy machine in more.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn rendezvous(alpn: &[u8]) -> (Endpoint, PublicKey) {
        let secret = IdentitySecret::new([9; 32]);
        let tls = QuicServerConfig::try_from(server_config(&secret, &[alpn]).unwrap()).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(tls));
        (Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap(), secret.public_key())
    }

    fn peer(rendezvous: &Endpoint) -> (Links, PublicKey) {
        let secret = IdentitySecret::new([1; 32]);
        let (socket, _arrivals) = Socket::bind(0).unwrap();
        let at = rendezvous.local_addr().unwrap();
        socket.routes().set_route(RENDEZVOUS, Some(at.into()));
        socket.routes().admit(at, RENDEZVOUS);
        let heartbeat = Heartbeat { idle_timeout: Duration::from_secs(3), ..Heartbeat::default() };
        (Links::new(socket, &secret, heartbeat).unwrap().0, secret.public_key())
    }

    /// Demands a proof of the address, takes one request, and answers it with `answer` or closes with a code.
    async fn serve(endpoint: &Endpoint, answer: Result<Vec<u8>, u32>) -> (PublicKey, Vec<u8>, [u8; 32]) {
        let first = endpoint.accept().await.unwrap();
        assert!(!first.remote_address_validated());
        first.retry().unwrap();
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let identity = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        let request = recv.read_to_end(1000).await.unwrap();
        match answer {
            Ok(answer) => {
                send.write_all(&answer).await.unwrap();
                send.finish().unwrap();
                connection.closed().await;
            }
            Err(code) => connection.close(code.into(), b""),
        }
        (peer_key(&identity).unwrap(), request, exported(&connection, LABEL).unwrap())
    }

    async fn outcome(answer: Result<Vec<u8>, u32>) -> (Result<SignedIn, SignInError>, (PublicKey, Vec<u8>, [u8; 32])) {
        let (endpoint, key) = rendezvous(RENDEZVOUS_ALPN);
        let (links, _) = peer(&endpoint);
        let signing_in = sign_in(&links, RENDEZVOUS, key, b"request".to_vec());
        let both = async { tokio::join!(signing_in, serve(&endpoint, answer)) };
        timeout(PATIENCE, both).await.unwrap()
    }

    #[tokio::test]
    async fn the_request_is_answered_after_a_retry_and_both_sides_have_the_same_secret() {
        let (signed_in, (key, request, secret)) = outcome(Ok(vec![4; ANSWER])).await;
        assert_eq!(key, IdentitySecret::new([1; 32]).public_key());
        assert_eq!(request, b"request");
        let signed_in = signed_in.unwrap();
        assert_eq!((signed_in.answer, signed_in.secret), (vec![4; ANSWER], secret));
        assert!(signed_in.rtt < PATIENCE);
    }

    #[tokio::test]
    async fn an_answer_without_end_and_a_rendezvous_that_breaks_off_are_no_registration() {
        assert_eq!(outcome(Ok(vec![4; ANSWER + 1])).await.0, Err(SignInError::TooLong));
        assert_eq!(outcome(Err(0)).await.0, Err(SignInError::BrokenOff));
        assert_eq!(outcome(Err(1)).await.0, Err(SignInError::Refused));
    }

    #[tokio::test]
    async fn another_rendezvous_another_protocol_and_no_rendezvous_are_told_apart() {
        let (endpoint, key) = rendezvous(RENDEZVOUS_ALPN);
        let (links, own_key) = peer(&endpoint);
        let accepting = async { endpoint.accept().await.unwrap().await };
        let (signed_in, _) = tokio::join!(sign_in(&links, RENDEZVOUS, own_key, vec![]), accepting);
        assert_eq!(signed_in, Err(SignInError::Refused));
        let nobody = VirtualAddress::new(7);
        assert_eq!(sign_in(&links, nobody, key, vec![]).await, Err(SignInError::Unreachable));

        let (endpoint, key) = rendezvous(PEER_ALPN);
        let (links, _) = peer(&endpoint);
        let accepting = async { endpoint.accept().await.unwrap().await };
        let (signed_in, _) = tokio::join!(sign_in(&links, RENDEZVOUS, key, vec![]), accepting);
        assert_eq!(signed_in, Err(SignInError::Refused));
    }
}
