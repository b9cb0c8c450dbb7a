//! Quotes, where a text would not come out as one plain word.

use std::fmt::{self, Write as _};

use crate::text::is_printable;

/// A text as it is; or between double quotes with escapes in the manner of Go's `strconv.Quote`, where it is empty
/// or holds a space or a character that is not printable.
pub(super) struct Quoted<'a>(pub &'a str);

// === impl Quoted ===

impl Quoted<'_> {
    fn is_plain(&self) -> bool {
        !self.0.is_empty() && self.0.chars().all(|c| c != ' ' && is_printable(c))
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        self.0.chars().try_for_each(|c| write_escaped(c, f))?;
        f.write_char('"')
    }
}

fn write_escaped(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '"' | '\\' => write!(f, "\\{c}"),
        '\x07' => f.write_str("\\a"),
        '\x08' => f.write_str("\\b"),
        '\x0b' => f.write_str("\\v"),
        '\x0c' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        c if is_printable(c) => f.write_char(c),
        c => match u32::from(c) {
            code @ ..0x80 => write!(f, "\\x{code:02x}"),
            code @ ..0x1_0000 => write!(f, "\\u{code:04x}"),
            code => write!(f, "\\U{code:08x}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let expected = [
            ("plain", "plain"),
            ("/usr/bin/naïve", "/usr/bin/naïve"),
            (r#"a"b\c"#, r#"a"b\c"#),
            ("", r#""""#),
            ("a b", r#""a b""#),
            (r#"say "a\b""#, r#""say \"a\\b\"""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\x1b[31m\x7f", r#""\x1b[31m\x7f""#),
            ("\u{9b}31m", r#""\u009b31m""#),
            ("a\u{202e}b", r#""a\u202eb""#),
            ("\u{feff}", r#""\ufeff""#),
            ("\u{10ffff}", r#""\U0010ffff""#),
            ("日本 🚀", r#""日本 🚀""#),
        ];
        expected.into_iter().for_each(|(text, quoted)| assert_eq!(Quoted(text).to_string(), quoted));
    }
}
