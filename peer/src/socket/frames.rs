//! Relay frames on their way out: a header before each of QUIC's datagrams, still segmented by the kernel.

use std::cell::RefCell;

/// The most that a UDP datagram over IPv4 holds, and so the most that the kernel segments at a time, in bytes: 65,535
/// less the headers of IP and UDP. IPv6 would hold 20 more.
const LARGEST: usize = 65_507;

thread_local! {
    /// Where frames are put together. Each thread that sends keeps one, of the length of its longest transmission.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How many of QUIC's datagrams of `length` bytes go out at a time as frames, each with a header of so many bytes, where
/// the kernel takes `segments`.
pub(super) fn at_once(header: usize, length: usize, segments: usize) -> usize {
    (LARGEST / length.saturating_add(header)).min(segments).max(1)
}

/// Shows the frames for `datagrams`, each of `length` bytes except for the last, which may be shorter. So have the
/// frames, with the header's bytes more each.
pub(super) fn with_frames<T>(header: &[u8], datagrams: &[u8], length: usize, show: impl FnOnce(&[u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|frames| {
        frames.clear();
        for datagram in datagrams.chunks(length.max(1)) {
            frames.extend_from_slice(header);
            frames.extend_from_slice(datagram);
        }
        show(frames)
    })
}

#[cfg(test)]
mod tests {
    use knothole_proto::datagram::{RELAY_HEADER, relay_header};

    use super::*;

    #[test]
    fn every_datagram_gets_its_own_header_and_the_last_may_be_short() {
        for count in 1..=5_usize {
            for last in 1..=3 {
                let datagrams: Vec<Vec<u8>> = (0..count)
                    .map(|n| vec![0x40 | u8::try_from(n).unwrap(); if n + 1 == count { last } else { 3 }])
                    .collect();
                let wanted: Vec<Vec<u8>> =
                    datagrams.iter().map(|datagram| [&relay_header(77)[..], datagram].concat()).collect();
                let cut = with_frames(&relay_header(77), &datagrams.concat(), 3, |frames| {
                    frames.chunks(3 + RELAY_HEADER).map(<[u8]>::to_vec).collect::<Vec<_>>()
                });
                assert_eq!(cut, wanted, "{count} {last}");
            }
        }
    }

    #[test]
    fn no_more_goes_at_once_than_a_datagram_holds_with_the_headers() {
        assert_eq!(at_once(RELAY_HEADER, 1452, 64), 44, "45 of them fit without headers");
        assert_eq!(at_once(RELAY_HEADER, 1200, 64), 54);
        assert_eq!(at_once(RELAY_HEADER, 100, 64), 64);
        assert_eq!((at_once(RELAY_HEADER, 1200, 1), at_once(RELAY_HEADER, 1200, 0)), (1, 1));
        assert_eq!(
            (at_once(RELAY_HEADER, 65_507, 64), at_once(RELAY_HEADER, usize::MAX, 64)),
            (1, 1),
            "the kernel says that it is too long"
        );
        for length in 1..3000 {
            assert!(at_once(RELAY_HEADER, length, 64) * (length + RELAY_HEADER) <= LARGEST);
        }
    }
}
