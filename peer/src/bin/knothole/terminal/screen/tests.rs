//! What the screen makes of sequences of keys, events and answers.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::{Value, json};

use super::conversation::Place;
use super::fixture::{Fixture, ME, NOON, contact, said, talk};
use super::{Ask, Effect, Input, Refusal};
use crate::delivery::Stage;
use crate::session::word;
use crate::terminal::golden;
use crate::terminal::theme::Theme;

const SIZE: (u16, u16) = (80, 24);

fn shown(fixture: &Fixture) -> String {
    golden::picture(&fixture.screen, Theme::Plain)
}

fn message(id: &str, text: &str) -> Value {
    json!({"type": "message", "peer": "id-bob", "name": "bob", "message": id, "text": text, "at": NOON + 1_000_000_000})
}

fn place(fixture: &Fixture) -> Place {
    fixture.screen.conversation.as_ref().unwrap().place.clone()
}

/// The last call of a method.
fn last<'a>(fixture: &'a Fixture, method: &str) -> &'a Value {
    fixture.calls(method).last().copied().unwrap()
}

/// A screen with bob, of whose messages those from this one on are unread.
fn unread(size: (u16, u16), many: usize, from: usize) -> Fixture {
    let mut bob = contact("bob");
    let all = talk(many);
    bob["unread"] = all[from..].iter().filter(|message| message["from"] == "id-bob").count().into();
    bob["first_unread"] = all[from]["message"].clone();
    Fixture::new(size, vec![bob], BTreeMap::from([("id-bob".to_owned(), all)]))
}

#[test]
fn what_is_typed_is_a_draft_on_the_disk_soon() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.type_text("hi");
    assert!(bob.calls("draft.set").is_empty());
    bob.wait(150);
    assert_eq!(bob.calls("draft.set"), [&json!({"with": "id-bob", "text": "hi"})]);
}

#[test]
fn a_draft_fills_the_composer_and_is_not_written_by_one_who_types_nothing() {
    let (mut bob, carol) = (contact("bob"), contact("carol"));
    bob["draft"] = "I have begun".into();
    let mut two = Fixture::new(SIZE, vec![bob, carol], BTreeMap::new());
    assert_eq!(two.screen.composer.text(), "I have begun");
    // Another screen goes on with it.
    two.contacts[0]["draft"] = "I have begun, and go on".into();
    two.key_with(KeyCode::Char('2'), KeyModifiers::ALT);
    assert_eq!(two.screen.composer.text(), "");
    two.key_with(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!(two.screen.composer.text(), "I have begun, and go on");
    assert!(two.calls("draft.set").is_empty());
    two.type_text("!");
    two.screen.leave();
    two.settle();
    assert_eq!(two.calls("draft.set"), [&json!({"with": "id-bob", "text": "I have begun, and go on!"})]);
}

#[test]
fn an_older_list_hides_no_draft_that_is_being_typed() {
    let mut bob = Fixture::with_bob((80, 24), talk(1));
    bob.type_text("hi");
    bob.wait(200);
    // Of before it was kept.
    bob.event(json!({"type": "contact.added", "peer": "id-carol", "name": "carol"}));
    assert!(bob.screen.contacts.find("id-bob").unwrap().draft.is_some());
}

#[test]
fn only_a_message_that_was_a_draft_takes_the_draft_with_it() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.type_text("hi");
    bob.key(KeyCode::Enter);
    assert_eq!(last(&bob, "message.send")["from_draft"], false);
    bob.type_text("ho");
    bob.wait(150);
    bob.key(KeyCode::Enter);
    assert_eq!(last(&bob, "message.send")["from_draft"], true);
}

#[test]
fn a_draft_that_was_sent_does_not_come_back_with_a_list_of_before() {
    let mut bob = contact("bob");
    bob["draft"] = "I have begun".into();
    let mut bob = Fixture::new(SIZE, vec![bob], BTreeMap::new());
    bob.silent = true;
    bob.event(json!({"type": "contact.added", "peer": "id-carol", "name": "carol"}));
    let list = bob.asked.iter().rfind(|ask| ask.method == "contact.list").cloned().unwrap();
    bob.key(KeyCode::Enter);
    assert_eq!(last(&bob, "message.send")["text"], "I have begun");
    bob.handle(Input::Answer(list, Ok(Value::Array(bob.contacts.clone()))));
    assert_eq!(bob.screen.composer.text(), "");
    assert_eq!(bob.screen.contacts.find("id-bob").unwrap().draft, None);
}

