//! Which functions this kernel has, by their names: system calls, and what ftrace can trace.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
};

use syscalls::{Sysno, x86};

use crate::{ProbeError, btf::Btf, hooks::syscall_prefix, tracefs};

/// Where the kernel lists its symbols: proc(5). Names are there whatever `kernel.kptr_restrict` says.
const SYMBOLS: &str = "/proc/kallsyms";

/// Bytes of such a list that are read: of the largest kernels they have some twenty million.
const BYTES: u64 = 256 << 20;

/// System calls whose functions have other names: arch/x86/entry/syscalls/syscall_64.tbl and, of other architectures,
/// include/uapi/asm-generic/unistd.h.
const RENAMED: [(&str, &str); 6] = [
    ("stat", "newstat"),
    ("lstat", "newlstat"),
    ("fstat", "newfstat"),
    ("uname", "newuname"),
    ("sendfile", "sendfile64"),
    ("umount2", "umount"),
];

/// The system call that a function serves, by the function's name without its prefix: `stat` for `newstat`.
pub(crate) fn call_of(function: &str) -> &str {
    RENAMED.iter().find(|(_, other)| *other == function).map_or(function, |(call, _)| call)
}

/// The number of the system call that a function serves, by the function's name without its prefix: of 32-bit programs on
/// x86-64 where `compat` says so.
pub fn number_of(function: &str, compat: bool) -> Option<u32> {
    let call = call_of(function);
    let number = match compat {
        true => call.parse().ok().map(|call: x86::Sysno| call.id()),
        false => call.parse().ok().map(|call: Sysno| call.id()),
    };
    number.and_then(|number| u32::try_from(number).ok())
}

/// The numbers of all system calls that programs of the machine's own architecture may know.
pub fn numbers() -> impl Iterator<Item = u32> {
    Sysno::iter().filter_map(|call| u32::try_from(call.id()).ok())
}

/// The functions of all system calls that this kernel has for programs of the machine's own architecture, without their
/// prefix, in order.
///
/// # Errors
/// The kernel lists neither its symbols nor its types.
pub fn system_calls() -> Result<Vec<String>, ProbeError> {
    let prefix = syscall_prefix();
    let functions: BTreeSet<String> =
        match names(SYMBOLS, symbol, &|name| name.starts_with(prefix), usize::MAX) {
            Ok(Listed { found, .. }) if !found.is_empty() => found,
            _ => Btf::of_kernel()?.functions(prefix).collect(),
        };
    let has = |name: &str| functions.contains(&format!("{prefix}{name}"));
    let function = |call: &'static str| {
        let renamed = RENAMED.iter().find(|(name, _)| *name == call).map(|(_, function)| *function);
        renamed.into_iter().chain([call]).find(|name| has(name))
    };
    let mut calls: Vec<_> =
        Sysno::iter().filter_map(|call| function(call.name())).map(str::to_owned).collect();
    calls.sort_unstable();
    calls.dedup();
    Ok(calls)
}

/// The functions of modules that are loaded, each with its module; none where several have one of that name.
///
/// # Errors
/// The kernel lists no symbols.
pub(crate) fn of_modules() -> io::Result<HashMap<String, Option<String>>> {
    owners(File::open(SYMBOLS)?)
}

fn owners(list: impl Read) -> io::Result<HashMap<String, Option<String>>> {
    let mut all: HashMap<String, Option<String>> = HashMap::new();
    for line in BufReader::new(list.take(BYTES)).lines() {
        let line = line?;
        let Some((name, module)) = symbol(&line).zip(module(&line)) else { continue };
        let owner = all.entry(name.to_owned()).or_insert_with(|| Some(module.to_owned()));
        if owner.as_deref() != Some(module) {
            *owner = None;
        }
    }
    Ok(all)
}

/// Names of functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Some of them, in order; all where there are no more than that.
    pub found: BTreeSet<String>,
    /// How many there are.
    pub count: usize,
}

