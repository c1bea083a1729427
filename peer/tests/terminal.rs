//! The program as people use it, in a terminal: what they see, and that nothing they typed is lost.

mod terminal_lab;

use terminal_lab::tmux::Tmux;
use terminal_lab::{Key, SMALL, Terminal, Town, USUAL};

fn town() -> Town {
    Town::new(env!("CARGO_BIN_EXE_knothole"))
}

/// Line mode, with bob, in alice's home.
fn chat(town: &Town) -> Terminal {
    town.introduce("alice", "bob");
    town.at("alice", &["--rendezvous", &town.address(), "chat", "bob"]).start(USUAL)
}

#[test]
fn line_mode_sends_what_is_typed_and_leaves_the_terminal_as_it_was() {
    let town = town();
    let alice = chat(&town);
    alice.wait_for_text("type a line to send it");
    alice.enter("a word");
    alice.wait_for("the line", |screen| screen.lines().iter().any(|line| line.starts_with("a word")));
    alice.enter("/quit");
    assert_eq!(alice.wait_exit(), 0);
    assert!(alice.restored());
    assert!(town.done("alice", &["history", "bob"]).contains("a word"));
}

#[test]
fn line_mode_keeps_what_was_sent_over_a_kill() {
    let town = town();
    let alice = chat(&town);
    alice.wait_for_text("type a line to send it");
    let bob = town.at("bob", &["--rendezvous", &town.address(), "chat", "alice"]).start(SMALL);
    bob.wait_for_text("/quit or Ctrl-D to leave");
    alice.enter("世界 e\u{301} 👩\u{200D}👩\u{200D}👧");
    bob.wait_for_text("alice: 世界 e\u{301}");
    alice.kill();
    alice.wait_exit();
    assert!(town.done("alice", &["history", "bob"]).contains("世界"));
    bob.press(Key::Ctrl('d'));
    assert_eq!(bob.wait_exit(), 0);
    assert!(bob.restored());
}

#[test]
fn line_mode_works_in_tmux_too() {
    if !Tmux::installed() {
        return;
    }
    let town = town();
    town.introduce("alice", "bob");
    let alice = town.at("alice", &["--rendezvous", &town.address(), "chat", "bob"]).in_tmux(USUAL);
    alice.wait_for_text("type a line to send it");
    alice.enter("世界|");
    alice.wait_for("the line", |screen| screen.lines().any(|line| line.starts_with("世界|")));
    alice.press("C-d");
    alice.wait_exit();
    assert!(town.done("alice", &["history", "bob"]).contains("世界|"));
}