#[test]
fn a_message_that_comes_is_the_last_in_the_conversation() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.event(message("new", "hi"));
    let open = bob.screen.conversation.as_ref().unwrap();
    assert_eq!(open.at(open.len() - 1).unwrap().text(), Some("hi"));
}

#[test]
fn a_message_is_shown_at_once_and_sent_again_under_its_name_when_the_engine_ends_over_it() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.silent = true;
    bob.type_text("once");
    bob.key(KeyCode::Enter);
    let first = last(&bob, "message.send").clone();
    let ask = bob.asked.iter().rfind(|ask| ask.method == "message.send").cloned().unwrap();
    let unmarked = |bob: &Fixture| shown(bob).lines().any(|row| row.ends_with("once"));
    assert!(unmarked(&bob));
    bob.handle(Input::Answer(ask, Err(Refusal::Closed)));
    bob.silent = false;
    bob.handle(Input::Renewed);
    assert!(!unmarked(&bob));
    assert_eq!(last(&bob, "message.send"), &first);
    assert_eq!(bob.calls("message.send").len(), 2);
    let open = bob.screen.conversation.as_ref().unwrap();
    assert_eq!(open.iter().filter(|message| message.text() == Some("once")).count(), 1);
    // It is stored now, and not sent once more.
    bob.handle(Input::Renewed);
    assert_eq!(bob.calls("message.send").len(), 2);
    bob.event(json!({"type": "state", "message": first["message"], "state": "delivered"}));
    let open = bob.screen.conversation.as_ref().unwrap();
    assert_eq!(open.find(word(&first, "message")).unwrap().stage, Stage::Delivered);
}

#[test]
fn a_refused_text_goes_back_where_it_was_typed_or_before_what_is_there() {
    let (bob, carol) = (contact("bob"), contact("carol"));
    let mut two = Fixture::new(SIZE, vec![bob, carol], BTreeMap::new());
    two.refuses.insert("message.send", "the disk is full; make room".to_owned());
    two.type_text("hello");
    two.key(KeyCode::Enter);
    assert_eq!(two.screen.composer.text(), "hello");
    assert!(shown(&two).contains("the disk is full"));
    two.silent = true;
    two.key(KeyCode::Enter);
    two.key_with(KeyCode::Char('2'), KeyModifiers::ALT);
    let ask = two.asked.iter().rfind(|ask| ask.method == "message.send").cloned().unwrap();
    two.handle(Input::Answer(ask, Err(Refusal::Refused { why: "no".to_owned(), data: Value::Null })));
    assert_eq!(two.screen.composer.text(), "");
    assert_eq!(last(&two, "draft.set"), &json!({"with": "id-bob", "text": "hello"}));
}

#[test]
fn typing_is_told_now_and_then_and_taken_back() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.type_text("/help");
    assert!(bob.calls("typing.set").is_empty());
    (0..5).for_each(|_| bob.key(KeyCode::Backspace));
    bob.type_text("ab");
    bob.wait(3_900);
    bob.type_text("c");
    assert_eq!(bob.calls("typing.set").len(), 1);
    bob.wait(100);
    bob.type_text("d");
    assert_eq!(bob.calls("typing.set").len(), 2);
    (0..4).for_each(|_| bob.key(KeyCode::Backspace));
    assert_eq!(last(&bob, "typing.set"), &json!({"to": "id-bob", "on": false}));
}

#[test]
fn a_conversation_opens_where_the_unread_begin_and_notes_what_was_in_sight() {
    let mut bob = unread(SIZE, 90, 20);
    let picture = shown(&bob);
    assert!(picture.contains(" unread ") && picture.contains("message 20"), "{picture}");
    assert!(!picture.contains("message 60"), "{picture}");
    let noted = word(last(&bob, "message.read"), "upto").to_owned();
    assert!(picture.contains(&noted.replace('m', "message ")) && noted != "m88", "{noted}");
    bob.key_with(KeyCode::End, KeyModifiers::CONTROL);
    assert_eq!(last(&bob, "message.read")["upto"], "m88");
    assert_eq!(place(&bob), Place::Bottom);
    // It stays until something is sent.
    let marked = |bob: &Fixture| bob.screen.conversation.as_ref().unwrap().unread_from.is_some();
    assert!(marked(&bob));
    bob.type_text("seen");
    bob.key(KeyCode::Enter);
    assert!(!marked(&bob));
}

