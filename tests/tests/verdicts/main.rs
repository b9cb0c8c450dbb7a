//! What the kernel decides is what the language says: random policies and deeds, by each mechanism that this kernel has.
//!
//! `TRIGON_SEED` repeats a run; each prints its seed. `TRIGON_ROUNDS` makes it longer.

mod random;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::MetadataExt as _,
    process::{Command, ExitCode, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use random::{Deed, Random, Shape};
use trigon::policy::{
    check_text,
    compile::{self, CompileError, Host, Part, lineage::Lineages},
    model::{Policy, selectors::Namespace},
};
use trigon_exporters::event::Namespaces;
use trigon_probes::{
    hooks::{Choice, Hooks, Mechanism, Target},
    lifecycle::{self, Kernel, Lifecycle, Options},
    record::{Record, decode},
    ring::Ring,
};
use trigon_tests::{
    place,
    reference::{self, Event, Process},
    suite::{self, Need},
};

const KERNEL: &[Need] = &[Need::Kernel];

/// Policies that are drawn for a table; those that find no room are left out.
const POLICIES: usize = 160;
/// Calls that a process makes.
const DEEDS: usize = 40;

/// Kernels on which a mechanism has to be there, by the beginning of their release.
const EXPECTED: [(Mechanism, &[&str]); 3] = [
    (Mechanism::Trampoline, &["6.1.", "6.12."]),
    (Mechanism::Kprobe, &["6.1.", "6.12."]),
    (Mechanism::KprobeMulti, &["6.12."]),
];

/// What a process does to itself before it makes its calls.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// Enters a new UTS namespace.
    Unshare,
    /// Drops CAP_CHOWN and CAP_NET_RAW from its effective capabilities.
    Drop,
}

/// The kernel's side of an agent, and nothing else of it.
struct Rig {
    kernel: Kernel,
    _lifecycle: Lifecycle,
    ring: Ring,
    hooks: Hooks,
    host: Host,
}

/// The arguments of a call as its records have them, and what it returned.
type Call = (Vec<(u64, Vec<u8>)>, Option<i64>);

fn main() -> ExitCode {
    suite::run(|suite| {
        for (name, mechanism) in [
            ("by_sys_enter", Mechanism::Syscalls),
            ("by_tracepoint", Mechanism::Tracepoint),
            ("by_fentry", Mechanism::Trampoline),
            ("by_kprobe_multi", Mechanism::KprobeMulti),
            ("by_kprobe", Mechanism::Kprobe),
        ] {
            suite.test(name, KERNEL, move || verdicts(mechanism));
        }
    })
}

fn number_from(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

fn verdicts(mechanism: Mechanism) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let seed = number_from("TRIGON_SEED").unwrap_or(now.as_millis() as u64);
    println!("{}: TRIGON_SEED={seed}", mechanism.as_str());
    let mut rig = Rig::new();
    let shape = match mechanism {
        Mechanism::Tracepoint => Shape::Tracepoint,
        _ => Shape::Syscall,
    };
    let target = match shape {
        Shape::Syscall => Target::Syscall("faccessat".into()),
        Shape::Tracepoint => {
            Target::Tracepoint { subsystem: "syscalls".into(), event: "sys_enter_faccessat".into() }
        }
    };
    if !rig.attach(&target, shape == Shape::Syscall, mechanism) {
        return;
    }
    let mut random = Random::new(seed);
    let (mut checked, mut matched) = (0, 0);
    for _ in 0..number_from("TRIGON_ROUNDS").unwrap_or(6) {
        let (one, other) = rig.round(&target, shape, &mut random);
        checked += one;
        matched += other;
    }
    println!("{checked} verdicts, {matched} of them matches: all agree");
    assert!(matched > 0 && matched < checked, "nothing was told apart");
}

// === impl Rig ===

impl Rig {
    fn new() -> Self {
        let kernel = Kernel::read().expect("read the kernel's types");
        let options = Options {
            ring_bytes: 1 << 24,
            args_bytes: 1024,
            join_env: false,
            cgroups: false,
            variables: Vec::new(),
            mechanism: lifecycle::Mechanism::Best,
        };
        let (lifecycle, ring) = Lifecycle::attach(&options, &kernel).expect("attach to the lifecycle");
        let hooks = Hooks::new(lifecycle.shared(), &kernel).expect("make the hooks' maps");
        Self { kernel, _lifecycle: lifecycle, ring, hooks, host: Host { namespaces: namespaces("1") } }
    }

    /// Attaches by one mechanism; false where this kernel doesn't have it, and need not.
    fn attach(&mut self, target: &Target, returns: bool, mechanism: Mechanism) -> bool {
        let Err(error) = self.hooks.attach(&self.kernel, target, returns, Choice::Only(mechanism)) else {
            return true;
        };
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the release");
        let here = |(of, releases): &(Mechanism, &[&str])| {
            *of == mechanism && releases.iter().any(|one| release.starts_with(one))
        };
        let always = matches!(mechanism, Mechanism::Tracepoint | Mechanism::Syscalls);
        assert!(!always && !EXPECTED.iter().any(here), "{} is missing here: {error}", mechanism.as_str());
        println!("not on this kernel: {}", error.to_string().chars().take(200).collect::<String>());
        false
    }

