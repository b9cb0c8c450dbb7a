//! Hooks on the kernel: each mechanism forced once, the engine's filters and what it reads.

use std::{
    fs,
    io::Read as _,
    process::{Command, ExitCode},
};

use trigon_probes::{
    hooks::{
        Choice, Entries, Hooks, Mechanism, TablePlan, Target,
        plan::{
            Dimension, Mask, PostArg, Selector, Table, ValueSpec, class, selector_flags, source, value_type,
        },
    },
    lifecycle::{self, Kernel, Lifecycle, Options},
    record::{Record, decode},
    ring::Ring,
};
use trigon_tests::suite::{self, Need};

const KERNEL: &[Need] = &[Need::Kernel];

/// Kernels on which a mechanism has to be there, by the beginning of their release.
const EXPECTED: [(Mechanism, &[&str]); 3] = [
    (Mechanism::Trampoline, &["6.1.", "6.12."]),
    (Mechanism::Kprobe, &["6.1.", "6.12."]),
    (Mechanism::KprobeMulti, &["6.12."]),
];

/// The kernel's side of an agent, and nothing else of it.
struct Rig {
    kernel: Kernel,
    _lifecycle: Lifecycle,
    ring: Ring,
    hooks: Hooks,
}

/// A record of a hook: its arguments' texts, and what the function returned.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    pid: u32,
    texts: Vec<String>,
    numbers: Vec<u64>,
    returned: Option<i64>,
}

fn main() -> ExitCode {
    suite::run(|suite| {
        for mechanism in [
            Mechanism::Trampoline,
            Mechanism::KprobeMulti,
            Mechanism::Kprobe,
            Mechanism::Equivalent,
            Mechanism::Syscalls,
        ] {
            let function = format!("function_by_{}", mechanism.as_str().replace(['.', '/'], "_"));
            if mechanism != Mechanism::Syscalls {
                suite.test(&function, KERNEL, move || function_by(mechanism));
            }
            if mechanism != Mechanism::Equivalent {
                let syscall = function.replace("function", "syscall");
                suite.test(&syscall, KERNEL, move || syscall_by(mechanism));
            }
        }
        suite.test("best_mechanism_serves", KERNEL, best_mechanism_serves);
        suite.test("calls_that_never_return_are_forgotten", KERNEL, calls_that_never_return_are_forgotten);
        suite.test("table_is_replaced_and_detached", KERNEL, table_is_replaced_and_detached);
    })
}

// === impl Rig ===

impl Rig {
    fn new() -> Self {
        let kernel = Kernel::read().expect("read the kernel's types");
        let options = Options {
            ring_bytes: 1 << 20,
            args_bytes: 1024,
            join_env: false,
            cgroups: false,
            variables: Vec::new(),
            mechanism: lifecycle::Mechanism::Best,
        };
        let (lifecycle, ring) = Lifecycle::attach(&options, &kernel).expect("attach to the lifecycle");
        let hooks = Hooks::new(lifecycle.shared(), &kernel).expect("make the hooks' maps");
        Self { kernel, _lifecycle: lifecycle, ring, hooks }
    }

    /// Attaches by one mechanism. Where this kernel does not have it, and need not, it has to be refused by its name;
    /// false then.
    fn attach(&mut self, target: &Target, returns: bool, mechanism: Mechanism) -> bool {
        match self.hooks.attach(&self.kernel, target, returns, Choice::Only(mechanism)) {
            Ok((_, attached)) => {
                assert_eq!(attached, mechanism);
                true
            }
            Err(error) => {
                let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the release");
                let here = |(of, releases): &(Mechanism, &[&str])| {
                    *of == mechanism && releases.iter().any(|one| release.starts_with(one))
                };
                let always = matches!(mechanism, Mechanism::Equivalent | Mechanism::Syscalls);
                assert!(
                    !always && !EXPECTED.iter().any(here),
                    "{} is missing here: {error}",
                    mechanism.as_str()
                );
                let reason = error.to_string();
                assert!(reason.contains(&target.symbol()) && reason.contains(mechanism.as_str()), "{reason}");
                println!("not on this kernel: {}", reason.chars().take(200).collect::<String>());
                false
            }
        }
    }

    /// What hooks told of this process so far.
    fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.ring.drain(usize::MAX, |bytes| {
            if let Ok(Record::Hook(hook)) = decode(bytes) {
                let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
                seen.push(Seen {
                    pid: hook.fixed.key.pid,
                    texts: hook.args().map(|arg| text(arg.data)).collect(),
                    numbers: hook.args().map(|arg| arg.fixed.value).collect(),
                    returned: (hook.fixed.has_return != 0).then_some(hook.fixed.returned as i64),
                });
            }
        });
        seen.retain(|seen| seen.pid == std::process::id());
        seen
    }
}

/// A table of one selector that posts its arguments where the path that is argument `path` begins so.
fn paths_below(prefix: &str, path: ValueSpec, late: bool) -> TablePlan {
    let all = Mask::of([0]);
    let mut table = Table { selectors: all, values: 1, dimensions: 1, ..Table::default() };
    table.value[0] = path;
    table.dimension[0] = Dimension { value: 0, class: class::PREFIX, ..Dimension::default() };
    let mut selector = Selector { next: 1, flags: selector_flags::POST, args: 1, ..Selector::default() };
    selector.arg[0] = PostArg { value: 0, ..PostArg::default() };
    if late {
        table.late = all;
        selector.flags |= selector_flags::RETURN;
    }
    TablePlan {
        table,
        sets: vec![(0, Entries::Prefixes(vec![(prefix.as_bytes().to_vec(), all)]))],
        selectors: vec![selector],
        ..TablePlan::default()
    }
}

