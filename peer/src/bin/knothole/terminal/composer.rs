//! A line that is typed, in its simplest form.
#![expect(dead_code, reason = "its completion is still to come")]
use ratatui::crossterm::event::{KeyCode, KeyEvent};
pub(crate) trait Candidates {
    fn commands(&self) -> Vec<String>;
    fn names(&self) -> Vec<String>;
}
pub(crate) enum Outcome {
    Ignored,
    Moved,
    Changed,
    Submit(String),
}
pub(crate) struct Layout {
    pub(crate) rows: Vec<String>,
    pub(crate) cursor: (usize, usize),
}
pub(crate) struct Composer(String);
impl Composer {
    pub(crate) fn new() -> Self {
        Self(String::new())
    }
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(crate) fn set_text(&mut self, text: &str) {
        self.0 = text.into()
    }
    pub(crate) fn handle_paste(&mut self, text: &str) -> Outcome {
        self.0.push_str(text);
        Outcome::Changed
    }
    pub(crate) fn handle_key(&mut self, key: KeyEvent, _: &dyn Candidates) -> Outcome {
        match key.code {
            KeyCode::Char(c) => {
                self.0.push(c);
                Outcome::Changed
            }
            KeyCode::Backspace => {
                self.0.pop();
                Outcome::Changed
            }
            KeyCode::Enter => Outcome::Submit(std::mem::take(&mut self.0)),
            KeyCode::Left => Outcome::Moved,
            _ => Outcome::Ignored,
        }
    }
    pub(crate) fn layout(&self, width: usize, _most: usize) -> Layout {
        let rows: Vec<_> =
            super::cells::wrap(&self.0, width.max(1)).into_iter().map(|r| self.0[r].to_owned()).collect();
        let y = rows.len() - 1;
        let x = super::cells::width(&rows[y]);
        Layout { rows, cursor: (x, y) }
    }
}
