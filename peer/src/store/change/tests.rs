use std::collections::BTreeMap;

use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::{Change, News, PENDING, REACTIONS, What, Word, apply, target};
use crate::store::database::Database;
use crate::store::fixture::{Home, home_with_bob, id, peer};
use crate::store::history::{Place, page};
use crate::store::incoming::{Receipt, take};
use crate::store::outgoing::compose;
use crate::store::{Author, Kind, Message, MessageState, Position, Reaction, StoreError, now, schema};

fn edit(of: MessageId, text: &str) -> Content {
    Content::Edit { of, text: text.into() }
}

fn react(of: MessageId, emoji: &str, on: bool) -> Content {
    Content::Reaction { of, emoji: emoji.into(), on }
}

impl Home {
    /// Stores the n-th message of Bob's, in order, made at the n-th instant.
    async fn hear(&self, n: u8, content: impl Into<Content>) -> Receipt {
        self.hear_at(n, u64::from(n), content).await
    }

    async fn hear_at(&self, n: u8, at: u64, content: impl Into<Content>) -> Receipt {
        let position = Position { log: 7, number: n.into() };
        self.store.receive(peer(2), position, id(n), content.into(), at).await.unwrap()
    }

    async fn page(&self) -> Vec<Message> {
        self.store.history(peer(2), None, None, 99).await.unwrap()
    }

    async fn search(&self, text: &str) -> usize {
        self.store.history(peer(2), Some(text.into()), None, 99).await.unwrap().len()
    }
}

fn change(n: u8, mine: bool, what: What) -> News {
    News::Change(Change { message: id(n), mine, what })
}

#[tokio::test]
async fn an_edit_replaces_the_text_and_what_the_search_finds() {
    let home = home_with_bob().await;
    home.hear(1, "one knot").await;
    let receipt = home.hear(2, edit(id(1), "a hole")).await;
    assert_eq!(receipt.news, [change(1, false, What::Edited { text: "a hole".into() })]);
    let page = home.page().await;
    assert_eq!((page.len(), page[0].text.as_str(), page[0].edited), (1, "a hole", true));
    assert_eq!((home.search("knot").await, home.search("hole").await), (0, 1));
    // An earlier edit that comes later changes nothing, nor does one of the same instant with a smaller id.
    for (n, at) in [(3, 1), (4, 2)] {
        let of = edit(id(1), "late");
        assert_eq!(home.hear_at(n, at, of).await.news.len(), usize::from(at == 2), "{n}");
    }
}

#[tokio::test]
async fn a_deletion_leaves_nothing_of_the_text_and_stands_above_later_edits() {
    let home = home_with_bob().await;
    home.hear(1, Content::Text { text: "a secret".into(), reply: Some(id(9)), expires_s: None }).await;
    home.store.amend(peer(2), id(20), react(id(1), "👍", true), 0).await.unwrap();
    assert_eq!(home.hear(2, Content::Delete { of: id(1) }).await.news, [change(1, false, What::Deleted)]);
    assert_eq!(home.hear(3, edit(id(1), "a secret again")).await.news, []);
    assert_eq!(home.hear(4, react(id(1), "👍", true)).await.news, []);
    let page = home.page().await;
    let [message] = page.as_slice() else { panic!("{page:?}") };
    assert_eq!((message.kind, message.text.as_str(), message.reply), (Kind::Deleted, "", None));
    assert_eq!((message.edited, &message.reactions), (false, &vec![]));
    assert_eq!(home.search("secret").await, 0);
    assert_eq!(home.store.contacts().await.unwrap()[0].summary.unread, 0);
    home.store.close().await.unwrap();
    let file = std::fs::read(home.directory.path().join("knothole.db")).unwrap();
    assert!(!file.windows(6).any(|bytes| bytes == b"secret"));
}

#[tokio::test]
async fn what_is_taken_back_before_it_was_sent_is_not_sent() {
    let home = home_with_bob().await;
    home.store.compose(peer(2), id(1), "a secret".into(), 1).await.unwrap();
    home.store.amend(peer(2), id(2), edit(id(1), "another secret"), 2).await.unwrap();
    home.store.amend(peer(2), id(3), Content::Delete { of: id(1) }, 3).await.unwrap();
    let outbox = home.store.outbox(peer(2), 0, 9, 999).await.unwrap();
    let contents: Vec<_> = outbox.into_iter().map(|outgoing| outgoing.content).collect();
    assert_eq!(contents, [Content::from(""), edit(id(1), ""), Content::Delete { of: id(1) }]);
}

