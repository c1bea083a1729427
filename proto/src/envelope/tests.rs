//! docs/protocol.md, "Envelope": what holds whatever happens to envelopes on their way.

use proptest::prelude::*;

use super::*;
use crate::content::Content;
use crate::content::tests::any_content;
use crate::control::MAX_ENVELOPE;
use crate::frames::{MAX_TEXT, MessageId};
use crate::identity::PublicKey;

fn alice() -> PeerId {
    PublicKey::new([1; 32])
}

fn bob() -> PeerId {
    PublicKey::new([2; 32])
}

fn way() -> Way {
    Way { from: alice(), to: bob() }
}

/// Alice's end and Bob's end of one connection's epoch.
fn epochs(secret: u8) -> (Epoch, Epoch) {
    (Epoch::new([secret; 32], &alice(), &bob()), Epoch::new([secret; 32], &bob(), &alice()))
}

fn sealed(from: &mut Epoch, n: u8) -> Vec<u8> {
    from.sending.seal(from.name, &way(), [n; SALT], &[n; 40]).unwrap()
}

fn letter(text: String) -> Letter {
    let content = Content::Text { text, reply: Some(MessageId([255; 16])), expires_s: Some(u32::MAX) };
    Letter { log: u64::MAX, number: u64::MAX, message: MessageId([255; 16]), at: u64::MAX, content }
}

#[test]
fn both_sides_of_a_connection_have_one_epoch_and_each_opens_what_the_other_seals() {
    let (mut a, mut b) = epochs(7);
    assert_eq!(a.name, b.name);
    let there = sealed(&mut a, 1);
    assert_eq!(EpochName::of(&there), Some(a.name));
    assert_eq!(b.receiving.open(b.name, &way(), &there).unwrap(), [1; 40]);
    let back = Way { from: bob(), to: alice() };
    let envelope = b.sending.seal(b.name, &back, [0; SALT], b"and back").unwrap();
    assert_eq!(a.receiving.open(a.name, &back, &envelope).unwrap(), b"and back");
}

#[test]
fn the_wrong_side_another_epoch_and_another_way_open_nothing() {
    let (mut a, mut b) = epochs(7);
    let envelope = sealed(&mut a, 1);
    // One's own letter, sent back.
    assert_eq!(a.receiving.open(a.name, &way(), &envelope), Err(Unopened::Damaged));
    let (_, mut other) = epochs(8);
    assert_ne!(other.name, a.name);
    assert_eq!(other.receiving.open(other.name, &way(), &envelope), Err(Unopened::Foreign));
    assert_eq!(other.receiving.open(a.name, &way(), &envelope), Err(Unopened::Damaged));
    for way in [Way { from: bob(), to: alice() }, Way { from: PublicKey::new([3; 32]), to: bob() }] {
        assert_eq!(b.receiving.open(b.name, &way, &envelope), Err(Unopened::Damaged));
    }
    assert!(b.receiving.open(b.name, &way(), &envelope).is_ok(), "what failed has spent nothing");
}

#[test]
fn an_altered_or_shortened_envelope_opens_nothing_and_spends_nothing() {
    let (mut a, mut b) = epochs(7);
    let envelope = sealed(&mut a, 1);
    for i in 0..envelope.len() {
        let mut altered = envelope.clone();
        altered[i] ^= 1;
        assert!(b.receiving.open(b.name, &way(), &altered).is_err(), "byte {i}");
        assert!(b.receiving.open(b.name, &way(), &envelope[..i]).is_err(), "{i} bytes");
    }
    assert!(b.receiving.open(b.name, &way(), &[&envelope[..], &[0]].concat()).is_err());
    assert!(b.receiving.open(b.name, &way(), &envelope).is_ok());
}

