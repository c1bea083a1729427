//! What goes into the screen's machine, and what comes out of it.

use knothole_proto::contact_link::RendezvousAddress;
use ratatui::crossterm::event::KeyEvent;
use serde_json::Value;

use super::Command;
use crate::session::Used;

/// Something happened.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// Something was pasted, as the terminal says.
    Paste(String),
    /// The mouse's wheel was turned.
    Wheel { up: bool },
    /// The terminal has so many columns and rows now.
    Resized(u16, u16),
    /// The terminal's window has the person's attention, or lost it.
    Focused(bool),
    /// The engine tells something: the parameters of an `event` notification.
    Event(Value),
    /// The engine answers; what it refuses it says in words for a person.
    Answer(Ask, Result<Value, Refusal>),
    /// Another process runs the engine from now on: whatever was known may be old, and whatever was asked may not have been done.
    Renewed,
    /// What came of [`Effect::UseRendezvous`], or why nothing did. Where it is used, the engine is another one, as with
    /// [`Input::Renewed`].
    Rendezvous(Result<Used, String>),
    /// The moment of [`Screen::poll_timeout`](super::Screen::poll_timeout) has come.
    Timeout,
}

/// Why the engine did not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It says why, and tells programs more (docs/json-rpc.md, "Errors").
    Refused { why: String, data: Value },
    /// Its process ended; [`Input::Renewed`] follows.
    Closed,
}

/// A call of the engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    /// What the answer is for.
    pub(crate) purpose: Purpose,
    /// The method of JSON-RPC.
    pub(crate) method: &'static str,
    /// Its parameters.
    pub(crate) parameters: Value,
}

/// What an answer is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Purpose {
    /// Who we are, and how we stand with the rendezvous.
    Status,
    /// All contacts.
    Contacts,
    /// A page of the conversation with this peer.
    Page { peer: String, page: Page },
    /// The message of ours with this id is being stored.
    Send { message: String },
    /// An earlier message is being changed; on refusal a text goes back to be edited.
    Change { peer: String, text: Option<String> },
    /// Messages in which this is found, in the conversation with this peer, older than this one.
    Search { peer: String, wanted: String, before: Option<String> },
    /// A slash command was given by this line, which comes back if it is refused and the person is still there.
    Command { command: Command, typed: String, given: Given },
    /// Nobody waits for it: drafts, typing, what was read.
    Aside,
}

/// Where the person was who gave a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// Whose conversation was open.
    pub(crate) open: Option<String>,
    /// How often the text in the composer had changed.
    pub(crate) typed: u64,
}

/// Which part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// The newest messages, in the place of all that is shown.
    Newest,
    /// The oldest messages, in the place of all that is shown.
    Oldest,
    /// What is older than the oldest that is shown.
    Older,
    /// What is newer than the newest that is shown.
    Newer,
    /// What follows the message to jump to.
    Beyond(String),
    /// The message to jump to, with what goes before it: all before this one, which follows it.
    Upto(String),
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Call the engine, in this order.
    Call(Ask),
    /// Ring the terminal's bell.
    Bell,
    /// Tell the person, who looks elsewhere.
    Notify { title: String, text: String },
    /// Put this into the clipboard.
    Copy(String),
    /// Remember this rendezvous, and start the engine anew with it: [`Input::Rendezvous`] follows.
    UseRendezvous(RendezvousAddress),
    /// Draw everything anew: something else may have written to the terminal.
    Redraw,
    /// Let the shell have the terminal until the person comes back.
    Suspend,
    /// End.
    Quit,
}
