//! Where Knothole is proved: one packet-level internet, driven in two ways.
//!
//! - [`nat`] is a NAT in the terms of RFC 4787, [`link`] a line with delay and loss, and [`world`] the internet that is
//!   made of them: hosts, routers, a core. All three are pure. Time and seeds are arguments, so a run of
//!   minutes takes milliseconds and a failure repeats from its seed.
//! - `namespaces` drives the same [`world`] by the real clock. Each host is a Linux network namespace whose only way
//!   out is a TUN device that ends in the world, so real binaries talk through the very routers that the simulation has.
//!
//! Deliberately absent: anything that speaks Knothole's protocol. The world carries packets, and does not care
//! who sends them. IPv6 reaches public hosts only: no router here translates or filters it.

#[cfg(target_os = "linux")]
pub mod capture;
pub mod link;
#[cfg(target_os = "linux")]
pub mod namespaces;
pub mod nat;
#[cfg(target_os = "linux")]
pub mod network;
pub mod packet;
#[cfg(target_os = "linux")]
pub mod person;
pub mod simulation;
#[cfg(target_os = "linux")]
pub mod small_disk;
#[cfg(target_os = "linux")]
pub mod trial;
pub mod world;
