//! The lab itself: that hosts of every kind reach a public host through it, at the speed and in the way that it says.
//! Nothing here speaks Knothole's protocol.
#![expect(clippy::print_stdout, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use knothole_lab::{
    namespaces::{Host, Input, Lab, run},
    nat::NatKind,
    world::{DropReason, Moment, Place},
};

const ECHO: u16 = 3478;
/// As the sockets of hosts have it.
const RECEIVING: Duration = Duration::from_secs(10);

/// A public host that tells everyone who asks from where the question came. Its thread ends with the test's process.
fn echo(lab: &mut Lab, name: &str) -> Result<SocketAddr> {
    let host = lab.public_host(name)?;
    let socket = host.udp_socket(ECHO)?;
    socket.set_read_timeout(None)?;
    let address = SocketAddr::new(host.address(), ECHO);
    thread::spawn(move || -> io::Result<()> {
        let _alive = host;
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer)?;
            let mut answer = from.to_string().into_bytes();
            answer.resize(length.max(answer.len()), b' ');
            socket.send_to(&answer, from)?;
        }
    });
    Ok(address)
}

/// Asks the echo, and returns the endpoint that it saw and the time that it took.
fn ask(socket: &UdpSocket, echo: SocketAddr, length: usize) -> Result<(SocketAddr, Duration)> {
    let begin = Instant::now();
    socket.send_to(&vec![b'?'; length], echo)?;
    let mut buffer = [0; 2048];
    let (received, from) = socket.recv_from(&mut buffer).context("no answer")?;
    let took = begin.elapsed();
    ensure!(from == echo, "an answer from {from} instead of {echo}");
    ensure!(received >= length, "{received} of {length} bytes");
    Ok((std::str::from_utf8(&buffer[..received])?.trim().parse()?, took))
}

/// Sends a question, asks again for each answer that does not come, and says how long that took.
fn until_answered(socket: &UdpSocket, echo: SocketAddr) -> Result<SocketAddr> {
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let answer = (0..20).find_map(|_| ask(socket, echo, 1).ok()).context("no answer in 4 s");
    socket.set_read_timeout(Some(RECEIVING))?;
    Ok(answer?.0)
}

fn is_silent(socket: &UdpSocket, echo: SocketAddr) -> Result<bool> {
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    let answer = ask(socket, echo, 1);
    socket.set_read_timeout(Some(RECEIVING))?;
    Ok(answer.is_err())
}

/// Two sites of 20 ms, there and back.
const BETWEEN_SITES: Duration = Duration::from_millis(80);

fn assert_reaches(host: &Host, echo: SocketAddr) -> Result<()> {
    let socket = host.udp_socket(4000)?;
    for length in [1, 1472] {
        let (seen, took) =
            ask(&socket, echo, length).with_context(|| format!("{} with {length} bytes", host.name()))?;
        ensure!(seen.ip() == host.public_address(), "{}: seen as {seen}", host.name());
        ensure!(took >= BETWEEN_SITES, "{}: {took:?} is too fast", host.name());
        println!("{:>18}: {length:4} bytes, seen as {seen} after {took:?}", host.name());
    }
    Ok(())
}

#[test]
fn hosts_of_every_kind_reach_a_public_host() -> Result<()> {
    run("namespaces_smoke::hosts_of_every_kind_reach_a_public_host", |lab| {
        let echo = echo(lab, "echo")?;
        for kind in NatKind::ALL {
            let host = lab.host_behind(&format!("{kind:?}"), kind)?;
            assert_reaches(&host, echo)?;
        }
        let double = lab.double_nat("double", NatKind::EimApdf, NatKind::RandomSymmetric)?;
        assert_reaches(&double, echo)?;
        for (name, input, fully_random) in
            [("nft-accept", Input::Accept, false), ("nft-drop", Input::Drop, false), ("nft-random", Input::Drop, true)]
        {
            assert_reaches(&lab.nft_host(name, input, fully_random)?, echo)?;
        }
        Ok(())
    })
}

#[test]
fn hosts_on_one_lan_talk_directly() -> Result<()> {
    run("namespaces_smoke::hosts_on_one_lan_talk_directly", |lab| {
        let hosts = lab.hosts_on_one_lan(&["left", "right"], NatKind::RandomSymmetric)?;
        let (left, right) = (hosts[0].udp_socket(4000)?, hosts[1].udp_socket(4000)?);
        left.send_to(b"hello", SocketAddr::new(hosts[1].address(), 4000))?;
        let (length, from) = right.recv_from(&mut [0; 16])?;
        assert_eq!((length, from), (5, SocketAddr::new(hosts[0].address(), 4000)));
        Ok(())
    })
}

