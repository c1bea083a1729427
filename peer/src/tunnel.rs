//! A stream to a rendezvous for networks that let no UDP through: TLS over TCP, the key pinned, datagrams with their
//! lengths (docs/protocol.md, "TCP").
//!
//! Not here: when to use one, and what the datagrams are.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use knothole_proto::certificate::tunnel_client_config;
use knothole_proto::identity::PublicKey;
use knothole_proto::stun::TransactionId;
use knothole_proto::stun::discovery::{binding_request, parse_response};
use knothole_proto::tunnel::{Datagrams, MAX_DATAGRAM, put};
use knothole_rendezvous::serve::tune;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::socket::TunnelEnd;

/// A stream over which a rendezvous has proved its key.
pub(crate) type Stream = TlsStream<TcpStream>;

/// Where networks that let hardly anything out let TLS out.
const HTTPS: u16 = 443;
/// The rendezvous' own port has so long to answer before 443 is tried beside it: more than two round trips, mostly.
const HTTPS_HEAD_START: Duration = Duration::from_millis(500);
/// TCP and TLS are two round trips; with a lost packet, 1 s and a third.
const PATIENCE: Duration = Duration::from_millis(2500);
/// What is read at a time: with two more bytes each, two of the longest datagrams.
const READ: usize = 4 << 10;
/// What is written at a time: one TLS record.
const WRITE: usize = 16 << 10;
/// What was on its way when a tunnel was closed arrives within this.
const LINGER: Duration = Duration::from_secs(2);
/// A STUN answer comes within this or not at all; asked twice, for a datagram may be lost.
const STUN_PATIENCE: Duration = Duration::from_millis(700);
const STUN_TRIES: usize = 2;

/// Opens a stream to the rendezvous that holds `key`: at its own port or, where that does not answer, at 443.
///
/// # Errors
/// Neither answers within 2.5 s, or another key does.
pub(crate) async fn open(remote: SocketAddr, key: PublicKey) -> io::Result<Stream> {
    let tls = tunnel_client_config(key).map_err(io::Error::other)?;
    let tls = TlsConnector::from(Arc::new(tls));
    let own = connect(remote, tls.clone());
    if remote.port() == HTTPS {
        return own.await;
    }
    let mut https = remote;
    https.set_port(HTTPS);
    let other = connect(https, tls);
    tokio::pin!(own, other);
    match timeout(HTTPS_HEAD_START, &mut own).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(_)) => return other.await,
        Err(_) => {}
    }
    tokio::select! {
        stream = &mut own => match stream {
            Ok(stream) => Ok(stream),
            Err(_) => other.await,
        },
        stream = &mut other => match stream {
            Ok(stream) => Ok(stream),
            Err(_) => own.await,
        },
    }
}

async fn connect(remote: SocketAddr, tls: TlsConnector) -> io::Result<Stream> {
    let connecting = async {
        let connection = TcpStream::connect(remote).await?;
        tune(&connection)?;
        // No name is sent; the key is what is looked at.
        let name = ServerName::IpAddress(remote.ip().into());
        tls.connect(name, connection).await
    };
    timeout(PATIENCE, connecting).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}

/// Carries datagrams both ways until the stream breaks, or the tunnel is closed: then what was on its way still arrives.
///
/// # Errors
/// Why it broke.
pub(crate) async fn carry(stream: Stream, mut end: TunnelEnd) -> io::Result<()> {
    let (read, write) = tokio::io::split(stream);
    let (closed, outgoing) = mpsc::channel(1);
    let mut outgoing = std::mem::replace(&mut end.outgoing, outgoing);
    drop(closed);
    let receiving = receive(read, &end);
    tokio::pin!(receiving);
    // Each by itself: if both sides only wrote, neither would ever read.
    tokio::select! {
        ended = &mut receiving => ended,
        ended = send(write, &mut outgoing) => {
            ended?;
            timeout(LINGER, receiving).await.unwrap_or(Ok(()))
        }
    }
}

async fn receive(mut stream: impl AsyncRead + Unpin, end: &TunnelEnd) -> io::Result<()> {
    let (mut bytes, mut datagrams) = (vec![0; READ], Datagrams::default());
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        datagrams.put(&bytes[..count]);
        while let Some(datagram) = datagrams.take().map_err(io::Error::other)? {
            if !end.arrive(datagram.to_vec()).await {
                return Ok(());
            }
        }
    }
}

async fn send(mut stream: impl AsyncWrite + Unpin, outgoing: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Some(datagram) = outgoing.recv().await {
        bytes.clear();
        put(&datagram, &mut bytes);
        while bytes.len() < WRITE - MAX_DATAGRAM
            && let Ok(datagram) = outgoing.try_recv()
        {
            put(&datagram, &mut bytes);
        }
        stream.write_all(&bytes).await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}

/// Whether the rendezvous answers by UDP: a STUN request of 20 bytes, from a socket of its own, since what the peer's
/// socket gets from there is not told apart from what comes by the stream.
pub(crate) async fn answers_udp(remote: SocketAddr) -> bool {
    for _ in 0..STUN_TRIES {
        if timeout(STUN_PATIENCE, ask(remote)).await.is_ok_and(|asked| asked.is_ok()) {
            return true;
        }
    }
    false
}

async fn ask(remote: SocketAddr) -> io::Result<()> {
    let any = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    let mut id = TransactionId([0; 12]);
    aws_lc_rs::rand::fill(&mut id.0).map_err(|_| io::Error::other("no randomness"))?;
    socket.connect(remote).await?;
    socket.send(&binding_request(id)).await?;
    let mut bytes = [0; 256];
    loop {
        match socket.recv(&mut bytes).await {
            Ok(count) if parse_response(&bytes[..count]).is_some_and(|response| response.id == id) => return Ok(()),
            Ok(_) => {}
            // Word that nobody can be reached comes at once, and again with each try.
            Err(why) => {
                sleep(STUN_PATIENCE).await;
                return Err(why);
            }
        }
    }
}
