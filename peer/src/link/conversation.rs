//! One link from its first packet to its last: the stream, the bodies on it, and why it ended.
//!
//! On the stream every body has its length before it (u32, big-endian). The first body each way is empty: the
//! dialler's makes the stream known to the acceptor, and the acceptor's tells the dialler that it was let in, which a
//! finished handshake does not (the acceptor looks at the dialler's key only after the dialler is done). Later empty
//! bodies mean nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use knothole_proto::identity::PeerId;
use quinn::{Connection, ConnectionError, ReadError, ReadExactError, RecvStream, SendStream, TransportErrorCode};
use quinn::{VarInt, WriteError, ZeroRttAccepted};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::live::Pressure;
use super::{BODY, Down, LinkEvent, LinkId};
use crate::socket::VirtualAddress;

/// The code of an orderly close.
pub(super) const GOODBYE: VarInt = VarInt::from_u32(0);
/// The code for one whose key is not the one expected at its address.
pub(super) const UNEXPECTED_PEER: VarInt = VarInt::from_u32(1);
/// The code for one who broke the rules of the stream.
const VIOLATION: VarInt = VarInt::from_u32(2);
/// The code of a close in favour of another link to the same contact.
pub(super) const REPLACED: VarInt = VarInt::from_u32(3);
/// The code of a close by one who cannot store what would be said, for now.
const UNREADY: VarInt = VarInt::from_u32(4);
/// The code of a close by one who stays, and connects again when there is something to say.
pub(super) const RESTING: VarInt = VarInt::from_u32(5);

/// Why a link is closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abort {
    /// We want no more of the contact.
    Goodbye,
    /// Another link to the same contact takes its place, and carries what this one did not.
    Replaced,
    /// The other side broke the rules of the conversation.
    Violation,
    /// We cannot store anything at the moment.
    Unready,
    /// Nothing has been said for long; a new link comes when something is to be.
    Resting,
}

impl Abort {
    pub(super) const fn said(self) -> (VarInt, &'static [u8]) {
        match self {
            Self::Goodbye => (GOODBYE, b"goodbye"),
            Self::Replaced => (REPLACED, b"replaced"),
            Self::Violation => (VIOLATION, b"violation"),
            Self::Unready => (UNREADY, b"not ready"),
            Self::Resting => (RESTING, b"resting"),
        }
    }
}

/// How long our last bodies may wait for their acknowledgement before the link is closed all the same.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// How long the other side may take between finishing its stream and closing: its own farewell and a round trip.
const LINGER: Duration = Duration::from_secs(2);

/// How long the other side may take to let us in and greet once the handshake is done. It takes a round trip; a link that lives
/// longer without having begun is stuck, and another is better.
const BEGINNING: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });

/// The first body each way: an empty one.
pub(super) const GREETING: [u8; 4] = [0; 4];

/// About how many bytes of bodies go out before the handshake is done, where they can: a few texts. More would wait in
/// QUIC as well as here, and have to be said twice if it comes to nothing.
const EARLY: usize = 4 << 10;

/// A link's own things while it lives.
pub(super) struct Conversation {
    pub(super) link: LinkId,
    pub(super) virtual_address: VirtualAddress,
    pub(super) peer: PeerId,
    pub(super) dialled: bool,
    pub(super) early: bool,
    pub(super) queue: mpsc::Receiver<Vec<u8>>,
    pub(super) pressure: Arc<Pressure>,
    pub(super) events: mpsc::Sender<LinkEvent>,
}

/// How reading came to its end.
enum Unread {
    /// The other side has said all it had to say.
    Finished,
    /// The connection is gone.
    Lost(ConnectionError),
    /// The other side does not keep to the rules.
    Wrong(&'static str),
}

impl Conversation {
    /// Begins the stream as the dialler, and carries bodies both ways.
    pub(super) async fn open(mut self, connection: Connection, early: Option<ZeroRttAccepted>) -> Down {
        let opened = match early {
            Some(accepted) => self.begin_early(&connection, accepted).await,
            None => begin(&connection, &[]).await,
        };
        match opened {
            Ok((send, recv)) => self.hold(connection, send, recv).await,
            Err(why) => why,
        }
    }

