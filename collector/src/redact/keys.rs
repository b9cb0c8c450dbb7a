//! Options, variables, parameters and JSON keys whose name says that their value is a secret.

use std::{ops::Range, sync::LazyLock};

use regex::bytes::Regex;

use super::{
    MASK, Spans, rules,
    text::{Text, is_name},
};

/// The last word of a name that is one of a secret, an ending that changes nothing, and what the value follows: `=`,
/// the end of the argument, a space, or what stands between a key and a value in JSON.
pub(super) const PATTERN: &str = concat!(
    "(?i)(?:pass(?:word|wd|phrase|code|wort)?|pwd|secret|token|credentials?|_auth|psk|bearer",
    "|(?:access|account|admin|aes|api|app|auth|client|deploy|encrypt(?:ion)?|hmac|jwt|license|master|private|root",
    "|secret|service|session|shared|sign(?:ing)?|ssh|storage|webhook)[_.-]?key)",
    "(?:[_-]?(?:[0-9]{1,2}|base64|b64|value|hash|plain(?:text)?|string))?",
    r#"(?:[ \t]{1,2}=[ \t]{1,2}|\]?:?=|\x00|[ \t]+|\\?["'][ \t]{0,4}[:=][ \t]{0,4})"#,
);

static EXPRESSION: LazyLock<Option<Regex>> = LazyLock::new(|| rules::compile(PATTERN));

/// Bytes of a name that are looked at.
const NAME_BYTES: usize = 128;

/// What a name and its value are parted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parted {
    /// `name=value`
    Equals,
    /// `name`, and the value is the next argument.
    Argument,
    /// `name value`
    Space,
    /// `"name": "value"`
    Json,
}

/// Adds the values of what is named like a secret.
pub(super) fn find(text: &Text<'_>, spans: &mut Spans) {
    let Some(expression) = &*EXPRESSION else { return };
    let mut last = 0;
    for found in expression.find_iter(text.bytes) {
        // What is in a secret is a part of it.
        if found.end() < last {
            continue;
        }
        if let Some(span) = value(text, found.range()) {
            last = span.end;
            spans.push(span);
        }
    }
}

/// Whether a name is one of a secret.
pub(super) fn is_secret(name: &[u8]) -> bool {
    let text: Vec<u8> = [name, b"="].concat();
    let found = EXPRESSION.as_ref().and_then(|expression| expression.find_iter(&text).last());
    found.is_some_and(|found| found.end() == text.len() && named(&text, &(0..0), found.range()).is_some())
}

/// Whether a value is none that somebody must hide: nothing, a switch, or where the secret is to be found.
pub(super) fn is_harmless(value: &[u8]) -> bool {
    const SWITCHES: [&[u8]; 20] = [
        b"",
        b"0",
        b"1",
        b"-",
        b"true",
        b"false",
        b"yes",
        b"no",
        b"on",
        b"off",
        b"none",
        b"null",
        b"nil",
        b"auto",
        b"always",
        b"never",
        b"required",
        b"optional",
        b"prompt",
        b"stdin",
    ];
    const PLACES: [&[u8]; 7] = [b"env:", b"file:", b"fd:", b"id=", b"src=", b"source=", b"type="];
    value == MASK.as_bytes()
        || SWITCHES.iter().any(|switch| value.eq_ignore_ascii_case(switch))
        || PLACES.iter().any(|place| value.starts_with(place))
}

/// Whether a value is an option, and not that of the option before it.
pub(super) fn is_option(value: &[u8]) -> bool {
    value.starts_with(b"--") || (value.len() == 2 && value[0] == b'-')
}

/// Whether a value in a program's text is put in by the shell.
pub(super) fn is_expansion(value: &[u8]) -> bool {
    matches!(value, [b'$', next, ..] if next.is_ascii_alphabetic() || matches!(next, b'_' | b'{' | b'('))
        && value.iter().all(|byte| is_name(*byte) || matches!(byte, b'$' | b'{' | b'}' | b'(' | b')' | b':'))
}

