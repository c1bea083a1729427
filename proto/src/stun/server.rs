//! The public STUN server, one pure function: a Binding request in, its answer out (RFC 8489 sections 6.3, 12; RFC 5780
//! section 6).
//!
//! Silence is the answer to whatever is not a sound Binding request: other methods, indications, responses, a wrong
//! FINGERPRINT, no cookie. A server that explains itself to noise can be made to talk to anyone. Nothing is
//! authenticated, so MESSAGE-INTEGRITY is skipped, and what follows it is ignored as section 14.5 asks.
//!
//! RESPONSE-PORT and PADDING (RFC 5780 sections 7.5, 7.6) are refused with 420 although their RFC knows them: the one
//! aims an answer at a port that did not ask, the other makes it long. Together they are a tool for reflection.

use std::net::SocketAddr;

use stun_rs::attributes::discovery::{OtherAddress, ResponseOrigin};
use stun_rs::attributes::stun::{ErrorCode, Fingerprint, MappedAddress, UnknownAttributes, XorMappedAddress};
use stun_rs::methods::BINDING;
use stun_rs::{MessageClass, StunMessageBuilder};

use super::{
    BINDING_REQUEST, BINDING_SUCCESS, CHANGE_REQUEST, COOKIE, FINGERPRINT, HEADER, MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256, TransactionId, Walk, XOR_MAPPED_ADDRESS, canonical, encode,
};

/// Where a request arrived, in addresses as clients see them (behind a one-to-one NAT: the public ones).
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The address and port that received the request.
    pub local: SocketAddr,
    /// The address and port that differ from `local` in both (RFC 5780's alternate), if all four sockets exist.
    pub other: Option<SocketAddr>,
}

/// What to send back to the address that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The datagram.
    pub payload: Vec<u8>,
    /// Send it from the IP address of [`Place::other`] instead of [`Place::local`]. Never set without an alternate.
    pub change_ip: bool,
    /// Send it from the port of [`Place::other`] instead of [`Place::local`]. Never set without an alternate.
    pub change_port: bool,
}

/// How many unknown attributes an error lists. RFC 8489 section 14.13 gives no number; a client that mixes in more than
/// 32 kinds that nobody knows learns enough from these, and the error stays below 100 bytes.
const MAX_UNKNOWN: usize = 32;

/// CHANGE-REQUEST's flags: bits 2 and 1 of its last byte (RFC 5780 section 7.2).
const CHANGE_IP: u8 = 4;
const CHANGE_PORT: u8 = 2;

/// Answers a datagram from `from` that arrived at `place`; `None` is silence.
///
/// The answer carries FINGERPRINT if and only if the request does, and never SOFTWARE: it stays as short as it can.
#[must_use]
pub fn answer(request: &[u8], from: SocketAddr, place: &Place) -> Option<Answer> {
    let from = canonical(from);
    if place.other.is_none()
        && let Ok(bare) = <&[u8; HEADER]>::try_from(request)
    {
        return bare_answer(bare, from).map(Answer::from_here);
    }
    let wish = Wish::read(request, place.other.is_some())?;
    if !wish.unknown.is_empty() {
        let unknown = UnknownAttributes::from(wish.unknown.as_slice());
        let code = ErrorCode::new(stun_rs::ErrorCode::new(420, "").ok()?);
        let error = wish.reply(MessageClass::ErrorResponse).with_attribute(code).with_attribute(unknown);
        return Some(Answer::from_here(wish.finish(error)));
    }
    let mut success = wish.reply(MessageClass::SuccessResponse).with_attribute(XorMappedAddress::from(from));
    if let Some(other) = place.other.map(canonical) {
        let local = canonical(place.local);
        let origin = SocketAddr::new(
            if wish.change_ip { other.ip() } else { local.ip() },
            if wish.change_port { other.port() } else { local.port() },
        );
        // RFC 5780 section 6.2.1: both forms of the address, so that a client can tell an ALG that rewrites one of them.
        success = success
            .with_attribute(MappedAddress::from(from))
            .with_attribute(ResponseOrigin::from(origin))
            .with_attribute(OtherAddress::from(other));
    }
    Some(Answer { payload: wish.finish(success), change_ip: wish.change_ip, change_port: wish.change_port })
}

impl Answer {
    fn from_here(payload: Vec<u8>) -> Self {
        Self { payload, change_ip: false, change_port: false }
    }
}

