//! Datagrams that leave together: one after another to one address, all of a size but for a shorter last one, they go out
//! with one system call (UDP segmentation offload). Relay frames that arrived as a train leave as one.

use knothole_proto::datagram::Transmit;

use crate::LocalSocket;

/// The longest datagram of a train: with its headers it fits every link that IPv6 runs on (RFC 8200, section 5). For a
/// longer one than the link takes, the kernel would refuse the whole train.
const MAX_SEGMENT: usize = 1232;
/// The longest train: below what an IPv4 packet's length can tell, headers included.
const MAX_BYTES: usize = 65_000;

/// One datagram or several.
#[derive(Debug)]
pub(super) struct Train {
    pub(super) local: LocalSocket,
    /// The datagrams, end to end.
    pub(super) transmit: Transmit,
    /// The size of each but the last.
    pub(super) segment: usize,
    /// How many the kernel takes at once.
    most: usize,
}

impl Train {
    /// A train of one, that may grow to `most` datagrams.
    pub(super) fn new(local: LocalSocket, transmit: Transmit, most: usize) -> Self {
        let segment = transmit.payload.len();
        Self { local, transmit, segment, most }
    }

    /// Appends a datagram if it can be the train's next.
    pub(super) fn takes(&mut self, local: LocalSocket, next: &Transmit) -> bool {
        let (length, bytes) = (next.payload.len(), self.transmit.payload.len());
        // A shorter one ends a train, and so does a full number: the next would be one too many.
        let open = self.segment > 0 && bytes.is_multiple_of(self.segment) && bytes / self.segment < self.most;
        let alike = (local, next.to, next.ttl) == (self.local, self.transmit.to, self.transmit.ttl);
        let fits = (1..=self.segment.min(MAX_SEGMENT)).contains(&length) && self.segment <= MAX_SEGMENT;
        let taken = open && alike && fits && bytes + length <= MAX_BYTES;
        if taken {
            self.transmit.payload.extend_from_slice(&next.payload);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(host: u8, length: usize) -> Transmit {
        Transmit { to: ([192, 0, 2, host], 9).into(), ttl: None, payload: vec![host; length] }
    }

    fn train(length: usize, most: usize) -> Train {
        Train::new(LocalSocket(0), datagram(1, length), most)
    }

    #[test]
    fn equal_datagrams_join_and_a_shorter_one_is_the_last() {
        let mut train = train(100, 64);
        assert!(train.takes(LocalSocket(0), &datagram(1, 100)));
        assert!(train.takes(LocalSocket(0), &datagram(1, 99)));
        assert!(!train.takes(LocalSocket(0), &datagram(1, 99)));
        assert_eq!((train.transmit.payload.len(), train.segment), (299, 100));
    }

    #[test]
    fn another_way_another_address_or_a_longer_datagram_begins_a_train_of_its_own() {
        let mut train = train(100, 64);
        for (local, next) in [(1, datagram(1, 100)), (0, datagram(2, 100)), (0, datagram(1, 101)), (0, datagram(1, 0))]
        {
            assert!(!train.takes(LocalSocket(local), &next), "{next:?}");
        }
        let low = Transmit { ttl: Some(2), ..datagram(1, 100) };
        assert!(!train.takes(LocalSocket(0), &low));
    }

    #[test]
    fn no_train_is_longer_than_the_kernel_takes() {
        let joined = |length, most| {
            let mut train = train(length, most);
            1 + (0..200).filter(|_| train.takes(LocalSocket(0), &datagram(1, length))).count()
        };
        assert_eq!([joined(100, 1), joined(100, 64), joined(1232, 64), joined(1233, 64)], [1, 64, 52, 1]);
    }
}
