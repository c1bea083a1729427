//! What the verbs about contacts take: `add`, `verify`, `path`, `presence`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Added {
    /// The contact link, `knothole:…?via=…`, or a code like 7-orchard-velvet
    pub(crate) link: String,
    /// What to call them [default: what they call themselves with a code, or the beginning of their id]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A word for them, should they not know you: at most 140 bytes, shown with your request; the rendezvous can read it
    #[arg(long, value_name = "TEXT", conflicts_with = "replace")]
    pub(crate) greeting: Option<String>,
    /// With a code: what they are told to call you
    #[arg(long, value_name = "NAME")]
    pub(crate) me: Option<String>,
    /// Take the name from a contact that has it, after the words were compared; that one keeps the conversation, and is
    /// called NAME (old key …)
    #[arg(long, requires = "name")]
    pub(crate) replace: bool,
    /// Meet them through a relay alone, from the first packet on: they never learn your address, nor you theirs
    #[arg(long)]
    pub(crate) relay: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verification {
    /// A name or a peer id
    pub(crate) name: String,
    /// The words were the same on both sides
    #[arg(long, conflicts_with_all = ["qr", "scan"])]
    pub(crate) confirm: bool,
    /// Draw a QR code, for the other side to scan
    #[arg(long)]
    pub(crate) qr: bool,
    /// What a camera read from the other side's screen, `knothole-verify:…`
    #[arg(long, value_name = "TEXT", conflicts_with = "qr")]
    pub(crate) scan: Option<String>,
}

/// How a contact may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Directly where that is possible
    Any,
    /// Through a relay alone
    Relay,
}

impl Mode {
    /// The word for it, as in JSON-RPC.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Relay => "relay",
        }
    }
}

/// What contacts may see of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Visibility {
    /// Whether one is there
    Online,
    /// That one is offline, always
    Invisible,
    /// Of one contact: what all see
    Default,
}

impl Visibility {
    /// The word for it, as in JSON-RPC.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Invisible => "invisible",
            Self::Default => "default",
        }
    }
}
