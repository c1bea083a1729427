use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::{Value, json};

use crate::terminal::screen::fixture::{Fixture, ME, contact, said, talk};
use crate::terminal::screen::{Effect, Overlay};

const SIZE: (u16, u16) = (80, 24);

fn with_bob() -> Fixture {
    Fixture::with_bob(SIZE, talk(4))
}

fn enter(fixture: &mut Fixture, line: &str) {
    fixture.type_text(line);
    fixture.key(KeyCode::Esc);
    fixture.key(KeyCode::Enter);
}

fn notice(fixture: &Fixture) -> &str {
    fixture.screen.notice.as_ref().map_or("", |notice| notice.text.as_str())
}

/// What one line makes the engine do.
#[track_caller]
fn asks(line: &str, method: &str, parameters: Value) {
    let mut bob = with_bob();
    enter(&mut bob, line);
    assert_eq!(bob.calls(method), [&parameters], "{line}: {}", notice(&bob));
    assert!(bob.screen.composer.is_empty(), "{line}");
    assert!(bob.calls("message.send").is_empty() || method == "message.send", "{line}");
}

#[test]
fn each_command_asks_the_engine_for_what_it_says() {
    asks("/block bob", "contact.block", json!({"peer": "id-bob"}));
    asks("/rename rob", "contact.rename", json!({"peer": "id-bob", "name": "rob"}));
    asks("/rename bob \"r o b\"", "contact.rename", json!({"peer": "id-bob", "name": "r o b"}));
    asks("/path relay", "contact.path", json!({"peer": "id-bob", "mode": "relay"}));
    asks("/path any bob", "contact.path", json!({"peer": "id-bob", "mode": "any"}));
    asks("/invisible", "presence.set", json!({"mode": "invisible", "peer": null}));
    asks("/online bob", "presence.set", json!({"mode": "online", "peer": "id-bob"}));
    asks("/mailbox on", "mailbox.set", json!({"open": true}));
    asks("/timer 1h", "conversation.timer", json!({"with": "id-bob", "expires_s": 3600}));
    asks("/timer off", "conversation.timer", json!({"with": "id-bob", "expires_s": null}));
    asks("/verify", "contact.words", json!({"peer": "id-bob"}));
    asks("/verify ok", "contact.verify", json!({"peer": "id-bob"}));
    asks("/code rob", "contact.code", json!({"name": "rob"}));
    asks("/netcheck", "netcheck", json!({}));
    asks(
        "/add 7-orchard-velvet rob --relay",
        "contact.add",
        json!({"link": "7-orchard-velvet", "name": "rob", "path": "relay"}),
    );
}

#[test]
fn a_mistyped_command_stays_where_it_was_typed_and_nothing_is_sent() {
    for (line, told) in [
        ("/quti", "/quit"),
        ("/timer soon", "soon"),
        ("/go bobb", "bob"),
        ("/go zebediah", "nobody is called zebediah"),
        ("/whois \"b ob\"", "nobody"),
        ("/accept", "nobody asks"),
    ] {
        let mut bob = with_bob();
        let before = bob.asked.len();
        enter(&mut bob, line);
        assert!(notice(&bob).contains(told), "{line}: {}", notice(&bob));
        assert_eq!(bob.screen.composer.text(), line);
        let after = &bob.asked[before..];
        assert!(after.iter().all(|ask| ask.method == "draft.set" || ask.method == "typing.set"), "{line}: {after:?}");
    }
}

#[test]
fn what_the_engine_refuses_comes_back_to_be_put_right() {
    let mut bob = with_bob();
    bob.refuses.insert("contact.rename", "another contact is called so".into());
    enter(&mut bob, "/rename carol");
    assert_eq!(bob.screen.composer.text(), "/rename carol");
    assert!(notice(&bob).contains("another contact"));
}

#[test]
fn a_name_is_found_whatever_its_capitals_unless_two_share_it() {
    let contacts = vec![contact("Bob"), contact("anna"), contact("ANNA")];
    let mut three = Fixture::new(SIZE, contacts, BTreeMap::new());
    enter(&mut three, "/go bob");
    assert_eq!(three.screen.conversation.as_ref().unwrap().peer, "id-Bob");
    enter(&mut three, "/go anna");
    assert_eq!(three.screen.conversation.as_ref().unwrap().peer, "id-anna");
    enter(&mut three, "/go Anna");
    assert_eq!(three.screen.conversation.as_ref().unwrap().peer, "id-anna", "it is not known who is meant");
    assert!(notice(&three).contains("did you mean"), "{}", notice(&three));
}

#[test]
fn nobody_is_removed_before_the_answer_is_yes() {
    let mut bob = with_bob();
    enter(&mut bob, "/remove");
    assert!(matches!(&bob.screen.overlay, Some(Overlay::Question(asked)) if asked.text.contains("bob")));
    bob.key(KeyCode::Char('n'));
    assert!(bob.calls("contact.remove").is_empty() && bob.screen.overlay.is_none());
    enter(&mut bob, "/remove bob");
    bob.key(KeyCode::Char('y'));
    assert_eq!(bob.calls("contact.remove"), [&json!({"peer": "id-bob"})]);
}

fn request(name: &str) -> Value {
    let mut request = contact(name);
    request["state"] = "request".into();
    request
}

