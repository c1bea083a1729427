//! The first config.toml of a home: every option with its meaning, its range and its default.
//!
//! It is put where there is none, and completed with the rendezvous while nobody has set anything in it: while each of its lines is
//! blank, a comment, the table's name or the list of rendezvous as it is written here. So the text of another version counts, too. A
//! file in which a person has set something is never written again, and of others only that list is.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::slice;

use knothole_proto::contact_link::RendezvousAddress;

use super::{Home, HomeError, write};

const HEAD: &str = "\
# What this Knothole does. All of it is optional: a line that begins with # and a word shows the default; take the #
# away and change it. It is read when Knothole starts. What you change here is never overwritten.

# Where you are known, and others find you: \"<key>@<host>:<port>\", which a rendezvous prints when it starts; several,
# the preferred first. An argument --rendezvous, or KNOTHOLE_RENDEZVOUS, takes precedence.";

const REST: &str = "
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

/// The list where it is empty, and how one begins and ends that is not. All stand on lines of their own.
const NONE: &str = "\n#rendezvous = []\n";
const BEGIN: &str = "\nrendezvous = [\n";
const END: &str = "]\n";
/// What an address stands between.
const ADDRESS: (&str, &str) = ("    \"", "\",\n");

/// The text with these rendezvous.
fn template(rendezvous: &[RendezvousAddress]) -> String {
    Written { before: HEAD, listed: Vec::new(), after: REST }.with(rendezvous)
}

/// A text in which nobody has set anything, but perhaps the rendezvous as we write them.
struct Written<'a> {
    before: &'a str,
    listed: Vec<&'a str>,
    after: &'a str,
}

impl<'a> Written<'a> {
    /// `None`: it is somebody's own.
    fn of(text: &'a str) -> Option<Self> {
        let (before, listed, after) = if let Some((before, rest)) = text.split_once(BEGIN) {
            let end = rest.find("\n]\n")? + 1;
            let (list, after) = rest.split_at(end);
            let address = |line: &'a str| line.strip_prefix(ADDRESS.0)?.strip_suffix(ADDRESS.1);
            let listed = list.split_inclusive('\n').map(address).collect::<Option<Vec<_>>>()?;
            (before, listed, after.strip_prefix(END)?)
        } else {
            let (before, after) = text.split_once(NONE)?;
            (before, Vec::new(), after)
        };
        let silent = |line: &str| line.trim().is_empty() || line.starts_with('#');
        let unset = before.lines().all(silent) && after.lines().all(|line| silent(line) || line == "[terminal]");
        unset.then_some(Self { before, listed, after })
    }

    /// The text with these rendezvous. An address holds no character that TOML would want escaped.
    fn with(&self, rendezvous: &[RendezvousAddress]) -> String {
        let Self { before, after, .. } = self;
        if rendezvous.is_empty() {
            return format!("{before}{NONE}{after}");
        }
        let (left, right) = ADDRESS;
        let addresses: String = rendezvous.iter().map(|address| format!("{left}{address}{right}")).collect();
        format!("{before}{BEGIN}{addresses}{END}{after}")
    }
}

impl Home {
    /// Whether there is a config.toml with something in it that a person, or a backup, has put there. A link is a person's.
    pub(crate) fn has_own_configuration(&self) -> bool {
        match fs::symlink_metadata(self.configuration_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Ok(there) if there.is_file() => !self.names_nothing(),
            // Whatever cannot be read is not ours to replace.
            _ => true,
        }
    }

    /// Whether there is a config.toml in which nothing is set at all.
    fn names_nothing(&self) -> bool {
        let text = self.configuration_text();
        text.is_ok_and(|text| Written::of(&text).is_some_and(|written| written.listed.is_empty()))
    }

    /// Whether nobody has set anything in config.toml, but that some rendezvous may have been remembered there.
    pub(super) fn is_as_written(&self) -> bool {
        self.configuration_text().is_ok_and(|text| Written::of(&text).is_some())
    }

