//! A Knothole peer as a library: the engine that keeps a person reachable and their conversations whole.
//!
//! [`engine::start_in`] runs a peer in a [home](home::Home) and gives a [`handle::Peer`]: ask it things with
//! [`command::Command`]s, and hear from it in [`event::Event`]s. The `knothole` binary is a few faces over that.
//!
//! What it deliberately does not do: draw anything, choose a rendezvous, or talk to anyone who is not a contact. It takes no
//! signals, sets no global state but what Tokio and the TLS library keep, and writes nothing outside the home and its
//! config.toml.
//!
//! # A program that embeds a peer
//!
//! Two of them here, in one process, and a rendezvous with them, so that it runs as it stands:
//!
//! ```
//! use std::path::Path;
//!
//! use anyhow::Context as _;
//! use knothole::command::{Command, NewMessage};
//! use knothole::engine;
//! use knothole::event::EventKind;
//! use knothole::handle::{Options, Peer};
//! use knothole::home::{EngineLock, Home};
//! use knothole::proto::contact_link::{ContactLink, RendezvousAddress};
//!
//! /// The peer that lives in a directory, and the right to run it, which keeps other processes from doing the same.
//! async fn start(home: &Path, rendezvous: &RendezvousAddress) -> anyhow::Result<(Peer, EngineLock)> {
//!     let home = Home::open(Some(home.to_owned()))?;
//!     let lock = home.engine_lock()?.context("another process runs this peer; talk to that, over its socket")?;
//!     let options = Options {
//!         home: home.path().to_owned(),
//!         rendezvous: vec![rendezvous.clone()],
//!         allow_loopback: false,
//!         keepalive: home.keepalive()?,
//!     };
//!     Ok((engine::start_in(home, options).await?, lock))
//! }
//!
//! /// Makes a contact of whoever gave us their link.
//! async fn add(peer: &Peer, link: ContactLink, name: &str) -> anyhow::Result<()> {
//!     let add = |reply| Command::AddContact { link, name: Some(name.into()), relay_only: None, reply };
//!     peer.request(add).await?;
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> anyhow::Result<()> {
//! #   use knothole::proto::certificate::IdentitySecret;
//! #   use knothole_rendezvous::Policy;
//! #   use knothole_rendezvous::serve::{Config, Serving};
//! #   let directory = tempfile::tempdir()?;
//! #   let directory = directory.path();
//! #   let serving = Serving::start(Config {
//! #       identity: IdentitySecret::new([7; 32]),
//! #       listen: vec!["127.0.0.1:0".parse()?],
//! #       alternate: None,
//! #       public: None,
//! #       policy: Policy::default(),
//! #       mailboxes: None,
//! #   }).await?;
//!     // What a rendezvous prints when it starts; here, of one in this process.
//!     let rendezvous: RendezvousAddress = serving.address().to_string().parse()?;
//!     let (alice, _alices) = start(&directory.join("alice"), &rendezvous).await?;
//!     let (bob, _bobs) = start(&directory.join("bob"), &rendezvous).await?;
//!
//!     // Whoever is to be reached gives a link to whoever wants to reach them.
//!     add(&alice, bob.request(Command::Status).await?.link, "bob").await?;
//!     add(&bob, alice.request(Command::Status).await?.link, "alice").await?;
//!
//!     let mut events = bob.events();
//!     let message = NewMessage::from("through the fence");
//!     // Answered when it is in durable storage: from here on it arrives, once, whatever ends meanwhile.
//!     alice.request(|reply| Command::Send { to: "bob".into(), message, reply }).await?;
//!     loop {
//!         if let EventKind::Message { name, text, .. } = &events.recv().await?.kind {
//!             assert_eq!((name.as_str(), text.as_str()), ("alice", "through the fence"));
//!             break;
//!         }
//!     }
//!     alice.stop().await;
//!     bob.stop().await;
//! #   serving.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! A program that need not run the engine itself is better off with the one that runs: [`rpc::connect`] reaches it, and a
//! [`rpc::Client`] calls the methods of docs/json-rpc.md. `peer/examples/bot.rs` is one. Conversely, an engine that is embedded
//! serves the verbs of `knothole`, and other programs, with [`rpc::Listener::open`].
//!
//! # What is meant to be used
//!
//! | module | for |
//! | --- | --- |
//! | [`home`] | the directory of a peer: identity, lock, configuration, passphrase |
//! | [`engine`], [`handle`] | starting a peer, and the handle on it |
//! | [`command`], [`event`] | what may be asked, and what is told; [`store`] has the messages and contacts that they speak of |
//! | [`rpc`] | the same as JSON-RPC, as server and as client |
//! | [`backup`], [`passphrase`] | all of a home in one file; a home that is encrypted |
//! | [`netcheck`] | what this network does with datagrams |
//! | [`proto`] | keys, links, addresses and ids, as types |
//!
//! Everything else, links, paths and sockets, is private: it serves the engine alone. [`store::Store`] is public for tools
//! that work while no engine runs, and hold the home's lock.
//!
//! # Running it
//!
//! It needs a Unix system and a Tokio runtime of several threads with time and I/O. There are no Cargo features. A `Peer` is cheap to clone,
//! and all clones speak to the one engine, in which commands are carried out in the order in which they were sent.
//! [`handle::Peer::events`] gives events from that moment on: subscribe before you ask for what they are to add to. A receiver
//! that is 1,024 behind misses the oldest (`RecvError::Lagged`), and nothing waits for it; history and contacts are there to be asked again.
//!
//! # Errors
//!
//! Each operation has an enum of its own ([`home::HomeError`], [`engine::StartError`], [`command::CommandError`]) whose texts are for a
//! person and say what to do next. What the network does is no error: a message to somebody who is away waits, and events tell what becomes
//! of it. A command fails with [`command::CommandError::Stopping`] once the engine has ended; that it ends by itself is not expected.
//!
//! # Ending it
//!
//! [`handle::Peer::stop`] says goodbye to contacts and rendezvous, so that they see at once that the person has gone, finishes what is under
//! way and returns when the database is closed, after 3 s at most. Then let the lock go. A process that is killed instead loses
//! nothing but the goodbye. If all handles are dropped, the engine ends as well, and nobody waits for it.

pub mod backup;
pub mod command;
pub mod engine;
pub mod event;
pub mod handle;
pub mod home;
pub mod netcheck;
pub mod passphrase;
pub mod rpc;
pub mod store;

mod hops;
mod lan;
mod link;
mod network;
mod port_mapping;
mod sign_in;
mod socket;
mod tunnel;
mod wrapping;

pub use knothole_proto as proto;
