//! Leaving in a received buffer what is QUIC's and from one contact, and keeping for later what is from another.

use std::collections::VecDeque;
use std::io::IoSliceMut;

use quinn::udp::RecvMeta;

use super::virtual_address::VirtualAddress;

/// Whose a QUIC datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) address: VirtualAddress,
    /// How many bytes stand before it that are not QUIC's.
    pub(super) header: usize,
}

/// Datagrams that come late from the engine and may wait at a time: the first flights of as many contacts.
const LATE: usize = 64;

/// Datagrams that were received between another contact's: one buffer has one address, so they wait for the next call.
///
/// Bounded by what one call receives: nothing more is received before all of it is delivered; and by [`LATE`].
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<Group>);

/// Consecutive datagrams of one origin, in the shape of a coalesced buffer.
#[derive(Debug)]
struct Group {
    origin: Origin,
    meta: RecvMeta,
    datagrams: Vec<u8>,
}

/// Moves together those datagrams of a buffer that `judge` says are QUIC's and that have the same origin as the first
/// such, without their headers, and has `meta` describe them: an empty length if there are none.
///
/// A buffer that the kernel coalesced (GRO) holds several datagrams of a stride's length each, the last of which may be
/// shorter. The last stays last, so what remains has that shape again, and so has what goes to `waiting`. No datagram
/// overtakes one of the same contact. `judge` sees every datagram once, in order.
pub(super) fn sift(
    buffer: &mut [u8],
    meta: &mut RecvMeta,
    waiting: &mut Waiting,
    mut judge: impl FnMut(&[u8]) -> Option<Origin>,
) {
    let room = buffer.len();
    // A stride of 0 comes with an empty datagram, and would divide nothing.
    let stride = meta.stride.max(1);
    let received = buffer.len().min(meta.len);
    let (mut read, mut kept, mut holder) = (0, 0, None);
    while read < received {
        let end = received.min(read + stride);
        if let Some(origin) = judge(&buffer[read..end]) {
            let begin = read + origin.header;
            if !waiting.has(origin.address) && *holder.get_or_insert(origin) == origin {
                if begin != kept {
                    buffer.copy_within(begin..end, kept);
                }
                kept += end - begin;
            } else {
                waiting.push(origin, meta, stride, &buffer[begin..end], room);
            }
        }
        read = end;
    }
    meta.len = kept;
    if let Some(origin) = holder {
        origin.sign(meta, stride);
    }
}

impl Origin {
    /// Has `meta` name it as the source of datagrams that came `stride` apart with their headers.
    fn sign(self, meta: &mut RecvMeta, stride: usize) {
        meta.addr = self.address.socket_addr();
        // Never 0: a datagram that has a header is longer than that.
        meta.stride = stride - self.header;
    }
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills buffers with what waits, a group each, and returns how many.
    pub(super) fn deliver(&mut self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let count = self.0.len().min(buffers.len()).min(metas.len());
        for ((group, buffer), meta) in self.0.drain(..count).zip(buffers).zip(metas) {
            // As by the kernel, a buffer that is too small is filled as far as it goes; QUIC's are all of one size.
            let length = group.datagrams.len().min(buffer.len());
            buffer[..length].copy_from_slice(&group.datagrams[..length]);
            *meta = RecvMeta { len: length, ..group.meta };
        }
        count
    }

    /// One more datagram, as it came, with its header.
    pub(super) fn push_one(&mut self, origin: Origin, datagram: &[u8]) {
        let length = datagram.len();
        if length > origin.header && self.0.len() < LATE {
            let addr = origin.address.socket_addr();
            let mut meta = RecvMeta { addr, len: length, stride: length, ecn: None, dst_ip: None };
            origin.sign(&mut meta, length);
            self.0.push_back(Group { origin, meta, datagrams: datagram[origin.header..].to_vec() });
        }
    }

    fn has(&self, address: VirtualAddress) -> bool {
        self.0.iter().any(|group| group.origin.address == address)
    }

