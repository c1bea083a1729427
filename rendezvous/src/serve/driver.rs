//! The loop: one task, alone on its thread, that owns the machine, its clock and its sockets.

use std::future::poll_fn;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use knothole_proto::datagram::Header;
use knothole_proto::identity::PeerId;
use knothole_proto::registration::{SignInAnswer, SignInRequest};
use knothole_proto::seal::RegistrationSecret;
use knothole_proto::tunnel::is_made_up;
use tokio::sync::{mpsc, oneshot};

use super::mailbox::Disk;
use super::port::{Buffers, Port};
use super::residue::wipe_stack;
use super::streams::Streams;
use super::tcp::Streamed;
use super::train::Train;
use crate::mailbox::Done;
use crate::{Counters, LocalSocket, Server};

/// When datagrams come so densely that each wake-up would find one, they are left to gather for this long: a wake-up
/// costs more than a datagram (measured: 4.2 µs against 1.3 µs a keepalive). Shorter ones save less, and nobody notices a
/// millisecond between two peers.
const GATHER: Duration = Duration::from_millis(1);
/// Wake-ups in a row, each within `GATHER` of the one before, that make it dense: more than the flights of a few
/// handshakes, so that on a quiet rendezvous nobody waits.
const DENSE: u32 = 16;
/// A gathering that brought fewer datagrams than this was not worth it, and the next ones are not left to gather.
const WORTH_GATHERING: usize = 4;
/// Datagrams taken from one port before the others, the timers and the sign-ins have their turn: a few milliseconds' work.
const MAX_TURN: usize = 2048;
/// Ways in that are told apart: ports, and the machine's addresses at which a wildcard port was spoken to.
const MAX_WAYS: usize = 256;
/// Datagrams of streams taken before the others have their turn.
const MAX_STREAMED: usize = 64;

/// What other tasks ask of the loop.
#[derive(Debug)]
pub(super) enum Command {
    /// A peer has proved its key. Boxed, since a queue keeps a copy of what went through it until the next comes along.
    SignIn(Box<SignIn>),
    /// What happened so far?
    Counters { reply: oneshot::Sender<Counters> },
    /// Tell every peer that we close; `done` when all have acknowledged.
    Close { done: oneshot::Sender<()> },
}

/// A peer that has proved its key.
#[derive(Debug)]
pub(super) struct SignIn {
    pub(super) arrival: Arrival,
    pub(super) request: SignInRequest,
    pub(super) secret: RegistrationSecret,
    pub(super) reply: oneshot::Sender<SignInAnswer>,
}

/// Who signs in, whence, and at which of our addresses.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) peer: PeerId,
    pub(super) remote: SocketAddr,
    pub(super) port: usize,
    pub(super) local_ip: Option<IpAddr>,
}

/// What the numbers of [`LocalSocket`] mean: first each port as such, then addresses at wildcard ports as they show up.
struct Ways(Vec<(usize, Option<IpAddr>)>);

impl Ways {
    fn number(&mut self, port: usize, wildcard: bool, ip: Option<IpAddr>) -> LocalSocket {
        let way = (port, ip.filter(|_| wildcard));
        let known = self.0.iter().position(|known| *known == way);
        let index = known.unwrap_or_else(|| {
            if self.0.len() >= MAX_WAYS {
                return port;
            }
            self.0.push(way);
            self.0.len() - 1
        });
        // There are at most MAX_WAYS, or as many as ports.
        LocalSocket(u16::try_from(index).unwrap_or(u16::MAX))
    }
}

pub(super) struct Driver {
    server: Server,
    ports: Vec<Port>,
    ways: Ways,
    buffers: Buffers,
    commands: mpsc::Receiver<Command>,
    streams: Arc<Streams>,
    streamed: mpsc::Receiver<Streamed>,
    /// Where mailboxes are kept, if there are any.
    disk: Option<Disk>,
    closed: Option<oneshot::Sender<()>>,
    /// When something arrived last.
    last_arrival: Option<Instant>,
    /// Wake-ups in a row that came densely.
    dense: u32,
    /// How much had been said when the stack was wiped last.
    said: u64,
}

