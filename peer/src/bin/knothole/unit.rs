//! `daemon --unit` and `daemon --install`: the daemon as a service of the person's own systemd.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context as _, bail};
use etcetera::BaseStrategy as _;
use knothole::home::{HOME_VARIABLE, KEEPALIVE_VARIABLE, RENDEZVOUS_VARIABLE};
use knothole_proto::contact_link::RendezvousAddress;

use crate::arguments::Daemon;
use crate::output::Output;

const NAME: &str = "knothole.service";

/// What the arguments say of the peer that the unit is to run.
pub(crate) struct Run {
    pub(crate) home: Option<PathBuf>,
    pub(crate) rendezvous: Vec<RendezvousAddress>,
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What says where a home that nobody named lies, and what it does. The directories count only where they are absolute.
const ENVIRONMENT: [(&str, bool); 3] =
    [("XDG_DATA_HOME", true), ("XDG_CONFIG_HOME", true), (KEEPALIVE_VARIABLE, false)];

/// Prints the unit, or installs it. A service does not have the environment of the shell in which it is installed, so what
/// that says of home and rendezvous is put into the command, too, and the rest into the unit.
pub(crate) fn run(wanted: &Daemon, run: Run, output: &Output) -> anyhow::Result<()> {
    let Run { home, rendezvous, passphrase_file } = run;
    let current = env::current_exe().context("this program does not find itself; start it by its whole path")?;
    let program = env::args_os().next().and_then(|name| called(&name, &current)).unwrap_or(current);
    let home = home.or_else(|| env::var_os(HOME_VARIABLE).filter(|name| !name.is_empty()).map(Into::into));
    let mut command = vec![program.into_os_string()];
    for (argument, path) in [("--home", home), ("--passphrase-file", passphrase_file)] {
        if let Some(path) = path {
            let path = absolute(&path).with_context(|| format!("{} is no place; name another", path.display()))?;
            command.extend([argument.into(), path.into_os_string()]);
        }
    }
    let named = env::var(RENDEZVOUS_VARIABLE).unwrap_or_default();
    let named = named.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let given = rendezvous.iter().map(ToString::to_string);
    let rendezvous: Vec<_> = if rendezvous.is_empty() { named.map(str::to_owned).collect() } else { given.collect() };
    for address in rendezvous {
        command.extend(["--rendezvous".into(), address.into()]);
    }
    command.push("daemon".into());
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let environment = ENVIRONMENT.iter().filter_map(|(name, directory)| {
        let value = set(name).filter(|value| !directory || Path::new(value).is_absolute())?;
        Some(value.to_str().and_then(|value| assigned(name, value)))
    });
    let words = command.iter().enumerate().map(|(place, word)| {
        let word = word.to_str()?;
        if place == 0 { quoted(word) } else { argument(word) }
    });
    let (Some(words), Some(environment)) = (words.collect::<Option<Vec<_>>>(), environment.collect::<Option<String>>())
    else {
        bail!("systemd takes no line breaks or bytes that are no UTF-8 in a unit; rename what has them");
    };
    let unit = unit(&words.join(" "), &environment);
    if !wanted.install {
        return Ok(output.text(unit.as_bytes())?);
    }
    install(&unit, wanted.force, output)
}

fn install(unit: &str, force: bool, output: &Output) -> anyhow::Result<()> {
    let base = etcetera::choose_base_strategy().context("no directory for configuration is known here; set HOME")?;
    let directory = base.config_dir().join("systemd").join("user");
    let path = directory.join(NAME);
    let failed = || format!("cannot write {}; print the unit with --unit, and put it there yourself", path.display());
    let there = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.with_context(failed)?),
    };
    let replaced = match there {
        Some(there) if there == unit.as_bytes() => {
            output.aside(&format!("* {} is there already", path.display()));
            false
        }
        Some(_) if !force => bail!(
            "{} differs from what would be written; compare it with `knothole daemon --unit`, and replace it with --force",
            path.display()
        ),
        there => {
            fs::create_dir_all(&directory).and_then(|()| put(&path, unit)).with_context(failed)?;
            output.aside(&format!("* {} is written", path.display()));
            there.is_some()
        }
    };
    if replaced {
        output.aside("* next: systemctl --user daemon-reload && systemctl --user restart knothole");
    } else {
        output.aside("* next: systemctl --user enable --now knothole");
    }
    output.aside("* and, for it to run while you are not logged in: loginctl enable-linger");
    Ok(())
}

