use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::terminal::golden;
use crate::terminal::screen::fixture::{Fixture, contact};
use crate::terminal::words::CHINESE;

const SIZE: (u16, u16) = (80, 24);

fn people(size: (u16, u16)) -> Fixture {
    let with = |name: &str, last_at: Option<u64>, unread: u64| -> Value {
        let mut who = contact(name);
        who["last_at"] = last_at.into();
        who["unread"] = unread.into();
        who
    };
    let all = vec![
        with("Anna Maria", Some(1), 0),
        with("bob", Some(3), 0),
        with("Verena", None, 0),
        with("王小明", Some(2), 0),
        with("zoe", None, 4),
    ];
    let mut fixture = Fixture::new(size, all, BTreeMap::new());
    fixture.key_with(KeyCode::Char('k'), KeyModifiers::CONTROL);
    fixture
}

fn rows(fixture: &Fixture) -> Vec<String> {
    let drawn = fixture.screen.palette(60, 10).unwrap();
    let text = |row: &Row| row.pieces.iter().map(|piece| piece.text.as_str()).collect::<String>();
    drawn.rows.iter().map(|row| text(row).split_off(4).trim().to_owned()).collect()
}

#[test]
fn with_nothing_typed_the_unread_come_first_and_then_the_latest() {
    assert_eq!(rows(&people(SIZE)), ["zoe", "bob", "王小明", "Anna Maria", "Verena"]);
}

#[test]
fn a_few_letters_find_a_name_by_its_beginning_a_word_of_it_or_its_letters() {
    for (typed, first) in
        [("b", "bob"), ("mar", "Anna Maria"), ("ana", "Anna Maria"), ("小", "王小明"), ("vrn", "Verena")]
    {
        let mut people = people(SIZE);
        people.type_text(typed);
        assert_eq!(rows(&people).first().map(String::as_str), Some(first), "{typed}");
    }
    let mut people = people(SIZE);
    people.type_text("王明");
    assert!(rows(&people).is_empty(), "ideographs are not scattered");
}

#[test]
fn enter_goes_there_and_a_command_is_carried_out_or_begun() {
    let mut one = people(SIZE);
    one.key(KeyCode::Down);
    one.key(KeyCode::Down);
    one.key(KeyCode::Enter);
    assert_eq!(one.screen.conversation.as_ref().unwrap().peer, "id-王小明");
    assert!(one.screen.overlay.is_none());

    let mut two = people(SIZE);
    two.type_text("netch");
    two.key(KeyCode::Enter);
    assert_eq!(two.calls("netcheck").len(), 1);

    let mut three = people(SIZE);
    three.type_text("/timer");
    three.key(KeyCode::Enter);
    assert_eq!(three.screen.composer.text(), "/timer ");
}

#[test]
fn it_closes_and_leaves_everything_as_it_was() {
    let mut people = people(SIZE);
    people.type_text("zo");
    people.key(KeyCode::Esc);
    assert!(people.screen.overlay.is_none() && people.screen.composer.is_empty());
    assert_eq!(people.screen.conversation.as_ref().unwrap().peer, "id-Anna Maria");
}

#[test]
fn likeness_prefers_beginnings_to_words_to_parts_to_scattered_letters() {
    let order = ["anna", "anna maria", "maria anna", "joanna", "a bin nina a"];
    let scores: Vec<_> = order.iter().map(|name| likeness("anna", name).unwrap()).collect();
    assert!(scores.is_sorted(), "{scores:?}");
    assert_eq!(likeness("anna", "hannes"), None);
}

#[test]
fn the_palette_is_drawn_at_every_size() {
    for size in golden::SIZES {
        let mut people = people(size);
        golden::check("palette", &people.screen);
        people.type_text("a");
        golden::check("palette_typed", &people.screen);
        people.screen.words = &CHINESE;
        golden::check("palette_zh", &people.screen);
    }
}