    /// Draws policies and deeds, does these, and compares. How many verdicts there were, and how many matches.
    fn round(&mut self, target: &Target, shape: Shape, random: &mut Random) -> (usize, usize) {
        let draft = random.draft(shape);
        let deeds: Vec<Deed> = (0..DEEDS).map(|_| random.deed()).collect();
        let who = Who::read();
        let mut policies: Vec<(String, Policy)> = Vec::new();
        for number in 0..POLICIES {
            let text = random.policy(number, &draft, &deeds, std::process::id());
            let checked = check_text(&text);
            let [policy] = checked.policies.as_slice() else { panic!("{text}\n{:?}", checked.faults) };
            policies.push((text, policy.clone()));
            match compile::table(&parts(&policies), self.host, &mut Lineages::default()) {
                Ok(_) => {}
                Err(CompileError::Full { .. } | CompileError::TooLong { .. }) => drop(policies.pop()),
                Err(error) => panic!("{error}\n{:?}", policies.last()),
            }
        }
        let mut lineages = Lineages::default();
        let table = compile::table(&parts(&policies), self.host, &mut lineages).expect("compile");
        self.hooks.set_lineage(&self.kernel, &lineages.plan()).expect("tell the lineages");
        self.hooks.set_table(target, &table).expect("put a table in place");
        let (mut checked, mut matched) = (0, 0);
        for before in [Before::Nothing, Before::Unshare, Before::Drop] {
            self.drain();
            let (pid, done) = run(&deeds, before);
            assert!(done, "the deeds were not done");
            let told = self.told(pid);
            let process = who.process(pid, before);
            let mut calls = BTreeSet::new();
            for deed in &deeds {
                let event = deed.event(&draft, process.clone());
                let call = call_of(&event);
                let found = told.get(&call).cloned().unwrap_or_default();
                let expected = policies
                    .iter()
                    .enumerate()
                    .filter(|(_, (_, policy))| reference::matches(&policy.hooks[0].selectors[0], &event));
                let expected: BTreeSet<u32> = expected.map(|(number, _)| number as u32).collect();
                if let Some(wrong) = found.symmetric_difference(&expected).next() {
                    let (text, _) = &policies[*wrong as usize];
                    let kernel = if found.contains(wrong) { "matches" } else { "doesn't match" };
                    panic!("the kernel {kernel}, the language not so: {before:?} {event:?}\n{text}");
                }
                checked += policies.len();
                matched += found.len();
                calls.insert(call);
            }
            let strange: Vec<_> = told.keys().filter(|call| !calls.contains(*call)).take(3).collect();
            assert!(strange.is_empty(), "calls that nobody made: {strange:?}");
        }
        (checked, matched)
    }

    fn drain(&mut self) {
        self.ring.drain(usize::MAX, |_| ());
    }

    /// The policies that matched each call of a process.
    fn told(&mut self, pid: u32) -> BTreeMap<Call, BTreeSet<u32>> {
        let mut told: BTreeMap<Call, BTreeSet<u32>> = BTreeMap::new();
        self.ring.drain(usize::MAX, |bytes| {
            if let Ok(Record::Hook(hook)) = decode(bytes)
                && hook.fixed.key.pid == pid
            {
                let args = hook
                    .args()
                    .map(|arg| (if arg.data.is_empty() { arg.fixed.value } else { 0 }, arg.data.to_vec()));
                let returned = (hook.fixed.has_return != 0).then_some(hook.fixed.returned as i64);
                told.entry((args.collect(), returned)).or_default().insert(hook.fixed.policy_hook);
            }
        });
        told
    }
}

/// Each policy's hook by its place in the list.
fn parts(policies: &[(String, Policy)]) -> Vec<Part<'_>> {
    let numbered = policies.iter().zip(0..);
    let parts = numbered.map(|((_, policy), policy_hook)| Part {
        policy: policy_hook + 1,
        policy_hook,
        follows: false,
        alone: false,
        denies: false,
        method: None,
        hook: &policy.hooks[0],
        scopes: &[],
        trial: false,
    });
    parts.collect()
}

/// As the records of an event have it.
fn call_of(event: &Event) -> Call {
    let args = event.arguments.iter().map(|value| match value {
        Some(reference::Value::Number(number)) => (*number as u64, Vec::new()),
        Some(reference::Value::Text(text)) => (0, text.clone()),
        _ => (0, Vec::new()),
    });
    let returned = event.returned.as_ref().map(|value| match value {
        reference::Value::Number(number) => *number as i64,
        other => panic!("{other:?} is returned by no system call"),
    });
    (args.collect(), returned)
}

