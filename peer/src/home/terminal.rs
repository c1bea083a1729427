//! `[terminal]` in config.toml: how the terminal interface speaks, looks and calls.
//!
//! It says what was chosen, not what comes of it: what `auto` means is for the face to find out, where it runs.

use serde::Deserialize;

use super::{Home, HomeError};

/// What config.toml says of the terminal interface; each part has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TerminalConfiguration {
    /// The language of what it says.
    pub language: Language,
    /// The colours.
    pub theme: Theme,
    /// Whether it takes the mouse; no by default, for the terminal's own selection is lost with it.
    pub mouse: bool,
    /// Whether the desktop shows a notification for what comes in while nobody looks; yes by default.
    pub notify: bool,
    /// Whether the terminal's bell rings for it; yes by default.
    pub bell: bool,
    /// Whether a notification shows what was written; no by default, for others see the screen, too.
    pub previews: bool,
    /// The full screen, or lines alone.
    pub interface: Interface,
    /// Whether the plain interface tells that a message was delivered; yes by default.
    pub deliveries: bool,
}

/// The language of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Language {
    /// As the environment says (`LC_ALL`, `LC_MESSAGES`, `LANG`), else English.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// English.
    #[serde(rename = "en")]
    English,
    /// Simplified Chinese.
    #[serde(rename = "zh")]
    Chinese,
}

/// The colours of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// Those that suit the terminal's background.
    #[default]
    Auto,
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
    /// None.
    Plain,
}

/// The form of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// The whole screen, drawn anew as it changes.
    #[default]
    Full,
    /// Lines that are only ever added, for screen readers.
    Plain,
}

impl Default for TerminalConfiguration {
    fn default() -> Self {
        Self {
            language: Language::Auto,
            theme: Theme::Auto,
            mouse: false,
            notify: true,
            bell: true,
            previews: false,
            interface: Interface::Full,
            deliveries: true,
        }
    }
}

impl Home {
    /// What config.toml says of the terminal interface (`[terminal]`); the defaults where nothing is said.
    ///
    /// # Errors
    /// [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn terminal(&self) -> Result<TerminalConfiguration, HomeError> {
        self.configuration().map(|configuration| configuration.terminal)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::home;
    use super::*;

    fn read(text: &str) -> Result<TerminalConfiguration, HomeError> {
        let (_directory, home) = home();
        fs::write(home.path().join("config.toml"), text).unwrap();
        home.terminal()
    }

    #[test]
    fn a_home_that_says_nothing_of_the_terminal_has_the_defaults() {
        let (_directory, home) = home();
        assert_eq!(home.terminal().unwrap(), TerminalConfiguration::default());
        assert_eq!(read("typing = false\n[terminal]\n").unwrap(), TerminalConfiguration::default());
    }

    #[test]
    fn each_choice_is_read() {
        let text = "[terminal]\nlanguage = \"zh\"\ntheme = \"plain\"\nmouse = true\nnotify = false\nbell = false\n\
                    previews = true\ninterface = \"plain\"\ndeliveries = false\n";
        let chosen = TerminalConfiguration {
            language: Language::Chinese,
            theme: Theme::Plain,
            mouse: true,
            notify: false,
            bell: false,
            previews: true,
            interface: Interface::Plain,
            deliveries: false,
        };
        assert_eq!(read(text).unwrap(), chosen);
        assert_eq!(read("[terminal]\nlanguage = \"en\"").unwrap().language, Language::English);
        assert_eq!(read("[terminal]\ntheme = \"light\"").unwrap().theme, Theme::Light);
    }

    #[test]
    fn a_mistyped_choice_is_told_with_its_line() {
        for (text, told) in [
            ("[terminal]\ncolour = \"dark\"", "line 2: unknown field `colour`"),
            ("[terminal]\n\ntheme = \"black\"", "line 3: unknown variant `black`"),
            ("[terminal]\nlanguage = \"fr\"", "line 2: unknown variant `fr`"),
            ("[terminal]\nmouse = \"no\"", "line 2"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
