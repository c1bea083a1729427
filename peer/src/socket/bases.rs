//! The further sockets that a hard NAT needs for a while.
//!
//! Hundreds may be open while one of them hears something. So each has a waker of its own, which puts its number on a list
//! of those with news and wakes the QUIC endpoint: whoever polls asks those on the list and no other.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use knothole_proto::path::Base;
use quinn::udp::{RecvMeta, Transmit};

use super::counters::Counters;
use super::port::{KERNEL_BUFFER, Port};

/// How many further sockets are open at once: with 1,024 random probes from the other side, 256 meet in 98 of 100
/// cases, and some home routers hold no more than a few thousand mappings.
pub(crate) const BASES: usize = 256;

/// What the kernel holds for a socket that awaits checks, in bytes: some twenty of them, with the kernel's own overhead.
/// All sockets together could so be made to hold 4 MiB.
const SMALL_BUFFER: usize = 16 << 10;

/// The open ones.
#[derive(Debug, Default)]
pub(super) struct Bases {
    open: RwLock<Numbered>,
    /// How many there are, to be read without the lock.
    count: AtomicUsize,
    /// The one that took the main socket's place for IPv4, to be read without the lock; 0 for none.
    main: AtomicU16,
    news: Arc<News>,
}

#[derive(Debug, Default)]
struct Numbered {
    sockets: BTreeMap<Base, Arc<Further>>,
    /// Those among them that are or were the main socket, the oldest first.
    mains: VecDeque<Base>,
    /// The number given last. Numbers go round, so that what is still said of a closed socket means no other.
    last: Base,
}

/// Which sockets may have something to read.
#[derive(Debug, Default)]
struct News {
    list: Mutex<VecDeque<Base>>,
    endpoint: AtomicWaker,
}

/// Puts one socket on the list.
#[derive(Debug)]
struct Bell {
    base: Base,
    listed: AtomicBool,
    news: Arc<News>,
}

/// One further socket.
#[derive(Debug)]
pub(super) struct Further {
    port: Port,
    bell: Arc<Bell>,
    waker: Waker,
    carries: AtomicBool,
    /// Whether it is, or was, the main socket of IPv4; see [`Socket::renew`](super::Socket::renew).
    main: bool,
}

impl Bases {
    /// Whether any is open.
    pub(super) fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    pub(super) fn open(&self, count: usize) -> Vec<Base> {
        let mut opened = Vec::new();
        let mut numbered = self.open.write().unwrap_or_else(PoisonError::into_inner);
        while opened.len() < count && numbered.sockets.len() - numbered.mains.len() < BASES {
            let port = match Port::bind_small(false, 0) {
                Ok(port) => port,
                Err(why) => {
                    tracing::debug!(%why, opened = opened.len(), count, "no more sockets");
                    break;
                }
            };
            port.hold(SMALL_BUFFER);
            opened.push(self.insert(&mut numbered, port, false).bell.base);
        }
        self.count.store(numbered.sockets.len(), SeqCst);
        let bells: Vec<_> = opened.iter().filter_map(|base| numbered.sockets.get(base)).cloned().collect();
        drop(numbered);
        // The runtime knows of a socket's waker after the first poll.
        bells.iter().for_each(|further| further.waker.wake_by_ref());
        opened
    }

    fn insert(&self, numbered: &mut Numbered, port: Port, main: bool) -> Arc<Further> {
        let base = numbered.free();
        let bell = Arc::new(Bell { base, listed: AtomicBool::new(false), news: self.news.clone() });
        let waker = Waker::from(bell.clone());
        // The main socket has its room from the beginning.
        let further = Arc::new(Further { port, bell, waker, carries: AtomicBool::new(main), main });
        numbered.sockets.insert(base, further.clone());
        further
    }

    /// From now on this is the main socket of IPv4. What was in its place is heard until it is closed, but no more than
    /// `formers` of them. Returns the one to be closed.
    pub(super) fn set_main(&self, port: Port, formers: usize) -> Option<Base> {
        let mut numbered = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let further = self.insert(&mut numbered, port, true);
        let before = numbered.mains.back().copied();
        numbered.mains.push_back(further.bell.base);
        self.count.store(numbered.sockets.len(), SeqCst);
        // Only after it can be found.
        self.main.store(further.bell.base.0, SeqCst);
        let surplus = numbered.mains.len().saturating_sub(formers + 1);
        let surplus: Vec<_> = numbered.mains.iter().take(surplus).copied().collect();
        drop(numbered);
        further.waker.wake_by_ref();
        for base in surplus {
            self.close(base);
        }
        before
    }

    /// What took the main socket's place for IPv4, if anything did.
    pub(super) fn main(&self) -> Option<Arc<Further>> {
        match self.main.load(Relaxed) {
            0 => None,
            base => self.further(Base(base)),
        }
    }

