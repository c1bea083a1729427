//! Searching the open conversation: a list of what was found, and the way from one hit to the next without it.

use std::ops::Range;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::conversation::{Goal, Place};
use super::message::Message;
use super::rows::{Piece, Tone, piece};
use super::{Composer, Outcome, Page, Purpose, Screen};
use crate::session::entries;
use crate::terminal::cells;
use crate::terminal::composer::{Candidates, Completable};
use crate::terminal::words::{conversation, fill};

/// Hits asked for at a time: more than a list shows.
const PAGE: usize = 50;

/// Hits kept at most: who goes through more wants another search.
const MOST: usize = 1_000;

/// Hits below the chosen one below which more are asked for.
const AHEAD: usize = 10;

/// Columns below which a hit is told with less of its time.
const NARROW: usize = 50;

/// Bytes before a hit, and in all, that its row in the list may need on a wide screen.
const BEFORE: usize = 200;
const EXCERPT: usize = 800;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) message: String,
    pub(crate) mine: bool,
    pub(crate) at: u64,
    /// What is around the first place where it was found, on one line.
    pub(crate) excerpt: String,
}

/// What was found, the newest first, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    wanted: String,
    folded: Vec<char>,
    pub(crate) hits: Vec<Hit>,
    /// The hit that is chosen.
    pub(crate) at: usize,
    more: bool,
    /// What is being asked: the text, and the message before which.
    asked: Option<(String, Option<String>)>,
}

/// The list, and the line in which the search is typed.
pub(crate) struct Search {
    pub(crate) line: Composer,
    pub(crate) found: Found,
}

/// Going from hit to hit in the conversation itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walk {
    found: Found,
    /// Whether to go on as soon as more hits are there.
    waits: bool,
    /// Where the person was before.
    back: Place,
}

/// Nothing is completed in a search.
struct Nothing;

impl Candidates for Nothing {
    fn commands(&self) -> Vec<Completable> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Found {
    fn of(wanted: &str) -> Self {
        Self { wanted: wanted.to_owned(), folded: fold(wanted), ..Self::default() }
    }

    pub(crate) fn wanted(&self) -> &[char] {
        &self.folded
    }

    /// Whether something is under way, or nothing was found at all.
    pub(crate) fn is_searching(&self) -> bool {
        self.asked.is_some()
    }

    fn take(&mut self, before: Option<&str>, page: &Value, me: &str) {
        let asked = (self.wanted.clone(), before.map(str::to_owned));
        if self.asked.as_ref() != Some(&asked) {
            return;
        }
        self.asked = None;
        let page = entries(page);
        let hits = page.iter().rev().map(|entry| Hit::of(&Message::read(entry, me), &self.folded));
        self.hits.extend(hits);
        self.more = page.len() >= PAGE && self.hits.len() < MOST;
    }

    /// What to ask for more hits, if there are some and they are not asked for.
    fn ask(&mut self) -> Option<(String, Option<String>)> {
        if self.asked.is_some() || self.wanted.trim().is_empty() || !(self.more || self.hits.is_empty()) {
            return None;
        }
        self.asked = Some((self.wanted.clone(), self.hits.last().map(|hit| hit.message.clone())));
        self.asked.clone()
    }

    fn chosen(&self) -> Option<&Hit> {
        self.hits.get(self.at)
    }
}

impl Hit {
    fn of(message: &Message, wanted: &[char]) -> Self {
        let text = message.text().unwrap_or_default();
        let start = occurrences(text, wanted).first().map_or(0, |hit| hit.start);
        let line = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let from = if start - line > BEFORE { boundary(text, start - BEFORE) } else { line };
        let to = boundary(text, from + EXCERPT);
        let excerpt = text.get(from..to).unwrap_or_default().replace(['\n', '\t'], " ");
        Self { message: message.id.clone(), mine: message.mine, at: message.at, excerpt }
    }
}

impl Walk {
    /// What is searched, folded, and the message in which it was found.
    pub(super) fn wanted(&self) -> (&[char], &str) {
        (&self.found.folded, self.found.chosen().map_or("", |hit| hit.message.as_str()))
    }

    pub(super) fn told(&self, words: &conversation::Words) -> String {
        let more = if self.found.more { "+" } else { "" };
        let place = format!("{}/{}{more}", self.found.at + 1, self.found.hits.len());
        fill(words.walking, &[&crate::text::harmless(&self.found.wanted), &place])
    }
}

impl Screen {
    /// Ctrl-S: opens the list, or goes on to the next older hit.
    pub(super) fn search_on(&mut self) {
        if self.walk.is_some() { self.next_hit() } else { self.search_for("") }
    }

    /// Opens the list with what is found of a text.
    pub(super) fn search_for(&mut self, wanted: &str) {
        if self.conversation.is_none() {
            return self.say(self.words.status.nobody_open.to_owned(), true);
        }
        self.unchoose();
        let mut line = Composer::new();
        line.set_text(wanted);
        self.search = Some(Search { line, found: Found::of(wanted) });
        self.ask_hits();
    }

