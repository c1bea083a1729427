//! The rendezvous: it knows which peers are there, and introduces them to each other.
//!
//! [`Server`] is the whole of it, as a pure machine: datagrams, sign-ins, time and one seed come in; datagrams,
//! deadlines and counters go out. [`serve`] drives it with sockets, QUIC and a clock, for the binary and for a peer
//! that embeds a rendezvous.
//!
//! ```text
//! registry      who is registered: slots, the way from a peer to its slot, what expires when
//! introduction  what one peer may ask of another, and the key of an introduction
//! letters       what one peer leaves for another: passed straight, if that is here …
//! mailbox       … or kept on the disk until that has collected it
//! relay         frames between two peers that have no direct path (yet)
//! presence      who is told that somebody comes or goes, and from whom a peer hides
//! outbox        datagrams on their way, and when a control message is repeated
//! closing       telling everybody goodbye, a bounded number at a time
//! ticket        coming back after a restart without a handshake
//! echo          delayed echoes, by which peers learn how long their NATs remember
//! admission     how much is answered to those who proved nothing
//! discovery     the four sockets of RFC 5780
//! ```
//!
//! What it deliberately does not do: it reads no message between peers (those that it relays are theirs alone to
//! open), keeps nothing on a disk but its key and the letters of those who opened a mailbox, remembers of an introduction only that it was asked for, and holds no
//! QUIC connection to an idle peer.

mod admission;
mod closing;
mod codes;
mod counters;
mod departed;
mod discovery;
mod echo;
mod introduction;
mod letters;
pub mod mailbox;
mod outbox;
mod policy;
mod presence;
mod registry;
mod relay;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one module that touches the world: it has the clock, the sockets and the chance that the rest is given"
)]
pub mod serve;
mod server;
mod ticket;

pub use admission::{Admission, Rate};
pub use counters::Counters;
pub use discovery::FourSockets;
pub use policy::{LocalSocket, Policy};
pub use server::Server;