/// Lets a process make the calls; its pid, and whether it could.
fn run(deeds: &[Deed], before: Before) -> (u32, bool) {
    let mut command = Command::new(place::workload());
    command.arg("calls");
    match before {
        Before::Nothing => {}
        Before::Unshare => {
            command.args(["unshare", "0x04000000", ";"]);
        }
        Before::Drop => {
            let [effective, inheritable, permitted] = Who::read().capabilities;
            let effective = effective & !DROPPED;
            // Version 3 of the call: two elements of three words of 32 bits.
            let low = |set: u64| set & 0xffff_ffff;
            let words = [
                low(effective) | permitted << 32,
                low(inheritable) | effective >> 32 << 32,
                permitted >> 32 | inheritable >> 32 << 32,
            ];
            let words = words.map(|word| format!("{word:#x}")).join(",");
            command.args(["capset", "[0x20080522]", &format!("[{words}]"), ";"]);
        }
    }
    for deed in deeds {
        command.args(deed.words());
    }
    let mut child = command.stdout(Stdio::null()).spawn().expect("run the workload");
    (child.id(), child.wait().expect("wait for the workload").success())
}

/// CAP_CHOWN and CAP_NET_RAW.
const DROPPED: u64 = 1 | 1 << 13;

/// What is the same of all processes that this one starts.
struct Who {
    lineage: Vec<u32>,
    capabilities: [u64; 3],
    binary: Vec<u8>,
    parent_binary: Vec<u8>,
}

// === impl Who ===

impl Who {
    fn read() -> Self {
        // A program that is executed may have other capabilities than who executes it.
        let output = Command::new("cat").arg("/proc/self/status").output().expect("run cat");
        let status = String::from_utf8(output.stdout).expect("a status in UTF-8");
        let set = |name: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).expect("a set of capabilities");
            u64::from_str_radix(line.trim(), 16).expect("a set in hexadecimal")
        };
        let canonical = |path: &std::path::Path| {
            fs::canonicalize(path).expect("a program's path").into_os_string().into_encoded_bytes()
        };
        Self {
            lineage: ancestors(),
            capabilities: [set("CapEff:"), set("CapInh:"), set("CapPrm:")],
            binary: canonical(&place::workload()),
            parent_binary: canonical("/proc/self/exe".as_ref()),
        }
    }

    fn process(&self, pid: u32, before: Before) -> Process {
        let own = namespaces("self");
        let mut namespaces = kinds(&own);
        let mut process = Process {
            pid,
            // This suite runs in the first namespace.
            namespace_pid: pid,
            lineage: [pid].into_iter().chain(self.lineage.iter().copied()).collect(),
            binary: self.binary.clone(),
            parent_binary: self.parent_binary.clone(),
            host_namespaces: kinds(&self::namespaces("1")),
            capabilities: self.capabilities,
            ..Process::default()
        };
        match before {
            Before::Nothing => {}
            Before::Unshare => {
                process.changed_namespaces = vec![Namespace::Uts];
                // It is nobody else's: its number is of no interest.
                namespaces
                    .iter_mut()
                    .filter(|(kind, _)| *kind == Namespace::Uts)
                    .for_each(|(_, inode)| *inode = 1);
            }
            Before::Drop => {
                process.changed_capabilities = [self.capabilities[0] & DROPPED, 0, 0];
                process.capabilities[0] &= !DROPPED;
            }
        }
        process.namespaces = namespaces;
        process
    }
}

/// This process and all that it descends from.
fn ancestors() -> Vec<u32> {
    let mut found = Vec::new();
    let mut pid = std::process::id();
    while pid > 0 && found.len() < 64 {
        found.push(pid);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        pid = parent.and_then(|parent| parent.parse().ok()).unwrap_or(0);
    }
    found
}

fn namespaces(pid: &str) -> Namespaces {
    let inode = |name: &str| {
        fs::metadata(format!("/proc/{pid}/ns/{name}")).map_or(0, |namespace| namespace.ino() as u32)
    };
    Namespaces {
        uts: inode("uts"),
        ipc: inode("ipc"),
        mnt: inode("mnt"),
        pid: inode("pid"),
        pid_for_children: inode("pid_for_children"),
        net: inode("net"),
        time: inode("time"),
        time_for_children: inode("time_for_children"),
        cgroup: inode("cgroup"),
        user: inode("user"),
    }
}

fn kinds(all: &Namespaces) -> Vec<(Namespace, u32)> {
    vec![
        (Namespace::Uts, all.uts),
        (Namespace::Ipc, all.ipc),
        (Namespace::Mnt, all.mnt),
        (Namespace::Pid, all.pid),
        (Namespace::PidForChildren, all.pid_for_children),
        (Namespace::Net, all.net),
        (Namespace::Time, all.time),
        (Namespace::TimeForChildren, all.time_for_children),
        (Namespace::Cgroup, all.cgroup),
        (Namespace::User, all.user),
    ]
}