#[test]
fn only_so_many_may_be_missing_before_an_envelope() {
    let (mut a, mut b) = epochs(7);
    let all: Vec<_> = (0..=MAX_SKIPPED + 1).map(|_| sealed(&mut a, 1)).collect();
    assert_eq!(b.receiving.open(b.name, &way(), &all[MAX_SKIPPED + 1]), Err(Unopened::TooFar));
    assert!(b.receiving.open(b.name, &way(), &all[MAX_SKIPPED]).is_ok());
    assert!(b.receiving.open(b.name, &way(), &all[0]).is_ok());
    // The keys of those that are missing for longest go first.
    let more: Vec<_> = (0..10).map(|_| sealed(&mut a, 1)).collect();
    assert!(b.receiving.open(b.name, &way(), &more[9]).is_ok());
    assert_eq!(b.receiving.open(b.name, &way(), &all[1]), Err(Unopened::Spent));
    assert!(b.receiving.open(b.name, &way(), &all[MAX_SKIPPED - 1]).is_ok());
    assert!(b.receiving.to_bytes().len() < 48 + MAX_SKIPPED * 36);
}

#[test]
fn what_is_kept_opens_nothing_that_was_sealed_or_opened_before() {
    let (mut a, mut b) = epochs(7);
    let old = sealed(&mut a, 1);
    b.receiving.open(b.name, &way(), &old).unwrap();
    let mut kept = Receiving::from_bytes(&b.receiving.to_bytes()).unwrap();
    assert_eq!(kept.open(b.name, &way(), &old), Err(Unopened::Spent));
    // Nor does the sender's chain, taken for a receiver's, and told to begin anywhere.
    let sending = a.sending.to_bytes();
    for next in 0..2 {
        let forged = [&sending[..32], &[next], &[0]].concat();
        let mut thief = Receiving::from_bytes(&forged).unwrap();
        assert!(thief.open(a.name, &way(), &old).is_err(), "from {next}");
    }
    let forged = [&sending[..], &[0]].concat();
    let new = sealed(&mut a, 2);
    let mut thief = Receiving::from_bytes(&forged).unwrap();
    assert!(thief.open(a.name, &way(), &new).is_ok(), "what follows it does open, until the next epoch");
}

#[test]
fn an_older_copy_of_a_chain_seals_with_another_cipher() {
    let (mut a, mut b) = epochs(7);
    let mut copy = Sending::from_bytes(&a.sending.to_bytes()).unwrap();
    let first = a.sending.seal(a.name, &way(), [1; SALT], &[0; 64]).unwrap();
    let second = copy.seal(a.name, &way(), [2; SALT], &[0; 64]).unwrap();
    assert_ne!(first[HEADER..], second[HEADER..]);
    assert!(b.receiving.open(b.name, &way(), &first).is_ok());
    assert_eq!(b.receiving.open(b.name, &way(), &second), Err(Unopened::Spent));
}

#[test]
fn a_text_that_fits_is_one_piece_and_the_longest_fits_the_bounds() {
    // An answer that disappears, with numbers as great as can be; and a plain text.
    assert_eq!(letter("x".repeat(870)).to_pieces().len(), 1);
    let (at, content) = (1 << 41, "x".repeat(900).into());
    let plain = Letter { log: u64::MAX, number: 1 << 14, message: MessageId([255; 16]), at, content };
    assert_eq!(plain.to_pieces().len(), 1);
    let longest = letter("x".repeat(MAX_TEXT));
    let pieces = longest.to_pieces();
    assert!(pieces.len() <= MAX_PIECES, "{}", pieces.len());
    let (mut a, _) = epochs(7);
    let envelope = a.sending.seal(a.name, &way(), [0; SALT], &pieces[0]).unwrap();
    assert_eq!(envelope.len(), MAX_ENVELOPE);
    assert_eq!(a.sending.seal(a.name, &way(), [0; SALT], &[0; MAX_SEALED + 1]), None);
}

#[test]
fn lengths_tell_little() {
    let length = |text: &str| letter(text.into()).to_pieces()[0].len();
    assert_eq!(length("no"), length("yes"));
}

