//! A rendezvous and its peers without sockets or a clock: what the tests of the pure machine stand on.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test's helper: it fails by panicking, and needs some instant to begin with"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::candidate::{Candidate, CandidateKind, IntroductionId};
use knothole_proto::control::{Opened, PeerChannel, ToPeer, ToRendezvous};
use knothole_proto::datagram::{CONTROL, Header};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::registration::{SignInAnswer, SignInRequest};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_rendezvous::{LocalSocket, Policy, Server};

pub(crate) const LOCAL: LocalSocket = LocalSocket(0);

/// A peer with its registration, as far as it has one.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) address: SocketAddr,
    pub(crate) secret: RegistrationSecret,
    pub(crate) slot: u32,
    pub(crate) counter: u64,
    pub(crate) channel: PeerChannel,
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) now: Instant,
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn host(text: &str) -> Candidate {
    Candidate { address: address(text), kind: CandidateKind::Host }
}

pub(crate) fn introduction(n: u8) -> IntroductionId {
    IntroductionId([n; 12])
}

impl World {
    pub(crate) fn new(policy: Policy) -> Self {
        let now = Instant::now();
        Self { server: Server::new(policy, [7; 32], now), now }
    }

    /// A peer that signs in from 198.51.100.`n`, with a keepalive every `interval_s` seconds.
    pub(crate) fn sign_in(&mut self, n: u8, interval_s: u16) -> Peer {
        self.try_sign_in(n, interval_s, 0).unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// The same; `run` makes its secret another one.
    pub(crate) fn try_sign_in(&mut self, n: u8, interval_s: u16, run: u8) -> Result<Peer, SignInAnswer> {
        self.sign_in_as(n, run, &SignInRequest { interval_s, unseen: false })
    }

    /// A peer that signs in with this request.
    pub(crate) fn sign_in_as(&mut self, n: u8, run: u8, request: &SignInRequest) -> Result<Peer, SignInAnswer> {
        let id = PeerId::new([n; 32]);
        let address = SocketAddr::from(([198, 51, 100, n], 4000));
        let secret = RegistrationSecret([n ^ run; 32]);
        let answer = self.server.sign_in(self.now, LOCAL, id, address, request, &secret);
        let SignInAnswer::Registered { slot, observed, .. } = answer else { return Err(answer) };
        assert_eq!(observed, address);
        let channel = PeerChannel::of_peer(&secret, slot);
        Ok(Peer { id, address, secret, slot, counter: 0, channel })
    }

    pub(crate) fn advance(&mut self, duration: Duration) {
        self.now += duration;
        self.server.handle_timeout(self.now);
    }

    /// Hands a datagram in and returns all that comes out: to whom, and the bytes.
    pub(crate) fn hand(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        self.server.handle_datagram(self.now, from, LOCAL, datagram);
        self.drain()
    }

    pub(crate) fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let (server, now) = (&mut self.server, self.now);
        std::iter::from_fn(|| server.poll_transmit(now)).map(|(_, transmit)| (transmit.to, transmit.payload)).collect()
    }

    /// The peer sends a keepalive from its address; returns the answers.
    pub(crate) fn keepalive(&mut self, peer: &mut Peer, asks: bool) -> Vec<(SocketAddr, Vec<u8>)> {
        peer.counter += 1;
        let datagram = keepalive::keepalive(&TagKey::new(&peer.secret), peer.slot, peer.counter, asks);
        self.hand(peer.address, &datagram)
    }

    /// The peer says something. What the rendezvous says to anybody in turn comes back as datagrams.
    pub(crate) fn say(&mut self, peer: &mut Peer, message: ToRendezvous) -> Vec<(SocketAddr, Vec<u8>)> {
        peer.channel.send(message, self.now).unwrap();
        let mut answers = Vec::new();
        while let Some(datagram) = peer.channel.poll_transmit(self.now) {
            answers.extend(self.hand(peer.address, &datagram));
        }
        answers
    }

    /// The inviter invites, the invitee accepts, and all that is said is acknowledged; returns what either heard.
    pub(crate) fn introduce(&mut self, inviter: &mut Peer, invitee: &mut Peer, n: u8) -> [Vec<ToPeer>; 2] {
        let out = self.say(inviter, invitee.invite(n));
        let mut heard = [inviter.hear(&out), invitee.hear(&out)];
        let accept = ToRendezvous::Accept {
            introduction: introduction(n),
            to: inviter.id,
            candidates: Vec::new(),
            relay_only: false,
        };
        let out = self.say(invitee, accept);
        heard[0].extend(inviter.hear(&out));
        heard[1].extend(invitee.hear(&out));
        self.acknowledge(&mut [inviter, invitee]);
        heard
    }

    /// The relay channel that an introduction opens.
    pub(crate) fn relay_channel(&mut self, inviter: &mut Peer, invitee: &mut Peer, n: u8) -> u32 {
        let [heard, _] = self.introduce(inviter, invitee, n);
        let channel = heard.iter().find_map(|said| match said {
            ToPeer::Relay { channel, .. } => Some(*channel),
            _ => None,
        });
        channel.unwrap_or_else(|| panic!("no channel: {heard:?}"))
    }

    /// The peers send what they still have to say.
    pub(crate) fn acknowledge(&mut self, peers: &mut [&mut Peer]) {
        for peer in peers {
            while let Some(datagram) = peer.channel.poll_transmit(self.now) {
                let out = self.hand(peer.address, &datagram);
                assert_eq!(out, [], "an acknowledgement is not answered");
            }
        }
    }
}

impl Peer {
    /// What the control datagrams among these say to this peer.
    pub(crate) fn hear(&mut self, datagrams: &[(SocketAddr, Vec<u8>)]) -> Vec<ToPeer> {
        let mut heard = Vec::new();
        for (to, datagram) in datagrams {
            let header = Header::parse(datagram).unwrap();
            if *to == self.address
                && header.kind == CONTROL
                && let Opened::Fresh(Some(message)) = self.channel.handle(header, datagram)
            {
                heard.push(message);
            }
        }
        heard
    }

    /// What the rendezvous says about keepalives, told by a datagram of its.
    pub(crate) fn read(&self, datagram: &[u8]) -> Option<FromRendezvous> {
        keepalive::parse_from_rendezvous(&TagKey::new(&self.secret), Header::parse(datagram)?, datagram)
    }

    pub(crate) fn invite(&self, n: u8) -> ToRendezvous {
        ToRendezvous::Invite {
            introduction: introduction(n),
            to: self.id,
            candidates: vec![host("192.168.1.2:5000")],
            relay_only: false,
            greeting: None,
        }
    }
}
