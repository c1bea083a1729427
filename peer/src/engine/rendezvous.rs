//! The rendezvous where we are registered: our own, and those of our contacts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::registration::{SignInAnswer, from_bytes, to_bytes};
use knothole_proto::seal::RegistrationSecret;
use knothole_proto::traversal::RendezvousId;

use tokio::net::lookup_host;
use tokio::task::AbortHandle;

use super::Engine;
use super::tunnels::{Tunnel, TunnelStep, Way, hearing, race};
use crate::command::{RendezvousState, RendezvousStatus};
use crate::hops::needed_ttl;
use crate::sign_in::{SignInError, SignedIn, sign_in};
use crate::socket::VirtualAddress;
use crate::tunnel;

/// An address is signed in at within this, three round trips of 300 ms and a loss: so three addresses, and the look-up before
/// them, end before the registration takes the sign-in for failed (10 s).
const PATIENCE: Duration = Duration::from_millis(2500);
/// A name is looked up within this.
const LOOK_UP: Duration = Duration::from_secs(1);
/// Addresses that one sign-in tries.
const ADDRESSES: usize = 3;
/// Further names of one rendezvous that are kept; contacts give them.
const OTHER_NAMES: usize = 3;
/// Sign-ins that fail before a rendezvous is called unreachable; trying goes on.
const TRIES: u32 = 2;
/// Virtual addresses of rendezvous, above those of contacts.
const FIRST_ADDRESS: u32 = 1 << 31;

/// A rendezvous as the engine keeps it; its registration is the traversal's.
pub(super) struct Rendezvous {
    /// As it was first named.
    pub(super) address: RendezvousAddress,
    /// Other names under which it was given: one key is one rendezvous, and one registration.
    others: Vec<RendezvousAddress>,
    failures: u32,
    pub(super) rtt: Option<Duration>,
    /// Its addresses, as far as its names were looked up for the present sign-in.
    found: Vec<SocketAddr>,
    /// Where it was signed in to last.
    pub(super) remote: Option<SocketAddr>,
    /// The stream to it, where no UDP passes.
    pub(super) tunnel: Option<Tunnel>,
    /// Whether one is being opened for the registration that there is.
    pub(super) reopening: bool,
    /// Tells the steps of the present sign-in from those of one that was given up.
    attempt: u64,
}

/// How far a sign-in has come.
pub(super) struct SignInStep {
    rendezvous: RendezvousId,
    attempt: u64,
    progress: Progress,
}

pub(super) enum Progress {
    /// The names stand for these addresses.
    Found(VecDeque<SocketAddr>),
    /// These addresses are still to be tried; the last failure, if there was one.
    Next(VecDeque<SocketAddr>, SignInError),
    /// One answered.
    Done(SocketAddr, SignedIn),
    /// How far openers must go from this network.
    OpenerTtl(u8),
    /// What became of the stream of this number.
    Tunnel(u64, TunnelStep),
}

impl Engine {
    /// Registers at a rendezvous, or finds the registration that there is.
    pub(super) fn register(&mut self, address: RendezvousAddress, now: Instant) -> RendezvousId {
        let known = self.rendezvous.iter().position(|rendezvous| rendezvous.address.key == address.key);
        let index = match known {
            Some(index) => {
                let Rendezvous { address: first, others, .. } = &mut self.rendezvous[index];
                if *first != address && !others.contains(&address) && others.len() < OTHER_NAMES {
                    others.push(address);
                }
                index
            }
            None => {
                self.rendezvous.push(Rendezvous {
                    address,
                    others: Vec::new(),
                    failures: 0,
                    rtt: None,
                    found: Vec::new(),
                    remote: None,
                    tunnel: None,
                    reopening: false,
                    attempt: 0,
                });
                self.rendezvous.len() - 1
            }
        };
        let id = RendezvousId(u32::try_from(index).unwrap_or(u32::MAX));
        self.traversal.add_rendezvous(id, now);
        id
    }

