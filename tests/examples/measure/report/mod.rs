//! docs/measurements.md, from the records alone.

mod first_letter;
mod gaps;
mod hard;
mod matrix;
mod rest;
mod sign_in;
mod spread;
mod torture;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use knothole_lab::trial::record::read;
use serde::de::DeserializeOwned;

use crate::campaign::{FIRST_LETTER, GAPS, HARD, MATRIX, REST, SIGN_IN, TORTURE};

const OPENING: &str = "\
# Measurements

How Knothole fares between networks. One command measures all of it and writes this page from its raw records, which are kept
beside, one JSON object a line, in [measurements/](measurements/):

```
cargo run --release -p knothole-tests --example measure -- all        # --help names the parts
```

**On what.** The real binaries, each peer in a Linux network namespace of its own, new home, new identity; routers are models
of RFC 4787's terms in user space on the real clock, or the kernel's own nftables; one machine with two cores carries peers, routers
and rendezvous, several trials at once. Every site is 20 ms from the core each way and the rendezvous stands in the core: so
one way between two sites takes 40 ms, directly or through the rendezvous, and a round trip 80 ms. Tens of milliseconds more
than a multiple of these are the machine.

**Beside them** stand figures of iroh 1.4.1 with its own relay, measured once on the same kind of machine, in namespaces with the
same delays. They are not measured by this command.
";

/// Writes the page.
pub(crate) fn write(documents: &Path) -> Result<()> {
    let records = documents.join("measurements");
    let mut page = OPENING.to_owned();
    section(&mut page, &records, MATRIX, "Every pair of networks", matrix::tables)?;
    section(&mut page, &records, HARD, "Symmetric against port-restricted", hard::table)?;
    section(&mut page, &records, GAPS, "When networks change", gaps::table)?;
    section(&mut page, &records, FIRST_LETTER, "The first message", first_letter::table)?;
    section(&mut page, &records, SIGN_IN, "Going online", sign_in::table)?;
    section(&mut page, &records, REST, "Being there", rest::table)?;
    section(&mut page, &records, TORTURE, "Nothing written is lost", torture::table)?;
    page += &as_it_is(&records, "store.txt", "A million messages on the disk")?;
    page += &as_it_is(&records, "terminal.txt", "A long conversation at the terminal")?;
    let path = documents.join("measurements.md");
    fs::write(&path, page).with_context(|| path.display().to_string())
}

fn section<Record: DeserializeOwned>(
    page: &mut String,
    directory: &Path,
    file: &str,
    title: &str,
    tables: impl FnOnce(&[Record]) -> String,
) -> Result<()> {
    let (heading, records) = read::<Record>(&directory.join(file))?;
    if !records.is_empty() {
        let tables = tables(&records);
        *page += &format!("\n## {title}\n\n`{heading}`: [{file}](measurements/{file})\n\n{tables}");
    }
    Ok(())
}

/// What another command has measured, which can be read as it stands.
fn as_it_is(directory: &Path, file: &str, title: &str) -> Result<String> {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(format!("\n## {title}\n\n[{file}](measurements/{file})\n\n```\n{text}```\n"))
}

/// A row of a table.
fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<_> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
fn head(cells: &[&str]) -> String {
    row(cells.iter().map(|cell| (*cell).to_owned())) + &row(cells.iter().map(|_| "---".to_owned()))
}

/// What went wrong, one line each, as many as anybody reads.
fn failures<'a>(failures: impl Iterator<Item = (String, &'a Option<String>)>) -> String {
    /// Beyond, the raw records serve better.
    const LISTED: usize = 20;
    let all: Vec<_> = failures.filter_map(|(of, failure)| failure.as_ref().map(|why| (of, why))).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!("\nFailed, {} in all:\n\n", all.len());
    for (of, why) in all.iter().take(LISTED) {
        let line = why.lines().next().unwrap_or_default();
        text += &format!("- {of}: {line}\n");
    }
    if all.len() > LISTED {
        text += &format!("- … and {} more\n", all.len() - LISTED);
    }
    text
}
