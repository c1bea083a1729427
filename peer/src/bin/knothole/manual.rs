//! `man`: the manual, one page for the program and one for each verb, out of what `--help` says.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::arguments::Arguments;
use crate::output::Output;

/// Prints the page of the program, or writes all pages into a directory.
pub(crate) fn run(directory: Option<&Path>, output: &Output) -> anyhow::Result<()> {
    let Some(directory) = directory else {
        return Ok(output.text(&page(&whole()))?);
    };
    let failed = || format!("cannot write the manual to {}; choose a directory of yours", directory.display());
    fs::create_dir_all(directory).with_context(failed)?;
    let written = write(&whole(), directory).with_context(failed)?;
    output.aside(&format!("* {written} pages are in {}", directory.display()));
    Ok(())
}

/// The command line with all that clap adds to it.
fn whole() -> Command {
    let mut command = Arguments::command();
    command.build();
    command
}

/// Writes the page of a command and of all that are below it; returns how many.
fn write(command: &Command, directory: &Path) -> std::io::Result<usize> {
    fs::write(directory.join(format!("{}.1", name(command))), page(command))?;
    command.get_subcommands().try_fold(1, |written, verb| Ok(written + write(verb, directory)?))
}

/// `knothole-send`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    let rendered = render(command, &mut page);
    debug_assert!(rendered.is_ok(), "memory takes whatever is written");
    page
}

fn render(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let man = Man::new(command.clone()).source(concat!("knothole ", env!("CARGO_PKG_VERSION"))).manual("Knothole");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    if let Some(after) = command.get_after_help() {
        sections(&after.to_string()).to_writer(page)?;
    }
    Ok(())
}

/// What stands below the arguments: a line that ends in a colon is a section's title, what is indented stays as it is laid
/// out, and all else is running text.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut laid_out = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let indented = line.starts_with(' ');
        let goes_on = lines.peek().is_none_or(|next| next.starts_with(' '));
        if laid_out != indented && !(line.is_empty() && goes_on) {
            roff.control(if indented { "nf" } else { "fi" }, []);
            laid_out = indented;
        }
        match line.strip_suffix(':') {
            _ if line.is_empty() => roff.control(if laid_out { "sp" } else { "PP" }, []),
            Some(title) if !indented && goes_on => roff.control("SH", [title.to_uppercase().as_str()]),
            _ => roff.text([roman(line)]),
        };
    }
    if laid_out {
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_layout_and_running_text_are_told_apart() {
        let text = "Example:\n  knothole id --qr\n\n  .x\n\nA link is\nall of it.\n\nFiles:\n  a  b";
        let expected = ".SH EXAMPLE\n.nf\n  knothole id \\-\\-qr\n.sp\n  .x\n.fi\n.PP\nA link is\nall of it.\n.PP\n\
                        .SH FILES\n.nf\n  a  b\n.fi\n";
        let rendered = sections(text).to_roff();
        assert!(rendered.ends_with(expected), "{rendered}");
    }

    #[test]
    fn each_verb_has_a_page_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let written = write(&whole(), directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), written);
        for verb in whole().get_subcommands() {
            let page = fs::read_to_string(directory.path().join(format!("knothole-{}.1", verb.get_name()))).unwrap();
            assert!(page.contains(&format!("\\fBknothole {}\\fR", verb.get_name())), "{page}");
            assert!(page.contains(".SH OPTIONS"), "{page}");
        }
        let page = fs::read_to_string(directory.path().join("knothole.1")).unwrap();
        for section in ["\"FIRST STEPS\"", "ENVIRONMENT", "CONFIGURATION", "\"EXIT CODES\""] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{section}: {page}");
        }
    }
}
