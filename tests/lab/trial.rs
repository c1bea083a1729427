//! Trials: what is measured of the real binaries in the namespace lab, shared by the tests and `examples/measure`.
//!
//! A trial runs once and says what it saw as one [`record`], also when what it saw is a failure; how often it is run and
//! what is thought of the figures is the caller's. Nothing here knows a table or a target.

pub mod crowd;
pub mod first_letter;
pub mod meeting;
pub mod record;
pub mod rest;
mod setting;
pub mod sign_in;
pub mod stream;
pub mod torture;
pub mod upheaval;

pub use setting::{Setting, Site};