/// The hot path: a request without attributes, which is what nearly every client sends, answered without stun-rs. A
/// test holds the two ways equal byte by byte.
fn bare_answer(request: &[u8; HEADER], from: SocketAddr) -> Option<Vec<u8>> {
    let [k0, k1, 0, 0, c0, c1, c2, c3, id @ ..] = *request else {
        return None;
    };
    if u16::from_be_bytes([k0, k1]) != BINDING_REQUEST || [c0, c1, c2, c3] != COOKIE {
        return None;
    }
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(&id);
    let mut octets = [0; 16];
    let (family, size) = match from {
        SocketAddr::V4(v4) => {
            octets[..4].copy_from_slice(&v4.ip().octets());
            (1, 4)
        }
        SocketAddr::V6(v6) => {
            octets = v6.ip().octets();
            (2, 16)
        }
    };
    let value = 4 + size;
    let mut payload = Vec::with_capacity(HEADER + 4 + 20);
    payload.extend(BINDING_SUCCESS.to_be_bytes());
    payload.extend([0, 4 + value]);
    payload.extend(COOKIE);
    payload.extend(id);
    payload.extend(XOR_MAPPED_ADDRESS.to_be_bytes());
    payload.extend([0, value, 0, family]);
    payload.extend((from.port() ^ u16::from_be_bytes([COOKIE[0], COOKIE[1]])).to_be_bytes());
    payload.extend(octets.iter().zip(mask).take(size.into()).map(|(octet, mask)| octet ^ mask));
    Some(payload)
}

/// What a sound Binding request asks for.
struct Wish {
    id: TransactionId,
    unknown: Vec<u16>,
    change_ip: bool,
    change_port: bool,
    fingerprint: bool,
}

impl Wish {
    fn read(request: &[u8], has_alternate: bool) -> Option<Self> {
        let walk = Walk::new(request).filter(|walk| walk.kind == BINDING_REQUEST)?;
        let mut wish =
            Self { id: walk.id, unknown: Vec::new(), change_ip: false, change_port: false, fingerprint: false };
        let mut changed = false;
        let mut sealed = false;
        for attribute in walk.attributes() {
            if wish.fingerprint {
                return None; // section 14.7: FINGERPRINT is the last attribute
            }
            match attribute.kind {
                FINGERPRINT => {
                    let value = <&[u8; 4]>::try_from(attribute.value).ok()?;
                    wish.fingerprint = Fingerprint::from(value).validate(&request[..attribute.offset]);
                    if !wish.fingerprint {
                        return None;
                    }
                }
                _ if sealed => {}
                MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => sealed = true,
                CHANGE_REQUEST if has_alternate => {
                    let [_, _, _, flags] = *<&[u8; 4]>::try_from(attribute.value).ok()?;
                    // Section 14: of an attribute that may appear once, only the first counts.
                    if !changed {
                        changed = true;
                        wish.change_ip = flags & CHANGE_IP != 0;
                        wish.change_port = flags & CHANGE_PORT != 0;
                    }
                }
                kind if is_known(kind) || wish.unknown.contains(&kind) || wish.unknown.len() == MAX_UNKNOWN => {}
                kind => wish.unknown.push(kind),
            }
        }
        Some(wish)
    }

    fn reply(&self, class: MessageClass) -> StunMessageBuilder {
        StunMessageBuilder::new(BINDING, class).with_transaction_id(self.id.0.into())
    }

    fn finish(&self, reply: StunMessageBuilder) -> Vec<u8> {
        let reply = if self.fingerprint { reply.with_attribute(Fingerprint::default()) } else { reply };
        encode(&reply.build())
    }
}

