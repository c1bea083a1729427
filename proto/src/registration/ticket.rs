//! Coming back to a rendezvous that was restarted, without a handshake. Byte layouts: docs/protocol.md, "Ticket".
//!
//! With a registration goes a *ticket*: what the rendezvous needs to know of the peer, sealed by the rendezvous for
//! itself, opaque here. Beside it both keep a [`Resumption`], secrets that only they and the ticket hold. A rendezvous
//! that does not know a slot says so with a token for the address that it saw; the peer shows the ticket and the
//! token in one datagram, and is registered under a new secret.
//!
//! That secret comes from a number of each side's, the rendezvous' fresh each time. So neither sequence numbers nor
//! counters of one registration mean anything in another, whatever somebody recorded.

use std::fmt;
use std::net::SocketAddr;

use crate::datagram::{HEADER, Header, RETURN, RETURNED, TAG, TICKET};
use crate::keepalive::{address, octets, tagged};
use crate::seal::{RegistrationSecret, TagKey, derive};

/// The longest ticket, in bytes: with it a datagram is far below what any path carries.
pub const MAX_TICKET: usize = 256;
/// Bytes of a [`Resumption`] in a ticket.
pub const RESUMPTION: usize = 48;
const TOKEN: usize = 8;
/// In the flags of a return.
const UNSEEN: u8 = 1;
const RETURNED_LENGTH: usize = HEADER + 16 + TAG;

/// What the rendezvous and the peer will know each other by when all else is forgotten.
#[derive(Clone)]
pub struct Resumption([u8; RESUMPTION]);

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumption(…)")
    }
}

impl Resumption {
    /// What belongs to a ticket that is given out within the registration of this secret.
    #[must_use]
    pub fn of(secret: &RegistrationSecret) -> Self {
        Self(derive(secret, &[b"ticket"]))
    }

    /// As it stood in a ticket.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; RESUMPTION]) -> Self {
        Self(bytes)
    }

    /// As it stands in a ticket.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; RESUMPTION] {
        &self.0
    }

    /// The key of the datagram that shows the ticket.
    #[must_use]
    pub fn tag_key(&self) -> TagKey {
        TagKey::from_bytes(std::array::from_fn(|i| self.0[i]))
    }

    /// The secret of a registration that this brings back: `nonce` is the peer's number, `chance` the rendezvous'.
    #[must_use]
    pub fn secret(&self, nonce: u64, chance: u64) -> RegistrationSecret {
        let root = RegistrationSecret(std::array::from_fn(|i| self.0[TAG + i]));
        RegistrationSecret(derive(&root, &[b"return", &nonce.to_be_bytes(), &chance.to_be_bytes()]))
    }
}

/// What a peer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return<'a> {
    /// Chosen by the peer at random, once for each return.
    pub nonce: u64,
    /// Seconds between its keepalives.
    pub interval_s: u16,
    /// As in a [`SignInRequest`](super::SignInRequest).
    pub unseen: bool,
    /// From the rendezvous' "unknown slot".
    pub token: u64,
    /// As the rendezvous gave it.
    pub ticket: &'a [u8],
}

impl Return<'_> {
    /// The datagram. `slot` is the one that was unknown.
    #[must_use]
    pub fn to_bytes(&self, key: &TagKey, slot: u32) -> Vec<u8> {
        let flags = if self.unseen { UNSEEN } else { 0 };
        let header = Header { kind: RETURN, flags, port: self.interval_s, slot, number: self.nonce };
        tagged(key, header, &[&self.token.to_be_bytes(), self.ticket].concat())
    }
}

/// Reads a shown ticket. The caller opens it and then verifies the tag over the whole datagram.
#[must_use]
pub fn parse_return(header: Header, datagram: &[u8]) -> Option<Return<'_>> {
    let (rest, _) = datagram.split_last_chunk::<TAG>()?;
    let (token, ticket) = rest.get(HEADER..)?.split_first_chunk::<TOKEN>()?;
    let sound = header.kind == RETURN && !ticket.is_empty() && ticket.len() <= MAX_TICKET;
    let token = u64::from_be_bytes(*token);
    sound.then_some(Return {
        nonce: header.number,
        interval_s: header.port,
        unseen: header.flags & UNSEEN != 0,
        token,
        ticket,
    })
}

