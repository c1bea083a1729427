//! Lines out of a stream of bytes.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// A stream, line by line.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    limit: usize,
    line: Vec<u8>,
    too_long: bool,
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    /// It had more bytes than the limit, and is gone.
    TooLong,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R, limit: usize) -> Self {
        Self { reader: BufReader::new(reader), limit, line: Vec::new(), too_long: false }
    }

    /// The next line; `None` at the end of the stream. What stands after the last line's end is a line, too, if it is not
    /// empty. Dropping the future loses nothing: the next call goes on where it was.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                let rest = self.too_long || !self.line.is_empty();
                return Ok(rest.then(|| self.take()));
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > self.limit {
                self.too_long = true;
                self.line = Vec::new();
            } else if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> Line {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) { Line::TooLong } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn lines(bytes: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(bytes, 5);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.into())
    }

    #[tokio::test]
    async fn lines_end_with_a_line_feed_or_with_the_stream() {
        assert_eq!(lines(b"").await, []);
        assert_eq!(lines(b"a\n\nb").await, [whole("a"), whole(""), whole("b")]);
        assert_eq!(lines(b"a\r\n").await, [whole("a\r")]);
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_told_and_the_next_one_is_read() {
        assert_eq!(lines(b"12345\n123456\n1").await, [whole("12345"), Line::TooLong, whole("1")]);
        let long = vec![b'x'; 100_000];
        assert_eq!(lines(&[&long, &b"\nab\n"[..], &long].concat()).await, [Line::TooLong, whole("ab"), Line::TooLong]);
    }

    #[tokio::test]
    async fn a_read_that_was_given_up_loses_nothing() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut lines = Lines::new(near, 64);
        far.write_all(b"ab").await.unwrap();
        tokio::select! {
            biased;
            _ = lines.next() => panic!("the line is not complete"),
            () = tokio::task::yield_now() => {}
        }
        far.write_all(b"cd\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(whole("abcd")));
    }
}