fn argument(index: u8, kind: u8) -> ValueSpec {
    ValueSpec { source: source::ARG, index, kind, ..ValueSpec::default() }
}

/// Two files in a folder of their own.
fn files() -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().expect("make a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (wanted, other) = (path("wanted"), path("other"));
    [&wanted, &other].into_iter().for_each(|path| fs::write(path, "text").expect("write a file"));
    (folder, wanted, other)
}

fn open(path: &str) {
    let mut text = String::new();
    fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).expect("read a file");
}

fn function_by(mechanism: Mechanism) {
    let (_folder, wanted, other) = files();
    let mut rig = Rig::new();
    let target = Target::Function("security_file_open".into());
    if !rig.attach(&target, false, mechanism) {
        return;
    }
    let table = paths_below(&wanted, argument(0, value_type::FILE), false);
    rig.hooks.set_table(&target, &table).expect("put a table in place");
    open(&other);
    open(&wanted);
    let seen = rig.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].texts, [wanted]);
}

fn syscall_by(mechanism: Mechanism) {
    let (_folder, wanted, other) = files();
    let mut rig = Rig::new();
    let target = Target::Syscall("openat".into());
    if !rig.attach(&target, true, mechanism) {
        return;
    }
    let table = paths_below(&wanted, argument(1, value_type::STRING), true);
    rig.hooks.set_table(&target, &table).expect("put a table in place");
    open(&other);
    open(&wanted);
    let missing = format!("{wanted}-missing");
    fs::File::open(&missing).expect_err("there is no such file");
    let seen = rig.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0].texts, [wanted]);
    assert!(seen[0].returned.is_some_and(|fd| fd >= 0), "{seen:?}");
    assert_eq!(seen[1].texts, [missing]);
    assert_eq!(seen[1].returned, Some(-2), "ENOENT");
}

/// The ladder's best, whatever it is here: each of the functions that policies name most has one.
fn best_mechanism_serves() {
    let mut rig = Rig::new();
    for name in [
        "fd_install",
        "security_file_open",
        "security_file_permission",
        "security_bprm_check",
        "commit_creds",
    ] {
        let target = Target::Function(name.into());
        let (_, mechanism) = rig.hooks.attach(&rig.kernel, &target, false, Choice::Best).expect("attach");
        println!("{name}: {}", mechanism.as_str());
    }
    for name in ["openat", "read", "write", "close", "unlinkat", "renameat2"] {
        let target = Target::Syscall(name.into());
        let (_, mechanism) = rig.hooks.attach(&rig.kernel, &target, true, Choice::Best).expect("attach");
        println!("{}: {}", target.symbol(), mechanism.as_str());
    }
    let none = Target::Function("no_such_function_in_any_kernel".into());
    let error =
        rig.hooks.attach(&rig.kernel, &none, false, Choice::Best).expect_err("there is no such function");
    assert!(error.to_string().contains("no_such_function_in_any_kernel"), "{error}");
}

fn table_is_replaced_and_detached() {
    let (_folder, wanted, other) = files();
    let mut rig = Rig::new();
    let target = Target::Function("security_file_open".into());
    rig.hooks.attach(&rig.kernel, &target, false, Choice::Best).expect("attach");
    let put = |rig: &mut Rig, path: &str| {
        let table = paths_below(path, argument(0, value_type::FILE), false);
        rig.hooks.set_table(&target, &table).expect("put a table in place");
    };
    let opened = |rig: &mut Rig| {
        open(&wanted);
        open(&other);
        rig.seen().into_iter().flat_map(|seen| seen.texts).collect::<Vec<_>>()
    };
    assert_eq!(opened(&mut rig), [""; 0], "without a table nothing is told");
    put(&mut rig, &wanted);
    assert_eq!(opened(&mut rig), std::slice::from_ref(&wanted));
    put(&mut rig, &other);
    assert_eq!(opened(&mut rig), std::slice::from_ref(&other));
    rig.hooks.detach(&target);
    assert_eq!(opened(&mut rig), [""; 0]);
}

fn calls_that_never_return_are_forgotten() {
    let mut rig = Rig::new();
    let target = Target::Syscall("exit_group".into());
    rig.hooks.attach(&rig.kernel, &target, true, Choice::Best).expect("attach");
    let all = Mask::of([0]);
    let mut table = Table { selectors: all, late: all, values: 1, captures: 1, ..Table::default() };
    table.value[0] = argument(0, value_type::S32);
    let selector = Selector { next: 1, flags: selector_flags::POST, ..Selector::default() };
    let plan = TablePlan { table, selectors: vec![selector], ..TablePlan::default() };
    rig.hooks.set_table(&target, &plan).expect("put a table in place");
    for _ in 0..3 {
        assert!(Command::new("true").status().expect("run a program").success());
    }
    // Others' processes may have ended, too.
    assert!(rig.hooks.forget_ended().expect("look through the calls") >= 3);
    assert_eq!(rig.seen(), [], "what does not return is not told");
}