/// The answer to a ticket that was believed, under the new registration's key. Shorter than what it answers.
#[must_use]
pub fn returned(key: &TagKey, slot: u32, chance: u64, observed: SocketAddr) -> Vec<u8> {
    tagged(key, Header { kind: RETURNED, flags: 0, port: observed.port(), slot, number: chance }, &octets(observed))
}

/// Reads the answer to the return with this nonce: the new registration's slot is in the header; here are its secret
/// and our address as the rendezvous sees it.
#[must_use]
pub fn parse_returned(
    resumption: &Resumption,
    nonce: u64,
    header: Header,
    datagram: &[u8],
) -> Option<(RegistrationSecret, SocketAddr)> {
    if header.kind != RETURNED || datagram.len() != RETURNED_LENGTH {
        return None;
    }
    let secret = resumption.secret(nonce, header.number);
    let octets = *datagram.get(HEADER..)?.first_chunk()?;
    TagKey::new(&secret).verifies(datagram).then(|| (secret, address(octets, header.port)))
}

/// A renewed ticket: the answer to the keepalive with this counter, sent only to a proven address.
#[must_use]
pub fn renewed(key: &TagKey, slot: u32, counter: u64, ticket: &[u8]) -> Vec<u8> {
    tagged(key, Header { kind: TICKET, flags: 0, port: 0, slot, number: counter }, ticket)
}

/// Reads a renewed ticket.
#[must_use]
pub fn parse_renewed<'a>(key: &TagKey, header: Header, datagram: &'a [u8]) -> Option<&'a [u8]> {
    let (rest, _) = datagram.split_last_chunk::<TAG>()?;
    let ticket = rest.get(HEADER..)?;
    let sound = header.kind == TICKET && !ticket.is_empty() && ticket.len() <= MAX_TICKET;
    (sound && key.verifies(datagram)).then_some(ticket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: Return<'_> = Return { nonce: 5, interval_s: 20, unseen: false, token: 7, ticket: &[9; 117] };

    fn resumption() -> Resumption {
        Resumption::of(&RegistrationSecret([1; 32]))
    }

    #[test]
    fn a_shown_ticket_reads_back_and_verifies_only_untouched() {
        let key = resumption().tag_key();
        let datagram = SHOWN.to_bytes(&key, 3);
        let header = Header::parse(&datagram).unwrap();
        assert_eq!(parse_return(header, &datagram), Some(SHOWN));
        assert!(key.verifies(&datagram));
        for i in 0..datagram.len() {
            let mut touched = datagram.clone();
            touched[i] ^= 1;
            assert!(!key.verifies(&touched), "byte {i}");
        }
        for length in 0..=HEADER + TOKEN + TAG {
            let short = &datagram[..length];
            assert_eq!(Header::parse(short).and_then(|header| parse_return(header, short)), None, "{length} bytes");
        }
        let long = Return { ticket: &[9; MAX_TICKET + 1], ..SHOWN }.to_bytes(&key, 3);
        assert_eq!(parse_return(Header::parse(&long).unwrap(), &long), None);
    }

    #[test]
    fn the_answer_is_shorter_and_is_read_by_who_asked_alone() {
        let observed = "192.0.2.1:4711".parse().unwrap();
        let secret = resumption().secret(5, 6);
        let answer = returned(&TagKey::new(&secret), 8, 6, observed);
        assert!(answer.len() < SHOWN.to_bytes(&resumption().tag_key(), 3).len());
        let header = Header::parse(&answer).unwrap();
        let (read, address) = parse_returned(&resumption(), 5, header, &answer).unwrap();
        assert_eq!((read.0, address), (secret.0, observed));
        assert!(parse_returned(&resumption(), 4, header, &answer).is_none(), "of another return");
        assert!(parse_returned(&Resumption::of(&RegistrationSecret([2; 32])), 5, header, &answer).is_none());
    }

    #[test]
    fn every_return_has_keys_of_its_own() {
        let secrets = [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(nonce, chance)| resumption().secret(nonce, chance).0);
        for (i, secret) in secrets.iter().enumerate() {
            assert!(!secrets[..i].contains(secret));
        }
    }

    #[test]
    fn a_renewed_ticket_reads_back_only_untouched() {
        let key = TagKey::from_bytes([4; 16]);
        let mut datagram = renewed(&key, 3, 9, &[6; 117]);
        let header = Header::parse(&datagram).unwrap();
        assert_eq!(parse_renewed(&key, header, &datagram), Some(&[6; 117][..]));
        datagram[40] ^= 1;
        assert_eq!(parse_renewed(&key, header, &datagram), None);
    }
}
