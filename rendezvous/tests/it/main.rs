//! The rendezvous from outside, as a pure machine and with real sockets, a module a subject: one program, since linking it takes
//! seconds.

mod bounds;
mod flight;
mod hostile;
mod introductions;
mod letters;
mod mailbox;
mod mailbox_absence;
mod outage;
mod post_office;
mod presence;
mod program;
mod registrations;
mod relay;
mod returns;
mod running;
mod serving;
mod strangers;
mod streams;
mod traces;
mod world;