#[tokio::test]
async fn what_was_taken_back_before_it_was_sent_is_no_news_to_the_other_side() {
    let home = home_with_bob().await;
    assert_eq!(home.hear(1, "").await.news, []);
    assert_eq!(home.hear(2, edit(id(1), "")).await.news, []);
    assert_eq!(home.hear(3, Content::Delete { of: id(1) }).await.news, [change(1, false, What::Deleted)]);
    assert_eq!(home.store.contacts().await.unwrap()[0].summary.unread, 0);
    assert_eq!(home.page().await[0].kind, Kind::Deleted);
}

#[tokio::test]
async fn only_its_author_edits_or_deletes_a_message() {
    let home = home_with_bob().await;
    home.store.compose(peer(2), id(1), "mine".into(), 1).await.unwrap();
    home.hear(2, "theirs").await;
    let position = |number| Position { log: 7, number };
    for (number, content) in [(3, edit(id(1), "x")), (4, Content::Delete { of: id(1) })] {
        let receipt = home.store.receive(peer(2), position(number), id(40 + number as u8), content, 9).await.unwrap();
        assert_eq!(receipt.news, []);
    }
    for content in [edit(id(2), "x"), Content::Delete { of: id(2) }] {
        assert_eq!(home.store.amend(peer(2), id(50), content, 9).await, Err(StoreError::NotMine));
    }
    assert_eq!(home.store.amend(peer(2), id(50), edit(id(99), "x"), 9).await, Err(StoreError::UnknownMessage));
    let texts: Vec<_> = home.page().await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["mine", "theirs"]);
}

#[tokio::test]
async fn reactions_come_and_go_for_each_author() {
    let home = home_with_bob().await;
    home.hear(1, "hello").await;
    let mine = |on| home.store.amend(peer(2), id(if on { 21 } else { 22 }), react(id(1), "👍", on), 0);
    assert!(mine(true).await.unwrap().change.is_some());
    let receipt = home.hear(2, react(id(1), "👍", true)).await;
    assert_eq!(receipt.news, [change(1, false, What::Reacted { emoji: "👍".into(), on: true })]);
    let reaction = |mine| Reaction { emoji: "👍".into(), mine };
    assert_eq!(home.page().await[0].reactions, [reaction(false), reaction(true)]);
    // Although the clock says that nothing was later.
    assert!(mine(false).await.unwrap().change.is_some());
    assert_eq!(home.page().await[0].reactions, [reaction(false)]);
    for emoji in ["", "a word", "\u{1b}", &"x".repeat(65)] {
        let refused = home.store.amend(peer(2), id(23), react(id(1), emoji, true), 0).await;
        assert_eq!(refused, Err(StoreError::InvalidReaction), "{emoji:?}");
    }
}

#[tokio::test]
async fn one_author_keeps_so_many_reactions_to_a_message_the_latest() {
    let home = home_with_bob().await;
    home.hear(1, "hello").await;
    for n in 2..=60 {
        home.hear(n, react(id(1), &format!("e{n}"), true)).await;
    }
    let reactions = home.page().await.remove(0).reactions;
    assert_eq!(reactions.len(), REACTIONS as usize);
    assert!(reactions.contains(&Reaction { emoji: "e60".into(), mine: false }));
}

#[tokio::test]
async fn changes_wait_for_their_target_and_only_so_many_of_them() {
    let home = home_with_bob().await;
    let position = |number| Position { log: 7, number };
    let hear = async |number: u64, content: Content| {
        let id = MessageId([number.to_le_bytes(), [9; 8]].concat().try_into().unwrap());
        home.store.receive(peer(2), position(number), id, content, number).await.unwrap().news
    };
    assert_eq!(hear(2, edit(id(1), "edited")).await, []);
    assert_eq!(hear(3, react(id(1), "👍", true)).await, []);
    assert_eq!(hear(4, edit(id(9), "taken back unseen")).await, []);
    assert_eq!(hear(5, Content::Delete { of: id(9) }).await, []);
    assert_eq!(home.page().await, []);
    assert_eq!(
        home.hear(1, "first").await.news,
        [
            News::Text { message: id(1), text: "edited".into(), reply: None, expires_s: None },
            change(1, false, What::Reacted { emoji: "👍".into(), on: true }),
        ]
    );
    assert_eq!(home.store.receive(peer(2), position(6), id(9), "unseen".into(), 6).await.unwrap().news, []);
    assert_eq!(home.page().await[1].kind, Kind::Deleted);
    for number in 7..=7 + u64::from(PENDING) {
        hear(number, edit(id(99), "x")).await;
    }
    assert_eq!(home.count("SELECT count(*) FROM messages WHERE pending = 1").await, i64::from(PENDING));
    assert_eq!(home.count("SELECT count(*) FROM messages WHERE content IS NOT NULL").await, i64::from(PENDING));
}

