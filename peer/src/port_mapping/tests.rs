//! Routers made of a few lines, on loopback addresses of their own: what they grant becomes the mapping, is renewed, and is
//! given back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::*;

/// Loopback answers at once; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Our port. Nothing listens there.
const OURS: u16 = 40_123;
/// Where routers say that they are, outside.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// What a router was asked: to map for so many seconds, 0 to give back.
type Asked = Receiver<(Protocol, u32)>;

/// A router for datagrams at this loopback address, until the test's process ends.
fn gateway(address: Ipv4Addr, speaks: Protocol, grants: u32, shift: u16) -> Asked {
    let socket = UdpSocket::bind((address, gateway::PORT)).unwrap();
    let (asked, log) = channel();
    thread::spawn(move || {
        let mut request = [0; 1100];
        while let Ok((length, from)) = socket.recv_from(&mut request) {
            let answer = match (request[0], speaks) {
                (2, Protocol::Pcp) => pcp(&request[..length], grants, shift, &asked),
                (0, _) => natpmp(&request[..length], grants, shift, &asked),
                // RFC 6886 section 3.5: the version is not known here.
                _ => vec![0, 0x80 | request[1], 0, 1, 0, 0, 0, 9],
            };
            socket.send_to(&answer, from).unwrap();
        }
    });
    log
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// RFC 6887 sections 7.2 and 11.1.
fn pcp(request: &[u8], grants: u32, shift: u16, asked: &Sender<(Protocol, u32)>) -> Vec<u8> {
    let lifetime = u32_at(request, 4);
    asked.send((Protocol::Pcp, lifetime)).unwrap();
    let external = if lifetime == 0 { 0 } else { u16_at(request, 40) + shift };
    let mut answer = vec![2, 0x80 | request[1], 0, 0];
    answer.extend(lifetime.min(grants).to_be_bytes());
    answer.extend(9_u32.to_be_bytes());
    answer.extend([0; 12]);
    answer.extend(&request[24..42]);
    answer.extend(external.to_be_bytes());
    answer.extend(OUTSIDE.to_ipv6_mapped().octets());
    answer
}

/// RFC 6886 sections 3.2 to 3.4.
fn natpmp(request: &[u8], grants: u32, shift: u16, asked: &Sender<(Protocol, u32)>) -> Vec<u8> {
    let mut answer = vec![0, 0x80 | request[1], 0, 0, 0, 0, 0, 9];
    if request[1] == 0 {
        answer.extend(OUTSIDE.octets());
        return answer;
    }
    let lifetime = u32_at(request, 8);
    asked.send((Protocol::NatPmp, lifetime)).unwrap();
    let external = if lifetime == 0 { 0 } else { u16_at(request, 4) + shift };
    answer.extend(&request[4..6]);
    answer.extend(external.to_be_bytes());
    answer.extend(lifetime.min(grants).to_be_bytes());
    answer
}

/// A UPnP router at this loopback address; where it is searched for, and what it was asked.
fn igd(address: Ipv4Addr, external: Ipv4Addr) -> (SocketAddr, Asked) {
    let search = UdpSocket::bind((address, 0)).unwrap();
    let pages = TcpListener::bind((address, 0)).unwrap();
    let (at, location) = (search.local_addr().unwrap(), pages.local_addr().unwrap());
    let (asked, log) = channel();
    thread::spawn(move || {
        while let Ok((_, from)) = search.recv_from(&mut [0; 1500]) {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
                 LOCATION: http://{location}/root.xml\r\n\r\n"
            );
            search.send_to(answer.as_bytes(), from).unwrap();
        }
    });
    thread::spawn(move || {
        for stream in pages.incoming() {
            serve(stream.unwrap(), external, &asked);
        }
    });
    (at, log)
}

const ROOT: &str = "<root><device><deviceList><device><deviceList><device><serviceList><service>\
    <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
    <SCPDURL>/schema.xml</SCPDURL><controlURL>/control</controlURL>\
    </service></serviceList></device></deviceList></device></deviceList></device></root>";

fn schema() -> String {
    let action = |name: &str, arguments: &[&str]| {
        let argument = |name: &&str| format!("<argument><name>{name}</name><direction>in</direction></argument>");
        let arguments: String = arguments.iter().map(argument).collect();
        format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
    };
    let outside = ["NewRemoteHost", "NewExternalPort", "NewProtocol"];
    let inside =
        ["NewInternalPort", "NewInternalClient", "NewEnabled", "NewPortMappingDescription", "NewLeaseDuration"];
    let add = action("AddPortMapping", &[&outside[..], &inside[..]].concat());
    format!("<scpd><actionList>{add}{}</actionList></scpd>", action("DeletePortMapping", &outside))
}

