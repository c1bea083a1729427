//! Contacts on one LAN without a rendezvous: what a peer announces there, who recognises it, and the introduction that two
//! who recognise each other have in common. Layout: docs/protocol.md, "LAN".
//!
//! An announcement shows strangers a random salt, new at every start, and a tag that only those can make who know the
//! peer's id: whoever does not know it cannot tell who announces, nor that it is the one of yesterday. An announcement
//! proves nothing. The checks that follow it prove that the other side knows both ids; who it is, TLS proves.
//!
//! Not here: multicast DNS, which carries announcements, and its driver.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf;

use crate::candidate::{CheckKey, IntroductionId, is_private, is_reachable};
use crate::identity::PeerId;

/// Addresses of one announcement that are looked at: two families on two links, with room to spare.
pub const MAX_ADDRESSES: usize = 8;

/// What makes announcements of different starts unlike each other: 96 bits of chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LanSalt(pub [u8; 12]);

/// By what those who know a peer's id recognise it. 64 bits: two of a thousand contacts share one never, and one that
/// is guessed leads to checks that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanTag(pub [u8; 8]);

/// One peer's announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Its salt.
    pub salt: LanSalt,
    /// Its tag.
    pub tag: LanTag,
    /// Where it says that it is.
    pub addresses: Vec<SocketAddr>,
}

/// The tag of a peer under a salt.
#[must_use]
pub fn tag(salt: LanSalt, peer: &PeerId) -> LanTag {
    let text = [&b"knothole lan tag 1"[..], &salt.0, peer.as_bytes()].concat();
    let hash = digest(&SHA256, &text);
    LanTag(std::array::from_fn(|i| hash.as_ref()[i]))
}

impl Announcement {
    /// Whether this is the announcement of that peer, as far as an announcement can say so.
    #[must_use]
    pub fn is_of(&self, peer: &PeerId) -> bool {
        tag(self.salt, peer) == self.tag
    }

    /// Of the announced addresses those on a LAN: private ones, of which loopback is none. An announcement must not send
    /// our checks anywhere else, whoever made it.
    pub fn lan_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses
            .iter()
            .copied()
            .filter(|address| is_lan(address.ip()) && is_reachable(*address, false))
            .take(MAX_ADDRESSES)
    }
}

/// Whether an address may be announced on a LAN, and believed from one.
#[must_use]
pub fn is_lan(ip: IpAddr) -> bool {
    is_private(ip) && !ip.to_canonical().is_loopback()
}

/// The introduction of two peers that have seen each other's salts. Both compute the same.
#[must_use]
pub fn introduction(a: (&PeerId, LanSalt), b: (&PeerId, LanSalt)) -> (IntroductionId, CheckKey) {
    let (first, second) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    let ids = [&first.0.as_bytes()[..], second.0.as_bytes()].concat();
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"knothole lan 1").extract(&ids);
    let salts = [&first.1.0[..], &second.1.0];
    let mut out = [0; 32];
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8160 bytes; 32 are asked for")]
    key.expand(&salts, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut out)).expect("a short key");
    let id = std::array::from_fn(|i| out[i]);
    let key = std::array::from_fn(|i| out[12 + i]);
    (IntroductionId(id), CheckKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: PeerId = PeerId::new([1; 32]);
    const BOB: PeerId = PeerId::new([2; 32]);
    const SALT: LanSalt = LanSalt([7; 12]);

    fn announced(addresses: &[&str]) -> Announcement {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Announcement { salt: SALT, tag: tag(SALT, &ALICE), addresses }
    }

    #[test]
    fn only_who_knows_the_id_recognises_an_announcement() {
        let announcement = announced(&[]);
        assert!(announcement.is_of(&ALICE));
        assert!(!announcement.is_of(&BOB));
        assert_ne!(tag(SALT, &ALICE), tag(LanSalt([8; 12]), &ALICE), "another start, another tag");
    }

    #[test]
    fn both_sides_compute_the_same_introduction_and_no_two_pairs_or_starts_share_one() {
        let other = LanSalt([9; 12]);
        let ours = introduction((&ALICE, SALT), (&BOB, other));
        assert_eq!(ours, introduction((&BOB, other), (&ALICE, SALT)));
        assert_ne!(ours, introduction((&ALICE, other), (&BOB, SALT)));
        assert_ne!(ours.0, introduction((&ALICE, SALT), (&PeerId::new([3; 32]), other)).0);
    }

    #[test]
    fn an_announcement_sends_nobody_off_the_lan() {
        let all =
            ["10.0.0.7:9", "203.0.113.1:9", "127.0.0.1:9", "[2001:db8::1]:9", "[fd00::1]:9", "224.0.0.1:9", "[::1]:9"];
        let kept: Vec<_> = announced(&all).lan_addresses().map(|address| address.to_string()).collect();
        assert_eq!(kept, ["10.0.0.7:9", "[fd00::1]:9"]);
        let many: Vec<_> = (0..200).map(|n| format!("10.0.0.{n}:9")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(announced(&many).lan_addresses().count(), MAX_ADDRESSES);
    }
}