#[tokio::test]
async fn changes_are_no_unread_messages_and_stand_in_no_ones_way() {
    let home = home_with_bob().await;
    home.hear(1, "hello").await;
    home.hear(2, edit(id(1), "hello!")).await;
    home.hear(3, Content::Timer { expires_s: Some(60) }).await;
    home.hear(4, Content::Unknown(vec![99])).await;
    assert_eq!(home.store.contacts().await.unwrap()[0].summary.unread, 1);
    let read = home.store.mark_read(peer(2), id(4)).await.unwrap();
    assert_eq!(read, Some(Position { log: 7, number: 4 }));
    let kinds: Vec<_> = home.page().await.into_iter().map(|message| (message.kind, message.expires_s)).collect();
    assert_eq!(kinds, [(Kind::Text, None), (Kind::Timer, Some(60)), (Kind::Unknown, None)]);
    assert_eq!(home.store.conversation(peer(2)).await.unwrap().timer, Some(60));
}

#[tokio::test]
async fn a_timer_from_far_ahead_does_not_take_the_timer_away_from_us() {
    let home = home_with_bob().await;
    let clock = now().unsigned_abs();
    let timer = async || home.store.conversation(peer(2)).await.unwrap().timer;
    for (n, at) in [(1, u64::MAX), (2, clock + 25 * 60 * 60 * 1000)] {
        assert_eq!(home.hear_at(n, at, Content::Timer { expires_s: Some(1) }).await.news, []);
        assert_eq!(timer().await, None);
    }
    // In another time zone.
    home.hear_at(3, clock + 14 * 60 * 60 * 1000, Content::Timer { expires_s: Some(3) }).await;
    assert_eq!(timer().await, Some(3));
    let amended = home.store.amend(peer(2), id(4), Content::Timer { expires_s: Some(60) }, clock).await.unwrap();
    assert!(amended.change.is_some());
    assert_eq!(timer().await, Some(60));
    assert!(amended.at < clock + 24 * 60 * 60 * 1000, "the other side takes it");
}

#[tokio::test]
async fn what_of_mine_is_delivered_is_not_kept_twice() {
    let home = home_with_bob().await;
    home.store.compose(peer(2), id(1), "hello".into(), 1).await.unwrap();
    let amended = home.store.amend(peer(2), id(2), edit(id(1), "hello!"), 2).await.unwrap();
    assert_eq!(home.count("SELECT count(*) FROM messages WHERE content IS NOT NULL").await, 1);
    home.store.acknowledged(peer(2), amended.position).await.unwrap();
    assert_eq!(home.count("SELECT count(*) FROM messages WHERE content IS NOT NULL").await, 0);
    let page = home.page().await;
    assert_eq!((page.len(), page[0].text.as_str(), page[0].state), (1, "hello!", MessageState::Delivered));
}

#[tokio::test]
async fn a_message_is_found_by_its_name_alone() {
    let home = home_with_bob().await;
    home.store.add(peer(3), None, vec![]).await.unwrap();
    home.hear(1, "hello").await;
    assert_eq!(home.store.whose(id(1)).await, Ok(peer(2)));
    assert_eq!(home.store.whose(id(2)).await, Err(StoreError::UnknownMessage));
    home.store.receive(peer(3), Position { log: 1, number: 1 }, id(1), "stolen".into(), 1).await.unwrap();
    assert_eq!(home.store.whose(id(1)).await, Err(StoreError::UnknownMessage));
}

/// One of two peers, with a database of its own and what it has sent.
struct Side {
    database: Database,
    _directory: TempDir,
    other: u8,
    sent: Vec<(Position, MessageId, Content, u64)>,
}

impl Side {
    fn new(other: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = schema::open(directory.path(), None).unwrap();
        database
            .execute_batch("PRAGMA synchronous = off; PRAGMA fullfsync = off; PRAGMA journal_mode = memory;")
            .unwrap();
        let insert = "INSERT INTO contacts (peer, name, state, added_at) VALUES (?1, 'Other', 'contact', 0)";
        database.execute(insert, [[other; 32]]).unwrap();
        Self { database, _directory: directory, other, sent: Vec::new() }
    }

