//! From a handshake to the conversation's stream, as dialler and as acceptor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use knothole_proto::certificate::peer_key;
use knothole_proto::identity::PeerId;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{Connecting, Connection, Endpoint, Incoming, RecvStream, SendStream, ServerConfig, ZeroRttAccepted};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Down;
use super::configuration::{End, SetupError, transport};
use super::conversation::{Conversation, GREETING, UNEXPECTED_PEER};
use super::live::{Enlisted, Shared, locked};
use crate::socket::VirtualAddress;

/// How many handshakes from outside run at a time, at half a millisecond of work each.
const HANDSHAKES: usize = 16;

/// How many of them one contact may have: one that is repeated after a restart while the former is not given up yet.
const HANDSHAKES_OF_ONE: usize = 2;

/// How long a handshake from outside may take, including the first word on the stream: several tries over a slow relay.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The dialler's way to a connection; one that is open early says what became of that.
pub(super) async fn open(
    connecting: Result<Connecting, SetupError>,
) -> Result<(Connection, Option<ZeroRttAccepted>), Down> {
    let connecting = connecting.map_err(|why| Down::Failed(why.to_string()))?;
    Ok(match connecting.into_0rtt() {
        Ok((connection, accepted)) => (connection, Some(accepted)),
        Err(connecting) => (connecting.await?, None),
    })
}

pub(super) async fn accept_all(shared: Arc<Shared>, endpoint: Endpoint, server: ServerConfig) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut of_one: HashMap<VirtualAddress, Arc<Semaphore>> = HashMap::new();
    while let Some(incoming) = endpoint.accept().await {
        let virtual_address = VirtualAddress::from_socket_addr(incoming.remote_address());
        let caller = virtual_address.and_then(|at| Some((at, *locked(&shared.expected).get(&at)?)));
        // The one who is not answered asks again.
        let Some((virtual_address, expected)) = caller else {
            incoming.ignore();
            continue;
        };
        of_one.retain(|_, permits| permits.available_permits() < HANDSHAKES_OF_ONE);
        let own = of_one.entry(virtual_address).or_insert_with(|| Arc::new(Semaphore::new(HANDSHAKES_OF_ONE)));
        let (Ok(own), Ok(permit)) = (own.clone().try_acquire_owned(), handshakes.clone().try_acquire_owned()) else {
            incoming.ignore();
            continue;
        };
        let (shared_by_task, server) = (shared.clone(), server.clone());
        shared.spawn(async move {
            let shared = shared_by_task;
            let accepted = timeout(HANDSHAKE, accept(incoming, &shared, server, virtual_address, expected)).await;
            drop((own, permit));
            let Ok(Some((connection, early, send, recv))) = accepted else { return };
            let Enlisted { link, pressure, queue, aborted: _ } = shared.enlist(virtual_address);
            shared.note_connection(link, &connection);
            let conversation = Conversation {
                link,
                virtual_address,
                peer: expected,
                dialled: false,
                early,
                queue,
                pressure,
                events: shared.events.clone(),
            };
            let why = conversation.hold(connection, send, recv).await;
            shared.strike(link, virtual_address, why).await;
        });
    }
}

/// The acceptor's way to a stream. One who does not get there was never a link, and is not reported.
async fn accept(
    incoming: Incoming,
    shared: &Shared,
    mut server: ServerConfig,
    virtual_address: VirtualAddress,
    expected: PeerId,
) -> Option<(Connection, bool, SendStream, RecvStream)> {
    let activity = shared.socket.routes().activity(virtual_address);
    server.transport_config(Arc::new(transport(shared.heartbeat, End::Acceptor, None, activity).ok()?));
    let mut connecting = incoming.accept_with(Arc::new(server)).ok()?;
    connecting.handshake_data().await.ok()?;
    let (connection, finished) = connecting.into_0rtt().ok()?;
    // Whoever resumes a session has just proved a secret of it, and is the one who proved a key when it was made: what
    // comes early is theirs. Of anybody else nothing is known before the handshake is done, and nothing is said to them.
    let early = key_of(&connection) == Some(expected);
    if !early {
        finished.await;
    }
    if key_of(&connection) != Some(expected) {
        tracing::debug!(%virtual_address, "an unexpected key was refused");
        connection.close(UNEXPECTED_PEER, b"unexpected peer");
        return None;
    }
    let (mut send, recv) = connection.accept_bi().await.ok()?;
    send.write_all(&GREETING).await.ok()?;
    Some((connection, early, send, recv))
}

/// The key that the other side has proved, if it has.
fn key_of(connection: &Connection) -> Option<PeerId> {
    peer_key(&connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?)
}

/// 32 bytes from a connection's TLS exporter, with an empty context.
pub(crate) fn exported(connection: &Connection, label: &[u8]) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    connection.export_keying_material(&mut secret, label, &[]).ok()?;
    Some(secret)
}
