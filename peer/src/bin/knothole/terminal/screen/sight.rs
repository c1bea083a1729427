//! The eye's way through a conversation: what is in sight, and how that moves.

use super::conversation::{Conversation, Goal, Place};
use super::rows::{Paper, Row, Tone, piece};
use super::{Page, Screen};

/// Messages above the view below which older ones are asked for: a few screens.
const AHEAD: usize = 40;

/// Rows above the mark of the unread where a conversation is opened there: what was said last before.
const CONTEXT: usize = 2;

impl Screen {
    /// The rows in sight, from the top; fewer than the area has where the conversation is short.
    pub(crate) fn view(&self) -> Vec<Row> {
        let height = usize::from(self.geometry().conversation.height);
        let Some(conversation) = &self.conversation else { return Vec::new() };
        let Some(paper) = self.paper(conversation) else { return Vec::new() };
        let mut view = Vec::new();
        let mut topmost = false;
        let mut next = self.last_row(conversation, &paper);
        while let Some((index, row)) = next
            && view.len() < height
        {
            if let Some(block) = paper.block(conversation, index) {
                let rows = row.min(block.height().saturating_sub(1)) + 1;
                let made = rows.min(height - view.len());
                view.extend((rows - made..rows).rev().map(|row| block.row(row)));
                topmost = index == 0 && made == rows;
            }
            next = index.checked_sub(1).map(|above| (above, usize::MAX));
        }
        if let Some(edge) = self.edge(conversation).filter(|_| topmost || view.is_empty()) {
            // Most often it is a day line that it stands in front of.
            view.truncate(height.saturating_sub(1));
            view.push(edge);
        }
        view.reverse();
        view
    }

    /// What stands above all that is loaded.
    fn edge(&self, conversation: &Conversation) -> Option<Row> {
        let words = &self.words.conversation;
        let (text, tone) = match &conversation.refused {
            Some(_) => (words.not_loaded, Tone::Alarm),
            None if conversation.loads_older() => (words.loading, Tone::Dim),
            None => return None,
        };
        Some(Row { pieces: vec![piece(text, tone)], ..Row::default() })
    }

