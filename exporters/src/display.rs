//! The line that a person reads: an event's command, on one line, harmless to a terminal, of bounded length.

use std::fmt::Write as _;

use crate::{
    event::{Exit, Hook, HookKind, Image, PathRef},
    names,
    text::{ending as tail, is_printable},
};

/// Bytes of a command after which it is cut.
const COMMAND_LIMIT: usize = 256;

/// Appends the executable and its arguments, as `/usr/bin/printf "two words" 3`.
///
/// Arguments that hold a space, a quote or nothing are quoted, and what could act on a terminal is escaped. A longer
/// command is cut and ends in `…`.
pub fn command(image: &Image, out: &mut String) {
    let start = out.len();
    word(image.binary(), start, out);
    for argument in image.args().skip(1) {
        if full(start, out) {
            break;
        }
        out.push(' ');
        word(argument, start, out);
    }
    if full(start, out) {
        out.push('…');
    }
}

/// Appends the executable alone.
pub(super) fn binary(image: &Image, out: &mut String) {
    let start = out.len();
    word(image.binary(), start, out);
    if full(start, out) {
        out.push('…');
    }
}

/// Appends how an execution ended: `exit code 1`, `SIGSEGV (core dumped)`.
pub fn ending(exit: &Exit, out: &mut String) {
    // Writing to a String can't fail.
    let _ = match exit.signal {
        0 => write!(out, "exit code {}", exit.code),
        signal => write!(out, "{}", names::signal(signal)),
    };
    out.push_str(if exit.core_dumped { " (core dumped)" } else { "" });
}

/// Appends what `write` does, with escapes in place of what could act on a terminal.
pub fn harmless(out: &mut String, write: impl FnOnce(&mut String)) {
    let start = out.len();
    write(out);
    if out[start..].chars().all(is_printable) {
        return;
    }
    let written = out.split_off(start);
    for character in written.chars() {
        match character {
            plain if is_printable(plain) => out.push(plain),
            hidden => out.extend(hidden.escape_default()),
        }
    }
}

/// Appends what the call is, as `read /etc/passwd 340 bytes` or `sys_setuid(0)`, and what was done about it.
pub fn describe(hook: &Hook, out: &mut String) {
    // Writing to a String can't fail.
    let path = hook.paths().next().filter(|_| hook.operation().is_some());
    let _ = match (path, hook.source.kind()) {
        (Some(PathRef { path, .. }), _) => {
            let verb = hook.event_name().trim_start_matches("file.");
            write!(out, "{verb} {}", tail(path, DESCRIBED))
        }
        (None, HookKind::Kprobe { .. } | HookKind::Lsm { .. }) => write!(out, "{}", hook.function()),
        (None, HookKind::Tracepoint { subsystem, event }) => write!(out, "{subsystem}/{event}"),
        (None, HookKind::Uprobe { path, symbol, offset, .. }) if symbol.is_empty() => {
            write!(out, "{offset:#x} of {}", tail(path, DESCRIBED))
        }
        (None, HookKind::Uprobe { path, symbol, .. }) => {
            write!(out, "{} of {}", tail(symbol, DESCRIBED), tail(path, DESCRIBED))
        }
        (None, HookKind::Usdt { path, provider, name }) => {
            write!(
                out,
                "{}:{} of {}",
                tail(provider, DESCRIBED),
                tail(name, DESCRIBED),
                tail(path, DESCRIBED)
            )
        }
    };
    if let Some(bytes) = hook.bytes() {
        let _ = write!(out, " {bytes} bytes");
    }
    if hook.enforced() {
        let _ = write!(out, ": {}", hook.action.word());
    }
}

/// Bytes of a path in a description.
const DESCRIBED: usize = 256;

fn full(start: usize, out: &str) -> bool {
    out.len() - start >= COMMAND_LIMIT
}

fn word(word: &str, start: usize, out: &mut String) {
    // Only what can still be shown is looked at: an argument may be 16 KiB long.
    let quoted = word.is_empty() || word.chars().take(COMMAND_LIMIT).any(|c| c.is_whitespace() || c == '"');
    if quoted {
        out.push('"');
    }
    for character in word.chars() {
        if full(start, out) {
            return;
        }
        match character {
            '"' => out.push_str("\\\""),
            plain if is_printable(plain) => out.push(plain),
            hidden => out.extend(hidden.escape_default()),
        }
    }
    if quoted {
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(binary: &str, args: &str) -> String {
        let mut out = String::new();
        command(&Image::new(binary, "", "/", args, None), &mut out);
        out
    }

    #[test]
    fn a_command_is_one_harmless_line() {
        assert_eq!(shown("/bin/true", "true\0"), "/bin/true");
        assert_eq!(
            shown("/bin/x", "x\0two words\0\0say \"hi\"\0"),
            "/bin/x \"two words\" \"\" \"say \\\"hi\\\"\""
        );
        assert_eq!(shown("/bin/x", "x\0\u{1b}[31m\n\0"), "/bin/x \"\\u{1b}[31m\\n\"");
        assert_eq!(shown("", ""), "\"\"");
    }

    #[test]
    fn a_long_command_is_cut() {
        let long = shown("/bin/x", &format!("x\0{}\0after\0", "ä".repeat(9_000)));
        assert!(long.ends_with("ä…") && long.len() < COMMAND_LIMIT + 8, "{long}");
        let many = shown("/bin/x", &"x\0".repeat(9_000));
        assert!(many.ends_with('…') && many.len() < COMMAND_LIMIT + 8, "{many}");
    }

    #[test]
    fn endings_name_code_or_signal() {
        let shown = |exit| {
            let mut out = String::new();
            ending(&exit, &mut out);
            out
        };
        assert_eq!(shown(Exit { code: 3, ..Exit::default() }), "exit code 3");
        assert_eq!(shown(Exit { signal: 11, core_dumped: true, ..Exit::default() }), "SIGSEGV (core dumped)");
    }
}
