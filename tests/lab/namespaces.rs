//! The lab: real binaries in Linux network namespaces, joined by a [`World`](crate::world::World) on the real clock.
//!
//! ```text
//!   namespace "alice"        this process                          namespace "bob-router"   namespace "bob"
//!   socket ─ net0 (TUN) ─── world: routers, core, lines ─── net0 (TUN) ─ nft masquerade ─ veth ─ net0
//! ```
//!
//! A host is a namespace with one TUN device, whose other end is a host of the world; NATs are the world's own. For the
//! kernel's NAT, [`Lab::nft_host`] puts a router's namespace between. Packets are IPv4 with UDP or TCP; anything else,
//! and fragments, are ignored. Routers answer a TTL that ran out with ICMP.
//!
//! A test calls [`run`], which starts the test's own binary again in user, network, mount and PID namespaces of its own,
//! so it needs no privileges, sees no other lab, and leaves nothing behind. What tests wait for comes on a busy machine, too: they run
//! side by side, since they do little but wait. What is not so patient runs alone: by [`run_alone`], and measurements by
//! [`run_program`].

mod cable;
mod host;
mod lab;
mod masquerade;
mod mount;
mod namespace;
mod privilege;
mod process;
mod pump;
mod tun;
mod wire;

pub use cable::{Spoke, Station, cable, star};
pub use host::Host;
pub use lab::Lab;
pub use masquerade::Input;
pub use mount::{mount_memory, unmount};
pub use privilege::{run, run_alone, run_program};
pub use process::Process;
