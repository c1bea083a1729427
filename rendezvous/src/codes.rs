//! One-time codes: the number leads whoever types it to whoever made it, and a few messages pass between the two that are
//! read by neither us nor anybody else (docs/protocol.md, "Codes").
//!
//! Who takes a number up has it: nobody else is led to its maker, whatever he guesses. All of it is bounded: so many
//! numbers, one for each maker, for ten minutes and a few messages; and what one peer may open or take up is rationed, and
//! what one network may, since whoever wants has as many keys as he likes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use knothole_proto::control::{MAX_CODE_MESSAGE, ToPeer};
use knothole_proto::identity::PeerId;

use crate::admission::{Admission, Network, Rate};
use crate::server::Server;

/// Open codes at once: numbers have three digits at most, and who waits for one waits minutes.
const MAX_CODES: u16 = 999;

/// How long a code is open: time enough to find somebody at a telephone.
const LIFETIME: Duration = Duration::from_secs(600);

/// Messages between the two ends: an exchange takes four.
const MAX_MESSAGES: u8 = 8;

/// Open codes of one network at once: some people behind one router, and a long way from all.
const MAX_OF_NETWORK: usize = 16;

/// What one peer, or one network, may open or take up: eight at once, one in half a minute in the long run. Whoever guesses others' words has so
/// many guesses, each of which burns a code.
const RATE: Rate = Rate { burst: 8 * COST, per_second: 1 };
const COST: u32 = 30;

/// An open code.
struct Code {
    maker: PeerId,
    network: Option<Network>,
    joiner: Option<PeerId>,
    ends: Instant,
    messages: u8,
}

/// Who opens or takes up a code: whose key, and in which network, unless that is this machine.
#[derive(Clone, Copy)]
struct Party {
    peer: PeerId,
    network: Option<Network>,
}

/// All open codes, and who may have more.
pub(crate) struct Codes {
    open: BTreeMap<u16, Code>,
    ration: Admission,
}

impl Codes {
    pub(crate) fn new(seed: [u8; 16], start: Instant) -> Self {
        Self { open: BTreeMap::new(), ration: Admission::new(RATE, seed, start) }
    }

    /// The smallest free number, for a new code of this maker's, who has no other then.
    fn open(&mut self, Party { peer: maker, network }: Party, now: Instant) -> Option<u16> {
        self.open.retain(|_, code| code.ends > now && code.maker != maker);
        let of_network =
            network.map_or(0, |network| self.open.values().filter(|code| code.network == Some(network)).count());
        if of_network >= MAX_OF_NETWORK || !admits(&mut self.ration, Party { peer: maker, network }, now) {
            return None;
        }
        let number = (1..=MAX_CODES).find(|number| !self.open.contains_key(number))?;
        self.open.insert(number, Code { maker, network, joiner: None, ends: now + LIFETIME, messages: 0 });
        Some(number)
    }

    /// Whom a message on this number goes to. `None`: the sender has no part in such a code, and is to be told so.
    fn pass(&mut self, number: u16, party: Party, now: Instant) -> Option<PeerId> {
        let from = party.peer;
        let code = self.open.get_mut(&number).filter(|code| code.ends > now && code.messages < MAX_MESSAGES)?;
        let to = match code.joiner {
            Some(joiner) if code.maker == from => joiner,
            Some(joiner) if joiner == from => code.maker,
            // Asked for only where it costs a code: a number that nobody has tells nothing.
            None if code.maker != from && admits(&mut self.ration, party, now) => {
                code.joiner = Some(from);
                code.maker
            }
            _ => return None,
        };
        code.messages += 1;
        Some(to)
    }

    /// Ends a code for one of its two ends; the other, if there is one.
    fn close(&mut self, number: u16, by: PeerId) -> Option<PeerId> {
        let code = self.open.get(&number).filter(|code| code.maker == by || code.joiner == Some(by))?;
        let other = if code.maker == by { code.joiner } else { Some(code.maker) };
        self.open.remove(&number);
        other
    }
}

/// Whether one more may be opened or taken up.
fn admits(ration: &mut Admission, Party { peer, network }: Party, now: Instant) -> bool {
    // A peer that has had its own takes none from those beside it.
    ration.admits_peer_for(peer, COST, now)
        && network.is_none_or(|network| ration.admits_network_for(network, COST, now))
}

impl Server {
    /// The peer in this slot, and its network as far as it has been proved.
    fn party(&mut self, now: Instant, slot: u32) -> Option<Party> {
        let registration = &self.registry.at(slot, now)?.registration;
        Some(Party { peer: registration.peer(), network: Network::of(registration.address()) })
    }

    pub(crate) fn open_code(&mut self, now: Instant, slot: u32) {
        let Some(maker) = self.party(now, slot) else { return };
        let number = self.codes.open(maker, now);
        self.say(now, slot, ToPeer::CodeOpened { number });
    }

