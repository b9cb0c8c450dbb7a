//! The kernel's side of an agent under random policies and deeds: what it decides is compared with what the language says.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    net::{IpAddr, Ipv6Addr},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use trigon::policy::{
    check_text,
    compile::{self, CompileError, Host, Part, lineage::Lineages},
    model::{Policy, conditions::FileType},
    resolve,
};
use trigon_probes::{
    ProbeError,
    hooks::{Choice, Hooks, Mechanism, Needs, Target, plan::value_type},
    lifecycle::{self, Kernel, Lifecycle, Options},
    record::{Arg, Record, arg_flags, decode, object},
    ring::Ring,
    types::{Prototype, Types, Way, WayError},
};
use trigon_tests::reference::{self, Endpoint, Event, Value};

use crate::{
    process::{Before, Script, Who, namespaces},
    random::Random,
};

/// Policies that are drawn for a table; those that find no room are left out.
const POLICIES: usize = 160;

/// Kernels on which a mechanism has to be there, by the beginning of their release.
const EXPECTED: [(Mechanism, &[&str]); 6] = [
    (Mechanism::Trampoline, &["6.1.", "6.12."]),
    (Mechanism::Kprobe, &["6.1.", "6.12."]),
    (Mechanism::KprobeMulti, &["6.12."]),
    (Mechanism::Lsm, &["6.1.", "6.12."]),
    (Mechanism::FmodRet, &["6.1.", "6.12."]),
    (Mechanism::UprobeMulti, &["6.12."]),
];

/// Mechanisms that every kernel has.
const EVERYWHERE: [Mechanism; 5] = [
    Mechanism::Tracepoint,
    Mechanism::RawTracepoint,
    Mechanism::Syscalls,
    Mechanism::Equivalent,
    Mechanism::Uprobe,
];

/// What policies are about, and what is done under their eyes.
pub struct Game {
    /// Where the hook is.
    pub target: Target,
    /// It may tell what is returned.
    pub returns: bool,
    /// How often it is played.
    pub rounds: u64,
    /// Draws a round of it.
    draw: Draw,
}

/// Draws what all policies of a table have in common.
type Draw = Box<dyn Fn(&mut Random) -> Box<dyn Round>>;

/// What all policies of a table have in common, and what is done while it is in place.
pub trait Round {
    /// The text of a policy of one hook and one selector.
    fn policy(&self, number: usize, random: &mut Random) -> String;

    /// What processes do first: each does all the rest.
    fn befores(&self) -> &'static [Before];

    /// What they do then.
    fn act(&self, script: &mut Script);

    /// What the hook is to see of it, whoever does it.
    fn events(&self) -> Vec<Event>;

    /// The program that does it, where that isn't the one that the process begins as.
    fn program(&self) -> Option<&Path> {
        None
    }
}

/// The kernel's side of an agent, and nothing else of it.
pub struct Rig {
    kernel: Kernel,
    _lifecycle: Lifecycle,
    ring: Ring,
    hooks: Hooks,
    host: Host,
    types: Known,
}

/// The kernel's types, read once.
pub struct Known(Types);

/// The arguments of a call, its further data, and what it returned: as its records have them.
type Call = (Vec<Option<Value>>, Vec<Option<Value>>, Option<Value>);

// === impl Known ===

impl Known {
    pub fn read() -> Self {
        Self(Types::read().expect("read the kernel's types"))
    }
}

impl resolve::Kernel for Known {
    fn prototype(&mut self, target: &Target) -> Result<Prototype, ProbeError> {
        self.0.of(target)
    }

    fn way(
        &mut self,
        start: &str,
        module: Option<&str>,
        path: &str,
    ) -> Result<Result<Way, WayError>, ProbeError> {
        self.0.way(start, module, path)
    }
}

// === impl Game ===

impl Game {
    pub fn new<R: Round + 'static>(
        target: Target,
        returns: bool,
        rounds: u64,
        draw: impl Fn(&mut Random) -> R + 'static,
    ) -> Self {
        Self { target, returns, rounds, draw: Box::new(move |random| Box::new(draw(random))) }
    }
}

// === impl Rig ===

impl Rig {
    pub fn new() -> Self {
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
        let types = Known::read();
        let host = Host { namespaces: namespaces("1") };
        Self { kernel, _lifecycle: lifecycle, ring, hooks, host, types }
    }

    /// Attaches by one mechanism; false where this kernel doesn't have it, and need not.
    pub fn attach(&mut self, game: &Game, mechanism: Mechanism) -> bool {
        let mut needs = Needs::seeing(game.returns);
        if mechanism.denies() {
            (needs.denies, needs.method) = (true, Some(mechanism));
        }
        let choice = Choice::Only(mechanism);
        let Err(error) = self.hooks.attach_for(&self.kernel, &game.target, needs, choice) else {
            return true;
        };
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the release");
        let here = |(of, releases): &(Mechanism, &[&str])| {
            *of == mechanism && releases.iter().any(|one| release.starts_with(one))
        };
        // Those take a kernel that lets errors be injected into them.
        let prevented_call = mechanism.denies() && matches!(game.target, Target::Syscall(_));
        let must = EVERYWHERE.contains(&mechanism) || EXPECTED.iter().any(here) && !prevented_call;
        assert!(!must, "{} is missing here: {error}", mechanism.as_str());
        println!(
            "{}: not on this kernel: {}",
            game.target,
            error.to_string().chars().take(200).collect::<String>()
        );
        false
    }

