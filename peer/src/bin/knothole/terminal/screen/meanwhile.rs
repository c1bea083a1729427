//! What happens between two keys does not change what the keys mean.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::{Value, json};

use super::fixture::{Fixture, NOON, contact, talk};
use super::{Ask, Input, Refusal, Screen};
use crate::terminal::words::ENGLISH;

const SIZE: (u16, u16) = (80, 24);

fn people(names: &[&str]) -> Fixture {
    Fixture::new(SIZE, names.iter().map(|name| contact(name)).collect(), BTreeMap::new())
}

fn enter(fixture: &mut Fixture, line: &str) {
    fixture.type_text(line);
    fixture.key(KeyCode::Enter);
}

fn open(fixture: &Fixture) -> Option<&str> {
    fixture.screen.conversation.as_ref().map(|open| open.peer.as_str())
}

fn notice(fixture: &Fixture) -> &str {
    fixture.screen.notice.as_ref().map_or("", |notice| notice.text.as_str())
}

/// The last call of a method, to be answered later.
fn asked(fixture: &Fixture, method: &str) -> Ask {
    fixture.asked.iter().rfind(|ask| ask.method == method).cloned().unwrap()
}

fn refusal(why: &str) -> Result<Value, Refusal> {
    Err(Refusal::Refused { why: why.to_owned(), data: Value::Null })
}

fn removed(fixture: &mut Fixture, name: &str) {
    fixture.contacts.retain(|contact| contact["name"] != name);
    fixture.event(json!({"type": "contact.removed", "peer": format!("id-{name}"), "name": name}));
}

#[test]
fn what_is_typed_to_one_who_is_removed_goes_to_nobody_else() {
    let mut two = people(&["bob", "dora"]);
    two.key_with(KeyCode::Char('2'), KeyModifiers::ALT);
    two.type_text("the key is ");
    removed(&mut two, "dora");
    assert_eq!(open(&two), None);
    assert!(notice(&two).contains("dora is removed"), "{}", notice(&two));
    // A list that comes later opens nobody, either.
    two.event(json!({"type": "contact.renamed", "peer": "id-bob", "name": "bob"}));
    enter(&mut two, "under the mat");
    assert!(two.calls("message.send").is_empty());
    assert_eq!(two.screen.composer.text(), "the key is under the mat");
    assert!(notice(&two).contains("no conversation is open"), "{}", notice(&two));
    two.key_with(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!((open(&two), two.screen.composer.text()), (Some("id-bob"), ""));
    assert!(two.calls("draft.set").iter().all(|draft| draft["with"] != "id-bob"));
}

#[test]
fn a_contact_that_comes_after_a_removal_opens_by_nothing_that_is_typed() {
    let mut two = people(&["bob", "dora"]);
    two.key_with(KeyCode::Char('2'), KeyModifiers::ALT);
    removed(&mut two, "dora");
    two.type_text("begun");
    two.event(json!({"type": "contact.added", "peer": "id-eve", "name": "eve"}));
    assert_eq!((open(&two), two.screen.composer.text()), (None, "begun"));
    assert!(notice(&two).contains("eve is a contact now"));
}

#[test]
fn a_contact_that_is_added_slowly_does_not_take_what_is_typed_meanwhile() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    let frank = json!({"peer": "id-frank", "name": "frank"});
    bob.silent = true;
    enter(&mut bob, "/add 7-orchard-velvet frank");
    let add = asked(&bob, "contact.add");
    bob.silent = false;
    bob.contacts.push(contact("frank"));
    bob.type_text("see you ");
    bob.handle(Input::Answer(add.clone(), Ok(frank.clone())));
    assert_eq!((open(&bob), bob.screen.composer.text()), (Some("id-bob"), "see you "));
    assert!(notice(&bob).contains("frank is a contact now"));
    enter(&mut bob, "at nine");
    assert_eq!(bob.calls("message.send")[0]["to"], "id-bob");

    // Between two sentences the composer is empty, too.
    bob.handle(Input::Answer(add, Ok(frank.clone())));
    assert_eq!(open(&bob), Some("id-bob"));

    // Who does nothing meanwhile goes on to them; who went elsewhere stays there.
    bob.silent = true;
    enter(&mut bob, "/add 7-orchard-velvet frank");
    let add = asked(&bob, "contact.add");
    bob.silent = false;
    bob.handle(Input::Answer(add.clone(), Ok(frank)));
    assert_eq!(open(&bob), Some("id-frank"));
    bob.contacts.push(contact("gil"));
    bob.handle(Input::Answer(add, Ok(json!({"peer": "id-gil", "name": "gil"}))));
    assert_eq!(open(&bob), Some("id-frank"));
}