    /// Writes the first config.toml, with the rendezvous that were given. It is a courtesy: who keeps settings where they cannot be
    /// written is told, where something was to be remembered, and can go on.
    pub(super) fn begin_configuration(&self, given: &[RendezvousAddress]) -> Result<(), HomeError> {
        let done = || there(self.configuration_path()) && (given.is_empty() || !self.names_nothing());
        if done() {
            return Ok(());
        }
        // Of two processes on a fresh home the one that was given nothing must not be the last.
        let _locked = self.make()?;
        if done() {
            return Ok(());
        }
        let text = self.configuration_text()?;
        let text = Written::of(&text).map_or_else(|| template(given), |written| written.with(given));
        match self.put_configuration(text.as_bytes()) {
            Err(error) if given.is_empty() => tracing::debug!(%error, "no config.toml was written"),
            Err(error) => tracing::warn!(%error, "the rendezvous is not remembered in config.toml"),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Registers at this rendezvous from now on, because the person here says so: in a home that names none it is written down as the
    /// first that was given; where another was named, and does not serve, it takes that one's place. `false`: config.toml is somebody's
    /// own and does not name it, or cannot be written, so that it is as it was.
    ///
    /// # Errors
    /// [`HomeError::Rendezvous`], [`HomeError::Configuration`] or [`HomeError::File`].
    pub fn choose_rendezvous(&self, address: &RendezvousAddress) -> Result<bool, HomeError> {
        self.begin_configuration(slice::from_ref(address))?;
        let mut configured = self.configured_rendezvous()?;
        if configured.contains(address) {
            return Ok(true);
        }
        if let Some(former) = configured.first_mut() {
            former.clone_from(address);
            let text = self.configuration_text()?;
            if let Some(written) = Written::of(&text)
                && let Err(error) = self.put_configuration(written.with(&configured).as_bytes())
            {
                tracing::warn!(%error, "the rendezvous is not remembered in config.toml");
            }
        }
        Ok(self.configured_rendezvous()?.contains(address))
    }

    /// Makes config.toml, or replaces it; where it is a link, what that leads to.
    pub(crate) fn put_configuration(&self, text: &[u8]) -> Result<(), HomeError> {
        let path = self.configuration_path();
        if there(path) {
            let end = path.canonicalize().map_err(|source| HomeError::File { path: path.to_owned(), source })?;
            return write(&end, text);
        }
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

/// Whether something is there, be it a link that leads nowhere.
pub(super) fn there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use knothole_proto::identity::PublicKey;

    use super::super::tests::home;
    use super::*;

    #[test]
    fn a_rendezvous_that_does_not_serve_is_replaced_while_nobody_has_set_anything() {
        let (_directory, home) = home();
        assert!(home.choose_rendezvous(&address("a.example")).unwrap());
        assert_eq!(home.configured_rendezvous().unwrap(), [address("a.example")]);
        // What a person has noted stays, even where it looks like what is replaced.
        let note = format!("# formerly \"{}\"\n", address("a.example"));
        let text = format!("{note}{}{note}", home.configuration_text().unwrap());
        home.put_configuration(text.as_bytes()).unwrap();
        assert!(home.choose_rendezvous(&address("b.example")).unwrap());
        let changed = home.configuration_text().unwrap();
        assert_eq!(changed, format!("{note}{}{note}", template(&[address("b.example")])));
        assert!(home.choose_rendezvous(&address("b.example")).unwrap());
        assert_eq!(home.configuration_text().unwrap(), changed);

        // What somebody has set something in is theirs.
        let listed = format!("rendezvous = [\n    \"{}\",\n]\n", address("b.example"));
        for own in [
            "typing = false\n",
            &changed.replace("#typing = true", "typing = false"),
            &format!("\n{listed}mailbox = true\n"),
            &listed,
        ] {
            home.put_configuration(own.as_bytes()).unwrap();
            assert!(!home.choose_rendezvous(&address("c.example")).unwrap(), "{own}");
            assert_eq!(home.configuration_text().unwrap(), *own);
        }
    }

    #[test]
    fn the_text_of_another_version_is_completed_as_ours_is() {
        let (_directory, home) = home();
        let older = template(&[]).replace("#typing = true", "#tipping = true");
        for version in [older.clone(), older.replace("[terminal]\n", "")] {
            fs::write(home.configuration_path(), &version).unwrap();
            assert!(!home.has_own_configuration());
            home.rendezvous(&[address("a.example")]).unwrap();
            assert_eq!(home.configured_rendezvous().unwrap(), [address("a.example")]);
            assert!(text(&home).contains("#tipping"), "only the list is written");
            assert!(home.has_own_configuration() && home.is_as_written());
        }
    }

    #[test]
    fn a_link_stays_one_and_one_that_leads_nowhere_is_left_alone() {
        let (directory, home) = home();
        let (kept, link) = (directory.path().join("kept.toml"), home.configuration_path());
        std::os::unix::fs::symlink(&kept, link).unwrap();
        home.rendezvous(&[address("a.example")]).unwrap();
        assert!(!home.choose_rendezvous(&address("a.example")).unwrap());
        assert!(!kept.exists() && home.has_own_configuration());

        fs::write(&kept, template(&[])).unwrap();
        assert!(home.has_own_configuration(), "a backup does not replace it");
        assert!(home.choose_rendezvous(&address("a.example")).unwrap());
        assert_eq!(fs::read_to_string(&kept).unwrap(), template(&[address("a.example")]));
        assert_eq!(fs::read_link(link).unwrap(), kept);
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
    fn settings_that_cannot_be_written_keep_nobody_from_what_they_want() {
        let (_directory, home) = home();
        let given = [address("a.example")];
        fs::create_dir(home.path().join("config.toml.new")).unwrap();
        assert_eq!(home.rendezvous(&[]).unwrap(), []);
        assert_eq!(home.rendezvous(&given).unwrap(), given);
        assert!(!home.choose_rendezvous(&given[0]).unwrap(), "it is not kept");
        assert!(!home.configuration_path().exists());
    }

    #[test]
    fn a_configuration_apart_is_used_unless_a_persons_own_lies_in_the_home() {
        let (directory, home) = home();
        let apart = directory.path().join("config").join("knothole");
        let configured = home.clone().configured(&apart);
        configured.rendezvous(&[address("a.example")]).unwrap();
        assert!(apart.join("config.toml").exists() && !home.configuration_path().exists());
        // Written because somebody named that directory once.
        home.rendezvous(&[address("b.example")]).unwrap();
        assert_eq!(home.clone().configured(&apart).configured_rendezvous().unwrap(), [address("a.example")]);
        fs::write(home.configuration_path(), "typing = false\n").unwrap();
        let within = home.clone().configured(&apart);
        assert!(!within.typing().unwrap());
        assert_eq!(within.configured_rendezvous().unwrap(), []);
    }

    #[test]
    fn what_lies_in_the_home_is_used_where_nothing_lies_apart() {
        let (directory, home) = home();
        home.rendezvous(&[address("a.example")]).unwrap();
        let configured = home.clone().configured(&directory.path().join("config"));
        assert_eq!(configured.configuration_path(), home.configuration_path());
    }
}
