//! The command line: the verbs, and what all of them take.

mod contacts;
mod daemon;
mod messages;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use knothole_proto::code::Code;
use knothole_proto::contact_link::{ContactLink, RendezvousAddress};

use crate::duration::lasting;
use crate::exit::Usage;
use crate::typed;
pub(crate) use contacts::{Added, Mode, Verification, Visibility};
pub(crate) use daemon::Daemon;
pub(crate) use messages::{Message, Page, Wait};

const AFTER_HELP: &str = "\
First steps:
  See it work, on this machine alone:
      knothole demo

  Make yourself known at a rendezvous (its first line of output is `ready <key>@<host>:<port>`), and get your link.
  The address is remembered, and needed only this once:
      knothole --rendezvous <key>@<host>:<port> id

  Give your link to a friend, add theirs, and talk:
      knothole add 'knothole:…?via=…' --name bob
      knothole chat bob

Environment:
  KNOTHOLE_HOME        the home directory, where --home is not given
  KNOTHOLE_RENDEZVOUS  rendezvous addresses separated by commas or spaces, where --rendezvous is not given;
                       without either, `rendezvous` in config.toml
  KNOTHOLE_KEEPALIVE   default, strict (a lost contact is noticed after 9 s) or frugal (as rarely as this network bears);
                       where it is not set, `keepalive` in config.toml
  KNOTHOLE_PASSPHRASE  the passphrase of a home that has one, where --passphrase-file is not given
  KNOTHOLE_PLAIN       set it to 1 for --plain; config.toml and TERM=dumb can ask for that, too
  KNOTHOLE_LOG         what is logged to standard error: error, warn (default), info, debug, trace
  NO_COLOR             set it for text without colours

Configuration:
  config.toml holds all that can be set, with its meaning and default; it is written on first use, and never again once you
  have changed it. It lies in the home where that is named, else in ~/.config/knothole (XDG_CONFIG_HOME).

Exit codes:
  0  done
  1  it failed, and standard error says what to do next
  2  wrong usage
  3  not in time";