/// A screen that has just begun, with an engine that does not answer yet.
fn starting(contacts: Vec<Value>) -> Fixture {
    let mut fixture = Fixture::new(SIZE, contacts, BTreeMap::new());
    fixture.silent = true;
    fixture.screen = Screen::new(&ENGLISH, TimeZone::UTC, SIZE, NOON);
    fixture.settle();
    fixture
}

fn answers(fixture: &mut Fixture) {
    fixture.silent = false;
    fixture.handle(Input::Renewed);
}

#[test]
fn what_is_typed_while_it_starts_is_not_lost() {
    let mut bob = contact("bob");
    bob["draft"] = "well, ".into();
    let mut bob = starting(vec![bob]);
    bob.type_text("hello");
    bob.handle(Input::Paste(" there".into()));
    bob.key(KeyCode::Enter);
    bob.type_text("and");
    assert_eq!(open(&bob), None);
    answers(&mut bob);
    assert_eq!(bob.calls("message.send")[0]["text"], "well, hello there");
    assert_eq!((open(&bob), bob.screen.composer.text()), (Some("id-bob"), "and"));
}

#[test]
fn what_waits_is_bounded_and_an_engine_that_refuses_the_list_ends_it() {
    let mut bob = starting(vec![contact("bob")]);
    bob.handle(Input::Paste("x".repeat(65_536)));
    bob.type_text("y");
    assert!(bob.screen.notice.as_ref().is_some_and(|notice| notice.alarm));
    answers(&mut bob);
    assert_eq!(bob.screen.composer.text().len(), 65_536);

    let mut bob = starting(vec![contact("bob")]);
    bob.type_text("/he");
    bob.refuses.insert("contact.list", "the disk does not answer".into());
    answers(&mut bob);
    assert_eq!(bob.screen.composer.text(), "/he");
}

#[test]
fn a_command_that_is_refused_late_comes_back_only_where_it_was_given() {
    let mut two = people(&["bob", "carol"]);
    two.silent = true;
    enter(&mut two, "/rename dora");
    let rename = asked(&two, "contact.rename");
    two.silent = false;
    two.key_with(KeyCode::Char('2'), KeyModifiers::ALT);
    two.handle(Input::Answer(rename.clone(), refusal("another contact is called so")));
    assert_eq!(two.screen.composer.text(), "");
    assert!(notice(&two).contains("another contact"));
    two.key_with(KeyCode::Char('1'), KeyModifiers::ALT);
    two.handle(Input::Answer(rename, refusal("another contact is called so")));
    assert_eq!(two.screen.composer.text(), "/rename dora");
    // It is as if it were typed: an older list does not take it away.
    two.event(json!({"type": "contact.renamed", "peer": "id-bob", "name": "bob"}));
    assert_eq!(two.screen.composer.text(), "/rename dora");
}

#[test]
fn a_command_from_the_palette_changes_no_message_that_is_being_edited() {
    let mut bob = Fixture::with_bob(SIZE, talk(4));
    bob.screen.edit(None);
    bob.key_with(KeyCode::Char('k'), KeyModifiers::CONTROL);
    enter(&mut bob, "netcheck");
    bob.key_with(KeyCode::Char('k'), KeyModifiers::CONTROL);
    assert!(bob.calls("message.edit").is_empty());
    assert_eq!(bob.calls("netcheck").len(), 1);
}

