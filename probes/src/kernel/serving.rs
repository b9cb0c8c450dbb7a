//! What Trigon's own programs come to on this kernel: those of processes, and hooks by each mechanism.

use super::{Bench, Outcome};
use crate::{
    ProbeError,
    hooks::{Choice, Hooks, Mechanism, Needs, Target},
    lifecycle::{self, Attached, Kernel, Lifecycle, Options},
    tasks,
};

/// What the agent would do here.
#[derive(Debug)]
pub struct Serving {
    /// Whether processes are seen to start, fork and end.
    pub lifecycle: Outcome,
    /// How, if they are.
    pub attached: Vec<Attached>,
    /// Whether the kernel tells which processes run already.
    pub tasks: Outcome,
    /// Whether there can be hooks.
    pub hooks: Outcome,
    /// How each kind of hook is served.
    pub ladders: Vec<Ladder>,
}

/// The mechanisms that can serve a kind of hook, best first.
#[derive(Debug)]
pub struct Ladder {
    /// What kind.
    pub kind: &'static str,
    /// The one that was tried.
    pub target: String,
    /// Each mechanism.
    pub steps: Vec<Step>,
}

/// A mechanism, tried.
#[derive(Debug)]
pub struct Step {
    /// Which.
    pub mechanism: Mechanism,
    /// How it went.
    pub outcome: Outcome,
}

/// A hook that is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is on.
    pub target: Target,
    /// What its programs have to be able to do.
    pub needs: Needs,
    /// Which mechanisms may serve.
    pub choice: Choice,
}

/// The least that every kernel takes.
const RING_BYTES: u32 = 1 << 16;

