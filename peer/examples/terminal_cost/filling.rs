//! A home in which there has been much talk.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use knothole::home::Home;
use knothole::store::{Position, Store};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;

/// Contacts besides the one with the long conversation, to switch among.
pub(crate) const OTHERS: u8 = 8;
/// Messages of each of these.
const FEW: u64 = 60;
/// Operations under way at once.
const UNDER_WAY: usize = 1024;
/// Milliseconds between messages: the longest conversation is of some years, with days of a few hundred messages.
const PACE: u64 = 5 * 60 * 1000;

/// The last text of each conversation, by which it is known on the screen.
pub(crate) fn last(name: &str) -> String {
    format!("the last from {name}")
}

/// Fills a home with a conversation of so many messages with `friend`, who is called bob, and short ones with others.
pub(crate) async fn fill(home: &Path, friend: PeerId, via: &RendezvousAddress, messages: u64) -> anyhow::Result<()> {
    let home = Home::open(Some(home.to_owned()))?;
    home.identity()?;
    let store = Store::open_in(&home)?;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let others = (0..OTHERS).map(|n| (PeerId::new([0x40 + n; 32]), other(n), FEW, vec![]));
    for (peer, name, count, via) in others.chain([(friend, "bob".into(), messages, vec![via.clone()])]) {
        store.add(peer, Some(name.clone()), via).await?;
        talk(&store, peer, &name, count, now).await?;
    }
    store.close().await?;
    Ok(())
}

pub(crate) fn other(n: u8) -> String {
    format!("contact-{n:02}")
}

/// Every third message is ours and read, as all of theirs are.
async fn talk(store: &Store, peer: PeerId, name: &str, count: u64, now: u64) -> anyhow::Result<()> {
    let (mut mine, mut theirs, mut number) = (VecDeque::new(), VecDeque::new(), 0);
    let mut last_of_mine = None;
    for n in 0..count {
        let text = if n + 1 == count { last(name) } else { text(n) };
        let mut id = peer.as_bytes()[..16].try_into().map(MessageId)?;
        id.0[8..].copy_from_slice(&n.to_be_bytes());
        let at = now - (count - n) * PACE;
        if n % 3 == 0 && n + 1 < count {
            mine.push_back(store.compose(peer, id, text.into(), at));
        } else {
            number += 1;
            theirs.push_back((id, store.receive(peer, Position { log: 9, number }, id, text.into(), at)));
        }
        while mine.len() + theirs.len() > UNDER_WAY {
            if let Some(outcome) = mine.pop_front() {
                last_of_mine = Some(outcome.await?);
            }
            if let Some((_, outcome)) = theirs.pop_front() {
                outcome.await?;
            }
        }
    }
    for outcome in mine {
        last_of_mine = Some(outcome.await?);
    }
    let mut newest = None;
    for (id, outcome) in theirs {
        outcome.await?;
        newest = Some(id);
    }
    store.read_by_peer(peer, last_of_mine.context("something is ours")?).await?;
    store.mark_read(peer, newest.context("something is theirs")?).await?;
    Ok(())
}

const WORDS: [&str; 16] = [
    "the", "and", "will", "train", "dinner", "tomorrow", "letter", "garden", "window", "because", "market", "bridge",
    "holiday", "kitchen", "station", "weather",
];

/// Short and long, of Latin words and, every fourth, of Chinese characters; its number tells it from all others.
pub(crate) fn text(n: u64) -> String {
    let chance = |place: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7 * u32::try_from(place).unwrap_or(0));
    let length = 3 + chance(1) % 22;
    let mut text = format!("{n}");
    for place in 0..length {
        if n.is_multiple_of(4) {
            text.extend(u32::try_from(0x4E00 + chance(place) % 3000).ok().and_then(char::from_u32));
        } else {
            text.push(' ');
            text.push_str(WORDS[usize::try_from(chance(place) % 16).unwrap_or(0)]);
        }
    }
    text
}