    fn push(&mut self, origin: Origin, meta: &RecvMeta, stride: usize, datagram: &[u8], room: usize) {
        let last = self.0.iter_mut().rfind(|group| group.origin.address == origin.address);
        if let Some(group) = last.filter(|group| group.takes(origin, meta, stride, room - datagram.len())) {
            group.datagrams.extend_from_slice(datagram);
            return;
        }
        let mut meta = *meta;
        origin.sign(&mut meta, stride);
        meta.dst_ip = None;
        self.0.push_back(Group { origin, meta, datagrams: datagram.to_vec() });
    }
}

impl Group {
    /// Whether a datagram may follow that came `stride` apart: one of the same origin and marking, all before it being
    /// whole, and no more than `room` bytes.
    fn takes(&self, origin: Origin, meta: &RecvMeta, stride: usize, room: usize) -> bool {
        self.origin == origin
            && self.meta.ecn == meta.ecn
            && self.meta.stride == stride - origin.header
            && self.datagrams.len().is_multiple_of(self.meta.stride)
            && self.datagrams.len() <= room
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const ALICE: VirtualAddress = VirtualAddress::new(1);
    const BOB: VirtualAddress = VirtualAddress::new(2);

    /// What the datagrams of the tests begin with, and are judged by.
    const FOREIGN: u8 = 0;
    const DIRECT: u8 = 1;
    const RELAYED_ALICE: u8 = 2;
    const RELAYED_BOB: u8 = 3;

    /// The relayed ones have this many bytes before what is QUIC's, of which the last tells them apart.
    const HEADER: usize = 2;
    const STRIDE: usize = 5;

    fn judge(datagram: &[u8]) -> Option<Origin> {
        match datagram[0] {
            DIRECT => Some(Origin { address: ALICE, header: 0 }),
            RELAYED_ALICE => Some(Origin { address: ALICE, header: HEADER }),
            RELAYED_BOB => Some(Origin { address: BOB, header: HEADER }),
            _ => None,
        }
    }

    fn meta(len: usize, stride: usize) -> RecvMeta {
        RecvMeta { addr: ([192, 0, 2, 1], 5).into(), len, stride, ecn: None, dst_ip: None }
    }

    /// A datagram that begins with its kind, and whose other bytes all tell which one it is.
    fn datagram(kind: u8, n: usize, length: usize) -> Vec<u8> {
        let mut datagram = vec![u8::try_from(n).unwrap(); length];
        datagram[0] = kind;
        datagram
    }

    /// What QUIC makes of a buffer.
    fn seen(buffer: &[u8], meta: &RecvMeta) -> Vec<(SocketAddr, Vec<u8>)> {
        buffer[..meta.len].chunks(meta.stride.max(1)).map(|datagram| (meta.addr, datagram.to_vec())).collect()
    }

    fn delivered(waiting: &mut Waiting) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut all = Vec::new();
        while !waiting.is_empty() {
            let (mut first, mut second) = ([0; 64], [0; 64]);
            let mut metas = [meta(0, 0); 2];
            let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            let count = waiting.deliver(&mut buffers, &mut metas);
            assert!((1..=2).contains(&count));
            (0..count).for_each(|n| all.extend(seen(&buffers[n], &metas[n])));
        }
        all
    }

    /// The datagrams of each contact, in order.
    fn of_contact(all: &[(SocketAddr, Vec<u8>)], contact: VirtualAddress) -> Vec<Vec<u8>> {
        all.iter().filter(|(from, _)| *from == contact.socket_addr()).map(|(_, datagram)| datagram.clone()).collect()
    }

    fn wanted(datagrams: &[Vec<u8>], contact: VirtualAddress) -> Vec<Vec<u8>> {
        datagrams
            .iter()
            .filter_map(|datagram| judge(datagram).map(|origin| (origin, datagram)))
            .filter(|(origin, _)| origin.address == contact)
            .map(|(origin, datagram)| datagram[origin.header..].to_vec())
            .collect()
    }

    /// `count` datagrams whose kinds are the digits of `kinds`, the last one of length `last`.
    fn datagrams(count: usize, kinds: usize, last: usize) -> Vec<Vec<u8>> {
        let kind = |n: usize| u8::try_from(kinds >> (2 * n) & 3).unwrap();
        (0..count).map(|n| datagram(kind(n), n, if n + 1 == count { last } else { STRIDE })).collect()
    }

