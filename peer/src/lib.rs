//! A Knothole peer as a library: the engine that keeps a person reachable and their conversations whole.
//!
//! [`engine::start`] runs a peer in a home directory and gives a [`handle::Peer`]: ask it things with
//! [`command::Command`]s, and hear from it in [`event::Event`]s. The `knothole` binary is a few faces over that.
//!
//! What it deliberately does not do: draw anything, choose a rendezvous, or talk to anyone who is not a contact.

pub mod backup;
pub mod command;
pub mod engine;
pub mod event;
pub mod handle;
pub mod home;
pub mod hops;
pub mod lan;
pub mod link;
pub mod netcheck;
pub mod network;
pub mod passphrase;
pub mod port_mapping;
pub mod rpc;
pub mod sign_in;
pub mod socket;
pub mod store;
pub mod tunnel;

mod wrapping;
