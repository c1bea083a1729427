//! Streams that stand for addresses: who may open one, and what goes down which.
//!
//! A stream is a TLS connection in which a peer's datagrams come where its network lets no UDP through. The loop and quinn
//! send to its made-up address as to any other; what its queue has no room for is lost, as any datagram may be, so that a
//! peer that reads slowly costs a queue and no more.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use knothole_proto::tunnel::{StreamAddress, is_made_up};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::Counters;

/// Streams at once, at all addresses. One costs some 30 KB, so all of them half a gigabyte; of a million peers one or two in
/// a hundred sit in networks without UDP.
const MAX_STREAMS: usize = 16_384;
/// Streams of one network (an IPv4 address, or 64 bits of IPv6): as many people as one office's NAT has before it.
const MAX_STREAMS_EACH: usize = 512;
/// Connections in their TLS handshake at once, besides the streams; the oldest makes way for the newest. With 3,300 new ones
/// a second that say nothing, each still has a good second, and a handshake takes a round trip.
const MAX_HANDSHAKES: usize = 4096;
/// Datagrams that wait to go down one stream, at most 96 KB: a third of a second of what one registration may have relayed.
/// A longer queue would only make what waits in it older.
const QUEUE: usize = 64;

/// All streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    table: Mutex<Table>,
    /// When one ends.
    ended: Notify,
    opened: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<SocketAddr, Open>,
    /// How many each network has, also those that are not open yet.
    networks: BTreeMap<IpAddr, usize>,
    guests: usize,
    /// Those that are not open yet, the oldest first; each is told here that it makes way.
    handshakes: BTreeMap<u64, oneshot::Sender<()>>,
    /// Connections that were let in.
    admitted: u64,
    /// The number that was given last.
    number: u32,
    closed: bool,
}

#[derive(Debug)]
struct Open {
    queue: mpsc::Sender<Vec<u8>>,
    standing: Arc<Standing>,
}

/// Whether a registration lives at a stream's address.
#[derive(Debug, Default)]
pub(super) struct Standing {
    registered: AtomicBool,
    changed: Notify,
}

impl Standing {
    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Relaxed)
    }

    pub(super) fn set(&self, registered: bool) {
        if self.registered.swap(registered, Relaxed) != registered {
            self.changed.notify_one();
        }
    }

    /// Waits for a change; one since it was asked last counts. For one task.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// A connection that was let in; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    streams: Arc<Streams>,
    remote: IpAddr,
    network: IpAddr,
    address: Option<SocketAddr>,
    number: u64,
    displaced: oneshot::Receiver<()>,
}

/// A connection's end of its stream.
#[derive(Debug)]
pub(super) struct Opened {
    /// What stands for it.
    pub(super) address: SocketAddr,
    /// What goes down; it ends when the rendezvous closes.
    pub(super) queue: mpsc::Receiver<Vec<u8>>,
    pub(super) standing: Arc<Standing>,
}

impl Streams {
    /// Lets a connection in, unless there are too many in all or of its network.
    pub(super) fn admit(self: &Arc<Self>, remote: IpAddr) -> Option<Guest> {
        let network = StreamAddress::new(remote, 0).network();
        let table = &mut *self.table();
        let of_network = table.networks.get(&network).copied().unwrap_or_default();
        if table.closed || table.open.len() >= MAX_STREAMS || of_network >= MAX_STREAMS_EACH {
            self.refuse();
            return None;
        }
        if table.handshakes.len() >= MAX_HANDSHAKES
            && let Some((_, oldest)) = table.handshakes.pop_first()
        {
            self.refuse();
            // Who is not waiting for it has just gone by itself.
            let _ = oldest.send(());
        }
        let (sender, displaced) = oneshot::channel();
        let number = table.admitted;
        table.handshakes.insert(number, sender);
        table.admitted += 1;
        table.guests += 1;
        table.networks.insert(network, of_network + 1);
        Some(Guest { streams: Arc::clone(self), remote, network, address: None, number, displaced })
    }

