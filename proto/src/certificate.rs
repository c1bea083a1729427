//! The identity at work in TLS 1.3: a certificate made from the key, and configurations that check keys, not names.
//!
//! Whoever knows a peer id or a rendezvous address knows the Ed25519 key it stands for; the certificate only carries
//! that key into TLS. Names, dates and issuers are therefore not looked at. What is always looked at is the signature
//! over the handshake (RFC 8446 section 4.4.3): a certificate is public, so showing one proves nothing.
//!
//! No session is resumed: every connection proves both keys anew.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName as RootHint, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};

use crate::identity::PublicKey;

/// The application protocol (ALPN, RFC 7301) of a conversation between two peers.
pub const PEER_ALPN: &[u8] = b"knothole/1";

/// The application protocol (ALPN, RFC 7301) of a sign-in at a rendezvous.
pub const RENDEZVOUS_ALPN: &[u8] = b"knothole-rdv/1";

/// The application protocol (ALPN, RFC 7301) of a stream that carries datagrams to a rendezvous and back.
pub const TUNNEL_ALPN: &[u8] = b"knothole-tcp/1";

/// What precedes the 32 bytes of a seed in a PKCS #8 document (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// What precedes the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The secret behind a [`PublicKey`]: the seed of an Ed25519 key (RFC 8032 section 5.1.5), 32 bytes.
/// It is overwritten when dropped, and never printed.
#[derive(Clone)]
pub struct IdentitySecret([u8; 32]);

impl IdentitySecret {
    /// Takes a seed; any 32 bytes are one. They must come from a source that nobody can guess.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The 32 bytes of the seed, for the store alone.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key by which others know the owner of this secret.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        #[expect(clippy::expect_used, reason = "refused is only a seed of another length than 32 bytes")]
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.0).expect("32 bytes are an Ed25519 seed");
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        PublicKey::new(key)
    }

    /// A key for another purpose, the same whenever it is asked for: HMAC-SHA256 of the purpose's name under the seed.
    /// Nothing about the seed, nor about the key of another purpose, follows from it.
    #[must_use]
    pub fn derived_key(&self, purpose: &str) -> [u8; 32] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), purpose.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(tag.as_ref());
        key
    }

    fn pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        [&PKCS8_PREFIX[..], &self.0].concat().into()
    }
}

impl Drop for IdentitySecret {
    fn drop(&mut self) {
        self.0 = [0; 32];
        // Keeps the compiler from leaving out a write to what nobody reads again.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for IdentitySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentitySecret(…)")
    }
}

/// The self-signed certificate of an identity: always the same bytes for the same secret.
///
/// # Errors
/// The certificate library failed; no secret is known for which it does.
pub fn certificate(secret: &IdentitySecret) -> Result<CertificateDer<'static>, Error> {
    let wrong = |why: rcgen::Error| Error::General(why.to_string());
    let key = KeyPair::try_from(&secret.pkcs8()).map_err(wrong)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "knothole");
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from(1));
    // Nobody looks at the dates; a clock must not make two certificates differ.
    params.not_before = date_time_ymd(1975, 1, 1);
    params.not_after = date_time_ymd(4096, 1, 1);
    Ok(params.self_signed(&key).map_err(wrong)?.der().clone())
}

/// How to reach the one who holds the key `expected` and nobody else, showing our own certificate.
///
/// The name given to TLS with this configuration selects nothing and is not sent (no SNI).
///
/// # Errors
/// The TLS library failed; no secret is known for which it does.
pub fn client_config(secret: &IdentitySecret, expected: PublicKey, alpn: &[u8]) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyVerifier { expected: Some(expected) }))
        .with_client_auth_cert(vec![certificate(secret)?], PrivateKeyDer::Pkcs8(secret.pkcs8()))?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_sni = false;
    Ok(config)
}

/// How to be reached: whoever proves any Ed25519 key is let in, and [`peer_key`] tells the caller which one it was.
///
/// # Errors
/// The TLS library failed; no secret is known for which it does.
pub fn server_config(secret: &IdentitySecret, alpn: &[&[u8]]) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(KeyVerifier { expected: None }))
        .with_single_cert(vec![certificate(secret)?], PrivateKeyDer::Pkcs8(secret.pkcs8()))?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // A ticket that nobody redeems would only cost bytes and memory.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// How to open a stream to the one who holds the key `expected` and nobody else, telling nothing of ourselves: who we are
/// is said inside, to the sign-in.
///
/// # Errors
/// The TLS library failed; no key is known for which it does.
pub fn tunnel_client_config(expected: PublicKey) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyVerifier { expected: Some(expected) }))
        .with_no_client_auth();
    config.alpn_protocols = vec![TUNNEL_ALPN.to_vec()];
    config.enable_sni = false;
    Ok(config)
}

