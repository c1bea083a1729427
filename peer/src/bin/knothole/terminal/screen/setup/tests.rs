use knothole_proto::contact_link::RendezvousAddress;
use ratatui::crossterm::event::KeyCode;
use serde_json::{Value, json};

use super::Step;
use crate::session::Used;
use crate::terminal::golden;
use crate::terminal::screen::fixture::{Fixture, contact};
use crate::terminal::screen::{Effect, Input};
use crate::terminal::words::CHINESE;

const SIZE: (u16, u16) = (80, 24);
const KEY: &str = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrsa";

fn address() -> String {
    format!("{KEY}@203.0.113.5:3478")
}

fn friend() -> String {
    format!("knothole:{KEY}?via={}", address())
}

fn link() -> String {
    format!("knothole:{}a?via={}", "bc2d".repeat(12) + "efg", address())
}

/// A home without contacts, whose rendezvous has come this far; with none, it knows none.
fn fresh(size: (u16, u16), state: Option<&str>) -> Fixture {
    Fixture::alone(size, status(state))
}

fn status(state: Option<&str>) -> Value {
    let rendezvous: Vec<_> =
        state.map(|state| json!({"address": address(), "state": state, "transport": "udp"})).into_iter().collect();
    let link = if rendezvous.is_empty() { String::new() } else { link() };
    json!({"peer": "me", "link": link, "presence": "online", "rendezvous": rendezvous})
}

fn step(fixture: &Fixture) -> Option<Step> {
    fixture.screen.setup.as_ref().map(|setup| setup.step)
}

fn enter(fixture: &mut Fixture, text: &str) {
    fixture.handle(Input::Paste(text.into()));
    fixture.key(KeyCode::Enter);
}

fn chosen(fixture: &Fixture) -> Option<&RendezvousAddress> {
    fixture.effects.iter().find_map(|effect| match effect {
        Effect::UseRendezvous(address) => Some(address),
        _ => None,
    })
}

#[test]
fn a_home_with_contacts_opens_on_the_conversation() {
    let with_bob = Fixture::with_bob(SIZE, Vec::new());
    assert!(with_bob.screen.setup.is_none() && with_bob.screen.conversation.is_some());
}

#[test]
fn the_first_steps_lead_from_nothing_to_a_conversation() {
    let mut me = fresh(SIZE, None);
    assert_eq!(step(&me), Some(Step::Rendezvous));
    enter(&mut me, &address());
    assert_eq!(chosen(&me).map(ToString::to_string), Some(address()));
    assert!(matches!(step(&me), Some(Step::Waiting { .. })));
    me.status = status(Some("connecting"));
    me.handle(Input::Renewed);
    assert!(matches!(step(&me), Some(Step::Waiting { .. })));
    me.status = status(Some("registered"));
    me.event(json!({"type": "registered", "rendezvous": address()}));
    assert_eq!(step(&me), Some(Step::Link));
    me.contacts = vec![contact("bob")];
    me.answers.insert("contact.add", json!({"peer": "id-bob", "name": "bob"}));
    enter(&mut me, &friend());
    assert_eq!(me.calls("contact.add")[0]["link"], friend().as_str());
    assert_eq!(step(&me), None);
    assert_eq!(me.screen.conversation.as_ref().unwrap().peer, "id-bob");
    assert!(me.screen.notice.as_ref().unwrap().text.contains("press Enter"));
}

#[test]
fn a_friends_link_names_the_rendezvous_and_adds_the_friend_once_we_are_registered() {
    let mut me = fresh(SIZE, None);
    let friend_link = friend();
    let (left, right) = friend_link.split_at(80);
    enter(&mut me, &format!("{left}\n{right}\n"));
    assert_eq!(chosen(&me).map(ToString::to_string), Some(address()));
    assert!(me.calls("contact.add").is_empty());
    me.status = status(Some("registered"));
    me.handle(Input::Renewed);
    assert_eq!(me.calls("contact.add")[0]["link"], friend().as_str());
}

#[test]
fn what_is_wrong_is_told_as_it_is_typed_and_stays() {
    let mut me = fresh(SIZE, None);
    for (typed, told) in [
        ("x", "looks like <key>@<host>:<port>"),
        ("abc@host:1", "damaged"),
        (&format!("{KEY}@host"), "<host>:<port>"),
        (&format!("knothole:{KEY}"), "via"),
        (&address(), "Enter registers you at 203.0.113.5:3478"),
        (&friend(), "adds your friend"),
        ("/netcheck", "Enter does it"),
    ] {
        me.screen.setup.as_mut().unwrap().input.set_text("");
        me.handle(Input::Paste(typed.into()));
        let guide = me.screen.guide();
        assert!(guide.tail.iter().any(|(text, _)| text.contains(told)), "{typed}: {:?}", guide.tail);
    }
    me.screen.setup.as_mut().unwrap().input.set_text("");
    enter(&mut me, "abc@host:1");
    assert!(chosen(&me).is_none());
    assert_eq!(me.screen.setup.as_ref().unwrap().input.text(), "abc@host:1");
}

