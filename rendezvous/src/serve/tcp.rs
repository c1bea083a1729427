//! TLS over TCP, for networks that let no UDP through (docs/protocol.md, "TCP"): datagrams with their lengths, to and
//! from the machine and quinn as if they came by UDP from the stream's made-up address.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use knothole_proto::datagram::{Kind, classify};
use knothole_proto::tunnel::{self, Datagrams, ImpossibleLength};
use quinn::udp::RecvMeta;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::handoff::{Handoff, Packet};
use super::streams::{Guest, Opened, Standing, Streams};
use crate::{Admission, Rate};

/// TLS handshakes by one network; each takes a core half a millisecond. An office whose NAT restarts is back in seconds.
const HANDSHAKES: Rate = Rate { burst: 256, per_second: 64 };
/// A handshake is two flights each way; even at a second each it is done within this.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Patience = Patience { unregistered: Duration::from_secs(30), idle: Duration::from_secs(1_260) };
/// What waits to be written must have gone within this; else the peer reads no more.
const WRITE_PATIENCE: Duration = Duration::from_secs(20);
/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// The kernel's buffers of one connection, each way, in bytes: for a round trip of 0.25 s at the rate that is relayed for
/// one registration. More would be latency for the peer and memory for us.
const KERNEL_BUFFER: usize = 64 << 10;
/// What is read at a time: with two more bytes each, two of the longest datagrams.
const READ: usize = 4 << 10;
/// What is written at a time: one TLS record.
const WRITE: usize = 16 << 10;
/// Out of file descriptors; one is free again when a connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Idle for so long, TCP asks whether the other side is there: within one registration keepalive's interval.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// Asked again after this.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Asked in vain so often, the connection is dead: 20 s after the cable was pulled.
const KEEPALIVE_PROBES: u32 = 2;
/// The same with data under way, which keeps TCP from asking.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// A datagram for the machine.
#[derive(Debug)]
pub(super) struct Streamed {
    pub(super) from: SocketAddr,
    pub(super) port: usize,
    pub(super) datagram: Vec<u8>,
    pub(super) standing: Arc<Standing>,
}

/// How long a stream may go on as it is.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// A stream must show a registered peer within this, from its beginning and from when its registration ended or moved
    /// away; a sign-in gives up after 2.5 s, and may be tried again.
    unregistered: Duration,
    /// A stream that brings nothing for so long has no registered peer any more: the longest registration lives 1,200 s.
    idle: Duration,
}

/// Where the datagrams of one port's streams go.
#[derive(Debug, Clone)]
pub(super) struct Inlet {
    pub(super) port: usize,
    pub(super) quic: Handoff,
    pub(super) machine: mpsc::Sender<Streamed>,
}

/// Has a connection notice in 20 s that the other side is gone without a word, idle or not, and send without waiting for
/// more to send. For both ends: nobody reports a pulled cable.
///
/// # Errors
/// The system's, for a connection that has ended.
pub fn tune(connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let socket = SockRef::from(connection);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    // They keep what the system gives, where it does not let itself be told.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    Ok(())
}

/// Listens where a UDP socket is bound.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A rendezvous that restarts has connections of its former life waiting for their end.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets connections in until the task is aborted.
pub(super) async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    streams: Arc<Streams>,
    inlet: Inlet,
    seed: [u8; 16],
) {
    let mut admission = Admission::new(HANDSHAKES, seed, Instant::now());
    loop {
        let (connection, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no connection accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !admission.admits(remote, Instant::now()) {
            streams.refuse();
            continue;
        }
        let Some(guest) = streams.admit(remote.ip()) else { continue };
        let (tls, inlet) = (tls.clone(), inlet.clone());
        tokio::spawn(async move {
            let streams = Arc::clone(guest.streams());
            if let Err(error) = serve(connection, tls, guest, inlet).await {
                tracing::debug!(%remote, %error, "stream ended");
                if matches!(error, StreamError::Handshake(_) | StreamError::Slow | StreamError::Length(_)) {
                    streams.fail();
                }
            }
        });
    }
}

/// Why a stream ended; all but `Stopped` are the peer's or the network's doing.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("the handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the handshake took too long")]
    Slow,
    #[error(transparent)]
    Length(#[from] ImpossibleLength),
    #[error("nobody registered")]
    Unregistered,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("newer ones took its place in the handshake")]
    Displaced,
    #[error("the rendezvous stops, or has no place")]
    Stopped,
}

async fn serve(connection: TcpStream, tls: TlsAcceptor, mut guest: Guest, inlet: Inlet) -> Result<(), StreamError> {
    tune(&connection)?;
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_PATIENCE, tls.accept(connection)) => shaken,
        () = guest.displaced() => return Err(StreamError::Displaced),
    };
    let stream = shaken.map_err(|_| StreamError::Slow)?.map_err(StreamError::Handshake)?;
    let Opened { address, queue, standing } = guest.open().ok_or(StreamError::Stopped)?;
    tracing::debug!(%address, "stream opened");
    let (read, write) = tokio::io::split(stream);
    let sending = send(write, queue);
    tokio::pin!(sending);
    // Each by itself: if both sides only wrote, neither would ever read.
    tokio::select! {
        ended = receive(read, address, &standing, &inlet) => {
            // The queue ends with its stream. What is in it still goes, and a goodbye.
            drop(guest);
            if ended.is_ok() {
                let _ = timeout(HANDSHAKE_PATIENCE, sending).await;
            }
            ended
        }
        ended = &mut sending => Ok(ended?),
    }
}

