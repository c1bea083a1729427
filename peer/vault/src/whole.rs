//! A database sealed and unsealed as a whole, page by page.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use crate::Key;
use crate::slots::{Disk, Failure, Layout, OVERHEAD, PAGE, Slots};

/// Why a file was not sealed or unsealed.
#[derive(Debug)]
pub enum Refused {
    /// The system refuses.
    Disk(io::Error),
    /// What should be sealed is no database that can be: at rest, in write-ahead mode, with pages of 4,096 bytes.
    Unfit,
    /// What should be unsealed does not open: it is damaged, or sealed with another key.
    Damaged,
}

/// Seals the database `plain`, which nobody has open, into the new file `sealed` (mode 0600), and syncs it.
///
/// # Errors
/// [`Refused`].
pub fn seal(plain: &Path, sealed: &Path, key: &Key) -> Result<(), Refused> {
    let mut source = BufReader::with_capacity(64 * PAGE, File::open(plain)?);
    let mut target = Sequential(BufWriter::with_capacity(64 * PAGE, create(sealed)?));
    let mut slots = database(key)?;
    let mut page = vec![0; PAGE];
    let mut offset = 0;
    while fill(&mut source, &mut page)? {
        if offset == 0 && !fits(&page) {
            return Err(Refused::Unfit);
        }
        slots.write(&mut target, &page, offset)?;
        offset += PAGE as u64;
    }
    finish(target)
}

/// Writes what the sealed database holds into the new file `plain` (mode 0600), and syncs it.
///
/// # Errors
/// [`Refused`].
pub fn unseal(sealed: &Path, plain: &Path, key: &Key) -> Result<(), Refused> {
    let mut reader = Reader::new(Arc::new(File::open(sealed)?), key)?;
    let mut target = BufWriter::with_capacity(64 * PAGE, create(plain)?);
    let mut page = vec![0; PAGE];
    while reader.page(&mut page)? {
        target.write_all(&page)?;
    }
    finish(Sequential(target))
}

/// What a sealed database holds, from its beginning to its end as it was at first. Nobody may write to it meanwhile.
pub struct Reader {
    slots: Slots,
    file: Positioned,
    offset: u64,
    size: u64,
}

impl Reader {
    /// Reads `file`, whose own position makes no difference.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn new(file: Arc<File>, key: &Key) -> Result<Self, Refused> {
        let size = file.metadata()?.len();
        if size % (PAGE + OVERHEAD) as u64 != 0 {
            return Err(Refused::Damaged);
        }
        Ok(Self { slots: database(key)?, file: Positioned(file), offset: 0, size: Layout::Database.size(size) })
    }

    /// Reads the next page, 4,096 bytes; whether there was one.
    ///
    /// # Errors
    /// [`Refused::Disk`], or [`Refused::Damaged`].
    pub fn page(&mut self, page: &mut [u8]) -> Result<bool, Refused> {
        if self.offset == self.size {
            return Ok(false);
        }
        self.slots.read(&mut self.file, page, self.offset)?;
        self.offset += PAGE as u64;
        Ok(true)
    }
}

pub(crate) fn database(key: &Key) -> Result<Slots, Refused> {
    Ok(Slots::new(Layout::Database, key.cipher("database").ok_or(Refused::Unfit)?))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn finish(target: Sequential) -> Result<(), Refused> {
    let file = target.0.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}

/// Whether page 1 is that of a database which fits (file format, 1.3): the size of its pages, and both versions 2, which is
/// write-ahead mode.
fn fits(page: &[u8]) -> bool {
    page.starts_with(b"SQLite format 3\0") && page[16..20] == [0x10, 0x00, 2, 2]
}

/// Whether there was a page more.
fn fill(source: &mut impl Read, page: &mut [u8]) -> Result<bool, Refused> {
    let mut filled = 0;
    while filled < page.len() {
        match source.read(&mut page[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(Refused::Unfit),
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// A file that is written from its beginning to its end.
struct Sequential(BufWriter<File>);

impl Disk for Sequential {
    type Error = io::Error;

    fn read(&mut self, _buffer: &mut [u8], _at: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write(&mut self, bytes: &[u8], _at: u64) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// A file that is read.
struct Positioned(Arc<File>);

impl Disk for Positioned {
    type Error = io::Error;

    fn read(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_exact_at(buffer, at).map(|()| buffer.len())
    }

    fn write(&mut self, _bytes: &[u8], _at: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Failure<io::Error>> for Refused {
    fn from(failure: Failure<io::Error>) -> Self {
        match failure {
            Failure::Disk(error) => Self::Disk(error),
            Failure::Damaged | Failure::Short => Self::Damaged,
            Failure::Misfit => Self::Unfit,
        }
    }
}
