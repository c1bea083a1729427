//! Completion: what the word before the cursor may become, and which of that it is for now.

use std::collections::VecDeque;
use std::ops::Range;

use super::emoji;
use super::quoting::{quoted, unquoted};

/// Candidates in sight at once.
const SHOWN: usize = 8;

/// Emoji that count as used recently.
const RECENT: usize = 24;

/// What is known besides emoji.
pub(crate) trait Candidates {
    fn commands(&self) -> Vec<Completable>;

    /// What contacts are called.
    fn names(&self) -> Vec<String>;
}

/// A command that can be completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completable {
    /// With its slash.
    pub(crate) name: String,
    /// What it does, in a few words.
    pub(crate) about: String,
    pub(crate) takes: Takes,
}

/// What comes behind a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// What a contact is called, first.
    Name,
    /// Something that is not completed.
    Other,
}

/// Candidates in sight, for what draws them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Popup<'a> {
    /// Each with a few words about it, which may be none.
    pub(crate) rows: Vec<(&'a str, &'a str)>,
    /// Which of those stands in the text.
    pub(crate) current: usize,
    pub(crate) more_above: bool,
    pub(crate) more_below: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    label: String,
    about: String,
    /// What it puts into the text.
    pub(super) text: String,
    is_emoji: bool,
}

impl Candidate {
    fn new(label: String, text: String) -> Self {
        Self { label, about: String::new(), text, is_emoji: false }
    }
}

/// A word that may become one of several.
#[derive(Debug)]
pub(super) struct Completion {
    /// Where in the text it stands.
    pub(super) range: Range<usize>,
    /// What was typed there.
    pub(super) typed: String,
    candidates: Vec<Candidate>,
    current: usize,
}

impl Completion {
    /// What the word before the cursor may become, if anything is known; the first of it, or the last.
    pub(super) fn begin(
        before: &str,
        behind: &str,
        known: &dyn Candidates,
        recent: &Recent,
        last: bool,
    ) -> Option<Self> {
        let (start, mut candidates) = find(before, known, recent)?;
        if behind.starts_with(char::is_whitespace) {
            // The space that follows is there already.
            candidates.iter_mut().for_each(|candidate| candidate.text.truncate(candidate.text.trim_end().len()));
        }
        let current = if last { candidates.len().checked_sub(1)? } else { 0 };
        let typed = before.get(start..)?.to_owned();
        (!candidates.is_empty()).then_some(Self { range: start..before.len(), typed, candidates, current })
    }

    pub(super) fn current(&self) -> Option<&Candidate> {
        self.candidates.get(self.current)
    }

    /// Whether there is nothing to choose.
    pub(super) const fn is_single(&self) -> bool {
        self.candidates.len() == 1
    }

    /// The next candidate, or the one before, round the ends.
    pub(super) const fn turn(&mut self, back: bool) {
        let all = self.candidates.len();
        self.current = (self.current + if back { all - 1 } else { 1 }) % all;
    }

    pub(super) fn popup(&self) -> Popup<'_> {
        let first = self.current.saturating_sub(SHOWN / 2).min(self.candidates.len().saturating_sub(SHOWN));
        let shown = self.candidates.iter().skip(first).take(SHOWN);
        Popup {
            rows: shown.map(|candidate| (candidate.label.as_str(), candidate.about.as_str())).collect(),
            current: self.current - first,
            more_above: first > 0,
            more_below: first + SHOWN < self.candidates.len(),
        }
    }
}

/// The emoji that were chosen last.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<String>);

impl Recent {
    pub(super) fn note(&mut self, candidate: &Candidate) {
        if candidate.is_emoji {
            self.0.retain(|emoji| *emoji != candidate.text);
            self.0.push_front(candidate.text.clone());
            self.0.truncate(RECENT);
        }
    }
}

/// Where the word before the cursor begins, and what it may become.
fn find(before: &str, known: &dyn Candidates, recent: &Recent) -> Option<(usize, Vec<Candidate>)> {
    if let Some(asked) = emoji::asked(before) {
        let found = emoji::found(&asked, |emoji| recent.0.iter().any(|used| used == emoji));
        let candidates = found.into_iter().map(|emoji| Candidate {
            label: emoji.as_str().to_owned(),
            about: emoji.shortcode().unwrap_or_else(|| emoji.name()).to_owned(),
            text: emoji.as_str().to_owned(),
            is_emoji: true,
        });
        return Some((asked.start, candidates.collect()));
    }
    if before.starts_with('/') && !before.starts_with("//") {
        return match before.split_once(char::is_whitespace) {
            None => Some((0, commands(before, known))),
            Some((command, argument)) => {
                let takes = known.commands().into_iter().find(|known| known.name == command)?.takes;
                let argument = argument.trim_start();
                (takes == Takes::Name).then(|| (before.len() - argument.len(), arguments(argument, known)))
            }
        };
    }
    let start = before.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    let word = before.get(start..)?;
    if let Some(beginning) = word.strip_prefix('@') {
        let name = |name: String| Candidate::new(format!("@{name}"), format!("@{} ", quoted(&name)));
        return Some((start, named(beginning, known).map(name).collect()));
    }
    // A word at the very beginning may be whom it is for.
    if start > 0 || word.is_empty() {
        return None;
    }
    let name = |name: String| Candidate::new(name.clone(), format!("{name}: "));
    Some((0, named(word, known).map(name).collect()))
}

fn commands(beginning: &str, known: &dyn Candidates) -> Vec<Candidate> {
    let beginning = beginning.to_lowercase();
    let fitting = known.commands().into_iter().filter(|command| command.name.starts_with(&beginning));
    let candidate = |command: Completable| {
        let space = if command.takes == Takes::Nothing { "" } else { " " };
        let text = format!("{}{space}", command.name);
        Candidate { about: command.about, ..Candidate::new(command.name, text) }
    };
    fitting.map(candidate).collect()
}

/// Names for the first word behind a command; between quotation marks where they have spaces.
fn arguments(argument: &str, known: &dyn Candidates) -> Vec<Candidate> {
    let beginning = match argument.strip_prefix('"').map(unquoted) {
        Some((beginning, None)) => beginning,
        // It is finished.
        Some((_, Some(_))) => return Vec::new(),
        None => argument.to_owned(),
    };
    named(&beginning, known).map(|name| Candidate::new(name.clone(), format!("{} ", quoted(&name)))).collect()
}

/// The names that begin so, and behind them those of which a further word does.
fn named(beginning: &str, known: &dyn Candidates) -> impl Iterator<Item = String> {
    let beginning = beginning.to_lowercase();
    let rank = |name: &String| {
        let name = name.to_lowercase();
        if name.starts_with(&beginning) {
            Some(0)
        } else {
            name.split_whitespace().any(|word| word.starts_with(&beginning)).then_some(1)
        }
    };
    let mut names: Vec<_> = known.names().into_iter().filter_map(|name| Some((rank(&name)?, name))).collect();
    names.sort_by_key(|(rank, _)| *rank);
    names.into_iter().map(|(_, name)| name)
}
