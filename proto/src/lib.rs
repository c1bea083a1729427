//! Knothole's protocol as pure state machines: bytes, time and seeds come in; bytes, deadlines and events go out.
//!
//! Every machine has one shape: `handle_*(…, now)`, `handle_timeout(now)`, `poll_transmit()`, `poll_timeout()`,
//! `poll_event()`. Whoever drives one changes one thing, drains it completely, then sleeps until its deadline.
//!
//! Here is no socket, no clock, no runtime and no ambient randomness; `clippy.toml` bans them. Neither is there QUIC:
//! the driver runs it, between addresses that [`path`] finds.

pub mod candidate;
pub mod certificate;
pub mod code;
pub mod contact_link;
pub mod content;
pub mod control;
pub mod conversation;
pub mod datagram;
pub mod envelope;
pub mod frames;
pub mod hard_nat;
pub mod hops;
pub mod identity;
pub mod invitation;
pub mod keepalive;
pub mod lan;
pub mod lifetime;
pub mod nat;
pub mod path;
pub mod registration;
pub mod seal;
pub mod stun;
pub mod traversal;
pub mod tunnel;
pub mod verification;
pub mod words;
