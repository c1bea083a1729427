//! The bytes of a backup, in chunks that are sealed one by one.
//!
//! ```text
//! a wrapped key (see `wrapping`) │ chunk 0 │ chunk 1 │ … │ the last chunk
//! ```
//! Each chunk is nonce (12), ciphertext of 64 KiB (the last one: of what is left, perhaps nothing), tag (16). Its number, and
//! whether it is the last, are authenticated with it: none can be left out, repeated or moved, nor the end be cut off. The key is
//! new for each backup, so no chunk fits another one.

use std::io::{self, Read, Write};

use knothole_vault::Key;

/// Bytes in a chunk.
const CHUNK: usize = 64 * 1024;
/// Bytes that it is longer for being sealed.
const OVERHEAD: usize = 12 + 16;

const PURPOSE: &str = "backup";

fn context(number: u64, last: bool) -> [u8; 9] {
    let mut context = [u8::from(last); 9];
    context[1..].copy_from_slice(&number.to_be_bytes());
    context
}

/// Seals what is written. Without [`finish`](Self::finish) it is no backup.
pub(super) struct Sealing<W> {
    target: W,
    key: Key,
    number: u64,
    content: Vec<u8>,
}

impl<W: Write> Sealing<W> {
    pub(super) fn new(target: W, key: Key) -> Self {
        Self { target, key, number: 0, content: Vec::with_capacity(CHUNK) }
    }

    /// Writes the last chunk, and gives the target back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.chunk(true)?;
        Ok(self.target)
    }

    fn chunk(&mut self, last: bool) -> io::Result<()> {
        let sealed = self.key.seal(PURPOSE, &context(self.number, last), &self.content);
        self.target.write_all(&sealed.ok_or_else(|| io::Error::other("the system gives no random numbers"))?)?;
        self.number += 1;
        self.content.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits: it may be the last.
        if self.content.len() == CHUNK {
            self.chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.content.len());
        self.content.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what was sealed, up to its end. Anything that is not as it was written is an error of the kind
/// [`InvalidData`](io::ErrorKind::InvalidData).
pub(super) struct Opening<R> {
    source: R,
    key: Key,
    number: u64,
    /// The beginning of the next chunk: whether there is one tells whether this is the last.
    ahead: Vec<u8>,
    content: zeroize::Zeroizing<Vec<u8>>,
    taken: usize,
    ended: bool,
}

impl<R: Read> Opening<R> {
    pub(super) fn new(source: R, key: Key) -> Self {
        let content = zeroize::Zeroizing::default();
        Self { source, key, number: 0, ahead: Vec::new(), content, taken: 0, ended: false }
    }

    fn chunk(&mut self) -> io::Result<()> {
        let wanted = (CHUNK + OVERHEAD + 1 - self.ahead.len()) as u64;
        (&mut self.source).take(wanted).read_to_end(&mut self.ahead)?;
        let length = self.ahead.len().min(CHUNK + OVERHEAD);
        let rest = self.ahead.split_off(length);
        let last = rest.is_empty();
        let opened = self.key.open(PURPOSE, &context(self.number, last), &self.ahead);
        self.content = opened.ok_or(io::ErrorKind::InvalidData)?;
        self.ahead = rest;
        self.taken = 0;
        self.number += 1;
        self.ended = last;
        Ok(())
    }
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.content.len() {
            if self.ended {
                return Ok(0);
            }
            self.chunk()?;
        }
        let length = buffer.len().min(self.content.len() - self.taken);
        buffer[..length].copy_from_slice(&self.content[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new([5; 32])
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::new(Vec::new(), key());
        sealing.write_all(content).unwrap();
        sealing.finish().unwrap()
    }

    fn opened(sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Opening::new(sealed, key()).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn what_is_sealed_comes_out_whatever_its_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            assert_eq!(opened(&sealed(&content)).unwrap(), content, "{length}");
        }
    }

    #[test]
    fn nothing_can_be_cut_off_left_out_repeated_moved_added_or_changed() {
        let whole = sealed(&vec![7; 2 * CHUNK + 100]);
        let chunk = CHUNK + OVERHEAD;
        let mut wrong = vec![whole[..2 * chunk].to_vec(), whole[..chunk].to_vec(), Vec::new(), whole[chunk..].to_vec()];
        wrong.push([&whole[chunk..2 * chunk], &whole[..chunk], &whole[2 * chunk..]].concat());
        wrong.push([&whole[..chunk], &whole].concat());
        wrong.push([whole.as_slice(), b"x"].concat());
        for at in (0..whole.len()).step_by(9973).chain([whole.len() - 1]) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            wrong.push(changed);
            wrong.push(whole[..at].to_vec());
        }
        for sealed in wrong {
            assert_eq!(opened(&sealed).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
