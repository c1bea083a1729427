//! The engine and the binary from outside, a module a subject: one program, since linking the engine takes seconds. What its tests
//! mostly do is wait, side by side.

mod backup;
mod bot;
mod changes;
mod cli;
mod codes;
mod daemon;
mod drafts;
mod faces;
mod letters;
mod neighbours;
mod netcheck;
mod people_cli;
mod places;
mod presence;
mod requests;
mod scripting;
mod shells;
mod tunnel;
mod two_peers;
mod typed;
mod verification;
