//! How a sealed file lies on the disk.
//!
//! What SQLite writes at one time is a *slot*, sealed by itself with AES-256-GCM: nonce (12 random bytes), ciphertext, tag (16).
//! The kind of file and the place in it are authenticated with it, so no slot can stand in for another.
//!
//! ```text
//! the database:  page 1 (4096 + 28) │ page 2 (4096 + 28) │ …
//! the log:       header (32 + 28) │ frame header (24 + 28) │ page (4096 + 28) │ frame header …
//! ```
//! The log's slots are the pieces in which SQLite writes it, where it may count on a write that fails to harm nothing beside
//! it: so no write ever touches the slot of an earlier one, and what was committed stays whole whatever happens after it.
//! A slot in the log that was torn by a power cut reads as zeros, as which SQLite takes it for the log's end; a page of the
//! database or of the log's middle that does not open is an error.
//!
//! Nonces are random: after 2³² writes of pages (16 TiB) under one key the odds of a repeated one are about one in 2³³.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

/// Bytes of a page of the database.
pub(crate) const PAGE: usize = 4096;
/// Bytes that a slot is longer than what it holds.
pub(crate) const OVERHEAD: usize = NONCE_LEN + TAG;

const TAG: usize = 16;
/// The log's own header, and that of a frame: SQLite's file format, 4.1.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + PAGE;
const SEALED_FRAME: usize = FRAME + 2 * OVERHEAD;

/// Which of the two kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The database.
    Database,
    /// Its write-ahead log.
    Log,
}

/// A piece that is sealed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    /// Where it begins, as SQLite counts.
    start: u64,
    /// Bytes that it holds.
    length: usize,
    /// Where it begins on the disk.
    at: u64,
}

/// The bytes beneath.
pub(crate) trait Disk {
    /// What SQLite is told of a failure.
    type Error;

    /// Fills the buffer from `at` on, as far as there is anything; returns how far.
    fn read(&mut self, buffer: &mut [u8], at: u64) -> Result<usize, Self::Error>;
    /// Writes all of it at `at`.
    fn write(&mut self, bytes: &[u8], at: u64) -> Result<(), Self::Error>;
}

/// Why something was not read or written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure<E> {
    /// The disk refuses.
    Disk(E),
    /// The slot does not open: it is damaged, or sealed with another key.
    Damaged,
    /// There is less than was asked for; the rest is zeros.
    Short,
    /// It is no whole slot that was to be written, or there are no random numbers.
    Misfit,
}

impl Layout {
    fn slot(self, offset: u64) -> Slot {
        match self {
            Self::Database => {
                let page = offset / PAGE as u64;
                Slot { start: page * PAGE as u64, length: PAGE, at: page * (PAGE + OVERHEAD) as u64 }
            }
            Self::Log => match offset.checked_sub(LOG_HEADER as u64) {
                None => Slot { start: 0, length: LOG_HEADER, at: 0 },
                Some(after) => {
                    let frame = after / FRAME as u64;
                    let start = LOG_HEADER as u64 + frame * FRAME as u64;
                    let at = (LOG_HEADER + OVERHEAD) as u64 + frame * SEALED_FRAME as u64;
                    if after % (FRAME as u64) < FRAME_HEADER as u64 {
                        Slot { start, length: FRAME_HEADER, at }
                    } else {
                        let header = (FRAME_HEADER, FRAME_HEADER + OVERHEAD);
                        Slot { start: start + header.0 as u64, length: PAGE, at: at + header.1 as u64 }
                    }
                }
            },
        }
    }

    /// How much SQLite finds in a file of `sealed` bytes: whole slots.
    pub(crate) fn size(self, sealed: u64) -> u64 {
        match self {
            Self::Database => sealed / (PAGE + OVERHEAD) as u64 * PAGE as u64,
            Self::Log => match sealed.checked_sub((LOG_HEADER + OVERHEAD) as u64) {
                None => 0,
                Some(after) => {
                    let header = after % SEALED_FRAME as u64 >= (FRAME_HEADER + OVERHEAD) as u64;
                    let header = if header { FRAME_HEADER as u64 } else { 0 };
                    LOG_HEADER as u64 + after / SEALED_FRAME as u64 * FRAME as u64 + header
                }
            },
        }
    }

    /// The bytes on the disk that hold `size` of SQLite's.
    pub(crate) fn sealed_size(self, size: u64) -> u64 {
        size.checked_sub(1).map_or(0, |last| {
            let slot = self.slot(last);
            slot.at + (slot.length + OVERHEAD) as u64
        })
    }

