//! Rendezvous that are spoken to through a stream, because the network lets no UDP through.
//!
//! Nothing but this file and its callers in the socket knows of streams: what goes to the rendezvous' address goes into
//! the stream, and what comes out of it arrives as if from there.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll};

use knothole_proto::datagram::{flight_header, relay_header};
use quinn::udp::{RecvMeta, Transmit};
use tokio::sync::mpsc;

use super::counters::Counters;
use super::route::{Route, normal};

/// Datagrams that wait to go into one stream, at most 96 KB. What is over is dropped like any datagram may be: a longer
/// queue would only make what waits in it older.
const OUTGOING: usize = 64;
/// Datagrams that came out of streams and wait for the socket; when it is full the stream waits.
const INCOMING: usize = 64;

/// The streams in use, by their rendezvous' address.
#[derive(Debug)]
pub(crate) struct Tunnels {
    open: RwLock<HashMap<SocketAddr, Tunnel>>,
    /// Whether there are any: mostly there are none, and sending should not take a lock to learn that.
    any: AtomicBool,
    sender: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    arrived: Mutex<mpsc::Receiver<(SocketAddr, Vec<u8>)>>,
}

#[derive(Debug)]
struct Tunnel {
    number: u64,
    queue: mpsc::Sender<Vec<u8>>,
    leaving: bool,
}

/// The stream's end of a tunnel.
#[derive(Debug)]
pub(crate) struct TunnelEnd {
    rendezvous: SocketAddr,
    /// What goes into the stream; it ends when the tunnel is closed.
    pub outgoing: mpsc::Receiver<Vec<u8>>,
    arrived: mpsc::Sender<(SocketAddr, Vec<u8>)>,
}

impl TunnelEnd {
    /// Takes a datagram that came out of the stream, when there is room. `false` when the socket is gone.
    pub(crate) async fn arrive(&self, datagram: Vec<u8>) -> bool {
        self.arrived.send((self.rendezvous, datagram)).await.is_ok()
    }
}

impl Tunnels {
    pub(super) fn new() -> Self {
        let (sender, arrived) = mpsc::channel(INCOMING);
        Self { open: RwLock::default(), any: AtomicBool::new(false), sender, arrived: Mutex::new(arrived) }
    }

    /// From now on what goes to `rendezvous` goes into a stream. `number` tells this tunnel from one before or after it.
    pub(crate) fn open(&self, rendezvous: SocketAddr, number: u64) -> TunnelEnd {
        let rendezvous = normal(rendezvous);
        let (queue, outgoing) = mpsc::channel(OUTGOING);
        self.write().insert(rendezvous, Tunnel { number, queue, leaving: false });
        self.any.store(true, Relaxed);
        TunnelEnd { rendezvous, outgoing, arrived: self.sender.clone() }
    }

    /// UDP again, unless another tunnel has taken this one's place.
    pub(crate) fn close(&self, rendezvous: SocketAddr, number: u64) {
        let mut open = self.write();
        if open.get(&normal(rendezvous)).is_some_and(|tunnel| tunnel.number == number) {
            open.remove(&normal(rendezvous));
        }
        self.any.store(!open.is_empty(), Relaxed);
    }

    /// Whether the rendezvous is moved away from: our own datagrams go to it by UDP then, so that the registration moves,
    /// and QUIC still through the stream, where it is known to arrive.
    pub(crate) fn set_leaving(&self, rendezvous: SocketAddr, leaving: bool) {
        if let Some(tunnel) = self.write().get_mut(&normal(rendezvous)) {
            tunnel.leaving = leaving;
        }
    }

    /// Whether what goes to this address goes into a stream.
    #[must_use]
    pub(crate) fn has(&self, rendezvous: SocketAddr) -> bool {
        self.any.load(Relaxed) && self.read().contains_key(&normal(rendezvous))
    }

