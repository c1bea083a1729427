//! What the rendezvous allows, and the names of its ways in.

use crate::admission::Rate;
use crate::discovery::FourSockets;

/// A way in: one of the driver's sockets, and on a machine with several addresses the one that was spoken to. The
/// driver gives the numbers their meaning; the machine answers by the way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalSocket(pub u16);

/// What the rendezvous allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Registrations at once. Default: 1,000,000, some 200 MB.
    pub registrations: u32,
    /// Answers to a network that proved nothing: STUN, and errors about unknown slots. Default: 4,000 at once, 1,000 a
    /// second, so that a carrier's NAT with thousands of peers behind it is back seconds after a restart; whoever
    /// forges addresses gets half a megabit a second thrown at one network, for as much of his own.
    pub unauthenticated: Rate,
    /// Invitations by one peer. Default: 64 at once, 2 a second: after a restart a peer with hundreds of contacts has
    /// invited them all within minutes, and nobody can go through a list of strangers.
    pub invitations: Rate,
    /// Acceptances and "opened" by one peer. Default: 256 at once, 8 a second: one for each invitation of its own, and
    /// for each by as many contacts as may invite it at the same time.
    pub relays: Rate,
    /// Letters by one peer. Default: 256 at once, 8 a second: three texts of the greatest length in pieces, and a person who
    /// writes fast to many; a thirtieth of what one may have relayed.
    pub letters: Rate,
    /// Letters that pass straight to one peer from all those whom it has not named. Default: 128 at once, 8 a second, in bytes
    /// as much as all first flights to one peer may bring.
    pub strangers_letters: Rate,
    /// Peers that one registration names to be watched. Default: 4,096 at once, 64 a second: four times all that it may watch.
    pub watches: Rate,
    /// Peers watched by all registrations. Default: 64,000,000, some 512 MB, 64 for each registration of a full rendezvous.
    pub watches_in_all: usize,
    /// What all mailboxes may take on the disk, in bytes, about: letters, and what is known of them. Default: 0, no mailboxes;
    /// the program gives them 1 GiB.
    pub mailbox_bytes: u64,
    /// Mailboxes at once. Default: 100,000, a tenth of the registrations, as many as fill a tenth of 1 GiB while they are empty.
    pub mailboxes: u32,
    /// Relay channels at once. Default: 250,000, one for four registrations, some 40 MB: most pairs find a direct path,
    /// and leave their channel two minutes later. When there are so many, the one that was idle longest makes way.
    pub relay_channels: u32,
    /// Relay channels of one registration. Default: 64: who talks to more contacts at once than that, without a direct path
    /// to any, is no person. The one that was idle longest makes way for the next. What others offer does not count.
    pub relay_channels_each: u32,
    /// Bytes that one registration has relayed, its frames' IP and UDP headers included. Default: 2 MB at once, 256 KB a
    /// second: a photograph goes through at once, talk and calls always; what is more is dropped, and QUIC slows down to it.
    pub relay_bytes: Rate,
    /// The four sockets of RFC 5780, if there are four.
    pub discovery: Option<FourSockets>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            registrations: 1_000_000,
            unauthenticated: Rate { burst: 4_000, per_second: 1_000 },
            invitations: Rate { burst: 64, per_second: 2 },
            relays: Rate { burst: 256, per_second: 8 },
            letters: Rate { burst: 256, per_second: 8 },
            strangers_letters: Rate { burst: 128, per_second: 8 },
            watches: Rate { burst: 4_096, per_second: 64 },
            watches_in_all: 64_000_000,
            mailbox_bytes: 0,
            mailboxes: 100_000,
            relay_channels: 250_000,
            relay_channels_each: 64,
            relay_bytes: Rate { burst: 2_000_000, per_second: 256_000 },
            discovery: None,
        }
    }
}