#[test]
fn a_ttl_of_2_makes_a_mapping_and_dies_in_the_core() -> Result<()> {
    run("namespaces_smoke::a_ttl_of_2_makes_a_mapping_and_dies_in_the_core", |lab| {
        let echo = echo(lab, "echo")?;
        let simulated = lab.host_behind("simulated", NatKind::LinuxDrop)?;
        let kernel = lab.nft_host("kernel", Input::Drop, false)?;
        for (host, dead) in [(&simulated, 1), (&kernel, 2)] {
            let socket = host.udp_socket(4000)?;
            socket.set_ttl(2)?;
            ensure!(is_silent(&socket, echo)?, "{} is heard", host.name());
            assert_eq!(lab.world(|world| world.dropped(Place::Core, DropReason::Expired)), dead);
            socket.set_ttl(3)?;
            until_answered(&socket, echo).with_context(|| format!("{} is not heard", host.name()))?;
        }
        let router = lab.world(|world| world.routers_before(simulated.id())[0]);
        assert_eq!(lab.world(|world| world.nat(router).map(|nat| nat.counts().created)), Some(1));
        Ok(())
    })
}

/// The kernel and the model of it, side by side: what a stranger's packet does to the port that one has toward it.
#[test]
fn a_stranger_spoils_the_port_of_an_accepting_router_only() -> Result<()> {
    run("namespaces_smoke::a_stranger_spoils_the_port_of_an_accepting_router_only", |lab| {
        let (first, second) = (echo(lab, "first")?, echo(lab, "second")?);
        let stranger = lab.public_host("stranger")?;
        let hosts = [
            (lab.nft_host("nft-accept", Input::Accept, false)?, true),
            (lab.nft_host("nft-drop", Input::Drop, false)?, false),
            (lab.host_behind("model-accept", NatKind::LinuxAccept)?, true),
            (lab.host_behind("model-drop", NatKind::LinuxDrop)?, false),
        ];
        let strange = stranger.udp_socket(5000)?;
        for (host, spoiled) in hosts {
            let socket = host.udp_socket(4000)?;
            let (seen, _) = ask(&socket, first, 1)?;
            assert_eq!(seen.port(), 4000, "{}: a free port is kept", host.name());
            strange.send_to(b"unasked", seen)?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            ensure!(socket.recv_from(&mut [0; 16]).is_err(), "{}: the stranger got in", host.name());
            socket.send_to(b"asked", SocketAddr::new(stranger.address(), 5000))?;
            let (_, from) = strange.recv_from(&mut [0; 16])?;
            println!("{:>18}: toward the stranger from port {}", host.name(), from.port());
            assert_eq!(from.port() != 4000, spoiled, "{}", host.name());
            socket.set_read_timeout(Some(RECEIVING))?;
            let (known, new) = (ask(&socket, first, 1)?.0, ask(&socket, second, 1)?.0);
            assert_eq!(known.port(), 4000, "{}: what stands stays", host.name());
            assert_eq!(new.port(), from.port(), "{}: what is new follows", host.name());
        }
        Ok(())
    })
}

/// More of what the model claims of Linux, asked of the kernel.
#[test]
fn the_kernel_assigns_ports_as_the_model_of_it_does() -> Result<()> {
    run("namespaces_smoke::the_kernel_assigns_ports_as_the_model_of_it_does", |lab| {
        let echoes = [echo(lab, "one")?, echo(lab, "two")?, echo(lab, "three")?];
        let ports = |host: &Host| -> Result<Vec<u16>> {
            let socket = host.udp_socket(4000)?;
            echoes.iter().map(|&echo| Ok(ask(&socket, echo, 1)?.0.port())).collect()
        };
        for host in [lab.nft_host("kernel", Input::Drop, false)?, lab.host_behind("model", NatKind::LinuxDrop)?] {
            assert_eq!(ports(&host)?, [4000; 3], "{}", host.name());
        }
        for host in
            [lab.nft_host("kernel-random", Input::Drop, true)?, lab.host_behind("model-random", NatKind::LinuxRandom)?]
        {
            let [a, b, c] = ports(&host)?[..] else { unreachable!() };
            println!("{:>18}: {a} {b} {c}", host.name());
            assert!(a != b && b != c && a != c && a != 4000, "{}", host.name());
        }
        Ok(())
    })
}

#[test]
fn an_expired_packet_is_reported_to_its_sender() -> Result<()> {
    run("namespaces_smoke::an_expired_packet_is_reported_to_its_sender", |lab| {
        let echo = echo(lab, "echo")?;
        for host in [lab.host_behind("model", NatKind::EimApdf)?, lab.nft_host("kernel", Input::Drop, false)?] {
            let socket = host.udp_socket(4000)?;
            // A connected socket is told of the error, as EHOSTUNREACH.
            socket.connect(echo)?;
            let asks_for_errors = nix::sys::socket::sockopt::Ipv4RecvErr;
            nix::sys::socket::setsockopt(&socket, asks_for_errors, &true)?;
            socket.set_ttl(2)?;
            socket.send(b"late")?;
            let error = socket.recv(&mut [0; 16]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::libc::EHOSTUNREACH), "{}: {error}", host.name());
        }
        Ok(())
    })
}