#[test]
fn the_steps_can_be_left_and_come_back() {
    let mut me = fresh(SIZE, Some("registered"));
    assert_eq!(step(&me), Some(Step::Link));
    me.key(KeyCode::Esc);
    assert_eq!(step(&me), None);
    me.type_text("/setup");
    me.key(KeyCode::Esc);
    me.key(KeyCode::Enter);
    assert_eq!(step(&me), Some(Step::Link));
    me.key(KeyCode::Char('c'));
    assert!(me.effects.contains(&Effect::Copy(link())));
    me.key(KeyCode::Char('l'));
    golden::check("setup_link_alone", &me.screen);
}

#[test]
fn a_registration_that_does_not_come_says_so_after_a_while() {
    let mut me = fresh(SIZE, Some("connecting"));
    let said = |me: &Fixture| me.screen.guide().head.iter().any(|(text, _)| text.contains("/netcheck"));
    assert!(!said(&me));
    let due = me.screen.poll_timeout().unwrap();
    me.wait(due - me.now);
    assert!(said(&me));
}

#[test]
fn a_rendezvous_that_does_not_answer_can_be_replaced() {
    let mut me = fresh(SIZE, Some("unreachable"));
    enter(&mut me, &address());
    assert_eq!(chosen(&me).map(ToString::to_string), Some(address()));
    me.status = status(Some("registered"));
    me.handle(Input::Rendezvous(Ok(Used::ForNow)));
    assert_eq!(step(&me), Some(Step::Link));
    assert!(me.screen.guide().tail.iter().any(|(text, _)| text.contains("config.toml")));
}

#[test]
fn a_rendezvous_that_cannot_be_used_leads_back_with_the_reason() {
    let mut me = fresh(SIZE, None);
    enter(&mut me, &address());
    me.handle(Input::Rendezvous(Err("the disk is full".into())));
    assert_eq!(step(&me), Some(Step::Rendezvous));
    assert!(me.screen.guide().tail.iter().any(|(text, _)| text.contains("the disk is full")));
}

#[test]
fn commands_work_at_every_step_and_the_step_stays() {
    let mut me = fresh(SIZE, Some("registered"));
    me.type_text("/netcheck");
    me.key(KeyCode::Esc);
    assert_eq!(step(&me), None, "Esc leaves");
    me.screen.begin_setup();
    enter(&mut me, "/netcheck");
    assert_eq!(me.calls("netcheck").len(), 1);
    me.key(KeyCode::Esc);
    assert_eq!(step(&me), Some(Step::Link));
    enter(&mut me, "/quit");
    assert!(me.effects.contains(&Effect::Quit));
}

#[test]
fn somebody_who_uses_our_code_is_the_first_contact() {
    let mut me = fresh(SIZE, Some("registered"));
    enter(&mut me, "/code");
    me.contacts = vec![contact("bob")];
    me.event(json!({"type": "contact.added", "peer": "id-bob", "name": "bob"}));
    assert!(me.screen.overlay.is_none() && step(&me).is_none());
    assert_eq!(me.screen.conversation.as_ref().unwrap().peer, "id-bob");
}

#[test]
fn every_step_is_drawn_at_every_size() {
    for size in golden::SIZES {
        golden::check("setup_rendezvous", &fresh(size, None).screen);
        let mut typed = fresh(size, None);
        typed.handle(Input::Paste(friend()));
        golden::check("setup_friend", &typed.screen);
        golden::check("setup_waiting", &fresh(size, Some("connecting")).screen);
        let mut by_name = status(Some("registered"));
        by_name["link"] = link().replace("203.0.113.5", "rendezvous.example.org").into();
        golden::check("setup_link_host", &Fixture::alone(size, by_name).screen);
        let mut at_link = fresh(size, Some("registered"));
        golden::check("setup_link", &at_link.screen);
        at_link.screen.words = &CHINESE;
        golden::check("setup_link_zh", &at_link.screen);
    }
}

#[test]
fn who_asks_meanwhile_is_shown_and_can_be_answered_at_once() {
    let mut me = fresh(SIZE, Some("registered"));
    me.silent = true;
    me.event(json!({"type": "contact.request", "peer": "id-carol", "name": "carol", "text": "hello"}));
    assert!(me.screen.guide().tail.iter().any(|(text, _)| text.contains("carol")));
    enter(&mut me, "/accept");
    assert_eq!(me.calls("contact.accept")[0]["peer"], "id-carol");
}
