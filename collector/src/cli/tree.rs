//! `trigon tree`

use std::{collections::HashMap, io, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use tracing::error;

use super::{
    agent::{Agent, failed},
    output::{Output, between, columns, cut, length, write},
};
use crate::api::processes::{How, ProcessList, ProcessStatus};

/// Arguments of `trigon tree`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show only this process, or this execution, and what it started.
    #[arg(value_name = "PID|EXEC_ID")]
    root: Option<String>,
    /// Show the threads of the kernel, too.
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    agent: Agent,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Executions as a tree.
struct Tree<'a> {
    list: &'a ProcessList,
    /// Index of each.
    known: HashMap<&'a str, usize>,
    /// Indices of those that each started, in the order in which they began.
    children: HashMap<&'a str, Vec<usize>>,
    /// Indices of those that nobody started who is known, or of the one that is wanted.
    roots: Vec<usize>,
    columns: Option<usize>,
}

/// What is still to be written: an execution, what stands before its own branch, and whether it is the last of its
/// parent's.
struct Pending {
    index: usize,
    indent: String,
    branch: &'static str,
}

/// Shows the process table of the agent that runs here.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { root, all, agent, output } = arguments;
    agent.ask(async |client| match client.processes().await {
        Ok(mut list) => {
            list.processes.retain(|process| all || !process.kernel_thread);
            if let Some(root) = &root
                && !list.keep_below(root)
            {
                error!("no process or execution {root} lives or ended a moment ago");
                return ExitCode::FAILURE;
            }
            let text = |out: &mut dyn io::Write| Tree::new(&list, columns()).write(out);
            write(output, &list, text, ExitCode::SUCCESS)
        }
        Err(error) => failed(&error),
    })
}

// === impl ProcessList ===

impl ProcessList {
    /// Keeps an execution, or the executions of a process, and what they started; false if there is none.
    fn keep_below(&mut self, root: &str) -> bool {
        let pid: Option<u32> = root.parse().ok();
        let mut kept: std::collections::HashSet<String> = Default::default();
        // Whoever starts another began before it.
        for process in &self.processes {
            let is_root = process.exec_id == root || pid == Some(process.pid);
            let parent = process.parent_exec_id.as_ref();
            if is_root || parent.is_some_and(|parent| kept.contains(parent)) {
                kept.insert(process.exec_id.clone());
            }
        }
        self.processes.retain(|process| kept.contains(&process.exec_id));
        !kept.is_empty()
    }
}

// === impl Tree ===

impl<'a> Tree<'a> {
    fn new(list: &'a ProcessList, columns: Option<usize>) -> Self {
        let known: HashMap<&str, usize> =
            list.processes.iter().enumerate().map(|(index, process)| (&*process.exec_id, index)).collect();
        let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut roots = Vec::new();
        for (index, process) in list.processes.iter().enumerate() {
            match process.parent_exec_id.as_deref().and_then(|parent| known.get_key_value(parent)) {
                // One that says it started itself, or a later one, would never be shown.
                Some((parent, at)) if *at < index => children.entry(parent).or_default().push(index),
                _ => roots.push(index),
            }
        }
        Self { list, known, children, roots, columns }
    }

    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "{:>7}  {:>7}  COMMAND", "PID", "AGE")?;
        let top = |index: &usize| Pending { index: *index, indent: String::new(), branch: "" };
        let mut pending: Vec<Pending> = self.roots.iter().rev().map(top).collect();
        while let Some(Pending { index, indent, branch }) = pending.pop() {
            let process = &self.list.processes[index];
            writeln!(out, "{}", cut(&self.line(process, &indent, branch), self.columns))?;
            let below = match branch {
                "" => indent,
                "└─ " => indent + "   ",
                _ => indent + "│  ",
            };
            let children = self.children.get(&*process.exec_id).map_or(&[][..], Vec::as_slice);
            for (place, child) in children.iter().enumerate().rev() {
                let branch = if place + 1 == children.len() { "└─ " } else { "├─ " };
                pending.push(Pending { index: *child, indent: below.clone(), branch });
            }
        }
        Ok(())
    }

    fn line(&self, process: &ProcessStatus, indent: &str, branch: &str) -> String {
        let now = self.list.now;
        let until = process.end.as_ref().map_or(now, |end| end.at);
        let age = length(between(process.start, until));
        let mut line = format!("{:>7}  {age:>7}  {indent}{branch}{}", process.pid, process.command);
        let parent = process.parent_exec_id.as_deref().and_then(|id| self.known.get(id));
        let parent = parent.map(|index| &self.list.processes[*index]);
        if let Some(place) = process.place(parent) {
            line += &format!("  [{place}]");
        }
        if let Some(end) = &process.end {
            line += &format!("  ({})", ended(&end.how, end.at, now));
        }
        line
    }
}

