//! What the programs are told about hooks: the mirror of `bpf/hook/plan.h`, which explains how it works.

use std::ops::BitOr;

use crate::mirror::mirror;

/// Words of a mask.
pub const MASK_WORDS: usize = 8;
/// Selectors that a hook can have.
pub const SELECTORS: usize = 64 * MASK_WORDS;
/// Values that a hook's table can look at or post.
pub const VALUES: usize = 16;
/// Dimensions that a hook's table can have.
pub const DIMENSIONS: usize = 24;
/// Arguments, further data and return values that a policy can post together.
pub const POST_ARGS: usize = 11;
/// Pointers that can be followed from what a call has at hand to a value, and one more offset.
pub const CHAIN_STEPS: usize = 16;
/// Bytes of text that can be compared from its start, an ending NUL included.
pub const TEXT_KEY_BYTES: usize = 252;
/// Bytes of text that can be compared from its end.
pub const SUFFIX_BYTES: usize = 128;

/// Raw values that a call has, whose arguments can be set.
pub const SETTABLE: usize = 8;

/// Operations that an expression can have.
pub const EXPRESSION_OPERATIONS: usize = 32;

/// In the number of a system call: a 32-bit program made it, whose calls have numbers of their own.
pub const COMPAT_NUMBER: u64 = 1 << 31;

/// Marks that a policy can have.
pub const MARKS: usize = u64::BITS as usize;

/// Words of a placement: as many bits are scopes of policies.
pub const SCOPE_WORDS: usize = 4;
/// Scopes that a node can have.
pub const SCOPES: usize = 64 * SCOPE_WORDS;

/// Where a value comes from: `enum value_source`.
#[expect(missing_docs, reason = "the names are those of bpf/hook/plan.h, which explains them")]
pub mod source {
    pub const ARG: u8 = 0;
    pub const RETURN: u8 = 1;
    pub const PID: u8 = 2;
    pub const NAMESPACE_PID: u8 = 3;
    pub const LINEAGE: u8 = 4;
    pub const BINARY: u8 = 5;
    pub const PARENT_BINARY: u8 = 6;
    pub const NAMESPACE: u8 = 7;
    pub const CAPABILITIES: u8 = 8;
    pub const PARENT_LINEAGE: u8 = 9;
    pub const SCOPES: u8 = 10;
    pub const MARKS: u8 = 11;
    pub const CURRENT_TASK: u8 = 16;
    pub const REGISTERS: u8 = 17;
    pub const NAMESPACE_CHANGES: u8 = 20;
    pub const CAPABILITY_CHANGES: u8 = 21;
}

/// How an argument is read: `enum value_type`.
#[expect(missing_docs, reason = "the names are those of bpf/hook/plan.h, which explains them")]
pub mod value_type {
    pub const NONE: u8 = 0;
    pub const S8: u8 = 1;
    pub const S16: u8 = 2;
    pub const S32: u8 = 3;
    pub const S64: u8 = 4;
    pub const U8: u8 = 5;
    pub const U16: u8 = 6;
    pub const U32: u8 = 7;
    pub const U64: u8 = 8;
    pub const STRING: u8 = 9;
    pub const BYTES: u8 = 10;
    pub const IOVEC: u8 = 11;
    pub const FD: u8 = 12;
    pub const FILE: u8 = 13;
    pub const PATH: u8 = 14;
    pub const DENTRY: u8 = 15;
    pub const FILENAME: u8 = 16;
    pub const FOLLOWED: u8 = 17;
    pub const BINPRM: u8 = 18;
    pub const SOCK: u8 = 32;
    pub const SOCKET: u8 = 33;
    pub const SKB: u8 = 34;
    pub const SOCKADDR: u8 = 35;
    pub const SOCKADDR_UN: u8 = 36;
    pub const CRED: u8 = 37;
    pub const USER_NS: u8 = 38;
    pub const CAPABILITY: u8 = 39;
    pub const CAPABILITIES: u8 = 40;
    pub const CAP_INHERITABLE: u8 = 41;
    pub const CAP_PERMITTED: u8 = 42;
    pub const CAP_EFFECTIVE: u8 = 43;
    pub const LOAD_INFO: u8 = 44;
    pub const MODULE: u8 = 45;
    pub const BPF_ATTR: u8 = 46;
    pub const BPF_PROG: u8 = 47;
    pub const BPF_MAP: u8 = 48;
    pub const BPF_CMD: u8 = 49;
    pub const PERF_EVENT: u8 = 50;
    pub const SYSCALL64: u8 = 51;
    pub const NET_DEVICE: u8 = 52;
    pub const IOV_ITER: u8 = 53;
    pub const KIOCB: u8 = 60;
    pub const FILE_HASH: u8 = 72;
}

/// How a value is looked up: `enum dimension_class`.
#[expect(missing_docs, reason = "the names are those of bpf/hook/plan.h, which explains them")]
pub mod class {
    pub const NUMBER: u8 = 0;
    pub const PREFIX: u8 = 1;
    pub const SUFFIX: u8 = 2;
    pub const BITS: u8 = 3;
    pub const FILE_TYPE: u8 = 4;
    pub const PRESENT: u8 = 5;
    pub const FIELD: u8 = 16;
    pub const SEARCH: u8 = 17;
    pub const SEARCH_ANY_CASE: u8 = 18;
    pub const EXPRESSION: u8 = 19;
}

