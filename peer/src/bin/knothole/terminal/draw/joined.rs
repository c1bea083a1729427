//! Clusters that not every terminal joins.
//!
//! An emoji joined of several fills two columns where it is joined, and two for each of them in a terminal that draws one character after
//! the other. Where such a cluster ends the backend moves the cursor on its own account, so what stands behind is in its column
//! everywhere; but what is blank there is not written, being blank in the frame before, and parts of the cluster would stay
//! in sight.

use ratatui::buffer::{Buffer, CellDiffOption};
use unicode_width::UnicodeWidthChar as _;

use crate::terminal::cells;

/// Has whatever parts of a cluster may lie on drawn in every frame.
pub(super) fn settle(buffer: &mut Buffer) {
    let columns = usize::from(buffer.area.width);
    for index in 0..buffer.content.len() {
        let symbol = buffer.content[index].symbol();
        // Most cells hold one character.
        if symbol.len() <= 4 {
            continue;
        }
        let apart: usize = symbol.chars().map(|c| c.width().unwrap_or(0)).sum();
        let joined = cells::width(symbol);
        let row_end = (index / columns + 1) * columns;
        for cell in buffer.content.iter_mut().take(row_end.min(index + apart)).skip(index + joined) {
            cell.set_diff_option(CellDiffOption::AlwaysUpdate);
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn blanks_behind_a_joined_emoji_are_drawn_in_every_frame() {
        let area = Rect { x: 0, y: 0, width: 10, height: 2 };
        let (mut before, mut after) = (Buffer::empty(area), Buffer::empty(area));
        for buffer in [&mut before, &mut after] {
            buffer.set_string(0, 0, "👩\u{200D}👩\u{200D}👧|", Style::new());
            buffer.set_string(8, 1, "👍🏽", Style::new());
            settle(buffer);
        }
        let drawn: Vec<_> = before.diff(&after).iter().map(|(x, y, cell)| (*x, *y, cell.symbol())).collect();
        assert_eq!(drawn, [(2, 0, "|"), (3, 0, " "), (4, 0, " "), (5, 0, " ")]);
    }
}
