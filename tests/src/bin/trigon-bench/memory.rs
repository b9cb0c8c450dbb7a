//! How much memory the agent takes, what it costs when nothing happens, and how soon it is there.

use std::{
    io::PipeWriter,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Bench,
    cpu::Memory,
    table::{Row, Sample},
    wait_for,
};

const LIVING: usize = 10_000;
const CAPACITY: usize = 65_536;
const STARTS: usize = 9;
/// A signal that comes right after the agent is ready finds it not yet listening.
const SETTLED: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(10);
/// Threads that fill the table.
const SPAWNERS: usize = 2;

/// Processes that wait until this is dropped.
struct Living {
    children: Vec<Child>,
    writer: Option<PipeWriter>,
}

/// Budgets: 300 ms from start to first event; 0.1 % of a core and 15 MiB when nothing happens.
pub fn idle(bench: &mut Bench) {
    let starts: Vec<f64> = (0..STARTS)
        .map(|_| {
            let agent = bench.agent("");
            let started = agent.started.as_secs_f64() * 1e3;
            thread::sleep(SETTLED);
            agent.stop(&mut bench.losses);
            started
        })
        .collect();
    let starts = Sample::new(starts);
    bench.table.add(Row {
        what: "start to first event".into(),
        budget: "≤ 300 ms",
        measured: format!("{:.0} ms ({:.0} to {:.0})", starts.median(), starts.quantile(0.0), starts.quantile(1.0)),
        met: Some(starts.median() <= 300.0),
        how: format!(
            "from the process's start to /readyz, which is 200 once the programs are attached and /proc is read; \
             median of {STARTS} starts."
        ),
    });

    let agent = bench.agent("");
    thread::sleep(Duration::from_secs(5));
    let (cpu, events, begun) = (agent.cpu(), agent.events("PROCESS_EXIT"), Instant::now());
    // That question was work of its own.
    let cpu = cpu.max(agent.cpu());
    thread::sleep(IDLE);
    let share = (agent.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let (memory, events) = (agent.memory(), agent.events("PROCESS_EXIT") - events);
    let processes = agent.table();
    agent.stop(&mut bench.losses);
    bench.table.add(Row {
        what: "idle CPU".into(),
        budget: "≤ 0.1 %",
        measured: format!("{share:.3} %"),
        met: Some(share <= 0.1),
        how: format!("of one core, over {} s in which {events} processes of others ended.", IDLE.as_secs()),
    });
    row(
        bench,
        "RSS, idle host",
        "≤ 15 MiB",
        15.0,
        memory,
        format!("after 15 s, with {processes} processes in the table."),
    );
}

/// Budgets: 25 MiB with 10 000 processes, 60 MiB with a full table.
pub fn tables(bench: &mut Bench) {
    let tiny = bench.tiny();
    let agent = bench.agent("");
    let living = Living::start(&tiny, LIVING);
    wait_for(
        "the table to have them",
        || agent.table() + agent.lost() >= LIVING as f64,
        || agent.metrics().to_string(),
    );
    thread::sleep(Duration::from_secs(3));
    let (seen, known) = (agent.memory(), agent.table());
    agent.stop(&mut bench.losses);
    let agent = bench.agent("");
    thread::sleep(Duration::from_secs(3));
    let (found, processes) = (agent.memory(), agent.table());
    agent.stop(&mut bench.losses);
    drop(living);
    let how = format!(
        "{LIVING} living processes that the agent saw start ({known} in the table); {found} in an agent that found them in /proc ({processes} in the table)."
    );
    let worse = if found.rss > seen.rss { found } else { seen };
    bench.table.add(Row {
        what: "RSS, 10 000 processes".into(),
        budget: "≤ 25 MiB",
        measured: seen.to_string(),
        met: Some(worse.rss <= 25 * 1024),
        how,
    });

    // None is forgotten for age: in the end the table is full of processes that have ended.
    let agent = bench.agent("linger = \"1h\"");
    thread::scope(|scope| {
        for _ in 0..SPAWNERS {
            scope.spawn(|| (0..CAPACITY / SPAWNERS).for_each(|number| short(&tiny, number)));
        }
    });
    wait_for(
        "the table to be full",
        || agent.table() + agent.lost() >= CAPACITY as f64,
        || agent.metrics().to_string(),
    );
    thread::sleep(Duration::from_secs(3));
    let (memory, processes) = (agent.memory(), agent.table());
    agent.stop(&mut bench.losses);
    row(
        bench,
        "RSS, full table of 65 536",
        "≤ 60 MiB",
        60.0,
        memory,
        format!(
            "{processes} executions, each with its own image of some 130 bytes of text, held by linger = 1h."
        ),
    );
}

fn row(bench: &mut Bench, what: &str, budget: &'static str, limit: f64, memory: Memory, how: String) {
    bench.table.add(Row {
        what: what.into(),
        budget,
        measured: memory.to_string(),
        met: Some(memory.rss as f64 / 1024.0 <= limit),
        how,
    });
}

fn command(program: &Path, number: usize) -> Command {
    let mut command = Command::new(program);
    // About what a server's worker has.
    command.args(["--config=/etc/service/worker.conf", "--listen=127.0.0.1:8080", &format!("--id={number}")]);
    command.env_clear().stdout(Stdio::null());
    command
}

fn short(program: &Path, number: usize) {
    let mut child = command(program, number).stdin(Stdio::null()).spawn().expect("start a child");
    child.wait().expect("wait for a child");
}

// === impl Living ===

impl Living {
    fn start(program: &Path, count: usize) -> Self {
        let (reader, writer) = std::io::pipe().expect("make a pipe");
        let start = |number| {
            let stdin = reader.try_clone().expect("share the pipe");
            command(program, number).stdin(stdin).spawn().expect("start a child")
        };
        Self { children: (0..count).map(start).collect(), writer: Some(writer) }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        // They read the end of the pipe, and exit.
        drop(self.writer.take());
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
