//! Lines of bounded length from whatever can be read.

use std::io::{self, BufRead};

use super::ShowError;

/// Reads line by line.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// The number of the line that was read last, from 1.
    number: u64,
    /// Everything was taken that could be had without waiting.
    drained: bool,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    Line(&'a [u8]),
    /// More than [`MAX_LINE`] bytes; the next line can be read all the same.
    TooLong,
}

/// Bytes that are read at a time.
pub(super) const CHUNK: usize = 64 * 1024;

/// Bytes of a line. An event with the largest arguments that a policy can ask for is below it.
pub(super) const MAX_LINE: usize = 4 << 20;

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), number: 0, drained: true }
    }

    /// The next line and its number; none at the end. Calls `before_wait` when the rest of it may take long to come.
    pub(super) fn next(
        &mut self,
        mut before_wait: impl FnMut() -> Result<(), ShowError>,
    ) -> Result<Option<(u64, Read<'_>)>, ShowError> {
        self.line.clear();
        let mut len = 0;
        loop {
            if self.drained {
                before_wait()?;
            }
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available.map_err(ShowError::Read)?,
            };
            if available.is_empty() && len == 0 {
                return Ok(None);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            len += part.len();
            if len <= MAX_LINE {
                self.line.extend_from_slice(part);
            }
            let taken = end.map_or(part.len(), |end| end + 1);
            let is_last = available.is_empty();
            self.drained = taken == available.len();
            self.reader.consume(taken);
            // A line that has only its end counts as one, too.
            len += usize::from(end.is_some());
            if end.is_some() || is_last {
                self.number += 1;
                let whole = len - usize::from(end.is_some()) <= MAX_LINE;
                return Ok(Some((self.number, if whole { Read::Line(&self.line) } else { Read::TooLong })));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lengths(text: &[u8], capacity: usize) -> Vec<(u64, Option<usize>)> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, text));
        let mut lengths = Vec::new();
        while let Some((number, read)) = lines.next(|| Ok(())).unwrap() {
            let len = match read {
                Read::Line(line) => Some(line.len()),
                Read::TooLong => None,
            };
            lengths.push((number, len));
        }
        lengths
    }

    #[test]
    fn lines_are_what_ends_in_a_newline_and_what_is_left() {
        for capacity in [1, 2, 3, 100] {
            assert_eq!(lengths(b"", capacity), []);
            assert_eq!(lengths(b"\n", capacity), [(1, Some(0))]);
            assert_eq!(lengths(b"a\n\nbc", capacity), [(1, Some(1)), (2, Some(0)), (3, Some(2))]);
        }
    }

    #[test]
    fn after_a_line_that_is_too_long_comes_the_next() {
        let text = [vec![b'x'; MAX_LINE], vec![b'\n'], vec![b'y'; MAX_LINE + 1], b"\nz\n".to_vec()].concat();
        assert_eq!(lengths(&text, CHUNK), [(1, Some(MAX_LINE)), (2, None), (3, Some(1))]);
        assert_eq!(lengths(&vec![b'x'; MAX_LINE * 3], CHUNK), [(1, None)]);
    }
}