#[test]
fn unread_messages_that_lie_before_the_newest_page_are_jumped_to() {
    let bob = unread(SIZE, 900, 400);
    let picture = shown(&bob);
    assert!(picture.contains(" unread ") && picture.contains("message 400"), "{picture}");
    let bob = unread(SIZE, 900, 0);
    assert!(shown(&bob).contains("message 0"));
    let bob = unread(SIZE, 5, 4);
    assert_eq!(place(&bob), Place::Bottom);
}

#[test]
fn nothing_is_noted_as_read_while_the_person_looks_elsewhere() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.handle(Input::Focused(false));
    bob.event(message("new", "hi"));
    assert!(bob.calls("message.read").is_empty());
    assert!(shown(&bob).contains(" unread "));
    bob.handle(Input::Focused(true));
    assert_eq!(last(&bob, "message.read"), &json!({"with": "id-bob", "upto": "new"}));
}

#[test]
fn the_whole_of_a_long_conversation_is_scrolled_through_both_ways() {
    let mut bob = Fixture::with_bob(SIZE, talk(1_500));
    for _ in 0..200 {
        bob.key(KeyCode::PageUp);
    }
    assert!(shown(&bob).contains("message 0 ") || shown(&bob).contains("message 0\n"), "{}", shown(&bob));
    let open = bob.screen.conversation.as_ref().unwrap();
    assert!(open.len() <= 600 && !open.holds_newest());
    for _ in 0..200 {
        bob.key(KeyCode::PageDown);
    }
    assert_eq!(place(&bob), Place::Bottom);
    assert!(shown(&bob).contains("message 1499"));
    bob.key_with(KeyCode::Home, KeyModifiers::CONTROL);
    assert!(shown(&bob).contains("message 1\n") || shown(&bob).contains("message 1 "));
    bob.key_with(KeyCode::Char('>'), KeyModifiers::ALT);
    assert!(shown(&bob).contains("message 1499"));
}

#[test]
fn a_page_that_is_not_read_says_so_and_is_asked_for_again() {
    let mut bob = Fixture::with_bob(SIZE, talk(300));
    bob.refuses.insert("message.history", "the disk does not answer".to_owned());
    (0..20).for_each(|_| bob.key(KeyCode::PageUp));
    assert!(shown(&bob).contains("This part is missing"));
    bob.refuses.clear();
    (0..20).for_each(|_| bob.key(KeyCode::PageUp));
    let picture = shown(&bob);
    assert!(!picture.contains("This part is missing") && picture.contains("message 0"), "{picture}");
}

#[test]
fn the_place_is_kept_when_messages_come_and_when_the_size_changes() {
    let mut bob = Fixture::with_bob(SIZE, talk(100));
    bob.key(KeyCode::PageUp);
    let before = place(&bob);
    let last_row = |bob: &Fixture| {
        let picture = shown(bob);
        picture.lines().nth(20).unwrap().split("message ").nth(1).unwrap()[..2].to_owned()
    };
    let row = last_row(&bob);
    for at in 0..30 {
        bob.event(message(&format!("new{at}"), "more"));
    }
    assert_eq!((place(&bob), last_row(&bob)), (before.clone(), row));
    assert!(shown(&bob).contains("more below, 30 unread"), "{}", shown(&bob));
    bob.handle(Input::Resized(120, 40));
    assert_eq!(place(&bob), before);
    bob.key(KeyCode::Esc);
    assert_eq!(place(&bob), Place::Bottom);
}

#[test]
fn a_message_that_expires_at_the_edge_of_the_view_leaves_the_place_to_its_neighbour() {
    let mut bob = Fixture::with_bob(SIZE, talk(60));
    bob.key(KeyCode::PageUp);
    let Place::At { message, .. } = place(&bob) else { panic!("it is at the bottom") };
    bob.event(json!({"type": "change", "peer": "id-bob", "message": message, "what": "expired"}));
    let Place::At { message: neighbour, .. } = place(&bob) else { panic!("it is at the bottom") };
    assert_ne!(neighbour, message);
    bob.handle(Input::Resized(1, 1));
    bob.handle(Input::Resized(80, 24));
    assert_eq!(place(&bob), Place::At { message: neighbour, row: 0 });
}