    /// Sends one of our own datagrams; `false` if it is to go by UDP.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8], counters: &Counters) -> bool {
        if !self.any.load(Relaxed) {
            return false;
        }
        let open = self.read();
        let tunnel = open.get(&to).filter(|tunnel| !tunnel.leaving);
        if let Some(tunnel) = tunnel {
            tunnel.push(datagram.to_vec(), counters);
        }
        tunnel.is_some()
    }

    /// Sends what QUIC made, a datagram at a time; `false` if it is to go by UDP.
    pub(super) fn transmit(&self, route: Route, transmit: &Transmit<'_>, counters: &Counters) -> bool {
        if !self.any.load(Relaxed) {
            return false;
        }
        let open = self.read();
        let tunnel = open.get(&route.hop());
        if let Some(tunnel) = tunnel {
            let length = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
            for datagram in transmit.contents.chunks(length) {
                let datagram = match route {
                    Route::Direct { .. } => datagram.to_vec(),
                    Route::Relay { channel, .. } => [&relay_header(channel)[..], datagram].concat(),
                    Route::Flight { slot, introduction, .. } => {
                        [&flight_header(slot, introduction)[..], datagram].concat()
                    }
                };
                tunnel.push(datagram, counters);
            }
        }
        tunnel.is_some()
    }

    /// Fills buffers with what came out of streams, a datagram each. Only the one that polls takes the lock.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<usize> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Poll::Ready(Some((from, datagram))) = arrived.poll_recv(cx) else { break };
            // QUIC's buffers are longer than any datagram.
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            *meta = RecvMeta { addr: from, len: length, stride: length, ecn: None, dst_ip: None };
            count += 1;
        }
        if count > 0 { Poll::Ready(count) } else { Poll::Pending }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<SocketAddr, Tunnel>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<SocketAddr, Tunnel>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tunnel {
    fn push(&self, datagram: Vec<u8>, counters: &Counters) {
        if self.queue.try_send(datagram).is_err() {
            counters.dropped_tunnel_full.increase();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn quic(contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
        Transmit { destination: at("[fd00::1]:1"), ecn: None, contents, segment_size, src_ip: None }
    }

    #[test]
    fn a_batch_is_cut_and_each_datagram_framed_on_its_own() {
        let (tunnels, counters, to) = (Tunnels::new(), Counters::default(), at("192.0.2.1:5"));
        let mut end = tunnels.open(at("[::ffff:192.0.2.1]:5"), 1);
        let relay = Route::Relay { rendezvous: to, channel: 7 };
        assert!(tunnels.transmit(relay, &quic(&[0x41; 250], Some(100)), &counters));
        for length in [100, 100, 50] {
            assert_eq!(end.outgoing.try_recv().unwrap(), [&relay_header(7)[..], &vec![0x41; length]].concat());
        }
        assert!(tunnels.transmit(to.into(), &quic(&[0x41; 250], None), &counters));
        assert_eq!(end.outgoing.try_recv().unwrap(), [0x41; 250]);
        assert!(!tunnels.transmit(at("192.0.2.1:6").into(), &quic(&[0x41], None), &counters));
        assert!(!tunnels.send(at("192.0.2.2:5"), &[4], &counters));
    }

    #[test]
    fn while_it_is_left_only_quic_goes_through_and_a_closed_one_carries_nothing() {
        let (tunnels, counters, to) = (Tunnels::new(), Counters::default(), at("192.0.2.1:5"));
        let mut end = tunnels.open(to, 1);
        tunnels.set_leaving(to, true);
        assert!(!tunnels.send(to, &[4], &counters));
        assert!(tunnels.transmit(to.into(), &quic(&[0x41], None), &counters));
        tunnels.set_leaving(to, false);
        assert!(tunnels.send(to, &[4], &counters));
        tunnels.close(to, 0);
        assert!(tunnels.has(to), "another one was meant");
        tunnels.close(to, 1);
        assert!(!tunnels.has(to) && !tunnels.send(to, &[4], &counters));
        assert_eq!((end.outgoing.try_recv().unwrap(), end.outgoing.try_recv().unwrap()), (vec![0x41], vec![4]));
        assert!(end.outgoing.is_closed());
    }

    #[test]
    fn a_stream_that_does_not_keep_up_costs_a_queue() {
        let (tunnels, counters, to) = (Tunnels::new(), Counters::default(), at("192.0.2.1:5"));
        let _end = tunnels.open(to, 1);
        (0..OUTGOING + 9).for_each(|_| assert!(tunnels.send(to, &[4], &counters)));
        assert_eq!(counters.dropped_tunnel_full.count(), 9);
    }
}