    /// Begins the stream, and says what there is to say, before the handshake is done. If the other side does not know
    /// the session any more, all of it is said again.
    async fn begin_early(
        &mut self,
        connection: &Connection,
        accepted: ZeroRttAccepted,
    ) -> Result<(SendStream, RecvStream), Down> {
        let (mut send, recv) = connection.open_bi().await?;
        // What fails here is not accepted, or the connection is gone: both are seen below.
        let _ = send.write_all(&GREETING).await;
        let (mut said, mut bytes) = (Vec::new(), 0);
        let mut accepted = pin!(accepted);
        let accepted = loop {
            tokio::select! {
                accepted = &mut accepted => break accepted,
                Some((body, tell)) = self.pressure.take(&mut self.queue), if bytes < EARLY => {
                    if tell {
                        let _ = self.events.send(LinkEvent::Drained { link: self.link }).await;
                    }
                    let body = Bytes::from(body);
                    bytes += body.len();
                    let _ = write_body(&mut send, body.clone()).await;
                    said.push(body);
                }
            }
        };
        tracing::debug!(link = ?self.link, accepted, bytes, "spoke early");
        // On a busy machine the handshake may be over before this has its turn. Then the stream was never an early one and
        // goes on whatever the verdict; a second one would wait for room for ever.
        let stays = accepted || !recv.is_0rtt();
        match connection.close_reason() {
            Some(why) => Err(why.into()),
            None if stays => Ok((send, recv)),
            None => begin(connection, &said).await,
        }
    }

    /// Carries bodies both ways until the link is closed from either side; says why it was.
    pub(super) async fn hold(mut self, connection: Connection, send: SendStream, recv: RecvStream) -> Down {
        let up = LinkEvent::Up {
            link: self.link,
            virtual_address: self.virtual_address,
            peer: self.peer,
            dialled: self.dialled,
            early: self.early,
        };
        let mut reading = pin!(read_all(self.link, up, recv, &self.events));
        let mut writing = pin!(write_all(self.link, send, &mut self.queue, &self.pressure, &self.events));
        let unread = tokio::select! {
            unread = &mut reading => unread,
            written = &mut writing => match written {
                Ok(()) => {
                    connection.close(GOODBYE, b"goodbye");
                    return Down::Goodbye;
                }
                // What arrived before the end is still read.
                Err(WriteError::ConnectionLost(why)) => match reading.await {
                    Unread::Finished => Unread::Lost(why),
                    unread => unread,
                },
                Err(_) => Unread::Wrong("it stopped listening"),
            },
        };
        match unread {
            Unread::Lost(why) => why.into(),
            Unread::Wrong(why) => {
                connection.close(VIOLATION, why.as_bytes());
                Down::Failed(why.to_owned())
            }
            Unread::Finished => {
                let ended = timeout(LINGER, async {
                    tokio::select! {
                        why = connection.closed() => why,
                        _ = writing => ConnectionError::LocallyClosed,
                    }
                });
                let why = ended.await.unwrap_or(ConnectionError::LocallyClosed);
                connection.close(GOODBYE, b"goodbye");
                why.into()
            }
        }
    }
}

async fn read_all(link: LinkId, up: LinkEvent, mut recv: RecvStream, events: &mpsc::Sender<LinkEvent>) -> Unread {
    let mut up = Some(up);
    loop {
        let body = match up {
            Some(_) => {
                timeout(BEGINNING, read_body(&mut recv)).await.unwrap_or(Err(Unread::Wrong("it does not greet")))
            }
            None => read_body(&mut recv).await,
        };
        let body = match body {
            Ok(body) => body,
            Err(unread) => return unread,
        };
        let event = match up.take() {
            Some(up) if body.is_empty() => up,
            Some(_) => return Unread::Wrong("it did not greet"),
            // It only had to be sent, to try a new path.
            None if body.is_empty() => continue,
            None => LinkEvent::Body { link, body },
        };
        if events.send(event).await.is_err() {
            return Unread::Lost(ConnectionError::LocallyClosed);
        }
    }
}

async fn read_body(recv: &mut RecvStream) -> Result<Vec<u8>, Unread> {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.map_err(|why| match why {
        ReadExactError::FinishedEarly(0) => Unread::Finished,
        why => why.into(),
    })?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > BODY {
        return Err(Unread::Wrong("it sent a body that is too long"));
    }
    let mut body = vec![0; length];
    recv.read_exact(&mut body).await?;
    Ok(body)
}

/// Begins the stream with the greeting and what is to be said first.
async fn begin(connection: &Connection, bodies: &[Bytes]) -> Result<(SendStream, RecvStream), Down> {
    let Ok(opened) = timeout(BEGINNING, connection.open_bi()).await else {
        connection.close(VIOLATION, b"no stream");
        return Err(Down::Failed("it lets us open no stream".to_owned()));
    };
    let (mut send, recv) = opened?;
    let written = async {
        send.write_all(&GREETING).await?;
        for body in bodies {
            write_body(&mut send, body.clone()).await?;
        }
        Ok(())
    };
    match written.await {
        Err(WriteError::ConnectionLost(why)) => Err(why.into()),
        // One who does not listen does not speak either: reading ends it.
        Ok(()) | Err(_) => Ok((send, recv)),
    }
}

async fn write_body(send: &mut SendStream, body: Bytes) -> Result<(), WriteError> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    send.write_all_chunks(&mut [Bytes::copy_from_slice(&length), body]).await
}

