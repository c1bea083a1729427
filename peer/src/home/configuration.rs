//! Where to register and how often to say so: from the arguments, the environment or config.toml, the first of them
//! that says anything; and what else config.toml may say.

use std::env;

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::registration::Profile;
use serde::Deserialize;

use super::{Home, HomeError, KEEPALIVE_VARIABLE, RENDEZVOUS_VARIABLE, TerminalConfiguration};

/// What config.toml may hold. A key that is not known is an error: it is a mistyped one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Configuration {
    rendezvous: Vec<String>,
    keepalive: Option<String>,
    lan_discovery: bool,
    port_mapping: bool,
    mailbox: bool,
    receipts: bool,
    typing: bool,
    requests: Requests,
    pub(super) terminal: TerminalConfiguration,
}

/// What comes of strangers who ask to be contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Requests {
    /// The person is asked.
    Ask,
    /// Nothing.
    None,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            rendezvous: Vec::new(),
            keepalive: None,
            lan_discovery: true,
            port_mapping: true,
            mailbox: false,
            receipts: true,
            typing: true,
            requests: Requests::Ask,
            terminal: TerminalConfiguration::default(),
        }
    }
}

/// The words for the profiles.
const PROFILES: [(&str, Profile); 3] =
    [("default", Profile::Default), ("strict", Profile::Strict), ("frugal", Profile::Frugal)];

impl Home {
    /// The rendezvous to register at, the preferred first: those `given` as arguments, else those in
    /// [`RENDEZVOUS_VARIABLE`], else those in config.toml; none if none is named anywhere.
    ///
    /// A home without a config.toml is given one here, with all that can be set and the rendezvous `given`, so that they need
    /// not be given again.
    ///
    /// # Errors
    /// [`HomeError::Rendezvous`], [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn rendezvous(&self, given: &[RendezvousAddress]) -> Result<Vec<RendezvousAddress>, HomeError> {
        self.begin_configuration(given)?;
        if !given.is_empty() {
            return Ok(given.to_vec());
        }
        let named = env::var(RENDEZVOUS_VARIABLE).unwrap_or_default();
        let named = read(words(&named), RENDEZVOUS_VARIABLE)?;
        if named.is_empty() { self.configured_rendezvous() } else { Ok(named) }
    }

    /// How often to show that we are there: what [`KEEPALIVE_VARIABLE`] names, else `keepalive` in config.toml, else
    /// the default.
    ///
    /// # Errors
    /// [`HomeError::Keepalive`], [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn keepalive(&self) -> Result<Profile, HomeError> {
        let named = env::var(KEEPALIVE_VARIABLE).unwrap_or_default();
        if !named.is_empty() {
            return profile(&named, KEEPALIVE_VARIABLE);
        }
        let place = self.configuration_path().display().to_string();
        self.configuration()?.keepalive.map_or(Ok(Profile::Default), |named| profile(&named, &place))
    }

    /// The rendezvous in config.toml; none where there is no such file.
    ///
    /// # Errors
    /// [`HomeError::Rendezvous`], [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn configured_rendezvous(&self) -> Result<Vec<RendezvousAddress>, HomeError> {
        let place = self.configuration_path().display().to_string();
        read(self.configuration()?.rendezvous.iter().map(String::as_str), &place)
    }

    /// Whether to look for contacts on the LAN, and be found there (`lan_discovery`); yes where nothing is said.
    ///
    /// # Errors
    /// [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn lan_discovery(&self) -> Result<bool, HomeError> {
        self.configuration().map(|configuration| configuration.lan_discovery)
    }

    /// Whether to ask the router for a port (`port_mapping`); yes where nothing is said.
    ///
    /// # Errors
    /// [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn port_mapping(&self) -> Result<bool, HomeError> {
        self.configuration().map(|configuration| configuration.port_mapping)
    }

    /// Whether letters may wait at a rendezvous while their recipient is away (`mailbox`): ours at our contacts', theirs at
    /// ours; no where nothing is said.
    ///
    /// # Errors
    /// [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn mailbox(&self) -> Result<bool, HomeError> {
        self.configuration().map(|configuration| configuration.mailbox)
    }

    /// Whether to tell contacts how far the person here has read, and to be told the same of them (`receipts`); yes where
    /// nothing is said.
    ///
    /// # Errors
    /// [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn receipts(&self) -> Result<bool, HomeError> {
        self.configuration().map(|configuration| configuration.receipts)
    }

    /// Whether to tell contacts that the person here types, and to be told the same of them (`typing`); yes where nothing
    /// is said.
    ///
    /// # Errors
    /// [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn typing(&self) -> Result<bool, HomeError> {
        self.configuration().map(|configuration| configuration.typing)
    }

    /// Whether strangers may ask to be contacts (`requests`): `"ask"`, or `"none"`; yes where nothing is said.
    ///
    /// # Errors
    /// [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn takes_requests(&self) -> Result<bool, HomeError> {
        self.configuration().map(|configuration| configuration.requests == Requests::Ask)
    }

    pub(super) fn configuration(&self) -> Result<Configuration, HomeError> {
        let (path, text) = (self.configuration_path().to_owned(), self.configuration_text()?);
        toml::from_str(&text).map_err(|error| HomeError::Configuration { path, why: explained(&error, &text) })
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

fn read<'a>(texts: impl Iterator<Item = &'a str>, place: &str) -> Result<Vec<RendezvousAddress>, HomeError> {
    let address = |text: &str| {
        text.parse().map_err(|source| HomeError::Rendezvous { text: text.to_owned(), place: place.to_owned(), source })
    };
    texts.map(address).collect()
}

