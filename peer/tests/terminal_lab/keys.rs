//! What a keyboard sends: the bytes of xterm, without any of the newer protocols.

/// A key, with what is held down with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Enter,
    Tab,
    BackTab,
    Escape,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    /// A letter with Ctrl.
    Ctrl(char),
    /// Anything that can be typed, with Alt; `'\r'` is Alt-Enter.
    Alt(char),
    Char(char),
    /// The window is the one that is typed in, or is not any more.
    Focus(bool),
}

impl Key {
    pub fn bytes(self) -> Vec<u8> {
        let text = match self {
            Self::Enter => "\r",
            Self::Tab => "\t",
            Self::BackTab => "\x1b[Z",
            Self::Escape => "\x1b",
            Self::Backspace => "\x7f",
            Self::Delete => "\x1b[3~",
            Self::Up => "\x1b[A",
            Self::Down => "\x1b[B",
            Self::Right => "\x1b[C",
            Self::Left => "\x1b[D",
            Self::Home => "\x1b[H",
            Self::End => "\x1b[F",
            Self::PageUp => "\x1b[5~",
            Self::PageDown => "\x1b[6~",
            Self::Focus(true) => "\x1b[I",
            Self::Focus(false) => "\x1b[O",
            Self::Ctrl(letter) => return vec![letter.to_ascii_lowercase() as u8 & 0x1f],
            Self::Alt(c) => return format!("\x1b{c}").into_bytes(),
            Self::Char(c) => return c.to_string().into_bytes(),
        };
        text.into()
    }
}
