//! What conversations look like, as goldens of every size.

use std::collections::BTreeMap;
use std::{env, fs};

use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::{Value, json};

use super::Input;
use super::fixture::{Fixture, ME, NOON, contact, said, talk};
use crate::terminal::golden;
use crate::terminal::theme::Theme;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn with(mut message: Value, more: Value) -> Value {
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

/// All that a conversation can hold.
fn everything() -> Vec<Value> {
    let bob = |id: &str, text: &str, minute: u64| said(id, "id-bob", text, NOON + minute * MINUTE);
    let me = |id: &str, text: &str, minute: u64, state: &str| {
        with(said(id, ME, text, NOON + minute * MINUTE), json!({"state": state}))
    };
    vec![
        bob("a", "shall we meet tomorrow, at the usual place or somewhere else entirely?", 0),
        bob("b", "I could be there by nine", 0),
        with(
            me("c", "yes!", 1, "read"),
            json!({"reply": "a", "reactions": [
            {"emoji": "👍", "mine": false}, {"emoji": "👍", "mine": true}, {"emoji": "❤", "mine": false}]}),
        ),
        with(bob("d", "at nine, then", 2), json!({"edited": true, "reactions": [{"emoji": "🎉", "mine": true}]})),
        with(me("e", "", 3, "delivered"), json!({"deleted": true})),
        with(bob("f", "", 4), json!({"kind": "timer", "expires_s": 7200})),
        with(me("g", "this one goes", 5, "sent"), json!({"expires_s": 7200})),
        with(bob("h", "", 6), json!({"kind": "unknown"})),
        with(bob("i", "who was that?", 7), json!({"reply": "long ago"})),
        me("j", "two\nlines", 8, "queued"),
        me("k", "never sent", 9, "failed"),
    ]
}

/// Scripts that are wide, joined, combined, or go the other way.
fn scripts() -> Vec<Value> {
    let texts = [
        ("id-bob", "今天天气很好，我们去公园走走吧。你觉得怎么样？下午三点在门口见面，好吗？"),
        (ME, "好的，👨‍👩‍👧‍👦 一起去"),
        ("id-bob", "e\u{301}te\u{301} a\u{308}nderung \u{301}lone"),
        (ME, "שלום עולם, mixed with English"),
        ("id-bob", "مرحبا بالعالم"),
        (ME, "flags 🇨🇭🇨🇳 and 👍🏽 and ❤️"),
        ("id-bob", "tab\there, bell\u{7} and \u{202E}turned"),
        (ME, "한국어 메시지와 日本語のメッセージ"),
        ("id-bob", "a-very-long-word-without-any-place-to-break-it-because-somebody-pasted-an-address-of-a-page-here"),
    ];
    let message = |(at, (from, text)): (usize, &(&str, &str))| {
        with(said(&format!("s{at}"), from, text, NOON + at as u64 * MINUTE), json!({"state": "read"}))
    };
    texts.iter().enumerate().map(message).collect()
}

#[test]
fn all_kinds_of_messages() {
    for size in golden::SIZES {
        golden::check("kinds", &Fixture::with_bob(size, everything()).screen);
    }
}

#[test]
fn all_scripts() {
    for size in golden::SIZES {
        golden::check("scripts", &Fixture::with_bob(size, scripts()).screen);
    }
}

#[test]
fn a_short_conversation_stands_at_the_bottom() {
    for size in golden::SIZES {
        let mut all = talk(3);
        all[2]["at"] = (NOON + DAY).into();
        golden::check("short", &Fixture::with_bob(size, all).screen);
    }
}

#[test]
fn where_the_unread_begin() {
    for size in golden::SIZES {
        let mut bob = contact("bob");
        (bob["unread"], bob["first_unread"]) = (30.into(), "m40".into());
        let all = BTreeMap::from([("id-bob".to_owned(), talk(99))]);
        golden::check("unread", &Fixture::new(size, vec![bob], all).screen);
    }
}

#[test]
fn scrolled_up_while_something_comes() {
    for size in golden::SIZES {
        let mut bob = Fixture::with_bob(size, talk(200));
        (0..3).for_each(|_| bob.key(KeyCode::PageUp));
        let event =
            json!({"type": "message", "peer": "id-bob", "name": "bob", "message": "new", "text": "are you there?"});
        bob.event(event);
        bob.type_text("not yet");
        golden::check("scrolled", &bob.screen);
    }
}

#[test]
fn a_message_is_chosen() {
    for size in golden::SIZES {
        let mut bob = Fixture::with_bob(size, everything());
        (0..9).for_each(|_| bob.key(KeyCode::Up));
        golden::check("chosen", &bob.screen);
        bob.key(KeyCode::Enter);
        bob.type_text("nine it is");
        golden::check("replying", &bob.screen);
    }
}

#[test]
fn a_reaction_is_to_be_given() {
    for size in golden::SIZES {
        let mut bob = Fixture::with_bob(size, everything());
        bob.screen.react(None);
        golden::check("reacting", &bob.screen);
    }
}

#[test]
fn a_search_has_found_something() {
    for size in golden::SIZES {
        let mut all = talk(200);
        for (at, text) in [(20, "公园 in the park"), (77, "she said: park there"), (150, "no PARK, no walk")] {
            all[at]["text"] = text.into();
        }
        all[50]["text"] = format!("{} park", "so much is said before that word comes".repeat(3)).into();
        let mut bob = Fixture::with_bob(size, all);
        bob.key_with(KeyCode::Char('s'), KeyModifiers::CONTROL);
        bob.type_text("park");
        bob.key(KeyCode::Down);
        golden::check("search", &bob.screen);
        bob.key(KeyCode::Enter);
        golden::check("found", &bob.screen);
    }
}

#[test]
fn a_page_is_missing() {
    for size in golden::SIZES {
        let mut bob = Fixture::with_bob(size, talk(150));
        bob.refuses.insert("message.history", "the disk does not answer".to_owned());
        (0..60).for_each(|_| bob.key(KeyCode::PageUp));
        bob.handle(Input::Focused(true));
        golden::check("missing", &bob.screen);
    }
}

/// The README's picture is what is drawn: `UPDATE_GOLDENS=1` puts it there.
#[test]
fn the_readme_shows_what_is_drawn() {
    let at = NOON + 521 * MINUTE;
    let alice = |id: &str, text: &str, at| said(id, "id-alice", text, at);
    let mut asked = said("1", ME, "Can you hear me through the fence?", at);
    asked["state"] = "read".into();
    let mut mine = said("3", ME, "Nobody: this goes straight from my socket to yours.", at);
    mine["state"] = "read".into();
    mine["reply"] = "2".into();
    mine["reactions"] = json!([{"emoji": "👍", "mine": false}]);
    let today = at + 741 * MINUTE;
    let messages = vec![
        asked,
        alice("2", "Loud and clear. Who else is listening?", at),
        mine,
        alice("4", "早上好 👩‍👩‍👧 See you at eight, by the old oak?", today),
    ];
    let mut contacts = ["alice", "Ben", "chen"].map(contact);
    contacts[0]["verified"] = true.into();
    contacts[0]["path"] = json!({"kind": "direct", "remote": "203.0.113.5:48109", "rtt_ms": 23.0});
    contacts[0]["unread"] = 1.into();
    contacts[0]["first_unread"] = "4".into();
    contacts[1]["path"] = json!({"kind": "relay", "remote": "192.0.2.1:3478", "rtt_ms": 80.0});
    contacts[1]["unread"] = 3.into();
    contacts[2]["presence"] = "offline".into();
    let conversations = BTreeMap::from([("id-alice".to_owned(), messages)]);
    let mut fixture = Fixture::new((80, 14), contacts.into(), conversations);
    fixture.type_text("With pleas");
    let drawn = golden::picture(&fixture.screen, Theme::Plain);
    let drawn: String = drawn.lines().take(14).map(|line| format!("{line}\n")).collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(file).unwrap();
    let (before, rest) = readme.split_once("```text\n").unwrap();
    let (kept, after) = rest.split_once("```\n").unwrap();
    if env::var_os("UPDATE_GOLDENS").is_some() {
        return fs::write(file, format!("{before}```text\n{drawn}```\n{after}")).unwrap();
    }
    assert_eq!(kept, drawn);
}
