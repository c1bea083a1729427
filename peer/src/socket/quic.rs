//! The socket as QUIC sees it: it sends to virtual addresses, and what it receives comes from them.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use knothole_proto::datagram::{flight_header, relay_header};
use knothole_proto::path::Base;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::demultiplex::Waiting;
use super::{Route, Socket, VirtualAddress};

/// How many batches without anything for QUIC are sorted before others get their turn.
const BATCHES_AT_ONCE: usize = 32;

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { socket: self, room: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let route = VirtualAddress::from_socket_addr(transmit.destination)
            .and_then(|address| self.routes.route_for_sending(address));
        if route.is_some_and(|route| self.tunnels.transmit(route, transmit, &self.counters)) {
            return Ok(());
        }
        let Some(route) = route else {
            self.counters.dropped_no_route.increase();
            return Ok(());
        };
        let transmit = Transmit { destination: route.hop(), src_ip: None, ..transmit.clone() };
        let sent = match route {
            Route::Direct { base: Base::MAIN, remote } => match self.renewed(remote) {
                Some(fresh) => Some(fresh.transmit(&transmit, &self.counters)),
                None => self.port_for(remote).map(|port| port.transmit(&transmit, &self.counters)),
            },
            Route::Direct { base, remote } => {
                self.bases.towards(base, remote).map(|further| further.transmit(&transmit, &self.counters))
            }
            Route::Relay { rendezvous, channel } => self
                .by_main(rendezvous, |port| port.transmit_relayed(&relay_header(channel), &transmit, &self.counters)),
            Route::Flight { rendezvous, slot, introduction } => self.by_main(rendezvous, |port| {
                port.transmit_relayed(&flight_header(slot, introduction), &transmit, &self.counters)
            }),
        };
        sent.unwrap_or_else(|| {
            self.counters.dropped_no_route.increase();
            Ok(())
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // Before anything is looked at, so that what comes meanwhile wakes it.
        *self.poller.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        let waiting = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_empty() {
            return Poll::Ready(Ok(waiting.deliver(buffers, metas)));
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        let mut batches = 0;
        // In turn before the ports and after them, so that neither keeps the other waiting.
        if turn.is_multiple_of(2)
            && let Poll::Ready(count) = self.poll_tunnels(cx, buffers, metas, waiting)
        {
            return Poll::Ready(Ok(count));
        }
        // The further sockets take turns with the families as if they were one more.
        let places = self.ports.len() + usize::from(self.bases.any());
        for n in 0..places {
            let place = self.ports.get((turn + n) % places);
            while let Poll::Ready((base, count)) = match place {
                Some(port) => port.poll_receive(cx, buffers, metas, &self.counters).map(|count| (Base::MAIN, count)),
                None => self.bases.poll_receive(buffers, metas, &self.counters),
            } {
                let received = buffers.iter_mut().zip(metas.iter_mut()).take(count);
                received.for_each(|(buffer, meta)| self.sort(base, buffer, meta, waiting));
                if metas.iter().take(count).any(|meta| meta.len > 0) {
                    if base != Base::MAIN {
                        self.bases.carry(base);
                    }
                    // Buffers that were emptied among them are passed over by QUIC. Something waits only if there is
                    // something for QUIC before it, and QUIC polls again until there is nothing.
                    return Poll::Ready(Ok(count));
                }
                batches += 1;
                if batches == BATCHES_AT_ONCE {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        self.bases.await_news(cx);
        self.poll_tunnels(cx, buffers, metas, waiting).map(Ok)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        // IPv6, or QUIC would refuse to dial virtual addresses.
        Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port())))
    }

    fn max_transmit_segments(&self) -> usize {
        self.ports.iter().map(|port| port.state().max_gso_segments()).min().unwrap_or(1)
    }

    fn max_receive_segments(&self) -> usize {
        self.ports.iter().map(|port| port.state().gro_segments()).max().unwrap_or(1)
    }

    fn may_fragment(&self) -> bool {
        self.ports.iter().any(|port| port.state().may_fragment())
    }
}

impl Socket {
    /// Takes what came by streams, until there is something for QUIC.
    fn poll_tunnels(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
        waiting: &mut Waiting,
    ) -> Poll<usize> {
        while let Poll::Ready(count) = self.tunnels.poll_receive(cx, buffers, metas) {
            let received = buffers.iter_mut().zip(metas.iter_mut()).take(count);
            received.for_each(|(buffer, meta)| self.sort(Base::MAIN, buffer, meta, waiting));
            if metas.iter().take(count).any(|meta| meta.len > 0) {
                return Poll::Ready(count);
            }
        }
        Poll::Pending
    }
}

/// Waits for one connection until the kernel has room again.
struct Poller {
    socket: Arc<Socket>,
    room: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let socket = &this.socket;
        let room = this.room.get_or_insert_with(|| {
            let socket = socket.clone();
            // Which family was full is not known here; one that is not does not keep us waiting.
            Box::pin(async move {
                for port in &socket.ports {
                    port.writable().await;
                }
                for further in socket.bases.carrying() {
                    further.port().writable().await;
                }
            })
        });
        let ready = room.as_mut().poll(cx);
        if ready.is_ready() {
            this.room = None;
        }
        ready.map(Ok)
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}
