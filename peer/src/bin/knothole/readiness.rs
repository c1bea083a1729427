//! Telling systemd how a service stands, by the protocol of sd_notify(3): one datagram to the socket that it names.
//!
//! Where none is named nobody waits, and nothing is done.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever started this process as a service.
#[derive(Debug)]
pub(crate) struct Supervisor(Option<OsString>);

impl Supervisor {
    /// As the environment says.
    pub(crate) fn of_environment() -> Self {
        Self(env::var_os(VARIABLE).filter(|name| !name.is_empty()))
    }

    /// Whether somebody started it as a service.
    pub(crate) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// What the service is about, on one line.
    pub(crate) fn status(&self, told: &str) {
        self.tell(&format!("STATUS={told}"));
    }

    /// The service does what it is there for.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The service is about to end.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        let Some(name) = &self.0 else { return };
        // The service is as good without: systemd ends one whose word does not come.
        if let Err(error) = send(name, state) {
            tracing::warn!(%error, "{VARIABLE} does not take {state}");
        }
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // Nothing is to wait for a supervisor that does not read.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address(name)?).map(drop)
}

/// A path, or a name that begins with `@`, which stands for the zero of an abstract address.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(rest)
        }
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a path nor an abstract address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut datagram = [0; 64];
        let length = socket.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_is_told_by_its_path_or_its_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Supervisor(Some(path.into())).ready();
        assert_eq!(heard(&socket), "READY=1");

        let name = format!("knothole-test-{}", std::process::id());
        let address = address(format!("@{name}").as_ref()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Supervisor(Some(format!("@{name}").into())).stopping();
        assert_eq!(heard(&socket), "STOPPING=1");
    }

    #[test]
    fn what_cannot_be_told_harms_nothing() {
        for name in
            [None, Some("/nowhere/notify"), Some("@nobody-listens-here"), Some("vsock:2:1234"), Some("relative")]
        {
            Supervisor(name.map(Into::into)).ready();
        }
    }
}
