//! A peer: its traversal, and just enough of a socket and of QUIC around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use knothole_proto::datagram::{Kind, classify};
use knothole_proto::hops::{PROBED_TTLS, opener_ttl};
use knothole_proto::identity::PeerId;
use knothole_proto::path::{Base, Config};
use knothole_proto::registration::{SignInAnswer, from_bytes};
use knothole_proto::seal::RegistrationSecret;
use knothole_proto::traversal::{ContactId, Event, RendezvousId, Traversal};

use super::{ECHO, SIGN_IN, SIGNED_IN, WORD};
use crate::packet::{DEFAULT_TTL, Packet};
use crate::world::HostId;

const PORT: u16 = 40_000;
/// The sockets that find out how far openers must go; below those of [`BASE_PORT`].
const PROBE_PORT: u16 = 41_000;
/// The first of the sockets that are opened for hard NATs.
const BASE_PORT: u16 = 42_000;
const RENDEZVOUS: RendezvousId = RendezvousId(0);
/// A sign-in, or a word to a peer, is repeated after this while it is unanswered, as QUIC would.
const REPEAT: Duration = Duration::from_millis(300);

/// One peer.
pub struct Node {
    host: HostId,
    socket: SocketAddr,
    me: PeerId,
    rendezvous: SocketAddr,
    traversal: Traversal,
    contacts: u32,
    signing_in: Option<(Instant, [u8; 32])>,
    sign_ins: u8,
    registered: bool,
    routes: BTreeMap<ContactId, Route>,
    admitted: BTreeMap<(Base, SocketAddr), ContactId>,
    /// The further sockets that are open, and the most that ever were.
    bases: BTreeSet<Base>,
    most_bases: usize,
    next_base: u16,
    /// So many sockets it opens at once, and no more.
    sockets: u16,
    /// Contacts to whom there is a relay.
    relays: BTreeSet<ContactId>,
    notes: VecDeque<(ContactId, Vec<u8>)>,
    outgoing: VecDeque<Packet>,
    /// Whether it is ours to speak first.
    speaker: bool,
    unreachable: Vec<(Instant, knothole_proto::traversal::Unreachable)>,
    strangers: BTreeSet<SocketAddr>,
    /// The routers on the way to the rendezvous, as far as they reported dead probes.
    routers: Vec<(u8, IpAddr)>,
}

struct Route {
    base: Base,
    remote: SocketAddr,
    speaks: Option<Instant>,
    echoed: bool,
}

impl Node {
    pub(super) fn new(
        host: HostId,
        address: IpAddr,
        me: PeerId,
        others: &[PeerId],
        rendezvous: SocketAddr,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let socket = SocketAddr::new(address, PORT);
        let mut traversal = Traversal::new(me, Config::default(), seed);
        traversal.set_hosts(vec![socket], now);
        traversal.add_rendezvous(RENDEZVOUS, now);
        for (index, peer) in (0..).zip(others) {
            traversal.add_contact(ContactId(index), *peer, vec![RENDEZVOUS]);
        }
        Self {
            host,
            socket,
            me,
            rendezvous,
            traversal,
            contacts: others.len() as u32,
            signing_in: None,
            sign_ins: 0,
            registered: false,
            routes: BTreeMap::new(),
            admitted: BTreeMap::new(),
            bases: BTreeSet::new(),
            most_bases: 0,
            next_base: 1,
            sockets: u16::MAX,
            relays: BTreeSet::new(),
            notes: VecDeque::new(),
            outgoing: VecDeque::new(),
            speaker: false,
            unreachable: Vec::new(),
            strangers: BTreeSet::new(),
            routers: Vec::new(),
        }
    }

    /// Where it is.
    pub const fn host(&self) -> HostId {
        self.host
    }

    /// Whether the rendezvous knows it.
    pub const fn is_registered(&self) -> bool {
        self.registered
    }

    /// Whether it has a path to its first contact.
    pub fn has_path(&self) -> bool {
        self.routes.contains_key(&ContactId(0))
    }

    /// The address of its path to its first contact.
    pub fn path(&self) -> Option<SocketAddr> {
        self.routes.get(&ContactId(0)).map(|route| route.remote)
    }

    /// Further sockets that are open.
    pub fn bases(&self) -> usize {
        self.bases.len()
    }

