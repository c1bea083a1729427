//! What is typed with a slash before it: which commands there are, what a line means, and what is done about it.

mod carrying;
mod outcome;
pub(crate) mod parse;
pub(crate) mod table;

pub(crate) use parse::{Typed, parse};
pub(crate) use table::{Listed, TABLE};

/// Something that the person wants done. Where nobody is named, the open conversation is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Somebody who asks becomes a contact; without a name the open one, else the one who asks first.
    Accept {
        name: Option<String>,
        relay: bool,
    },
    /// A contact more, by a link or a code.
    Add {
        link: String,
        name: Option<String>,
        relay: bool,
    },
    Block {
        name: Option<String>,
    },
    /// A one-time code; the name is what we will call whoever types it.
    Code {
        name: Option<String>,
    },
    /// Everybody, as a page.
    Contacts,
    /// The chosen message, or our link.
    Copy {
        link: bool,
    },
    Delete,
    Edit {
        text: String,
    },
    Go {
        name: String,
    },
    /// All of it, or one command.
    Help {
        command: Option<&'static str>,
    },
    /// Whether we are seen, by all or by one.
    Presence {
        visible: bool,
        name: Option<String>,
    },
    Link,
    Mailbox {
        open: bool,
    },
    Netcheck,
    Path {
        relay: bool,
        name: Option<String>,
    },
    Quit,
    React {
        emoji: String,
    },
    /// It asks first, and is given again, `sure`, if the answer is yes.
    Remove {
        name: Option<String>,
        sure: bool,
    },
    Rename {
        name: Option<String>,
        new: String,
    },
    Reply {
        text: String,
    },
    /// Nothing: what is to be found is typed into the list.
    Search {
        text: String,
    },
    Setup,
    /// Seconds, or none: texts stay.
    Timer {
        seconds: Option<u32>,
    },
    /// `same`: the words were compared.
    Verify {
        name: Option<String>,
        same: bool,
    },
    Whois {
        name: Option<String>,
    },
}