    pub(crate) fn pass_on_code(&mut self, now: Instant, slot: u32, number: u16, message: Vec<u8>) {
        let Some(from) = self.party(now, slot) else { return };
        let to = self.codes.pass(number, from, now).filter(|_| message.len() <= MAX_CODE_MESSAGE);
        let recipient = to.and_then(|to| self.registry.find(to, now));
        let said = recipient.is_some_and(|to| self.say(now, to, ToPeer::Code { number, message }));
        if !said {
            self.say(now, slot, ToPeer::CodeClosed { number });
        }
    }

    pub(crate) fn close_code(&mut self, now: Instant, slot: u32, number: u16) {
        let Some(by) = self.registry.at(slot, now).map(|entry| entry.registration.peer()) else { return };
        let other = self.codes.close(number, by).and_then(|other| self.registry.find(other, now));
        if let Some(other) = other {
            self.say(now, other, ToPeer::CodeClosed { number });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::{Ipv4Addr, SocketAddr};

    /// Each in a network of its own.
    fn party(n: u16) -> Party {
        Party { peer: peer(n), network: network(n) }
    }

    fn network(n: u16) -> Option<Network> {
        let [high, low] = n.to_be_bytes();
        Network::of(SocketAddr::from((Ipv4Addr::new(198, 18, high, low), 4000)))
    }

    fn peer(n: u16) -> PeerId {
        let [high, low] = n.to_be_bytes();
        let mut id = [7; 32];
        (id[0], id[1]) = (high, low);
        PeerId::new(id)
    }

    fn codes() -> (Codes, Instant) {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        (Codes::new([1; 16], now), now)
    }

    #[test]
    fn the_smallest_free_number_is_given_one_for_each_maker() {
        let (mut codes, now) = codes();
        assert_eq!([1, 2, 3].map(|n| codes.open(party(n), now)), [Some(1), Some(2), Some(3)]);
        assert_eq!(codes.open(party(2), now), Some(2), "the first one of its maker is gone");
        assert_eq!(codes.close(1, peer(1)), None);
        assert_eq!(codes.open(party(4), now), Some(1));
    }

    #[test]
    fn the_first_who_types_it_has_the_code_and_nobody_else_reaches_its_maker() {
        let (mut codes, now) = codes();
        codes.open(party(1), now);
        assert_eq!(codes.pass(1, party(1), now), None, "there is no other end yet");
        assert_eq!(codes.pass(1, party(2), now), Some(peer(1)));
        assert_eq!(codes.pass(1, party(3), now), None);
        assert_eq!(codes.pass(1, party(1), now), Some(peer(2)));
        assert_eq!(codes.pass(2, party(2), now), None);
        assert_eq!(codes.close(1, peer(3)), None, "it is not a stranger's to end");
        assert_eq!(codes.close(1, peer(2)), Some(peer(1)));
        assert_eq!(codes.pass(1, party(1), now), None);
    }

    #[test]
    fn a_code_ends_after_ten_minutes_or_some_messages() {
        let (mut codes, now) = codes();
        codes.open(party(1), now);
        assert_eq!(codes.pass(1, party(2), now + LIFETIME), None);
        let passed = (0..100).filter(|_| codes.pass(1, party(2), now).is_some()).count();
        assert_eq!(passed, usize::from(MAX_MESSAGES));
    }

    #[test]
    fn one_peer_opens_and_takes_up_eight_at_once_and_all_peers_together_999() {
        let (mut codes, now) = codes();
        let opened = (0..100).filter(|_| codes.open(party(1), now).is_some()).count();
        assert_eq!(opened, 8);
        for n in 2..=900 {
            codes.open(party(n), now);
        }
        let taken = (2..=100).filter(|number| codes.pass(*number, party(2000), now).is_some()).count();
        assert_eq!(taken, 8, "each of which would cost a code");
        let later = now + Duration::from_secs(30);
        assert!(codes.pass(101, party(2000), later).is_some());
        for n in 901..1100 {
            codes.open(party(n), now);
        }
        assert_eq!(codes.open.len(), usize::from(MAX_CODES));
    }

    #[test]
    fn one_network_opens_and_takes_up_no_more_with_many_keys_and_has_sixteen_open_at_most() {
        let (mut codes, now) = codes();
        let of = |n: u16, home: u16| Party { peer: peer(n), network: network(home) };
        let opened = (0..500).filter(|n| codes.open(of(*n, 0), now).is_some()).count();
        assert_eq!(opened, 8);
        for n in 1000..1100 {
            codes.open(party(n), now);
        }
        let taken = (9..=108).filter(|number| codes.pass(*number, of(500 + number, 0), now).is_some()).count();
        assert_eq!(taken, 0, "it has had its own");
        let taken = (9..=108).filter(|number| codes.pass(*number, of(500 + number, 1), now).is_some()).count();
        assert_eq!(taken, 8, "each of which burns a code");
        let later = |n: u16| now + Duration::from_secs(30) * u32::from(n);
        let more = (1..=15).filter(|n| codes.open(of(700 + n, 0), later(*n)).is_some()).count();
        assert_eq!(more, 8, "with the eight that are open");
        assert!(codes.open(party(2000), later(15)).is_some(), "and another's are its own");
    }
}
