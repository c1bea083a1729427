use std::collections::BTreeMap;

use ratatui::crossterm::event::KeyCode;
use serde_json::{Value, json};

use super::*;
use crate::terminal::golden;
use crate::terminal::screen::Input;
use crate::terminal::screen::fixture::{Fixture, NOON, contact};
use crate::terminal::words::CHINESE;

const SIZE: (u16, u16) = (80, 24);

fn with(name: &str, fields: Value) -> Value {
    let mut who = contact(name);
    for (field, value) in fields.as_object().into_iter().flatten() {
        who[field] = value.clone();
    }
    who
}

/// Somebody of each kind.
fn everybody() -> Vec<Value> {
    let relay = json!({"kind": "relay", "transport": "udp", "remote": "203.0.113.9:3478", "rtt_ms": 41.2,
        "why": "both NATs choose a new port for each destination"});
    let direct = json!({"kind": "direct", "transport": "udp", "remote": "198.51.100.7:40123", "rtt_ms": 23.4});
    vec![
        with("stranger", json!({"state": "request", "presence": "offline", "greeting": "we met at the fair"})),
        with("Anna Maria", json!({"path": relay, "verified": true, "expires_s": 86_400, "unread": 3})),
        with("bob", json!({"path": direct, "draft": "I have beg"})),
        with(
            "carol",
            json!({"presence": "offline", "last_seen": NOON - 5 * 60_000, "relay_only": true,
            "seen_as": "invisible"}),
        ),
        with("dave", json!({"state": "requested", "presence": "offline"})),
        with("王小明", json!({})),
        with("mallory", json!({"state": "blocked", "presence": "offline"})),
    ]
}

fn village(size: (u16, u16)) -> Fixture {
    Fixture::new(size, everybody(), BTreeMap::new())
}

fn enter(fixture: &mut Fixture, line: &str) {
    fixture.handle(Input::Paste(line.into()));
    fixture.key(KeyCode::Enter);
}

/// Draws what a line brings at every size, in English and in Chinese.
#[track_caller]
fn drawn(name: &str, line: &str, prepare: fn(&mut Fixture)) {
    for size in golden::SIZES {
        for (words, language) in [(&crate::terminal::words::ENGLISH, ""), (&CHINESE, "_zh")] {
            let mut fixture = village(size);
            fixture.screen.words = words;
            prepare(&mut fixture);
            enter(&mut fixture, line);
            golden::check(&format!("{name}{language}"), &fixture.screen);
        }
    }
}

#[test]
fn the_help_is_drawn_at_every_size() {
    drawn("help", "/help", |_| {});
    drawn("help_verify", "/help verify", |_| {});
}

#[test]
fn the_list_and_its_page_tell_everybody_apart_without_colour() {
    drawn("contacts", "/contacts", |_| {});
    drawn("list", "/go carol", |_| {});
}

#[test]
fn everything_about_a_contact_is_told() {
    drawn("whois", "/whois \"Anna Maria\"", |_| {});
}

#[test]
fn one_who_asks_shows_name_id_and_greeting_and_what_to_type() {
    drawn("request", "/go stranger", |_| {});
    let mut village = village(SIZE);
    enter(&mut village, "/go stranger");
    assert!(village.calls("contact.connect").iter().all(|asked| asked["peer"] != "id-stranger"));
    enter(&mut village, "/accept --relay");
    assert_eq!(village.calls("contact.accept"), [&json!({"peer": "id-stranger", "path": "relay"})]);
}

#[test]
fn somebody_who_asks_twice_is_told_of_once() {
    let mut village = village(SIZE);
    village.event(json!({"type": "contact.request", "peer": "id-stranger", "name": "stranger", "text": "well?"}));
    assert!(village.screen.notice.is_none());
    village.event(json!({"type": "contact.request", "peer": "id-other", "name": "other", "text": "well?"}));
    assert!(village.screen.notice.is_some());
    assert!(village.effects.is_empty(), "{:?}", village.effects);
}

fn code(fixture: &mut Fixture) {
    fixture.answers.insert("contact.code", json!({"code": "7-orchard-velvet", "expires_at": NOON + 600_000}));
}

#[test]
fn a_code_is_shown_with_the_time_that_is_left_and_closes_when_it_is_used() {
    drawn("code", "/code", code);
    let mut village = village(SIZE);
    code(&mut village);
    enter(&mut village, "/code");
    let text = |village: &Fixture| {
        let sheet = village.screen.sheet().unwrap();
        sheet.rows.iter().flat_map(|row| &row.pieces).map(|piece| piece.text.clone()).collect::<Vec<_>>().join("|")
    };
    assert!(text(&village).contains("/add 7-orchard-velvet") && text(&village).contains("10:00"));
    let due = village.screen.poll_timeout().unwrap();
    village.wait(due - village.now);
    assert!(text(&village).contains("9:59"));
    village.key(KeyCode::Char('c'));
    assert!(village.effects.contains(&Effect::Copy("7-orchard-velvet".into())));
    village.contacts.push(contact("eve"));
    village.event(json!({"type": "contact.added", "peer": "id-eve", "name": "eve"}));
    assert!(village.screen.overlay.is_none());
    assert_eq!(village.screen.conversation.as_ref().unwrap().peer, "id-eve");
}

