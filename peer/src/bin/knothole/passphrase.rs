//! Passphrases: where they come from, opening a home with one, and `knothole passphrase`.
//!
//! One comes from a file that an argument names, else from the environment, else from the terminal, where it is not shown.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use knothole::home::{EngineLock, Home, HomeError};
use knothole::passphrase;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::arguments::PassphraseVerb;
use crate::output::Output;
use crate::session::running;

/// Names the home's passphrase where no argument does.
const VARIABLE: &str = "KNOTHOLE_PASSPHRASE";
/// Names the new one when it is changed.
const NEW_VARIABLE: &str = "KNOTHOLE_NEW_PASSPHRASE";

/// Bytes of a passphrase at most: more than anybody types, less than a file that was named by mistake.
const MOST: u64 = 4096;

/// A passphrase, wiped from memory when it is dropped.
pub(crate) type Passphrase = Zeroizing<String>;

/// Where one may come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// A file that an argument names.
    pub(crate) file: Option<&'a Path>,
    /// The variable.
    pub(crate) variable: &'static str,
    /// The argument that would name a file.
    pub(crate) argument: &'static str,
}

impl<'a> Source<'a> {
    /// That of the home's own.
    pub(crate) const fn of_home(file: Option<&'a Path>) -> Self {
        Self { file, variable: VARIABLE, argument: "--passphrase-file" }
    }

    /// What was given without a person.
    pub(crate) fn given(self) -> anyhow::Result<Option<Passphrase>> {
        if let Some(path) = self.file {
            let named = || format!("cannot read the passphrase in {}", path.display());
            let mut text = Zeroizing::new(String::new());
            let file = File::open(path).with_context(named)?;
            file.take(MOST).read_to_string(&mut text).with_context(named)?;
            let line = text.lines().next().unwrap_or_default();
            return Ok(Some(Zeroizing::new(line.to_owned())));
        }
        match env::var(self.variable) {
            // Set and empty is how a shell takes a variable back for one command.
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => bail!("{} is no UTF-8 text; correct it", self.variable),
        }
    }

    /// What was given, else what is typed. A new one is typed twice.
    pub(crate) async fn ask(self, prompt: &str, new: bool) -> anyhow::Result<Passphrase> {
        if let Some(given) = self.given()? {
            return Ok(given);
        }
        let Some(terminal) = Terminal::open() else {
            bail!(
                "no passphrase is given; type it at a terminal, set {}, or use {} FILE",
                self.variable,
                self.argument
            );
        };
        let first = terminal.ask(prompt).await?;
        if new && *terminal.ask("The same again: ").await? != *first {
            bail!("the two are not the same; nothing was changed, try again");
        }
        Ok(first)
    }
}

/// Opens a home that is under a passphrase. Where its engine runs in another process it is needed only if it was given, and
/// then it must be right, too.
pub(crate) async fn unlock(home: &mut Home, file: Option<&Path>, alone: bool, output: &Output) -> anyhow::Result<()> {
    let source = Source::of_home(file);
    let given = source.given()?;
    if !home.is_sealed() {
        if given.is_some() {
            output.aside(
                "* this home is not encrypted, and its passphrase not needed; `knothole passphrase set` sets one",
            );
        }
        return Ok(());
    }
    let passphrase = match given {
        Some(given) => given,
        None if !alone && running(home).await.is_some() => return Ok(()),
        None if Terminal::open().is_some() => source.ask("Passphrase: ", false).await?,
        None => return Err(HomeError::Locked(home.path().to_owned()).into()),
    };
    let mut opened = home.clone();
    // It takes a quarter of a second, and signals are to be heard meanwhile.
    *home = tokio::task::spawn_blocking(move || opened.unlock(&passphrase).map(|()| opened)).await??;
    Ok(())
}

/// `knothole passphrase`.
pub(crate) async fn run(
    home: &mut Home,
    verb: PassphraseVerb,
    file: Option<PathBuf>,
    output: &Output,
) -> anyhow::Result<()> {
    let file = file.as_deref();
    match verb {
        PassphraseVerb::Set => {
            let lock = lock(home)?;
            if home.is_sealed() {
                return Err(passphrase::PassphraseError::AlreadySet.into());
            }
            let chosen = Source::of_home(file).ask("New passphrase: ", true).await?;
            passphrase::set(home, &lock, &chosen)?;
            output.aside("* encrypted; nobody can open this home without the passphrase, nor help if it is forgotten");
        }
        PassphraseVerb::Change { new_passphrase_file } => {
            if !home.is_sealed() {
                return Err(passphrase::PassphraseError::NotSet.into());
            }
            unlock(home, file, true, output).await?;
            let file = new_passphrase_file.as_deref();
            let source = Source { file, variable: NEW_VARIABLE, argument: "--new-passphrase-file" };
            passphrase::change(home, &source.ask("New passphrase: ", true).await?)?;
            output.aside("* changed");
        }
        PassphraseVerb::Remove => {
            let lock = lock(home)?;
            if !home.is_sealed() {
                return Err(passphrase::PassphraseError::NotSet.into());
            }
            unlock(home, file, true, output).await?;
            passphrase::remove(home, &lock)?;
            output.aside("* removed; whoever can read this home can read all that was said");
        }
    }
    Ok(())
}

fn lock(home: &Home) -> anyhow::Result<EngineLock> {
    home.engine_lock()?
        .with_context(|| format!("a knothole runs for {}; end it first, then try again", home.path().display()))
}

/// The terminal of this process, where a person is likely to look at it: what is sent may come from a pipe.
struct Terminal(File);

impl Terminal {
    fn open() -> Option<Self> {
        if !io::stdin().is_terminal() && !io::stderr().is_terminal() {
            return None;
        }
        let file = fs::OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        tcgetattr(file.as_fd()).is_ok().then_some(Self(file))
    }

    /// A line that is typed and not shown.
    async fn ask(&self, prompt: &str) -> anyhow::Result<Passphrase> {
        let failed = "the terminal cannot be used";
        let _hidden = Hidden::new(self.0.try_clone().context(failed)?).context(failed)?;
        let mut terminal = &self.0;
        terminal.write_all(prompt.as_bytes()).context(failed)?;
        let input = self.0.try_clone().context(failed)?;
        // Dropped over a signal, this leaves the thread to its read, and shows again what is typed.
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = Zeroizing::new(String::new());
            BufReader::new(input.take(MOST)).read_line(&mut line).map(|_| line)
        });
        let line = reading.await?.context(failed)?;
        terminal.write_all(b"\n").context(failed)?;
        Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

/// What is typed is not shown while this lives.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = tcsetattr(self.terminal.as_fd(), SetArg::TCSADRAIN, &self.before);
    }
}