    /// Closes one. False: it was not open.
    pub(super) fn close(&self, base: Base) -> bool {
        let mut numbered = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let closed = numbered.sockets.remove(&base);
        numbered.mains.retain(|main| *main != base);
        self.count.store(numbered.sockets.len(), SeqCst);
        drop(numbered);
        self.news.list().retain(|listed| *listed != base);
        closed.is_some()
    }

    /// An open socket, if it reaches addresses like `to`.
    pub(super) fn towards(&self, base: Base, to: SocketAddr) -> Option<Arc<Further>> {
        if to.is_ipv4() { self.further(base) } else { None }
    }

    /// Has the kernel hold as much for one as for the main socket, now that QUIC goes by it.
    pub(super) fn carry(&self, base: Base) {
        if let Some(further) = self.further(base) {
            further.carry();
        }
    }

    fn further(&self, base: Base) -> Option<Arc<Further>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).sockets.get(&base).cloned()
    }

    /// Those that carry paths: they are few.
    pub(super) fn carrying(&self) -> Vec<Arc<Further>> {
        if !self.any() {
            return Vec::new();
        }
        let numbered = self.open.read().unwrap_or_else(PoisonError::into_inner);
        numbered.sockets.values().filter(|further| further.carries.load(Relaxed)).cloned().collect()
    }

    /// Receives a batch from one that has something. Who polls is woken for the others if [`Self::await_news`] follows.
    pub(super) fn poll_receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
        counters: &Counters,
    ) -> Poll<(Base, usize)> {
        // No more than are listed now: one that is put back at once, because the runtime wants others to have their turn,
        // is asked the next time.
        let listed = self.news.list().len();
        for _ in 0..listed {
            let Some(base) = self.news.list().pop_front() else { break };
            let Some(further) = self.further(base) else { continue };
            further.bell.listed.store(false, SeqCst);
            let mut cx = Context::from_waker(&further.waker);
            if let Poll::Ready(count) = further.port.poll_receive(&mut cx, buffers, metas, counters) {
                // There may be more, after the others' turn.
                further.bell.list();
                return Poll::Ready((if further.main { Base::MAIN } else { base }, count));
            }
        }
        Poll::Pending
    }

    /// Has the polling task woken when there is news. To be called when everything was asked.
    pub(super) fn await_news(&self, cx: &Context<'_>) {
        self.news.endpoint.register(cx.waker());
        if self.any() && !self.news.list().is_empty() {
            cx.waker().wake_by_ref();
        }
    }

    #[cfg(test)]
    pub(super) fn leftovers(&self) -> usize {
        self.open.read().unwrap().sockets.len() + self.news.list().len() + Arc::strong_count(&self.news) - 1
    }

    #[cfg(test)]
    pub(super) fn number(&self, base: Base) -> u16 {
        self.further(base).unwrap().port.number()
    }
}

impl Numbered {
    /// A number that is not in use. There are many more numbers than sockets.
    fn free(&mut self) -> Base {
        loop {
            self.last = Base(self.last.0.checked_add(1).unwrap_or(1));
            if !self.sockets.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

impl News {
    fn list(&self) -> MutexGuard<'_, VecDeque<Base>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    fn list(&self) {
        if !self.listed.swap(true, SeqCst) {
            self.news.list().push_back(self.base);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.list();
        self.news.endpoint.wake();
    }
}

impl Further {
    pub(super) const fn port(&self) -> &Port {
        &self.port
    }

    /// Sends what QUIC made. The only error is `WouldBlock`, and then nothing was sent.
    pub(super) fn transmit(&self, transmit: &Transmit<'_>, counters: &Counters) -> io::Result<()> {
        self.carry();
        let segment = transmit.segment_size.filter(|segment| *segment < transmit.contents.len());
        let Some(segment) = segment.filter(|_| self.port.state().max_gso_segments() == 1) else {
            return self.port.transmit(transmit, counters);
        };
        // This socket's kernel path was found to segment nothing, while QUIC asks the main socket how much it takes.
        for (index, contents) in transmit.contents.chunks(segment.max(1)).enumerate() {
            let single = Transmit { contents, segment_size: None, ..transmit.clone() };
            match self.port.transmit(&single, counters) {
                Err(why) if why.kind() == ErrorKind::WouldBlock && index > 0 => {
                    // QUIC would send all of it again.
                    counters.dropped_no_room.increase();
                    return Ok(());
                }
                sent => sent?,
            }
        }
        Ok(())
    }

    fn carry(&self) {
        if !self.carries.load(Relaxed) && !self.carries.swap(true, Relaxed) {
            self.port.hold(KERNEL_BUFFER);
        }
    }
}
