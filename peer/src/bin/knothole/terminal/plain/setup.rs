//! The first run: where others find us, before there is anything to talk about. Pure, as the teller is.

use knothole_proto::contact_link::{ContactLink, RendezvousAddress};

use crate::terminal::words::Words;

/// What has been found out so far.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// A friend's link that was pasted; its owner's name is asked for.
    link: Option<(String, Vec<RendezvousAddress>)>,
}

/// How it goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Say this, and take the next line.
    Ask(&'static str),
    Begin(Beginning),
    /// The person wants to leave.
    Quit,
}

/// With what the first run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) rendezvous: Vec<RendezvousAddress>,
    /// A link, and how to call its owner.
    pub(crate) friend: Option<(String, String)>,
}

impl Setup {
    /// Takes a line.
    pub(crate) fn handle(&mut self, line: &str, words: &Words) -> Next {
        let line = line.trim();
        if line == "/quit" {
            return Next::Quit;
        }
        if let Some((link, rendezvous)) = self.link.take() {
            let friend = (!line.is_empty()).then(|| (link, line.to_owned()));
            return Next::Begin(Beginning { rendezvous, friend });
        }
        if let Ok(link) = line.parse::<ContactLink>()
            && !link.via.is_empty()
        {
            self.link = Some((line.to_owned(), link.via));
            return Next::Ask(words.plain.setup_name);
        }
        match line.parse() {
            Ok(address) => Next::Begin(Beginning { rendezvous: vec![address], friend: None }),
            Err(_) => Next::Ask(words.plain.setup_again),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::words::ENGLISH;

    const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn address() -> RendezvousAddress {
        format!("{KEY}@rendezvous.example:3478").parse().unwrap()
    }

    #[test]
    fn an_address_is_enough() {
        let mut setup = Setup::default();
        assert_eq!(setup.handle("hello", &ENGLISH), Next::Ask(ENGLISH.plain.setup_again));
        let beginning = Beginning { rendezvous: vec![address()], friend: None };
        assert_eq!(setup.handle(&format!(" {} ", address()), &ENGLISH), Next::Begin(beginning));
    }

    #[test]
    fn a_friends_link_names_the_rendezvous_and_the_friend() {
        let link = format!("knothole:{KEY}?via={}", address());
        let mut setup = Setup::default();
        assert_eq!(setup.handle(&link, &ENGLISH), Next::Ask(ENGLISH.plain.setup_name));
        let beginning = Beginning { rendezvous: vec![address()], friend: Some((link.clone(), "bob".into())) };
        assert_eq!(setup.handle("bob", &ENGLISH), Next::Begin(beginning));
        assert_eq!(setup.handle(&link, &ENGLISH), Next::Ask(ENGLISH.plain.setup_name));
        assert!(matches!(setup.handle("", &ENGLISH), Next::Begin(Beginning { friend: None, .. })));
        assert_eq!(setup.handle("/quit", &ENGLISH), Next::Quit);
    }
}
