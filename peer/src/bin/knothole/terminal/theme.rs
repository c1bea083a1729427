//! How each tone looks.

use ratatui::style::{Color, Modifier, Style};

use super::screen::rows::Tone;

/// The looks of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// On a dark ground, with the terminal's own sixteen colours.
    Dark,
    /// On a light ground.
    Light,
    /// Without any colour: weight and reversal alone.
    Plain,
}

impl Theme {
    pub(crate) fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        match (self, tone) {
            (_, Tone::Plain) | (Self::Plain, Tone::Qr) => style,
            // Cameras want dark on light, whatever the ground is.
            (Self::Dark | Self::Light, Tone::Qr) => style.fg(Color::White).bg(Color::Black),
            (Self::Plain, Tone::Dim) => style.add_modifier(Modifier::DIM),
            (Self::Plain, Tone::Theirs | Tone::Mine) => style.add_modifier(Modifier::BOLD),
            (Self::Plain, Tone::Accent | Tone::Alarm) => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            (Self::Dark, Tone::Dim) => style.fg(Color::DarkGray),
            (Self::Light, Tone::Dim) => style.fg(Color::Gray),
            (Self::Dark, Tone::Theirs) => style.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            (Self::Light, Tone::Theirs) => style.fg(Color::Blue).add_modifier(Modifier::BOLD),
            (Self::Plain, Tone::Hit) => style.add_modifier(Modifier::REVERSED),
            (_, Tone::Hit) => style.fg(Color::Black).bg(Color::Yellow),
            (_, Tone::Mine) => style.fg(Color::Green).add_modifier(Modifier::BOLD),
            (Self::Dark, Tone::Accent) => style.fg(Color::Yellow),
            (Self::Light, Tone::Accent) => style.fg(Color::Magenta),
            (_, Tone::Alarm) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// A whole row that stands out: the title, the open contact.
    pub(crate) fn reversed(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