    /// Binds a slot to its place.
    fn place(self, slot: Slot) -> [u8; 9] {
        let mut place = [0; 9];
        place[0] = match self {
            Self::Database => 1,
            Self::Log => 2,
        };
        place[1..].copy_from_slice(&slot.start.to_be_bytes());
        place
    }
}

/// A file's slots: its layout, its key and room for one slot.
pub(crate) struct Slots {
    layout: Layout,
    cipher: LessSafeKey,
    buffer: Vec<u8>,
}

impl Slots {
    pub(crate) fn new(layout: Layout, cipher: LessSafeKey) -> Self {
        Self { layout, cipher, buffer: Vec::with_capacity(PAGE + OVERHEAD) }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Fills `target` with what SQLite has written from `offset` on.
    pub(crate) fn read<D: Disk>(
        &mut self,
        disk: &mut D,
        target: &mut [u8],
        offset: u64,
    ) -> Result<(), Failure<D::Error>> {
        // A frame is asked for whole when the log is looked through after a crash, and only then may it be torn.
        let recovering = match self.layout {
            // The beginning of page 1 is looked at before the log is, which may hold the page whole.
            Layout::Database => target.len() < PAGE,
            Layout::Log => self.layout.slot(offset).length != PAGE,
        };
        let mut done = 0;
        while done < target.len() {
            let at = offset + done as u64;
            let slot = self.layout.slot(at);
            let skipped = usize::try_from(at - slot.start).map_err(|_| Failure::Misfit)?;
            let taken = (slot.length - skipped).min(target.len() - done);
            let part = &mut target[done..done + taken];
            match self.open(disk, slot) {
                Ok(content) => part.copy_from_slice(&content[skipped..skipped + taken]),
                Err(Failure::Damaged) if recovering => part.fill(0),
                Err(failure) => {
                    target[done..].fill(0);
                    return Err(failure);
                }
            }
            done += taken;
        }
        Ok(())
    }

    fn open<D: Disk>(&mut self, disk: &mut D, slot: Slot) -> Result<&[u8], Failure<D::Error>> {
        self.buffer.resize(slot.length + OVERHEAD, 0);
        let length = disk.read(&mut self.buffer, slot.at).map_err(Failure::Disk)?;
        if length < self.buffer.len() {
            return Err(Failure::Short);
        }
        // A page that was passed over when the file grew: a hole, as which SQLite knows it.
        if self.buffer.iter().all(|byte| *byte == 0) {
            return Ok(&self.buffer[..slot.length]);
        }
        let place = Aad::from(self.layout.place(slot));
        let (nonce, sealed) = self.buffer.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Failure::Damaged)?;
        self.cipher.open_in_place(nonce, place, sealed).map(|content| &*content).map_err(|_| Failure::Damaged)
    }

