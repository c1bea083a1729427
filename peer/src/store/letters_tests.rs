//! docs/protocol.md, "Letters": two stores, and what lies between them carried by hand.

use knothole_proto::content::Content;
use knothole_proto::envelope::{Epoch, EpochName};
use knothole_proto::frames::MAX_TEXT;

use super::fixture::{Home, home, id, peer};
use super::{Arrived, MAX_LETTERS, MessageState, News, Opened, Position, Sealed};

/// Alice is peer 1, Bob peer 2.
struct Pair {
    alice: Home,
    bob: Home,
}

async fn pair() -> Pair {
    let pair = Pair { alice: home(), bob: home() };
    pair.alice.store.add(peer(2), Some("Bob".into()), vec![]).await.unwrap();
    pair.bob.store.add(peer(1), Some("Alice".into()), vec![]).await.unwrap();
    pair
}

/// Two who have been connected once.
async fn acquainted() -> Pair {
    let pair = pair().await;
    pair.connect(7).await;
    pair
}

impl Pair {
    async fn connect(&self, secret: u8) -> EpochName {
        let (a, b) = (Epoch::new([secret; 32], &peer(1), &peer(2)), Epoch::new([secret; 32], &peer(2), &peer(1)));
        let name = a.name;
        self.alice.store.keep_epoch(peer(2), a).await.unwrap();
        self.bob.store.keep_epoch(peer(1), b).await.unwrap();
        self.alice.store.share_epoch(peer(2), name).await.unwrap();
        self.bob.store.share_epoch(peer(1), name).await.unwrap();
        name
    }

    async fn write(&self, n: u8, text: &str) -> Position {
        self.alice.store.compose(peer(2), id(n), text.into(), u64::from(n)).await.unwrap()
    }

    async fn seal(&self) -> Vec<Sealed> {
        self.alice.store.seal(peer(1), peer(2), 999).await.unwrap()
    }

    async fn open(&self, letter: &Sealed) -> Opened {
        self.bob.store.open_letter(peer(2), Some(peer(1)), letter.envelope.clone()).await.unwrap()
    }

    /// The texts that Bob takes with this letter.
    async fn texts(&self, letter: &Sealed) -> Vec<String> {
        match self.open(letter).await {
            Opened::Taken { peer: author, messages } if author == peer(1) => messages.iter().map(text).collect(),
            other => panic!("{other:?}"),
        }
    }

    async fn states(&self) -> Vec<MessageState> {
        let history = self.alice.store.history(peer(2), None, None, 99).await.unwrap();
        history.into_iter().map(|message| message.state).collect()
    }
}

fn text(arrived: &Arrived) -> String {
    assert!(arrived.receipt.fresh);
    match &arrived.content {
        Content::Text { text, .. } => text.clone(),
        other => panic!("{other:?}"),
    }
}

const NOTHING: [String; 0] = [];

#[tokio::test]
async fn what_is_written_is_sealed_once_opened_once_and_stored_as_any_message() {
    let pair = acquainted().await;
    pair.write(1, "hello").await;
    let sealed = pair.seal().await;
    assert_eq!(sealed.len(), 1);
    assert_eq!(pair.seal().await, sealed, "until a rendezvous has it, it is the same, byte for byte");
    assert_eq!(pair.texts(&sealed[0]).await, ["hello"]);
    assert_eq!(pair.texts(&sealed[0]).await, NOTHING);
    let history = pair.bob.store.history(peer(1), None, None, 9).await.unwrap();
    assert_eq!((history[0].text.as_str(), history[0].id), ("hello", id(1)));
    // The conversation brings it again.
    let log = pair.bob.store.conversation(peer(1)).await.unwrap().received.unwrap();
    assert_eq!(log.number, 1);
    let again = pair.bob.store.receive(peer(1), log, id(1), "hello".into(), 1).await.unwrap();
    assert!(!again.fresh);
}