fn ended(how: &How, at: Timestamp, now: Timestamp) -> String {
    let ago = length(between(at, now));
    match how {
        How::ExitCode(code) => format!("exit {code}, {ago} ago"),
        How::Signal(name) => format!("{name}, {ago} ago"),
        How::Exec => format!("became another, {ago} ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::processes::{EndStatus, PodStatus};

    fn process(pid: u32, parent: u32, command: &str, end: Option<How>) -> ProcessStatus {
        let at = Timestamp::from_second(100 + i64::from(pid)).unwrap();
        ProcessStatus {
            exec_id: format!("id{pid}"),
            parent_exec_id: Some(format!("id{parent}")),
            pid,
            uid: 0,
            command: command.to_owned(),
            start: at,
            trace_id: String::new(),
            span_id: String::new(),
            container: None,
            pod: None,
            kernel_thread: false,
            forked: false,
            end: end.map(|how| EndStatus { at, how }),
        }
    }

    fn list() -> ProcessList {
        let contained = |process| ProcessStatus { container: Some("0123456789abcdef".to_owned()), ..process };
        let in_pod = |container: Option<&str>, process| {
            let container = container.map(str::to_owned);
            let pod = PodStatus { namespace: "shop".to_owned(), name: "web-1".to_owned(), container };
            ProcessStatus { pod: Some(pod), ..contained(process) }
        };
        ProcessList {
            now: Timestamp::from_second(200).unwrap(),
            processes: vec![
                process(1, 0, "/sbin/init", None),
                process(20, 1, "/usr/sbin/sshd -D", None),
                process(30, 20, "/bin/bash", None),
                contained(process(31, 30, "/pause", None)),
                contained(process(32, 31, "/bin/sh -c exit", Some(How::ExitCode(3)))),
                process(40, 1, "/usr/sbin/cron", Some(How::Signal("SIGKILL".to_owned()))),
                process(50, 1, "/usr/bin/containerd-shim", None),
                in_pod(None, process(51, 50, "/pause", None)),
                in_pod(Some("nginx"), process(52, 50, "/usr/sbin/nginx", None)),
                in_pod(Some("nginx"), process(53, 52, "/bin/sh", None)),
            ],
        }
    }

    #[test]
    fn a_tree_has_branches_ages_containers_and_ends() {
        let list = list();
        let mut out = Vec::new();
        Tree::new(&list, None).write(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_part_of_it_is_what_one_started() {
        let mut part = list();
        assert!(part.keep_below("30"));
        let pids: Vec<_> = part.processes.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [30, 31, 32]);
        assert!(part.keep_below("id31"));
        assert_eq!(part.processes.len(), 2);
        assert!(!part.keep_below("7"));
    }

    /// A chain as long as a table, which would end a recursion.
    #[test]
    fn a_deep_tree_has_an_end() {
        let processes = (1..20_000).map(|pid| process(pid, pid - 1, "x", None)).collect();
        let list = ProcessList { now: Timestamp::now(), processes };
        let tree = Tree::new(&list, Some(80));
        assert_eq!(tree.roots.len(), 1);
        assert_eq!(tree.children.len(), 19_998);
    }
}
