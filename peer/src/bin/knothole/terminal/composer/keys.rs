//! Which key does what: those of readline and Emacs, as terminals deliver them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key does to the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Insert(char),
    NewLine,
    Submit,
    Move(Motion),
    /// Up a row, or to what was sent before.
    Up,
    Down,
    /// To what was sent before, wherever the cursor is.
    Earlier,
    Later,
    EraseLeft,
    EraseRight,
    Kill(Motion),
    Yank,
    YankPop,
    Transpose,
    Recase(Case),
    Undo,
    Redo,
    Complete,
    CompleteBack,
    /// Takes a completion back; without one it is not ours.
    Withdraw,
}

/// A way through the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Motion {
    Left,
    Right,
    WordLeft,
    WordRight,
    /// To the beginning of a word as white space tells words apart.
    SpaceLeft,
    LineStart,
    LineEnd,
}

/// What becomes of a word's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Lower,
    Capital,
}

/// What a key does, if it is the composer's at all.
pub(super) fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let modifiers = key.modifiers - KeyModifiers::SHIFT;
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    if modifiers.is_empty() {
        plain(key.code, shift)
    } else if modifiers == KeyModifiers::CONTROL {
        with_control(key.code)
    } else if modifiers == KeyModifiers::ALT {
        with_alt(key.code)
    } else if modifiers == KeyModifiers::CONTROL | KeyModifiers::ALT {
        with_both(key.code)
    } else {
        None
    }
}

fn plain(code: KeyCode, shift: bool) -> Option<Action> {
    Some(match code {
        KeyCode::Char(c) if !c.is_control() => Action::Insert(c),
        KeyCode::Enter if shift => Action::NewLine,
        KeyCode::Enter => Action::Submit,
        KeyCode::Left => Action::Move(Motion::Left),
        KeyCode::Right => Action::Move(Motion::Right),
        KeyCode::Home => Action::Move(Motion::LineStart),
        KeyCode::End => Action::Move(Motion::LineEnd),
        KeyCode::Up => Action::Up,
        KeyCode::Down => Action::Down,
        KeyCode::Backspace => Action::EraseLeft,
        KeyCode::Delete => Action::EraseRight,
        KeyCode::Tab if shift => Action::CompleteBack,
        KeyCode::Tab => Action::Complete,
        KeyCode::BackTab => Action::CompleteBack,
        KeyCode::Esc => Action::Withdraw,
        _ => return None,
    })
}

/// Ctrl-K, Ctrl-L, Ctrl-S, Ctrl-C and whatever else is not here are the screen's.
fn with_control(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char(c) => match c.to_ascii_lowercase() {
            'a' => Action::Move(Motion::LineStart),
            'b' => Action::Move(Motion::Left),
            'd' => Action::EraseRight,
            'e' => Action::Move(Motion::LineEnd),
            'f' => Action::Move(Motion::Right),
            'h' => Action::EraseLeft,
            // A line feed is Ctrl-J at a terminal.
            'j' => Action::NewLine,
            'n' => Action::Later,
            'p' => Action::Earlier,
            't' => Action::Transpose,
            'u' => Action::Kill(Motion::LineStart),
            'w' => Action::Kill(Motion::SpaceLeft),
            'y' => Action::Yank,
            // Ctrl-_ and Ctrl-/ are one byte, 0x1f, which crossterm calls Ctrl-7.
            '_' | '/' | '7' => Action::Undo,
            _ => return None,
        },
        KeyCode::Left => Action::Move(Motion::WordLeft),
        KeyCode::Right => Action::Move(Motion::WordRight),
        KeyCode::Backspace => Action::Kill(Motion::WordLeft),
        KeyCode::Delete => Action::Kill(Motion::WordRight),
        _ => return None,
    })
}

/// Alt-A, Alt-<, Alt-> and Alt with digits are the screen's, as Ctrl-Home and Ctrl-End are.
fn with_alt(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char(c) => match c.to_ascii_lowercase() {
            'b' => Action::Move(Motion::WordLeft),
            'c' => Action::Recase(Case::Capital),
            'd' => Action::Kill(Motion::WordRight),
            'f' => Action::Move(Motion::WordRight),
            // Ctrl-K is the palette in this program.
            'k' => Action::Kill(Motion::LineEnd),
            'l' => Action::Recase(Case::Lower),
            'u' => Action::Recase(Case::Upper),
            'y' => Action::YankPop,
            '_' => Action::Redo,
            _ => return None,
        },
        KeyCode::Left => Action::Move(Motion::WordLeft),
        KeyCode::Right => Action::Move(Motion::WordRight),
        KeyCode::Backspace => Action::Kill(Motion::WordLeft),
        KeyCode::Delete => Action::Kill(Motion::WordRight),
        // ESC CR, which every terminal can send.
        KeyCode::Enter => Action::NewLine,
        _ => return None,
    })
}

fn with_both(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char('h' | 'H') => Some(Action::Kill(Motion::WordLeft)),
        KeyCode::Char('_' | '/' | '7') => Some(Action::Redo),
        _ => None,
    }
}