/// Talk straight to each other, from behind any NAT, end to end encrypted.
#[derive(Debug, Parser)]
#[command(name = "knothole", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// The directory that holds everything: identity, contacts, messages, config.toml [default: knothole in the XDG data
    /// directory, and config.toml in that for configuration]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,

    /// Register at this rendezvous, <key>@<host>:<port>; may be given more than once, the preferred first. Remembered in a
    /// home that knows none yet
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) rendezvous: Vec<RendezvousAddress>,

    /// The file whose first line is this home's passphrase, where it has one
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Print data as JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Without a verb: lines that are only ever added, in whole sentences, for screen readers; works in a pipe, too
    #[arg(long)]
    pub(crate) plain: bool,

    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// See it work: a rendezvous and two peers on this machine, chatting
    #[command(after_help = "Example:\n  knothole demo         you are alice; type a line\n  \
        knothole demo | cat   a short transcript, then it ends")]
    Demo,

    /// Print your contact link, which others need to reach you; the first use makes your identity
    #[command(
        after_help = "Example:\n  knothole id --qr\n  knothole --rendezvous <key>@<host>:<port> id   the first time"
    )]
    Id {
        /// Draw the link as a QR code, too
        #[arg(long)]
        qr: bool,
    },

    /// Add a contact by the link that they gave you, or by a code that they read to you
    #[command(
        after_help = "Example:\n  knothole add 'knothole:…?via=…' --name bob\n  knothole add 7-orchard-velvet --me alice\n  \
        knothole add 'knothole:…?via=…' --name mallory --relay   mallory never learns your address\n\n\
        Quote the link: the shell has its own ideas about ? and &. A code is made by `knothole code`, which must be running."
    )]
    Add(Added),

    /// Make a one-time code that somebody else types to become your contact, and wait for them
    #[command(
        after_help = "Example:\n  knothole code --me alice     read it to bob, who types: knothole add 7-orchard-velvet\n\n\
        It is good for one use within ten minutes, among people of the same rendezvous. Say it to nobody else: whoever types it\n\
        first is your contact. A wrong word uses it up."
    )]
    Code {
        /// What to call them [default: what they call themselves, or the beginning of their id]
        #[arg(long)]
        name: Option<String>,
        /// What they are told to call you
        #[arg(long, value_name = "NAME")]
        me: Option<String>,
        /// Meet them through a relay alone, from the first packet on
        #[arg(long)]
        relay: bool,
    },

    /// List contacts and contact requests
    #[command(after_help = "Example:\n  knothole contacts\n  knothole contacts --json | jq '.[].name'")]
    Contacts,

    /// Accept the request of somebody who wants to be a contact
    #[command(after_help = "Example:\n  knothole contacts      shows who asks\n  knothole accept carol\n  \
        knothole accept carol --relay   carol never learns your address")]
    Accept {
        /// A name or a peer id
        name: String,
        /// Meet them through a relay alone, from the first packet on
        #[arg(long)]
        relay: bool,
    },

    /// Make sure that a contact is who you take it for: compare ten words by voice, or scan each other's QR code
    #[command(
        after_help = "Example:\n  knothole verify bob             prints the words; bob runs `knothole verify` with your name\n  \
        knothole verify bob --confirm   they were the same: bob is verified\n  \
        knothole verify bob --qr        shows a code that bob scans\n  \
        knothole verify bob --scan 'knothole-verify:…'   what your camera read from bob's screen\n\n\
        Compare by voice or face to face, not in a message: whoever is between you could change that, too."
    )]
    Verify(Verification),

    /// Choose how a contact may be reached: by any path, or through a relay alone
    #[command(
        after_help = "Example:\n  knothole path bob relay   bob is told your address no more, and no packet goes between you\n  \
        knothole path bob any     directly again, where that is possible\n\n\
        A relay cannot read what it passes on. While any contact is relay only, nothing is announced on the LAN. Who was a\n\
        contact before this may have learned your address already: add, code and accept take --relay for those who must not."
    )]
    Path {
        /// A name or a peer id
        name: String,
        /// By any path, or through a relay alone
        #[arg(value_enum)]
        mode: Mode,
    },

    /// Choose who may see that you are there; without a choice, tell what is chosen
    #[command(after_help = "Example:\n  knothole presence invisible       all contacts see you offline\n  \
        knothole presence online carol    but carol, whatever the others see\n  \
        knothole presence default carol   carol sees what the others see\n\n\
        Invisible, you are sent what others write, and answer nothing. What you write to one who sees you offline goes by\n\
        letter alone: up to 900 bytes at once, more in pieces, and it may wait until you are visible.")]
    Presence {
        /// What they may see
        #[arg(value_enum)]
        mode: Option<Visibility>,
        /// One contact, by name or peer id [default: all of whom nothing else was chosen]
        name: Option<String>,
    },

    /// Call somebody by another name; they do not learn of it
    #[command(
        after_help = "Example:\n  knothole rename bob robert\n  knothole rename aibaeaqcai carol   who asks to be a contact"
    )]
    Rename {
        /// A name or a peer id
        name: String,
        /// What to call them from now on
        new: String,
    },

    /// End all talk with somebody, also somebody not heard of yet; their requests are dropped from then on
    #[command(
        after_help = "Example:\n  knothole block mallory\n  knothole block bfytiz5zof…   a whole peer id, before it asks\n\n\
        They are told nothing, and see what they would see if you were away."
    )]
    Block {
        /// A name or a peer id
        name: String,
    },

    /// Delete a contact and the conversation with it
    #[command(after_help = "Example:\n  knothole remove mallory")]
    Remove {
        /// A name or a peer id
        name: String,
    },

    /// Talk, line by line: a line typed is a message, lines received are printed; works in a pipe
    #[command(after_help = "Example:\n  knothole chat bob\n  (echo hello; sleep 60) | knothole chat bob\n\n\
        Received lines go to standard output, all else to standard error. At the end of its input it waits up to 10 s for\n\
        what was typed to be delivered. /quit or Ctrl-D ends it at a terminal. With --json a line of output is an event of\n\
        JSON-RPC: `message`, or the `change` of one.")]
    Chat {
        /// A name or a peer id
        name: String,
    },

    /// Send one message and wait until it has arrived
    #[command(after_help = "Example:\n  knothole send bob 'see you at eight'\n  \
        make 2>&1 | tail -5 | knothole send bob - --timeout 2m\n  \
        knothole send bob hello --wait read --json\n  \
        knothole send bob 'at nine' --reply last --expires 1d\n\n\
        Exits 3 when the state was not reached in time. The message stays queued then: it goes out as soon as a Knothole\n\
        runs for this home (`knothole daemon`, for one) while bob is online.")]
    Send(Message),

    /// Give a message of yours another text, on both sides
    #[command(after_help = "Example:\n  knothole edit bob last 'see you at nine'\n  \
        knothole history bob --ids      shows the beginnings of ids\n  \
        knothole edit bob k3xv7q2a 'see you at nine'")]
    Edit {
        /// A name or a peer id
        name: String,
        /// The message: its id, the beginning of it, or `last` for the last one you wrote
        message: String,
        /// The whole new text; `-`, or nothing where the input is no terminal, reads it from there
        text: Option<String>,
    },

    /// Take a message of yours back: its text is removed on both sides
    #[command(after_help = "Example:\n  knothole delete bob last\n\n\
        It goes from bob's Knothole as soon as that hears of it. What was read, or copied, before, cannot be taken back.")]
    Delete {
        /// A name or a peer id
        name: String,
        /// The message: its id, the beginning of it, or `last` for the last one you wrote
        message: String,
    },

    /// React to a message with an emoji
    #[command(after_help = "Example:\n  knothole react bob last 👍\n  knothole react bob last 👍 --off   no more")]
    React {
        /// A name or a peer id
        name: String,
        /// The message: its id, the beginning of it, or `last` for the last one they wrote
        message: String,
        /// One emoji
        emoji: String,
        /// Take the reaction back
        #[arg(long)]
        off: bool,
    },

    /// Let later texts of a conversation disappear on both sides, so long after they were read
    #[command(after_help = "Example:\n  knothole timer bob 1d\n  knothole timer bob off\n\n\
        Both see that it was set, and either may set it anew. Yours go from here that long after bob has them. It keeps no one\n\
        from copying what was read.")]
    Timer {
        /// A name or a peer id
        name: String,
        /// How long: 30s, 5m, 1h, 1d, 1w, or off
        #[arg(value_parser = lasting)]
        lasting: u32,
    },

    /// Print what was said
    #[command(after_help = "Example:\n  knothole history bob\n  knothole history bob --search eight --limit 5\n  \
        knothole history bob --json | jq -r '.[].text'\n  \
        knothole history bob --ids   with what `edit`, `delete`, `react` and `send --reply` call a message")]
    History(Page),

    /// Let messages wait at the rendezvous while their recipient is away, or no more; without a word: whether they do
    #[command(after_help = "Example:\n  knothole mailbox on\n  knothole mailbox\n\n\
        On: your rendezvous keeps what contacts write while you are away, for 14 days at most, and what you write may wait at\n\
        theirs. It is sealed for the two of you, but the rendezvous sees when something waits, and how much. Off: what waits\n\
        for you is destroyed, and you hear of it when both are online.")]
    Mailbox {
        /// Whether they may
        #[arg(value_enum)]
        switch: Option<Switch>,
    },

    /// Find out what your network lets through, and what that means for reaching others
    #[command(after_help = "Example:\n  knothole netcheck\n  knothole netcheck --json | jq -r .summary\n\n\
        What the words mean (RFC 4787):\n  \
        mapping    what others see of you: endpoint-independent is the same for all, which is what direct paths need;\n             \
        (address-and-port-)dependent differs with the destination, and the others must find out how\n  \
        filtering  who gets in: anyone, known addresses, or known addresses and ports\n  \
        ports      how the ports outside are chosen: preserved, sequential, within a block, or random\n  \
        hairpin    whether machines behind your router meet by their outside addresses\n\n\
        Mapping and filtering are told by a rendezvous that has a second address (knothole-rendezvous --alternate).")]
    Netcheck {
        /// Find out, too, how long the NAT remembers an idle mapping, unless that is known; takes up to 30 minutes
        #[arg(long)]
        lifetime: bool,
    },

    /// Encrypt all that this home holds under a passphrase, change it, or remove it
    #[command(
        subcommand,
        after_help = "Example:\n  knothole passphrase set\n  \
        knothole passphrase set --passphrase-file ~/.secrets/knothole\n\n\
        The passphrase is typed at the terminal, or given in KNOTHOLE_PASSPHRASE or with --passphrase-file.\n\
        From then on each knothole that starts an engine asks for it. Nobody can help if it is forgotten."
    )]
    Passphrase(PassphraseVerb),

    /// Write all of this home, as it is now, into an encrypted backup
    #[command(after_help = "Example:\n  knothole export ~/knothole-2026-11-28.backup\n\n\
        The backup has a passphrase of its own: typed at the terminal, or given in KNOTHOLE_BACKUP_PASSPHRASE or with\n\
        --backup-passphrase-file. A Knothole that runs goes on meanwhile.")]
    Export(Backup),

    /// Make this home, which must be empty, that of a backup
    #[command(after_help = "Example:\n  knothole import ~/knothole-2026-11-28.backup --home ~/restored\n\n\
        Do not use the backed-up home any more: two homes with one identity take each other's messages. With\n\
        --passphrase-file or KNOTHOLE_PASSPHRASE the restored home is put under that passphrase at once.")]
    Import(Backup),

    /// Read the whole database and tell what is wrong with it
    #[command(after_help = "Example:\n  knothole check && echo sound")]
    Check,

    /// Speak JSON-RPC 2.0 on standard input and output, one object a line
    #[command(
        after_help = "Example:\n  echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}' | knothole rpc\n\n\
        Events come as notifications. It ends with its input."
    )]
    Rpc,

    /// Stay reachable without a face; other verbs, and scripts at the home's knothole.sock, go through it
    #[command(after_help = "Example:\n  knothole daemon &\n  knothole send bob hello\n  \
        knothole daemon --install && systemctl --user enable --now knothole   from now on, by systemd\n\n\
        Prints `ready <socket>` once it serves, and tells systemd (NOTIFY_SOCKET). SIGTERM or SIGINT: it says goodbye and\n\
        exits 0. A home under a passphrase: KNOTHOLE_PASSPHRASE or --passphrase-file; for the unit, what it says itself,\n\
        at its beginning, about LoadCredential.")]
    Daemon(Daemon),

    /// Print what your shell needs to complete what you type
    #[command(after_help = "Example:\n  \
        knothole completions bash > ~/.local/share/bash-completion/completions/knothole\n  \
        knothole completions zsh > ~/.zfunc/_knothole   with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc\n  \
        knothole completions fish > ~/.config/fish/completions/knothole.fish\n  \
        knothole completions elvish > ~/.config/elvish/lib/knothole.elv   with `use knothole` in rc.elv\n  \
        knothole completions powershell >> $PROFILE\n\n\
        Make the directory first where it does not exist, and start the shell anew.")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },

    /// Print the manual page of knothole, or write it and one for each verb into a directory
    #[command(after_help = "Example:\n  knothole man | man -l -\n  \
        knothole man --dir ~/.local/share/man/man1   from then on: man knothole, man knothole-send")]
    Man {
        /// Where to write all pages; it is made where it does not exist
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// A backup.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The file whose first line is the backup's passphrase; else KNOTHOLE_BACKUP_PASSPHRASE, or it is typed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) backup_passphrase_file: Option<PathBuf>,
}

