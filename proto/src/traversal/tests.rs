//! Two traversals on one wire, introduced by their announcements on the LAN, with what stands for their connection.

use super::*;
use crate::candidate::{Candidate, CandidateKind, IntroductionId};
use crate::control::{Opened, RendezvousChannel, ToPeer, ToRendezvous};
use crate::lan::{Announcement, LanSalt, tag};
use crate::registration::SignInAnswer;
use crate::seal::RegistrationSecret;
use crate::stun::server::{Place, answer};

const RENDEZVOUS: RendezvousId = RendezvousId(0);
const CONTACT: ContactId = ContactId(0);
const DELAY: Duration = Duration::from_millis(20);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn rendezvous() -> SocketAddr {
    address("198.51.100.1:3478")
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

struct End {
    traversal: Traversal,
    me: PeerId,
    salt: LanSalt,
    /// Where its datagrams come from, and where it is reached.
    at: SocketAddr,
    events: Vec<(Duration, Event)>,
}

struct Wire {
    start: Instant,
    now: Instant,
    ends: [End; 2],
    under_way: Vec<(Instant, usize, SocketAddr, Vec<u8>)>,
    /// Whether datagrams arrive at all.
    cut: bool,
    /// Whether notes do: the connection is up.
    linked: bool,
    /// What the first end has said to its rendezvous.
    said: Vec<Vec<u8>>,
    /// Datagrams from each end to the other.
    sent: [usize; 2],
}

impl Wire {
    fn new(addresses: [&str; 2]) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let start = Instant::now();
        let end = |index: usize| {
            let (me, other) = (PeerId::new([1 + index as u8; 32]), PeerId::new([2 - index as u8; 32]));
            let mut traversal = Traversal::new(me, Config::default(), [index as u8; 32]);
            traversal.add_contact(CONTACT, other, Vec::new());
            let at = address(addresses[index]);
            End { traversal, me, salt: LanSalt([index as u8; 12]), at, events: Vec::new() }
        };
        let (under_way, said) = (Vec::new(), Vec::new());
        Self { start, now: start, ends: [end(0), end(1)], under_way, cut: false, linked: false, said, sent: [0; 2] }
    }

    fn announcement(&self, of: usize) -> Announcement {
        let End { me, salt, at, .. } = &self.ends[of];
        Announcement { salt: *salt, tag: tag(*salt, me), addresses: vec![*at] }
    }

    /// Lets one end hear the other's announcement.
    fn hears(&mut self, end: usize) {
        let announcement = self.announcement(1 - end);
        let End { traversal, salt, .. } = &mut self.ends[end];
        traversal.handle_announcement(&announcement, *salt, self.now);
    }

    fn meet(&mut self) {
        self.hears(0);
        self.hears(1);
        self.run(ms(500));
        assert!(self.ends.iter().all(|end| end.traversal.path(CONTACT).is_some()));
    }

    fn link(&mut self) {
        self.linked = true;
        let now = self.now;
        self.ends.iter_mut().for_each(|end| end.traversal.handle_link_up(CONTACT, now));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let timeouts = self.ends.iter().filter_map(|end| end.traversal.poll_timeout());
            let next = timeouts.chain(self.under_way.iter().map(|(at, ..)| *at)).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            let now = self.now;
            let arrived: Vec<_> = self.under_way.extract_if(.., |(at, ..)| *at <= now).collect();
            for (_, to, from, payload) in arrived {
                self.ends[to].traversal.handle_datagram(Base::MAIN, from, &payload, now);
            }
            self.ends.iter_mut().for_each(|end| end.traversal.handle_timeout(now));
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for index in [0, 1] {
            while let Some(event) = self.ends[index].traversal.poll_event() {
                if let Event::Note { note, .. } = &event
                    && self.linked
                {
                    let now = self.now;
                    self.ends[1 - index].traversal.handle_note(CONTACT, note, now);
                }
                self.ends[index].events.push((self.now - self.start, event));
            }
            while let Some(transmit) = self.ends[index].traversal.poll_transmit(self.now) {
                let (from, other) = (self.ends[index].at, self.ends[1 - index].at);
                self.sent[index] += usize::from(transmit.to == other);
                if transmit.to == other && !self.cut {
                    self.under_way.push((self.now + DELAY, 1 - index, from, transmit.payload));
                } else if transmit.to == rendezvous() && index == 0 {
                    self.said.push(transmit.payload);
                }
            }
        }
    }

    fn told(&self, end: usize, wanted: impl Fn(&Event) -> bool) -> usize {
        self.ends[end].events.iter().filter(|(_, event)| wanted(event)).count()
    }
}

fn lost(event: &Event) -> bool {
    matches!(event, Event::PathLost(_))
}

