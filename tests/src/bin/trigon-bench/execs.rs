//! What the agent costs those who execute, and what an execution costs the agent.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Bench,
    agent::Agent,
    table::{Row, Sample},
};

/// Executions in one round of the loop.
const LOOP: usize = 800;
/// Rounds with and without the agent.
const ROUNDS: usize = 21;
/// Executions in one round that measures the agent's CPU time.
const PAIRS: usize = 4_000;
const CPU_ROUNDS: usize = 5;

/// Longer than a batch waits for others.
const DRAINED: Duration = Duration::from_millis(1_500);

/// Budget: the loop takes at most 1.05 of what it takes without an agent.
pub fn slowdown(bench: &mut Bench) {
    let tiny = bench.tiny();
    for (what, program) in [("/bin/true", Path::new("/bin/true")), ("a program of 143 bytes", &tiny)] {
        let mut ratios = Vec::new();
        let mut alone = Vec::new();
        for round in 0..ROUNDS {
            // Which goes first changes, so that neither is always the one that finds the caches warm.
            let (without, with) = if round % 2 == 0 {
                let without = each(program, LOOP);
                (without, watched(bench, program))
            } else {
                let with = watched(bench, program);
                (each(program, LOOP), with)
            };
            ratios.push(with / without);
            alone.push(without * 1e6);
        }
        let (ratios, alone) = (Sample::new(ratios), Sample::new(alone));
        bench.table.add(Row {
            what: format!("slowdown of an exec+exit loop: {what}"),
            budget: "≤ 1.05",
            measured: format!(
                "{:.3} (quartiles {:.3} to {:.3})",
                ratios.median(),
                ratios.quantile(0.25),
                ratios.quantile(0.75)
            ),
            met: Some(ratios.median() <= 1.05),
            how: format!(
                "posix_spawn and wait, {LOOP} times in each of {ROUNDS} rounds with and without the agent in turn; \
                 median of the rounds' ratios. {:.0} µs each without. The loop has one core, the agent (log records by \
                 gRPC, spans by HTTP, JSON to /dev/null) and a receiver that discards share another.",
                alone.median()
            ),
        });
    }
}

/// Budget: 25 µs for each exec+exit pair.
pub fn cpu(bench: &mut Bench) {
    let tiny = bench.tiny();
    let agent = bench.agent("");
    each(&tiny, 200);
    std::thread::sleep(DRAINED);
    let mut costs = Vec::new();
    let (first, all) = (agent.cpu_by_thread(), agent.events("PROCESS_EXEC"));
    for _ in 0..CPU_ROUNDS {
        let (events, cpu) = (agent.events("PROCESS_EXEC"), agent.cpu());
        each(&tiny, PAIRS);
        std::thread::sleep(DRAINED);
        let spent = agent.cpu() - cpu;
        // What others of the machine executed was work for the agent too.
        costs.push(spent.as_secs_f64() * 1e6 / (agent.events("PROCESS_EXEC") - events));
    }
    let all = agent.events("PROCESS_EXEC") - all;
    let last = agent.cpu_by_thread();
    let threads = last.iter().map(|(name, time)| {
        let spent = time.saturating_sub(first.get(name).copied().unwrap_or_default());
        format!("{name} {:.1}", spent.as_secs_f64() * 1e6 / all)
    });
    let threads = threads.collect::<Vec<_>>().join(", ");
    agent.stop(&mut bench.losses);
    let costs = Sample::new(costs);
    bench.table.add(Row {
        what: "user-space CPU per exec+exit pair".into(),
        budget: "≤ 25 µs",
        measured: format!("{:.1} µs ({:.1} to {:.1})", costs.median(), costs.quantile(0.0), costs.quantile(1.0)),
        met: Some(costs.median() <= 25.0),
        how: format!(
            "the scheduler's run time of all the agent's threads, system calls included, over {PAIRS} pairs at the \
             loop's speed; a pair is a fork, an exec and an exit record. All exporters on. Median of {CPU_ROUNDS} rounds. \
             By thread, in µs: {threads}."
        ),
    });
}

fn watched(bench: &mut Bench, program: &Path) -> f64 {
    let agent: Agent = bench.agent("");
    each(program, 50);
    let time = each(program, LOOP);
    agent.stop(&mut bench.losses);
    time
}

/// Seconds that one execution takes, of many.
fn each(program: &Path, count: usize) -> f64 {
    let begun = Instant::now();
    for _ in 0..count {
        spawn(program).wait().expect("wait for a child");
    }
    begun.elapsed().as_secs_f64() / count as f64
}

fn spawn(program: &Path) -> std::process::Child {
    let mut command = Command::new(program);
    command.args(["--some", "arguments", "as-programs=have"]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start a child")
}
