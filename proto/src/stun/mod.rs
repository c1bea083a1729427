//! STUN as Knothole speaks it: the public server of RFC 8489 and RFC 5780 ([`server`]), learning one's own address
//! ([`discovery`]), and the connectivity checks of RFC 8445 between two peers ([`check`]).
//!
//! stun-rs writes every message and verifies every check. Its decoder is kept from strangers: it runs Unicode
//! profiles and a grammar over attributes that a server need not read. What a stranger sends is walked here, by
//! type and length alone; only a datagram that names a live introduction, or answers a request of ours, is decoded.
//!
//! Deliberately absent: long-term credentials, TURN, classic STUN (RFC 3489, which has no cookie), and any socket.

pub mod check;
pub mod discovery;
pub mod server;

use std::fmt;
use std::net::SocketAddr;

use stun_rs::{MessageEncoderBuilder, StunMessage};

/// The longest datagram that is read as STUN, in bytes. RFC 8489 section 6.1 keeps requests below the path's MTU
/// (576 or 1280 bytes); RFC 5780's PADDING is one Ethernet frame of 1500 bytes and deserves its refusal.
/// Whatever is longer only makes a server work.
pub const MAX_DATAGRAM: usize = 2048;

/// Type, length, cookie and transaction id (RFC 8489 section 5).
const HEADER: usize = 20;
/// Type and length before each attribute's value (RFC 8489 section 14).
const ATTRIBUTE_HEADER: usize = 4;
/// The magic cookie (RFC 8489 section 5), by which STUN is told from RFC 3489 and from anything else.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

// Message types: the method Binding in each of the classes that have a meaning here (RFC 8489 section 5).
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

// Attribute types, named where a message is walked without stun-rs (RFC 8489 section 18.3, RFC 5780 section 7).
const CHANGE_REQUEST: u16 = 0x0003;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;

/// The 96 bits that tie an answer to its request (RFC 8489 section 5). The caller draws them from its seeded
/// generator: they must not be guessable, for a discovery answer has no other proof.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A STUN message of which the header and the boundaries of all attributes are known to be sound.
struct Walk<'a> {
    kind: u16,
    id: TransactionId,
    datagram: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Checks the two zero bits, the cookie, and that header and attributes fill the datagram exactly.
    fn new(datagram: &'a [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_first_chunk::<HEADER>()?;
        let [k0, k1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let sound = k0 < 0x40 && [c0, c1, c2, c3] == COOKIE && length == rest.len() && datagram.len() <= MAX_DATAGRAM;
        let walk = Self { kind: u16::from_be_bytes([k0, k1]), id: TransactionId(id), datagram };
        let attributes =
            walk.attributes().map(|attribute| ATTRIBUTE_HEADER + attribute.value.len().next_multiple_of(4));
        (sound && attributes.sum::<usize>() == length).then_some(walk)
    }

    /// The attributes in their order, until the first that overruns the datagram.
    fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let datagram = self.datagram;
        let mut offset = HEADER;
        std::iter::from_fn(move || {
            let (header, rest) = datagram.get(offset..)?.split_first_chunk::<ATTRIBUTE_HEADER>()?;
            let [t0, t1, l0, l1] = *header;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let value = rest.get(..length.next_multiple_of(4))?.get(..length)?;
            let attribute = Attribute { kind: u16::from_be_bytes([t0, t1]), offset, value };
            offset += ATTRIBUTE_HEADER + length.next_multiple_of(4);
            Some(attribute)
        })
    }
}

/// One attribute of a [`Walk`]; the offset is that of its header in the datagram.
struct Attribute<'a> {
    kind: u16,
    offset: usize,
    value: &'a [u8],
}