    /// Says something, with whatever right and by whatever clock, of what it has.
    fn write(&mut self, id: MessageId, content: Content, at: u64) {
        if let Content::Edit { of, .. } | Content::Delete { of } | Content::Reaction { of, .. } = &content
            && target(&self.database, 1, *of).unwrap().is_none()
        {
            return;
        }
        let position = compose(&self.database, peer(self.other), id, &content, at).unwrap();
        apply(&self.database, Word { contact: 1, id, mine: true, at, content: &content }).unwrap();
        self.sent.push((position, id, content, at));
    }

    fn hear(&self, (position, id, content, at): &(Position, MessageId, Content, u64)) {
        take(&self.database, 1, *position, *id, content, *at).unwrap();
    }

    /// What it shows, seen from the first side: times and places apart.
    fn shows(&self) -> (BTreeMap<MessageId, String>, Option<u32>) {
        let first = self.other == 2;
        let messages = page(&self.database, peer(self.other), None, Place::End, 999).unwrap();
        let shown = messages.into_iter().map(|message| {
            let mut reactions: Vec<_> =
                message.reactions.iter().map(|reaction| (&reaction.emoji, reaction.mine == first)).collect();
            reactions.sort_unstable();
            let author = (message.author == Author::Me) == first;
            let Message { id, kind, text, edited, reply, expires_s, .. } = &message;
            (*id, format!("{author} {kind:?} {text:?} {edited} {reply:?} {expires_s:?} {reactions:?}"))
        });
        let timer = self.database.query_row("SELECT timer_s FROM contacts", [], |row| row.get(0)).unwrap();
        (shown.collect(), timer)
    }
}

#[derive(Debug, Clone)]
enum Act {
    Text(Option<Index>),
    Edit(Index, u8),
    Delete(Index),
    React(Index, u8, bool),
    Timer(Option<u32>),
    /// The other side hears one of what was sent to it, perhaps not for the first time.
    Deliver(Index),
}

fn act() -> impl Strategy<Value = Act> {
    let any_index = any::<Index>;
    prop_oneof![
        3 => proptest::option::of(any_index()).prop_map(Act::Text),
        3 => (any_index(), any::<u8>()).prop_map(|(of, text)| Act::Edit(of, text)),
        1 => any_index().prop_map(Act::Delete),
        3 => (any_index(), 0..3_u8, any::<bool>()).prop_map(|(of, emoji, on)| Act::React(of, emoji, on)),
        1 => any::<Option<u32>>().prop_map(Act::Timer),
        6 => any_index().prop_map(Act::Deliver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// docs/protocol.md, "Content": whatever the order in which what was said arrives, and however often, both sides come
    /// to show the same; clocks that disagree change nothing of that.
    #[test]
    fn both_sides_come_to_show_the_same(
        acts in proptest::collection::vec((any::<bool>(), act(), 0..4_u64), 1..40),
        order in proptest::collection::vec(any::<(bool, Index)>(), 60),
    ) {
        let mut sides = [Side::new(2), Side::new(1)];
        let mut texts = Vec::new();
        for (n, (second, act, at)) in acts.into_iter().enumerate() {
            let name = id(u8::try_from(n).unwrap());
            let (left, right) = sides.split_at_mut(1);
            let (me, other) = if second { (&mut right[0], &left[0]) } else { (&mut left[0], &right[0]) };
            let of = |index: Index| if texts.is_empty() { id(255) } else { *index.get(&texts) };
            let content = match act {
                Act::Text(reply) => {
                    let reply = reply.map(of);
                    texts.push(name);
                    Content::Text { text: format!("text {n}"), reply, expires_s: None }
                }
                Act::Edit(index, text) => edit(of(index), &format!("edit {text}")),
                Act::Delete(index) => Content::Delete { of: of(index) },
                Act::React(index, emoji, on) => react(of(index), &format!("e{emoji}"), on),
                Act::Timer(expires_s) => Content::Timer { expires_s },
                Act::Deliver(index) => {
                    if !me.sent.is_empty() {
                        other.hear(index.get(&me.sent));
                    }
                    continue;
                }
            };
            me.write(name, content, at);
        }
        for (second, index) in order {
            let (from, to) = if second { (&sides[1], &sides[0]) } else { (&sides[0], &sides[1]) };
            if !from.sent.is_empty() {
                to.hear(index.get(&from.sent));
            }
        }
        for (from, to) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
            from.sent.iter().rev().for_each(|message| to.hear(message));
        }
        prop_assert_eq!(sides[0].shows(), sides[1].shows());
    }
}