#[test]
fn changes_show_in_place_while_scrolled_up() {
    let mut bob = Fixture::with_bob(SIZE, talk(60));
    (0..2).for_each(|_| bob.key(KeyCode::PageUp));
    let before = place(&bob);
    let history = bob.calls("message.history").len();
    let change = |what: Value| {
        let mut event = json!({"type": "change", "peer": "id-bob", "name": "bob", "message": "m20", "mine": false,
            "at": NOON + 100_000_000});
        event.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        event
    };
    bob.event(change(json!({"what": "edited", "text": "other words"})));
    bob.event(change(json!({"what": "reaction", "emoji": "👍", "on": true})));
    let picture = shown(&bob);
    assert!(picture.contains("other words (edited)") && picture.contains("👍"), "{picture}");
    bob.event(change(json!({"what": "deleted"})));
    assert!(shown(&bob).contains("(deleted)"));
    bob.event(change(json!({"what": "expired"})));
    assert!(!shown(&bob).contains("(deleted)"));
    bob.event(change(json!({"what": "timer", "message": "t", "expires_s": 7200})));
    assert_eq!((place(&bob), bob.calls("message.history").len()), (before, history));
    bob.key(KeyCode::Esc);
    assert!(shown(&bob).contains("from now on texts disappear, 2 hours after"), "{}", shown(&bob));
}

#[test]
fn what_another_client_sends_and_reads_shows_here() {
    let mut bob = unread(SIZE, 3, 2);
    bob.event(
        json!({"type": "sent", "peer": "id-bob", "name": "bob", "message": "s", "text": "by a script", "at": NOON}),
    );
    assert!(shown(&bob).contains("by a script"));
    bob.event(json!({"type": "read", "peer": "id-bob", "name": "bob", "upto": "m2", "unread": 0}));
    assert_eq!(bob.screen.contacts.find("id-bob").unwrap().unread, 0);
    bob.event(json!({"type": "contact.removed", "peer": "id-bob", "name": "bob"}));
    assert!(bob.screen.conversation.is_none());
}

#[test]
fn a_chosen_message_is_answered() {
    let mut bob = Fixture::with_bob(SIZE, talk(5));
    bob.key(KeyCode::Up);
    bob.key(KeyCode::Up);
    bob.key(KeyCode::Up);
    assert_eq!(bob.screen.conversation.as_ref().unwrap().chosen.as_deref(), Some("m2"));
    bob.key(KeyCode::Char('r'));
    assert!(shown(&bob).contains("> bob: message 2"), "{}", shown(&bob));
    bob.type_text("yes");
    bob.key(KeyCode::Enter);
    let sent = last(&bob, "message.send");
    assert_eq!((&sent["reply"], &sent["text"]), (&json!("m2"), &json!("yes")));
    bob.type_text("more");
    bob.key(KeyCode::Enter);
    assert_eq!(last(&bob, "message.send")["reply"], Value::Null);
}

#[test]
fn a_message_of_ours_is_edited_while_the_draft_waits() {
    let mut bob = Fixture::with_bob(SIZE, talk(5));
    bob.key(KeyCode::Up);
    bob.key(KeyCode::Char('e'));
    assert!(shown(&bob).contains("only a text of one's own"));
    bob.key(KeyCode::Up);
    bob.key(KeyCode::Char('e'));
    assert_eq!(bob.screen.composer.text(), "message 3");
    bob.type_text("!");
    bob.wait(200);
    assert!(bob.calls("draft.set").is_empty());
    bob.key(KeyCode::Enter);
    assert_eq!(bob.calls("message.edit"), [&json!({"with": "id-bob", "message": "m3", "text": "message 3!"})]);

    bob.type_text("begun");
    bob.screen.edit(None);
    assert_eq!(bob.screen.composer.text(), "message 3");
    bob.settle();
    assert_eq!(last(&bob, "draft.set")["text"], "begun");
    bob.key(KeyCode::Esc);
    assert_eq!(bob.screen.composer.text(), "begun");
}

#[test]
fn a_message_is_deleted_after_a_question_and_reacted_to_by_a_digit() {
    let mut bob = Fixture::with_bob(SIZE, talk(4));
    bob.key(KeyCode::Up);
    bob.key(KeyCode::Char('d'));
    bob.key(KeyCode::Char('n'));
    assert!(bob.calls("message.delete").is_empty());
    bob.key(KeyCode::Char('d'));
    assert!(shown(&bob).contains("Enter: delete on both sides"));
    bob.key(KeyCode::Enter);
    assert_eq!(bob.calls("message.delete"), [&json!({"with": "id-bob", "message": "m3"})]);

    bob.key(KeyCode::Up);
    bob.key(KeyCode::Up);
    bob.key(KeyCode::Char('+'));
    bob.key(KeyCode::Char('2'));
    let reaction = json!({"with": "id-bob", "message": "m2", "emoji": "❤", "on": true});
    assert_eq!(bob.calls("message.react"), [&reaction]);
    let event = json!({"type": "change", "peer": "id-bob", "message": "m2", "mine": true, "what": "reaction",
        "emoji": "❤", "on": true});
    bob.event(event);
    bob.screen.react(Some("❤"));
    bob.settle();
    assert_eq!(last(&bob, "message.react")["on"], false);
    bob.screen.react(None);
    bob.type_text("no");
    bob.key(KeyCode::Enter);
    assert!(shown(&bob).contains("no is no emoji"));
}