    pub(super) fn handle_search_key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let Some(search) = &mut self.search else { return };
        let last = search.found.hits.len().saturating_sub(1);
        match key.code {
            KeyCode::Esc => self.search = None,
            KeyCode::Enter => self.walk_from_list(),
            KeyCode::Down => search.found.at = (search.found.at + 1).min(last),
            KeyCode::Char('s') if control => search.found.at = (search.found.at + 1).min(last),
            KeyCode::Up => search.found.at = search.found.at.saturating_sub(1),
            KeyCode::PageDown => search.found.at = (search.found.at + AHEAD).min(last),
            KeyCode::PageUp => search.found.at = search.found.at.saturating_sub(AHEAD),
            // It would leave the line in which the text is to be typed.
            _ => match search.line.handle_key(key, &Nothing) {
                Outcome::Submit(text) => search.line.set_text(&text),
                _ => self.look_up(),
            },
        }
        self.ask_hits();
    }

    pub(super) fn paste_search(&mut self, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        if let Some(search) = &mut self.search {
            let _ = search.line.handle_paste(line);
        }
        self.look_up();
        self.ask_hits();
    }

    /// The line has changed, or not.
    fn look_up(&mut self) {
        let Some(search) = &mut self.search else { return };
        if search.line.text() != search.found.wanted {
            search.found = Found::of(search.line.text());
        }
    }

    /// Asks for hits where the list, or the walk, is near the end of those that are known.
    fn ask_hits(&mut self) {
        let Some(peer) = self.conversation.as_ref().map(|open| open.peer.clone()) else { return };
        let found = match (&mut self.search, &mut self.walk) {
            (Some(search), _) => &mut search.found,
            (None, Some(walk)) => &mut walk.found,
            (None, None) => return,
        };
        if found.at + AHEAD < found.hits.len() {
            return;
        }
        let Some((wanted, before)) = found.ask() else { return };
        let mut parameters = json!({"with": peer, "search": wanted, "limit": PAGE});
        if let Some(before) = &before {
            parameters["before"] = before.as_str().into();
        }
        self.ask(Purpose::Search { peer, wanted, before }, "message.history", parameters);
    }

    /// Takes hits in; what nobody waits for any more is passed over.
    pub(super) fn take_hits(&mut self, peer: &str, wanted: &str, before: Option<&str>, answer: Option<&Value>) {
        if !self.is_open(peer) {
            return;
        }
        let found = match (&mut self.search, &mut self.walk) {
            (Some(search), _) => &mut search.found,
            (None, Some(walk)) => &mut walk.found,
            (None, None) => return,
        };
        if found.wanted != wanted {
            return;
        }
        match answer {
            Some(answer) => found.take(before, answer, &self.me),
            None => (found.asked, found.more) = (None, false),
        }
        if let Some(walk) = &mut self.walk
            && std::mem::take(&mut walk.waits)
        {
            self.next_hit();
        }
    }

    /// A hit on one row: when, who, and what is around it, with all that was searched told apart.
    pub(crate) fn hit_row(&self, found: &Found, hit: &Hit, columns: usize) -> Vec<Piece> {
        let Some(paper) = self.conversation.as_ref().and_then(|open| self.paper(open)) else { return Vec::new() };
        let words = &self.words.conversation;
        let (name, tone) = if hit.mine { (words.me, Tone::Mine) } else { (paper.name, Tone::Theirs) };
        // Where there is little room, the day is enough.
        let narrow = columns < NARROW;
        let format = if narrow { "%m-%d " } else { "%Y-%m-%d %H:%M " };
        let names = if narrow { 5 } else { 10 };
        let name = cells::pad(name, cells::width(paper.name).max(cells::width(words.me)).min(names));
        let time = paper.time(hit.at, format);
        let room = columns.saturating_sub(cells::width(&time) + cells::width(&name) + 1);
        let mut pieces = vec![piece(time, Tone::Dim), piece(format!("{name} "), tone)];
        let places = occurrences(&hit.excerpt, &found.folded);
        let mut at = places.first().map_or(0, |first| beginning_before(&hit.excerpt, first, room));
        if at > 0 {
            pieces.push(piece("…", Tone::Dim));
        }
        for range in places {
            pieces.push(piece(hit.excerpt.get(at..range.start).unwrap_or_default(), Tone::Plain));
            pieces.push(piece(hit.excerpt.get(range.clone()).unwrap_or_default(), Tone::Hit));
            at = range.end;
        }
        pieces.push(piece(hit.excerpt.get(at..).unwrap_or_default(), Tone::Plain));
        pieces
    }

    /// Leaves the list for the hit that is chosen there.
    fn walk_from_list(&mut self) {
        let Some(search) = self.search.take() else { return };
        let Some(hit) = search.found.chosen().map(|hit| hit.message.clone()) else { return };
        let place = self.conversation.as_ref().map(|open| open.place.clone()).unwrap_or_default();
        let back = self.walk.take().map_or(place, |walk| walk.back);
        self.walk = Some(Walk { found: search.found, waits: false, back });
        self.jump_to(&hit);
    }

