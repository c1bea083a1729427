//! The first config.toml of a home: every option with its meaning, its range and its default.
//!
//! It is put where there is none, and completed with the rendezvous while it is still as it was put. What a person has changed
//! is never written again.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::slice;

use knothole_proto::contact_link::RendezvousAddress;

use super::{Home, HomeError, write};

const HEAD: &str = "\
# What this Knothole does. All of it is optional: a line that begins with # and a word shows the default; take the #
# away and change it. It is read when Knothole starts. What you change here is never overwritten.

# Where you are known, and others find you: \"<key>@<host>:<port>\", which a rendezvous prints when it starts; several,
# the preferred first. An argument --rendezvous, or KNOTHOLE_RENDEZVOUS, takes precedence.
";

const REST: &str = "\
# How often you show that you are there: \"default\"; \"strict\", and a lost contact is noticed after 9 s instead of 30;
# or \"frugal\", as rarely as this network bears, for batteries. KNOTHOLE_KEEPALIVE takes precedence.
#keepalive = \"default\"

# Whether to find contacts on the LAN, and be found there, also without internet: true or false.
#lan_discovery = true

# Whether to ask the router for a port (UPnP, NAT-PMP, PCP), which makes direct paths likelier: true or false.
#port_mapping = true

# Strangers who have your link and want to be contacts: \"ask\", and you decide; \"none\", and they are not heard.
#requests = \"ask\"

# Whether messages may wait at a rendezvous, sealed, while whoever they are for is away: true or false.
# `knothole mailbox on` or `off` takes precedence.
#mailbox = false

# Whether contacts are told how far you have read, and you how far they have: true or false.
#receipts = true

# Whether contacts are told that you type, and you that they do: true or false.
#typing = true

# The terminal interface: `knothole` without a verb.
[terminal]

# Its language: \"auto\" (as LANG says), \"en\" or \"zh\".
#language = \"auto\"

# Its colours: \"auto\" (as the terminal's background is), \"dark\", \"light\" or \"plain\" (none; NO_COLOR does the same).
#theme = \"auto\"

# Whether it takes the mouse; the terminal's own selection then needs Shift: true or false.
#mouse = false

# Whether the desktop shows a notification for what comes while you do not look: true or false.
#notify = true

# Whether the terminal's bell rings for it: true or false.
#bell = true

# Whether a notification shows what was written, and not only by whom: true or false.
#previews = false

# \"full\", the whole screen; or \"plain\", lines that are only ever added, for screen readers.
#interface = \"full\"

# Whether the plain interface tells that a message of yours was delivered; /quiet is for the moment: true or false.
#deliveries = true
";

/// The text with these rendezvous. An address holds no character that TOML would want escaped.
fn template(rendezvous: &[RendezvousAddress]) -> String {
    if rendezvous.is_empty() {
        return format!("{HEAD}#rendezvous = []\n\n{REST}");
    }
    let addresses: String = rendezvous.iter().map(|address| format!("    \"{address}\",\n")).collect();
    format!("{HEAD}rendezvous = [\n{addresses}]\n\n{REST}")
}

/// Whether this is the text that nobody has changed, and that names no rendezvous.
fn untouched(text: &str) -> bool {
    text == template(&[])
}

impl Home {
    /// Whether there is a config.toml with something in it that a person, or a backup, has put there.
    pub(crate) fn has_own_configuration(&self) -> bool {
        match self.configuration_text() {
            Ok(text) => !untouched(&text) && self.configuration_path().exists(),
            // Whatever cannot be read is not ours to replace.
            Err(_) => true,
        }
    }

    /// Writes the first config.toml, with the rendezvous that were given.
    pub(super) fn begin_configuration(&self, given: &[RendezvousAddress]) -> Result<(), HomeError> {
        let done = || self.configuration_path().exists() && (given.is_empty() || self.has_own_configuration());
        if done() {
            return Ok(());
        }
        // Of two processes on a fresh home the one that was given nothing must not be the last.
        let failed = |source| HomeError::File { path: self.path().to_owned(), source };
        let directory = File::open(self.path()).map_err(failed)?;
        directory.lock().map_err(failed)?;
        if done() {
            return Ok(());
        }
        match self.put_configuration(template(given).as_bytes()) {
            // It is a courtesy then: one who keeps settings where they cannot be written knows why.
            Err(error) if given.is_empty() => {
                tracing::debug!(%error, "no config.toml was written");
                Ok(())
            }
            written => written,
        }
    }

