//! The real binaries in the namespace lab, a module a subject. One program, so that its tests, which mostly wait for networks in
//! real time, wait side by side.
#![cfg(target_os = "linux")]

mod blocked;
mod direct;
mod first_word;
mod gaps;
mod hostile;
mod ipv6;
mod mailbox;
mod matrix;
mod namespaces_smoke;
mod netcheck;
mod network_change;
mod port_mapping;
mod presence;
mod relay_only;
mod relayed;
mod town;