#[test]
fn a_friend_is_not_blocked_in_the_place_of_a_stranger_who_just_asked() {
    let mut bob = with_bob();
    bob.event(json!({"type": "contact.request", "peer": "id-new", "name": "a stranger", "text": ""}));
    assert_eq!(notice(&bob), "a stranger: asks to be a contact; /accept \"a stranger\" or /block \"a stranger\"");
    enter(&mut bob, "/block");
    assert!(matches!(&bob.screen.overlay, Some(Overlay::Question(asked)) if asked.text.contains("bob")));
    bob.key(KeyCode::Char('n'));
    assert!(bob.calls("contact.block").is_empty());
    enter(&mut bob, "/block");
    bob.key(KeyCode::Char('y'));
    assert_eq!(bob.calls("contact.block"), [&json!({"peer": "id-bob"})]);
}

#[test]
fn a_request_that_is_open_is_turned_down_without_a_name() {
    let mut stranger = Fixture::new(SIZE, vec![contact("bob"), request("stranger")], BTreeMap::new());
    enter(&mut stranger, "/go stranger");
    enter(&mut stranger, "/block");
    assert_eq!(stranger.calls("contact.block"), [&json!({"peer": "id-stranger"})]);
}

#[test]
fn who_is_accepted_is_named_where_several_ask_unless_one_of_them_is_open() {
    let mut two = Fixture::new(SIZE, vec![contact("bob"), request("a b"), request("eve")], BTreeMap::new());
    enter(&mut two, "/accept");
    assert!(two.calls("contact.accept").is_empty());
    assert!(notice(&two).contains("\"a b\", eve"), "{}", notice(&two));
    two.screen.composer.set_text("");
    enter(&mut two, "/go eve");
    enter(&mut two, "/accept");
    assert_eq!(two.calls("contact.accept"), [&json!({"peer": "id-eve", "path": null})]);
}

#[test]
fn a_blocked_contact_that_is_open_comes_back_by_accepting_it() {
    let mut blocked = contact("eve");
    blocked["state"] = "blocked".into();
    let mut eve = Fixture::new(SIZE, vec![blocked], BTreeMap::new());
    enter(&mut eve, "/go eve");
    enter(&mut eve, "/accept");
    assert_eq!(eve.calls("contact.accept"), [&json!({"peer": "id-eve", "path": null})]);
}

#[test]
fn the_link_and_nothing_else_is_copied_where_no_message_is_chosen() {
    let mut bob = with_bob();
    enter(&mut bob, "/copy");
    assert!(bob.effects.contains(&Effect::Copy("knothole:me".into())));
}

#[test]
fn changes_are_made_to_the_latest_message_that_fits() {
    let messages = vec![said("a", "id-bob", "one", 1), said("b", ME, "two", 2), said("c", "id-bob", "three", 3)];
    for (line, method, message) in
        [("/reply yes", "message.send", "c"), ("/react 👍", "message.react", "c"), ("/edit too", "message.edit", "b")]
    {
        let mut bob = Fixture::with_bob(SIZE, messages.clone());
        enter(&mut bob, line);
        let calls = bob.calls(method);
        let asked = calls.last().unwrap_or_else(|| panic!("{line}: {}", notice(&bob)));
        let field = if method == "message.send" { "reply" } else { "message" };
        assert_eq!(asked[field], message, "{line}");
    }
}

#[test]
fn nothing_is_changed_that_is_the_latest_only_of_what_is_loaded() {
    for line in ["/reply yes", "/react 👍", "/edit too", "/delete"] {
        let mut bob = Fixture::with_bob(SIZE, talk(500));
        bob.key_with(KeyCode::Home, KeyModifiers::CONTROL);
        assert!(!bob.screen.conversation.as_ref().unwrap().holds_newest());
        let before = bob.asked.len();
        // Without Esc, which would go to the newest.
        bob.type_text(&format!("{line} "));
        bob.key(KeyCode::Enter);
        assert!(notice(&bob).contains("choose one with ↑"), "{line}: {}", notice(&bob));
        assert_eq!(bob.screen.composer.text().trim_end(), line);
        let after = &bob.asked[before..];
        assert!(after.iter().all(|ask| ask.method == "draft.set" || ask.method == "typing.set"), "{line}: {after:?}");
    }
}

#[test]
fn search_and_delete_are_the_conversations_own() {
    let mut bob = with_bob();
    enter(&mut bob, "/search message 2");
    assert_eq!(bob.calls("message.history").last().unwrap()["search"], "message 2");
    let mut bob = with_bob();
    enter(&mut bob, "/delete");
    assert!(bob.calls("message.delete").is_empty(), "it asks first");
    bob.key(KeyCode::Enter);
    assert_eq!(bob.calls("message.delete").len(), 1);
    let mut nothing = Fixture::with_bob(SIZE, Vec::new());
    enter(&mut nothing, "/delete");
    assert_eq!(nothing.screen.composer.text(), "/delete");
}

#[test]
fn a_request_is_accepted_by_name_or_as_the_only_one_and_its_conversation_opens() {
    for line in ["/accept", "/accept stranger --relay"] {
        let mut bob = Fixture::new(SIZE, vec![request("stranger"), contact("bob")], BTreeMap::new());
        enter(&mut bob, line);
        let path = if line.contains("relay") { json!("relay") } else { Value::Null };
        assert_eq!(bob.calls("contact.accept"), [&json!({"peer": "id-stranger", "path": path})]);
    }
}
