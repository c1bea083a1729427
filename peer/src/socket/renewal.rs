//! A fresh port in the place of the main one of IPv4, for NATs that drop a mapping at an age whatever is sent.
//!
//! The fresh one is a further socket that counts as the main one. Until the first renewal, sending costs one look at an
//! atomic number for it; after that, what sending by any further socket costs.
//!
//! The port that was bound first is never closed: its number is the one that is remembered for the next start, told on the
//! LAN and given to the router. Fresh ones are, each [`HEARD`] after the next.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Socket;
use super::bases::Further;
use super::port::Port;

/// How long a former port is heard: contacts learn of the next within a few round trips, or by an invitation that is repeated
/// for some seconds.
const HEARD: Duration = Duration::from_secs(10);
/// How many former fresh ports are heard at once: they are left far less often than every [`HEARD`], unless a machine slept.
const FORMERS: usize = 2;

impl Socket {
    /// From now on the main socket sends over IPv4 from a fresh port of the system's choice. What comes to the former
    /// one is heard as the main socket's for 10 s more; that of [`Self::bind`] is heard always.
    ///
    /// # Errors
    /// The system has no IPv4, or no further port; nothing has changed then. Must be called within a Tokio runtime.
    pub(crate) fn renew(self: &Arc<Self>) -> io::Result<()> {
        self.renew_heard(HEARD)
    }

    pub(super) fn renew_heard(self: &Arc<Self>, heard: Duration) -> io::Result<()> {
        if !self.ports.iter().any(|port| !port.is_ipv6()) {
            return Err(ErrorKind::Unsupported.into());
        }
        if let Some(former) = self.bases.set_main(Port::bind(false, 0)?, FORMERS) {
            let socket = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep(heard).await;
                // A socket that is gone has closed all.
                if let Some(socket) = socket.upgrade() {
                    socket.bases.close(former);
                }
            });
        }
        Ok(())
    }

    /// The port number by which we send to addresses like this one.
    #[must_use]
    pub(crate) fn port_of(&self, ip: IpAddr) -> u16 {
        let bound = self.ports.iter().find(|port| port.is_ipv6() && ip.is_ipv6()).map(Port::number);
        bound.unwrap_or_else(|| self.port())
    }

    /// The fresh port, if it is the one that reaches this address.
    pub(super) fn renewed(&self, to: SocketAddr) -> Option<Arc<Further>> {
        if to.is_ipv4() { self.bases.main() } else { None }
    }

    /// Sends by the main socket, whichever port it has. `None`: there is none for this address.
    pub(super) fn by_main<T>(&self, to: SocketAddr, send: impl FnOnce(&Port) -> T) -> Option<T> {
        match self.renewed(to) {
            Some(fresh) => Some(send(fresh.port())),
            None => self.port_for(to).map(send),
        }
    }
}
