//! Whatever is typed, told and resized, in whatever order: the screen does not panic, and what it draws is within its area.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::{Value, json};

use super::fixture::{Fixture, ME, NOON, contact, said, talk};
use super::{Input, Refusal};
use crate::terminal::golden;
use crate::terminal::theme::Theme;

#[derive(Debug, Clone)]
enum Step {
    Key(KeyCode, KeyModifiers),
    Type(String),
    Paste(String),
    Resize(u16, u16),
    Focus(bool),
    Wheel(bool),
    Event(usize, usize),
    Silent(bool),
    Refuse(bool),
    Renew,
    Late(usize),
    Wait(u64),
}

fn key() -> impl Strategy<Value = Step> {
    let codes = prop::sample::select(vec![
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::Backspace,
        KeyCode::Char('r'),
        KeyCode::Char('e'),
        KeyCode::Char('+'),
        KeyCode::Char('d'),
        KeyCode::Char('y'),
        KeyCode::Char('s'),
        KeyCode::Char('n'),
        KeyCode::Char('2'),
        KeyCode::Char('<'),
        KeyCode::Char('>'),
        KeyCode::Char('/'),
    ]);
    // Plain keys most often.
    let modifiers = prop::sample::select(vec![
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::CONTROL,
        KeyModifiers::ALT,
    ]);
    (codes, modifiers).prop_map(|(code, modifiers)| Step::Key(code, modifiers))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => key(),
        2 => "[a-z今👍\u{301} :]{1,6}".prop_map(Step::Type),
        1 => "\\PC{0,20}(\n\\PC{0,20}){0,3}".prop_map(Step::Paste),
        2 => (1..130u16, 1..45u16).prop_map(|(columns, rows)| Step::Resize(columns, rows)),
        1 => any::<bool>().prop_map(Step::Focus),
        1 => any::<bool>().prop_map(Step::Wheel),
        5 => (0..11usize, 0..260usize).prop_map(|(kind, which)| Step::Event(kind, which)),
        1 => any::<bool>().prop_map(Step::Silent),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => Just(Step::Renew),
        1 => any::<usize>().prop_map(Step::Late),
        1 => (0..9_000u64).prop_map(Step::Wait),
    ]
}

fn event(kind: usize, which: usize, name: &str) -> Value {
    let peer = format!("id-{name}");
    let message = format!("m{which}");
    let text = "今天 e\u{301} word \u{202E}\u{1b}[2J ".repeat(which);
    let more = match kind {
        0 => json!({"type": "message", "message": format!("new{which}"), "text": text, "reply": message}),
        1 => json!({"type": "sent", "message": format!("own{which}"), "text": text}),
        2 => json!({"type": "change", "message": message, "what": "edited", "text": text, "mine": true}),
        3 => json!({"type": "change", "message": message, "what": "deleted"}),
        4 => json!({"type": "change", "message": message, "what": "reaction", "emoji": "👍", "on": true, "mine": true}),
        5 => json!({"type": "change", "message": message, "what": "expired"}),
        6 => json!({"type": "change", "message": format!("t{which}"), "what": "timer", "expires_s": which}),
        7 => json!({"type": "state", "message": message, "state": "read"}),
        8 => json!({"type": "contact.removed"}),
        9 => json!({"type": "contact.added"}),
        _ => json!({"type": "lagged", "missed": 3}),
    };
    let mut event = json!({"peer": peer, "name": name, "at": NOON + which as u64 * 1_000_000});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn two() -> Fixture {
    let (mut bob, carol) = (contact("bob"), contact("carol"));
    (bob["unread"], bob["first_unread"], bob["draft"]) = (40.into(), "m120".into(), "begun".into());
    let mut all = talk(250);
    all[130]["text"] = "a long text in 64 KiB ".repeat(3_000).into();
    all[131]["text"] = "\n".repeat(5_000).into();
    let short = vec![said("c", ME, "n e e d l e", NOON)];
    let messages = BTreeMap::from([("id-bob".to_owned(), all), ("id-carol".to_owned(), short)]);
    Fixture::new((80, 24), vec![bob, carol], messages)
}

fn take(fixture: &mut Fixture, step: Step) {
    match step {
        Step::Key(code, modifiers) => fixture.key_with(code, modifiers),
        Step::Type(text) => fixture.type_text(&text),
        Step::Paste(text) => fixture.handle(Input::Paste(text)),
        Step::Resize(columns, rows) => fixture.handle(Input::Resized(columns, rows)),
        Step::Focus(focused) => fixture.handle(Input::Focused(focused)),
        Step::Wheel(up) => fixture.handle(Input::Wheel { up }),
        Step::Event(kind, which) => fixture.event(event(kind, which, if which % 7 == 0 { "carol" } else { "bob" })),
        Step::Silent(silent) => fixture.silent = silent,
        Step::Refuse(true) => {
            let refused = ["message.history", "message.send", "message.edit"];
            fixture.refuses.extend(refused.map(|method| (method, "it is not to be had".to_owned())));
        }
        Step::Refuse(false) => fixture.refuses.clear(),
        Step::Renew => fixture.handle(Input::Renewed),
        Step::Late(which) => {
            let Some(ask) = fixture.asked.get(which % fixture.asked.len().max(1)).cloned() else { return };
            fixture.handle(Input::Answer(ask, Err(Refusal::Closed)));
        }
        Step::Wait(milliseconds) => fixture.wait(milliseconds),
    }
}

proptest! {
    #![proptest_config(crate::terminal::seeded::cases(32))]

    #[test]
    fn nothing_panics_and_all_is_drawn_within_the_area(steps in vec(step(), 1..60)) {
        let mut fixture = two();
        for step in steps {
            take(&mut fixture, step);
            let (columns, rows) = fixture.screen.size;
            let picture = golden::picture(&fixture.screen, Theme::Dark);
            prop_assert!(picture.lines().count() >= usize::from(rows));
            let areas = fixture.screen.geometry();
            for area in [areas.title, areas.conversation, areas.caption, areas.composer, areas.status] {
                prop_assert!(area.right() <= columns && area.bottom() <= rows);
            }
        }
    }
}
