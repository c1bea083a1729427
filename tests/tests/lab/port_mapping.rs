//! The real binary behind a router that opens ports on request (docs/protocol.md, "Candidates").

use std::net::UdpSocket;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use knothole_lab::namespaces::{cable, run};
use knothole_lab::person::{Person, binaries};
use knothole_proto::identity::PeerId;
use nix::sys::signal::Signal;

/// The first question comes at once; the lab's machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the router says to a request (RFC 6886 sections 3.2, 3.3 and 3.5), and the lifetime asked for if it was one to map.
fn answer(request: &[u8]) -> (Vec<u8>, Option<u32>) {
    let mut answer = vec![0, 0x80 | request[1], 0, 0, 0, 0, 0, 9];
    match (request[0], request[1]) {
        (0, 0) => answer.extend([203, 0, 113, 7]),
        (0, 1) => {
            let lifetime = [request[8], request[9], request[10], request[11]];
            let external = if lifetime == [0; 4] { &[0, 0] } else { &request[6..8] };
            answer.extend([&request[4..6], external, &lifetime].concat());
            return (answer, Some(u32::from_be_bytes(lifetime)));
        }
        // Its version is not known here.
        _ => answer[3] = 1,
    }
    (answer, None)
}

#[test]
fn the_default_router_opens_our_port_and_gets_it_back_at_the_end() -> Result<()> {
    run("port_mapping::the_default_router_opens_our_port_and_gets_it_back_at_the_end", |_| {
        let programs = binaries()?;
        let directory = tempfile::tempdir()?;
        let [router, host] = cable(["router", "host"], [&["10.0.0.1/24"], &["10.0.0.2/24"]])?;
        host.route_by("10.0.0.1")?;
        let socket = router.run(|| UdpSocket::bind("10.0.0.1:5351"))??;
        let (asked, log) = channel();
        thread::spawn(move || {
            let mut request = [0; 1100];
            while let Ok((_, from)) = socket.recv_from(&mut request) {
                let (answer, lifetime) = answer(&request);
                if socket.send_to(&answer, from).is_err()
                    || lifetime.is_some_and(|seconds| asked.send(seconds).is_err())
                {
                    return;
                }
            }
        });
        let nowhere = format!("{}@rendezvous.invalid:3478", PeerId::new([9; 32]));
        let mut person = Person::start(host.command(programs.join("knothole")), directory.path(), &nowhere)?;
        ensure!(log.recv_timeout(PATIENCE)? == 7200);
        person.process.signal(Signal::SIGTERM)?;
        ensure!(log.recv_timeout(PATIENCE)? == 0, "given back");
        ensure!(person.process.wait()? == 0);
        Ok(())
    })
}