/// What `passphrase` does.
#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseVerb {
    /// Encrypt this home under a passphrase
    Set,
    /// Give it another one
    Change {
        /// The file whose first line is the new one; else KNOTHOLE_NEW_PASSPHRASE, or it is typed
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Store this home in the clear again
    Remove,
}

/// Whether something is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It is
    On,
    /// It is not
    Off,
}

impl Verb {
    /// What can be told wrong before an engine is started for it.
    pub(crate) fn checked(self) -> anyhow::Result<Self> {
        match &self {
            Self::Add(Added { link, .. }) if Code::looks_like_one(link) => {
                if let Err(why) = link.parse::<Code>() {
                    bail!("that code cannot be used: {why}");
                }
            }
            Self::Add(Added { link, .. }) => {
                if let Err(why) = link.parse::<ContactLink>() {
                    bail!(
                        "that link cannot be used ({why}); copy the whole line that `knothole id` prints there, in quotes"
                    );
                }
            }
            Self::Send(message) if !message.files.is_empty() => {
                bail!("files cannot be sent yet, and nothing was sent; leave --file out to send a text");
            }
            Self::Send(message) if message.text.is_none() && typed::at_terminal() => {
                let name = &message.name;
                return Err(Usage(format!("what is to be said? Try: knothole send {name} \"hello\"")).into());
            }
            Self::Presence { mode: Some(Visibility::Default), name: None } => {
                return Err(Usage("default is for one contact: knothole presence default NAME".to_owned()).into());
            }
            Self::Edit { name, message, text: None } if typed::at_terminal() => {
                let told = format!("what shall it say? Try: knothole edit {name} {message} \"hello\"");
                return Err(Usage(told).into());
            }
            _ => {}
        }
        Ok(self)
    }
}