#[tokio::test]
async fn a_letter_is_sent_when_a_rendezvous_has_it_and_delivered_only_by_the_conversation() {
    let pair = acquainted().await;
    pair.write(1, "one").await;
    let last = pair.write(2, "two").await;
    let sealed = pair.seal().await;
    assert_eq!(pair.states().await, [MessageState::Queued; 2]);
    // The second alone is there: nothing may be said of the first.
    assert_eq!(pair.alice.store.posted(peer(2), sealed[1].name).await, Ok(vec![]));
    assert_eq!(pair.seal().await, sealed[..1]);
    assert_eq!(pair.alice.store.posted(peer(2), sealed[0].name).await, Ok(vec![id(1), id(2)]));
    assert_eq!(pair.states().await, [MessageState::Sent; 2]);
    assert_eq!(pair.seal().await, []);
    assert_eq!(pair.alice.store.posted(peer(2), sealed[0].name).await, Ok(vec![]), "twice is no more than once");
    pair.alice.store.acknowledged(peer(2), last).await.unwrap();
    assert_eq!(pair.states().await, [MessageState::Delivered; 2]);
    assert_eq!(pair.alice.count("SELECT count(*) FROM letters").await, 0);
    pair.write(3, "three").await;
    assert_eq!(pair.seal().await.len(), 1);
}

#[tokio::test]
async fn nothing_is_sealed_before_both_sides_have_the_epoch() {
    let pair = pair().await;
    pair.write(1, "hello").await;
    assert_eq!(pair.seal().await, []);
    let epoch = Epoch::new([7; 32], &peer(1), &peer(2));
    let name = epoch.name;
    pair.alice.store.keep_epoch(peer(2), epoch).await.unwrap();
    assert_eq!(pair.seal().await, []);
    pair.alice.store.share_epoch(peer(2), EpochName([0; 8])).await.unwrap();
    assert_eq!(pair.seal().await, []);
    pair.alice.store.share_epoch(peer(2), name).await.unwrap();
    assert_eq!(pair.seal().await.len(), 1);
}

#[tokio::test]
async fn letters_that_overtake_others_wait_for_their_turn() {
    let pair = acquainted().await;
    for n in 1..=3 {
        pair.write(n, &format!("{n}")).await;
    }
    let sealed = pair.seal().await;
    assert_eq!(pair.texts(&sealed[2]).await, NOTHING);
    assert_eq!(pair.texts(&sealed[1]).await, NOTHING);
    assert_eq!(pair.texts(&sealed[0]).await, ["1", "2", "3"]);
    assert_eq!(pair.bob.count("SELECT count(*) FROM letters_pieces").await, 0);
}

