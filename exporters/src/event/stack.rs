//! What led to a call: stack traces.

use std::fmt;

/// The stack traces of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    /// In the kernel, from the innermost out; none where the policy doesn't ask for it, empty where it could not be read.
    pub kernel: Option<Box<[Frame]>>,
    /// In the program, likewise.
    pub user: Option<Box<[Frame]>>,
}

/// A call that had not returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where it goes on; 0 where that is not told.
    pub address: u64,
    /// Bytes from the start of the function; where that is not known, from the start of the module's file.
    pub offset: u64,
    /// The function; empty where it is not known.
    pub symbol: Box<str>,
    /// The file that it is of, or the module of the kernel; empty for the kernel itself, or where it is not known.
    pub module: Box<str>,
}

// === impl Stacks ===

impl Stacks {
    /// Bytes of memory that they take.
    pub fn bytes(&self) -> usize {
        let frames = self.kernel.iter().chain(&self.user).flat_map(|frames| frames.iter());
        let each = |frame: &Frame| size_of::<Frame>() + frame.symbol.len() + frame.module.len();
        size_of::<Self>() + frames.map(each).sum::<usize>()
    }
}

// === impl Frame ===

impl fmt::Display for Frame {
    /// `do_sys_openat2+0x8a`, `main+0x12 (/usr/bin/x)`, `+0x1a20 (/usr/bin/stripped)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, offset, symbol, module } = self;
        match (&**symbol, &**module) {
            ("", "") if *address == 0 => f.write_str("?"),
            ("", "") => write!(f, "{address:#x}"),
            (symbol, "") => write!(f, "{symbol}+{offset:#x}"),
            (symbol, module) => write!(f, "{symbol}+{offset:#x} ({module})"),
        }
    }
}