#[test]
fn the_words_of_one_stand_under_no_other_name_and_a_late_refusal_closes_no_other_page() {
    let mut two = people(&["bob", "carol"]);
    two.silent = true;
    enter(&mut two, "/verify bob");
    let of_bob = asked(&two, "contact.words");
    two.key(KeyCode::Esc);
    enter(&mut two, "/verify carol");
    let rows = |two: &Fixture| {
        let sheet = two.screen.sheet().unwrap();
        sheet.rows.iter().flat_map(|row| &row.pieces).map(|piece| piece.text.clone()).collect::<String>()
    };
    let words = json!({"words": ["abandon", "ability"], "qr": ""});
    two.handle(Input::Answer(of_bob.clone(), Ok(words.clone())));
    assert!(!rows(&two).contains("abandon"), "{}", rows(&two));
    two.handle(Input::Answer(of_bob, refusal("there is no such contact")));
    assert!(two.screen.overlay.is_some());
    let of_carol = asked(&two, "contact.words");
    two.handle(Input::Answer(of_carol, Ok(words)));
    assert!(rows(&two).contains("abandon"));
    two.key_with(KeyCode::Char('y'), KeyModifiers::CONTROL);
    assert!(two.calls("contact.verify").is_empty());
    two.key(KeyCode::Char('y'));
    assert_eq!(two.calls("contact.verify"), [&json!({"peer": "id-carol"})]);
}

#[test]
fn a_question_is_answered_by_y_alone() {
    for modifiers in [KeyModifiers::CONTROL, KeyModifiers::ALT] {
        let mut bob = people(&["bob"]);
        enter(&mut bob, "/remove");
        bob.key_with(KeyCode::Char('y'), modifiers);
        assert!(bob.calls("contact.remove").is_empty() && notice(&bob).contains("nothing was changed"));
    }
}

#[test]
fn a_list_that_comes_changes_nothing_that_is_being_edited() {
    let mut bob = Fixture::with_bob(SIZE, talk(4));
    bob.contacts[0]["draft"] = "begun elsewhere".into();
    bob.screen.edit(None);
    bob.type_text("!");
    bob.event(json!({"type": "contact.renamed", "peer": "id-bob", "name": "bob"}));
    assert_eq!(bob.screen.composer.text(), "message 3!");
    bob.key(KeyCode::Esc);
    bob.event(json!({"type": "contact.renamed", "peer": "id-bob", "name": "bob"}));
    assert_eq!(bob.screen.composer.text(), "");
}

#[test]
fn a_word_that_is_typed_while_a_message_is_chosen_deletes_nothing() {
    for (word, typed) in [("body", "body"), ("day", "ay"), ("dynamic", "ynamic")] {
        let mut bob = Fixture::with_bob(SIZE, talk(4));
        bob.key(KeyCode::Up);
        bob.type_text(word);
        assert!(bob.calls("message.delete").is_empty(), "{word}");
        assert_eq!(bob.screen.composer.text(), typed);
        enter(&mut bob, "");
        assert!(bob.calls("message.delete").is_empty(), "{word}");
    }
}

#[test]
fn a_draft_that_another_screen_sent_is_not_sent_once_more() {
    let sent =
        |text: &str| json!({"type": "sent", "peer": "id-bob", "name": "bob", "message": "s", "text": text, "at": NOON});
    let draft = || {
        let mut bob = contact("bob");
        bob["draft"] = "see you at nine".into();
        Fixture::new(SIZE, vec![bob], BTreeMap::new())
    };
    let mut bob = draft();
    bob.event(sent("see you at nine"));
    assert_eq!(bob.screen.composer.text(), "");
    assert_eq!(bob.screen.contacts.find("id-bob").unwrap().draft, None);
    // A list of before does not bring it back.
    bob.event(json!({"type": "contact.renamed", "peer": "id-bob", "name": "bob"}));
    bob.key(KeyCode::Enter);
    assert!(bob.calls("message.send").is_empty());

    let mut bob = draft();
    bob.event(sent("something else"));
    assert_eq!(bob.screen.composer.text(), "see you at nine");
    let mut bob = draft();
    bob.type_text("!");
    bob.key(KeyCode::Backspace);
    bob.event(sent("see you at nine"));
    assert_eq!(bob.screen.composer.text(), "see you at nine", "it was typed here");
}