/// Whole or not at all.
fn put(path: &Path, unit: &str) -> io::Result<()> {
    let draft = path.with_extension("service.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&draft)?;
    file.write_all(unit.as_bytes())?;
    fs::rename(&draft, path)
}

/// The program as it was called, by its path or by its place in PATH. Links are not followed: where packages lie in directories of
/// their versions, the link stays when those go. `None` if that is not this program.
fn called(name: &OsStr, current: &Path) -> Option<PathBuf> {
    let is_current = |path: &PathBuf| {
        let ends = path.canonicalize().ok().zip(current.canonicalize().ok());
        ends.is_some_and(|(one, other)| one == other)
    };
    if name.as_bytes().contains(&b'/') {
        return absolute(name).ok().filter(is_current);
    }
    let paths = env::var_os("PATH")?;
    // What a shell finds first is what was called; the same program further on may be another tomorrow.
    let found = env::split_paths(&paths).map(|directory| directory.join(name)).find(|path| path.is_file())?;
    absolute(found).ok().filter(is_current)
}

/// The first word of a command as systemd reads it (systemd.service(5), "Command lines"); `None` if it cannot be said there.
fn quoted(word: &str) -> Option<String> {
    if word.contains(|c: char| c.is_control()) {
        return None;
    }
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    Some(if word.chars().all(plain) { escaped } else { format!("\"{escaped}\"") })
}

/// A further word of a command, in which `$` stands for variables.
fn argument(word: &str) -> Option<String> {
    quoted(word).map(|word| word.replace('$', "$$"))
}

/// A line that sets a variable (systemd.exec(5), "Environment="), in which `$` stands for itself.
fn assigned(name: &str, value: &str) -> Option<String> {
    quoted(&format!("{name}={value}")).map(|assignment| format!("Environment={assignment}\n"))
}

/// What a user's systemd can enforce without privileges: filters of system calls, and none of the mount namespaces, which
/// need a user namespace that many systems do not grant.
fn unit(command: &str, environment: &str) -> String {
    format!(
        "\
# Written by `knothole daemon --unit`; changes of yours belong in `systemctl --user edit knothole`.
#
# A home under a passphrase: put that into a file that only you can read, and say in `systemctl --user edit knothole`:
#   [Service]
#   LoadCredential=passphrase:%h/.config/knothole/passphrase
#   ExecStart=
#   ExecStart={command} --passphrase-file %d/passphrase
# (With systemd 256 or later it may be encrypted to this machine: systemd-creds encrypt --user --name=passphrase FILE OUT,
# and LoadCredentialEncrypted=. An EnvironmentFile= that sets KNOTHOLE_PASSPHRASE serves, too, where there is no other way.)

[Unit]
Description=Knothole messenger
Documentation=man:knothole-daemon(1)
# However often it fails, the network or the disk may be there the next time.
StartLimitIntervalSec=0

[Service]
Type=notify
{environment}ExecStart={command}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
# While an interface runs the engine of this home, it waits for that to end.
TimeoutStartSec=infinity
TimeoutStopSec=15
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_are_quoted_as_systemd_reads_them() {
        let said = |word| (quoted(word).unwrap(), argument(word).unwrap());
        let same = |word: &str| (word.to_owned(), word.to_owned());
        assert_eq!(said("/usr/bin/knothole"), same("/usr/bin/knothole"));
        assert_eq!(said("/home/a b/50%"), same("\"/home/a b/50%%\""));
        let program = "\"/$HOME/\\\"x\\\\\"";
        assert_eq!(said("/$HOME/\"x\\"), (program.to_owned(), program.replace('$', "$$")), "the first is the program");
        assert_eq!(assigned("A", "/a b/$c%"), Some("Environment=\"A=/a b/$c%%\"\n".to_owned()));
        assert_eq!(quoted("/a\nExecStartPost=/bin/sh"), None);
    }
}
