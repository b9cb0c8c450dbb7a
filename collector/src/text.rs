//! Bytes from processes, made into text that every way out can carry.

/// Appends `bytes` as text: what isn't UTF-8 becomes `\xNN`, a byte at a time. Returns whether anything did.
pub fn push_escaped(bytes: &[u8], out: &mut String) -> bool {
    let mut escaped = false;
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            escaped = true;
            out.push_str("\\x");
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
            }
        }
    }
    escaped
}

/// Bytes as text of their own: [`push_escaped`].
pub fn escaped(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(bytes.len());
    push_escaped(bytes, &mut text);
    text.into()
}

/// `args` without a character at its end that was cut in the middle, where `cut` says that something was.
pub fn trim_cut(args: &[u8], cut: bool) -> &[u8] {
    // A character has four bytes at most: no longer tail can be the beginning of one.
    let tail = (1..=args.len().min(3)).find(|back| args[args.len() - back] & 0xc0 != 0x80);
    match tail {
        Some(back)
            if cut
                && std::str::from_utf8(&args[args.len() - back..])
                    .is_err_and(|e| e.error_len().is_none()) =>
        {
            &args[..args.len() - back]
        }
        _ => args,
    }
}

/// The first `most` arguments of `args` (each ended by NUL, but for the last), and whether that left any out.
pub fn first_args(args: &[u8], most: usize) -> (&[u8], bool) {
    let mut ends = args.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(index, _)| index + 1);
    match most.checked_sub(1).and_then(|last| ends.nth(last)) {
        Some(end) if end < args.len() => (&args[..end], true),
        _ => (args, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_utf8_is_escaped() {
        let mut out = String::new();
        assert!(!push_escaped("grüße\u{1b}[31m".as_bytes(), &mut out));
        assert!(push_escaped(b" a\xff\xc3(", &mut out));
        assert_eq!(out, "grüße\u{1b}[31m a\\xff\\xc3(");
    }

    #[test]
    fn a_cut_character_goes_only_where_something_was_cut() {
        let cut = &"aé".as_bytes()[..2];
        assert_eq!(trim_cut(cut, true), b"a");
        assert_eq!(trim_cut(cut, false), cut);
        assert_eq!(trim_cut("aé".as_bytes(), true), "aé".as_bytes());
        assert_eq!(trim_cut(b"a\xff", true), b"a\xff");
        assert_eq!(trim_cut(b"\x80\x80\x80\x80\x80", true), b"\x80\x80\x80\x80\x80");
        assert_eq!(trim_cut(b"", true), b"");
    }

    #[test]
    fn arguments_are_counted() {
        assert_eq!(first_args(b"a\0b\0c\0", 2), (&b"a\0b\0"[..], true));
        assert_eq!(first_args(b"a\0b\0", 2), (&b"a\0b\0"[..], false));
        assert_eq!(first_args(b"a\0b", 1), (&b"a\0"[..], true));
        assert_eq!(first_args(b"", 1), (&b""[..], false));
        assert_eq!(first_args(b"\0\0\0", 2), (&b"\0\0"[..], true));
    }
}