fn serve(mut stream: TcpStream, external: Ipv4Addr, asked: &Sender<(Protocol, u32)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        head.push(line.to_lowercase());
    }
    let Some(first) = head.first() else { return };
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let soap = |name: &str, inside: &str| {
        format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><u:{name} xmlns:u=\"u\">{inside}\
             </u:{name}></s:Body></s:Envelope>"
        )
    };
    let page = if first.contains("/root.xml") {
        ROOT.to_owned()
    } else if first.contains("/schema.xml") {
        schema()
    } else if body.contains("AddPortMapping") {
        let lease = body.split("NewLeaseDuration").nth(1).unwrap();
        let seconds: String =
            lease.chars().skip_while(|c| *c != '>').skip(1).take_while(char::is_ascii_digit).collect();
        asked.send((Protocol::Upnp, seconds.parse().unwrap())).unwrap();
        soap("AddPortMappingResponse", "")
    } else if body.contains("DeletePortMapping") {
        asked.send((Protocol::Upnp, 0)).unwrap();
        soap("DeletePortMappingResponse", "")
    } else {
        let ip = format!("<NewExternalIPAddress>{external}</NewExternalIPAddress>");
        soap("GetExternalIPAddressResponse", &ip)
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
    stream.write_all((head + &page).as_bytes()).unwrap();
}

/// Where nobody answers.
fn nobody(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((address, 1900))
}

/// A mapping that is kept until `pictures` is dropped.
fn kept(search: Search) -> (watch::Sender<Picture>, mpsc::Receiver<Mapped>, tokio::task::JoinHandle<()>) {
    let (pictures, seen) = watch::channel(Picture::default());
    let (mapped, news) = mpsc::channel(4);
    let task = tokio::spawn(PortMapping::new(OURS, search).run(seen, mapped));
    (pictures, news, task)
}

async fn first(news: &mut mpsc::Receiver<Mapped>) -> Mapped {
    timeout(PATIENCE, news.recv()).await.unwrap().unwrap()
}

fn search(gateway: Ipv4Addr, ssdp: SocketAddr) -> Search {
    let renewal = Duration::from_millis(200);
    Search { gateway: Some(gateway), ssdp, patience: Duration::from_millis(500), shortest_renewal: renewal }
}

/// The mapping is asked for, renewed when half of the second that it was granted for has passed, and given back at the end.
async fn lives_and_ends(search: Search, protocol: Protocol, external: SocketAddr, asked: Asked) {
    let (pictures, mut news, task) = kept(search);
    assert_eq!(first(&mut news).await, Mapped { external: Some(external), protocols: vec![protocol] });
    for _ in 0..2 {
        let (by, lifetime) = asked.recv_timeout(PATIENCE).unwrap();
        assert!(by == protocol && lifetime > 0, "{by:?} for {lifetime}");
        sleep(Duration::from_millis(50)).await;
    }
    drop(pictures);
    timeout(PATIENCE, task).await.unwrap().unwrap();
    let last = std::iter::from_fn(|| asked.try_recv().ok()).last();
    assert_eq!(last, Some((protocol, 0)), "given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_mapped_by_pcp_is_renewed_and_given_back() {
    let router = Ipv4Addr::new(127, 77, 0, 1);
    let asked = gateway(router, Protocol::Pcp, 1, 0);
    lives_and_ends(search(router, nobody(router)), Protocol::Pcp, (OUTSIDE, OURS).into(), asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_of_the_older_kind_is_asked_by_nat_pmp_and_may_choose_another_port() {
    let router = Ipv4Addr::new(127, 77, 0, 2);
    let asked = gateway(router, Protocol::NatPmp, 1, 5);
    lives_and_ends(search(router, nobody(router)), Protocol::NatPmp, (OUTSIDE, OURS + 5).into(), asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_mapped_by_upnp_is_given_back() {
    let router = Ipv4Addr::new(127, 77, 0, 3);
    let (ssdp, asked) = igd(router, OUTSIDE);
    let patient = Search { patience: PATIENCE, ..search(router, ssdp) };
    let (pictures, mut news, task) = kept(patient);
    let expected = Mapped { external: Some((OUTSIDE, OURS).into()), protocols: vec![Protocol::Upnp] };
    assert_eq!(first(&mut news).await, expected);
    assert_eq!(asked.recv_timeout(PATIENCE), Ok((Protocol::Upnp, 7200)));
    // Word of a change has it renewed at once, for the router may have restarted.
    pictures.send_replace(Picture::default());
    assert_eq!(asked.recv_timeout(PATIENCE), Ok((Protocol::Upnp, 7200)));
    drop(pictures);
    timeout(PATIENCE, task).await.unwrap().unwrap();
    assert_eq!(asked.try_recv(), Ok((Protocol::Upnp, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_such_a_router_brings_no_word_and_ends_when_asked() {
    let router = Ipv4Addr::new(127, 77, 0, 4);
    let (pictures, mut news, task) = kept(search(router, nobody(router)));
    // Longer than all the protocols together wait.
    assert!(timeout(Duration::from_millis(2500), news.recv()).await.is_err());
    drop(pictures);
    timeout(PATIENCE, task).await.unwrap().unwrap();
}
