//! The line that is typed, which may be many: keys and pastes come in, an [`Outcome`] and a [`Layout`] go out.
//!
//! It is pure: no clock, no terminal, no clipboard, and it sends nothing. The cursor steps over what is seen as one (grapheme
//! clusters), rows break where words do, and whatever is pasted is only ever text. Keys that are not its own it passes over; which key does
//! what, `keys` says.

mod changes;
mod completion;
mod emoji;
mod keys;
mod kills;
mod layout;
mod motion;
mod quoting;
mod sent;
#[cfg(test)]
mod tests;
mod text;

use std::mem;
use std::ops::Range;

use ratatui::crossterm::event::{KeyEvent, KeyEventKind};

use changes::Kind;
pub(crate) use completion::{Candidates, Completable, Popup, Takes};
use completion::{Completion, Recent};
use keys::{Action, Motion};
use kills::Kills;
pub(crate) use layout::Layout;
pub(crate) use quoting::{quoted, unquoted};
use sent::Sent;
use text::{Text, TooLong};

/// Characters of a paste from which on it is asked for before it is sent: more than one sees at a glance, as one does many lines.
const LONG_PASTE: usize = 200;

/// What became of a key or a paste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is not the composer's: whoever else may use it.
    Ignored,
    /// The text is the same.
    Moved,
    Changed,
    /// The text is finished, and was taken out.
    Submit(String),
    /// Something long was pasted into the text; the next Enter sends it.
    Confirm {
        lines: usize,
        characters: usize,
    },
    /// Refused: the text would have more bytes than a message can.
    Full,
}

/// What the key before did, where that matters.
#[derive(Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    Killed,
    /// What was put back, where it stands.
    Yanked(Range<usize>),
}

/// A text that is being written.
#[derive(Debug, Default)]
pub(crate) struct Composer {
    text: Text,
    /// Columns that it has on the screen, for going up and down; 0 while they are not known.
    columns: usize,
    kills: Kills,
    sent: Sent,
    last: Last,
    /// The column that going up and down keeps to.
    column: Option<usize>,
    completion: Option<Completion>,
    recent: Recent,
    /// Whether something long was pasted into the text.
    pasted: bool,
    /// Whether it was asked, by the key before, if that is to be sent.
    asked: bool,
}

impl Composer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn text(&self) -> &str {
        self.text.as_str()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// Another text, with the cursor at its end. What was cut out, and what was sent before, stays.
    pub(crate) fn set_text(&mut self, text: &str) {
        self.text.reset(&clean(text));
        self.sent.leave();
        self.forget();
        (self.pasted, self.asked) = (false, false);
    }

    /// Says how many columns it has on the screen.
    pub(crate) const fn resize(&mut self, columns: usize) {
        self.columns = columns;
    }

    /// The rows in sight, on so many columns and at most so many rows.
    pub(crate) fn layout(&self, columns: usize, most: usize) -> Layout {
        layout::layout(self.text(), self.text.cursor(), columns, most)
    }