    /// Goes on to the next older hit.
    pub(super) fn next_hit(&mut self) {
        let Some(walk) = &mut self.walk else { return };
        if walk.found.at + 1 < walk.found.hits.len() {
            walk.found.at += 1;
            if let Some(hit) = walk.found.chosen().map(|hit| hit.message.clone()) {
                self.jump_to(&hit);
            }
        } else if walk.found.more {
            walk.waits = true;
        } else {
            self.say(self.words.conversation.no_older_hit.to_owned(), false);
        }
        self.ask_hits();
    }

    /// Ends the walk where it began. `false`: there was none.
    pub(super) fn end_walk(&mut self) -> bool {
        let Some(walk) = self.walk.take() else { return false };
        match walk.back {
            Place::Bottom => self.go_to_end(),
            Place::At { message, row } => {
                let Some(conversation) = &mut self.conversation else { return true };
                if conversation.index(&message).is_some() {
                    conversation.place = Place::At { message, row };
                } else {
                    self.jump_to(&message);
                }
            }
        }
        true
    }

    /// Brings a message into sight, in its surroundings.
    pub(super) fn jump_to(&mut self, message: &str) {
        let Some(conversation) = &mut self.conversation else { return };
        conversation.goal = Some(Goal::Message(message.to_owned()));
        if conversation.index(message).is_some() {
            self.reach_goal();
            self.note_read();
        } else {
            self.ask_page(Page::Beyond(message.to_owned()));
        }
    }
}

/// Where an excerpt is to begin for its first hit to be seen in so many columns: half of them are before it at most.
fn beginning_before(excerpt: &str, hit: &Range<usize>, room: usize) -> usize {
    if cells::width(excerpt.get(..hit.end).unwrap_or_default()) <= room {
        return 0;
    }
    let mut taken = 1;
    let before = excerpt.get(..hit.start).unwrap_or_default();
    let mut from = hit.start;
    for (at, c) in before.char_indices().rev() {
        taken += cells::width(c.encode_utf8(&mut [0; 4]));
        if taken > room / 2 {
            break;
        }
        from = at;
    }
    from
}

/// The last place where a character begins, or the text ends, that is not behind this one.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rfind(|place| text.is_char_boundary(*place)).unwrap_or_default()
}

/// A text whose case makes no difference, as the engine's search has it: character by character.
fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(folded).collect()
}

fn folded(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase().map(|c| if c == 'ς' { 'σ' } else { c })
}

/// Where a text holds what is searched, which is folded already: places that do not overlap.
pub(crate) fn occurrences(text: &str, wanted: &[char]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut rest = 0;
    if wanted.is_empty() {
        return found;
    }
    for (start, _) in text.char_indices() {
        if start < rest {
            continue;
        }
        let Some(tail) = text.get(start..) else { continue };
        if let Some(length) = length_of(tail, wanted) {
            found.push(start..start + length);
            rest = start + length;
        }
    }
    found
}

/// The bytes with which a text begins that are what is searched.
fn length_of(text: &str, wanted: &[char]) -> Option<usize> {
    let mut wanted = wanted.iter();
    for (at, c) in text.char_indices() {
        for c in folded(c) {
            match wanted.next() {
                Some(wanted) if *wanted == c => {}
                Some(_) => return None,
                // It ends within the lower case of a character that has two.
                None => return Some(at + text.get(at..)?.chars().next()?.len_utf8()),
            }
        }
        if wanted.len() == 0 {
            return Some(at + c.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_is_found_in_any_case_and_script() {
        let found = |text: &str, wanted: &str| -> Vec<String> {
            occurrences(text, &fold(wanted)).into_iter().map(|range| text[range].to_owned()).collect()
        };
        assert_eq!(found("Hello, hELLO", "hello"), ["Hello", "hELLO"]);
        assert_eq!(found("今天天气很好", "天气"), ["天气"]);
        assert_eq!(found("aaaa", "aa"), ["aa", "aa"]);
        assert_eq!(found("ΟΔΟΣ", "οδος"), ["ΟΔΟΣ"]);
        assert_eq!(found("İx", "i"), ["İ"]);
        assert!(found("abc", "").is_empty());
    }

    #[test]
    fn an_excerpt_is_the_line_around_the_hit() {
        let text = format!("first line\n{} needle and more\nlast", "much before it ".repeat(90));
        let message = Message::begun("m", &text, None, 0);
        let hit = Hit::of(&message, &fold("NEEDLE"));
        assert!(hit.excerpt.ends_with("needle and more last") && hit.excerpt.len() < 300, "{}", hit.excerpt);
        let place = occurrences(&hit.excerpt, &fold("needle")).remove(0);
        let from = beginning_before(&hit.excerpt, &place, 30);
        assert_eq!(&hit.excerpt[from..place.end], "ch before it  needle");
        assert!(Hit::of(&message, &fold("first")).excerpt.starts_with("first line much"));
    }
}
