//! Text as the lines for people and programs show it.

use std::fmt;

use crate::event::{Image, Timestamp};

/// Arguments as one text, without `argv[0]`: in double quotes where one is empty or holds a space.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a>(pub &'a Image);

/// Whether a terminal shows this character as itself: letters, marks, numbers, punctuation, symbols and the
/// space. Controls, bidirectional and other format characters, private and unassigned ones are not.
pub(crate) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        // The standard library escapes what is not printable, and a mark only where it begins a string.
        _ => {
            let mut buffer = [b'a'; 5];
            let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
            str::from_utf8(&buffer[..end]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
        }
    }
}

/// A moment that formats as RFC 3339 in UTC; `{:.9}` gives nanoseconds.
pub(crate) fn moment(time: Timestamp) -> jiff::Timestamp {
    // Every u64 is in range: they end in the year 2554.
    jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default()
}

// === impl Arguments ===

impl Arguments<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.args().nth(1).is_none()
    }
}

impl fmt::Display for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.0.args().skip(1).enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let quote = if arg.is_empty() || arg.contains(' ') { "\"" } else { "" };
            [quote, arg, quote].into_iter().try_for_each(|part| f.write_str(part))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_is_what_a_terminal_shows_as_itself() {
        "aZ~ é日本🚀e\u{301}«€\u{fffd}".chars().for_each(|c| assert!(is_printable(c), "{c:?}"));
        let hidden = "\0\n\r\t\x1b\x7f\u{85}\u{9b}\u{a0}\u{ad}\u{200b}\u{200e}\u{2028}\u{202e}\u{2066}\u{feff}\u{e000}\u{10ffff}";
        hidden.chars().for_each(|c| assert!(!is_printable(c), "{c:?}"));
    }
}
