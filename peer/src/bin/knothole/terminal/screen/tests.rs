//! What the screen makes of sequences of keys, events and answers.

use serde_json::json;

use super::fixture::{Fixture, talk};

const SIZE: (u16, u16) = (80, 24);

#[test]
fn what_is_typed_is_a_draft_on_the_disk_soon() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.type_text("hi");
    assert!(bob.calls("draft.set").is_empty());
    bob.wait(150);
    assert_eq!(bob.calls("draft.set"), [&json!({"with": "id-bob", "text": "hi"})]);
}

#[test]
fn a_message_that_comes_is_the_last_in_the_conversation() {
    let mut bob = Fixture::with_bob(SIZE, talk(3));
    bob.event(
        json!({"type": "message", "peer": "id-bob", "name": "bob", "message": "new", "text": "hi", "at": bob.now}),
    );
    let open = bob.screen.conversation.as_ref().unwrap();
    assert_eq!(open.at(open.len() - 1).unwrap().text(), Some("hi"));
}