#[test]
fn one_from_whom_we_hide_is_sent_nothing_and_answered_nothing_and_met_again_when_we_do_not() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    wire.meet();
    let now = wire.now;
    wire.ends[0].traversal.set_hidden(CONTACT, true, now);
    wire.run(ms(50));
    let before = wire.sent;
    wire.hears(0);
    wire.hears(1);
    let now = wire.now;
    wire.ends[0].traversal.connect(CONTACT, now);
    wire.ends[0].traversal.handle_network_change(now);
    wire.run(ms(60_000));
    assert_eq!(wire.sent[0], before[0]);
    assert!(wire.sent[1] > before[1]);
    assert_eq!(wire.told(1, lost), 1);
    let now = wire.now;
    wire.ends[0].traversal.set_hidden(CONTACT, false, now);
    for end in &mut wire.ends {
        end.salt.0[11] += 1;
    }
    wire.meet();
}

#[test]
fn contacts_that_hear_each_other_on_the_lan_find_a_path_and_the_smaller_id_dials() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    wire.meet();
    assert_eq!(wire.told(0, |event| matches!(event, Event::Dial(_))), 1);
    assert_eq!(wire.told(1, |event| matches!(event, Event::Dial(_))), 0);
}

#[test]
fn one_that_recognises_the_other_later_is_still_found() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    wire.hears(0);
    wire.run(Duration::from_secs(60));
    assert!(wire.ends[0].traversal.path(CONTACT).is_none());
    wire.hears(1);
    wire.run(ms(500));
    assert!(wire.ends.iter().all(|end| end.traversal.path(CONTACT).is_some()));
}

#[test]
fn a_strangers_announcement_leads_to_nothing_and_a_contact_s_to_no_address_off_the_lan() {
    let mut wire = Wire::new(["10.0.0.1:9", "203.0.113.2:9"]);
    let stranger = PeerId::new([77; 32]);
    let salt = LanSalt([7; 12]);
    let addresses = vec![address("10.0.0.9:9")];
    let (now, ours) = (wire.now, wire.ends[0].salt);
    let announcement = Announcement { salt, tag: tag(salt, &stranger), addresses };
    let traversal = &mut wire.ends[0].traversal;
    traversal.handle_announcement(&announcement, ours, now);
    assert_eq!((traversal.poll_transmit(now), traversal.poll_timeout()), (None, None));
    wire.hears(0);
    assert_eq!(wire.ends[0].traversal.poll_transmit(now), None);
}

#[test]
fn a_contact_that_announces_itself_without_end_is_not_followed_without_end() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    let (me, now, ours) = (wire.ends[1].me, wire.now, wire.ends[0].salt);
    let traversal = &mut wire.ends[0].traversal;
    let mut checks = 0;
    for n in 0..200_u8 {
        let salt = LanSalt([n; 12]);
        let addresses = vec![SocketAddr::from(([10, 0, 1, n], 9))];
        traversal.handle_announcement(&Announcement { salt, tag: tag(salt, &me), addresses }, ours, now);
        checks += std::iter::from_fn(|| traversal.poll_transmit(now)).count();
    }
    let (end, mut now) = (now + Duration::from_secs(60), now);
    while let Some(due) = traversal.poll_timeout().filter(|due| *due <= end) {
        now = now.max(due);
        traversal.handle_timeout(now);
        checks += std::iter::from_fn(|| traversal.poll_transmit(now)).count();
    }
    assert!(checks <= 8 * 24, "eight introductions of one address, 24 checks each: {checks}");
}

#[test]
fn private_addresses_are_told_over_the_connection_once_it_is_up_and_again_when_they_change() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    let now = wire.now;
    wire.ends[1].traversal.set_hosts(vec![address("192.168.7.2:9")], now);
    wire.meet();
    // Candidates are the first kind of note; others are none of this.
    let told = |event: &Event| matches!(event, Event::Note { note, .. } if note.first() == Some(&0));
    assert_eq!(wire.told(1, told), 0);
    wire.link();
    wire.run(ms(100));
    assert_eq!(wire.told(1, told), 1);
    let now = wire.now;
    wire.ends[1].traversal.set_hosts(vec![address("192.168.7.2:9")], now);
    wire.run(ms(100));
    assert_eq!(wire.told(1, told), 1, "nothing is new");
    wire.ends[1].at = address("192.168.8.2:9");
    let now = wire.now;
    wire.ends[1].traversal.set_hosts(vec![address("192.168.8.2:9")], now);
    wire.run(ms(500));
    assert_eq!(wire.told(1, told), 2);
    assert_eq!(wire.ends[0].traversal.path(CONTACT).map(|(remote, _)| remote), Some(address("192.168.8.2:9")));
}

