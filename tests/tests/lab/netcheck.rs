//! `knothole netcheck` behind every kind of router: it tells what the router does. docs/protocol.md, "STUN".

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::{Host, Input, Lab, run};
use knothole_lab::nat::NatKind;
use knothole_lab::person::{Rendezvous, binaries};
use serde_json::Value;

/// A check ends within 5 s; an engine may need 3 s to say goodbye, and a loaded machine its time.
const ENOUGH: Duration = Duration::from_secs(40);
/// A filter shows by what does not come, and on a busy machine something that should may come too late. Not so every time.
const TRIES: usize = 3;

const EIM: &str = "endpoint-independent";
const AD: &str = "address-dependent";
const APD: &str = "address-and-port-dependent";

/// What must be found behind a router. A kernel's masquerade keeps ports as long as they are free, so that it maps
/// endpoint-independently as far as anyone can see.
struct Wanted {
    mapping: &'static str,
    filtering: &'static str,
    ports: &'static str,
    hairpin: bool,
}

impl Wanted {
    /// Whether that is what was found, in time.
    fn is(&self, found: &Value, took: Duration) -> bool {
        found["mapping"] == self.mapping
            && found["filtering"] == self.filtering
            && found["ports"] == self.ports
            && found["hairpin"] == self.hairpin
            && found["udp"] == true
            && found["lifetime_s"].is_null()
            && found["rendezvous"][0]["rtt_ms"].as_f64().is_some_and(|rtt| rtt >= 80.0)
            && took < ENOUGH
    }
}

const fn wanted(mapping: &'static str, filtering: &'static str, ports: &'static str, hairpin: bool) -> Wanted {
    Wanted { mapping, filtering, ports, hairpin }
}

fn hosts(lab: &mut Lab) -> Result<Vec<(Host, Wanted)>> {
    let models = [
        ("public", NatKind::Public, wanted("none", "none", "preserved", true)),
        ("eif", NatKind::EimEif, wanted(EIM, EIM, "preserved", true)),
        ("adf", NatKind::EimAdf, wanted(EIM, AD, "preserved", true)),
        ("apdf", NatKind::EimApdf, wanted(EIM, APD, "preserved", true)),
        ("apdf-random", NatKind::EimApdfRandom, wanted(EIM, APD, "random", true)),
        ("address", NatKind::AddressDependent, wanted(AD, AD, "random", false)),
        ("sequential", NatKind::Sequential, wanted(APD, APD, "sequential +1", false)),
        ("block", NatKind::Block, wanted(APD, APD, "block of 512", false)),
        ("symmetric", NatKind::RandomSymmetric, wanted(APD, APD, "random", false)),
        ("linux-accept", NatKind::LinuxAccept, wanted(EIM, APD, "preserved", false)),
        ("linux-drop", NatKind::LinuxDrop, wanted(EIM, APD, "preserved", false)),
        ("linux-random", NatKind::LinuxRandom, wanted(APD, APD, "random", false)),
    ];
    let mut hosts = Vec::new();
    for (name, kind, wanted) in models {
        hosts.push((lab.host_behind(name, kind)?, wanted));
    }
    for (name, input) in [("nft-accept", Input::Accept), ("nft-drop", Input::Drop)] {
        hosts.push((lab.nft_host(name, input, false)?, wanted(EIM, APD, "preserved", false)));
    }
    hosts.push((lab.nft_host("nft-random", Input::Drop, true)?, wanted(APD, APD, "random", false)));
    hosts.push((lab.double_nat("double", NatKind::EimApdf, NatKind::EimApdf)?, wanted(EIM, APD, "preserved", true)));
    // Nor is what gets lost taken for what is filtered.
    let lossy = lab.host_behind("lossy", NatKind::EimEif)?;
    lab.set_loss(&lossy, 0.05);
    hosts.push((lossy, wanted(EIM, EIM, "preserved", true)));
    Ok(hosts)
}

/// What the verb prints on a host, and how long it took from its start to its end.
fn netcheck(host: &Host, programs: &Path, home: &Path, rendezvous: &str) -> Result<(Value, Duration)> {
    let begin = Instant::now();
    let mut command = host.command(programs.join("knothole"));
    command.arg("--home").arg(home).args(["--rendezvous", rendezvous, "netcheck", "--json"]);
    let output = command.output().context("cannot start netcheck")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {told}", host.name());
    Ok((serde_json::from_slice(&output.stdout)?, begin.elapsed()))
}

#[test]
fn every_kind_of_router_is_recognised_and_udp_that_is_blocked() -> Result<()> {
    run("netcheck::every_kind_of_router_is_recognised_and_udp_that_is_blocked", |lab| {
        let (programs, directory) = (binaries()?, tempfile::tempdir()?);
        let server = lab.public_host("rendezvous")?;
        let alternate = lab.add_address(&server)?;
        let mut command = server.command(programs.join("knothole-rendezvous"));
        command.arg("--alternate").arg(format!("{alternate}:3479"));
        let listen = format!("{}:3478", server.address());
        let rendezvous = Rendezvous::start(command, &listen, &directory.path().join("state"))?;
        let hosts = hosts(lab)?;
        let blocked = lab.public_host("blocked")?;
        lab.set_udp_blocked(&blocked, true);

        let check = |host: &Host| {
            netcheck(host, &programs, &directory.path().join(host.name()), &rendezvous.address)
                .with_context(|| host.name().to_owned())
        };
        let (mut wrong, mut again) = (Vec::new(), Vec::new());
        // Few at a time: what is late on a loaded machine is not heard.
        for few in hosts.chunks(4) {
            let found: Vec<_> = thread::scope(|scope| {
                let checks: Vec<_> = few.iter().map(|(host, _)| scope.spawn(|| check(host))).collect();
                checks.into_iter().map(|check| check.join().map_err(|_| anyhow::anyhow!("a panic"))?).collect()
            });
            for ((host, wanted), found) in few.iter().zip(found) {
                let (found, took) = found?;
                println!("{:>14} in {:.1} s: {found}", host.name(), took.as_secs_f64());
                if !wanted.is(&found, took) {
                    again.push((host, wanted));
                }
            }
        }
        for (host, wanted) in again {
            let mut tries = (1..TRIES).map(|_| check(host));
            let right = tries.find_map(|found| match found {
                Ok((found, took)) => wanted.is(&found, took).then_some(Ok(())),
                Err(error) => Some(Err(error)),
            });
            match right {
                Some(outcome) => outcome?,
                None => wrong.push(host.name()),
            }
        }
        ensure!(wrong.is_empty(), "{TRIES} times wrong: {}", wrong.join(", "));

        let (found, took) = check(&blocked)?;
        println!("{:>14} in {:.1} s: {found}", blocked.name(), took.as_secs_f64());
        ensure!(found["udp"] == false && found["rendezvous"][0]["rtt_ms"].is_null(), "blocked: {found}");
        ensure!(
            found["transport"] == "tcp" && found["summary"].as_str().is_some_and(|told| told.contains("over TCP")),
            "{found}"
        );
        ensure!(
            found["lifetime_s"].is_null() && found["port_mapping"].as_array().is_some_and(Vec::is_empty),
            "{found}"
        );
        ensure!(found["mapping"] == "unknown" && found["filtering"] == "unknown", "blocked: {found}");
        ensure!(took < ENOUGH, "blocked: {took:?}");
        Ok(())
    })
}
