//! A file's type and permissions as `ls -l` shows them, and as Tetragon writes them.

use std::fmt;

/// `i_mode`: `-rw-r--r--`; nothing for 0, which is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Permission(pub u32);

const TYPE: u32 = 0o170_000;

// === impl Permission ===

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mode = self.0;
        if mode == 0 {
            return Ok(());
        }
        f.write_char(match mode & TYPE {
            0o140_000 => 's',
            0o120_000 => 'l',
            0o100_000 => '-',
            0o060_000 => 'b',
            0o040_000 => 'd',
            0o020_000 => 'c',
            0o010_000 => 'p',
            _ => '?',
        })?;
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let bits = mode >> shift & 7;
            f.write_char(if bits & 4 != 0 { 'r' } else { '-' })?;
            f.write_char(if bits & 2 != 0 { 'w' } else { '-' })?;
            f.write_char(match (mode & special != 0, bits & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_ls_does() {
        for (mode, shown) in [
            (0, ""),
            (0o100_644, "-rw-r--r--"),
            (0o104_755, "-rwsr-xr-x"),
            (0o106_644, "-rwSr-Sr--"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_776, "drwxrwxrwT"),
            (0o120_777, "lrwxrwxrwx"),
            (0o020_620, "crw--w----"),
            (0o060_660, "brw-rw----"),
            (0o010_600, "prw-------"),
            (0o140_755, "srwxr-xr-x"),
            (0o000_644, "?rw-r--r--"),
        ] {
            assert_eq!(Permission(mode).to_string(), shown, "{mode:o}");
        }
    }
}
