//! The tests that tell what a NAT does.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use knothole_proto::nat::{self, Filtering, FreshMapping, Heard, Mapping, Ports, Seen};
use tokio::time::timeout;

use super::question::{Asker, Question, transaction};
use super::servers::Others;

/// How many fresh mappings tell how ports are chosen: a block comes out too small once in two thousand times.
const FRESH: usize = 12;

/// How long the servers, which have answered before, may take to do so again.
const AGAIN: Duration = Duration::from_millis(800);

/// After how long silence means a filter: the last of four questions has 400 ms for its answer.
const SILENCE: Duration = Duration::from_millis(1200);

const NO_ALTERNATE: &str = "no rendezvous of yours has a second address, by which mapping and filtering are told \
                            (`knothole-rendezvous --alternate`)";
const MUTE_ALTERNATE: &str =
    "the second address of the rendezvous, by which mapping and filtering are told, does not answer";

/// What a NAT does with what goes out and what comes in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conduct {
    pub(super) mapping: Mapping,
    pub(super) filtering: Filtering,
    /// Why one of them is unknown.
    pub(super) unknown: Option<&'static str>,
}

/// How the ports of fresh mappings follow each other.
pub(super) async fn ports(server: SocketAddr) -> Ports {
    let mut askers = Vec::new();
    for _ in 0..FRESH {
        // One that cannot be had is one sample less.
        askers.extend(Asker::new(server).await);
    }
    // Each sends its first question when it is polled first, which is in their order.
    let seen = join_all(askers.iter().map(|asker| asker.ask([Question::plain(server)], AGAIN))).await;
    let fresh = askers.iter().zip(seen).filter_map(|(asker, [answer])| {
        Some(FreshMapping { inside: asker.inside.port(), outside: answer?.mapped.port() })
    });
    nat::ports(&fresh.collect::<Vec<_>>())
}

/// Mapping and filtering by RFC 5780's tests.
pub(super) async fn conduct(server: SocketAddr, others: Others) -> Conduct {
    let unknown = Conduct { mapping: Mapping::Unknown, filtering: Filtering::Unknown, unknown: None };
    let (Ok(mapped), Ok(filtered)) = tokio::join!(Asker::new(server), Asker::new(server)) else { return unknown };
    let Some(alternate) = others.alternate else {
        let (first, stranger) = match others.stranger {
            Some(stranger) => {
                let [first, stranger] = mapped.ask([server, stranger].map(Question::plain), SILENCE).await;
                (first, stranger)
            }
            None => (mapped.ask([Question::plain(server)], AGAIN).await[0], None),
        };
        let seen = Seen {
            inside: mapped.inside,
            first: first.map(|answer| answer.mapped),
            other_ip: None,
            other_ip_and_port: stranger.map(|answer| answer.mapped),
        };
        return Conduct { mapping: seen.mapping(), unknown: Some(NO_ALTERNATE), ..unknown };
    };
    let places = [server, SocketAddr::new(alternate.ip(), server.port()), alternate];
    let (seen, heard) = tokio::join!(mapped.ask(places.map(Question::plain), SILENCE), hear(&filtered, server));
    let reachable = seen[1].is_some() || seen[2].is_some();
    let [first, other_ip, other_ip_and_port] = seen.map(|answer| Some(answer?.mapped));
    let mapping = Seen { inside: mapped.inside, first, other_ip, other_ip_and_port }.mapping();
    // From an address that never answers silence tells nothing.
    let filtering = if reachable { heard.filtering(mapping) } else { Filtering::Unknown };
    Conduct { mapping, filtering, unknown: (!reachable).then_some(MUTE_ALTERNATE) }
}

async fn hear(asker: &Asker, server: SocketAddr) -> Heard {
    let nothing = Heard { first: false, other_ip_and_port: false, other_port: false };
    let [Some(_)] = asker.ask([Question::plain(server)], AGAIN).await else { return nothing };
    let elsewhere = [true, false].map(|change_ip| Question::from_elsewhere(server, change_ip));
    let [other_ip_and_port, other_port] = asker.ask(elsewhere, SILENCE).await;
    Heard { first: true, other_ip_and_port: other_ip_and_port.is_some(), other_port: other_port.is_some() }
}

/// Whether two sockets here reach each other by their addresses outside (RFC 4787 section 6). Each sends to the other, so
/// that filters let the other's in.
pub(super) async fn hairpin(server: SocketAddr) -> Option<bool> {
    let (one, other) = (Asker::new(server).await.ok()?, Asker::new(server).await.ok()?);
    let (of_one, of_other) =
        tokio::join!(one.ask([Question::plain(server)], AGAIN), other.ask([Question::plain(server)], AGAIN));
    let (at_one, at_other) = (of_one[0]?.mapped, of_other[0]?.mapped);
    let word = transaction().ok()?;
    let speak = async {
        tokio::join!(one.tell(at_other, word), other.tell(at_one, word));
        std::future::pending().await
    };
    let heard = async {
        tokio::select! {
            () = one.is_told(word) => {}
            () = other.is_told(word) => {}
        }
    };
    tokio::select! {
        heard = timeout(SILENCE, heard) => Some(heard.is_ok()),
        never = speak => never,
    }
}