/// The value whose key was found, without what is around it.
fn value(text: &Text<'_>, found: Range<usize>) -> Option<Range<usize>> {
    let argument = text.argument(found.start);
    let name = named(text.bytes, &argument, found.clone())?;
    let parted = parted(&text.bytes[found.clone()]);
    let option = text.bytes[name.start] == b'-';
    let script = text.is_script(&argument);
    let before = (name.start > argument.start).then(|| text.before(name.start)).flatten();
    // `-e NAME=value` in one: `--env=NAME=value`.
    let whole = !script
        && (before.is_none()
            || (text.bytes[argument.start] == b'-'
                && before == Some(b'=')
                && text.bytes[argument.start..name.start - 1].iter().all(|byte| is_name(*byte))));
    let at = found.end;
    let span = match parted {
        Parted::Argument if option && before.is_none() => at..text.argument(at.min(text.bytes.len())).end,
        Parted::Equals if whole => at..argument.end,
        Parted::Equals | Parted::Json => text.word(at, before),
        Parted::Space
            if option
                && before
                    .is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'(')) =>
        {
            text.word(at, None)
        }
        Parted::Argument | Parted::Space => return None,
    };
    let value = &text.bytes[span.clone()];
    let harmless = is_harmless(value)
        || (matches!(parted, Parted::Argument | Parted::Space) && is_option(value))
        || (!whole && is_expansion(value))
        || (is_of_file(&text.bytes[name.start..found.end]) && is_path(value));
    (!harmless).then_some(span)
}

/// The name whose last word was found; none where the word is a part of another, harmless one.
fn named(text: &[u8], argument: &Range<usize>, found: Range<usize>) -> Option<Range<usize>> {
    let earliest = argument.start.max(found.start.saturating_sub(NAME_BYTES));
    let length = text[earliest..found.start].iter().rev().take_while(|byte| is_name(**byte)).count();
    let name = found.start - length..found.end;
    let (before, word) = (&text[name.start..found.start], &text[found]);
    let is = |prefix: &[u8]| word.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    let parted = before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let ends = |word: &[u8]| {
        before.len().checked_sub(word.len()).is_some_and(|at| before[at..].eq_ignore_ascii_case(word))
    };
    let apart = |words: &[&[u8]]| parted || words.iter().any(|word| ends(word));
    let secret = if is(b"pwd") {
        // `PWD` and `OLDPWD` are directories.
        !before.is_empty() && !before.eq_ignore_ascii_case(b"old")
    } else if is(b"pass") && !is(b"passw") && !is(b"passp") && !is(b"passc") {
        apart(&[
            b"store", b"key", b"db", b"user", b"root", b"admin", b"my", b"http", b"proxy", b"ftp", b"smtp",
            b"mail", b"ldap", b"bind", b"pg", b"mysql", b"redis", b"require",
        ])
    } else if is(b"bearer") || is(b"psk") {
        parted
    } else {
        true
    };
    secret.then_some(name)
}

fn parted(key: &[u8]) -> Parted {
    let trimmed = key.trim_ascii_end();
    match trimmed.last() {
        _ if trimmed.iter().any(|byte| matches!(byte, b'"' | b'\'')) => Parted::Json,
        Some(b'=') => Parted::Equals,
        _ if key.ends_with(b"\0") => Parted::Argument,
        _ => Parted::Space,
    }
}

/// Whether what is so named is as often a file as the key itself.
fn is_of_file(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let has = |word: &[u8]| lower.windows(word.len()).any(|window| window == word);
    has(b"credential") || has(b"token") || (has(b"key") && !has(b"secret") && !has(b"api"))
}

fn is_path(value: &[u8]) -> bool {
    let begins = [&b"/"[..], b"./", b"../", b"~/"].iter().any(|begin| value.starts_with(begin));
    begins && !value.ends_with(b"=") && value.iter().take(256).filter(|byte| **byte == b'/').count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_secret() {
        for name in [
            "password",
            "DB_PASS",
            "clientSecret",
            "GITHUB_TOKEN",
            "MYSQL_PWD",
            "api-key",
            "aws_secret_access_key",
        ] {
            assert!(is_secret(name.as_bytes()), "{name}");
        }
        for name in
            ["PWD", "OLDPWD", "bypass", "compass", "password_file", "TOKEN_TTL", "monkey", "key", "tokens"]
        {
            assert!(!is_secret(name.as_bytes()), "{name}");
        }
    }
}