#[test]
fn tcp_carries_a_megabyte_through_a_nat() -> Result<()> {
    run("namespaces_smoke::tcp_carries_a_megabyte_through_a_nat", |lab| {
        let server = lab.public_host("server")?;
        let listener = server.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 443)))??;
        let target = SocketAddr::new(server.address(), 443);
        let sender = thread::spawn(move || listener.accept()?.0.write_all(&vec![7; 1 << 20]));
        let client = lab.host_behind("client", NatKind::LinuxDrop)?;
        lab.set_udp_blocked(&client, true);
        let mut received = Vec::new();
        let begin = Instant::now();
        client.run(|| TcpStream::connect(target))??.read_to_end(&mut received)?;
        println!("1 MiB in {:?}", begin.elapsed());
        assert!(received == vec![7; 1 << 20]);
        sender.join().unwrap()?;
        let socket = client.udp_socket(4000)?;
        ensure!(is_silent(&socket, target)?, "UDP passes");
        Ok(())
    })
}

#[test]
fn the_lab_can_be_changed_while_it_runs() -> Result<()> {
    run("namespaces_smoke::the_lab_can_be_changed_while_it_runs", |lab| {
        let echo = echo(lab, "echo")?;
        let host = lab.host_behind("host", NatKind::EimApdf)?;
        let socket = host.udp_socket(4000)?;
        let first = ask(&socket, echo, 1)?.0;
        lab.rebind_nat(&host)?;
        let second = ask(&socket, echo, 1)?.0;
        assert!(second.ip() == first.ip() && second.port() != first.port());
        lab.set_loss(&host, 1.0);
        ensure!(is_silent(&socket, echo)?, "heard through a line that loses everything");
        lab.set_loss(&host, 0.0);
        until_answered(&socket, echo)?;
        lab.set_device(&host, false)?;
        ensure!(is_silent(&socket, echo)?, "heard through a device that is down");
        lab.set_device(&host, true)?;
        until_answered(&socket, echo)?;
        let before = host.address();
        let after = lab.change_address(&host)?;
        assert!(after != before && after == host.address());
        let local = host.run(|| {
            let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            probe.connect(echo)?;
            probe.local_addr()
        })??;
        assert_eq!(local.ip(), after);
        until_answered(&socket, echo)?;
        let kernel = lab.nft_host("kernel", Input::Accept, false)?;
        let socket = kernel.udp_socket(4000)?;
        let first = until_answered(&socket, echo)?;
        lab.rebind_nat(&kernel)?;
        assert_ne!(until_answered(&socket, echo)?.ip(), first.ip());
        Ok(())
    })
}

#[test]
fn packets_are_counted_and_seen() -> Result<()> {
    run("namespaces_smoke::packets_are_counted_and_seen", |lab| {
        let echo = echo(lab, "echo")?;
        let host = lab.host_behind("host", NatKind::EimApdf)?;
        lab.watch(100);
        ask(&host.udp_socket(4000)?, echo, 100)?;
        let traffic = lab.traffic(&host);
        assert_eq!((traffic.sent_packets, traffic.sent_bytes), (1, 128));
        assert_eq!((traffic.received_packets, traffic.received_bytes), (1, 128));
        let sights = lab.take_sights();
        let moments: Vec<_> = sights.iter().map(|sight| sight.moment).collect();
        assert_eq!(moments, [Moment::Sent, Moment::Received, Moment::Sent, Moment::Received]);
        assert_eq!(sights[3].place, Place::Host(host.id()));
        assert!(sights[3].at - sights[0].at >= BETWEEN_SITES);
        Ok(())
    })
}

#[test]
fn programs_run_on_their_host_and_end_with_it() -> Result<()> {
    run("namespaces_smoke::programs_run_on_their_host_and_end_with_it", |lab| {
        let host = lab.host_behind("host", NatKind::EimApdf)?;
        let output = host.command("ip").args(["-4", "-o", "addr", "show", "dev", "net0"]).output()?;
        let listing = String::from_utf8(output.stdout)?;
        let IpAddr::V4(address) = host.address() else { unreachable!() };
        assert!(listing.contains(&format!("inet {address}/24")), "{listing}");
        let process = host.spawn("sleep", |sleep| {
            sleep.arg("1000");
        })?;
        let proof = format!("/proc/{}", process.id());
        drop(process);
        assert!(!std::path::Path::new(&proof).join("exe").exists());
        Ok(())
    })
}
