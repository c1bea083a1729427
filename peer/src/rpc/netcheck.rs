//! The method `netcheck`: what the network does, found out beside the engine.

use knothole_proto::contact_link::RendezvousAddress;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::{Command, CommandError};
use crate::handle::Peer;
use crate::netcheck::{Latency, Report, Wishes, check};

use super::message::Failure;
use super::method::milliseconds;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    lifetime: bool,
}

/// Asks the rendezvous that the engine knows, the preferred first, and then the engine itself.
pub(super) async fn netcheck(peer: &Peer, Asked { lifetime }: Asked) -> Result<Value, Failure> {
    let known = peer.request(Command::Status).await?.rendezvous;
    let rendezvous: Vec<RendezvousAddress> = known.into_iter().map(|status| status.address).collect();
    if rendezvous.is_empty() {
        return Err(CommandError::NoRendezvous.into());
    }
    let mut report = check(rendezvous).await;
    report.ask_engine(peer, Wishes { lifetime }).await?;
    Ok(told(&report))
}

fn told(report: &Report) -> Value {
    json!({
        "udp": report.udp(),
        "transport": report.transport.as_str(),
        "observed": report.observed,
        "mapping": report.mapping.as_str(),
        "filtering": report.filtering.as_str(),
        "ports": report.ports.to_string(),
        "hairpin": report.hairpin,
        "lifetime_s": report.lifetime.map(|lifetime| lifetime.as_secs()),
        "ipv6": report.ipv6,
        "port_mapping": report.port_mapping,
        "rendezvous": report.rendezvous.iter().map(latency).collect::<Value>(),
        "why": report.unknown,
        "summary": report.summary(),
    })
}

fn latency(Latency { address, rtt }: &Latency) -> Value {
    json!({"address": address.to_string(), "rtt_ms": rtt.map(milliseconds)})
}