/// Rare calls likewise, of which each stands for what may be prevented.
fn denied() -> [(&'static str, Target); 3] {
    [
        ("denial by lsmhooks", Target::Lsm("sb_umount".to_owned())),
        ("denial of a function security_*", Target::Function("security_sb_umount".to_owned())),
        ("denial of a system call", Target::Syscall("chdir".to_owned())),
    ]
}

/// Calls that are rare: while they are tried, their callers pay for it.
fn targets() -> [(&'static str, Target); 7] {
    let (subsystem, event) = ("task".to_owned(), "task_rename".to_owned());
    [
        ("kernel function", Target::Function("vfs_rename".to_owned())),
        ("kernel function with an equivalent", Target::Function("security_bprm_check".to_owned())),
        ("system call", Target::Syscall("chdir".to_owned())),
        ("system call, 32-bit", Target::CompatSyscall("chdir".to_owned())),
        ("tracepoint", Target::Tracepoint { subsystem: subsystem.clone(), event: event.clone() }),
        ("raw tracepoint", Target::RawTracepoint { subsystem, event }),
        ("hook of the security modules", Target::Lsm("sb_umount".to_owned())),
    ]
}

pub(super) fn examine(bench: &Bench) -> Serving {
    let untried = |why: &str| Outcome::Untried(why.to_owned());
    let kernel = match &bench.kernel {
        Ok(kernel) => kernel,
        Err(why) => return Serving::none(untried(why)),
    };
    // What the agent asks first.
    if let Err(error) = Kernel::read() {
        return Serving::none(bench.own(&error));
    }
    let (lifecycle, _ring) = match Lifecycle::attach(&options(), kernel) {
        Ok(attached) => attached,
        Err(error) => return Serving::none(bench.own(&error)),
    };
    let tasks = bench.own_result(tasks::read(kernel).map(drop));
    let (hooks, ladders) = match Hooks::new(lifecycle.shared(), kernel) {
        Ok(mut hooks) => {
            let seeing = targets().map(|(kind, target)| (kind, target, Needs::seeing(true)));
            let denying = Needs { denies: true, ..Needs::default() };
            let denying = denied().map(|(kind, target)| (kind, target, denying));
            let ladders = seeing.into_iter().chain(denying).map(|(kind, target, needs)| {
                Ladder::try_all(bench, &mut hooks, kernel, kind, &target, needs)
            });
            (Outcome::Works, ladders.collect())
        }
        Err(error) => (bench.own(&error), Vec::new()),
    };
    let attached = lifecycle.attached().iter();
    let attached = attached.map(|Attached { hook, mechanism }| Attached { hook, mechanism }).collect();
    Serving { lifecycle: Outcome::Works, attached, tasks, hooks, ladders }
}

fn options() -> Options {
    Options {
        variables: Vec::new(),
        ring_bytes: RING_BYTES,
        args_bytes: 1024,
        join_env: false,
        cgroups: true,
        mechanism: lifecycle::Mechanism::Best,
    }
}

/// Tries certain hooks.
pub(super) fn serve(bench: &Bench, wanted: &[Wanted]) -> Result<Vec<Ladder>, Outcome> {
    let kernel = bench.kernel.as_ref().map_err(|why| Outcome::Untried(why.clone()))?;
    let (lifecycle, _ring) = Lifecycle::attach(&options(), kernel).map_err(|error| bench.own(&error))?;
    let mut hooks = Hooks::new(lifecycle.shared(), kernel).map_err(|error| bench.own(&error))?;
    let mut one = |wanted: &Wanted| {
        let mut steps = Vec::new();
        let ladder = match wanted.needs.denies {
            true => Mechanism::denials(&wanted.target),
            false => Mechanism::ladder(&wanted.target),
        };
        for mechanism in ladder {
            if wanted.choice.allows(*mechanism) {
                steps.push(Step::new(bench, &mut hooks, kernel, wanted, *mechanism));
            }
            if steps.last().is_some_and(|step| step.outcome == Outcome::Works) {
                break;
            }
        }
        Ladder { kind: "", target: wanted.target.to_string(), steps }
    };
    Ok(wanted.iter().map(&mut one).collect())
}

// === impl Serving ===

impl Serving {
    /// Nothing is served.
    fn none(why: Outcome) -> Self {
        let untried = Outcome::Untried("processes are not seen".to_owned());
        Self {
            lifecycle: why,
            attached: Vec::new(),
            tasks: untried.clone(),
            hooks: untried,
            ladders: Vec::new(),
        }
    }
}

// === impl Ladder ===

impl Ladder {
    fn try_all(
        bench: &Bench,
        hooks: &mut Hooks,
        kernel: &Kernel,
        kind: &'static str,
        target: &Target,
        needs: Needs,
    ) -> Self {
        let wanted = Wanted { target: target.clone(), needs, choice: Choice::Best };
        let ladder = if needs.denies { Mechanism::denials(target) } else { Mechanism::ladder(target) };
        let steps = ladder.iter().map(|mechanism| Step::new(bench, hooks, kernel, &wanted, *mechanism));
        Self { kind, target: target.to_string(), steps: steps.collect() }
    }

    /// The mechanism that the agent would take, if there is one.
    pub fn chosen(&self) -> Option<Mechanism> {
        self.steps.iter().find(|step| step.outcome == Outcome::Works).map(|step| step.mechanism)
    }
}

// === impl Step ===

impl Step {
    fn new(bench: &Bench, hooks: &mut Hooks, kernel: &Kernel, wanted: &Wanted, mechanism: Mechanism) -> Self {
        let attached = hooks.attach_for(kernel, &wanted.target, wanted.needs, Choice::Only(mechanism));
        hooks.detach(&wanted.target);
        let mut outcome = bench.own_result(attached.map(drop));
        if let Outcome::Missing(reason) = &mut outcome
            && let Some(rest) = reason.strip_prefix(&format!("{}: ", mechanism.as_str()))
        {
            *reason = rest.to_owned();
        }
        Self { mechanism, outcome }
    }
}

// === impl Bench ===

impl Bench {
    fn own_result(&self, result: Result<(), ProbeError>) -> Outcome {
        result.map_or_else(|error| self.own(&error), |()| Outcome::Works)
    }
}