/// How to let streams in: anybody's.
///
/// # Errors
/// The TLS library failed; no secret is known for which it does.
pub fn tunnel_server_config(secret: &IdentitySecret) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate(secret)?], PrivateKeyDer::Pkcs8(secret.pkcs8()))?;
    config.alpn_protocols = vec![TUNNEL_ALPN.to_vec()];
    // A ticket that nobody redeems would only cost bytes and memory.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The Ed25519 key in the first of these certificates, or none where it holds another kind of key or is no certificate.
/// Only after a handshake has it been proved by a signature.
#[must_use]
pub fn peer_key(certificates: &[CertificateDer<'_>]) -> Option<PublicKey> {
    let certificate = ParsedCertificate::try_from(certificates.first()?).ok()?;
    let info = certificate.subject_public_key_info();
    let key = info.as_ref().strip_prefix(&SPKI_PREFIX)?;
    Some(PublicKey::new(key.try_into().ok()?))
}

/// The cryptography of every connection. The suites are the library's three for TLS 1.3; AES-128-GCM among them is what
/// QUIC seals its first packets with (RFC 9001 section 5.2). The hybrid group comes first, so that what is recorded
/// today stays closed to a quantum computer.
fn crypto() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519MLKEM768, provider::kx_group::X25519],
        ..provider::default_provider()
    }
}

/// Accepts a certificate for its key: the expected one, or where none is expected, any Ed25519 key.
#[derive(Debug)]
struct KeyVerifier {
    expected: Option<PublicKey>,
}

