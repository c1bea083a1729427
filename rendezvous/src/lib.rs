//! The rendezvous.