    /// What the word before the cursor may become instead, while that is chosen.
    pub(crate) fn popup(&self) -> Option<Popup<'_>> {
        self.completion.as_ref().map(Completion::popup)
    }

    /// Takes a paste, literally: line feeds in it send nothing. Control characters are left out.
    pub(crate) fn handle_paste(&mut self, text: &str) -> Outcome {
        self.accept();
        self.forget();
        self.asked = false;
        let text = clean(text);
        if text.is_empty() {
            return Outcome::Moved;
        }
        let outcome = self.put(&text, Kind::Other);
        if outcome == Outcome::Changed && (text.lines().nth(1).is_some() || text.chars().count() > LONG_PASTE) {
            self.pasted = true;
        }
        outcome
    }

    /// Takes a key.
    pub(crate) fn handle_key(&mut self, key: KeyEvent, known: &dyn Candidates) -> Outcome {
        if key.kind == KeyEventKind::Release {
            return Outcome::Ignored;
        }
        let action = keys::action(key);
        if action != Some(Action::Submit) {
            self.asked = false;
        }
        match action {
            Some(Action::Complete) => return self.complete(known, false),
            Some(Action::CompleteBack) => return self.complete(known, true),
            Some(Action::Withdraw) => return self.withdraw(),
            _ => {}
        }
        let chosen = self.accept();
        match action {
            // Whoever chooses among several does not mean to send yet.
            Some(Action::Submit) if chosen => Outcome::Changed,
            Some(action) => self.act(action),
            None => {
                self.forget();
                Outcome::Ignored
            }
        }
    }

    fn act(&mut self, action: Action) -> Outcome {
        let last = mem::take(&mut self.last);
        let column = self.column.take();
        match action {
            Action::Insert(c) => self.put(c.encode_utf8(&mut [0; 4]), Kind::Typed),
            Action::NewLine => self.put("\n", Kind::Typed),
            Action::Submit => self.submit(),
            Action::Earlier => self.recall(true),
            Action::Later => self.recall(false),
            // There is nothing to be done with an empty text; Home, End and the like may mean something elsewhere.
            Action::Move(_) | Action::Up | Action::Down | Action::EraseLeft | Action::EraseRight | Action::Kill(_)
                if self.is_empty() =>
            {
                Outcome::Ignored
            }
            Action::Move(motion) => {
                self.text.go(motion);
                Outcome::Moved
            }
            Action::Up => self.go_beside(column, true),
            Action::Down => self.go_beside(column, false),
            Action::EraseLeft => self.erase(Motion::Left),
            Action::EraseRight => self.erase(Motion::Right),
            Action::Kill(motion) => self.kill(motion, last == Last::Killed),
            Action::Yank => {
                let piece = self.kills.newest().map(str::to_owned);
                let at = self.text.cursor();
                self.yank(at..at, piece)
            }
            Action::YankPop => match last {
                Last::Yanked(range) => {
                    let piece = self.kills.rotate().map(str::to_owned);
                    self.yank(range, piece)
                }
                _ => Outcome::Moved,
            },
            Action::Transpose => done(self.text.transpose()),
            Action::Recase(case) => told(self.text.recase(case)),
            Action::Undo => {
                let undone = self.text.undo();
                self.look_for_paste();
                done(undone)
            }
            Action::Redo => done(self.text.redo()),
            Action::Complete | Action::CompleteBack | Action::Withdraw => Outcome::Moved,
        }
    }

    /// Puts a text where the cursor is.
    fn put(&mut self, text: &str, kind: Kind) -> Outcome {
        let at = self.text.cursor();
        told(self.text.replace(at..at, text, kind))
    }

    fn submit(&mut self) -> Outcome {
        if self.text().trim().is_empty() {
            return if self.is_empty() { Outcome::Ignored } else { Outcome::Moved };
        }
        if self.pasted && !self.asked {
            self.asked = true;
            let text = self.text();
            return Outcome::Confirm { lines: text.lines().count(), characters: text.chars().count() };
        }
        (self.pasted, self.asked) = (false, false);
        let text = self.text.take();
        self.sent.note(&text);
        Outcome::Submit(text)
    }

    fn erase(&mut self, motion: Motion) -> Outcome {
        let range = self.text.reach(motion);
        let erased = !range.is_empty();
        if erased {
            self.text.cut(range, Kind::Erased);
        }
        self.look_for_paste();
        done(erased)
    }

    fn kill(&mut self, motion: Motion, again: bool) -> Outcome {
        let mut range = self.text.reach(motion);
        if range.is_empty() {
            // At a line's beginning or end the way leads on to the next line.
            range = match motion {
                Motion::LineStart => self.text.reach(Motion::Left),
                Motion::LineEnd => self.text.reach(Motion::Right),
                _ => range,
            };
        }
        if range.is_empty() {
            return Outcome::Moved;
        }
        let before = range.start < self.text.cursor();
        let piece = self.text.cut(range, Kind::Other);
        if again {
            self.kills.join(&piece, before);
        } else {
            self.kills.push(piece);
        }
        self.last = Last::Killed;
        self.look_for_paste();
        Outcome::Changed
    }

    fn yank(&mut self, range: Range<usize>, piece: Option<String>) -> Outcome {
        let Some(piece) = piece else { return Outcome::Moved };
        let start = range.start;
        match self.text.replace(range.clone(), &piece, Kind::Other) {
            Ok(()) => {
                self.last = Last::Yanked(start..start + piece.len());
                Outcome::Changed
            }
            Err(TooLong) => {
                self.last = Last::Yanked(range);
                Outcome::Full
            }
        }
    }

    /// Up or down a row; beyond the first and the last to what was sent before.
    fn go_beside(&mut self, column: Option<usize>, up: bool) -> Outcome {
        let columns = if self.columns == 0 { usize::MAX } else { self.columns };
        let rows = layout::rows(self.text(), columns);
        let at = self.text.cursor();
        let column = column.unwrap_or_else(|| layout::column(self.text(), &rows, at));
        match layout::beside(self.text(), &rows, at, column, up) {
            Some(place) => {
                self.text.put_cursor(place);
                self.column = Some(column);
                Outcome::Moved
            }
            None => self.recall(up),
        }
    }

    fn recall(&mut self, earlier: bool) -> Outcome {
        let Some(text) = self.sent.recall(earlier, self.text.as_str()) else {
            return if self.is_empty() { Outcome::Ignored } else { Outcome::Moved };
        };
        self.text.reset(&text);
        self.look_for_paste();
        Outcome::Changed
    }

    /// Puts the first candidate in the place of the word before the cursor, or the next in the place of the last one.
    fn complete(&mut self, known: &dyn Candidates, back: bool) -> Outcome {
        (self.last, self.column) = (Last::Other, None);
        let mut completion = match self.completion.take() {
            Some(mut completion) => {
                completion.turn(back);
                completion
            }
            None => {
                let (before, behind) = (self.text.before(), self.text.behind());
                match Completion::begin(before, behind, known, &self.recent, back) {
                    Some(completion) => completion,
                    None => return Outcome::Ignored,
                }
            }
        };
        let text = completion.current().map(|candidate| candidate.text.clone()).unwrap_or_default();
        if self.text.replace(completion.range.clone(), &text, Kind::Completed).is_err() {
            return Outcome::Full;
        }
        completion.range.end = completion.range.start + text.len();
        let single = completion.is_single();
        self.completion = Some(completion);
        if single {
            self.accept();
        }
        Outcome::Changed
    }

    /// Ends a choice with what stands in the text; whether there was one.
    fn accept(&mut self) -> bool {
        let Some(completion) = self.completion.take() else { return false };
        if let Some(candidate) = completion.current() {
            self.recent.note(candidate);
        }
        // The next completion is undone apart from this one.
        self.text.put_cursor(self.text.cursor());
        true
    }

    /// Ends a choice with what was typed.
    fn withdraw(&mut self) -> Outcome {
        self.forget_motion();
        match self.completion.take() {
            Some(completion) => told(self.text.replace(completion.range, &completion.typed, Kind::Completed)),
            None => Outcome::Ignored,
        }
    }

    /// Nothing is left of a paste in an empty text.
    fn look_for_paste(&mut self) {
        self.pasted &= !self.is_empty();
    }

    /// Forgets what the keys before were.
    fn forget(&mut self) {
        self.completion = None;
        self.forget_motion();
    }

    fn forget_motion(&mut self) {
        (self.last, self.column) = (Last::Other, None);
    }
}

const fn done(changed: bool) -> Outcome {
    if changed { Outcome::Changed } else { Outcome::Moved }
}

const fn told(change: Result<(), TooLong>) -> Outcome {
    match change {
        Ok(()) => Outcome::Changed,
        Err(TooLong) => Outcome::Full,
    }
}

/// A text with line feeds for all line ends, and without the other control characters but tabs.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
