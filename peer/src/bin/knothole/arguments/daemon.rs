//! What `daemon` takes.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// Print a systemd user unit that runs this, with --home, --rendezvous and --passphrase-file as they are given here
    #[arg(long)]
    pub(crate) unit: bool,
    /// Write that unit where systemd finds it, and say what comes next
    #[arg(long, conflicts_with = "unit")]
    pub(crate) install: bool,
    /// Put it in the place of a unit that differs
    #[arg(long, requires = "install")]
    pub(crate) force: bool,
}
