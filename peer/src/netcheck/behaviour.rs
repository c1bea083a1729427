//! The tests that tell what a NAT does.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use knothole_proto::nat::{self, Filtering, FreshMapping, Heard, Mapping, Ports, Sample};
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
        let mapping = match others.stranger {
            Some(stranger) => seen(&mapped, [server, stranger], SILENCE).await.0,
            None => seen(&mapped, [server], AGAIN).await.0,
        };
        return Conduct { mapping, unknown: Some(NO_ALTERNATE), ..unknown };
    };
    let places = [server, SocketAddr::new(alternate.ip(), server.port()), alternate];
    let ((mapping, answered), heard) = tokio::join!(seen(&mapped, places, SILENCE), hear(&filtered, server));
    let reachable = answered[1] || answered[2];
    // From an address that never answers silence tells nothing.
    let filtering = if reachable { heard.filtering(mapping) } else { Filtering::Unknown };
    Conduct { mapping, filtering, unknown: (!reachable).then_some(MUTE_ALTERNATE) }
}

/// How mappings toward these places differ, and which of them answered.
async fn seen<const N: usize>(asker: &Asker, places: [SocketAddr; N], patience: Duration) -> (Mapping, [bool; N]) {
    let answers = asker.ask(places.map(Question::plain), patience).await;
    let samples = places.into_iter().zip(answers);
    let samples: Vec<_> = samples.filter_map(|(to, answer)| Some(Sample { to, mapped: answer?.mapped })).collect();
    (nat::mapping(Some(asker.inside), &samples), answers.map(|answer| answer.is_some()))
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