#[test]
fn a_code_that_nobody_typed_in_time_says_so_and_r_makes_another() {
    let mut village = village(SIZE);
    code(&mut village);
    enter(&mut village, "/code rob");
    village.wait(600_000);
    village.key(KeyCode::Char('r'));
    let asked = json!({"name": "rob"});
    assert_eq!(village.calls("contact.code"), [&asked, &asked], "it is for the same one");
}

#[test]
fn why_a_code_came_to_nothing_is_said_in_the_persons_language() {
    let mut village = village(SIZE);
    village.screen.words = &CHINESE;
    let why = "nobody typed the code in time; make another: knothole code";
    village.event(json!({"type": "contact.code", "state": "failed", "why": why}));
    let notice = village.screen.notice.as_ref().unwrap();
    assert!(notice.text.starts_with("没有人及时输入口令"), "{}", notice.text);
}

fn words(fixture: &mut Fixture) {
    let ten = ["abandon", "ability", "able", "about", "above", "absent", "absorb", "abstract", "absurd", "abuse"];
    fixture
        .answers
        .insert("contact.words", json!({"words": ten, "qr": format!("knothole-verify:{0}?for={0}", "a".repeat(52))}));
}

#[test]
fn ten_words_are_compared_and_y_says_that_they_are_the_same() {
    drawn("verify", "/verify bob", words);
    let mut village = village(SIZE);
    words(&mut village);
    enter(&mut village, "/verify bob");
    village.key(KeyCode::Char('y'));
    assert_eq!(village.calls("contact.verify"), [&json!({"peer": "id-bob"})]);
    assert!(village.screen.overlay.is_none());
}

fn network(fixture: &mut Fixture) {
    fixture.answers.insert(
        "netcheck",
        json!({
        "udp": true, "transport": "udp", "observed": "203.0.113.5:4711", "mapping": "endpoint-independent",
        "filtering": "address-and-port-dependent", "ports": "preserved", "hairpin": false, "lifetime_s": 65,
        "ipv6": true, "port_mapping": ["pcp"], "summary": "Others reach you directly.",
        "rendezvous": [{"address": "k@r.example:1", "rtt_ms": 80.6}]}),
    );
}

#[test]
fn what_the_network_does_is_told_and_asked_once_more() {
    drawn("netcheck", "/netcheck", network);
    let mut village = village(SIZE);
    network(&mut village);
    enter(&mut village, "/netcheck");
    village.key(KeyCode::Char('r'));
    assert_eq!(village.calls("netcheck").len(), 2);
    village.refuses.insert("netcheck", "no rendezvous is configured".into());
    village.key(KeyCode::Char('r'));
    assert!(village.screen.overlay.is_none() && village.screen.notice.as_ref().is_some_and(|notice| notice.alarm));
}

#[test]
fn pages_scroll_to_their_end_and_no_further_and_esc_closes_them() {
    let mut village = village((40, 10));
    village.key(KeyCode::F(1));
    let first = village.screen.sheet().unwrap().rows;
    for _ in 0..100 {
        village.key(KeyCode::PageDown);
    }
    let last = village.screen.sheet().unwrap().rows;
    assert_eq!(last.len(), 8, "the last page is full");
    village.key(KeyCode::Up);
    assert_ne!(village.screen.sheet().unwrap().rows, last);
    village.key(KeyCode::Home);
    assert_eq!(village.screen.sheet().unwrap().rows, first);
    village.key(KeyCode::Esc);
    assert!(village.screen.overlay.is_none());
}

#[test]
fn the_page_of_contacts_opens_the_chosen_one() {
    let mut village = village((40, 10));
    village.key(KeyCode::F(2));
    village.key(KeyCode::End);
    village.key(KeyCode::Up);
    village.key(KeyCode::Enter);
    assert_eq!(village.screen.conversation.as_ref().unwrap().peer, "id-stranger");
}

#[test]
fn a_question_is_whole_in_the_smallest_window() {
    let mut village = village((40, 10));
    enter(&mut village, "/remove \"Anna Maria\"");
    golden::check("question", &village.screen);
    assert!(golden::picture(&village.screen, crate::terminal::theme::Theme::Plain).contains("y/n"));
}

#[test]
fn nothing_typed_on_a_page_is_sent() {
    let mut village = village(SIZE);
    village.key(KeyCode::F(1));
    village.type_text("hello");
    village.handle(Input::Paste("hello\n".into()));
    village.key(KeyCode::Enter);
    assert!(village.calls("message.send").is_empty() && village.screen.composer.is_empty());
}
