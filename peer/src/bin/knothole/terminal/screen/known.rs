//! What the composer completes with.

use super::commands;
use super::contacts::Contacts;
use crate::terminal::composer::{Candidates, Completable};
use crate::terminal::words::Words;

/// What the composer completes with.
pub(crate) struct Known<'a> {
    contacts: &'a Contacts,
    words: &'static Words,
}

impl<'a> Known<'a> {
    pub(crate) const fn new(contacts: &'a Contacts, words: &'static Words) -> Self {
        Self { contacts, words }
    }
}

impl Candidates for Known<'_> {
    fn commands(&self) -> Vec<Completable> {
        let completable = |listed: &commands::Listed| Completable {
            name: format!("/{}", listed.name),
            about: (listed.told)(&self.words.commands).help.to_owned(),
            takes: listed.takes,
        };
        commands::TABLE.iter().map(completable).collect()
    }

    fn names(&self) -> Vec<String> {
        self.contacts.iter().map(|contact| contact.name.clone()).collect()
    }
}
