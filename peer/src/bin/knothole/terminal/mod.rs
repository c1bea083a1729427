//! The terminal interface: what `knothole` is without a verb.
//!
//! `screen` is a pure machine; `draw` makes its picture; `driver` carries keys, events and answers in, calls and pictures out;
//! `words` has every sentence in each language; `plain` is the mode for screen readers, in lines.

pub(crate) mod cells;
mod composer;
mod desktop;
mod draw;
mod driver;
#[cfg(test)]
mod golden;
pub(crate) mod plain;
mod qr;
mod screen;
#[cfg(test)]
mod seeded;
mod theme;
mod tty;
mod words;

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use knothole::home::{Interface, Language, TerminalConfiguration, Theme as Chosen};

use crate::output;
use crate::session::Session;
use crate::signals::Signals;
use desktop::Desktop;
use driver::Face;
use screen::Screen;
use theme::Theme;
use tty::Tty;
use words::Words;

/// Runs the interface until the person leaves.
pub(crate) async fn run(
    session: &mut Session,
    settings: &TerminalConfiguration,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let size = crossterm::terminal::size()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let mut screen = Screen::new(language(settings), TimeZone::system(), size, now);
    screen.previews = settings.previews;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random bytes")?;
    screen.seed(seed);
    let TerminalConfiguration { bell, notify, .. } = *settings;
    let face = Face { theme: theme(settings), bell, notify, desktop: Desktop::find() };
    let mut tty = Tty::take(settings.mouse)?;
    driver::run(session, &mut screen, face, &mut tty, signals).await
}

/// Whether lines are wanted instead of the full screen, or are all that this terminal can show.
pub(crate) fn is_plain(settings: &TerminalConfiguration) -> bool {
    settings.interface == Interface::Plain
        || env::var("KNOTHOLE_PLAIN").is_ok_and(|value| !value.is_empty() && value != "0")
        || env::var("TERM").is_ok_and(|terminal| terminal == "dumb")
}

/// The language that was chosen, else that of the environment.
fn language(settings: &TerminalConfiguration) -> &'static Words {
    match settings.language {
        Language::English => &words::ENGLISH,
        Language::Chinese => &words::CHINESE,
        Language::Auto => {
            let named = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().filter_map(|name| env::var(name).ok());
            words::of_locale(&named.into_iter().find(|locale| !locale.is_empty()).unwrap_or_default())
        }
    }
}

/// The colours that were chosen; without a choice those for a dark ground, unless the terminal says that its is light.
fn theme(settings: &TerminalConfiguration) -> Theme {
    if !output::colour() {
        return Theme::Plain;
    }
    match settings.theme {
        Chosen::Plain => Theme::Plain,
        Chosen::Dark => Theme::Dark,
        Chosen::Light => Theme::Light,
        Chosen::Auto => env::var("COLORFGBG").map_or(Theme::Dark, |colours| ground(&colours)),
    }
}

/// What `COLORFGBG` (`foreground;background`, of the sixteen colours) says of the ground.
fn ground(colours: &str) -> Theme {
    match colours.rsplit(';').next() {
        Some("7" | "15") => Theme::Light,
        _ => Theme::Dark,
    }
}
