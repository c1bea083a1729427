//! The terminal interface as it is looked at here: what stands where, and what each key is to bring about.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::figures::Times;
use crate::filling::{OTHERS, last, other, text};
use crate::terminal_lab::{Key, LARGE, Screen, Terminal, Town};

/// The row of the composer while it has one: above the status.
const COMPOSER: u16 = LARGE.rows - 2;

/// Letters that are typed before the line is cleared again.
const LINE: usize = 50;

pub(crate) struct Face {
    pub(crate) terminal: Terminal,
    messages: u64,
}

impl Face {
    /// In the home that was filled with so many messages.
    pub(crate) fn start(town: &Town, messages: u64) -> Self {
        Self { terminal: town.at("alice", &["--rendezvous", &town.address()]).start(LARGE), messages }
    }

    /// Waits until the newest message of the long conversation is shown, and one can type.
    pub(crate) fn wait_for_newest(&self) -> Instant {
        let newest = last("bob");
        self.terminal.wait_for("the newest message", |screen| screen.contains(&newest) && is_ready(screen))
    }

    pub(crate) fn wait_for_friend(&self) {
        self.terminal.wait_for("bob to be there", |screen| screen.line(0).contains("bob · direct"));
    }

    /// Waits until exactly this stands in the composer.
    pub(crate) fn wait_for_typed(&self, text: &str) -> Instant {
        self.terminal.wait_for("the echo", |screen| is_ready(screen) && screen.line(COMPOSER).ends_with(text))
    }

    /// Empties the composer; returns the column in which typing begins.
    pub(crate) fn clear(&self) -> u16 {
        self.terminal.press(Key::Ctrl('u'));
        let empty = |screen: &Screen<'_>| is_ready(screen) && screen.line(COMPOSER).ends_with("│>");
        self.terminal.wait_for("an empty line", empty);
        self.terminal.look(|screen| screen.find("│>").map_or(0, |(_, column)| column + 3))
    }

    pub(crate) fn leave(self) {
        self.terminal.enter("/quit");
        assert_eq!(self.terminal.wait_exit(), 0, "it ends in peace");
    }

    /// Presses a key, and waits for a frame that has what it is to bring.
    fn frame(&self, key: Key, wanted: impl Fn(&Screen<'_>) -> bool) -> Duration {
        self.press_for(key, |screen| wanted(screen) && is_ready(screen))
    }

    fn press_for(&self, key: Key, wanted: impl Fn(&Screen<'_>) -> bool) -> Duration {
        let pressed = self.terminal.press(key);
        let drawn = self.terminal.wait_for(&format!("what {key:?} brings"), |screen| wanted(screen));
        drawn.saturating_duration_since(pressed)
    }

    pub(crate) fn typing(&self, presses: usize) -> Times {
        let mut times = Times::default();
        let (mut first, mut letters) = (self.clear(), ('a'..='z').cycle());
        for n in 0..presses {
            let place = u16::try_from(n % LINE).unwrap_or(0);
            if place == 0 {
                first = self.clear();
            }
            let key = Key::Char(letters.next().unwrap_or('a'));
            times.push(self.frame(key, |screen| screen.cursor() == (COMPOSER, first + place + 1)));
        }
        self.clear();
        times
    }

    /// Up and up, through what is not loaded yet.
    pub(crate) fn paging(&self, presses: usize) -> Times {
        let mut times = Times::default();
        for _ in 0..presses {
            let before = self.terminal.look(|screen| screen.line(1));
            times.push(self.frame(Key::PageUp, |screen| screen.line(1) != before));
        }
        self.switching(2);
        times
    }

    /// Numbers, each of one message: the letters on the way, and the last, which brings the message.
    pub(crate) fn searching(&self, presses: usize) -> (Times, Times) {
        let (mut letters, mut hits) = (Times::default(), Times::default());
        self.terminal.press(Key::Ctrl('s'));
        self.terminal.wait_for("the search", |screen| screen.shows_cursor() && screen.cursor().0 != COMPOSER);
        let (row, first) = self.search_line();
        for n in 0..presses {
            // Anywhere in the conversation among numbers of as many digits, of which none is found in another; every fourth text
            // is Chinese.
            let least = self.messages / 10;
            let place = u64::try_from(n).unwrap_or(0) * 7919 % (self.messages - least).saturating_sub(200).max(1);
            let wanted = (least + place) / 4 * 4 + 1;
            let number = wanted.to_string();
            let text: String = text(wanted).chars().take(16).collect();
            for (digit, column) in number.chars().zip(first + 1..) {
                let last = usize::from(column - first) == number.len();
                let there = |screen: &Screen<'_>| screen.cursor() == (row, column) && (!last || screen.contains(&text));
                let time = self.press_for(Key::Char(digit), there);
                if last { hits.push(time) } else { letters.push(time) }
            }
            self.terminal.press(Key::Ctrl('u'));
            self.terminal
                .wait_for("an empty line", |screen| screen.cursor() == (row, first) && !screen.contains(&text));
        }
        self.terminal.press(Key::Escape);
        self.terminal.wait_for("the conversation", is_ready);
        (letters, hits)
    }

    /// Where a search is typed: found by typing something.
    fn search_line(&self) -> (u16, u16) {
        self.terminal.type_text("zzzz");
        self.terminal.wait_for_text("zzzz");
        let place = self.terminal.look(|screen| screen.find("zzzz")).unwrap_or_default();
        self.terminal.press(Key::Ctrl('u'));
        self.terminal.wait_for("an empty line", |screen| screen.cursor() == place);
        place
    }

    /// Round the conversations and back to the long one.
    pub(crate) fn switching(&self, presses: usize) -> Times {
        let mut times = Times::default();
        for n in 1..=presses.next_multiple_of(usize::from(OTHERS) + 1) {
            let place = u8::try_from(n % (usize::from(OTHERS) + 1)).unwrap_or(0);
            let name = if place == 0 { "bob".to_owned() } else { other(place - 1) };
            let key = Key::Alt(char::from(b'1' + place));
            let newest = if place == 0 { String::new() } else { last(&name) };
            let wanted = |screen: &Screen<'_>| screen.line(0).contains(&format!(" {name}")) && screen.contains(&newest);
            times.push(self.frame(key, wanted));
        }
        times
    }

    pub(crate) fn memory(&self) -> anyhow::Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.terminal.process()))?;
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|line| line.trim_start_matches(':').trim().to_owned()).context("a figure")
        };
        Ok(format!("{} (at its highest {})", figure("VmRSS")?, figure("VmHWM")?))
    }
}

/// A frame is whole when the cursor is back where one types.
fn is_ready(screen: &Screen<'_>) -> bool {
    screen.shows_cursor() && screen.cursor().0 == COMPOSER
}