    /// Begins to sign in: looks the name up, then tries its addresses in turn.
    pub(super) fn sign_in(&mut self, id: RendezvousId) {
        let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize) else { return };
        rendezvous.attempt += 1;
        let names = [&rendezvous.address].into_iter().chain(&rendezvous.others).cloned().collect::<Vec<_>>();
        let socket = self.socket.clone();
        self.step_after(id, async move {
            // The first handshake of a process has AWS-LC measure the processor's jitter, for 30 ms: not while the engine's loop waits.
            let _ = tokio::task::spawn_blocking(|| aws_lc_rs::rand::fill(&mut [0])).await;
            let mut found = VecDeque::new();
            for RendezvousAddress { host, port, .. } in names {
                let answer = tokio::time::timeout(LOOK_UP, lookup_host((host.as_str(), port))).await;
                let addresses = answer.ok().and_then(Result::ok).into_iter().flatten();
                for address in addresses.filter(|address| socket.reaches(*address)) {
                    if !found.contains(&address) && found.len() < ADDRESSES {
                        found.push_back(address);
                    }
                }
            }
            Progress::Found(found)
        });
    }

    pub(super) fn step_after(
        &self,
        rendezvous: RendezvousId,
        progress: impl Future<Output = Progress> + Send + 'static,
    ) -> AbortHandle {
        let steps = self.sign_in_steps.clone();
        let attempt = self.rendezvous.get(rendezvous.0 as usize).map_or(0, |rendezvous| rendezvous.attempt);
        tokio::spawn(async move {
            let progress = progress.await;
            // An engine that is gone needs no result.
            let _ = steps.send(SignInStep { rendezvous, attempt, progress }).await;
        })
        .abort_handle()
    }

    pub(super) fn handle_sign_in(&mut self, step: SignInStep, now: Instant) {
        let SignInStep { rendezvous: id, attempt, progress } = step;
        let stale = self.rendezvous.get(id.0 as usize).is_none_or(|rendezvous| rendezvous.attempt != attempt);
        // Streams live longer than a sign-in; what is part of one is as old as it.
        let part = |step: &TunnelStep| matches!(step, TunnelStep::Opened(..) | TunnelStep::Useless(..));
        if stale && !matches!(&progress, Progress::Tunnel(_, step) if !part(step)) {
            return;
        }
        match progress {
            Progress::Found(addresses) => {
                if let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize) {
                    rendezvous.found = addresses.iter().copied().collect();
                }
                self.try_next(id, addresses, &SignInError::Unreachable, now);
            }
            Progress::Next(addresses, error) => self.try_next(id, addresses, &error, now),
            Progress::Done(remote, signed_in) => self.handle_signed_in(id, remote, &signed_in, now),
            Progress::OpenerTtl(ttl) => self.traversal.set_opener_ttl(ttl),
            Progress::Tunnel(number, step) => self.handle_tunnel(id, number, step, now),
        }
    }

    pub(super) fn try_next(
        &mut self,
        id: RendezvousId,
        mut left: VecDeque<SocketAddr>,
        error: &SignInError,
        now: Instant,
    ) {
        let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize) else { return };
        let Some(remote) = left.pop_front() else {
            rendezvous.failures += 1;
            tracing::info!(rendezvous = %rendezvous.address, %error, "sign-in failed");
            self.traversal.handle_sign_in_failed(id, now);
            return;
        };
        self.ask(id, remote, left, false, now);
    }

    /// Signs in at this address; `left` are those to be tried after it.
    /// `fresh`: through a stream that was opened for this.
    pub(super) fn ask(
        &mut self,
        id: RendezvousId,
        remote: SocketAddr,
        left: VecDeque<SocketAddr>,
        fresh: bool,
        now: Instant,
    ) {
        let request = self.traversal.sign_in_request(id);
        let (Some(rendezvous), Some(request)) = (self.rendezvous.get(id.0 as usize), request) else { return };
        let virtual_address = VirtualAddress::new(FIRST_ADDRESS | id.0);
        // A contact may name any address as its rendezvous'; another's is not taken from it.
        if self.socket.routes().owner(remote).is_some_and(|owner| owner != virtual_address) {
            return self.try_next(id, left, &SignInError::Refused, now);
        }
        self.socket.routes().admit(remote, virtual_address);
        self.socket.routes().set_route(virtual_address, Some(remote.into()));
        let asking = sign_in(&self.links, virtual_address, rendezvous.address.key, to_bytes(&request));
        if self.socket.tunnels().has(remote) {
            self.step_after(id, async move {
                match tokio::time::timeout(PATIENCE, asking).await.unwrap_or(Err(SignInError::Unreachable)) {
                    Ok(signed_in) => Progress::Done(remote, signed_in),
                    Err(error) => {
                        let mut left = left;
                        // What it came by may have died of the same as the registration; a new one may live.
                        if !fresh {
                            left.push_front(remote);
                        }
                        Progress::Tunnel(0, TunnelStep::Useless(left, error))
                    }
                }
            });
            return;
        }
        let heard = hearing(&self.socket, self.socket.routes().activity(virtual_address));
        let opening = tunnel::open(remote, rendezvous.address.key);
        self.step_after(id, async move {
            match race(asking, PATIENCE, heard, opening).await {
                Ok(Way::Udp(signed_in)) => Progress::Done(remote, signed_in),
                Ok(Way::Stream(stream)) => Progress::Tunnel(0, TunnelStep::Opened(remote, stream, left)),
                Err(error) => Progress::Next(left, error),
            }
        });
    }

    fn handle_signed_in(&mut self, id: RendezvousId, remote: SocketAddr, signed_in: &SignedIn, now: Instant) {
        let Some(rendezvous) = self.rendezvous.get_mut(id.0 as usize) else { return };
        let Some(answer) = from_bytes::<SignInAnswer>(&signed_in.answer) else {
            tracing::info!(rendezvous = %rendezvous.address, "it answers in a way that is not understood");
            rendezvous.failures += 1;
            return self.traversal.handle_sign_in_failed(id, now);
        };
        rendezvous.failures = 0;
        rendezvous.rtt = Some(signed_in.rtt);
        let found = std::mem::take(&mut rendezvous.found);
        rendezvous.remote = Some(remote);
        let by_udp = rendezvous.tunnel.is_none();
        self.traversal.handle_signed_in(id, remote, &answer, &RegistrationSecret(signed_in.secret), now);
        if by_udp {
            self.learn_other_family(id, remote, &found, now);
            self.step_after(id, async move { Progress::OpenerTtl(needed_ttl(remote).await) });
        }
    }

    /// Ends the registrations at rendezvous that neither we nor a contact of ours use.
    pub(super) fn leave_unused_rendezvous(&mut self) {
        for (index, rendezvous) in self.rendezvous.iter_mut().enumerate().skip(self.own_rendezvous) {
            let mut talking = self.contacts.values().filter(|contact| contact.talks());
            let key = rendezvous.address.key;
            if !talking.any(|contact| contact.via.iter().any(|via| via.key == key)) {
                self.traversal.remove_rendezvous(RendezvousId(u32::try_from(index).unwrap_or(u32::MAX)));
                rendezvous.tunnel = None;
            }
        }
    }

    pub(super) fn rendezvous_status(&self) -> Vec<RendezvousStatus> {
        let status = |(index, rendezvous): (usize, &Rendezvous)| {
            let id = RendezvousId(u32::try_from(index).unwrap_or(u32::MAX));
            let observed = self.traversal.observed(id);
            let state = match observed {
                Some(_) => RendezvousState::Registered,
                None if rendezvous.failures >= TRIES => RendezvousState::Unreachable,
                None => RendezvousState::Connecting,
            };
            let (address, rtt) = (rendezvous.address.clone(), rendezvous.rtt);
            let mailbox = self.mailbox.state(id);
            RendezvousStatus { address, state, observed, rtt, transport: self.transport(id), mailbox }
        };
        self.rendezvous.iter().enumerate().map(status).collect()
    }
}