/// A dual-stack socket reports IPv4 senders as `::ffff:a.b.c.d`; on the wire and in tables they are IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Writes a message of the few attributes that Knothole uses.
fn encode(message: &StunMessage) -> Vec<u8> {
    // The longest answer: a header, an error, and as many unknown attributes as are listed; all else is shorter.
    let mut buffer = vec![0; 256];
    #[expect(clippy::expect_used, reason = "every message built here is bounded below the buffer; tests build each")]
    let length = MessageEncoderBuilder::default().build().encode(&mut buffer, message).expect("it fits the buffer");
    buffer.truncate(length);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stun_rs::{DecoderContextBuilder, HMACKey, MessageDecoderBuilder};

    /// Runs every parser that meets bytes from the network.
    fn parse_with_everything(datagram: &[u8]) {
        let from = "[2001:db8::7]:40000".parse().unwrap();
        let alone = server::Place { local: "[2001:db8::1]:3478".parse().unwrap(), other: None };
        let discovery = server::Place { other: Some("[2001:db8::2]:3479".parse().unwrap()), ..alone };
        let _ = server::answer(datagram, from, &alone);
        let _ = server::answer(datagram, from, &discovery);
        let _ = discovery::parse_response(datagram);
        let _ = check::peek(datagram);
        let _ = check::verify_request(datagram, &check::tests::INTRODUCTION, &check::tests::KEY);
        let _ = check::verify_response(datagram, &check::tests::KEY);
    }

    /// One message of each kind, to be mutated: a random datagram rarely gets past the cookie.
    fn samples() -> Vec<Vec<u8>> {
        let id = TransactionId([7; 12]);
        let mut all = check::tests::samples();
        all.push(discovery::binding_request(id));
        all.push(discovery::change_request(id, true, false));
        let text = "obMatJos2gAAA\\\"e\u{301}\u{200d}\u{66}\u{30ab}\u{fb01}\u{5d0}1 ".as_bytes();
        for kind in [
            1, 3, 6, 8, 9, 10, 0x14, 0x15, 0x1c, 0x1d, 0x1e, 0x20, 0x26, 0x27, 0x8002, 0x8022, 0x8023, 0x802b,
            0x802c_u16,
        ] {
            for value in
                [text, &[0, 1, 4, 20, 0, 1, 0, 0], &[0, 2, 0, 4, 9, 9, 9, 9, 0, 1, 0, 5, 8, 8, 8, 8, 8, 0, 0, 0]]
            {
                let mut datagram = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
                datagram.extend(id.0);
                datagram.extend(kind.to_be_bytes());
                datagram.extend((value.len() as u16).to_be_bytes());
                datagram.extend(value);
                datagram.resize(datagram.len().next_multiple_of(4), 0);
                datagram[3] = (datagram.len() - HEADER) as u8;
                all.push(datagram);
            }
        }
        all
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse_with_everything(&datagram);
        }

        #[test]
        fn mutated_messages_never_panic(
            which: usize,
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<proptest::sample::Index>(),
        ) {
            let samples = samples();
            let mut datagram = samples[which % samples.len()].clone();
            for (at, to) in changes {
                let at = at.index(datagram.len());
                datagram[at] = to;
            }
            parse_with_everything(&datagram);
            parse_with_everything(&datagram[..cut.index(datagram.len())]);
        }
    }

    /// A second of work in a debug build. When stun-rs is updated, raise the rounds to some millions once.
    #[test]
    fn the_decoder_of_stun_rs_survives_mutations() {
        let key = HMACKey::new_short_term(crate::identity::base32_text(&check::tests::KEY.0)).unwrap();
        let strict = DecoderContextBuilder::default().with_key(key).with_validation().build();
        let lax = DecoderContextBuilder::default().not_ignore().with_unknown_data().build();
        let decoders = [strict, lax].map(|context| MessageDecoderBuilder::default().with_context(context).build());
        let samples = samples();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below
        };
        for round in 0..200_000 {
            let mut datagram = samples[round % samples.len()].clone();
            for _ in 0..=draw(6) {
                let at = draw(datagram.len());
                datagram[at] = draw(256) as u8;
            }
            datagram.truncate(datagram.len() - if draw(8) == 0 { draw(20) } else { 0 });
            for decoder in &decoders {
                let _ = decoder.decode(&datagram);
            }
            parse_with_everything(&datagram);
        }
    }
}
