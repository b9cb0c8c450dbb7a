//! Text as the lines for people and programs show it.

use std::{borrow::Cow, fmt};

use crate::event::{Image, Timestamp, Value};

/// Arguments as one text, without `argv[0]`: in double quotes where one is empty or holds a space.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a>(pub &'a Image);

/// A value of a call, of bounded length: what is longer than [`VALUE_LIMIT`] ends in `…`. Bytes that are no UTF-8 are
/// shown as `\xNN`.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a>(pub &'a Value);

/// Bytes of a value that are shown.
pub(crate) const VALUE_LIMIT: usize = 1024;

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

/// Arguments that were put together by [`Arguments`], one by one. That an argument begins with a quote of its own can't
/// always be told from a quote that holds it together.
pub(crate) fn split_arguments(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text).filter(|text| !text.is_empty());
    // No quote ends any more, so that nobody has to look for one again.
    let mut unquoted = false;
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.strip_prefix('"').filter(|_| !unquoted).and_then(|inner| {
            let end = quoted_end(inner);
            unquoted = end.is_none();
            end
        });
        let (argument, after) = match end {
            Some(end) => (&text[1..=end], &text[end + 2..]),
            None => text.split_at(text.find(' ').unwrap_or(text.len())),
        };
        rest = after.strip_prefix(' ');
        Some(argument)
    })
}

/// Where the quote ends that holds an argument together: it is empty or has a space, and a space or nothing follows.
fn quoted_end(inner: &str) -> Option<usize> {
    let space = inner.find(' ').unwrap_or(inner.len());
    let ends = |at: usize| inner[at + 1..].is_empty() || inner[at + 1..].starts_with(' ');
    let mut quotes = inner.match_indices('"').map(|(at, _)| at);
    quotes.find(|at| ends(*at) && (*at == 0 || *at > space))
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

// === impl Shown ===

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Int(number) => number.fmt(f),
            Value::UInt(number) => number.fmt(f),
            Value::Long(number) => number.fmt(f),
            Value::Size(number) => number.fmt(f),
            Value::Text { text, truncated } => beginning(text, *truncated, f),
            Value::File(file) => f.write_str(&ending(&file.path, VALUE_LIMIT)),
            Value::Path { path, .. } => f.write_str(&ending(path, VALUE_LIMIT)),
            Value::Bytes { data, size } => bytes(data, *size, f),
            // Names of the kernel are short; a path is not.
            Value::Object(object) => beginning(&object.to_string(), false, f),
        }
    }
}

fn beginning(text: &str, truncated: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let end = text.floor_char_boundary(VALUE_LIMIT);
    f.write_str(&text[..end])?;
    f.write_str(if truncated || end < text.len() { "…" } else { "" })
}

fn bytes(data: &[u8], size: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Each may be shown as four characters.
    let shown = &data[..data.len().min(VALUE_LIMIT / 4)];
    for chunk in shown.utf8_chunks() {
        f.write_str(chunk.valid())?;
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
    }
    f.write_str(if size > shown.len() as u64 { "…" } else { "" })
}

/// The end of a path, which tells most, where it is longer than `limit` bytes.
pub(crate) fn ending(path: &str, limit: usize) -> Cow<'_, str> {
    if path.len() <= limit {
        return Cow::Borrowed(path);
    }
    let start = path.ceil_char_boundary(path.len() - limit);
    Cow::Owned(format!("…{}", &path[start..]))
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

    #[test]
    fn values_are_shown_bounded() {
        let shown = |value: Value| Shown(&value).to_string();
        let bytes = |data: &[u8], size| Value::Bytes { data: data.into(), size };
        assert_eq!(shown(Value::Int(-1)), "-1");
        assert_eq!(shown(Value::Size(u64::MAX)), "18446744073709551615");
        assert_eq!(shown(bytes(b"caf\xc3\xa9\xff\0", 7)), "café\\xff\0");
        assert_eq!(shown(bytes(b"ab", 9)), "ab…");
        assert_eq!(shown(Value::Text { text: "a".into(), truncated: true }), "a…");
        for value in [
            bytes(&[0xff; 100_000], 100_000),
            bytes("é".repeat(50_000).as_bytes(), 1 << 40),
            Value::Text { text: "é".repeat(50_000).into(), truncated: false },
            Value::Path { path: "é".repeat(50_000).into(), truncated: true, deleted: false },
        ] {
            let text = shown(value);
            assert!(text.len() <= VALUE_LIMIT + '…'.len_utf8() && text.contains('…'), "{}", text.len());
        }
    }

    #[test]
    fn arguments_come_apart_as_they_were_put_together() {
        let several: [&[&str]; 9] = [
            &[],
            &[""],
            &["a", "", "b c", ""],
            &["\"", "a"],
            &["\"quoted\"", "\\"],
            &["say \"hi\""],
            &["two\nlines", "tab\there", "\u{1b}[31m"],
            &["  ", " a", "a "],
            &["\"a", "\"b", "\"c"],
        ];
        for args in several {
            let argv: String = std::iter::once(&"x").chain(args).flat_map(|arg| [*arg, "\0"]).collect();
            let image = Image::new("/x", "", "/", &argv, None);
            let text = Arguments(&image).to_string();
            assert_eq!(split_arguments(&text).collect::<Vec<_>>(), args, "{text}");
        }
        // Much that looks like a quote takes no longer than anything else.
        assert_eq!(split_arguments(&"\"a ".repeat(1 << 20)).count(), (1 << 20) + 1);
    }

    #[test]
    fn of_a_long_path_the_end_is_kept() {
        assert_eq!(ending("/a/b", 4), "/a/b");
        assert_eq!(ending("/a/b/c", 4), "…/b/c");
        assert_eq!(ending("日本", 4), "…本");
    }
}