async fn receive(
    mut stream: impl AsyncRead + Unpin,
    from: SocketAddr,
    standing: &Arc<Standing>,
    inlet: &Inlet,
) -> Result<(), StreamError> {
    let mut watch = Watch { standing, patience: PATIENCE, probation: None };
    let (mut bytes, mut datagrams) = (vec![0; READ], Datagrams::default());
    loop {
        let count = watch.next(stream.read(&mut bytes)).await??;
        if count == 0 {
            return Ok(());
        }
        datagrams.put(bytes.get(..count).unwrap_or_default());
        while let Some(datagram) = datagrams.take()? {
            inlet.pass(from, datagram, standing).await?;
        }
    }
}

/// Watches over a stream's standing.
struct Watch<'a> {
    standing: &'a Standing,
    patience: Patience,
    /// Until when a registered peer must show.
    probation: Option<tokio::time::Instant>,
}

impl Watch<'_> {
    /// What is read next, unless the stream's time ends before.
    async fn next<T>(&mut self, reading: impl Future<Output = T>) -> Result<T, StreamError> {
        tokio::pin!(reading);
        loop {
            let now = tokio::time::Instant::now();
            let probation = self.probation.unwrap_or(now + self.patience.unregistered);
            self.probation = Some(probation).filter(|_| !self.standing.is_registered());
            let until = self.probation.unwrap_or(now + self.patience.idle);
            // Who always has something to say would be asked never.
            if until <= now {
                return Err(StreamError::Unregistered);
            }
            tokio::select! {
                read = timeout_at(until, &mut reading) => match read {
                    Ok(read) => return Ok(read),
                    Err(_) if self.probation.is_some() && self.standing.is_registered() => {}
                    Err(_) => return Err(StreamError::Unregistered),
                },
                () = self.standing.changed() => {}
            }
        }
    }
}

impl Inlet {
    /// Waits for room: then the peer's TCP waits too, and everyone has his turn.
    async fn pass(&self, from: SocketAddr, datagram: &[u8], standing: &Arc<Standing>) -> Result<(), StreamError> {
        match datagram.first().map(|first| classify(*first)) {
            Some(Kind::Quic) => {
                let length = datagram.len();
                let meta = RecvMeta { addr: from, len: length, stride: length, ecn: None, dst_ip: None::<IpAddr> };
                self.quic.pass(Packet::new(&meta, datagram));
            }
            Some(Kind::Knothole) => {
                let standing = Arc::clone(standing);
                let streamed = Streamed { from, port: self.port, datagram: datagram.to_vec(), standing };
                self.machine.send(streamed).await.map_err(|_| StreamError::Stopped)?;
            }
            // Nobody needs STUN to learn of a made-up address.
            _ => {}
        }
        Ok(())
    }
}

async fn send(mut stream: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Some(datagram) = queue.recv().await {
        bytes.clear();
        tunnel::put(&datagram, &mut bytes);
        while bytes.len() < WRITE - tunnel::MAX_DATAGRAM
            && let Ok(datagram) = queue.try_recv()
        {
            tunnel::put(&datagram, &mut bytes);
        }
        let written = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        timeout(WRITE_PATIENCE, written).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
    timeout(WRITE_PATIENCE, stream.shutdown()).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    /// Far less than `idle`, and more than a machine under load takes for nothing.
    const LONG: Duration = Duration::from_secs(10);

    fn watch(standing: &Standing, unregistered: Duration) -> Watch<'_> {
        Watch { standing, patience: Patience { unregistered, idle: Duration::from_secs(3600) }, probation: None }
    }

    #[tokio::test]
    async fn a_stream_ends_soon_after_its_registration_has_gone_and_not_while_it_is_there() {
        let standing = Standing::default();
        standing.set(true);
        let mut watch = watch(&standing, Duration::from_millis(10));
        let reading = watch.next(pending::<()>());
        tokio::pin!(reading);
        assert!(timeout(Duration::from_millis(100), &mut reading).await.is_err(), "it waits");
        standing.set(false);
        assert!(matches!(timeout(LONG, reading).await, Ok(Err(StreamError::Unregistered))));
    }

    #[tokio::test]
    async fn who_always_says_something_and_never_registers_is_ended_too() {
        let standing = Standing::default();
        let mut watch = watch(&standing, Duration::from_millis(10));
        let saying = async {
            while watch.next(ready(())).await.is_ok() {
                tokio::task::yield_now().await
            }
        };
        assert!(timeout(LONG, saying).await.is_ok());
    }

    #[tokio::test]
    async fn who_registers_within_its_time_has_all_of_it_again_when_the_registration_goes() {
        let standing = Standing::default();
        let mut watch = watch(&standing, LONG);
        assert!(watch.next(ready(())).await.is_ok());
        let first = watch.probation;
        assert!(watch.next(ready(())).await.is_ok());
        assert_eq!(watch.probation, first, "saying something brings no more");
        standing.set(true);
        assert!(watch.next(ready(())).await.is_ok());
        assert_eq!(watch.probation, None);
        standing.set(false);
        assert!(watch.next(ready(())).await.is_ok());
        assert!(watch.probation > first);
    }
}