fn with_talk() -> Fixture {
    let messages = BTreeMap::from([("id-bob".to_owned(), talk(4))]);
    Fixture::new(SIZE, vec![contact("bob"), contact("carol")], messages)
}

#[test]
fn what_is_half_edited_waits_until_the_conversation_is_open_again() {
    let mut two = with_talk();
    two.type_text("begun");
    two.screen.edit(None);
    two.type_text(", or so");
    two.key_with(KeyCode::Char('2'), KeyModifiers::ALT);
    assert_eq!(two.screen.composer.text(), "");
    two.contacts[0]["draft"] = "begun".into();
    two.key_with(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!(two.screen.composer.text(), "message 3, or so");
    two.key(KeyCode::Enter);
    assert_eq!(two.calls("message.edit"), [&json!({"with": "id-bob", "message": "m3", "text": "message 3, or so"})]);
    assert_eq!(two.screen.composer.text(), "begun");
    assert!(two.calls("message.send").is_empty());
    // It is over.
    two.key_with(KeyCode::Char('2'), KeyModifiers::ALT);
    two.key_with(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!(two.screen.composer.text(), "begun");
}

#[test]
fn an_edit_that_is_refused_is_an_edit_still() {
    let mut two = with_talk();
    two.refuses.insert("message.edit", "the disk is full; make room".into());
    two.screen.edit(None);
    enter(&mut two, "!");
    assert_eq!(two.screen.composer.text(), "message 3!");
    two.refuses.clear();
    two.key(KeyCode::Enter);
    assert!(two.calls("message.send").is_empty());
    assert_eq!(two.calls("message.edit").len(), 2);

    // It does not come between the words of another message, and waits for whoever edits once more.
    two.silent = true;
    two.screen.edit(None);
    enter(&mut two, "?");
    let edit = asked(&two, "message.edit");
    two.silent = false;
    two.type_text("well");
    two.handle(Input::Answer(edit, refusal("the disk is full; make room")));
    assert_eq!(two.screen.composer.text(), "well");
    two.screen.edit(None);
    assert_eq!(two.screen.composer.text(), "message 3?");
    two.key(KeyCode::Esc);
    assert_eq!(two.screen.composer.text(), "well");
}

#[test]
fn a_flood_while_the_newest_page_is_under_way_leaves_no_hole() {
    let flood = |at: usize| json!({"message": format!("f{at}"), "from": "id-bob", "text": format!("flood {at}"), "at": NOON + 9_000_000 + at as u64});
    // The page is read before, amid and after the flood.
    for read in [0, 150, 256] {
        let mut bob = Fixture::with_bob(SIZE, talk(20));
        bob.silent = true;
        bob.handle(Input::Renewed);
        let newest = asked(&bob, "message.history");
        for at in 0..256 {
            let mut event = flood(at);
            let more = json!({"type": "message", "peer": "id-bob", "name": "bob"});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            bob.event(event);
        }
        let mut all = talk(20);
        all.extend((0..256).map(flood));
        let page = all[(20 + read - 100_usize.min(20 + read))..20 + read].to_vec();
        bob.messages.insert("id-bob".into(), all.clone());
        bob.silent = false;
        bob.handle(Input::Answer(newest, Ok(Value::Array(page))));
        let open = bob.screen.conversation.as_ref().unwrap();
        let ids: Vec<_> = open.iter().map(|message| message.id.as_str()).collect();
        let kept: Vec<_> = all.iter().map(|message| message["message"].as_str().unwrap()).collect();
        assert!(kept.ends_with(&ids) && ids.len() >= 100, "{read}: {ids:?}");
        assert!(open.holds_newest());
    }
}