#[test]
fn a_connection_that_takes_another_s_place_is_told_all_again() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    let now = wire.now;
    wire.ends[1].traversal.set_hosts(vec![address("192.168.7.2:9")], now);
    wire.meet();
    // What goes by the first one is lost.
    wire.ends[1].traversal.handle_link_up(CONTACT, now);
    wire.run(ms(100));
    let before = wire.told(1, |event| matches!(event, Event::Note { note, .. } if note.first() == Some(&0)));
    wire.link();
    wire.run(ms(100));
    let after = wire.told(1, |event| matches!(event, Event::Note { note, .. } if note.first() == Some(&0)));
    assert_eq!((before, after), (1, 2));
}

/// Two ends with a path, the first of which has asked for another introduction all the same.
fn asking_beside_a_path(registered: bool) -> (Wire, RendezvousChannel) {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    let (now, secret) = (wire.now, RegistrationSecret([3; 32]));
    let traversal = &mut wire.ends[0].traversal;
    traversal.add_contact(CONTACT, PeerId::new([2; 32]), vec![RENDEZVOUS]);
    traversal.add_rendezvous(RENDEZVOUS, now);
    traversal.handle_timeout(now);
    if registered {
        let observed = address("203.0.113.1:9");
        let answer = SignInAnswer::Registered { slot: 5, lifetime_s: 40, observed, ticket: Vec::new() };
        traversal.handle_signed_in(RENDEZVOUS, rendezvous(), &answer, &secret, now);
    }
    wire.meet();
    wire.link();
    for host in ["10.0.0.1:9", "10.0.9.1:9", "10.0.0.1:9"] {
        wire.run(ms(100));
        let now = wire.now;
        wire.ends[0].traversal.set_hosts(vec![address(host)], now);
    }
    (wire, RendezvousChannel::of_rendezvous(&secret, 5))
}

fn unreachable(event: &Event) -> bool {
    matches!(event, Event::Unreachable { .. })
}

#[test]
fn a_contact_with_a_path_is_not_called_unreachable_when_no_rendezvous_answers() {
    let (mut wire, _) = asking_beside_a_path(false);
    assert!(wire.ends[0].traversal.contacts[&CONTACT].is_waiting());
    let now = wire.now;
    wire.ends[0].traversal.handle_sign_in_failed(RENDEZVOUS, now);
    wire.run(ms(100));
    assert!(wire.ends[0].traversal.path(CONTACT).is_some());
    assert_eq!(wire.told(0, unreachable), 0);
}

#[test]
fn a_contact_with_a_path_that_its_rendezvous_does_not_know_is_neither_lost_nor_asked_for_again() {
    let (mut wire, mut channel) = asking_beside_a_path(true);
    let mut invitations = 0;
    for _ in 0..100 {
        wire.run(ms(100));
        let now = wire.now;
        for said in std::mem::take(&mut wire.said) {
            let Some(header) = Header::parse(&said) else { continue };
            if let Opened::Fresh(Some(ToRendezvous::Invite { introduction, .. })) = channel.handle(header, &said) {
                invitations += 1;
                channel.send(ToPeer::Absent { introduction }, now).unwrap();
            }
        }
        while let Some(answer) = channel.poll_transmit(now) {
            wire.ends[0].traversal.handle_datagram(Base::MAIN, rendezvous(), &answer, now);
        }
    }
    assert!(wire.ends[0].traversal.path(CONTACT).is_some());
    assert_eq!((invitations, wire.told(0, unreachable)), (1, 0));
}

#[test]
fn a_change_that_the_path_survives_costs_neither_path_nor_invitation() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    wire.meet();
    wire.link();
    let now = wire.now;
    wire.ends[0].traversal.handle_network_change(now);
    wire.run(Duration::from_secs(5));
    assert_eq!(wire.told(0, lost), 0);
    assert!(!wire.ends[0].traversal.contacts[&CONTACT].is_waiting());
}

#[test]
fn after_a_change_that_it_does_not_survive_a_path_is_left_within_400_ms() {
    let mut wire = Wire::new(["10.0.0.1:9", "10.0.0.2:9"]);
    wire.meet();
    wire.link();
    wire.cut = true;
    let now = wire.now;
    wire.ends[0].traversal.handle_network_change(now);
    wire.run(ms(399));
    assert_eq!(wire.told(0, lost), 0, "used on until then");
    wire.run(ms(1));
    assert_eq!(wire.told(0, lost), 1);
}

