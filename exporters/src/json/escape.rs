//! JSON's escapes, and more of them: whoever looks at the lines on a terminal sees nothing but what is printable.

use std::io::{self, Write};

use serde_json::ser::Formatter;

use crate::text::is_printable;

/// Appends a text of JSON that somebody else wrote, so that a terminal shows nothing but what is printable. A parser
/// reads the same: what is not printable can only stand within texts, but for the white space between tokens.
pub fn push_printable(json: &str, out: &mut Vec<u8>) {
    for (index, part) in json.split(['\t', '\n', '\r']).enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        // Writing to a Vec can't fail.
        let _ = Printable.write_string_fragment(out, part);
    }
}

/// serde_json's compact form, where `\uXXXX` also stands for the characters that a terminal would obey or hide:
/// DEL, the C1 controls (U+009B begins an escape sequence), bidirectional and other format characters.
/// A parser reads the same text.
pub(super) struct Printable;

// === impl Printable ===

impl Formatter for Printable {
    fn write_string_fragment<W>(&mut self, writer: &mut W, mut fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        // The names of the fields come this way too, and nearly all else is ASCII.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let hidden = |c: char| !is_printable(c);
        while let Some(at) = fragment.find(hidden) {
            writer.write_all(&fragment.as_bytes()[..at])?;
            let rest = fragment[at..].trim_start_matches(hidden);
            let run = &fragment[at..fragment.len() - rest.len()];
            run.encode_utf16().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
            fragment = rest;
        }
        writer.write_all(fragment.as_bytes())
    }
}
