//! Which way a rendezvous is spoken to: by UDP, or where none passes, through a stream of TLS over TCP.
//!
//! UDP is always tried first. While a stream is used UDP is tried again, quietly; when it answers, the registration moves as
//! it does to any new address, and the stream is closed when it has. So nothing in between is lost or signed in anew.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::traversal::{ContactId, RendezvousId, Unreachable};
use knothole_proto::tunnel::is_without_udp;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::rendezvous::Progress;
use super::{Engine, reasons};
use crate::command::Transport;
use crate::hops::needed_ttl;
use crate::sign_in::{SignInError, SignedIn};
use crate::socket::{Activity, Socket};
use crate::tunnel::{self, Stream};

/// UDP has so long to answer before a stream is opened beside it: longer than most round trips; and with it, with two round
/// trips for TCP and TLS and two for the sign-in, a peer without UDP is online within a second in most places.
const HEAD_START: Duration = Duration::from_millis(500);
/// A registered rendezvous that leaves a question unanswered so long, repeated twice, is looked for by TCP: one lost datagram
/// must not cost it a handshake. While somebody waits to be talked to through it, [`HEAD_START`] is enough.
const SILENCE: Duration = Duration::from_millis(2500);
/// After this UDP is tried again; each next time after half as much again, up to the longest. Such networks stay as they are
/// for hours; a change of network ends the wait.
const FIRST_TRIAL: Duration = Duration::from_secs(30);
const LONGEST_TRIAL: Duration = Duration::from_secs(60);
/// The registration has moved to UDP within this, four round trips and a repetition, or does not: before it is taken for lost
/// (7 s).
const MOVE_PATIENCE: Duration = Duration::from_secs(4);
/// A stream that broke is opened again so often, with a pause between: until the registration is taken for lost, whose
/// sign-in then goes on trying.
const REOPENINGS: usize = 3;
const REOPENING_PAUSE: Duration = Duration::from_secs(1);

/// A stream in use; dropped, it is closed.
pub(super) struct Tunnel {
    remote: SocketAddr,
    number: u64,
    socket: Arc<Socket>,
    /// Tries UDP again.
    trial: AbortHandle,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.trial.abort();
        self.socket.tunnels().close(self.remote, self.number);
    }
}

/// What became of a stream.
pub(super) enum TunnelStep {
    /// To be used for a sign-in; these addresses are left if it fails.
    Opened(SocketAddr, Box<Stream>, VecDeque<SocketAddr>),
    /// The sign-in through it failed; these addresses are left. If the stream was there before, its own is the first.
    Useless(VecDeque<SocketAddr>, SignInError),
    /// It was opened again, for a registration that there is; or could not be.
    Reopened(SocketAddr, Option<Box<Stream>>),
    /// It broke.
    Broken,
    /// UDP answers.
    Udp,
    /// The registration should have moved to UDP by now.
    MoveOver,
}

/// Asks by UDP and, if nothing is heard from there in time, opens a stream.
pub(super) async fn race(
    asking: impl Future<Output = Result<SignedIn, SignInError>>,
    patience: Duration,
    heard: impl Fn() -> bool,
    opening: impl Future<Output = std::io::Result<Stream>>,
) -> Result<Way, SignInError> {
    let asking = async { timeout(patience, asking).await.unwrap_or(Err(SignInError::Unreachable)) };
    let opening = async {
        sleep(HEAD_START).await;
        opening.await
    };
    tokio::pin!(asking, opening);
    tokio::select! {
        asked = &mut asking => match asked {
            Err(SignInError::Unreachable) => opening.await.map(Way::stream).map_err(|_| SignInError::Unreachable),
            asked => asked.map(Way::Udp),
        },
        opened = &mut opening => match opened {
            Ok(stream) if !heard() => Ok(Way::stream(stream)),
            // UDP passes; if it does not suffice, the stream is there.
            Ok(stream) => match asking.await {
                Err(SignInError::Unreachable) => Ok(Way::stream(stream)),
                asked => asked.map(Way::Udp),
            },
            Err(_) => asking.await.map(Way::Udp),
        },
    }
}

/// What the race brought.
pub(super) enum Way {
    Udp(SignedIn),
    Stream(Box<Stream>),
}

impl Way {
    fn stream(stream: Stream) -> Self {
        Self::Stream(Box::new(stream))
    }
}