impl KeyVerifier {
    fn check_key(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let key = peer_key(std::slice::from_ref(certificate)).ok_or(CertificateError::BadEncoding)?;
        match self.expected {
            Some(expected) if key != expected => Err(CertificateError::ApplicationVerificationFailure.into()),
            _ => Ok(()),
        }
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &provider::default_provider().signature_verification_algorithms,
        )
    }
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_key(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for KeyVerifier {
    fn root_hint_subjects(&self) -> &[RootHint] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_key(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use rustls::client::ResolvesClientCert;
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use rustls::{ClientConnection, NamedGroup, ServerConnection};

    use super::*;

    fn secret(n: u8) -> IdentitySecret {
        IdentitySecret::new([n; 32])
    }

    /// Carries records both ways until neither side has more to say.
    fn shake(client: ClientConfig, server: ServerConfig) -> Result<(ClientConnection, ServerConnection), Error> {
        let name = ServerName::try_from("knothole").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        let mut server = ServerConnection::new(Arc::new(server))?;
        while client.wants_write() || server.wants_write() {
            let mut records = Vec::new();
            client.write_tls(&mut records).unwrap();
            let mut unread = &records[..];
            while !unread.is_empty() {
                server.read_tls(&mut unread).unwrap();
                server.process_new_packets()?;
            }
            records.clear();
            server.write_tls(&mut records).unwrap();
            let mut unread = &records[..];
            while !unread.is_empty() {
                client.read_tls(&mut unread).unwrap();
                client.process_new_packets()?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok((client, server))
    }

    #[test]
    fn both_sides_learn_the_others_key_over_a_hybrid_group_and_agree_on_exported_keys() {
        let (alice, bob) = (secret(1), secret(2));
        let client = client_config(&alice, bob.public_key(), PEER_ALPN).unwrap();
        let server = server_config(&bob, &[RENDEZVOUS_ALPN, PEER_ALPN]).unwrap();
        let (client, server) = shake(client, server).unwrap();
        assert_eq!(peer_key(client.peer_certificates().unwrap()), Some(bob.public_key()));
        assert_eq!(peer_key(server.peer_certificates().unwrap()), Some(alice.public_key()));
        assert_eq!(client.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(server.alpn_protocol(), Some(PEER_ALPN));
        assert_eq!(server.server_name(), None, "nobody on the way reads a name");
        let export = |key: Result<[u8; 32], Error>| key.unwrap();
        assert_eq!(
            export(client.export_keying_material([0; 32], b"EXPORTER-knothole-test", None)),
            export(server.export_keying_material([0; 32], b"EXPORTER-knothole-test", None)),
        );
    }

    #[test]
    fn the_suite_that_quic_begins_with_is_on_offer() {
        let suites = crypto().cipher_suites;
        assert!(suites.iter().any(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256));
    }

    #[test]
    fn a_server_with_another_key_is_refused() {
        let client = client_config(&secret(1), secret(3).public_key(), PEER_ALPN).unwrap();
        let server = server_config(&secret(2), &[PEER_ALPN]).unwrap();
        let why = shake(client, server).unwrap_err();
        assert_eq!(why, Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
    }

    #[test]
    fn a_stream_goes_to_the_rendezvous_that_was_meant_and_says_nothing_of_the_peer() {
        let rendezvous = secret(2);
        let server = || tunnel_server_config(&rendezvous).unwrap();
        let client = tunnel_client_config(rendezvous.public_key()).unwrap();
        let (client, server_side) = shake(client, server()).unwrap();
        assert_eq!(peer_key(client.peer_certificates().unwrap()), Some(rendezvous.public_key()));
        assert!(server_side.peer_certificates().is_none() && server_side.server_name().is_none());
        assert!(shake(tunnel_client_config(secret(3).public_key()).unwrap(), server()).is_err());
        let sign_in = client_config(&secret(1), rendezvous.public_key(), RENDEZVOUS_ALPN).unwrap();
        assert_eq!(shake(sign_in, server()).unwrap_err(), Error::NoApplicationProtocol);
    }

    #[test]
    fn another_application_protocol_is_refused() {
        let client = client_config(&secret(1), secret(2).public_key(), PEER_ALPN).unwrap();
        let server = server_config(&secret(2), &[RENDEZVOUS_ALPN]).unwrap();
        assert_eq!(shake(client, server).unwrap_err(), Error::NoApplicationProtocol);
    }

    #[test]
    fn a_client_without_a_certificate_is_refused() {
        let client = ClientConfig::builder_with_provider(Arc::new(crypto()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(KeyVerifier { expected: None }))
            .with_no_client_auth();
        let server = server_config(&secret(2), &[PEER_ALPN]).unwrap();
        assert_eq!(shake(client, server).unwrap_err(), Error::NoCertificatesPresented);
    }

    /// Shows the certificate of one and signs with the key of another.
    #[derive(Debug)]
    struct Impostor(Arc<CertifiedKey>);

    impl Impostor {
        fn new(shown: &IdentitySecret, held: &IdentitySecret) -> Arc<Self> {
            let key = provider::sign::any_eddsa_type(&held.pkcs8()).unwrap();
            Arc::new(Self(Arc::new(CertifiedKey::new(vec![certificate(shown).unwrap()], key))))
        }
    }

    impl ResolvesClientCert for Impostor {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    impl ResolvesServerCert for Impostor {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    #[test]
    fn a_certificate_shown_without_its_key_is_refused_on_either_side() {
        let (alice, bob, mallory) = (secret(1), secret(2), secret(3));
        let refused = Error::InvalidCertificate(CertificateError::BadSignature);

        let mut client = client_config(&mallory, bob.public_key(), PEER_ALPN).unwrap();
        client.client_auth_cert_resolver = Impostor::new(&alice, &mallory);
        assert_eq!(shake(client, server_config(&bob, &[PEER_ALPN]).unwrap()).unwrap_err(), refused);

        let client = client_config(&alice, bob.public_key(), PEER_ALPN).unwrap();
        let mut server = server_config(&mallory, &[PEER_ALPN]).unwrap();
        server.cert_resolver = Impostor::new(&bob, &mallory);
        assert_eq!(shake(client, server).unwrap_err(), refused);
    }

    #[test]
    fn the_certificate_of_a_secret_is_always_the_same_and_holds_its_key() {
        let made = certificate(&secret(7)).unwrap();
        assert_eq!(made, certificate(&secret(7)).unwrap());
        assert_eq!(peer_key(&[made]), Some(secret(7).public_key()));
    }

    #[test]
    fn a_key_of_another_kind_and_a_broken_certificate_hold_no_peer_key() {
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other = CertificateParams::default().self_signed(&other).unwrap().der().clone();
        assert_eq!(peer_key(&[other]), None);
        assert_eq!(peer_key(&[]), None);
        let whole = certificate(&secret(7)).unwrap();
        for length in 0..whole.len() {
            assert_eq!(peer_key(&[whole[..length].to_vec().into()]), None, "{length} bytes");
        }
    }

    #[test]
    fn rfc_8032_test_1_gives_its_public_key_and_purposes_give_different_keys() {
        let seed = data_encoding::HEXLOWER.decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = data_encoding::HEXLOWER.decode(b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let secret = IdentitySecret::new(seed.unwrap().try_into().unwrap());
        assert_eq!(secret.public_key().as_bytes()[..], key.unwrap()[..]);
        assert_eq!(secret.derived_key("a"), secret.derived_key("a"));
        assert_ne!(secret.derived_key("a"), secret.derived_key("b"));
        assert_eq!(format!("{secret:?}"), "IdentitySecret(…)");
    }
}
