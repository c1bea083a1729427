//! What is proved in the simulated world, with a clock moved by hand: nothing here waits, all of it computes.

mod hard_nats;
mod lifetime;
mod nat_model;
mod traversal;