    /// Writes whole slots.
    pub(crate) fn write<D: Disk>(&mut self, disk: &mut D, bytes: &[u8], offset: u64) -> Result<(), Failure<D::Error>> {
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let slot = self.layout.slot(at);
            let content = rest.split_off(..slot.length).filter(|_| slot.start == at).ok_or(Failure::Misfit)?;
            at += slot.length as u64;
            let mut nonce = [0; NONCE_LEN];
            aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Failure::Misfit)?;
            self.buffer.clear();
            self.buffer.extend_from_slice(&nonce);
            self.buffer.extend_from_slice(content);
            let place = Aad::from(self.layout.place(slot));
            let nonce = Nonce::assume_unique_for_key(nonce);
            let sealed = &mut self.buffer[NONCE_LEN..];
            let tag = self.cipher.seal_in_place_separate_tag(nonce, place, sealed).map_err(|_| Failure::Misfit)?;
            self.buffer.extend_from_slice(tag.as_ref());
            disk.write(&self.buffer, slot.at).map_err(Failure::Disk)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    impl Disk for Vec<u8> {
        type Error = ();

        fn read(&mut self, buffer: &mut [u8], at: u64) -> Result<usize, ()> {
            let at = usize::try_from(at).unwrap().min(self.len());
            let length = buffer.len().min(self.len() - at);
            buffer[..length].copy_from_slice(&self[at..at + length]);
            Ok(length)
        }

        fn write(&mut self, bytes: &[u8], at: u64) -> Result<(), ()> {
            let at = usize::try_from(at).unwrap();
            self.resize(self.len().max(at + bytes.len()), 0);
            self[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    fn slots(layout: Layout) -> Slots {
        Slots::new(layout, Key::new([7; 32]).cipher("test").unwrap())
    }

    /// A log of two frames as SQLite writes one.
    fn log() -> (Slots, Vec<u8>) {
        let (mut slots, mut disk) = (slots(Layout::Log), Vec::new());
        let mut at = 0;
        for (length, fill) in [(32, 1), (24, 2), (4096, 3), (24, 4), (4096, 5)] {
            slots.write(&mut disk, &vec![fill; length], at).unwrap();
            at += length as u64;
        }
        (slots, disk)
    }

    #[test]
    fn what_was_written_is_read_in_any_pieces() {
        let (mut slots, mut disk) = log();
        let mut whole = vec![0; 32 + 2 * FRAME];
        slots.read(&mut disk, &mut whole, 0).unwrap();
        assert_eq!([whole[31], whole[32], whole[56], whole[32 + FRAME], whole[56 + FRAME]], [1, 2, 3, 4, 5]);
        for (offset, length) in [(24, 8), (30, 4), (48, 16), (32 + FRAME as u64 - 1, 30)] {
            let mut piece = vec![0; length];
            slots.read(&mut disk, &mut piece, offset).unwrap();
            let offset = usize::try_from(offset).unwrap();
            assert_eq!(piece, whole[offset..offset + length]);
        }
        assert!(!disk.windows(8).any(|run| run.iter().all(|byte| *byte == run[0])), "nothing shows through");
    }

    #[test]
    fn sizes_are_counted_in_whole_slots() {
        let (slots, disk) = log();
        for cut in 0..=disk.len() as u64 {
            let size = slots.layout().size(cut);
            assert!(slots.layout().sealed_size(size) <= cut);
            assert!(slots.layout().sealed_size(size + 1) > cut);
        }
        assert_eq!(slots.layout().size(disk.len() as u64), 32 + 2 * FRAME as u64);
        assert_eq!(Layout::Database.size(3 * (PAGE + OVERHEAD) as u64 - 1), 2 * PAGE as u64);
        assert_eq!(Layout::Database.sealed_size(2 * PAGE as u64), 2 * (PAGE + OVERHEAD) as u64);
    }

    #[test]
    fn a_torn_frame_ends_the_log_and_a_damaged_page_is_an_error() {
        let (mut slots, mut disk) = log();
        let second = 32 + FRAME as u64;
        let at = usize::try_from(slots.layout().slot(second + 24).at).unwrap();
        disk[at + 1000] ^= 1;
        let mut frame = vec![9; FRAME];
        slots.read(&mut disk, &mut frame, second).unwrap();
        assert_eq!((frame[23], frame[24]), (4, 0));
        assert_eq!(slots.read(&mut disk, &mut frame[..PAGE], second + 24), Err(Failure::Damaged));
    }

    #[test]
    fn a_slot_does_not_open_in_another_place_or_file_or_with_another_key() {
        let mut disk = Vec::new();
        let mut database = slots(Layout::Database);
        database.write(&mut disk, &[1; 2 * PAGE], 0).unwrap();
        let mut page = [0; PAGE];
        database.read(&mut disk, &mut page, PAGE as u64).unwrap();
        let mut swapped = disk.split_off(PAGE + OVERHEAD);
        swapped.append(&mut disk);
        assert_eq!(database.read(&mut swapped, &mut page, 0), Err(Failure::Damaged));
        let mut other = Slots::new(Layout::Database, Key::new([8; 32]).cipher("test").unwrap());
        assert_eq!(other.read(&mut swapped, &mut page, PAGE as u64), Err(Failure::Damaged));
    }

    #[test]
    fn a_hole_and_what_lies_beyond_the_end_are_zeros() {
        let mut disk = Vec::new();
        let mut database = slots(Layout::Database);
        database.write(&mut disk, &[1; PAGE], 2 * PAGE as u64).unwrap();
        let mut page = [9; PAGE];
        database.read(&mut disk, &mut page, PAGE as u64).unwrap();
        assert_eq!(page, [0; PAGE]);
        page.fill(9);
        assert_eq!(database.read(&mut disk, &mut page, 3 * PAGE as u64), Err(Failure::Short));
        assert_eq!(page, [0; PAGE]);
    }

    #[test]
    fn what_is_no_whole_slot_is_not_written() {
        let mut disk = Vec::new();
        let mut database = slots(Layout::Database);
        assert_eq!(database.write(&mut disk, &[1; 512], 0), Err(Failure::Misfit));
        assert_eq!(database.write(&mut disk, &[1; PAGE], 512), Err(Failure::Misfit));
        assert!(disk.is_empty());
    }
}
