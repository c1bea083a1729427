//! Records of trials: one JSON object a line, appended as they come, so that a run that is broken off loses nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file of records that grows.
#[derive(Debug)]
pub struct Records(File);

impl Records {
    /// Opens the file, which need not exist, and begins it with a line that says what wrote it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path, heading: &str) -> Result<Self> {
        let new = !path.exists();
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut records = Self(file.with_context(|| path.display().to_string())?);
        if new {
            writeln!(records.0, "# {heading}")?;
        }
        Ok(records)
    }

    /// Appends one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn push(&mut self, record: &impl Serialize) -> Result<()> {
        writeln!(self.0, "{}", serde_json::to_string(record)?).context("a record")
    }
}

/// All records of a file, and its heading; none of a file that does not exist.
///
/// # Errors
/// A line is no such record.
pub fn read<Record: DeserializeOwned>(path: &Path) -> Result<(String, Vec<Record>)> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let heading = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default().to_owned();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let record = |line| serde_json::from_str(line).with_context(|| format!("{}: {line}", path.display()));
    Ok((heading, lines.map(record).collect::<Result<_>>()?))
}

/// Milliseconds, to a tenth: finer than the lab's clock is true.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