    /// Registers at this rendezvous from now on, because the person here says so: in a home that names none it is written down as the
    /// first that was given; where another was named, and does not serve, it takes that one's place. `false`: config.toml is somebody's
    /// own and names none where one could be put, so that it is as it was.
    ///
    /// # Errors
    /// [`HomeError::Rendezvous`], [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn choose_rendezvous(&self, address: &RendezvousAddress) -> Result<bool, HomeError> {
        self.begin_configuration(slice::from_ref(address))?;
        let configured = self.configured_rendezvous()?;
        if let Some(former) = configured.first().filter(|_| !configured.contains(address)) {
            let text = self.configuration_text()?;
            let quoted = |address: &RendezvousAddress| format!("\"{address}\"");
            // Everything else in the file stays as it is, letter by letter.
            self.put_configuration(text.replacen(&quoted(former), &quoted(address), 1).as_bytes())?;
        }
        Ok(self.configured_rendezvous()?.contains(address))
    }

    /// Makes config.toml, or replaces it.
    pub(crate) fn put_configuration(&self, text: &[u8]) -> Result<(), HomeError> {
        let path = self.configuration_path();
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|source| HomeError::Directory { path: directory.to_owned(), source })?;
        }
        write(path, text)
    }

    /// The text of config.toml; empty where there is none.
    pub(crate) fn configuration_text(&self) -> Result<String, HomeError> {
        let path = self.configuration_path();
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|source| HomeError::File { path: path.to_owned(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use knothole_proto::identity::PublicKey;

    use super::super::tests::home;
    use super::*;

    #[test]
    fn a_rendezvous_that_does_not_serve_is_replaced_and_nothing_else_is() {
        let (_directory, home) = home();
        assert!(home.choose_rendezvous(&address("a.example")).unwrap());
        assert_eq!(home.configured_rendezvous().unwrap(), [address("a.example")]);
        let text = format!("# mine\ntyping = false\n{}", home.configuration_text().unwrap());
        home.put_configuration(text.as_bytes()).unwrap();
        assert!(home.choose_rendezvous(&address("b.example")).unwrap());
        let changed = home.configuration_text().unwrap();
        assert_eq!(changed, text.replace("a.example", "b.example"));
        assert!(home.choose_rendezvous(&address("b.example")).unwrap());
        assert_eq!(home.configuration_text().unwrap(), changed);

        // Where it could be put is not known here, and it is not ours to say.
        home.put_configuration(b"typing = false\n").unwrap();
        assert!(!home.choose_rendezvous(&address("a.example")).unwrap());
        assert_eq!(home.configuration_text().unwrap(), "typing = false\n");
    }

    fn address(host: &str) -> RendezvousAddress {
        RendezvousAddress { key: PublicKey::new([9; 32]), host: host.into(), port: 3478 }
    }

    fn text(home: &Home) -> String {
        fs::read_to_string(home.configuration_path()).unwrap()
    }

    /// The template with each default taken out of its comment.
    fn uncommented() -> String {
        let uncomment = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        template(&[]).lines().map(uncomment).collect()
    }

    #[test]
    fn a_fresh_home_is_given_every_option_with_its_default() {
        let (_directory, home) = home();
        let said_nothing = format!("{:?}", home.configuration().unwrap());
        assert_eq!(home.rendezvous(&[]).unwrap(), []);
        assert_eq!(text(&home), template(&[]));
        assert_eq!(format!("{:?}", home.configuration().unwrap()), said_nothing);
        fs::write(home.configuration_path(), uncommented()).unwrap();
        let said = format!("{:?}", home.configuration().unwrap());
        assert_eq!(said, said_nothing.replace("keepalive: None", "keepalive: Some(\"default\")"));
    }

    #[test]
    fn no_option_is_left_out() {
        let (_directory, home) = home();
        for (wrong, table) in [("x = 1", ""), ("[terminal]\nx = 1", "[terminal]\n")] {
            fs::write(home.configuration_path(), wrong).unwrap();
            let error = home.configured_rendezvous().unwrap_err().to_string();
            let (_, known) = error.split_once("expected one of ").unwrap();
            let options: Vec<_> = known.split('`').skip(1).step_by(2).collect();
            assert!(options.len() > 6, "{error}");
            let place = uncommented();
            let place = place.split_once(table).unwrap().1;
            for option in options.into_iter().filter(|option| *option != "terminal") {
                assert!(place.contains(&format!("\n{option} = ")), "{option}");
            }
        }
    }

    #[test]
    fn the_rendezvous_given_first_are_written_and_nothing_that_was_changed_is_overwritten() {
        let (_directory, home) = home();
        home.rendezvous(&[]).unwrap();
        let first = [address("a.example"), address("2001:db8::1")];
        assert_eq!(home.rendezvous(&first).unwrap(), first);
        assert_eq!(home.configured_rendezvous().unwrap(), first);
        assert!(text(&home).contains("#typing = true"));
        assert_eq!(home.rendezvous(&[address("b.example")]).unwrap(), [address("b.example")]);
        assert_eq!(home.configured_rendezvous().unwrap(), first);
        for own in ["", "# nothing\n", "typing = false\n"] {
            fs::write(home.configuration_path(), own).unwrap();
            home.rendezvous(&first).unwrap();
            assert_eq!(text(&home), own);
        }
    }

    #[test]
    fn of_processes_that_begin_at_once_the_one_that_was_given_a_rendezvous_counts() {
        let (_directory, home) = home();
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (home, barrier) = (&home, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let given = [address("a.example")];
                    home.rendezvous(if number == 0 { &given } else { &[] }).unwrap();
                });
            }
        });
        assert_eq!(home.configured_rendezvous().unwrap(), [address("a.example")]);
    }

    #[test]
    fn settings_that_cannot_be_written_matter_only_where_something_is_to_be_remembered() {
        let (_directory, home) = home();
        fs::create_dir(home.path().join("config.toml.new")).unwrap();
        assert_eq!(home.rendezvous(&[]).unwrap(), []);
        assert!(matches!(home.rendezvous(&[address("a.example")]), Err(HomeError::File { .. })));
    }

    #[test]
    fn a_configuration_apart_is_used_unless_one_lies_in_the_home() {
        let (directory, home) = home();
        let apart = directory.path().join("config").join("knothole");
        let configured = home.clone().configured(&apart);
        configured.rendezvous(&[address("a.example")]).unwrap();
        assert!(apart.join("config.toml").exists() && !home.configuration_path().exists());
        fs::write(home.configuration_path(), "typing = false\n").unwrap();
        let within = home.clone().configured(&apart);
        assert!(!within.typing().unwrap());
        assert_eq!(within.configured_rendezvous().unwrap(), []);
    }
}