    /// The most further sockets that were ever open at once.
    pub const fn most_bases(&self) -> usize {
        self.most_bases
    }

    /// The machine itself.
    pub const fn traversal(&self) -> &Traversal {
        &self.traversal
    }

    /// Lets openers go so far, whatever the routers said.
    pub fn set_opener_ttl(&mut self, ttl: u8) {
        self.traversal.set_opener_ttl(ttl);
    }

    /// Lets it open no more than so many sockets at once.
    pub fn set_sockets(&mut self, most: u16) {
        self.sockets = most;
    }

    /// The socket of its path to its first contact.
    pub fn base(&self) -> Option<Base> {
        self.routes.get(&ContactId(0)).map(|route| route.base)
    }

    pub(super) fn has_relay(&self, contact: ContactId) -> bool {
        self.relays.contains(&contact)
    }

    pub(super) fn handle_link_up(&mut self, contact: ContactId, now: Instant) {
        self.traversal.handle_link_up(contact, now);
        self.drain(now);
    }

    /// The contact told us something.
    pub fn handle_note(&mut self, contact: ContactId, note: &[u8], now: Instant) {
        self.traversal.handle_note(contact, note, now);
        self.drain(now);
    }

    pub(super) fn poll_note(&mut self) -> Option<(ContactId, Vec<u8>)> {
        self.notes.pop_front()
    }

    fn source(&self, base: Base) -> SocketAddr {
        let port = if base == Base::MAIN { PORT } else { BASE_PORT + base.0 };
        SocketAddr::new(self.socket.ip(), port)
    }

    fn open_bases(&mut self, contact: ContactId, count: u16, now: Instant) {
        let count = count.min(self.sockets);
        let opened: Vec<_> = (self.next_base..).take(count.into()).map(Base).collect();
        self.next_base += count;
        self.bases.extend(&opened);
        self.most_bases = self.most_bases.max(self.bases.len());
        self.traversal.handle_bases(contact, &opened, now);
    }

    /// Whether a word of its own was echoed by its first contact.
    pub fn has_echo(&self) -> bool {
        self.routes.get(&ContactId(0)).is_some_and(|route| route.echoed)
    }

    /// Each failure to reach a contact, and why.
    pub fn unreachable(&self) -> &[(Instant, knothole_proto::traversal::Unreachable)] {
        &self.unreachable
    }

    /// Addresses from which words came that no check had admitted: the real socket drops those.
    pub const fn strangers(&self) -> &BTreeSet<SocketAddr> {
        &self.strangers
    }

    pub(super) fn connect(&mut self, now: Instant) {
        for contact in 0..self.contacts {
            self.traversal.connect(ContactId(contact), now);
        }
        self.drain(now);
    }

    pub(super) fn handle(&mut self, packet: &Packet, now: Instant) {
        let Some(&first) = packet.payload.first() else { return };
        let base = Base(packet.dst.port().saturating_sub(BASE_PORT));
        if base != Base::MAIN && !self.bases.contains(&base) {
            return;
        }
        match (classify(first), first) {
            (Kind::Quic, SIGNED_IN) => self.handle_signed_in(packet, now),
            (Kind::Quic, WORD | ECHO) => self.handle_word(base, packet, first, now),
            _ => self.traversal.handle_datagram(base, packet.src, &packet.payload, now),
        }
        self.drain(now);
    }

    /// Finds out how far openers must go. The probes have ports of their own, by which their ends are told apart.
    fn probe(&mut self) {
        for ttl in PROBED_TTLS {
            let source = SocketAddr::new(self.socket.ip(), PROBE_PORT + u16::from(ttl));
            self.outgoing.push_back(Packet::udp(source, self.rendezvous, vec![0]).with_ttl(ttl));
        }
    }

    /// A router says that a packet of ours died there.
    pub(super) fn handle_expired(&mut self, notice: &Packet) {
        if let Some(ttl) = notice.dst.port().checked_sub(PROBE_PORT).and_then(|ttl| u8::try_from(ttl).ok()) {
            self.routers.push((ttl, notice.src.ip()));
            self.traversal.set_opener_ttl(opener_ttl(&self.routers));
        }
    }