    #[test]
    fn every_mixture_is_delivered_whole_in_order_and_without_headers() {
        // Up to six datagrams of four kinds, with every length of the last one that a frame can have.
        for count in 0..=6_usize {
            for last in HEADER + 1..=STRIDE {
                for kinds in 0..1_usize << (2 * count) {
                    let datagrams = datagrams(count, kinds, last);
                    let mut buffer = datagrams.concat();
                    let (mut meta, mut waiting, mut shown) =
                        (meta(buffer.len(), STRIDE), Waiting::default(), Vec::new());
                    sift(&mut buffer, &mut meta, &mut waiting, |datagram| {
                        shown.push(datagram.to_vec());
                        judge(datagram)
                    });
                    assert_eq!(shown, datagrams, "each is shown once, unharmed by what was moved before");
                    assert!(meta.len > 0 || waiting.is_empty(), "what waits is behind something that does not");
                    let mut all = seen(&buffer, &meta);
                    all.extend(delivered(&mut waiting));
                    for contact in [ALICE, BOB] {
                        let got = of_contact(&all, contact);
                        assert_eq!(got, wanted(&datagrams, contact), "count {count} last {last} kinds {kinds:o}");
                    }
                    let quic = datagrams.iter().filter(|datagram| datagram[0] != FOREIGN).count();
                    assert_eq!(all.len(), quic, "and nothing else");
                }
            }
        }
    }

    #[test]
    fn nothing_of_a_contact_overtakes_what_waits_from_an_earlier_buffer_of_the_batch() {
        for (first, second) in (0..256).flat_map(|first| (0..256).map(move |second| (first, second))) {
            let batch = [datagrams(4, first, 4), datagrams(4, second, STRIDE)];
            let (mut waiting, mut all) = (Waiting::default(), Vec::new());
            for datagrams in &batch {
                let mut buffer = datagrams.concat();
                let mut meta = meta(buffer.len(), STRIDE);
                sift(&mut buffer, &mut meta, &mut waiting, judge);
                all.extend(seen(&buffer, &meta));
            }
            all.extend(delivered(&mut waiting));
            for contact in [ALICE, BOB] {
                let got = of_contact(&all, contact);
                assert_eq!(got, wanted(&batch.concat(), contact), "{first:o} {second:o}");
            }
        }
    }

    #[test]
    fn what_waits_of_one_contact_comes_in_one_buffer() {
        let kinds = [RELAYED_ALICE, RELAYED_BOB, RELAYED_ALICE, RELAYED_BOB, RELAYED_BOB];
        let mut buffer: Vec<u8> = kinds.iter().enumerate().flat_map(|(n, &kind)| datagram(kind, n, STRIDE)).collect();
        let (mut meta, mut waiting) = (meta(buffer.len(), STRIDE), Waiting::default());
        sift(&mut buffer, &mut meta, &mut waiting, judge);
        assert_eq!((meta.addr, meta.len, meta.stride), (ALICE.socket_addr(), 6, 3));
        assert_eq!(waiting.0.len(), 1);
        assert_eq!(delivered(&mut waiting).len(), 3);
    }

    #[test]
    fn a_single_datagram_may_be_shorter_than_the_stride() {
        for (kind, length) in [(DIRECT, 5), (RELAYED_BOB, 3), (FOREIGN, 0)] {
            let mut buffer = datagram(kind, 7, 5);
            let mut meta = meta(5, 1472);
            sift(&mut buffer, &mut meta, &mut Waiting::default(), judge);
            assert_eq!(meta.len, length);
            assert!(meta.stride >= length);
        }
    }

    #[test]
    fn an_empty_datagram_is_nothing() {
        let mut meta = meta(0, 0);
        sift(&mut [], &mut meta, &mut Waiting::default(), judge);
        assert_eq!(meta.len, 0);
    }

    #[test]
    fn a_stride_of_nothing_does_not_hang() {
        let mut meta = meta(3, 0);
        sift(&mut [1, 1, 1], &mut meta, &mut Waiting::default(), judge);
        assert_eq!((meta.len, meta.stride), (3, 1));
    }
}