/// The functions of the kernel, and of its modules, that ftrace can trace (`available_filter_functions`) and whose name
/// `wanted` takes; `most` of them at most.
///
/// # Errors
/// The kernel has no ftrace, or tracefs can't be read.
pub fn traceable(wanted: &dyn Fn(&str) -> bool, most: usize) -> Result<Listed, ProbeError> {
    let read = |source| ProbeError::Io {
        what: "read the functions that ftrace can trace (available_filter_functions in tracefs)",
        source,
    };
    let file = tracefs::open("available_filter_functions").map_err(read)?;
    lines(file, function, wanted, most).map_err(read)
}

fn names(
    path: &str,
    name: fn(&str) -> Option<&str>,
    wanted: &dyn Fn(&str) -> bool,
    most: usize,
) -> io::Result<Listed> {
    lines(File::open(path)?, name, wanted, most)
}

/// The wanted names of a list, each counted once.
fn lines(
    list: impl Read,
    name: fn(&str) -> Option<&str>,
    wanted: &dyn Fn(&str) -> bool,
    most: usize,
) -> io::Result<Listed> {
    let mut all = BTreeSet::new();
    let mut list = BufReader::new(list.take(BYTES));
    let mut line = String::new();
    while list.read_line(&mut line)? > 0 {
        if let Some(name) = name(&line).filter(|name| wanted(name)) {
            all.insert(name.to_owned());
        }
        line.clear();
    }
    let count = all.len();
    Ok(Listed { found: all.into_iter().take(most).collect(), count })
}

/// The name in a line of kallsyms: address, type, name, and maybe a module in brackets. Of functions alone.
fn symbol(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace().skip(1);
    matches!(words.next()?, "t" | "T" | "w" | "W").then_some(())?;
    words.next()
}

/// The module in a line of kallsyms. `bpf` is none: what the kernel lists as such are eBPF programs.
fn module(line: &str) -> Option<&str> {
    let module = line.split_ascii_whitespace().nth(3)?.strip_prefix('[')?.strip_suffix(']')?;
    (module != "bpf").then_some(module)
}

/// The name in a line of `available_filter_functions`: a name, and maybe a module in brackets.
fn function(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_lists() {
        let symbols = "0000000000000000 T __x64_sys_read\n0000000000000000 d data\n\
            ffffffffc0000000 t ext4_open\t[ext4]\nffff t ext4_open\t[ext4]\n\nx\n";
        let found =
            |wanted: &dyn Fn(&str) -> bool, most| lines(symbols.as_bytes(), symbol, wanted, most).unwrap();
        let all = found(&|_| true, 9);
        assert_eq!(
            (all.count, all.found.into_iter().collect::<Vec<_>>().join(" ")),
            (2, "__x64_sys_read ext4_open".into())
        );
        let first = found(&|_| true, 1);
        assert_eq!((first.count, first.found.len()), (2, 1));
        assert_eq!(found(&|name| name.starts_with("ext4"), 9).count, 1);
        assert_eq!(function("vfs_read\n"), Some("vfs_read"));
        assert_eq!(function("ext4_open [ext4]\n"), Some("ext4_open"));
        assert_eq!(function("\n"), None);
    }

    #[test]
    fn functions_of_modules() {
        let symbols = "0 t vfs_read\n0 t init\t[one]\n0 t init\t[two]\n0 t open\t[one]\n0 t open\t[one]\n\
            0 d open\t[two]\n0 t bpf_prog_1_x\t[bpf]\n";
        let all = owners(symbols.as_bytes()).unwrap();
        assert_eq!(all, HashMap::from([("init".into(), None), ("open".into(), Some("one".into()))]));
    }

    #[test]
    fn calls_of_this_kernel() {
        let calls = system_calls().unwrap();
        assert!(calls.len() > 200, "{}", calls.len());
        assert!(calls.iter().any(|call| call == "openat") && calls.iter().any(|call| call == "newuname"));
        assert!(
            calls.iter().all(|call| call != "uname"
                && call != "ni_syscall"
                && call_of(call).parse::<Sysno>().is_ok())
        );
    }
}