    fn handle_signed_in(&mut self, packet: &Packet, now: Instant) {
        let Some((_, secret)) = self.signing_in else { return };
        let Some((answered, answer)) = packet.payload.get(1..).and_then(<[u8]>::split_first_chunk::<32>) else {
            return;
        };
        if let Some(answer) = from_bytes::<SignInAnswer>(answer).filter(|_| *answered == secret) {
            self.signing_in = None;
            self.traversal.handle_signed_in(RENDEZVOUS, packet.src, &answer, &RegistrationSecret(secret), now);
        }
    }

    fn handle_word(&mut self, base: Base, packet: &Packet, first: u8, now: Instant) {
        let Some(&contact) = self.admitted.get(&(base, packet.src)) else {
            self.strangers.insert(packet.src);
            return;
        };
        if first == ECHO {
            if let Some(route) = self.routes.get_mut(&contact) {
                route.echoed = true;
                route.speaks = None;
            }
        } else if let Some(route) = self.routes.get(&contact) {
            let echo = Packet::udp(self.source(route.base), route.remote, vec![ECHO]);
            self.outgoing.push_back(echo);
        }
        self.traversal.handle_received(contact, base, packet.src, now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.traversal.poll_event() {
            match event {
                Event::SignIn(_) => {
                    self.sign_ins += 1;
                    let mut secret = *self.me.as_bytes();
                    secret[31] = self.sign_ins;
                    self.signing_in = Some((now, secret));
                }
                Event::Registered { .. } => {
                    self.registered = true;
                    self.probe();
                }
                Event::Unregistered(_) => self.registered = false,
                Event::Admit { contact, base, remote, .. } => {
                    self.admitted.insert((base, remote), contact);
                }
                Event::Revoke { base, remote, .. } => {
                    self.admitted.remove(&(base, remote));
                }
                Event::Dial(contact) => {
                    self.speaker = true;
                    if let Some(route) = self.routes.get_mut(&contact) {
                        route.speaks = Some(now);
                    }
                }
                Event::Path { contact, base, remote, .. } => {
                    self.admitted.insert((base, remote), contact);
                    // What was being said is said on the new path.
                    let speaks = self.speaker.then_some(now);
                    self.routes.insert(contact, Route { base, remote, speaks, echoed: false });
                }
                Event::PathLost(contact) | Event::PathLeft { contact, .. } => {
                    self.routes.remove(&contact);
                }
                Event::Unreachable { why, .. } => self.unreachable.push((now, why)),
                Event::OpenBases { contact, count } => self.open_bases(contact, count, now),
                Event::CloseBase(base) => {
                    self.bases.remove(&base);
                }
                Event::Relay { contact, .. } => {
                    self.relays.insert(contact);
                }
                Event::RelayClosed(contact) => {
                    self.relays.remove(&contact);
                }
                Event::Note { contact, note } => self.notes.push_back((contact, note)),
                Event::Request { .. }
                | Event::CodeOpened { .. }
                | Event::Code { .. }
                | Event::CodeClosed { .. }
                | Event::Flight { .. }
                | Event::Offered { .. }
                | Event::Grounded(_)
                | Event::Remember
                | Event::Posted { .. }
                | Event::Mailbox { .. }
                | Event::Letter { .. }
                | Event::Presence { .. } => {}
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.traversal.handle_timeout(now);
        self.drain(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let signing_in = self.signing_in.map(|(due, _)| due);
        let speaks = self.routes.values().filter_map(|route| route.speaks).min();
        [self.traversal.poll_timeout(), signing_in, speaks].into_iter().flatten().min()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        if let Some(packet) = self.outgoing.pop_front() {
            return Some(packet);
        }
        if let Some((due, secret)) = self.signing_in.as_mut().filter(|(due, _)| *due <= now) {
            *due = now + REPEAT;
            let payload = [&[SIGN_IN][..], self.me.as_bytes(), &secret[..]].concat();
            return Some(Packet::udp(self.socket, self.rendezvous, payload));
        }
        let due = |route: &&mut Route| route.speaks.is_some_and(|due| due <= now);
        if let Some(route) = self.routes.values_mut().find(due) {
            route.speaks = Some(now + REPEAT);
            let (base, remote) = (route.base, route.remote);
            return Some(Packet::udp(self.source(base), remote, vec![WORD]));
        }
        let transmit = self.traversal.poll_transmit(now)?;
        let ttl = transmit.ttl.unwrap_or(DEFAULT_TTL);
        Some(Packet::udp(self.source(transmit.base), transmit.to, transmit.payload).with_ttl(ttl))
    }
}
