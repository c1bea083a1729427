//! A conversation in the full screen, by the real binary: what is found, chosen and answered, and what other commands do to it.

use crate::terminal_lab::{Key, USUAL, Who};
use crate::{leave, open, say, town};

#[test]
fn a_message_is_found_and_one_is_chosen_and_answered() {
    let town = town();
    let mut said = vec![(Who::Them, "the needle, 针"); 1];
    said.extend(vec![(Who::Me, "hay"); 60]);
    said.push((Who::Them, "shall we?"));
    town.tell("alice", "bob", 2, &said);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("shall we?");
    alice.press(Key::Ctrl('s'));
    alice.type_text("针");
    alice.wait_for("the hit in the list", |screen| screen.contains("Search") && screen.contains("bob the needle, 针"));
    alice.press(Key::Enter);
    alice.wait_for("the hit in its place", |screen| screen.contains("针: 1/1") && !screen.contains("shall we?"));
    alice.press(Key::Escape);
    alice.wait_for_text("shall we?");
    alice.press(Key::Up);
    alice.wait_for_text("r reply");
    alice.press(Key::Char('r'));
    alice.wait_for_text("> bob: shall we?");
    say(&alice, "with pleasure");
    alice.wait_for("the answer with its question", |screen| {
        let answer = screen.find("with pleasure").map(|(row, _)| row);
        screen.find("> bob: shall we?").is_some_and(|(row, _)| Some(row + 1) == answer)
    });
    leave(&alice);
}

#[test]
fn what_another_command_does_shows_in_the_open_conversation() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("well?");
    town.done("alice", &["timer", "bob", "1d"]);
    alice.wait_for_text("from now on texts disappear, 1 day after");
    leave(&alice);
}

#[test]
fn a_draft_survives_a_kill_and_waits_in_its_conversation() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("well?");
    alice.type_text("I have begun");
    alice.wait_for_text("> I have begun");
    // It is on the disk when another command can tell of it.
    let mut told = (0..200).map(|_| town.done("alice", &["contacts", "--json"]));
    assert!(told.any(|contacts| contacts.contains("I have begun")));
    alice.kill();
    alice.wait_exit();
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("> I have begun");
}
