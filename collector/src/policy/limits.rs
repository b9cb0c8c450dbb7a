//! Every limit of the policy language. Where Tetragon has one, this is at least ten times as much.

use std::ops::RangeInclusive;

use trigon_probes::hooks::plan::{SUFFIX_BYTES, TEXT_KEY_BYTES};

/// Bytes of a policy file. One of a hundred hooks has about 50 000.
pub const FILE_BYTES: usize = 1 << 20;
/// Files that one directory gives.
pub const FILES: usize = 1024;
/// How much a document may grow by its aliases, in bytes of text and [`NODE_COST`] a node.
pub const EXPANDED_BYTES: usize = 8 << 20;
/// What a node counts beside its text.
pub const NODE_COST: usize = 16;
/// How deep lists and mappings nest, what an alias stands for included.
pub const DEPTH: usize = 64;
/// Faults that are told of one file; the rest is counted.
pub const FAULTS: usize = 50;

/// Policies in one file.
pub const POLICIES: usize = 256;
/// Bytes of a policy's name, a DNS subdomain (RFC 1123).
pub const NAME_BYTES: usize = 253;
/// Hooks of one policy.
pub const HOOKS: usize = 256;
/// Lists of one policy.
pub const LISTS: usize = 64;
/// Functions in one list.
pub const LIST_FUNCTIONS: usize = 1024;
/// Bytes of the pattern of a generated list.
pub const PATTERN_BYTES: usize = 512;
/// Functions of one policy, those of a list counted for each hook that names it.
pub const FUNCTIONS: usize = 4096;
/// Bytes of a function's name: the kernel's KSYM_NAME_LEN without its NUL.
pub const SYMBOL_BYTES: usize = 511;

/// Arguments of one hook.
pub const ARGUMENTS: usize = 5;
/// The last argument of a function: six go in registers.
pub const FUNCTION_INDEX: i64 = 5;
/// The last field of a tracepoint.
pub const TRACEPOINT_INDEX: i64 = 63;
/// The last argument of a raw tracepoint: the kernel's MAX_BPF_FUNC_ARGS.
pub const RAW_TRACEPOINT_INDEX: i64 = 11;
/// Characters of a path of members.
pub const MEMBER_PATH_CHARS: usize = 512;
/// The last argument of a USDT probe: the macros that make them have twelve.
pub const USDT_INDEX: i64 = 11;
/// Bytes of the path of a program: the kernel's PATH_MAX without its NUL.
pub const PROGRAM_PATH_BYTES: usize = 4095;
/// Places of one item of `uprobes`.
pub const PROGRAM_PLACES: usize = 256;
/// Places in one file that a USDT probe has.
pub const USDT_SITES: usize = 256;
/// Digests of one item of `uprobes`.
pub const DIGESTS: usize = 64;
/// Characters of a digest with its kind before it: SHA-512's has 135.
pub const DIGEST_CHARS: usize = 256;
/// Characters of a hook's message.
pub const MESSAGE_CHARS: usize = 256;
/// Characters of a hook's message with places.
pub const TEMPLATE_CHARS: usize = 512;
/// Tags of one hook.
pub const TAGS: usize = 16;
/// Characters of a tag or a label.
pub const LABEL_CHARS: usize = 256;

/// Requirements of one label selector.
pub const REQUIREMENTS: usize = 64;
/// Values of one requirement.
pub const LABEL_VALUES: usize = 256;
/// Bytes of a label's key: a domain of 253, a slash, and a name.
pub const LABEL_KEY_BYTES: usize = 317;
/// Bytes of a label's value, and of a key without its domain, as Kubernetes has it.
pub const LABEL_VALUE_BYTES: usize = 63;
/// Bytes of a container's name or image.
pub const IMAGE_BYTES: usize = 512;

/// Macros of one policy.
pub const MACROS: usize = 64;
/// Selectors of one hook. Tetragon: 5.
pub const SELECTORS: usize = 64;
/// Items of one section of a selector. Tetragon: 5.
pub const FILTERS: usize = 64;
/// PIDs of one `matchPIDs` item. Tetragon: 4.
pub const PIDS: usize = 64;
/// The greatest PID: the kernel's PID_MAX_LIMIT.
pub const PID: i64 = 1 << 22;
/// Binaries of one `matchBinaries` item.
pub const BINARIES: usize = 256;
/// Namespaces of one `matchNamespaces` item. Tetragon: 4.
pub const NAMESPACES: usize = 64;
/// Values of one operator. Tetragon: 4, or 8 files.
pub const VALUES: usize = 256;
/// Values of `InMap` and `NotInMap`.
pub const MAP_VALUES: usize = 16_384;
/// Bytes of a value that must be equal: the kernel's PATH_MAX.
pub const EQUAL_BYTES: usize = 4096;
/// Bytes of a prefix: what the kernel compares. Tetragon: 256.
pub const PREFIX_BYTES: usize = TEXT_KEY_BYTES;
/// Bytes of a text that must be equal: its NUL is compared, too.
pub const EQUAL_TEXT_BYTES: usize = TEXT_KEY_BYTES - 1;
/// Bytes of a part of a text.
pub const PART_BYTES: usize = 256;
/// Bytes of a postfix.
pub const POSTFIX_BYTES: usize = SUFFIX_BYTES;
/// Marks of one policy: the kernel keeps a bit of each.
pub const MARKS: usize = 64;
/// Actions of one selector.
pub const ACTIONS: usize = 16;
/// The greatest error of the kernel's: MAX_ERRNO.
pub const ERRNO: i64 = 4095;
/// What an argument can be set to: numbers of 32 bits, with a sign or without.
pub const SET_VALUE: RangeInclusive<i64> = -0x8000_0000..=0xffff_ffff;
/// Seconds of a rate limit: a week.
pub const RATE_LIMIT_SECONDS: u64 = 7 * 24 * 3600;