#[test]
fn nonsense_is_no_letter() {
    assert_eq!(Piece::parse(&[]), Err(InvalidLetter::Bounds));
    assert_eq!(Piece::parse(&[2, 0]), Err(InvalidLetter::Version));
    let good = Piece { log: 1, number: 1, mark: [7; 8], index: 0, count: 1, share: vec![1] };
    let parsed = |piece: &Piece| Piece::parse(&postcard::to_extend(piece, vec![1]).unwrap());
    assert_eq!(parsed(&good), Ok(good.clone()));
    for wrong in [
        Piece { number: 0, ..good.clone() },
        Piece { index: 1, ..good.clone() },
        Piece { count: 0, ..good.clone() },
        Piece { count: 2, ..good.clone() },
        Piece { count: u8::MAX, share: vec![1; MAX_SEALED - 35], ..good.clone() },
        Piece { share: vec![], ..good.clone() },
        Piece { share: vec![1; MAX_SEALED], ..good.clone() },
    ] {
        assert_eq!(parsed(&wrong), Err(InvalidLetter::Bounds), "{wrong:?}");
    }
    let letter = letter("hi".into());
    let whole = postcard::to_allocvec(&letter).unwrap();
    let mark = Piece::parse(&letter.to_pieces()[0]).unwrap().mark;
    assert!(Letter::from_shares(u64::MAX, u64::MAX, mark, &whole).is_ok());
    assert_eq!(Letter::from_shares(u64::MAX, 1, mark, &whole), Err(InvalidLetter::Bounds));
    assert_eq!(Letter::from_shares(u64::MAX, u64::MAX, [0; 8], &whole), Err(InvalidLetter::Bounds));
    assert_eq!(Letter::from_shares(u64::MAX, u64::MAX, mark, &whole[1..]), Err(InvalidLetter::Bounds));
    assert_eq!(Letter::from_shares(u64::MAX, u64::MAX, mark, &[&whole[..], &[0]].concat()), Err(InvalidLetter::Bounds));
}

proptest! {
    #[test]
    fn in_every_order_and_however_often_each_opens_once(
        order in prop::collection::vec(0usize..24, 1..120), restart in any::<bool>()
    ) {
        let (mut a, mut b) = epochs(7);
        let all: Vec<_> = (0..24).map(|n| sealed(&mut a, n)).collect();
        let mut opened = [false; 24];
        for n in order {
            let answer = b.receiving.open(b.name, &way(), &all[n]);
            if std::mem::replace(&mut opened[n], true) {
                prop_assert_eq!(answer, Err(Unopened::Spent));
            } else {
                prop_assert_eq!(answer, Ok(vec![n as u8; 40]));
            }
            if restart {
                b.receiving = Receiving::from_bytes(&b.receiving.to_bytes()).unwrap();
            }
        }
    }

    #[test]
    fn every_letter_is_put_together_again(
        text in "\\PC{0,3000}", content in any_content(), log: u64, number in 1u64.., at: u64
    ) {
        let content = if text.len() % 2 == 0 { text.into() } else { content };
        let letter = Letter { log, number, message: MessageId([3; 16]), at, content };
        let pieces: Vec<_> = letter.to_pieces().iter().map(|text| Piece::parse(text).unwrap()).collect();
        let count = pieces.len();
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert_eq!((usize::from(piece.index), usize::from(piece.count)), (index, count));
            prop_assert_eq!((piece.log, piece.number), (log, number));
        }
        let mark = pieces[0].mark;
        prop_assert!(pieces.iter().all(|piece| piece.mark == mark));
        let shares: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.share).collect();
        prop_assert_eq!(Letter::from_shares(log, number, mark, &shares), Ok(letter));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, name: [u8; 8]) {
        let (_, mut b) = epochs(7);
        let _ = b.receiving.open(EpochName(name), &way(), &bytes);
        let _ = EpochName::of(&bytes);
        let _ = Piece::parse(&bytes);
        let _ = Letter::from_shares(0, 1, letter::mark(&bytes), &bytes);
        let _ = (Sending::from_bytes(&bytes), Receiving::from_bytes(&bytes));
    }
}
