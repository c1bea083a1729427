//! The socket in the home: where the process that runs the engine serves the others.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::handle::Peer;
use crate::home::{EngineLock, Home};

use super::serve;

/// Clients at once; further ones wait until one has gone. Each may hold some megabytes; a person has a handful.
const MAX_CLIENTS: usize = 64;

/// How long clients may take for the answers to what they asked before this closes.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait when the system has no descriptors left for another client.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// Bytes of a socket's path, `sockaddr_un` less its final zero: 108 on Linux, 104 on the BSDs and macOS.
const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The name of the socket in its home.
const NAME: &str = "knothole.sock";

/// The socket of a home, served. Dropping it stops it, too, but leaves a file behind that nobody serves.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve {}: {source}; choose a --home on another file system, or with a shorter name", path.display())]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

impl Listener {
    /// Serves `peer` at the home's socket (mode 0600), in place of one that an engine left behind: that none is there now
    /// is what the lock says.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open(home: &Home, _lock: &EngineLock, peer: Peer) -> Result<Self, ListenError> {
        let path = home.socket_path();
        let listener = bind(home).map_err(|source| ListenError { path: path.clone(), source })?;
        let (closing, closed) = watch::channel(false);
        let task = tokio::spawn(accept(listener, peer, closed));
        Ok(Self { path, closing, task })
    }

    /// Takes no further clients or requests, answers those that are under way, at most a second long, and ends.
    pub async fn close(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket's file was gone before");
        }
        self.closing.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that serves the socket broke");
        }
    }
}

/// A stream to the engine that serves this home.
///
/// # Errors
/// `NotFound` or `ConnectionRefused`: none does; or what the system says.
pub async fn connect(home: &Home) -> io::Result<UnixStream> {
    let way = Way::to(home)?;
    UnixStream::connect(way.path(NAME)).await
}

/// Made under another name and renamed: nobody finds it before it is private, nor a moment without one.
fn bind(home: &Home) -> io::Result<UnixListener> {
    let way = Way::to(home)?;
    let draft = way.path("knothole.sock.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    fs::rename(&draft, way.path(NAME))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, peer: Peer, closed: watch::Receiver<bool>) {
    let mut clients = JoinSet::new();
    let mut closing = pin!(closes(closed.clone()));
    loop {
        tokio::select! {
            stream = listener.accept(), if clients.len() < MAX_CLIENTS => match stream {
                Ok((stream, _)) if !is_from_owner(&stream) => tracing::warn!("somebody else was at the home's socket"),
                Ok((stream, _)) => {
                    let (reader, writer) = stream.into_split();
                    clients.spawn(serve(peer.clone(), reader, writer, closes(closed.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "no further client can be served at present");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            },
            Some(ended) = clients.join_next() => tracing::debug!(?ended, "a client has gone"),
            () = &mut closing => break,
        }
    }
    drop(listener);
    let all = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_PATIENCE, all).await.is_err() {
        tracing::debug!("some clients did not read their answers");
    }
}

/// Whether a process of the same user is at the other end, or one of root, which could help itself anyway. The socket's mode
/// says the same; not every file system keeps modes, and a mode is easily changed.
fn is_from_owner(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| may_ask(peer.uid(), nix::unistd::geteuid().as_raw()))
}

const fn may_ask(asking: u32, owner: u32) -> bool {
    asking == owner || asking == 0
}

/// Done when the listener closes, or has been dropped.
async fn closes(mut closed: watch::Receiver<bool>) {
    while !*closed.borrow_and_update() {
        if closed.changed().await.is_err() {
            return;
        }
    }
}

/// A way into a home that is short enough for a socket's address, however long the home's name.
struct Way {
    directory: PathBuf,
    _open: Option<File>,
}

impl Way {
    fn to(home: &Home) -> io::Result<Self> {
        // The draft's name is the longest that is used.
        let longest = home.path().join("knothole.sock.new");
        if longest.as_os_str().len() <= MAX_PATH {
            return Ok(Self { directory: home.path().to_owned(), _open: None });
        }
        if !cfg!(target_os = "linux") {
            let why = format!("its path has more than the {MAX_PATH} bytes that this system takes");
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, why));
        }
        let open = File::open(home.path())?;
        Ok(Self { directory: format!("/proc/self/fd/{}", open.as_raw_fd()).into(), _open: Some(open) })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::AsyncReadExt as _;

    use super::super::Client;
    use super::super::fake::Fake;
    use super::*;

    fn home(name: &str) -> (tempfile::TempDir, Home, EngineLock) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(Some(directory.path().join(name))).unwrap();
        let lock = home.engine_lock().unwrap().unwrap();
        (directory, home, lock)
    }

    async fn asked(home: &Home) -> serde_json::Value {
        let (reader, writer) = connect(home).await.unwrap().into_split();
        let (client, _events) = Client::new(reader, writer);
        client.call("status", json!({})).await.unwrap()
    }

    #[tokio::test]
    async fn other_processes_are_served_at_a_private_socket_that_goes_with_the_engine() {
        let (_directory, home, lock) = home("home");
        let listener = Listener::open(&home, &lock, Fake::start().peer).unwrap();
        assert_eq!(fs::metadata(home.socket_path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(asked(&home).await["peer"], Fake::me().to_string());
        listener.close().await;
        assert_eq!(connect(&home).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_owner_and_root_may_ask_and_nobody_else() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced() {
        let (_directory, home, lock) = home("home");
        drop(std::os::unix::net::UnixListener::bind(home.socket_path()).unwrap());
        assert_eq!(connect(&home).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _listener = Listener::open(&home, &lock, Fake::start().peer).unwrap();
        asked(&home).await;
    }

    #[tokio::test]
    async fn a_home_with_a_name_too_long_for_a_socket_is_served_all_the_same() {
        let (_directory, home, lock) = home(&"long".repeat(50));
        let listener = Listener::open(&home, &lock, Fake::start().peer).unwrap();
        asked(&home).await;
        listener.close().await;
        assert!(!home.socket_path().exists());
    }

    #[tokio::test]
    async fn closing_ends_the_connections_of_clients() {
        let (_directory, home, lock) = home("home");
        let listener = Listener::open(&home, &lock, Fake::start().peer).unwrap();
        let mut idle = connect(&home).await.unwrap();
        asked(&home).await;
        listener.close().await;
        assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