/// What is said to somebody who names no verb.
pub(crate) fn hint() -> anyhow::Result<()> {
    let help = Arguments::command().render_help();
    Err(Usage(format!("a verb is missing; begin with `knothole demo`\n\n{help}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once(&"knothole").chain(arguments))
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_arguments_stand_before_or_after_the_verb() {
        for arguments in [["--home", "/h", "--json", "contacts"], ["contacts", "--home", "/h", "--json"]] {
            let parsed = parsed(&arguments).unwrap();
            assert_eq!((parsed.home, parsed.json), (Some("/h".into()), true));
        }
    }

    #[test]
    fn every_verb_teaches_by_an_example() {
        for verb in Arguments::command().get_subcommands() {
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains(&format!("knothole {}", verb.get_name())), "{}", verb.get_name());
        }
    }

    /// A command as it is printed for people, if it is one of ours: its arguments, with something real for what the reader puts in.
    fn printed(line: &str) -> Option<Vec<String>> {
        let key = "a".repeat(52);
        let line = line.replace("<key>", &key).replace("<host>:<port>", "rendezvous.example.org:3478");
        let line = line.replace("knothole:…?via=…", &format!("knothole:{key}?via={key}@rendezvous.example.org:3478"));
        let line = line.rsplit_once("| knothole ").map_or(line.trim_start(), |(_, rest)| rest).to_owned();
        let line = line.strip_prefix("knothole ").unwrap_or(&line).to_owned();
        // Behind two spaces, or a #, stands what is said of it.
        let end = [" #", "   ", " >", " |", " &"].iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line[..end].chars() {
            match c {
                '\'' | '"' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        Some(words).filter(|_| !quoted)
    }

    #[test]
    fn every_command_in_the_readme_and_the_help_is_understood() {
        let readme = include_str!("../../../../README.md");
        let blocks = readme.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
        let helps: Vec<_> = std::iter::once(Arguments::command())
            .chain(Arguments::command().get_subcommands().cloned())
            .filter_map(|verb| Some(verb.get_after_help()?.to_string()))
            .collect();
        let lines = blocks.flat_map(str::lines).chain(helps.iter().flat_map(|help| help.lines()));
        let ours = |line: &&str| line.trim_start().starts_with("knothole ") || line.contains("| knothole ");
        let mut tried = 0;
        for line in lines.filter(ours) {
            let words = printed(line).unwrap_or_else(|| panic!("{line}"));
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            match parsed(&words) {
                Ok(_) => tried += 1,
                Err(error) => panic!("{line}\n{words:?}\n{error}"),
            }
        }
        assert!(tried > 60, "{tried}");
    }
}
