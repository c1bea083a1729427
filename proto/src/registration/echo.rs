//! Delayed echoes: "answer me after so many seconds", by which a peer finds out how long its NAT keeps a mapping.
//! Byte layouts: docs/protocol.md, "Lifetime".
//!
//! A request comes from a spare socket, so from a mapping that nothing else keeps alive. It is answered at once, which
//! proves that it arrived and makes the mapping one of those that have had an answer, like a registration's; and once
//! more after the delay. Both answers together are no longer than the request.

use crate::datagram::{ECHO, HEADER, Header, TAG};
use crate::keepalive::tagged;
use crate::seal::TagKey;

/// The delays that a rendezvous accepts, in seconds: those of keepalives.
pub const DELAY_RANGE_S: std::ops::RangeInclusive<u16> = super::INTERVAL_RANGE_S;

const ANSWER_LENGTH: usize = HEADER + TAG;
/// Twice an answer.
const REQUEST_LENGTH: usize = 2 * ANSWER_LENGTH;
const PADDING: usize = REQUEST_LENGTH - HEADER - TAG;
/// Flag of an answer: it comes after the delay.
const DELAYED: u8 = 1;

/// The request for an echo after `delay_s` seconds. Counters are the keepalives'.
#[must_use]
pub fn request(key: &TagKey, slot: u32, counter: u64, delay_s: u16) -> Vec<u8> {
    tagged(key, Header { kind: ECHO, flags: 0, port: delay_s, slot, number: counter }, &[0; PADDING])
}

/// The delay that a request asks for, in seconds; the caller verifies its tag.
#[must_use]
pub fn parse_request(header: Header, datagram: &[u8]) -> Option<u16> {
    let sound = header.kind == ECHO && datagram.len() == REQUEST_LENGTH && DELAY_RANGE_S.contains(&header.port);
    sound.then_some(header.port)
}

/// The answer to the request with this counter: at once, and after the delay.
#[must_use]
pub fn answer(key: &TagKey, slot: u32, counter: u64, delayed: bool) -> Vec<u8> {
    let flags = if delayed { DELAYED } else { 0 };
    tagged(key, Header { kind: ECHO, flags, port: 0, slot, number: counter }, &[])
}

/// What a peer's spare socket sends and expects for one trial.
#[derive(Debug, Clone)]
pub struct Requests {
    /// Where to.
    pub remote: std::net::SocketAddr,
    /// To be sent one after the other until one is answered.
    pub datagrams: Vec<Vec<u8>>,
    pub(crate) key: TagKey,
    pub(crate) slot: u32,
    pub(crate) counters: std::ops::RangeInclusive<u64>,
}

impl Requests {
    /// Whether this is an answer to one of the requests, and if so, whether the one after the delay.
    #[must_use]
    pub fn answered(&self, datagram: &[u8]) -> Option<bool> {
        let header = Header::parse(datagram)?;
        let ours = header.kind == ECHO && header.slot == self.slot && self.counters.contains(&header.number);
        (ours && datagram.len() == ANSWER_LENGTH && self.key.verifies(datagram)).then_some(header.flags & DELAYED != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answers_together_are_no_longer_than_the_request() {
        let key = TagKey::from_bytes([1; 16]);
        let asked = request(&key, 3, 9, 60);
        assert_eq!(parse_request(Header::parse(&asked).unwrap(), &asked), Some(60));
        let answers = [answer(&key, 3, 9, false), answer(&key, 3, 9, true)];
        assert!(answers.iter().map(Vec::len).sum::<usize>() <= asked.len());
        for delay_s in [0, 601] {
            let asked = request(&key, 3, 9, delay_s);
            assert_eq!(parse_request(Header::parse(&asked).unwrap(), &asked), None);
        }
        assert_eq!(parse_request(Header::parse(&answers[0]).unwrap(), &answers[0]), None);
    }

    #[test]
    fn an_answer_counts_only_untouched_and_for_its_own_requests() {
        let key = TagKey::from_bytes([1; 16]);
        let remote = "192.0.2.1:3478".parse().unwrap();
        let requests = Requests { remote, datagrams: Vec::new(), key, slot: 3, counters: 5..=7 };
        assert_eq!(requests.answered(&answer(&key, 3, 6, false)), Some(false));
        assert_eq!(requests.answered(&answer(&key, 3, 6, true)), Some(true));
        for other in [answer(&key, 4, 6, true), answer(&key, 3, 8, true), request(&key, 3, 6, 60)] {
            assert_eq!(requests.answered(&other), None);
        }
        let mut touched = answer(&key, 3, 6, false);
        touched[1] |= DELAYED;
        assert_eq!(requests.answered(&touched), None);
    }
}
