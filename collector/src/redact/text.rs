//! A text in which secrets are looked for, and where one ends that begins at some place.

use std::{cell::Cell, ops::Range};

/// A text: arguments, variables, or what somebody wrote.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    kind: Kind,
    /// Its end may be missing.
    cut: bool,
    /// The argument and the word that were last asked for. Hostile text asks for the same ones over and over.
    argument: Cell<(usize, usize)>,
    word: Cell<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Arguments, each ended by NUL.
    Arguments,
    /// `NAME=value`, each ended by NUL.
    Variables,
    /// Anything.
    Prose,
}

/// Bytes of the flags that end in `-c`.
const FLAGS_BYTES: usize = 16;

/// Which bytes a token is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alphabet {
    /// Capital letters and digits.
    Capitals,
    /// Letters, digits, `_`.
    Word,
    /// Letters, digits, `_`, `-`.
    Url,
    /// As [`Self::Url`], with dots between its parts.
    Dotted,
    /// Base64 of either kind, padded or not, with dots between its parts.
    Base64,
}

// === impl Text ===

impl<'a> Text<'a> {
    fn new(bytes: &'a [u8], kind: Kind, cut: bool) -> Self {
        Self { bytes, kind, cut, argument: Cell::default(), word: Cell::default() }
    }

    pub(super) fn arguments(bytes: &'a [u8], cut: bool) -> Self {
        Self::new(bytes, Kind::Arguments, cut)
    }

    pub(super) fn variables(bytes: &'a [u8], cut: bool) -> Self {
        Self::new(bytes, Kind::Variables, cut)
    }

    pub(super) fn prose(bytes: &'a [u8], cut: bool) -> Self {
        Self::new(bytes, Kind::Prose, cut)
    }

    /// The byte before `at`.
    pub(super) fn before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).map(|before| self.bytes[before])
    }

    /// The argument that `at` is in.
    pub(super) fn argument(&self, at: usize) -> Range<usize> {
        if self.kind == Kind::Prose {
            return 0..self.bytes.len();
        }
        let (start, end) = self.argument.get();
        if (start..end).contains(&at) {
            return start..end;
        }
        let start = self.bytes[..at].iter().rposition(|byte| *byte == 0).map_or(0, |nul| nul + 1);
        let end = self.end_of(at, |byte| byte == 0);
        self.argument.set((start, end));
        start..end
    }

    /// Whether an argument is a program's text, of commands with arguments of their own, and not one value.
    pub(super) fn is_script(&self, argument: &Range<usize>) -> bool {
        match self.kind {
            Kind::Prose => true,
            Kind::Variables => false,
            Kind::Arguments => {
                let Some(end) = argument.start.checked_sub(1) else { return false };
                let before = &self.bytes[end.saturating_sub(FLAGS_BYTES)..end];
                let start = before.iter().rposition(|byte| *byte == 0).map_or(0, |nul| nul + 1);
                let before = &before[start..];
                let flags = before.strip_prefix(b"-").and_then(|flags| flags.strip_suffix(b"c"));
                flags.is_some_and(|flags| flags.iter().all(u8::is_ascii_alphabetic)) || before == b"eval"
            }
        }
    }

    /// The first place from `at` on where `stop` holds, or the end.
    pub(super) fn end_of(&self, at: usize, stop: impl Fn(u8) -> bool) -> usize {
        self.bytes[at..].iter().position(|byte| stop(*byte)).map_or(self.bytes.len(), |length| at + length)
    }

    /// Where the token ends that begins at `at`; none where it has less than `least` bytes. Where the text was cut,
    /// the rest of a shorter one is missing.
    pub(super) fn token(&self, at: usize, least: usize, alphabet: Alphabet) -> Option<usize> {
        let end = self.end_of(at, |byte| !alphabet.has(byte));
        let whole = end - at >= least || (self.cut && end == self.bytes.len());
        (whole && end > at).then_some(end)
    }

    /// Where a header's value ends that begins at `at`, in a header that begins at `start`: at the end of the line,
    /// or at the quote that the header, or the value, began with.
    pub(super) fn line(&self, start: usize, at: usize) -> usize {
        let argument = self.argument(at);
        let quote = self.bytes[argument.start.max(at.saturating_sub(256))..at]
            .iter()
            .rev()
            .find(|byte| matches!(byte, b'"' | b'\''));
        let quote = quote.copied().or_else(|| {
            // Without quotes it ends where the word does, in a program's text.
            (self.is_script(&argument) && self.kind != Kind::Prose && start > argument.start).then_some(b' ')
        });
        self.end_of(at, |byte| matches!(byte, 0 | b'\r' | b'\n') || Some(byte) == quote)
    }

    /// The value that begins at `at`, without its quotes, in a program's text; `opened` is what stands before its name.
    pub(super) fn word(&self, at: usize, opened: Option<u8>) -> Range<usize> {
        let rest = &self.bytes[at..];
        let escape = usize::from(rest.first() == Some(&b'\\') && matches!(rest.get(1), Some(b'"' | b'\'')));
        if let Some(quote @ (b'"' | b'\'')) = rest.get(escape) {
            let start = at + escape + 1;
            return start..self.quoted(start, *quote, escape == 1);
        }
        if let Some(quote @ (b'"' | b'\'')) = opened {
            return at..self.quoted(at, quote, false);
        }
        // A parameter of a URL ends with the parameters.
        let parameter = matches!(opened, Some(b'?' | b'&'));
        let (start, end) = self.word.get();
        if (start..end).contains(&at) && !parameter {
            return at..end;
        }
        let mut end = at;
        while let Some(byte) = self.bytes.get(end) {
            match byte {
                b'\\' if self.bytes.get(end + 1).is_some_and(|next| !matches!(next, 0 | b'"' | b'\'')) => {
                    end += 1
                }
                0 | b'"' | b'\'' | b'`' | b';' | b'&' | b'|' | b'<' | b'>' | b')' | b'}' => break,
                b',' if self.is_list(end + 1) => break,
                b'#' if parameter => break,
                byte if byte.is_ascii_whitespace() => break,
                _ => {}
            }
            end += 1;
        }
        let end = end.min(self.bytes.len());
        if !parameter {
            self.word.set((at, end));
        }
        at..end
    }

    /// Where what is quoted ends: at a quote like the one it began with, with a backslash before it or without.
    fn quoted(&self, at: usize, quote: u8, escaped: bool) -> usize {
        let mut end = at;
        loop {
            end = self.end_of(end, |byte| byte == quote || byte == 0);
            let backslash = end > at && self.before(end) == Some(b'\\');
            if self.bytes.get(end) == Some(&quote) && quote == b'"' && backslash != escaped {
                end += 1;
                continue;
            }
            return end - usize::from(backslash && escaped);
        }
    }

    /// Whether a name and its value follow a comma.
    fn is_list(&self, at: usize) -> bool {
        let end = self.end_of(at, |byte| !is_name(byte));
        end > at && end - at <= 64 && self.bytes.get(end) == Some(&b'=')
    }
}

/// Whether a byte may be part of an option's or a variable's name.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

// === impl Alphabet ===

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Self::Url => Self::Word.has(byte) || byte == b'-',
            Self::Dotted => Self::Url.has(byte) || byte == b'.',
            Self::Base64 => Self::Dotted.has(byte) || matches!(byte, b'+' | b'/' | b'=' | b'~'),
        }
    }
}
