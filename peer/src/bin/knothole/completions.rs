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
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_is_told_of_every_verb() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for verb in Arguments::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
            assert!(script.contains("passphrase-file"), "{shell}");
        }
    }
}