#[test]
fn a_message_is_copied() {
    let mut bob = Fixture::with_bob(SIZE, talk(4));
    bob.key(KeyCode::Up);
    bob.key(KeyCode::Char('y'));
    assert!(bob.effects.contains(&Effect::Copy("message 3".to_owned())));
}

#[test]
fn a_search_lists_hits_jumps_to_them_and_comes_back() {
    let mut all = talk(900);
    for (at, text) in [(100, "the needle"), (500, "今天的 NEEDLE"), (850, "needle again")] {
        all[at]["text"] = text.into();
    }
    let mut bob = Fixture::with_bob(SIZE, all);
    bob.key_with(KeyCode::Char('s'), KeyModifiers::CONTROL);
    bob.type_text("needle");
    let picture = shown(&bob);
    let order: Vec<_> =
        ["needle again", "NEEDLE", "the needle"].iter().map(|text| picture.find(text).unwrap()).collect();
    assert!(order.is_sorted(), "{picture}");
    bob.key(KeyCode::Down);
    bob.key(KeyCode::Enter);
    let picture = shown(&bob);
    assert!(picture.contains("今天的 NEEDLE") && picture.contains("message 499") && picture.contains("message 501"));
    assert!(picture.contains("2/3"), "{picture}");
    bob.key_with(KeyCode::Char('s'), KeyModifiers::CONTROL);
    assert!(shown(&bob).contains("message 99") && shown(&bob).contains("the needle"));
    bob.key_with(KeyCode::Char('n'), KeyModifiers::ALT);
    assert!(shown(&bob).contains("that was the oldest hit"));
    bob.key(KeyCode::Esc);
    assert!(shown(&bob).contains("message 899"));
    bob.screen.search_for("nothing like it");
    bob.settle();
    assert!(shown(&bob).contains("nothing found"));
}

#[test]
fn more_hits_are_listed_as_one_goes_down() {
    let all = (0..180).map(|at| said(&format!("m{at}"), ME, &format!("hit {at}"), NOON + at * 60_000)).collect();
    let mut bob = Fixture::with_bob(SIZE, all);
    bob.screen.search_for("hit");
    bob.settle();
    for _ in 0..200 {
        bob.key(KeyCode::Down);
    }
    assert!(shown(&bob).contains("hit 0"), "{}", shown(&bob));
}

#[test]
fn a_page_that_is_late_changes_nothing() {
    let mut bob = Fixture::with_bob(SIZE, talk(300));
    bob.silent = true;
    for _ in 0..4 {
        bob.key(KeyCode::PageUp);
    }
    let late = bob.asked.iter().rfind(|ask| ask.method == "message.history").cloned().unwrap();
    bob.silent = false;
    bob.key_with(KeyCode::Home, KeyModifiers::CONTROL);
    let picture = shown(&bob);
    bob.handle(Input::Answer(Ask { ..late }, Ok(Value::Array(talk(5)))));
    assert_eq!(shown(&bob), picture);
}

/// As in tmux unless `focus-events` is on: another of its windows may hide this one.
#[test]
fn what_comes_to_a_screen_that_nobody_touched_is_read_with_the_next_key() {
    let mut bob = Fixture::with_bob(SIZE, talk(2));
    bob.wait(60_000);
    bob.event(message("new", "are you there?"));
    assert!(bob.calls("message.read").is_empty());
    bob.key(KeyCode::Char('y'));
    assert_eq!(last(&bob, "message.read"), &json!({"with": "id-bob", "upto": "new"}));
}

#[test]
fn what_the_first_steps_hide_is_not_read_and_a_conversation_ends_them() {
    let mut bob = Fixture::with_bob(SIZE, talk(2));
    bob.contacts.push(contact("carol"));
    bob.event(json!({"type": "contact.added", "peer": "id-carol", "name": "carol"}));
    bob.type_text("/setup");
    bob.key(KeyCode::Enter);
    bob.event(message("new", "are you there?"));
    assert!(bob.calls("message.read").is_empty());
    bob.type_text("/go carol");
    bob.key(KeyCode::Enter);
    assert!(bob.screen.setup.is_none() && shown(&bob).contains("carol · online"), "{}", shown(&bob));
    assert!(bob.calls("message.read").is_empty());
}