/// Writes what is queued until the queue is closed and empty, then waits for the acknowledgement.
async fn write_all(
    link: LinkId,
    mut send: SendStream,
    queue: &mut mpsc::Receiver<Vec<u8>>,
    pressure: &Pressure,
    events: &mpsc::Sender<LinkEvent>,
) -> Result<(), WriteError> {
    while let Some((body, tell)) = pressure.take(queue).await {
        if tell {
            // Nobody listens when the engine is gone, and then the queue is closed as well.
            let _ = events.send(LinkEvent::Drained { link }).await;
        }
        write_body(&mut send, Bytes::from(body)).await?;
    }
    // Fails only on a stream that was finished before.
    let _ = send.finish();
    let _ = timeout(FAREWELL, send.stopped()).await;
    Ok(())
}

impl From<ReadExactError> for Unread {
    fn from(why: ReadExactError) -> Self {
        match why {
            ReadExactError::ReadError(ReadError::ConnectionLost(why)) => Self::Lost(why),
            _ => Self::Wrong("it broke off within a body"),
        }
    }
}

impl From<ConnectionError> for Down {
    fn from(why: ConnectionError) -> Self {
        // TLS alerts travel as these codes (RFC 9001 section 4.8): someone did not like the other's key.
        let alert = |code: TransportErrorCode| (0x100..0x200).contains(&u64::from(code));
        match why {
            ConnectionError::LocallyClosed => Self::Goodbye,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::ApplicationClosed(close) if close.error_code == GOODBYE => Self::Goodbye,
            ConnectionError::ApplicationClosed(close) if close.error_code == REPLACED => Self::Replaced,
            ConnectionError::ApplicationClosed(close) if close.error_code == RESTING => Self::Resting,
            ConnectionError::ApplicationClosed(close) if close.error_code == UNEXPECTED_PEER => Self::Refused,
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED || alert(close.error_code) =>
            {
                Self::Refused
            }
            ConnectionError::TransportError(why) if alert(why.code) => Self::Refused,
            why => Self::Failed(why.to_string()),
        }
    }
}