/// What an endpoint has: `enum endpoint_field`.
#[expect(missing_docs, reason = "the names are those of bpf/hook/plan.h, which explains them")]
pub mod field {
    pub const SOURCE_ADDRESS: u8 = 0;
    pub const DESTINATION_ADDRESS: u8 = 1;
    pub const SOURCE_PORT: u8 = 2;
    pub const DESTINATION_PORT: u8 = 3;
    pub const PROTOCOL: u8 = 4;
    pub const FAMILY: u8 = 5;
    pub const STATE: u8 = 6;
}

/// What an operation of an expression does: `enum expression_code`.
#[expect(missing_docs, reason = "the names are those of bpf/hook/plan.h, which explains them")]
pub mod code {
    pub const NUMBER: u8 = 0;
    pub const VALUE: u8 = 1;
    pub const S32: u8 = 2;
    pub const U32: u8 = 3;
    pub const ADD: u8 = 4;
    pub const SUB: u8 = 5;
    pub const AND: u8 = 6;
    pub const OR: u8 = 7;
    pub const XOR: u8 = 8;
    pub const EQUAL: u8 = 9;
    pub const LESS_SIGNED: u8 = 10;
    pub const LESS: u8 = 11;
}

/// What a matching selector does: `enum selector_flags`.
#[expect(missing_docs, reason = "the names are those of bpf/hook/plan.h, which explains them")]
pub mod selector_flags {
    pub const POST: u16 = 1 << 0;
    pub const FOLLOW: u16 = 1 << 1;
    pub const UNFOLLOW: u16 = 1 << 2;
    pub const RETURN: u16 = 1 << 3;
    pub const OVERRIDE: u16 = 1 << 4;
    pub const NOTIFY: u16 = 1 << 5;
    pub const ENFORCER: u16 = 1 << 6;
    pub const KERNEL_STACK: u16 = 1 << 7;
    pub const USER_STACK: u16 = 1 << 8;
    pub const SOCKETS: u16 = 1 << 9;
    pub const SET: u16 = 1 << 10;
    pub const TRY: u16 = 1 << 13;
}

/// `SIZE_RETURNED`: the value is read when the function has returned, and what it returned is the size.
pub const SIZE_RETURNED: u8 = 0xff;

mirror! {
    /// A set of selectors.
    #[derive(PartialEq, Eq, Hash)]
    "mask" Mask { words: [u64; MASK_WORDS], }

    /// A value that a table looks at or posts.
    #[derive(PartialEq, Eq)]
    "value_spec" ValueSpec { source: u8, index: u8, kind: u8, size_arg: u8, most: u32, chain: u32, }

    /// The way from a pointer to a value.
    #[derive(PartialEq, Eq)]
    "chain" Chain {
        steps: u8, width: u8, is_signed: u8, shift: u8, bits: u8, reserved: [u8; 3], offset: [u32; CHAIN_STEPS],
    }

    /// A value and how it is looked up.
    "dimension" Dimension { value: u8, class: u8, late: u8, field: u8, set: u32, miss: Mask, }

    /// A hook's table.
    "table" Table {
        selectors: Mask, late: Mask, values: u8, dimensions: u8, captures: u16, reserved: [u8; 4],
        value: [ValueSpec; VALUES], dimension: [Dimension; DIMENSIONS],
    }

    /// An argument that is posted.
    "post_arg" PostArg { value: u8, number: u8, flags: u16, }

    /// A selector and what it does.
    "selector" Selector {
        policy_hook: u32, number: u16, next: u16, flags: u16, signal: u8, follow: u8, args: u8, rate_scope: u8,
        action: u8, return_action: u8, rate_interval: u64, arg: [PostArg; POST_ARGS], group: u32,
        error: i16, notify_error: i16, notify_signal: u8, hash: u8, reserved_end: [u8; 2],
        track: u16, untrack: u16, reserved_last: [u8; 4], mark: u64, unmark: u64,
    }

    /// A step of an expression.
    #[derive(PartialEq, Eq)]
    "operation" Operation { code: u8, value: u8, reserved: [u8; 6], number: u64, }

    /// An expression: what it leaves on the stack says whether it holds.
    #[derive(PartialEq, Eq)]
    "expression" Expression {
        count: u32, reserved: u32, operation: [Operation; EXPRESSION_OPERATIONS],
    }

    /// What a selector sets arguments to.
    #[derive(PartialEq, Eq)]
    "setting" Setting { mask: u32, reserved: u32, value: [i64; SETTABLE], }

    /// Key of a selector.
    "selector_key" SelectorKey { table: u32, selector: u32, }
}

// === impl Mask ===

impl Mask {
    /// The set of these selectors.
    pub fn of(selectors: impl IntoIterator<Item = usize>) -> Self {
        let mut mask = Self::default();
        selectors.into_iter().for_each(|selector| mask.set(selector));
        mask
    }

    /// Adds a selector; one beyond the last is nobody's.
    pub fn set(&mut self, selector: usize) {
        if let Some(word) = self.words.get_mut(selector / 64) {
            *word |= 1 << (selector % 64);
        }
    }

    /// Whether a selector is in the set.
    pub fn has(&self, selector: usize) -> bool {
        self.words.get(selector / 64).is_some_and(|word| word >> (selector % 64) & 1 == 1)
    }
}

impl BitOr for Mask {
    type Output = Self;

    fn bitor(mut self, other: Self) -> Self {
        self.words.iter_mut().zip(other.words).for_each(|(word, other)| *word |= other);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_equals_the_headers() {
        crate::mirror::check("hook/plan.h", LAYOUTS);
    }

    #[test]
    fn masks() {
        let mask = Mask::of([0, 64, 511, 512]);
        assert!(mask.has(0) && mask.has(64) && mask.has(511) && !mask.has(512) && !mask.has(1));
        assert_eq!(mask | Mask::of([1]), Mask::of([0, 1, 64, 511]));
    }
}
