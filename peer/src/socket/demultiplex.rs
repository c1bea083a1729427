//! Taking out of a received buffer what is not QUIC's.

/// Keeps those datagrams of a buffer that `keep` approves, moved together, and returns how many bytes they fill.
///
/// A buffer that the kernel coalesced (GRO) holds several datagrams of `stride` bytes each, the last of which may be
/// shorter. The last stays last, so what remains has that shape again. `keep` sees every datagram once, in order.
pub(super) fn sift(buffer: &mut [u8], stride: usize, mut keep: impl FnMut(&[u8]) -> bool) -> usize {
    // A stride of 0 comes with an empty datagram, and would divide nothing.
    let stride = stride.max(1);
    let (mut read, mut kept) = (0, 0);
    while read < buffer.len() {
        let end = buffer.len().min(read + stride);
        if keep(&buffer[read..end]) {
            if kept != read {
                buffer.copy_within(read..end, kept);
            }
            kept += end - read;
        }
        read = end;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram whose bytes all tell which one it is.
    fn datagram(n: usize, length: usize) -> Vec<u8> {
        vec![u8::try_from(n).unwrap(); length]
    }

    #[test]
    fn every_choice_of_datagrams_remains_whole_and_in_order() {
        // Up to ten datagrams, with every length of the last one, and every subset of them to be kept.
        const STRIDE: usize = 3;
        for count in 0..=10_usize {
            for last in 1..=STRIDE {
                for chosen in 0_u32..1 << count {
                    let datagrams: Vec<Vec<u8>> =
                        (0..count).map(|n| datagram(n, if n + 1 == count { last } else { STRIDE })).collect();
                    let mut buffer = datagrams.concat();
                    let mut seen = Vec::new();
                    let kept = sift(&mut buffer, STRIDE, |datagram| {
                        seen.push(datagram.to_vec());
                        chosen & (1 << (seen.len() - 1)) != 0
                    });
                    let wanted: Vec<Vec<u8>> =
                        (0..count).filter(|n| chosen & (1 << n) != 0).map(|n| datagrams[n].clone()).collect();
                    assert_eq!(seen, datagrams, "each is shown once, unharmed by what was moved before");
                    let left: Vec<Vec<u8>> = buffer[..kept].chunks(STRIDE).map(<[u8]>::to_vec).collect();
                    assert_eq!(left, wanted, "count {count} last {last} chosen {chosen:b}");
                }
            }
        }
    }

    #[test]
    fn a_single_datagram_may_be_shorter_than_the_stride() {
        let mut buffer = datagram(7, 5);
        assert_eq!(sift(&mut buffer, 1472, |_| true), 5);
        assert_eq!(sift(&mut buffer, 1472, |_| false), 0);
    }

    #[test]
    fn an_empty_datagram_is_nothing() {
        assert_eq!(sift(&mut [], 0, |_| true), 0);
    }

    #[test]
    fn a_stride_of_nothing_does_not_hang() {
        assert_eq!(sift(&mut [1, 2, 3], 0, |_| true), 3);
    }
}
