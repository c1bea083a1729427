//! The namespace lab again, for what others beside it would disturb: one at a time.
#![cfg(target_os = "linux")]

mod lan;
mod torture;