impl Driver {
    pub(super) fn new(
        server: Server,
        ports: Vec<Port>,
        commands: mpsc::Receiver<Command>,
        streams: Arc<Streams>,
        streamed: mpsc::Receiver<Streamed>,
        disk: Option<Disk>,
    ) -> Self {
        let ways = Ways((0..ports.len()).map(|port| (port, None)).collect());
        Self {
            server,
            ports,
            ways,
            buffers: Buffers::new(),
            commands,
            streams,
            streamed,
            disk,
            closed: None,
            last_arrival: None,
            dense: 0,
            said: 0,
        }
    }

    /// Runs until the other end of `stopped` is gone.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            self.transmit();
            self.order();
            let said = self.server.said();
            if std::mem::replace(&mut self.said, said) != said {
                wipe_stack();
            }
            let deadline = self.server.poll_timeout();
            if let Some(deadline) = deadline.filter(|deadline| *deadline != timer.deadline().into_std()) {
                timer.as_mut().reset(deadline.into());
            }
            tokio::select! {
                () = readable(&self.ports) => {
                    if self.is_dense(Instant::now()) {
                        // With the thread: an asynchronous sleep would be woken, though not ended, by each datagram.
                        std::thread::sleep(GATHER);
                        if self.receive() < WORTH_GATHERING {
                            self.dense = 0;
                        }
                    } else {
                        self.receive();
                    }
                }
                Some(command) = self.commands.recv() => self.obey(command),
                Some(streamed) = self.streamed.recv() => self.receive_streamed(streamed),
                Some(done) = answer(&mut self.disk) => self.take_answers(done),
                _ = &mut stopped => {
                    self.server.stopping(Instant::now());
                    // The disk's thread does whatever it was handed before it ends.
                    return self.order();
                }
                () = &mut timer, if deadline.is_some() => self.server.handle_timeout(Instant::now()),
            }
        }
    }

    /// Whether to let datagrams gather, as one wakes us now.
    fn is_dense(&mut self, now: Instant) -> bool {
        let soon = self.last_arrival.is_some_and(|last| now.duration_since(last) < GATHER);
        self.dense = if soon { self.dense.saturating_add(1) } else { 0 };
        self.dense >= DENSE
    }

    /// Takes what has arrived at every port; returns how many datagrams that were.
    fn receive(&mut self) -> usize {
        let mut now = Instant::now();
        let mut datagrams = 0;
        let Self { server, ports, ways, buffers, streams, .. } = self;
        for (number, port) in ports.iter().enumerate() {
            let wildcard = port.address().ip().is_unspecified();
            let mut taken = 0;
            while taken < MAX_TURN && port.receive(buffers) {
                let ahead = buffers.datagrams().map(|next| server.look_ahead(next.bytes));
                black_box(ahead.fold(0, u64::wrapping_add));
                for datagram in buffers.datagrams() {
                    let from = datagram.from();
                    // Nothing can be sent to port 0, and no stream comes by UDP; only forgers send from there.
                    if from.port() == 0 || is_made_up(from) {
                        server.counters.dropped_forged += 1;
                    } else if !port.hand_on(&datagram) {
                        let local = ways.number(number, wildcard, datagram.local_ip());
                        server.handle_datagram(now, from, local, datagram.bytes);
                    }
                }
                taken += buffers.datagrams().count();
                now = Instant::now();
                send_all(server, ports, ways, streams, now);
            }
            datagrams += taken;
        }
        self.last_arrival = Some(now);
        datagrams
    }

    /// Takes what has come by streams, this and some of what waits behind it.
    fn receive_streamed(&mut self, first: Streamed) {
        let now = Instant::now();
        let (mut next, mut left) = (Some(first), MAX_STREAMED);
        while let Some(Streamed { from, port, datagram, standing }) = next {
            let local = self.ways.number(port, false, None);
            self.server.handle_datagram(now, from, local, &datagram);
            self.leave_streams();
            let returned = self.server.returned_at.take() == Some(from);
            let mut is_registered = |header: Header| self.server.is_registered_at(now, header.slot, from);
            if !standing.is_registered() && (returned || Header::parse(&datagram).is_some_and(&mut is_registered)) {
                standing.set(true);
            }
            left -= 1;
            next = if left > 0 { self.streamed.try_recv().ok() } else { None };
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::SignIn(sign_in) => {
                let SignIn { arrival, request, secret, reply } = *sign_in;
                let wildcard = self.ports.get(arrival.port).is_some_and(|port| port.address().ip().is_unspecified());
                let local = self.ways.number(arrival.port, wildcard, arrival.local_ip);
                let Arrival { peer, remote, .. } = arrival;
                let answer = self.server.sign_in(Instant::now(), local, peer, remote, &request, &secret);
                self.leave_streams();
                if matches!(answer, SignInAnswer::Registered { .. }) && is_made_up(remote) {
                    self.streams.set_registered(remote, true);
                }
                // Whose sign-in has gone away meanwhile has a registration that will expire.
                let _ = reply.send(answer);
            }
            Command::Counters { reply } => {
                let _ = reply.send(self.streams.count(self.server.counters()));
            }
            Command::Close { done } => {
                tracing::info!(registrations = self.server.registrations(), counters = ?self.server.counters(), "closing");
                self.server.closing();
                self.closed = Some(done);
            }
        }
    }

    /// Takes the disk's answers, this and those that are there.
    fn take_answers(&mut self, first: Done) {
        let now = Instant::now();
        let mut next = Some(first);
        while let Some(done) = next {
            self.server.handle_done(now, done);
            next = self.disk.as_mut().and_then(Disk::more);
        }
    }

    /// Hands the disk what the machine asks for. Where there is none, the machine has no mailboxes, and asks for nothing.
    fn order(&mut self) {
        let Some(disk) = &self.disk else { return };
        let now = Instant::now();
        while let Some(order) = self.server.poll_order(now) {
            disk.order(order);
        }
    }

    /// Tells streams that a registration was there and is no more. Before any is told the contrary: the next of the same
    /// peer may live at the same stream.
    fn leave_streams(&mut self) {
        for address in self.server.left_streams.drain(..) {
            self.streams.set_registered(address, false);
        }
    }

    fn transmit(&mut self) {
        self.leave_streams();
        send_all(&mut self.server, &self.ports, &self.ways, &self.streams, Instant::now());
        if self.server.is_closed()
            && let Some(done) = self.closed.take()
        {
            let _ = done.send(());
        }
    }
}