/// Whether anything was heard since now.
pub(super) fn hearing(socket: &Arc<Socket>, activity: Arc<Activity>) -> impl Fn() -> bool + Send + use<> {
    let (socket, since) = (socket.clone(), socket.routes().now());
    move || activity.last_received().is_some_and(|at| at >= since && at <= socket.routes().now())
}

impl Engine {
    pub(super) fn handle_tunnel(&mut self, id: RendezvousId, number: u64, step: TunnelStep, now: Instant) {
        let current = self.tunnel(id).is_some_and(|tunnel| tunnel.number == number);
        match step {
            TunnelStep::Opened(remote, stream, left) => {
                self.use_tunnel(id, remote, *stream);
                self.ask(id, remote, left, true, now);
            }
            TunnelStep::Useless(left, error) => {
                self.drop_tunnel(id);
                self.try_next(id, left, &error, now);
            }
            TunnelStep::Reopened(remote, stream) => {
                let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize) else { return };
                rendezvous.reopening = false;
                // Not registered: a sign-in finds its own way. Answered by UDP meanwhile: no stream is wanted.
                let observed = self.traversal.observed(id);
                let silent = self.traversal.unanswered_since(id).is_some();
                let gone = self.tunnel(id).is_none() && observed.is_some_and(is_without_udp);
                let wanted = silent || gone;
                if let Some(stream) = stream.filter(|_| wanted) {
                    self.use_tunnel(id, remote, *stream);
                    self.traversal.handle_way_changed(id, now);
                    // What broke the one before may have been a change of network.
                    self.try_udp_again();
                }
            }
            TunnelStep::Broken if current => {
                let remote = self.drop_tunnel(id);
                if let Some(remote) = remote.filter(|_| self.traversal.observed(id).is_some()) {
                    // By UDP, should that be what has changed.
                    self.traversal.handle_way_changed(id, now);
                    self.reopen(id, remote);
                }
            }
            TunnelStep::Udp if current => {
                if let Some(tunnel) = self.tunnel(id) {
                    tracing::debug!(rendezvous = %tunnel.remote, "UDP answers");
                    self.socket.tunnels().set_leaving(tunnel.remote, true);
                    self.traversal.handle_way_changed(id, now);
                    self.tunnel_step_after(id, number, async {
                        sleep(MOVE_PATIENCE).await;
                        TunnelStep::MoveOver
                    });
                }
            }
            // Else it has moved, or nobody knows us and a sign-in is on its way.
            TunnelStep::MoveOver if current => {
                if let Some(remote) = self.tunnel(id).map(|tunnel| tunnel.remote) {
                    self.socket.tunnels().set_leaving(remote, false);
                    self.traversal.handle_way_changed(id, now);
                    let trial = self.try_udp(id, remote, number, LONGEST_TRIAL);
                    if let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize)
                        && let Some(tunnel) = &mut rendezvous.tunnel
                    {
                        tunnel.trial = trial;
                    }
                }
            }
            TunnelStep::Broken | TunnelStep::Udp | TunnelStep::MoveOver => {}
        }
    }

    /// The rendezvous sees us at this address: if by UDP, no stream is needed.
    pub(super) fn handle_observed(&mut self, id: RendezvousId, observed: SocketAddr) {
        if is_without_udp(observed) {
            let Some(remote) = self.tunnel(id).map(|tunnel| tunnel.remote) else { return };
            let relayed = |contact: &super::contact::Contact| {
                contact.path.is_none() && contact.relay.is_some_and(|relay| relay.rendezvous == remote)
            };
            let relayed: Vec<ContactId> =
                self.contacts.iter().filter(|(_, contact)| relayed(contact)).map(|(id, _)| *id).collect();
            relayed
                .into_iter()
                .for_each(|contact| self.tell_no_path(contact, reasons::unreachable(Unreachable::NoUdp)));
        } else if let Some(remote) = self.drop_tunnel(id) {
            tracing::info!(rendezvous = %remote, "UDP passes again");
            self.step_after(id, async move { Progress::OpenerTtl(needed_ttl(remote).await) });
        }
    }

    /// The network has changed: UDP may pass now.
    pub(super) fn try_udp_again(&mut self) {
        for index in 0..self.rendezvous.len() {
            let id = RendezvousId(u32::try_from(index).unwrap_or(u32::MAX));
            let Some((remote, number)) = self.tunnel(id).map(|tunnel| (tunnel.remote, tunnel.number)) else { continue };
            let trial = self.try_udp(id, remote, number, Duration::ZERO);
            if let Some(tunnel) = &mut self.rendezvous[index].tunnel {
                std::mem::replace(&mut tunnel.trial, trial).abort();
            }
        }
    }

    /// When to look whether a rendezvous that does not answer any more answers by TCP, or by a new stream.
    pub(super) fn streams_due(&self) -> Option<Instant> {
        self.silent().map(|(_, _, due)| due).min()
    }

    /// Looks for those that are due.
    pub(super) fn look_for_streams(&mut self, now: Instant) {
        let due: Vec<_> = self.silent().filter(|(_, _, due)| *due <= now).collect();
        due.into_iter().for_each(|(id, remote, _)| self.reopen(id, remote));
    }

    /// The rendezvous that have not answered, and when that is long enough. One that was reached by a stream is given more time:
    /// TCP repeats by itself, but of a network that is left it says nothing for 20 s.
    fn silent(&self) -> impl Iterator<Item = (RendezvousId, SocketAddr, Instant)> {
        let all = self.rendezvous.iter().zip(0..).filter(|(rendezvous, _)| !rendezvous.reopening);
        all.filter_map(|(rendezvous, index)| {
            let since = self.traversal.unanswered_since(RendezvousId(index))?;
            let waiting = self.contacts.values().any(|contact| contact.link.is_some() && contact.path.is_none());
            let patience = if waiting && rendezvous.tunnel.is_none() { HEAD_START } else { SILENCE };
            Some((RendezvousId(index), rendezvous.remote?, since + patience))
        })
    }

    pub(super) fn transport(&self, id: RendezvousId) -> Transport {
        if self.tunnel(id).is_some() { Transport::Tcp } else { Transport::Udp }
    }

    fn tunnel(&self, id: RendezvousId) -> Option<&Tunnel> {
        self.rendezvous.get(id.0 as usize)?.tunnel.as_ref()
    }

    fn drop_tunnel(&mut self, id: RendezvousId) -> Option<SocketAddr> {
        let tunnel = self.rendezvous.get_mut(id.0 as usize)?.tunnel.take()?;
        Some(tunnel.remote)
    }

    /// From now on all that goes to this rendezvous goes through the stream.
    fn use_tunnel(&mut self, id: RendezvousId, remote: SocketAddr, stream: Stream) {
        // The one before is closed first, or it would close this one.
        self.drop_tunnel(id);
        self.last_tunnel += 1;
        let number = self.last_tunnel;
        let end = self.socket.tunnels().open(remote, number);
        tracing::info!(rendezvous = %remote, "no UDP: going by TCP");
        self.tunnel_step_after(id, number, async move {
            let why = tunnel::carry(stream, end).await;
            tracing::debug!(rendezvous = %remote, ?why, "stream ended");
            TunnelStep::Broken
        });
        let trial = self.try_udp(id, remote, number, FIRST_TRIAL);
        if let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize) {
            rendezvous.tunnel = Some(Tunnel { remote, number, socket: self.socket.clone(), trial });
        }
    }

    fn reopen(&mut self, id: RendezvousId, remote: SocketAddr) {
        let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize) else { return };
        if std::mem::replace(&mut rendezvous.reopening, true) {
            return;
        }
        let RendezvousAddress { key, .. } = rendezvous.address;
        self.tunnel_step_after(id, 0, async move {
            for _ in 0..REOPENINGS {
                if let Ok(stream) = tunnel::open(remote, key).await {
                    return TunnelStep::Reopened(remote, Some(Box::new(stream)));
                }
                sleep(REOPENING_PAUSE).await;
            }
            TunnelStep::Reopened(remote, None)
        });
    }

    fn try_udp(&self, id: RendezvousId, remote: SocketAddr, number: u64, first: Duration) -> AbortHandle {
        self.tunnel_step_after(id, number, async move {
            let mut pause = first;
            loop {
                sleep(pause).await;
                if tunnel::answers_udp(remote).await {
                    return TunnelStep::Udp;
                }
                pause = (pause * 3 / 2).clamp(FIRST_TRIAL, LONGEST_TRIAL);
            }
        })
    }

    fn tunnel_step_after(
        &self,
        id: RendezvousId,
        number: u64,
        step: impl Future<Output = TunnelStep> + Send + 'static,
    ) -> AbortHandle {
        self.step_after(id, async move { Progress::Tunnel(number, step.await) })
    }
}
