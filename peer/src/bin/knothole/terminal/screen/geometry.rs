//! Where everything is, by the size of the terminal alone.

use ratatui::layout::Rect;

/// Columns from which on the list of contacts stands beside the conversation.
const BESIDE: u16 = 60;

/// Rows that something said may fill: a sentence in the narrowest terminal.
pub(crate) const SAID: u16 = 3;

/// Columns before what is typed.
pub(crate) const PROMPT: u16 = 2;

/// The areas of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The contacts, where there is room for them.
    pub(crate) contacts: Option<Rect>,
    /// Who the conversation is with.
    pub(crate) title: Rect,
    pub(crate) conversation: Rect,
    /// What the composer is for, where there is something to say of it; the place for a transfer's progress, too, when there are any.
    pub(crate) caption: Rect,
    pub(crate) composer: Rect,
    /// The last row, or so many of the last as what is said takes.
    pub(crate) status: Rect,
}

impl Geometry {
    /// The areas in so many columns and rows; `composed` tells how many rows the composer wants of a width, at most so many;
    /// `caption`, whether there is one; `said`, how many rows what is said in the last row would fill.
    pub(crate) fn of(
        (columns, rows): (u16, u16),
        caption: bool,
        said: usize,
        composed: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let list = if columns >= BESIDE { (columns / 4).clamp(16, 28) } else { 0 };
        let left = if list > 0 { list + 1 } else { 0 };
        let width = columns - left;
        // A third of the screen at most, and never the last of the conversation's rows.
        let most = (rows / 3).max(1);
        let wanted = composed(usize::from(width.saturating_sub(PROMPT)), usize::from(most));
        let composer = u16::try_from(wanted).unwrap_or(most).clamp(1, most);
        let caption = u16::from(caption && rows > composer + 3);
        // What is said may tell what to do next, and is not cut for it; the conversation has its rows back in a moment.
        let room = rows.saturating_sub(composer + caption + 2).min(SAID);
        let status = u16::try_from(said).unwrap_or(SAID).clamp(1, room.max(1));
        let conversation = rows.saturating_sub(composer + caption + 1 + status);
        let row =
            |y: u16, height: u16| Rect { x: left, y: y.min(rows), width, height: height.min(rows.saturating_sub(y)) };
        Self {
            contacts: (list > 0).then_some(Rect { x: 0, y: 0, width: list, height: rows.saturating_sub(status) }),
            title: row(0, 1),
            conversation: row(1, conversation),
            caption: row(1 + conversation, caption),
            composer: row(1 + conversation + caption, composer),
            status: Rect { x: 0, width: columns, ..row(rows.saturating_sub(status), status) },
        }
    }

    /// Columns for what is typed.
    pub(crate) fn composed_columns(&self) -> usize {
        usize::from(self.composer.width.saturating_sub(PROMPT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_belongs_to_somebody_and_nothing_lies_outside() {
        for columns in [1, 20, 40, 59, 60, 80, 120, 300] {
            let all = [1, 2, 3, 4, 10, 24, 40].into_iter();
            for (rows, caption, said) in all.flat_map(|rows| [(rows, false, 1), (rows, true, 0), (rows, true, 9)]) {
                let geometry = Geometry::of((columns, rows), caption, said, |_, most| most.min(3));
                let Geometry { title, conversation, caption, composer, status, .. } = geometry;
                for area in [title, conversation, caption, composer, status] {
                    assert!(area.right() <= columns && area.bottom() <= rows, "{columns}×{rows}: {geometry:?}");
                }
                if rows >= 4 {
                    let heights = [title, conversation, caption, composer, status].map(|area| area.height);
                    assert_eq!(heights.iter().sum::<u16>(), rows);
                    assert_eq!(status.height, if said > 1 && rows >= 10 { SAID } else { 1 }, "{geometry:?}");
                    assert!(conversation.height >= 1);
                }
            }
        }
    }
}