/// Whether an attribute may stand in a request without being refused: whatever is comprehension-optional, and
/// RFC 8489's own, which a server that does not authenticate knows and ignores (section 6.3.1).
fn is_known(kind: u16) -> bool {
    matches!(kind, 0x8000.. | 0x0001 | 0x0006 | 0x0008..=0x000a | 0x0014 | 0x0015 | 0x001c..=0x001e | 0x0020)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::discovery::{binding_request, change_request, parse_response};
    use proptest::prelude::*;
    use stun_rs::MessageDecoderBuilder;

    const ID: TransactionId = TransactionId([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 255, 254]);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn alone() -> Place {
        Place { local: address("192.0.2.1:3478"), other: None }
    }

    fn with_alternate() -> Place {
        Place { other: Some(address("192.0.2.2:3479")), ..alone() }
    }

    /// A Binding request with these attributes, and FINGERPRINT if asked for.
    fn request(attributes: &[(u16, &[u8])], fingerprint: bool) -> Vec<u8> {
        let mut datagram = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend(ID.0);
        for (kind, value) in attributes {
            datagram.extend(kind.to_be_bytes());
            datagram.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            datagram.extend(*value);
            datagram.resize(datagram.len().next_multiple_of(4), 0);
        }
        let length = datagram.len() - HEADER + if fingerprint { 8 } else { 0 };
        datagram[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        if fingerprint {
            // CRC-32 by its definition (ISO 3309), so that the test does not ask the library whether it is right.
            let mut crc = u32::MAX;
            for byte in &datagram {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
                }
            }
            datagram.extend([0x80, 0x28, 0, 4]);
            datagram.extend((!crc ^ 0x5354_554e).to_be_bytes());
        }
        datagram
    }

    fn unknown_attributes(datagram: &[u8]) -> Vec<u16> {
        let (message, _) = MessageDecoderBuilder::default().build().decode(datagram).unwrap();
        assert_eq!(message.class(), MessageClass::ErrorResponse);
        assert_eq!(message.transaction_id().as_bytes(), &ID.0);
        let code = message.get::<ErrorCode>().unwrap().as_error_code().unwrap();
        assert_eq!(code.error_code().error_code(), 420);
        let unknown = message.get::<UnknownAttributes>().unwrap();
        unknown.as_unknown_attributes().unwrap().attributes().to_vec()
    }

    #[test]
    fn a_bare_request_learns_its_address_in_32_bytes_over_ipv4_and_44_over_ipv6() {
        for (from, length) in [("198.51.100.7:40001", 32), ("[2001:db8::7]:40001", 44), ("[::ffff:198.51.100.7]:9", 32)]
        {
            let answer = answer(&binding_request(ID), address(from), &alone()).unwrap();
            assert_eq!(answer.payload.len(), length);
            let learnt = parse_response(&answer.payload).unwrap();
            assert_eq!((learnt.id, learnt.mapped), (ID, canonical(address(from))));
            assert_eq!((answer.change_ip, answer.change_port), (false, false));
        }
    }

    proptest! {
        #[test]
        fn the_hot_path_and_stun_rs_write_the_same_bytes(id: [u8; 12], ip: std::net::IpAddr, port: u16) {
            let from = SocketAddr::new(ip.to_canonical(), port);
            let bare = binding_request(TransactionId(id));
            let wish = Wish::read(&bare, false).unwrap();
            let success = wish.reply(MessageClass::SuccessResponse).with_attribute(XorMappedAddress::from(from));
            prop_assert_eq!(answer(&bare, from, &alone()).unwrap().payload, wish.finish(success));
        }
    }

    #[test]
    fn unknown_attributes_that_must_be_understood_are_named_once_each_in_a_420() {
        let asked = request(&[(0x0024, &[0; 4]), (0x7777, &[]), (0x0024, &[1]), (0x8888, &[1, 2, 3])], false);
        let refused = answer(&asked, address("198.51.100.7:1"), &alone()).unwrap();
        assert_eq!(unknown_attributes(&refused.payload), [0x0024, 0x7777]);
    }

    #[test]
    fn a_request_full_of_unknown_attributes_gets_a_short_error() {
        let many: Vec<(u16, &[u8])> = (0x4000..0x4100).map(|kind| (kind, [].as_slice())).collect();
        let refused = answer(&request(&many, true), address("198.51.100.7:1"), &with_alternate()).unwrap();
        assert_eq!(unknown_attributes(&refused.payload).len(), MAX_UNKNOWN);
        assert!(refused.payload.len() < 112, "{}", refused.payload.len());
    }

    #[test]
    fn a_repeated_unknown_attribute_does_not_hide_another() {
        let mut attributes: Vec<(u16, &[u8])> = vec![(0x0024, &[]); 40];
        attributes.push((0x7777, &[]));
        let refused = answer(&request(&attributes, false), address("198.51.100.7:1"), &alone()).unwrap();
        assert_eq!(unknown_attributes(&refused.payload), [0x0024, 0x7777]);
    }

    #[test]
    fn attributes_behind_the_integrity_are_ignored_and_known_ones_never_refused() {
        let asked = request(&[(6, b"somebody"), (0x8022, b"a client"), (8, &[0; 20]), (0x7777, &[])], true);
        let answer = answer(&asked, address("198.51.100.7:1"), &alone()).unwrap();
        assert_eq!(parse_response(&answer.payload).unwrap().mapped, address("198.51.100.7:1"));
    }

    #[test]
    fn the_answer_has_a_fingerprint_exactly_when_the_request_has() {
        let from = address("198.51.100.7:1");
        assert_eq!(answer(&request(&[], true), from, &alone()).unwrap().payload.len(), 32 + 8);
        assert_eq!(answer(&request(&[(0x8022, b"x")], false), from, &alone()).unwrap().payload.len(), 32);
    }

    #[test]
    fn malformed_foreign_and_classic_datagrams_get_silence() {
        let good = request(&[(0x8022, b"abc")], true);
        let mut wrong_fingerprint = good.clone();
        *wrong_fingerprint.last_mut().unwrap() ^= 1;
        let mut behind_fingerprint = good.clone();
        behind_fingerprint.extend([0x80, 0x22, 0, 0]);
        behind_fingerprint[3] += 4;
        let mut classic = request(&[], false);
        classic[4] = 0;
        let mut indication = request(&[], false);
        indication[1] = 0x11;
        let mut allocate = request(&[], false);
        allocate[1] = 3;
        let success = answer(&request(&[], false), address("198.51.100.7:1"), &alone()).unwrap().payload;
        let mut overrun = good.clone();
        overrun[23] = 200;
        let mut quic = request(&[], false);
        quic[0] = 0x40;
        let cut = good[..good.len() - 1].to_vec();
        let long = [good.clone(), vec![0]].concat();
        let huge = request(&[(0x8022, &[65; MAX_HUGE])], false);
        for silent in [
            wrong_fingerprint,
            behind_fingerprint,
            classic,
            indication,
            allocate,
            success,
            overrun,
            quic,
            cut,
            long,
            huge,
            vec![],
            vec![0],
        ] {
            for place in [alone(), with_alternate()] {
                assert_eq!(answer(&silent, address("198.51.100.7:1"), &place), None, "{silent:?}");
            }
        }
    }

    const MAX_HUGE: usize = crate::stun::MAX_DATAGRAM - HEADER;

    #[test]
    fn with_an_alternate_the_answer_comes_from_the_socket_that_was_asked_for() {
        for (ip, port, origin) in [
            (false, false, "192.0.2.1:3478"),
            (false, true, "192.0.2.1:3479"),
            (true, false, "192.0.2.2:3478"),
            (true, true, "192.0.2.2:3479"),
        ] {
            let asked = change_request(ID, ip, port);
            let answer = answer(&asked, address("198.51.100.7:1"), &with_alternate()).unwrap();
            assert_eq!((answer.change_ip, answer.change_port), (ip, port));
            let learnt = parse_response(&answer.payload).unwrap();
            assert_eq!(learnt.origin, Some(address(origin)));
            assert_eq!(learnt.other, Some(address("192.0.2.2:3479")));
            assert_eq!(learnt.mapped, address("198.51.100.7:1"));
        }
    }

    #[test]
    fn without_an_alternate_a_change_request_is_an_unknown_attribute() {
        let refused = answer(&change_request(ID, true, true), address("198.51.100.7:1"), &alone()).unwrap();
        assert_eq!(unknown_attributes(&refused.payload), [CHANGE_REQUEST]);
        assert_eq!((refused.change_ip, refused.change_port), (false, false));
    }

    #[test]
    fn other_address_and_origin_are_told_only_by_a_server_that_has_alternates() {
        let from = address("198.51.100.7:1");
        let plain = parse_response(&answer(&binding_request(ID), from, &alone()).unwrap().payload).unwrap();
        assert_eq!((plain.origin, plain.other), (None, None));
        let rich = parse_response(&answer(&binding_request(ID), from, &with_alternate()).unwrap().payload).unwrap();
        assert_eq!((rich.origin, rich.other), (Some(alone().local), with_alternate().other));
    }

    #[test]
    fn what_would_turn_the_server_into_a_reflector_is_refused() {
        let asked = request(&[(0x0027, &[0, 53, 0, 0]), (0x0026, &[0; 1500])], false);
        let refused = answer(&asked, address("198.51.100.7:1"), &with_alternate()).unwrap();
        assert_eq!(unknown_attributes(&refused.payload), [0x0027, 0x0026]);
    }
}
