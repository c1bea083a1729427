//! Connectivity checks between two peers (RFC 8445 section 7): Binding requests and responses under the key that the
//! rendezvous gave both for this introduction.
//!
//! ```text
//! request,  76 bytes:         header  USERNAME (20 characters)   MESSAGE-INTEGRITY  FINGERPRINT
//! response, 64 or 76 bytes:   header  XOR-MAPPED-ADDRESS         MESSAGE-INTEGRITY  FINGERPRINT
//! ```
//! A response is never longer than its request, so that a check cannot be used to make a peer send more than it got.
//! USERNAME is the introduction's id as base32 text; the password is the key as base32 text, used as RFC 8489's
//! short-term credential, with HMAC-SHA1 as RFC 8445 has it.
//!
//! Reading goes in two steps. [`peek`] finds, without cryptography, whose contact a datagram concerns; the contact's
//! agent then verifies it. A check that does not verify gets silence.
//!
//! The comparison of the integrity is not constant-time: what it guards is a 160-bit value that differs with every
//! message, under a key that lives for one introduction, and a wrong guess gets no answer to be timed.

use std::net::SocketAddr;

use stun_rs::attributes::stun::{Fingerprint, MessageIntegrity, UserName, XorMappedAddress};
use stun_rs::methods::BINDING;
use stun_rs::{
    DecoderContextBuilder, HMACKey, MessageClass, MessageDecoderBuilder, StunAttributeType, StunError, StunMessage,
    StunMessageBuilder,
};

use super::{BINDING_REQUEST, BINDING_SUCCESS, TransactionId, USERNAME, Walk, canonical, encode};
use crate::candidate::{CheckKey, IntroductionId};
use crate::identity::{base32_bytes, base32_text};

/// Bytes of a check, the longest thing that an agent sends: 20 header, 24 USERNAME, 24 MESSAGE-INTEGRITY, 8 FINGERPRINT.
pub const CHECK_LENGTH: usize = 76;

/// Whom a datagram concerns, before anything about it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// A check under this introduction.
    Request(IntroductionId),
    /// A success response to this transaction.
    Response(TransactionId),
    /// No check: malformed, another STUN message (a foreign client's request, perhaps), or no STUN at all.
    Other,
}

/// Sorts a datagram without cryptography and without stun-rs: some tens of nanoseconds.
#[must_use]
pub fn peek(datagram: &[u8]) -> Peek {
    let Some(walk) = Walk::new(datagram) else {
        return Peek::Other;
    };
    match walk.kind {
        BINDING_SUCCESS => Peek::Response(walk.id),
        BINDING_REQUEST => walk
            .attributes()
            .find(|attribute| attribute.kind == USERNAME)
            .and_then(|attribute| std::str::from_utf8(attribute.value).ok())
            .and_then(|text| base32_bytes(text).ok()?.try_into().ok())
            .map_or(Peek::Other, |id| Peek::Request(IntroductionId(id))),
        _ => Peek::Other,
    }
}

/// Writes a check.
#[must_use]
pub fn request(id: TransactionId, introduction: &IntroductionId, key: &CheckKey) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "base32 text is plain ASCII, which every Unicode profile passes")]
    let user = UserName::new(base32_text(&introduction.0)).expect("base32 is a user name");
    encode(&sealed(MessageClass::Request, id, user, key))
}

/// Writes the answer to a check that came from `mapped`.
#[must_use]
pub fn response(id: TransactionId, mapped: SocketAddr, key: &CheckKey) -> Vec<u8> {
    encode(&sealed(MessageClass::SuccessResponse, id, XorMappedAddress::from(canonical(mapped)), key))
}

/// The transaction of a check that was made under this introduction with this key; `None` for anything else.
#[must_use]
pub fn verify_request(datagram: &[u8], introduction: &IntroductionId, key: &CheckKey) -> Option<TransactionId> {
    let message = verified(datagram, BINDING_REQUEST, key)?;
    let user = message.get::<UserName>()?.as_user_name().ok()?;
    (user.as_str() == base32_text(&introduction.0)).then(|| TransactionId(*message.transaction_id().as_bytes()))
}

/// The transaction of a response made with this key, and the address at which the other side saw the check arrive from;
/// `None` for anything else.
#[must_use]
pub fn verify_response(datagram: &[u8], key: &CheckKey) -> Option<(TransactionId, SocketAddr)> {
    let message = verified(datagram, BINDING_SUCCESS, key)?;
    let mapped = *message.get::<XorMappedAddress>()?.as_xor_mapped_address().ok()?.socket_address();
    Some((TransactionId(*message.transaction_id().as_bytes()), canonical(mapped)))
}

fn sealed<A>(class: MessageClass, id: TransactionId, attribute: A, key: &CheckKey) -> StunMessage
where
    A: Into<stun_rs::StunAttribute>,
{
    #[expect(clippy::expect_used, reason = "base32 text is plain ASCII, which every Unicode profile passes")]
    let key = password(key).expect("base32 is a password");
    StunMessageBuilder::new(BINDING, class)
        .with_transaction_id(id.0.into())
        .with_attribute(attribute)
        .with_attribute(MessageIntegrity::new(key))
        .with_attribute(Fingerprint::default())
        .build()
}

fn password(key: &CheckKey) -> Result<HMACKey, StunError> {
    HMACKey::new_short_term(base32_text(&key.0))
}

