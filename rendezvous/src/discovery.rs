//! The four sockets by which a client tells what its NAT does (RFC 5780 section 6).

use std::net::SocketAddr;

use knothole_proto::stun::server::Place;

use crate::policy::LocalSocket;

/// Two addresses with two ports each, in the order (first IP, first port), (first IP, second port), (second IP, first
/// port), (second IP, second port): bit 1 of the index is the IP, bit 0 the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FourSockets(pub [(LocalSocket, SocketAddr); 4]);

impl FourSockets {
    /// The index of a socket, if it is one of the four.
    pub(crate) fn position(&self, local: LocalSocket) -> Option<usize> {
        self.0.iter().position(|(socket, _)| *socket == local)
    }

    /// Where a request arrived that came to the socket at `index`, with the socket that differs in both.
    pub(crate) fn place(&self, index: usize) -> Place {
        Place { local: self.0[index & 3].1, other: Some(self.0[!index & 3].1) }
    }

    /// The socket to answer from, for a request that came to the socket at `index`.
    pub(crate) fn source(&self, index: usize, change_ip: bool, change_port: bool) -> LocalSocket {
        let change = usize::from(change_ip) << 1 | usize::from(change_port);
        self.0[(index ^ change) & 3].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_socket_differs_in_both_and_changes_lead_where_they_say() {
        let sockets = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"];
        let mut number = 0;
        let four = FourSockets(sockets.map(|text| {
            number += 1;
            (LocalSocket(number), text.parse().unwrap())
        }));
        for index in 0..4 {
            let Place { local, other } = four.place(index);
            let other = other.unwrap();
            assert!(local.ip() != other.ip() && local.port() != other.port());
            for (ip, port) in [(false, false), (false, true), (true, false), (true, true)] {
                let source = four.position(four.source(index, ip, port)).unwrap();
                let source = four.place(source).local;
                assert_eq!(source.ip() != local.ip(), ip);
                assert_eq!(source.port() != local.port(), port);
            }
        }
        assert_eq!(four.position(LocalSocket(9)), None);
    }
}
