//! What policies cost the calls that they hook, and the kernel's memory.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use rustix::time::{ClockId, clock_gettime};
use trigon_tests::policies::FOLLOW;

use crate::{
    Bench,
    agent::{Agent, Losses},
    table::{Row, Sample},
    wait_for,
};

/// Rounds with and without policies.
const ROUNDS: usize = 5;
/// Times that the file is opened, read and closed in one round.
const LOOP: usize = 20_000;
/// Parts of a round, of which the median counts.
const PARTS: usize = 50;
/// Where policies post: so many records a round as the ring buffer has room for, however many policies there are.
const RECORDS: usize = 24_000;
/// In bytes. Three quarters are for hooks.
const RING: usize = 64 << 20;
/// Policies whose memory is compared.
const COUNTS: [usize; 3] = [1, 10, 100];

/// Policies that differ in their names alone, and what of the loop they hook.
struct Kind {
    what: &'static str,
    /// `NAME` is the policy's name, `FOLDER` the folder whose files it asks for.
    policy: &'static str,
    /// Calls of the loop's three that are hooked.
    calls: usize,
    /// How many policies there are where they ask for other files.
    filtered: &'static [usize],
    /// How many there are where they ask for the file of the loop.
    posted: &'static [usize],
}

/// An open file has room for eight policies that follow it, and a hook for ten that do so.
const KINDS: [Kind; 4] = [
    Kind { what: "a call that nothing hooks", policy: OTHER, calls: 3, filtered: &[1], posted: &[] },
    Kind { what: "openat by its text", policy: TEXT, calls: 1, filtered: &COUNTS, posted: &COUNTS },
    Kind { what: "open by the file's path", policy: PATH, calls: 1, filtered: &COUNTS, posted: &COUNTS },
    Kind {
        what: "open, read, close of followed files",
        policy: FOLLOW,
        calls: 3,
        filtered: &[1, 10],
        posted: &[1],
    },
];

const OTHER: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: NAME}
spec:
  kprobes:
  - call: sys_swapoff
    syscall: true
    args: [{index: 0, type: string}]
"#;

const TEXT: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: NAME}
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    args: [{index: 1, type: string}]
    selectors: [{matchArgs: [{index: 1, operator: Prefix, values: ["FOLDER/"]}]}]
"#;

const PATH: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: NAME}
spec:
  kprobes:
  - call: security_file_open
    syscall: false
    args: [{index: 0, type: file}]
    selectors: [{matchArgs: [{index: 0, operator: Prefix, values: ["FOLDER/"]}]}]
"#;

/// Budgets: 150 ns for a call that is filtered out, three times one policy's for a hundred; 200 KiB for a policy.
pub fn run(bench: &mut Bench) {
    let file = bench.folder.path().join("read");
    fs::write(&file, "0123456789").expect("write a file");
    for kind in &KINDS {
        filtered(bench, kind, &file);
        posted(bench, kind, &file);
    }
    for kind in &KINDS[1..3] {
        memory(bench, kind);
    }
}

fn filtered(bench: &mut Bench, kind: &Kind, file: &Path) {
    let mut added: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut alone = Vec::new();
    for _ in 0..ROUNDS {
        for count in kind.filtered {
            let without = each(file, LOOP);
            let agent = with_policies(bench, kind, *count, |number| format!("/nowhere/{number}"));
            each(file, LOOP / 10);
            let with = each(file, LOOP);
            agent.stop(&mut bench.losses);
            added.entry(*count).or_default().push((with - without) * 1e9 / kind.calls as f64);
            alone.push(without * 1e9);
        }
    }
    let alone = Sample::new(alone).median();
    for (count, added) in &added {
        let Kind { what, calls, .. } = kind;
        let sample = Sample::new(added.clone());
        // Of more policies there is the ratio; and what nothing hooks is no hooked call.
        let has_budget = *count == 1 && !kind.posted.is_empty();
        bench.table.add(Row {
            what: format!("filtered out by {count}: {what}"),
            budget: if has_budget { "≤ 150 ns" } else { "–" },
            measured: nanoseconds(&sample),
            met: has_budget.then(|| sample.median() <= 150.0),
            how: format!(
                "CPU time that each of {calls} calls of open, read and close of one file takes more than without an \
                 agent ({alone:.0} ns for the three), {LOOP} times in each of {ROUNDS} rounds with and without in turn; \
                 median of the rounds."
            ),
        });
    }
    if let (Some(one), Some(hundred)) = (added.get(&1), added.get(&100)) {
        let ratios = Sample::new(one.iter().zip(hundred).map(|(one, hundred)| hundred / one).collect());
        bench.table.add(Row {
            what: format!("filtered out by 100, to 1: {}", kind.what),
            budget: "≤ 3",
            measured: format!(
                "{:.2} (quartiles {:.2} to {:.2})",
                ratios.median(),
                ratios.quantile(0.25),
                ratios.quantile(0.75)
            ),
            met: Some(ratios.median() <= 3.0),
            how: "of the same rounds; median of the rounds' ratios.".into(),
        });
    }
}

