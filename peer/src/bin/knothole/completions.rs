//! `completions`: what a shell needs to complete the verbs, their arguments and files.
//!
//! It does not complete the names of contacts: that takes a program that the shell asks at every Tab, and clap's own for it
//! is not declared stable yet.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::output::Output;

pub(crate) fn run(shell: Shell, output: &Output) -> anyhow::Result<()> {
    Ok(output.text(&script(shell))?)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "knothole", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_is_told_of_every_verb() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for verb in Arguments::command().get_subcommands() {
                let told = words(*shell, verb.get_name());
                assert!(script.contains(&told), "{shell}: {told}");
            }
            assert!(!script.contains(&words(*shell, "frobnicate")), "{shell}");
            assert!(script.contains("passphrase-file"), "{shell}");
        }
    }

    /// How a shell's script has a verb of the program.
    fn words(shell: Shell, verb: &str) -> String {
        match shell {
            Shell::Bash => format!("knothole,{verb})"),
            Shell::Zsh => format!("'{verb}:"),
            Shell::Fish => format!(" -a \"{verb}\" "),
            Shell::Elvish => format!("&'knothole;{verb}'= {{"),
            Shell::PowerShell => format!("'knothole;{verb}' {{"),
            shell => panic!("how does {shell} name a verb?"),
        }
    }

    #[test]
    fn shells_that_are_installed_read_their_scripts() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut command = Command::new(shell.to_string());
            let Ok(mut reading) = command.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
                eprintln!("{shell} is not installed, and did not read its script");
                continue;
            };
            reading.stdin.take().unwrap().write_all(&script(shell)).unwrap();
            let read = reading.wait_with_output().unwrap();
            assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}");
        }
    }
}