    pub(super) fn paper(&self, conversation: &Conversation) -> Option<Paper<'_>> {
        let name = self.contacts.find(&conversation.peer).map_or("", |contact| contact.name.as_str());
        // It does not depend on whether there is a caption, which may depend on this.
        let width = usize::from(self.captioned().conversation.width);
        let wanted = self.walk.as_ref().map(|walk| walk.wanted());
        (width > 0).then_some(Paper { words: self.words, zone: &self.zone, name, width, wanted })
    }

    /// The message, and the row of it, that the view ends with.
    pub(super) fn last_row(&self, conversation: &Conversation, paper: &Paper<'_>) -> Option<(usize, usize)> {
        let newest = conversation.len().checked_sub(1)?;
        let (index, row) = match &conversation.place {
            Place::Bottom => (newest, usize::MAX),
            Place::At { message, row } => {
                conversation.index(message).map_or((newest, usize::MAX), |index| (index, *row))
            }
        };
        Some((index, row.min(paper.height(conversation, index).saturating_sub(1))))
    }

    /// How many messages lie below the view, and whether there are more than those.
    pub(crate) fn below(&self) -> Option<(usize, bool)> {
        let conversation = self.conversation.as_ref()?;
        let Place::At { message, row } = &conversation.place else { return None };
        let index = conversation.index(message)?;
        let paper = self.paper(conversation)?;
        let cut = usize::from(row.saturating_add(1) < paper.height(conversation, index));
        Some((conversation.len() - index - 1 + cut, !conversation.holds_newest()))
    }

    /// Moves the view by so many rows. What is not loaded is asked for ahead.
    pub(super) fn scroll(&mut self, by: usize, up: bool) {
        let Some(conversation) = &self.conversation else { return };
        let Some(paper) = self.paper(conversation) else { return };
        let Some(from) = self.last_row(conversation, &paper) else {
            // Nothing is there: perhaps it was refused.
            return self.ask_page(Page::Newest);
        };
        let heights = |index: usize| paper.height(conversation, index);
        let to = match up {
            true => back(from, by, heights),
            false => forth(from, by, conversation.len(), heights),
        };
        self.look_at(to);
        self.load_ahead(up);
        self.note_read();
    }

    /// Lets the view end with this row of this message; not above the row at which the conversation's beginning is at the top.
    fn look_at(&mut self, (index, row): (usize, usize)) {
        let height = usize::from(self.captioned().conversation.height);
        let Some(conversation) = &self.conversation else { return };
        let Some(paper) = self.paper(conversation) else { return };
        let heights = |index: usize| paper.height(conversation, index);
        let least = forth((0, 0), height.saturating_sub(1), conversation.len(), heights);
        let (index, row) = (index, row).max(least);
        let end = index + 1 >= conversation.len() && row + 1 >= heights(index);
        let place = match conversation.at(index) {
            Some(message) if !(end && conversation.holds_newest()) => Place::At { message: message.id.clone(), row },
            _ => Place::Bottom,
        };
        if let Some(conversation) = &mut self.conversation {
            conversation.place = place;
        }
    }

    /// Goes to the very first message.
    pub(super) fn go_to_beginning(&mut self) {
        let Some(conversation) = &mut self.conversation else { return };
        conversation.goal = Some(Goal::Beginning);
        if conversation.holds_oldest() {
            self.reach_goal();
        } else {
            self.ask_page(Page::Oldest);
        }
    }

    fn load_ahead(&mut self, up: bool) {
        let Some(conversation) = &self.conversation else { return };
        let at = match &conversation.place {
            Place::At { message, .. } => conversation.index(message).unwrap_or(0),
            Place::Bottom => conversation.len(),
        };
        if up && at < AHEAD {
            self.ask_page(Page::Older);
        } else if !up && at + AHEAD > conversation.len() {
            self.ask_page(Page::Newer);
        }
    }

    /// Brings what the conversation is to show into sight, if it is loaded.
    pub(super) fn reach_goal(&mut self) {
        let Some(conversation) = &self.conversation else { return };
        let Some(goal) = conversation.goal.clone() else { return };
        let Some(paper) = self.paper(conversation) else { return };
        let height = usize::from(self.captioned().conversation.height);
        let heights = |index: usize| paper.height(conversation, index);
        let len = conversation.len();
        let to = match goal.message() {
            None => Some((0, 0)),
            Some(id) => conversation.index(id).map(|index| match goal {
                // A third of the screen is above a message that was jumped to.
                Goal::Message(_) => {
                    let below = (height - height / 3).saturating_sub(1);
                    forth((index, paper.first_row(conversation, index)), below, len, heights)
                }
                _ => forth((index, 0), height.saturating_sub(1 + CONTEXT), len, heights),
            }),
        };
        if let Some(to) = to {
            self.look_at(to);
            if let Some(conversation) = &mut self.conversation {
                conversation.goal = None;
            }
        }
    }

    /// Scrolls no farther than needed for all of a message to be in sight, or as much as there is room for.
    pub(super) fn bring_into_sight(&mut self, id: &str) {
        let height = usize::from(self.geometry().conversation.height);
        let Some(conversation) = &self.conversation else { return };
        let (Some(paper), Some(index)) = (self.paper(conversation), conversation.index(id)) else { return };
        let Some(last) = self.last_row(conversation, &paper) else { return };
        let heights = |index: usize| paper.height(conversation, index);
        let end = (index, heights(index).saturating_sub(1));
        let first = (index, paper.first_row(conversation, index));
        let highest = forth(first, height.saturating_sub(1), conversation.len(), heights);
        if last < end {
            self.look_at(end.min(highest));
        } else if last > highest {
            self.look_at(highest);
        }
    }

    /// After the terminal has changed its size: the same part of the same message is the last in sight.
    pub(super) fn keep_place(&mut self, former: usize) {
        let Some(conversation) = &self.conversation else { return };
        let Place::At { message, row } = &conversation.place else { return };
        let (Some(paper), Some(index)) = (self.paper(conversation), conversation.index(message)) else { return };
        let height = paper.height(conversation, index);
        // The row of a message that another took the place of may be beyond its last.
        let row = if *row >= former.saturating_sub(1) { height.saturating_sub(1) } else { *row * height / former };
        self.look_at((index, row));
    }

    /// The rows of the message that the view ends with.
    pub(super) fn height_at_place(&self) -> usize {
        let Some(conversation) = &self.conversation else { return 0 };
        let Place::At { message, .. } = &conversation.place else { return 0 };
        let (Some(paper), Some(index)) = (self.paper(conversation), conversation.index(message)) else { return 0 };
        paper.height(conversation, index)
    }

    /// The messages in sight, as the first and the last of them; both may be cut.
    pub(super) fn in_sight(&self) -> Option<(usize, usize)> {
        let height = usize::from(self.geometry().conversation.height).checked_sub(1)?;
        let conversation = self.conversation.as_ref()?;
        let paper = self.paper(conversation)?;
        let last = self.last_row(conversation, &paper)?;
        let (first, _) = back(last, height, |index| paper.height(conversation, index));
        Some((first, last.0))
    }
}

/// The row so many rows above, or the first.
fn back((mut index, row): (usize, usize), by: usize, heights: impl Fn(usize) -> usize) -> (usize, usize) {
    let (mut row, mut left) = (row, by);
    while left > row {
        if index == 0 {
            return (0, 0);
        }
        left -= row + 1;
        index -= 1;
        row = heights(index).saturating_sub(1);
    }
    (index, row - left)
}

/// The row so many rows below, or the last.
fn forth(
    (mut index, mut row): (usize, usize),
    by: usize,
    len: usize,
    heights: impl Fn(usize) -> usize,
) -> (usize, usize) {
    let mut left = by;
    loop {
        let rest = heights(index).saturating_sub(row + 1);
        if left <= rest {
            return (index, row + left);
        }
        if index + 1 >= len {
            return (index, row + rest);
        }
        left -= rest + 1;
        index += 1;
        row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::golden;
    use crate::terminal::screen::fixture::{Fixture, talk};

    #[test]
    fn a_conversation_is_drawn_at_every_size() {
        for size in golden::SIZES {
            let mut bob = Fixture::with_bob(size, talk(30));
            bob.type_text("I have begun");
            golden::check("conversation", &bob.screen);
        }
    }

    #[test]
    fn rows_are_counted_across_messages_in_both_directions() {
        let heights = |index: usize| [1, 3, 2][index];
        assert_eq!(back((2, 1), 1, heights), (2, 0));
        assert_eq!(back((2, 1), 2, heights), (1, 2));
        assert_eq!(back((2, 1), 5, heights), (0, 0));
        assert_eq!(back((2, 1), 50, heights), (0, 0));
        assert_eq!(forth((0, 0), 1, 3, heights), (1, 0));
        assert_eq!(forth((0, 0), 5, 3, heights), (2, 1));
        assert_eq!(forth((0, 0), 50, 3, heights), (2, 1));
    }
}