/// No budget: what is posted is worth what it costs.
fn posted(bench: &mut Bench, kind: &Kind, file: &Path) {
    let folder = bench.folder.path().display().to_string();
    for count in kind.posted {
        let times = RECORDS / count / kind.calls;
        let (mut added, mut losses) = (Vec::new(), Losses::default());
        for _ in 0..ROUNDS {
            let without = each(file, times);
            let agent = with_policies(bench, kind, *count, |_| folder.clone());
            let with = each(file, times);
            agent.stop(&mut losses);
            added.push((with - without) * 1e9 / kind.calls as f64);
        }
        let Losses { seen, lost, .. } = losses;
        bench.table.add(Row {
            what: format!("posted by {count}: {}", kind.what),
            budget: "–",
            measured: nanoseconds(&Sample::new(added)),
            met: None,
            how: format!(
                "as above, {times} times in each of {ROUNDS} rounds: {RECORDS} records a round, for which the ring buffer \
                 of {} MiB has room. {lost} of {seen} events were lost on their way out.",
                RING >> 20
            ),
        });
    }
}

fn memory(bench: &mut Bench, kind: &Kind) {
    let mut rows = Vec::new();
    for count in COUNTS {
        let agent = with_policies(bench, kind, count, |number| format!("/nowhere/{number}"));
        let told = agent.metrics().sum("trigon_policy_kernel_memory_bytes", &[]);
        rows.push((count as f64, told, agent.kernel_memory() as f64));
        agent.stop(&mut bench.losses);
    }
    let each: Vec<_> = rows.iter().map(|(count, told, _)| format!("{:.1}", told / count / 1024.0)).collect();
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    let further = |of: fn(&(f64, f64, f64)) -> f64| (of(&last) - of(&first)) / (last.0 - first.0) / 1024.0;
    let (told, kernel) = (further(|row| row.1), further(|row| row.2));
    bench.table.add(Row {
        what: format!("kernel memory of a further policy: {}", kind.what),
        budget: "≤ 200 KiB",
        measured: format!("{told:.1} KiB by the metric, {kernel:.1} KiB by the kernel"),
        met: Some(told.max(kernel) <= 200.0),
        how: format!(
            "from 1 policy to 100: the growth of trigon_policy_kernel_memory_bytes, and of what the kernel says that \
             the agent's maps and programs take (memlock in /proc/PID/fdinfo). By the metric each of {COUNTS:?} \
             policies takes {} KiB.",
            each.join(", ")
        ),
    });
}

fn nanoseconds(sample: &Sample) -> String {
    format!(
        "{:.0} ns (quartiles {:.0} to {:.0})",
        sample.median(),
        sample.quantile(0.25),
        sample.quantile(0.75)
    )
}

/// An agent with so many policies, each of which asks for the files of a folder.
fn with_policies(bench: &Bench, kind: &Kind, count: usize, folder: impl Fn(usize) -> String) -> Agent {
    let policies = bench.folder.path().join("policies");
    // What the last one left.
    let _ = fs::remove_dir_all(&policies);
    fs::create_dir(&policies).expect("make a folder");
    for number in 0..count {
        let policy = kind.policy.replace("NAME", &format!("bench-{number}"));
        let policy = policy.replace("name: follow", &format!("name: bench-{number}"));
        let policy = policy.replace("FOLDER", &folder(number)).replace("PIDS", "");
        fs::write(file_of(&policies, number), policy).expect("write a policy");
    }
    let policies = policies.display();
    let agent = bench.agent(&format!("[policy]\ndir = \"{policies}\"\n[limits]\nring_buffer_bytes = {RING}"));
    let enabled = || agent.metrics().sum("trigon_policies", &[("state", "enabled")]) == count as f64;
    wait_for("all policies to be in force", enabled, || format!("{}\n{}", agent.metrics(), agent.log()));
    agent
}

fn file_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number}.yaml"))
}

/// Seconds of this thread's CPU time that open, read and close of a file take, of many times: the median of parts of
/// them, so that an interrupt or a neighbour is in none.
fn each(path: &Path, times: usize) -> f64 {
    let mut bytes = [0; 16];
    let part = (times / PARTS).max(1);
    let parts = (0..PARTS).map(|_| {
        let begun = cpu_time();
        for _ in 0..part {
            let mut file = File::open(path).expect("open the file");
            assert_eq!(file.read(&mut bytes).expect("read the file"), 10);
        }
        (cpu_time() - begun) / part as f64
    });
    Sample::new(parts.collect()).median()
}

/// Of this thread, in seconds.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
