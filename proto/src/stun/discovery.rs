//! The client's side of learning an address: plain Binding requests and what their answers tell.
//!
//! Deliberately absent: repetition and judgement. Who asks again, and what several answers say about a NAT, is the
//! caller's business.

use std::net::SocketAddr;

use stun_rs::attributes::discovery::{ChangeRequest, ChangeRequestFlags};
use stun_rs::methods::BINDING;
use stun_rs::{MessageClass, MessageDecoder, StunAttribute, StunMessageBuilder};

use super::{BINDING_SUCCESS, TransactionId, Walk, canonical, encode};

/// What a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// The request that it answers. The caller must know it: an answer has no other proof.
    pub id: TransactionId,
    /// The address from which the server saw the request come (XOR-MAPPED-ADDRESS).
    pub mapped: SocketAddr,
    /// The address from which the server says it answered (RESPONSE-ORIGIN, RFC 5780).
    pub origin: Option<SocketAddr>,
    /// The server's address that differs in IP and port (OTHER-ADDRESS, RFC 5780).
    pub other: Option<SocketAddr>,
}

/// The shortest Binding request: 20 bytes.
#[must_use]
pub fn binding_request(id: TransactionId) -> Vec<u8> {
    encode(&request(id).build())
}

/// A Binding request, 28 bytes, that asks to be answered from another IP address or port (RFC 5780 section 4.4).
#[must_use]
pub fn change_request(id: TransactionId, change_ip: bool, change_port: bool) -> Vec<u8> {
    let flags = match (change_ip, change_port) {
        (true, true) => Some(ChangeRequestFlags::ChangeIp | ChangeRequestFlags::ChangePort),
        (true, false) => Some(ChangeRequestFlags::ChangeIp.into()),
        (false, true) => Some(ChangeRequestFlags::ChangePort.into()),
        (false, false) => None,
    };
    encode(&request(id).with_attribute(ChangeRequest::new(flags)).build())
}

fn request(id: TransactionId) -> StunMessageBuilder {
    StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id(id.0.into())
}

/// Reads a Binding success response; `None` if the datagram is none, or tells no address.
#[must_use]
pub fn parse_response(datagram: &[u8]) -> Option<Response> {
    let walk = Walk::new(datagram).filter(|walk| walk.kind == BINDING_SUCCESS)?;
    let (message, _) = MessageDecoder::default().decode(datagram).ok()?;
    let mut mapped = None;
    let mut origin = None;
    let mut other = None;
    for attribute in message.attributes() {
        match attribute {
            StunAttribute::XorMappedAddress(address) => mapped = mapped.or(Some(*address.socket_address())),
            StunAttribute::ResponseOrigin(address) => origin = Some(canonical(*address.socket_address())),
            StunAttribute::OtherAddress(address) => other = Some(canonical(*address.socket_address())),
            _ => {}
        }
    }
    Some(Response { id: walk.id, mapped: canonical(mapped?), origin, other })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_header_and_nothing_more() {
        let wire = binding_request(TransactionId([5; 12]));
        assert_eq!(wire, [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[5; 12]].concat());
    }

    #[test]
    fn a_change_request_sets_the_bits_of_rfc_5780() {
        for (ip, port, bits) in [(false, false, 0), (true, false, 4), (false, true, 2), (true, true, 6)] {
            let wire = change_request(TransactionId([5; 12]), ip, port);
            assert_eq!(wire[20..], [0, 3, 0, 4, 0, 0, 0, bits]);
        }
    }

    #[test]
    fn the_answer_of_rfc_5769_is_read() {
        // RFC 5769 section 2.2, a published IPv4 response with SOFTWARE, integrity and fingerprint.
        let wire = data_encoding::HEXLOWER
            .decode(
                b"0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643\
                  000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
                    .iter()
                    .copied()
                    .filter(|c| !c.is_ascii_whitespace())
                    .collect::<Vec<_>>()
                    .as_slice(),
            )
            .unwrap();
        let response = parse_response(&wire).unwrap();
        assert_eq!(response.mapped, "192.0.2.1:32853".parse().unwrap());
        assert_eq!((response.origin, response.other), (None, None));
    }

    #[test]
    fn an_answer_without_an_address_tells_nothing() {
        assert_eq!(parse_response(&[&[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[5; 12]].concat()), None);
    }
}