/// Decodes and verifies. stun-rs verifies only what is there, and drops what follows the integrity: so what is needed
/// must be found among what is left.
fn verified(datagram: &[u8], kind: u16, key: &CheckKey) -> Option<StunMessage> {
    Walk::new(datagram).filter(|walk| walk.kind == kind)?;
    let context = DecoderContextBuilder::default().with_key(password(key).ok()?).with_validation().build();
    let (message, _) = MessageDecoderBuilder::default().with_context(context).build().decode(datagram).ok()?;
    let has = |wanted| message.attributes().iter().any(|attribute| attribute.attribute_type() == wanted);
    (has(MessageIntegrity::get_type()) && has(Fingerprint::get_type())).then_some(message)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::stun) const INTRODUCTION: IntroductionId = IntroductionId([3; 12]);
    pub(in crate::stun) const KEY: CheckKey = CheckKey([0xa5; 20]);
    const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

    fn v4() -> SocketAddr {
        "203.0.113.9:4711".parse().unwrap()
    }

    fn v6() -> SocketAddr {
        "[2001:db8::9]:4711".parse().unwrap()
    }

    pub(in crate::stun) fn samples() -> Vec<Vec<u8>> {
        vec![request(ID, &INTRODUCTION, &KEY), response(ID, v4(), &KEY), response(ID, v6(), &KEY)]
    }

    #[test]
    fn a_check_and_its_answer_verify_under_their_key() {
        let check = request(ID, &INTRODUCTION, &KEY);
        assert_eq!(verify_request(&check, &INTRODUCTION, &KEY), Some(ID));
        for mapped in [v4(), v6()] {
            assert_eq!(verify_response(&response(ID, mapped, &KEY), &KEY), Some((ID, mapped)));
        }
    }

    #[test]
    fn an_answer_is_never_longer_than_the_check() {
        assert_eq!(request(ID, &INTRODUCTION, &KEY).len(), CHECK_LENGTH);
        assert_eq!(response(ID, v4(), &KEY).len(), 64);
        assert_eq!(response(ID, v6(), &KEY).len(), CHECK_LENGTH);
        assert_eq!(response(ID, "[::ffff:203.0.113.9]:4711".parse().unwrap(), &KEY), response(ID, v4(), &KEY));
    }

    #[test]
    fn another_key_another_introduction_or_a_changed_bit_is_refused() {
        let check = request(ID, &INTRODUCTION, &KEY);
        assert_eq!(verify_request(&check, &INTRODUCTION, &CheckKey([0xa4; 20])), None);
        assert_eq!(verify_request(&check, &IntroductionId([4; 12]), &KEY), None);
        assert_eq!(verify_response(&response(ID, v4(), &KEY), &CheckKey([0xa4; 20])), None);
        for sample in samples() {
            for bit in 0..sample.len() * 8 {
                let mut changed = sample.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(verify_request(&changed, &INTRODUCTION, &KEY), None, "bit {bit}");
                assert_eq!(verify_response(&changed, &KEY), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_check_without_integrity_or_without_fingerprint_is_refused() {
        let user = || UserName::new(base32_text(&INTRODUCTION.0)).unwrap();
        let start = || {
            StunMessageBuilder::new(BINDING, MessageClass::Request)
                .with_transaction_id(ID.0.into())
                .with_attribute(user())
        };
        let bare = encode(&start().build());
        let no_integrity = encode(&start().with_attribute(Fingerprint::default()).build());
        let no_fingerprint = encode(&start().with_attribute(MessageIntegrity::new(password(&KEY).unwrap())).build());
        for wire in [bare, no_integrity, no_fingerprint] {
            assert_eq!(peek(&wire), Peek::Request(INTRODUCTION));
            assert_eq!(verify_request(&wire, &INTRODUCTION, &KEY), None);
        }
    }

    #[test]
    fn a_name_or_an_address_behind_the_integrity_is_not_believed() {
        let integrity = || MessageIntegrity::new(password(&KEY).unwrap());
        let start = |class| StunMessageBuilder::new(BINDING, class).with_transaction_id(ID.0.into());
        let user = UserName::new(base32_text(&INTRODUCTION.0)).unwrap();
        let check = start(MessageClass::Request).with_attribute(integrity()).with_attribute(user);
        let check = encode(&check.with_attribute(Fingerprint::default()).build());
        assert_eq!(verify_request(&check, &INTRODUCTION, &KEY), None);
        let answer = start(MessageClass::SuccessResponse).with_attribute(integrity());
        let answer = answer.with_attribute(XorMappedAddress::from(v4())).with_attribute(Fingerprint::default());
        assert_eq!(verify_response(&encode(&answer.build()), &KEY), None);
    }

    #[test]
    fn peek_tells_whom_a_datagram_concerns() {
        assert_eq!(peek(&request(ID, &INTRODUCTION, &KEY)), Peek::Request(INTRODUCTION));
        assert_eq!(peek(&response(ID, v6(), &KEY)), Peek::Response(ID));
        assert_eq!(peek(&crate::stun::discovery::binding_request(ID)), Peek::Other);
        for other in [&b""[..], b"\x04knothole", &[0; 76], &[0xc0; 1200]] {
            assert_eq!(peek(other), Peek::Other);
        }
    }
}