fn send_all(server: &mut Server, ports: &[Port], ways: &Ways, streams: &Streams, now: Instant) {
    let way =
        |local: LocalSocket| ways.0.get(usize::from(local.0)).and_then(|(port, ip)| Some((ports.get(*port)?, *ip)));
    let mut waiting: Option<Train> = None;
    loop {
        let next = server.poll_transmit(now);
        if let (Some(train), Some((local, transmit))) = (&mut waiting, &next)
            && train.takes(*local, transmit)
        {
            continue;
        }
        let most = |local| way(local).map_or(1, |(port, _)| port.most_at_once());
        let over = next.is_none();
        let next = next.map(|(local, transmit)| Train::new(local, transmit, most(local)));
        if let Some(train) = std::mem::replace(&mut waiting, next)
            && !streams.send(train.transmit.to, &train.transmit.payload, train.segment)
            && let Some((port, ip)) = way(train.local)
        {
            port.send(train.transmit.to, ip, &train.transmit.payload, train.segment);
        }
        if over {
            return;
        }
    }
}

/// The disk's next answer; nothing ever where there is no disk.
async fn answer(disk: &mut Option<Disk>) -> Option<Done> {
    match disk {
        Some(disk) => disk.done().await,
        None => None,
    }
}

/// Waits until one of the ports has something to receive.
async fn readable(ports: &[Port]) {
    poll_fn(|context| {
        let ready = ports.iter().filter(|port| port.poll_readable(context).is_ready()).count();
        if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
