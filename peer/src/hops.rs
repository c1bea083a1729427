//! Finds out how far opening packets must go: probes that die on the way to the rendezvous, and the routers that say so.
//!
//! The probes leave from a socket of their own, for a socket that asks for ICMP errors gets them between its own
//! datagrams. Only Linux gives them to an ordinary program; elsewhere nothing is found out and the default serves.

use std::net::SocketAddr;

use knothole_proto::hops::opener_ttl;

/// The TTL that openers need toward whoever is beyond `rendezvous`. Takes half a second.
pub(crate) async fn needed_ttl(rendezvous: SocketAddr) -> u8 {
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
    use std::net::{IpAddr, SocketAddr, UdpSocket};
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

    pub(super) async fn routers(rendezvous: SocketAddr) -> io::Result<Vec<(u8, IpAddr)>> {
        if !rendezvous.is_ipv4() {
            // There are no NATs to pass.
            return Ok(Vec::new());
        }
        // A socket for each: a report need not quote enough of the probe to tell it by.
        let probes = PROBED_TTLS.map(|ttl| Ok((ttl, probe(ttl, rendezvous)?))).collect::<io::Result<Vec<_>>>()?;
        tokio::time::sleep(PATIENCE).await;
        let mut reports = Vec::new();
        for (ttl, socket) in &probes {
            reports.extend(reporter(socket)?.map(|router| (*ttl, router)));
        }
        Ok(reports)
    }

    fn probe(ttl: u8, rendezvous: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_nonblocking(true)?;
        socket.set_ttl(ttl.into())?;
        setsockopt(&socket, Ipv4RecvErr, &true)?;
        // One that gets there is a STUN request, and answered as such.
        socket.send_to(&binding_request(TransactionId([ttl; 12])), rendezvous)?;
        Ok(socket)
    }

    /// The router that reported the probe of this socket dead, if one has.
    fn reporter(socket: &UdpSocket) -> io::Result<Option<IpAddr>> {
        let mut probe = [0; 64];
        let mut buffers = [io::IoSliceMut::new(&mut probe)];
        let mut control = nix::cmsg_space!([u8; 64]);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut buffers, Some(&mut control), flags) {
            Ok(message) => message,
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, Some(router)) if error.ee_type == TIME_EXCEEDED => {
                Some(IpAddr::from(u32::from_be(router.sin_addr.s_addr).to_be_bytes()))
            }
            _ => None,
        }))
    }
}

#[cfg(not(target_os = "linux"))]
mod probe {
    use std::net::{IpAddr, SocketAddr};

    pub(super) async fn routers(_: SocketAddr) -> std::io::Result<Vec<(u8, IpAddr)>> {
        Ok(Vec::new())
    }
}