    /// Counts a connection that was not let in, or made way.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts one that never became a stream, or broke the rules as one.
    pub(super) fn fail(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Sends datagrams of the size `segment`, the last of which may be shorter, down the stream that `to` stands for.
    /// `false` if it stands for none and never did.
    pub(super) fn send(&self, to: SocketAddr, payload: &[u8], segment: usize) -> bool {
        if !is_made_up(to) {
            return false;
        }
        let table = self.table();
        let open = table.open.get(&to);
        for datagram in payload.chunks(segment.max(1)) {
            if open.is_none_or(|open| open.queue.try_send(datagram.to_vec()).is_err()) {
                self.dropped.fetch_add(1, Relaxed);
            }
        }
        true
    }

    /// A registration lives at this stream's address from now on, or does no more.
    pub(super) fn set_registered(&self, address: SocketAddr, registered: bool) {
        if let Some(open) = self.table().open.get(&address) {
            open.standing.set(registered);
        }
    }

    /// Lets nobody in any more, sends what is queued, says goodbye to each, and returns when all have ended.
    pub(super) async fn close(&self) {
        self.stop();
        loop {
            let ended = self.ended.notified();
            if self.table().guests == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Begins what [`close`](Self::close) waits for.
    pub(super) fn stop(&self) {
        let mut table = self.table();
        table.closed = true;
        table.open.clear();
    }

    /// Adds what was counted here.
    pub(super) fn count(&self, counters: Counters) -> Counters {
        Counters {
            streams_opened: self.opened.load(Relaxed),
            streams_refused: self.refused.load(Relaxed),
            streams_failed: self.failed.load(Relaxed),
            dropped_stream: self.dropped.load(Relaxed),
            ..counters
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// The handshake is done: datagrams may come and go. `None` if it came too late: the rendezvous closes, another has
    /// the last place, or one in the handshake has its own.
    pub(super) fn open(&mut self) -> Option<Opened> {
        let table = &mut *self.streams.table();
        let shaken = table.handshakes.remove(&self.number).is_some();
        if table.closed || !shaken {
            return None;
        }
        if table.open.len() >= MAX_STREAMS {
            self.streams.refuse();
            return None;
        }
        let address = loop {
            // There are far fewer streams than numbers.
            table.number = table.number.wrapping_add(1);
            let address = StreamAddress::new(self.remote, table.number).socket_addr();
            if !table.open.contains_key(&address) {
                break address;
            }
        };
        let (sender, queue) = mpsc::channel(QUEUE);
        let standing = Arc::new(Standing::default());
        table.open.insert(address, Open { queue: sender, standing: Arc::clone(&standing) });
        self.address = Some(address);
        self.streams.opened.fetch_add(1, Relaxed);
        Some(Opened { address, queue, standing })
    }

    /// Waits until it has to make way; asked once, and before it is open.
    pub(super) async fn displaced(&mut self) {
        let _ = (&mut self.displaced).await;
    }

    /// Where it comes from.
    pub(super) const fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let table = &mut *self.streams.table();
        table.guests -= 1;
        table.handshakes.remove(&self.number);
        if let Some(address) = self.address {
            table.open.remove(&address);
        }
        if let Some(count) = table.networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                table.networks.remove(&self.network);
            }
        }
        self.streams.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn a_network_has_its_share_and_leaves_the_others_theirs() {
        let streams = Arc::new(Streams::default());
        let mut guests: Vec<_> = std::iter::repeat_with(|| streams.admit(remote(1))).take(1000).flatten().collect();
        assert_eq!(guests.len(), MAX_STREAMS_EACH);
        assert!(streams.admit(remote(2)).is_some());
        guests.pop();
        assert!(streams.admit(remote(1)).is_some(), "who leaves makes room");
        let one_customer = |n: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, n]);
        let guests: Vec<_> = (0..1000).filter_map(|n| streams.admit(one_customer(n))).collect();
        assert_eq!(guests.len(), MAX_STREAMS_EACH);
        drop(guests);
        assert_eq!(streams.count(Counters::default()).streams_refused, 2 * (1000 - 512));
    }

    #[test]
    fn all_networks_together_have_a_bound_and_nothing_is_kept_of_who_left() {
        let streams = Arc::new(Streams::default());
        let all = || (0..=u8::MAX).flat_map(|n| std::iter::repeat_n(remote(n), 100));
        let open = |remote| streams.admit(remote).and_then(|mut guest| guest.open().map(|_| guest));
        let mut guests: Vec<_> = all().filter_map(open).collect();
        assert_eq!(guests.len(), MAX_STREAMS);
        guests.pop();
        let mut late = [streams.admit(remote(255)).unwrap(), streams.admit(remote(255)).unwrap()];
        assert_eq!(late.each_mut().map(|guest| guest.open().is_some()), [true, false], "one place");
        drop((guests, late));
        let table = streams.table();
        assert_eq!((table.guests, table.networks.len(), table.open.len()), (0, 0, 0));
        assert!(table.handshakes.is_empty());
    }

    #[test]
    fn connections_that_say_nothing_take_each_other_s_places_and_no_stream_s() {
        let streams = Arc::new(Streams::default());
        let mut silent: Vec<_> = (0..=u8::MAX)
            .flat_map(|n| std::iter::repeat_n(remote(n), 64))
            .map(|from| streams.admit(from).unwrap())
            .collect();
        assert!(silent.len() >= MAX_STREAMS, "as many as there are streams");
        let mut guest = streams.admit(remote(1)).unwrap();
        assert_eq!(streams.table().handshakes.len(), MAX_HANDSHAKES);
        let stays = silent.len() + 1 - MAX_HANDSHAKES;
        let displaced: Vec<_> = silent.iter_mut().map(|guest| guest.displaced.try_recv().is_ok()).collect();
        assert!(displaced[..stays].iter().all(|displaced| *displaced), "the oldest");
        assert!(!displaced[stays..].iter().any(|displaced| *displaced));
        assert!(silent[0].open().is_none(), "too late");
        assert!(guest.open().is_some());
        for n in 10..=u8::MAX {
            silent.extend((0..64).map(|_| streams.admit(remote(n)).unwrap()));
        }
        assert!(guest.displaced.try_recv().is_err(), "it is a stream");
        assert_eq!(streams.table().open.len(), 1);
    }

    #[test]
    fn a_stream_is_registered_for_as_long_as_a_registration_lives_at_its_address() {
        let streams = Arc::new(Streams::default());
        let mut guest = streams.admit(remote(1)).unwrap();
        let Opened { address, standing, .. } = guest.open().unwrap();
        for registered in [false, true, true, false, true] {
            streams.set_registered(address, registered);
            assert_eq!(standing.is_registered(), registered);
        }
    }

    #[test]
    fn what_a_slow_reader_has_no_room_for_is_dropped_and_counted() {
        let streams = Arc::new(Streams::default());
        let mut guest = streams.admit(remote(1)).unwrap();
        let mut opened = guest.open().unwrap();
        assert!(streams.send(opened.address, &[7; 3 * 100 + 1], 100));
        for length in [100, 100, 100, 1] {
            assert_eq!(opened.queue.try_recv().unwrap(), vec![7; length]);
        }
        (0..1000).for_each(|_| assert!(streams.send(opened.address, &[7; 1500], 1500)));
        assert_eq!(streams.count(Counters::default()).dropped_stream, 1000 - QUEUE as u64);
        drop(guest);
        assert!(streams.send(opened.address, &[7; 100], 100), "never by UDP");
        assert!(!streams.send("192.0.2.1:1".parse().unwrap(), &[7; 100], 100));
    }

    #[test]
    fn a_rendezvous_that_closes_ends_every_queue_and_lets_nobody_in() {
        let streams = Arc::new(Streams::default());
        let (mut guest, mut late) = (streams.admit(remote(1)).unwrap(), streams.admit(remote(1)).unwrap());
        let mut opened = guest.open().unwrap();
        streams.send(opened.address, &[7], 1);
        streams.stop();
        assert_eq!(opened.queue.try_recv().unwrap(), [7], "what was queued still goes");
        assert!(opened.queue.try_recv().is_err() && opened.queue.is_closed());
        assert!(late.open().is_none() && streams.admit(remote(2)).is_none());
    }
}