#[test]
fn whoever_announces_a_contact_without_end_does_not_keep_it_from_inviting_us() {
    let (mut traversal, mut channel, now) = registered();
    for n in 0..200_u8 {
        let salt = LanSalt([n; 12]);
        let addresses = vec![SocketAddr::from(([10, 0, 1, n], 9))];
        let announcement = Announcement { salt, tag: tag(salt, &PeerId::new([2; 32])), addresses };
        traversal.handle_announcement(&announcement, LanSalt([250; 12]), now);
    }
    let invited = ToPeer::Invited {
        introduction: IntroductionId([1; 12]),
        from: PeerId::new([2; 32]),
        observed: address("203.0.113.2:9"),
        key: crate::candidate::CheckKey([4; 20]),
        candidates: Vec::new(),
        channel: None,
        greeting: None,
    };
    channel.send(invited, now).unwrap();
    while let Some(datagram) = channel.poll_transmit(now) {
        traversal.handle_datagram(Base::MAIN, rendezvous(), &datagram, now);
    }
    let sent = std::iter::from_fn(|| traversal.poll_transmit(now));
    let accepts = sent.filter(|sent| {
        let Some(header) = Header::parse(&sent.payload) else { return false };
        matches!(channel.handle(header, &sent.payload), Opened::Fresh(Some(ToRendezvous::Accept { .. })))
    });
    assert_eq!(accepts.count(), 1);
}

/// A traversal that is registered at a rendezvous with two addresses, and the rendezvous' end of the channel.
fn registered() -> (Traversal, RendezvousChannel, Instant) {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    let now = Instant::now();
    let secret = RegistrationSecret([3; 32]);
    let mut traversal = Traversal::new(PeerId::new([1; 32]), Config::default(), [9; 32]);
    traversal.add_rendezvous(RENDEZVOUS, now);
    traversal.handle_timeout(now);
    let answer =
        SignInAnswer::Registered { slot: 5, lifetime_s: 40, observed: address("203.0.113.1:9"), ticket: Vec::new() };
    traversal.handle_signed_in(RENDEZVOUS, rendezvous(), &answer, &secret, now);
    traversal.add_contact(CONTACT, PeerId::new([2; 32]), vec![RENDEZVOUS]);
    (traversal, RendezvousChannel::of_rendezvous(&secret, 5), now)
}

/// The candidates of the invitation that goes out.
fn invited(traversal: &mut Traversal, channel: &mut RendezvousChannel, now: Instant) -> Vec<Candidate> {
    traversal.connect(CONTACT, now);
    traversal.handle_timeout(now);
    while let Some(transmit) = traversal.poll_transmit(now) {
        let Some(header) = Header::parse(&transmit.payload) else { continue };
        if let Opened::Fresh(Some(ToRendezvous::Invite { candidates, .. })) = channel.handle(header, &transmit.payload)
        {
            return candidates;
        }
    }
    panic!("no invitation")
}

#[test]
fn what_the_rendezvous_sees_over_the_other_family_is_asked_and_named_in_invitations() {
    let (mut traversal, mut channel, now) = registered();
    let (there, here) = (address("[2001:db8::53]:3478"), address("[2001:db8::7]:9"));
    traversal.set_other_family(RENDEZVOUS, Some(there), now);
    let mut sent = std::iter::from_fn(|| traversal.poll_transmit(now));
    let asked = sent.find(|transmit| transmit.to == there).unwrap();
    let answer = answer(&asked.payload, here, &Place { local: there, other: None }).unwrap();
    traversal.handle_datagram(Base::MAIN, address("[2001:db8::bad]:3478"), &answer.payload, now);
    assert!(traversal.own.public().is_empty(), "only from where it was asked");
    traversal.handle_datagram(Base::MAIN, there, &answer.payload, now);
    let named = invited(&mut traversal, &mut channel, now);
    assert_eq!(named, [Candidate { address: here, kind: CandidateKind::ServerReflexive }]);
}

#[test]
fn an_unanswered_question_is_repeated_twice_and_then_left() {
    let (mut traversal, _, now) = registered();
    let there = address("[2001:db8::53]:3478");
    traversal.set_other_family(RENDEZVOUS, Some(there), now);
    let mut asked = Vec::new();
    for tenth in 0..100 {
        let now = now + ms(100) * tenth;
        traversal.handle_timeout(now);
        asked
            .extend(std::iter::from_fn(|| traversal.poll_transmit(now)).filter(|sent| sent.to == there).map(|_| tenth));
    }
    assert_eq!(asked, [0, 5, 15]);
}

#[test]
fn a_router_s_port_is_named_in_invitations_unless_it_is_no_public_one() {
    let (mut traversal, mut channel, now) = registered();
    for lie in ["192.168.1.1:9", "100.64.0.1:9", "0.0.0.0:9", "203.0.113.1:0", "127.0.0.1:9", "224.0.0.1:9"] {
        traversal.set_port_mapping(Some(address(lie)), now);
        assert!(traversal.own.public().is_empty(), "{lie}");
    }
    let mapped = address("203.0.113.1:4711");
    traversal.set_port_mapping(Some(mapped), now);
    traversal.set_hosts(vec![address("192.168.1.7:9")], now);
    let named = invited(&mut traversal, &mut channel, now);
    assert_eq!(named, [Candidate { address: mapped, kind: CandidateKind::PortMapped }]);
}
