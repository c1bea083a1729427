//! IPv4 on a TUN device, to and from the world's packets (RFC 791, 768, 9293, 792).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::packet::{Packet, Transport};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IP_HEADER: usize = 20;

/// A whole UDP or TCP packet; `None` for anything else, also for fragments.
pub(super) fn decode(bytes: &[u8]) -> Option<Packet> {
    let header_len = usize::from(bytes.first()? & 0x0f) * 4;
    let total = usize::from(word(bytes, 2)?);
    let (header, body) = (bytes.get(..header_len)?, bytes.get(header_len..total)?);
    // More-fragments or an offset; don't-fragment is allowed.
    let fragment = word(header, 6)? & 0x3fff != 0;
    if header[0] >> 4 != 4 || header.len() < IP_HEADER || fragment {
        return None;
    }
    let (transport, payload) = match header[9] {
        UDP => (Transport::Udp, body.get(8..usize::from(word(body, 4)?))?),
        TCP => (Transport::Tcp, body.get(20..).map(|_| body)?),
        _ => return None,
    };
    let endpoint = |address, port| Some(SocketAddr::new(ipv4(header, address)?, word(body, port)?));
    Some(Packet {
        src: endpoint(12, 0)?,
        dst: endpoint(16, 2)?,
        ttl: header[8],
        traffic_class: header[1],
        transport,
        payload: payload.to_vec(),
        expired_toward: None,
    })
}

/// The packet as the kernel wants it, checksums and all; `None` for IPv6 and for what is too long.
pub(super) fn encode(packet: &Packet) -> Option<Vec<u8>> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (packet.src.ip(), packet.dst.ip()) else {
        return None;
    };
    let ports = [packet.src.port().to_be_bytes(), packet.dst.port().to_be_bytes()].concat();
    let (protocol, mut body) = match (packet.expired_toward, packet.transport) {
        (Some(target), _) => (ICMP, time_exceeded(packet, target)?),
        (None, Transport::Udp) => (UDP, udp_header(&ports, packet.payload.len())?.to_vec()),
        (None, Transport::Tcp) => (TCP, ports),
    };
    match protocol {
        UDP => body.extend(&packet.payload),
        TCP => body.extend(packet.payload.get(4..)?),
        _ => {}
    }
    if protocol == ICMP {
        let sum = checksum(&[&body]);
        body.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    } else {
        let at = if protocol == UDP { 6 } else { 16 };
        body.get_mut(at..at + 2)?.fill(0);
        let length = u16::try_from(body.len()).ok()?.to_be_bytes();
        let sum = checksum(&[&src.octets(), &dst.octets(), &[0, protocol], &length, &body]);
        // A UDP checksum of 0 would say that there is none (RFC 768).
        let sum = if protocol == UDP && sum == 0 { 0xffff } else { sum };
        body.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
    }
    let mut bytes = ip_header(src, dst, protocol, packet.ttl, packet.traffic_class, body.len())?.to_vec();
    bytes.extend(body);
    Some(bytes)
}

fn udp_header(ports: &[u8], payload: usize) -> Option<[u8; 8]> {
    let mut header = [0; 8];
    header[..4].copy_from_slice(ports);
    header[4..6].copy_from_slice(&u16::try_from(payload + 8).ok()?.to_be_bytes());
    Some(header)
}

/// ICMP type 11 code 0 with the dead packet's IP header and first eight bytes, from which its sender knows it.
fn time_exceeded(notice: &Packet, target: SocketAddr) -> Option<Vec<u8>> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (notice.dst.ip(), target.ip()) else {
        return None;
    };
    let protocol = if notice.transport == Transport::Udp { UDP } else { TCP };
    let ports = [notice.dst.port().to_be_bytes(), target.port().to_be_bytes()].concat();
    let mut bytes = vec![11, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(ip_header(src, dst, protocol, 1, 0, 8)?);
    bytes.extend(udp_header(&ports, 0)?);
    Some(bytes)
}

/// With don't-fragment set and, as RFC 6864 then allows, no identification.
fn ip_header(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, ttl: u8, class: u8, body: usize) -> Option<[u8; IP_HEADER]> {
    let mut header = [0; IP_HEADER];
    header[0] = 0x45;
    header[1] = class;
    header[2..4].copy_from_slice(&u16::try_from(IP_HEADER + body).ok()?.to_be_bytes());
    header[6] = 0x40;
    header[8] = ttl;
    header[9] = protocol;
    header[12..16].copy_from_slice(&src.octets());
    header[16..20].copy_from_slice(&dst.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Some(header)
}

/// The internet checksum (RFC 1071), eight bytes at a time: a debug build spends much of its time here. The length of
/// every part but the last is even.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u128;
    for part in parts {
        for chunk in part.chunks(8) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            sum += u128::from(u64::from_be_bytes(padded));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn ipv4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(payload: &[u8]) -> Packet {
        Packet::udp("192.168.0.2:4000".parse().unwrap(), "198.51.100.1:3478".parse().unwrap(), payload)
    }

    #[test]
    fn a_datagram_survives_the_wire_and_its_checksums_are_right() {
        for payload in [&b""[..], b"odd", b"even"] {
            let packet = Packet { ttl: 2, traffic_class: 0x02, ..datagram(payload) };
            let bytes = encode(&packet).unwrap();
            assert_eq!(decode(&bytes), Some(packet.clone()));
            assert_eq!(bytes.len(), packet.wire_len());
            assert_eq!(checksum(&[&bytes[..20]]), 0);
            let length = ((bytes.len() - 20) as u16).to_be_bytes();
            assert_eq!(checksum(&[&bytes[12..20], &[0, UDP], &length, &bytes[20..]]), 0);
        }
    }

    #[test]
    fn a_segment_gets_its_new_ports_and_a_right_checksum() {
        let segment = Packet { transport: Transport::Tcp, payload: vec![7; 25], ..datagram(b"") };
        let bytes = encode(&segment).unwrap();
        let again = decode(&bytes).unwrap();
        assert_eq!((again.src, again.dst, &again.payload[20..]), (segment.src, segment.dst, &[7; 5][..]));
        assert_eq!(checksum(&[&bytes[12..20], &[0, TCP], &25_u16.to_be_bytes(), &bytes[20..]]), 0);
    }

    #[test]
    fn a_notice_quotes_the_packet_that_died() {
        let packet = datagram(b"late");
        let bytes = encode(&packet.time_exceeded(Ipv4Addr::new(192, 0, 2, 1).into())).unwrap();
        assert_eq!((bytes[9], bytes[20], checksum(&[&bytes[20..]])), (ICMP, 11, 0));
        let quoted = &encode(&packet).unwrap();
        assert_eq!(bytes[28 + 12..28 + 24], quoted[12..24]);
        assert_eq!(bytes.len(), packet.time_exceeded(Ipv4Addr::LOCALHOST.into()).wire_len());
    }

    #[test]
    fn whatever_is_cut_short_or_foreign_is_ignored() {
        let bytes = encode(&datagram(b"payload")).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None);
        }
        let changed = |at: usize, to: u8| {
            let mut copy = bytes.clone();
            copy[at] = to;
            decode(&copy)
        };
        assert_eq!(changed(0, 0x65), None, "IPv6");
        assert_eq!(changed(0, 0x41), None, "a header shorter than can be");
        assert_eq!(changed(6, 0x20), None, "a first fragment");
        assert_eq!(changed(7, 1), None, "a later fragment");
        assert_eq!(changed(9, 47), None, "GRE");
        assert_eq!(changed(25, 3), None, "a UDP length below its header's");
    }
}