#[tokio::test]
async fn what_the_conversation_brings_first_is_not_shown_by_letter() {
    let pair = acquainted().await;
    let first = pair.write(1, "one").await;
    pair.write(2, "two").await;
    let sealed = pair.seal().await;
    assert_eq!(pair.texts(&sealed[1]).await, NOTHING);
    for (n, fresh) in [(1, true), (2, false)] {
        let position = Position { number: u64::from(n), ..first };
        let receipt = pair.bob.store.receive(peer(1), position, id(n), "by frame".into(), 0).await.unwrap();
        assert_eq!((receipt.fresh, receipt.upto), (fresh, 2));
    }
    assert_eq!(pair.bob.count("SELECT count(*) FROM letters_pieces").await, 0);
    assert_eq!(pair.texts(&sealed[0]).await, NOTHING);
    assert_eq!(pair.bob.store.history(peer(1), None, None, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn letters_that_wait_are_taken_when_a_connection_brings_what_is_missing() {
    let pair = acquainted().await;
    let first = pair.write(1, "one").await;
    pair.write(2, "two").await;
    pair.write(3, "three").await;
    let sealed = pair.seal().await;
    assert_eq!(pair.texts(&sealed[1]).await, NOTHING);
    assert_eq!(pair.texts(&sealed[2]).await, NOTHING);
    // The connection breaks after it.
    let receipt = pair.bob.store.receive(peer(1), first, id(1), "one".into(), 1).await.unwrap();
    assert_eq!((receipt.fresh, receipt.upto), (true, 3));
    let shown = receipt.news.iter().map(|news| match news {
        News::Text { text, .. } => text.as_str(),
        News::Change(other) => panic!("{other:?}"),
    });
    assert_eq!(shown.collect::<Vec<_>>(), ["one", "two", "three"]);
    assert_eq!(pair.bob.store.history(peer(1), None, None, 9).await.unwrap().len(), 3);
    assert_eq!(pair.bob.count("SELECT count(*) FROM letters_pieces").await, 0);
}

#[tokio::test]
async fn the_longest_text_comes_in_pieces_in_whatever_order() {
    let pair = acquainted().await;
    let long = "語".repeat(MAX_TEXT / 3);
    pair.write(1, &long).await;
    pair.write(2, "after").await;
    let mut sealed = pair.seal().await;
    assert!(sealed.len() > 60 && sealed.len() <= MAX_LETTERS);
    sealed.reverse();
    let last = sealed.pop().unwrap();
    for letter in &sealed {
        assert_eq!(pair.texts(letter).await, NOTHING);
        assert_eq!(pair.texts(letter).await, NOTHING);
    }
    assert_eq!(pair.texts(&last).await, [long, "after".into()]);
    assert_eq!(pair.bob.count("SELECT count(*) FROM letters_pieces").await, 0);
}

#[tokio::test]
async fn what_is_changed_while_it_is_half_posted_comes_as_it_is_and_mixed_with_nothing() {
    // Of other length, of the same, and of the same number of pieces.
    for long in ["short".to_owned(), "y".repeat(3000), "y".repeat(2800), "y".repeat(9000)] {
        let pair = acquainted().await;
        pair.write(1, &"x".repeat(3000)).await;
        pair.write(2, "after").await;
        let before = pair.seal().await;
        assert_eq!(pair.texts(&before[0]).await, NOTHING);
        assert_eq!(pair.texts(&before[1]).await, NOTHING);
        pair.alice.store.posted(peer(2), before[0].name).await.unwrap();
        pair.alice.store.amend(peer(2), id(3), Content::Edit { of: id(1), text: long.clone() }, 4).await.unwrap();
        let after = pair.seal().await;
        let (last, first) = after.split_last().unwrap();
        let mut texts = pair.texts(&first[0]).await;
        // One was still on its way.
        assert_eq!(pair.texts(&before[2]).await, NOTHING);
        for letter in &first[1..] {
            texts.extend(pair.texts(letter).await);
        }
        assert_eq!(texts, [long.clone(), "after".into()]);
        // The word of the change itself.
        assert!(matches!(pair.open(last).await, Opened::Taken { .. }));
        let history = pair.bob.store.history(peer(1), None, None, 9).await.unwrap();
        assert_eq!(history.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), [&long, "after"]);
        assert_eq!(pair.bob.count("SELECT count(*) FROM letters_pieces").await, 0);
    }
}

#[tokio::test]
async fn what_a_number_was_to_say_before_makes_room_for_what_it_says_now() {
    let pair = acquainted().await;
    for n in 1..=3 {
        // All but the last piece of each version comes.
        let long = format!("{n}").repeat(MAX_TEXT);
        if n == 1 {
            pair.write(1, &long).await;
        } else {
            pair.alice.store.amend(peer(2), id(n), Content::Edit { of: id(1), text: long }, 4).await.unwrap();
        }
        let sealed = pair.seal().await;
        let first = sealed.iter().take(68);
        for letter in first {
            assert_eq!(pair.texts(letter).await, NOTHING);
        }
        if n == 3 {
            let rest = &sealed[68..];
            let mut texts = Vec::new();
            for letter in rest {
                texts.extend(pair.texts(letter).await);
            }
            assert_eq!(texts, ["3".repeat(MAX_TEXT)]);
        }
    }
}

#[tokio::test]
async fn pieces_of_a_log_that_its_author_gave_up_are_gone_with_it() {
    let pair = acquainted().await;
    for n in 1..=3 {
        pair.write(n, &format!("{n}")).await;
    }
    let old = pair.seal().await;
    assert_eq!(pair.texts(&old[1]).await, NOTHING);
    pair.alice.store.renumber(peer(2)).await.unwrap();
    assert_eq!(pair.texts(&pair.seal().await[0]).await, ["1"]);
    assert_eq!(pair.bob.count("SELECT count(*) FROM letters_pieces").await, 0);
    // One that comes later is gone with the next message.
    assert_eq!(pair.texts(&old[2]).await, NOTHING);
    assert_eq!(pair.texts(&pair.seal().await[1]).await, ["2"]);
    assert_eq!(pair.bob.count("SELECT count(*) FROM letters_pieces").await, 0);
}

#[tokio::test]
async fn what_does_not_fit_in_so_many_letters_waits_for_the_connection() {
    let pair = acquainted().await;
    let long = "x".repeat(MAX_TEXT);
    pair.write(1, &long).await;
    pair.write(2, &long).await;
    pair.write(3, "short, and not before the second").await;
    let sealed = pair.seal().await;
    assert!(sealed.len() <= MAX_LETTERS);
    assert_eq!(pair.alice.count("SELECT max(number) FROM letters").await, 1);
    assert_eq!(pair.seal().await, sealed);
    for letter in &sealed {
        pair.alice.store.posted(peer(2), letter.name).await.unwrap();
    }
    assert_eq!(pair.states().await, [MessageState::Sent, MessageState::Queued, MessageState::Queued]);
    pair.seal().await;
    assert_eq!(pair.alice.count("SELECT max(number) FROM letters").await, 3);
}

#[tokio::test]
async fn pieces_that_wait_are_bounded() {
    let pair = acquainted().await;
    let long = "x".repeat(MAX_TEXT);
    for n in 1..=3 {
        pair.write(n, &long).await;
    }
    let mut left = 0;
    for _ in 0..3 {
        // The first of each never comes.
        for letter in pair.seal().await.iter().skip(1) {
            left += usize::from(pair.open(letter).await == Opened::Left);
            pair.alice.store.posted(peer(2), letter.name).await.unwrap();
        }
        pair.alice.execute("UPDATE letters SET envelope = NULL").await.unwrap();
    }
    assert!(left > 0);
    assert!(pair.bob.count("SELECT sum(length(share)) FROM letters_pieces").await < 3 * MAX_TEXT as i64);
}

#[tokio::test]
async fn only_the_newest_epochs_are_kept_and_their_letters_open() {
    let pair = acquainted().await;
    pair.write(1, "early").await;
    let early = pair.seal().await;
    for secret in 8..11 {
        pair.connect(secret).await;
    }
    pair.write(2, "late").await;
    let late = pair.seal().await;
    assert_eq!(pair.texts(&early[0]).await, ["early"]);
    assert_eq!(pair.texts(&late[1]).await, ["late"]);
    pair.write(3, "too late").await;
    let old = pair.seal().await;
    for secret in 11..15 {
        pair.connect(secret).await;
    }
    assert_eq!(pair.open(&old[2]).await, Opened::Unopened);
    assert_eq!(pair.bob.count("SELECT count(*) FROM epochs").await, 4);
}

#[tokio::test]
async fn a_letter_opens_for_no_one_but_its_contact() {
    let pair = acquainted().await;
    pair.write(1, "hello").await;
    let sealed = pair.seal().await;
    let bob = &pair.bob.store;
    bob.add(peer(3), Some("Eve".into()), vec![]).await.unwrap();
    assert_eq!(bob.open_letter(peer(2), Some(peer(3)), sealed[0].envelope.clone()).await, Ok(Opened::Unopened));
    assert_eq!(bob.open_letter(peer(3), Some(peer(1)), sealed[0].envelope.clone()).await, Ok(Opened::Unopened));
    assert_eq!(bob.open_letter(peer(2), None, vec![0; 100]).await, Ok(Opened::Unopened));
    assert_eq!(bob.open_letter(peer(2), None, vec![]).await, Ok(Opened::Unopened));
    // A mailbox does not know who sent it.
    let opened = bob.open_letter(peer(2), None, sealed[0].envelope.clone()).await.unwrap();
    assert!(matches!(opened, Opened::Taken { messages, .. } if messages.len() == 1));
}

#[tokio::test]
async fn blocking_and_removing_a_contact_leave_no_keys() {
    let pair = acquainted().await;
    pair.write(1, "hello").await;
    pair.write(2, "more").await;
    let sealed = pair.seal().await;
    assert_eq!(pair.texts(&sealed[1]).await, NOTHING);
    pair.bob.store.block(peer(1)).await.unwrap();
    assert_eq!(pair.open(&sealed[0]).await, Opened::Unopened);
    pair.alice.store.remove(peer(2)).await.unwrap();
    for home in [&pair.alice, &pair.bob] {
        for table in
            ["SELECT count(*) FROM epochs", "SELECT count(*) FROM letters", "SELECT count(*) FROM letters_pieces"]
        {
            assert_eq!(home.count(table).await, 0, "{table}");
        }
    }
}

#[tokio::test]
async fn letters_of_a_log_that_was_given_up_are_neither_posted_nor_taken() {
    let pair = acquainted().await;
    let first = pair.write(1, "one").await;
    let old = pair.seal().await;
    let log = pair.alice.store.renumber(peer(2)).await.unwrap();
    let new = pair.seal().await;
    assert_eq!(new.len(), 1);
    assert_ne!(new, old);
    assert_eq!(pair.texts(&new[0]).await, ["one"]);
    // An older log would push the numbers back.
    pair.bob.store.receive(peer(1), Position { number: 1, ..first }, id(9), "x".into(), 0).await.unwrap();
    pair.bob.store.receive(peer(1), Position { log, number: 2 }, id(8), "y".into(), 0).await.unwrap();
    assert_eq!(pair.texts(&old[0]).await, NOTHING);
    assert_eq!(pair.bob.store.conversation(peer(1)).await.unwrap().received, Some(Position { log, number: 2 }));
}

#[tokio::test]
async fn what_is_taken_back_before_a_rendezvous_has_it_is_in_no_letter() {
    let pair = acquainted().await;
    for (n, text) in [(1, "one"), (2, "a slip"), (3, "three")] {
        pair.write(n, text).await;
    }
    let before = pair.seal().await;
    pair.alice.store.posted(peer(2), before[0].name).await.unwrap();
    pair.alice.store.amend(peer(2), id(4), Content::Delete { of: id(2) }, 4).await.unwrap();
    let after = pair.seal().await;
    assert_eq!(after.len(), 3, "the second, the third, and the word that takes it back");
    assert!(after.iter().all(|letter| !before.contains(letter)));
    assert_eq!(pair.texts(&before[0]).await, ["one"]);
    assert_eq!(pair.texts(&after[0]).await, [""]);
    assert_eq!(pair.texts(&after[1]).await, ["three"]);
    assert!(matches!(pair.open(&after[2]).await, Opened::Taken { messages, .. } if messages.len() == 1));
}

#[tokio::test]
async fn a_kill_between_sealing_and_sending_loses_no_letter_and_seals_none_twice() {
    let pair = acquainted().await;
    pair.write(1, "hello").await;
    let sealed = pair.seal().await;
    // The files as a kill would leave them.
    let killed = tempfile::tempdir().unwrap();
    for file in ["knothole.db", "knothole.db-wal"] {
        std::fs::copy(pair.alice.directory.path().join(file), killed.path().join(file)).unwrap();
    }
    let store = super::Store::open(killed.path()).unwrap();
    assert_eq!(store.seal(peer(1), peer(2), 999).await.unwrap(), sealed);
    store.compose(peer(2), id(2), "again".into(), 0).await.unwrap();
    let both = store.seal(peer(1), peer(2), 999).await.unwrap();
    assert_eq!(both[0], sealed[0]);
    assert_eq!(pair.texts(&both[0]).await, ["hello"]);
    assert_eq!(pair.texts(&both[1]).await, ["again"]);
}
