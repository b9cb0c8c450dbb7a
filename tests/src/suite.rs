//! A list of tests, each with what it needs of the machine.
//!
//! A test whose needs aren't met is reported as ignored, with the reason. `TRIGON_REQUIRE` names needs (`kernel`, `compat`, `kprobes`,
//! `module`, `prometheus`, `rotel`, `kubectl`, `helm`, `kmock`, `schemas`, `grafana`, separated by commas) that this machine must meet: there,
//! such a test fails instead. `TRIGON_HUNG_AFTER` is the time in seconds after which a test counts as hung.

use std::{
    cell::Cell,
    path::Path,
    process::{ExitCode, ExitStatus},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{grafana, kmock, kubectl, place, prometheus, rotel, schemas, workload::Workload};

/// The time after which a test counts as hung, where none is given. Far more than any test takes, under emulation too.
const HUNG: Duration = Duration::from_secs(300);

/// What a test needs of the machine it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Root, and a kernel with BTF, to load eBPF programs. Such tests watch the whole machine and run one at a time.
    Kernel,
    /// A kernel that takes system calls of 32-bit programs, too.
    Compat,
    /// A kernel whose functions can be hooked.
    Kprobes,
    /// The module of the running kernel that tests load.
    Module,
    /// Policies that people use, from outside of the project.
    Policies,
    /// The Prometheus server.
    Prometheus,
    /// The rotel agent.
    Rotel,
    /// Kubernetes' command line.
    Kubectl,
    /// Kubernetes' package manager.
    Helm,
    /// Somebody else's server of Kubernetes' API.
    Kmock,
    /// The schemas of Kubernetes' own objects.
    Schemas,
    /// What dashboards are made with, and Grafana's own types.
    Grafana,
}

/// The tests of one binary.
#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
    serial: bool,
}

thread_local! {
    /// Message and place of the last panic of this thread.
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// Collects tests with `fill` and runs them as the command line says (libtest's options).
pub fn run(fill: impl FnOnce(&mut Suite)) -> ExitCode {
    let mut suite = Suite::default();
    fill(&mut suite);
    let mut arguments = Arguments::from_args();
    if suite.serial {
        arguments.test_threads.get_or_insert(1);
    }
    std::panic::set_hook(Box::new(|panic| PANIC.set(Some(panic.to_string()))));
    libtest_mimic::run(&arguments, suite.trials).exit_code()
}

// === impl Suite ===

impl Suite {
    /// Adds a test; it fails by a panic.
    pub fn test(&mut self, name: &str, needs: &'static [Need], test: impl FnOnce() + Send + 'static) {
        self.serial |= needs.contains(&Need::Kernel);
        self.trials.push(Trial::ignorable_test(name, move || match unmet(needs)? {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => guarded(test).map(|()| Completion::Completed),
        }));
    }
}

/// The first of `needs` that this machine doesn't meet; an error where it must.
fn unmet(needs: &[Need]) -> Result<Option<String>, Failed> {
    let required = std::env::var("TRIGON_REQUIRE").unwrap_or_default();
    for need in needs {
        if let Some(reason) = need.missing() {
            let must = required.split(',').any(|name| name == need.name());
            return if must { Err(format!("required here: {reason}").into()) } else { Ok(Some(reason)) };
        }
    }
    Ok(None)
}

/// Runs a test on a thread of its own, so that one that hangs is a failure and the next ones run.
fn guarded(test: impl FnOnce() + Send + 'static) -> Result<(), Failed> {
    let (done, outcome) = channel();
    let runner = thread::spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        let text = || PANIC.take().unwrap_or_else(|| "panicked without a message".to_owned());
        let _ = done.send(result.map_err(|_| text()));
    });
    let hung = number("TRIGON_HUNG_AFTER").map_or(HUNG, Duration::from_secs);
    match outcome.recv_timeout(hung) {
        Ok(result) => result.map_err(Failed::from),
        Err(RecvTimeoutError::Timeout) => Err(format!("still running after {} s", hung.as_secs()).into()),
        Err(RecvTimeoutError::Disconnected) => {
            Err(format!("the test's thread died: {:?}", runner.join()).into())
        }
    }
}

/// What a variable of the environment says of a run by hand; none where it isn't set.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

// === impl Need ===

impl Need {
    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Compat => "compat",
            Self::Kprobes => "kprobes",
            Self::Module => "module",
            Self::Policies => "policies",
            Self::Prometheus => "prometheus",
            Self::Rotel => "rotel",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Kmock => "kmock",
            Self::Schemas => "schemas",
            Self::Grafana => "grafana",
        }
    }

    /// Why this machine doesn't meet the need; none where it does.
    fn missing(self) -> Option<String> {
        match self {
            Self::Kernel if !nix::unistd::geteuid().is_root() => Some("needs root".into()),
            Self::Kernel if !Path::new("/sys/kernel/btf/vmlinux").exists() => {
                Some("needs a kernel with BTF (/sys/kernel/btf/vmlinux)".into())
            }
            Self::Kernel => None,
            Self::Compat => {
                let status = Workload::new().command(["calls", "32:getpid"]).status();
                let takes = status.as_ref().is_ok_and(ExitStatus::success);
                (!takes).then(|| format!("needs 32-bit system calls (a process that makes one: {status:?})"))
            }
            Self::Kprobes => {
                let missing = !Path::new("/sys/bus/event_source/devices/kprobe").exists();
                missing.then(|| "needs kprobes (/sys/bus/event_source/devices/kprobe)".into())
            }
            Self::Module => {
                let path = place::module();
                let missing = !path.exists();
                let missing = missing.then(|| {
                    format!(
                        "needs a module of this kernel ({}; in scripts/test-kernels it is)",
                        path.display()
                    )
                });
                let used = || {
                    Path::new("/sys/module/cpuid")
                        .exists()
                        .then(|| "needs a module that is not loaded (cpuid)".into())
                };
                missing.or_else(used)
            }
            Self::Policies => place::policies()
                .is_none()
                .then(|| "needs policies (TRIGON_POLICIES, a folder of them)".into()),
            Self::Prometheus => prometheus::find()
                .is_none()
                .then(|| "needs the program `prometheus` (scripts/setup test)".into()),
            Self::Rotel => {
                rotel::find().is_none().then(|| "needs rotel in .cache/rotel (scripts/setup test)".into())
            }
            Self::Kubectl => kubectl::find()
                .is_none()
                .then(|| "needs kubectl in .cache/kubectl (scripts/setup test)".into()),
            Self::Helm => kubectl::find_helm()
                .is_none()
                .then(|| "needs helm in .cache/kubectl (scripts/setup test)".into()),
            Self::Kmock => {
                kmock::find().is_none().then(|| "needs kmock in .cache/kmock (scripts/setup test)".into())
            }
            Self::Schemas => schemas::find().is_none().then(|| {
                "needs kubernetes-validate in .cache/kubernetes-validate (scripts/setup test)".into()
            }),
            Self::Grafana => (!grafana::is_installed())
                .then(|| "needs Grafana's SDK and types in .cache/grafana (scripts/setup test)".into()),
        }
    }
}
