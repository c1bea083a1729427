//! JSON-RPC 2.0 over the engine's commands and events: one object a line, on any pair of byte streams.
//!
//! ```text
//! lines         bytes to lines, none longer than may be
//! message       what a line says, and the lines that answer it
//! method        a method and its parameters to commands, and their answers to results
//! netcheck      the one method that asks the network and not the engine
//! notification  events to notifications
//! refusal       errors to what programs tell them apart by
//! connection    one client: requests begun in their order, answered as they are done, events in between
//! listener      the socket in the home, for other processes
//! client        the other end
//! ```
//! Promises to a client, beyond the specification: requests reach the engine in the order of their lines, whatever order
//! the answers come in; and a response comes before any event that its request caused, if the engine answers before it
//! tells. A client that reads slowly loses events, which a `lagged` event tells it, but no response.
//!
//! What it does not do: it tells no clients apart. Who may ask at all (the socket is its owner's alone) may do everything.

mod client;
mod connection;
mod content;
#[cfg(test)]
mod fake;
mod lines;
mod listener;
mod message;
mod method;
mod netcheck;
mod notification;
mod refusal;

pub use client::{CallError, Client, Events};
pub use connection::serve;
pub use listener::{ListenError, Listener, connect};
