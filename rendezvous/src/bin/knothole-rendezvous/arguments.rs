//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use etcetera::BaseStrategy as _;

use crate::size::Size;

const AFTER_HELP: &str = "\
Examples:
  A rendezvous on a machine with a public address:
      knothole-rendezvous --public rendezvous.example.org:3478

  Where peers sit in networks that let only HTTPS out (they try port 443 by themselves):
      knothole-rendezvous --listen [::]:3478 --listen [::]:443 --public rendezvous.example.org:3478

  On a machine with two public addresses, so that peers can learn what their NAT does:
      knothole-rendezvous --listen 192.0.2.1:3478 --alternate 192.0.2.2:3479

  To try it out on one machine (the system chooses the port, the key lasts as long as the directory):
      knothole-rendezvous --listen 127.0.0.1:0 --state /tmp/rendezvous

The first line on standard output is `ready <rendezvous address>`: what peers are given (KNOTHOLE_RENDEZVOUS or
--rendezvous). The address holds the rendezvous' key, kept in the state directory: keep a copy of it, for without
it every peer must be given a new address. Beside it, in mailbox.db, letters wait for peers that opened a mailbox: up to
14 days, sealed so that only the recipient reads them, and without their senders' names. Open the port for UDP and TCP in the
firewall: TCP serves networks that let no UDP through.

Environment:
  RUST_LOG    what is logged to standard error: error, warn, info (default), debug, trace, or a filter of modules

SIGTERM or SIGINT: tells the peers, then exits 0.";

/// Introduces Knothole peers to each other. It never sees what they say.
#[derive(Debug, Parser)]
#[command(name = "knothole-rendezvous", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Serve at this address, by UDP and TCP; may be given more than once. Port 0 lets the system choose
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:3478")]
    pub(crate) listen: Vec<SocketAddr>,

    /// A second address for telling NAT behaviour (RFC 5780): other IP and other port than the first --listen, which
    /// must be no wildcard then. Both ports are used at both addresses
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) alternate: Option<SocketAddr>,

    /// How peers reach this rendezvous, where that is not the first --listen: a name, or the address before a NAT
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) public: Option<String>,

    /// What the mailboxes may take on the disk, in which letters wait for peers that are away: bytes, or with K, M, G or T.
    /// From 32M on there is room for the longest texts; 0: no mailboxes
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    pub(crate) mailbox_size: Size,

    /// Where the key and the mailboxes are kept [default: knothole-rendezvous in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Arguments {
    /// The state directory, given or default.
    pub(crate) fn state_directory(&self) -> anyhow::Result<PathBuf> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        let base =
            etcetera::choose_base_strategy().context("there is no home directory: say where with --state DIR")?;
        let base = base.state_dir().unwrap_or_else(|| base.data_dir());
        Ok(base.join("knothole-rendezvous"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Arguments {
        Arguments::parse_from(std::iter::once(&"knothole-rendezvous").chain(arguments))
    }

    #[test]
    fn it_listens_at_every_address_at_port_3478_unless_told() {
        assert_eq!(parsed(&[]).listen, ["[::]:3478".parse().unwrap()]);
        let two = parsed(&["--listen", "127.0.0.1:0", "--listen", "[::1]:7"]).listen;
        assert_eq!(two, ["127.0.0.1:0".parse().unwrap(), "[::1]:7".parse().unwrap()]);
    }

    #[test]
    fn mailboxes_have_a_gibibyte_unless_told() {
        assert_eq!(parsed(&[]).mailbox_size, Size(1 << 30));
        assert_eq!(parsed(&["--mailbox-size", "0"]).mailbox_size, Size(0));
    }

    #[test]
    fn the_state_directory_is_the_one_that_was_given() {
        assert_eq!(parsed(&["--state", "/x/y"]).state_directory().unwrap(), PathBuf::from("/x/y"));
    }
}