fn profile(named: &str, place: &str) -> Result<Profile, HomeError> {
    let unknown = || HomeError::Keepalive { text: named.to_owned(), place: place.to_owned() };
    PROFILES.iter().find(|(word, _)| *word == named).map(|(_, profile)| *profile).ok_or_else(unknown)
}

/// The parser's message with its line; its own rendering draws over several lines.
fn explained(error: &toml::de::Error, text: &str) -> String {
    let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let message = error.message().replace('\n', ", ");
    match error.span() {
        Some(span) => format!("line {}: {message}", line(span.start)),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::home;
    use super::*;

    #[test]
    fn a_home_without_configuration_names_none() {
        let (_directory, home) = home();
        assert_eq!(home.configured_rendezvous().unwrap(), []);
    }

    #[test]
    fn what_is_done_beyond_this_machine_is_done_unless_it_is_switched_off() {
        let (_directory, home) = home();
        assert!(home.lan_discovery().unwrap() && home.port_mapping().unwrap());
        fs::write(home.configuration_path(), "lan_discovery = false\nport_mapping = false").unwrap();
        assert!(!home.lan_discovery().unwrap() && !home.port_mapping().unwrap());
    }

    #[test]
    fn strangers_may_ask_unless_config_toml_says_none() {
        let (_directory, home) = home();
        assert!(home.takes_requests().unwrap());
        fs::write(home.configuration_path(), "requests = \"none\"").unwrap();
        assert!(!home.takes_requests().unwrap());
        fs::write(home.configuration_path(), "requests = \"never\"").unwrap();
        assert!(home.takes_requests().unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn the_keepalive_is_one_of_three_and_anything_else_is_told() {
        let (_directory, home) = home();
        assert_eq!(home.keepalive().unwrap(), Profile::Default);
        for (word, profile) in PROFILES {
            fs::write(home.configuration_path(), format!("keepalive = \"{word}\"\n")).unwrap();
            assert_eq!(home.keepalive().unwrap(), profile);
            assert_eq!(home.configured_rendezvous().unwrap(), []);
        }
        fs::write(home.configuration_path(), "keepalive = \"often\"").unwrap();
        let error = home.keepalive().unwrap_err().to_string();
        assert!(error.contains("\"often\"") && error.contains("frugal"), "{error}");
    }

    #[test]
    fn several_in_the_environment_are_separated_by_commas_or_spaces() {
        let texts: Vec<_> = words(" a,b c\n, d ").collect();
        assert_eq!(texts, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_configuration_that_is_not_understood_says_where_and_why_on_one_line() {
        let (_directory, home) = home();
        for (text, told) in [
            ("rendezvous = [\n\"x\"", "line 2"),
            ("\nrendesvous = []", "line 2: unknown field `rendesvous`"),
            ("rendezvous = 7", "line 1"),
            ("rendezvous = [\"x@y\"]", "\"x@y\" in "),
        ] {
            fs::write(home.configuration_path(), text).unwrap();
            let error = home.configured_rendezvous().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
