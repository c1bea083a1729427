//! Finds out how far opening packets must go: probes that die on the way to the rendezvous, and the routers that say so.
//!
//! The probes leave from a socket of their own, for a socket that asks for ICMP errors gets them between its own
//! datagrams. Only Linux gives them to an ordinary program; elsewhere nothing is found out and the default serves.

use std::net::SocketAddr;

use knothole_proto::hops::opener_ttl;

/// The TTL that openers need toward whoever is beyond `rendezvous`. Takes half a second.
pub async fn needed_ttl(rendezvous: SocketAddr) -> u8 {
    let reports = probe::routers(rendezvous).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the routers on the way cannot be asked");
        Vec::new()
    });
    let ttl = opener_ttl(&reports);
    tracing::debug!(?reports, ttl, "openers");
    ttl
}

#[cfg(target_os = "linux")]
mod probe {
    use std::io;
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use knothole_proto::hops::PROBED_TTLS;
    use knothole_proto::stun::TransactionId;
    use knothole_proto::stun::discovery::binding_request;
    use nix::sys::socket::sockopt::Ipv4RecvErr;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt};

    /// How long routers may take: the farthest is four hops away.
    const PATIENCE: Duration = Duration::from_millis(500);
    /// ICMP's type for "time exceeded" (RFC 792).
    const TIME_EXCEEDED: u8 = 11;
    /// What the error queue gives back of a probe: a STUN header.
    const PROBE: usize = 20;

    pub(super) async fn routers(rendezvous: SocketAddr) -> io::Result<Vec<(u8, IpAddr)>> {
        if !rendezvous.is_ipv4() {
            // There are no NATs to pass.
            return Ok(Vec::new());
        }
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, Ipv4RecvErr, &true)?;
        for ttl in PROBED_TTLS {
            socket.set_ttl(ttl.into())?;
            // A probe that gets there is a STUN request, answered as such. Its id says which one died.
            let id = TransactionId([ttl; 12]);
            if let Err(error) = socket.send_to(&binding_request(id), rendezvous) {
                // Sending reports the error of an earlier probe.
                tracing::trace!(%error, ttl, "probe");
            }
        }
        tokio::time::sleep(PATIENCE).await;
        let mut reports = Vec::new();
        while let Some(report) = next_report(&socket)? {
            reports.extend(report);
        }
        Ok(reports)
    }

    /// The next entry of the error queue: `None` when it is empty, `Some(None)` for one of another kind.
    fn next_report(socket: &std::net::UdpSocket) -> io::Result<Option<Option<(u8, IpAddr)>>> {
        let mut probe = [0; PROBE];
        let mut buffers = [io::IoSliceMut::new(&mut probe)];
        let mut control = nix::cmsg_space!([u8; 64]);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut buffers, Some(&mut control), flags) {
            Ok(message) => message,
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let router = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, Some(router)) if error.ee_type == TIME_EXCEEDED => {
                Some(IpAddr::from(u32::from_be(router.sin_addr.s_addr).to_be_bytes()))
            }
            _ => None,
        });
        let complete = message.bytes == PROBE;
        Ok(Some(router.filter(|_| complete).map(|router| (probe[PROBE - 1], router))))
    }
}

#[cfg(not(target_os = "linux"))]
mod probe {
    use std::net::{IpAddr, SocketAddr};

    pub(super) async fn routers(_: SocketAddr) -> std::io::Result<Vec<(u8, IpAddr)>> {
        Ok(Vec::new())
    }
}