    pub fn detach(&mut self, game: &Game) {
        self.hooks.detach(&game.target);
    }

    /// Draws policies and deeds, does these, and compares. How many verdicts there were, and how many matches.
    pub fn round(&mut self, game: &Game, random: &mut Random) -> (usize, usize) {
        let round = (game.draw)(random);
        let who = Who::read();
        let policies = self.policies(&*round, random);
        let mut lineages = Lineages::default();
        let table = compile::table(&parts(&policies), self.host, &mut lineages).expect("compile");
        self.hooks.set_lineage(&self.kernel, &lineages.plan()).expect("tell the lineages");
        self.hooks.set_table(&game.target, &table).expect("put a table in place");
        let (mut checked, mut matched) = (0, 0);
        for before in round.befores() {
            let mut script = Script::default();
            before.act(&mut script, &who);
            round.act(&mut script);
            self.ring.drain(usize::MAX, |_| ());
            let pid = script.run();
            let told = self.told(pid);
            let mut process = who.process(pid, *before);
            if let Some(program) = round.program() {
                process.binary = program.as_os_str().as_bytes().to_vec();
            }
            let mut calls = HashSet::new();
            for mut event in round.events() {
                event.process = process.clone();
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

    /// As many policies as find room together.
    fn policies(&mut self, round: &dyn Round, random: &mut Random) -> Vec<(String, Policy)> {
        let mut policies: Vec<(String, Policy)> = Vec::new();
        for number in 0..POLICIES {
            let text = round.policy(number, random);
            let checked = check_text(&text);
            let [policy] = checked.policies.as_slice() else { panic!("{text}\n{:?}", checked.faults) };
            let policy = resolve::resolve(policy.clone(), &mut self.types);
            let policy = policy.unwrap_or_else(|error| panic!("{text}\n{error}"));
            policies.push((text, policy));
            match compile::table(&parts(&policies), self.host, &mut Lineages::default()) {
                Ok(_) => {}
                Err(CompileError::Full { .. } | CompileError::TooLong { .. }) => drop(policies.pop()),
                Err(error) => panic!("{error}\n{:?}", policies.last()),
            }
        }
        policies
    }

    /// The policies that matched each call of a process.
    fn told(&mut self, pid: u32) -> HashMap<Call, BTreeSet<u32>> {
        let mut told: HashMap<Call, BTreeSet<u32>> = HashMap::new();
        self.ring.drain(usize::MAX, |bytes| {
            if let Ok(Record::Hook(hook)) = decode(bytes)
                && hook.fixed.key.pid == pid
            {
                let is_datum = |arg: &Arg<'_>| arg.fixed.flags & arg_flags::DATA != 0;
                let (data, arguments): (Vec<_>, Vec<_>) = hook.args().partition(is_datum);
                let values = |args: &[Arg<'_>]| args.iter().map(value_of).collect();
                let returned = (hook.fixed.has_return != 0).then(|| number(hook.fixed.returned));
                let call = (values(&arguments), values(&data), returned);
                told.entry(call).or_default().insert(hook.fixed.policy_hook);
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
        marks: &[],
        scopes: &[],
        trial: false,
    });
    parts.collect()
}

/// Numbers have the 64 bits of records, whatever their sign.
fn number(bits: u64) -> Value {
    Value::Number(bits.into())
}

/// As the records of an event have it.
fn call_of(event: &Event) -> Call {
    let value = |value: &Value| match value {
        Value::Number(signed) => number(*signed as u64),
        other => other.clone(),
    };
    let values = |all: &[Option<Value>]| all.iter().map(|one| one.as_ref().map(value)).collect();
    (values(&event.arguments), values(&event.data), event.returned.as_ref().map(value))
}

fn value_of(arg: &Arg<'_>) -> Option<Value> {
    if arg.fixed.flags & arg_flags::ABSENT != 0 {
        return None;
    }
    Some(match arg.fixed.kind {
        value_type::STRING => Value::Text(arg.data.to_vec()),
        value_type::FILE | value_type::PATH => {
            let kind = file_type(arg.fixed.mode).unwrap_or_else(|| panic!("a mode of no file: {arg:?}"));
            Value::File(arg.data.to_vec(), kind)
        }
        value_type::SOCK | value_type::SOCKET => {
            Value::Endpoint(endpoint(&object::read(arg.data).expect("an endpoint")))
        }
        _ => number(arg.fixed.value),
    })
}

fn file_type(mode: u32) -> Option<FileType> {
    use FileType::{Block, Character, Directory, Fifo, Regular, Socket, Symlink};
    let all = [Socket, Symlink, Regular, Block, Directory, Character, Fifo];
    all.into_iter().find(|kind| u32::from(kind.mode()) == mode & libc::S_IFMT)
}

fn endpoint(read: &object::Endpoint) -> Endpoint {
    let end = |bytes, port| {
        let address = IpAddr::V6(Ipv6Addr::from(bytes));
        match i32::from(read.family) {
            libc::AF_INET => Some((address.to_canonical(), port)),
            libc::AF_INET6 => Some((address, port)),
            _ => None,
        }
    };
    Endpoint {
        family: read.family,
        protocol: read.protocol,
        state: read.state,
        source: end(read.saddr, read.sport),
        destination: end(read.daddr, read.dport),
    }
}
