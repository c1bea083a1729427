//! Two ends of a code, and whoever sits between them: docs/protocol.md, "Codes".

use proptest::prelude::*;

use super::*;
use crate::identity::PeerId;

fn card(n: u8) -> Card {
    let via = format!("{}@r.example:3478", PeerId::new([9; 32]));
    let link = format!("knothole:{}?via={via}", PeerId::new([n; 32]));
    Card { link: link.parse().unwrap(), name: Some(format!("peer {n}")) }
}

fn code() -> Code {
    "7-orchard-velvet".parse().unwrap()
}

fn maker(code: Code) -> Maker {
    Maker::new(code, card(1), [1; 32])
}

fn joiner(code: Code) -> (Joiner, Vec<u8>) {
    Joiner::new(code, card(2), [2; 32])
}

fn say(progress: Progress) -> Vec<u8> {
    match progress {
        Progress::Say(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_who_use_the_same_words_get_each_other_s_card_and_nothing_in_it_goes_in_the_clear() {
    let (mut maker, (mut joiner, join)) = (maker(code()), joiner(code()));
    let answer = say(maker.handle(&join));
    let proof = say(joiner.handle(&answer));
    let Progress::Met { card: theirs, say: Some(last) } = maker.handle(&proof) else { panic!() };
    assert_eq!(theirs, card(2));
    assert_eq!(joiner.handle(&last), Progress::Met { card: card(1), say: None });
    for message in [&join, &answer, &proof, &last] {
        assert!(message.len() <= MAX_CODE_MESSAGE);
        for secret in ["orchard", "velvet", "knothole:", "peer"] {
            assert!(!message.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
        }
    }
    assert_eq!(maker.handle(&proof), Progress::Nothing, "a code is good for once");
    assert_eq!(joiner.handle(&last), Progress::Nothing);
}

#[test]
fn whoever_types_another_word_fails_and_the_code_is_burnt() {
    for wrong in ["7-orchard-valve", "7-abandon-velvet", "8-orchard-velvet"] {
        let mut maker = maker(code());
        let (mut joiner, join) = joiner(wrong.parse().unwrap());
        let answer = say(maker.handle(&join));
        let proof = say(joiner.handle(&answer));
        assert_eq!(maker.handle(&proof), Progress::Failed(Failure::WrongWords), "{wrong}");
        // Not even the right words help afterwards.
        let (_, join) = self::joiner(code());
        assert_eq!(maker.handle(&join), Progress::Nothing);
    }
}

#[test]
fn a_rendezvous_that_plays_one_end_to_each_has_one_guess_at_each_and_both_are_told() {
    let guess: Code = "7-abandon-ability".parse().unwrap();
    // Toward the maker it is a joiner …
    let mut maker = maker(code());
    let (mut false_joiner, join) = Joiner::new(guess.clone(), card(6), [6; 32]);
    let answer = say(maker.handle(&join));
    let proof = say(false_joiner.handle(&answer));
    assert_eq!(maker.handle(&proof), Progress::Failed(Failure::WrongWords));
    // … toward the joiner a maker, who can say whatever it likes in the end.
    let (mut joiner, join) = joiner(code());
    let mut false_maker = Maker::new(guess, card(6), [7; 32]);
    let answer = say(false_maker.handle(&join));
    let proof = say(joiner.handle(&answer));
    assert_eq!(false_maker.handle(&proof), Progress::Failed(Failure::WrongWords));
    let forged = postcard::to_allocvec(&(3_u8, vec![0_u8; 100])).unwrap();
    assert_eq!(joiner.handle(&forged), Progress::Failed(Failure::WrongWords));
}

#[test]
fn a_rendezvous_that_swaps_messages_of_two_exchanges_or_sends_them_back_gains_nothing() {
    // Two codes of the same number, one after the other, and by chance of the same words.
    let (mut first, mut second) = (maker(code()), Maker::new(code(), card(3), [3; 32]));
    let ((mut joiner, join), (mut other, other_join)) = (joiner(code()), Joiner::new(code(), card(4), [4; 32]));
    let (answer, other_answer) = (say(first.handle(&join)), say(second.handle(&other_join)));
    // Each end's own words back to it.
    assert_eq!(joiner.handle(&join), Progress::Nothing);
    assert_eq!(first.handle(&answer), Progress::Nothing);
    let (proof, other_proof) = (say(joiner.handle(&answer)), say(other.handle(&other_answer)));
    assert_eq!(joiner.handle(&proof), Progress::Nothing);
    assert_eq!(second.handle(&proof), Progress::Failed(Failure::WrongWords));
    let Progress::Met { say: Some(last), .. } = first.handle(&proof) else { panic!() };
    assert_eq!(other.handle(&last), Progress::Failed(Failure::WrongWords));
    assert_eq!(first.handle(&other_proof), Progress::Nothing, "it is over");
}

#[test]
fn an_old_exchange_played_again_is_no_proof() {
    let (mut first, (mut joiner, join)) = (maker(code()), joiner(code()));
    let answer = say(first.handle(&join));
    let proof = say(joiner.handle(&answer));
    // The same code by chance, with fresh chance of the maker's.
    let mut again = Maker::new(code(), card(1), [5; 32]);
    say(again.handle(&join));
    assert_eq!(again.handle(&proof), Progress::Failed(Failure::WrongWords));
}

#[test]
fn codes_are_read_as_people_type_them() {
    for typed in ["7-orchard-velvet", " 7 Orchard VELVET ", "7-orch-velv", "7 - orchard - velvet"] {
        assert_eq!(typed.parse(), Ok(code()), "{typed}");
    }
    for typed in ["", "7", "7-orchard", "0-orchard-velvet", "70000-orchard-velvet", "x-orchard-velvet", "7-a-b-c"] {
        assert_eq!(typed.parse::<Code>(), Err(InvalidCode::Form), "{typed}");
    }
    assert_eq!("7-orchard-lantern".parse::<Code>(), Err(InvalidCode::Word("lantern".into())));
    assert_eq!(format!("{:?}", code()), "7-…", "the secret is in no log");
}

#[test]
fn the_words_take_all_of_the_chance_and_each_code_is_read_back() {
    assert_eq!(Code::new(1, 0).to_string(), "1-abandon-abandon");
    assert_eq!(Code::new(999, u32::MAX).to_string(), "999-zoo-zoo");
    assert_eq!(Code::new(1, 1).to_string(), "1-ability-abandon");
    assert_eq!(Code::new(1, 1 << 11).to_string(), "1-abandon-ability");
}

#[test]
fn a_card_with_too_many_rendezvous_keeps_the_preferred_ones() {
    let mut long = card(1);
    long.link.via =
        (0..4).map(|n| format!("{}@{n}{}:3478", PeerId::new([9; 32]), "x".repeat(250)).parse().unwrap()).collect();
    long.name = Some("ü".repeat(100));
    let bytes = long.to_bytes();
    assert!(bytes.len() <= MAX_CARD);
    let read = Card::parse(&bytes).unwrap();
    assert_eq!(read.link.via[..], long.link.via[..read.link.via.len()]);
    assert_eq!((read.link.via.len(), read.name.unwrap().chars().count()), (2, MAX_NAME));
}

proptest! {
    #[test]
    fn hostile_messages_end_an_exchange_at_most(messages: Vec<Vec<u8>>) {
        let (mut maker, (mut joiner, _)) = (maker(code()), joiner(code()));
        for message in messages {
            let met = [maker.handle(&message), joiner.handle(&message)];
            let none_met = met.iter().all(|progress| !matches!(progress, Progress::Met { .. }));
            prop_assert!(none_met);
        }
    }

    #[test]
    fn every_code_is_read_back(number in 1..=u16::MAX, chance: u32) {
        let code = Code::new(number, chance);
        prop_assert_eq!(code.to_string().parse(), Ok(code));
    }
}
