//! From what a workload did to exactly what the agent must have said: the one place that knows the rules.

mod sighting;

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use trigon_exporters::identity::ExecId;

pub use self::sighting::{Sighting, What, exec_id};
use crate::{
    otlp::{Attributes as _, Span, hex},
    workload::{Done, End, Fact},
};

/// Nanoseconds of one tick of `/proc/<pid>/stat`.
const TICK: u64 = 10_000_000;

/// The part of the execution that moves its process into a container's cgroup, and then executes the next.
const BEFORE_CONTAINER: &str = "before the cgroup";

/// An execution of the workload, found again in what the agent said.
#[derive(Clone, Debug)]
pub struct Execution {
    /// What it was.
    pub fact: Fact,
    /// Its id.
    pub id: ExecId,
    /// The execution before it in the same process.
    pub replaced: Option<ExecId>,
}

/// All executions of a deed.
#[derive(Clone, Debug)]
pub struct Executions {
    node: String,
    all: Vec<Execution>,
}

/// How many records a deed makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Execs.
    pub execs: usize,
    /// Exits.
    pub exits: usize,
    /// Spans: one for each execution.
    pub spans: usize,
}

// === impl Counts ===

impl Counts {
    /// What a deed makes.
    pub fn of(done: &Done) -> Self {
        Self {
            execs: done.facts.iter().filter(|fact| fact.exec).count(),
            exits: done.facts.iter().filter(|fact| fact.end != End::Exec).count(),
            spans: done.facts.len(),
        }
    }

    /// Events, each a log record and a line.
    pub fn events(self) -> usize {
        self.execs + self.exits
    }
}

// === impl Executions ===

impl Executions {
    /// Finds every execution of a deed in what the agent said about it, and checks that it said exactly that:
    /// nothing more and nothing less, with the ids that the kernel's facts give.
    ///
    /// # Panics
    /// Where anything differs.
    pub fn check(done: &Done, sightings: &[Sighting]) -> Self {
        let node = sightings.first().expect("the agent said something").node.clone();
        assert!(sightings.iter().all(|sighting| sighting.node == node), "one node: {sightings:?}");
        let executions = Self { node, all: find(done, sightings) };
        for execution in &executions.all {
            executions.check_one(execution, sightings);
        }
        let counts = Counts::of(done);
        assert_eq!(sightings.len(), counts.events(), "events of {done:?}: {sightings:#?}");
        executions
    }

    /// The node that all of them ran on.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The executions.
    pub fn iter(&self) -> impl Iterator<Item = &Execution> {
        self.all.iter()
    }

    /// The one execution with this part.
    pub fn role(&self, role: &str) -> &Execution {
        let mut found = self.all.iter().filter(|execution| execution.fact.role == role);
        found
            .next()
            .filter(|_| found.next().is_none())
            .unwrap_or_else(|| panic!("not one {role:?} in {self:#?}"))
    }

    /// The execution that started this one, where it is the workload's.
    fn parent(&self, of: &Execution) -> Option<&Execution> {
        let pid = of.replaced.map_or(of.fact.parent, |replaced| replaced.pid);
        let earlier = self.all.iter().filter(|other| other.id.pid == pid && other.id.ktime < of.id.ktime);
        earlier.max_by_key(|other| other.id.ktime)
    }

    fn check_one(&self, execution: &Execution, sightings: &[Sighting]) {
        let Execution { fact, id, replaced } = execution;
        let of_it: Vec<_> = sightings.iter().filter(|sighting| sighting.id == *id).collect();
        let said: Vec<_> = of_it.iter().map(|sighting| sighting.what).collect();
        let exec = fact.exec.then_some(What::Exec);
        let exit = (fact.end != End::Exec).then_some(What::Exit(fact.end));
        let wanted: Vec<_> = exec.into_iter().chain(exit).collect();
        assert_eq!(said, wanted, "what the agent said about {fact:?}, in order");
        if let Some(start) = fact.start {
            let images =
                self.all.iter().filter(|other| other.id.pid == id.pid && other.id.ktime < id.ktime).count();
            let of_process = id.ktime - if replaced.is_some() { images as u64 } else { 0 };
            assert_eq!(of_process / TICK, start, "start of {fact:?} as the kernel tells it");
        }
        for sighting in of_it {
            let parent = sighting.parent.unwrap_or_else(|| panic!("no parent: {sighting:?}"));
            match self.parent(execution) {
                Some(known) => assert_eq!(parent, known.id, "parent of {fact:?}"),
                None => assert_eq!(parent.pid, fact.parent, "parent of {fact:?}"),
            }
            assert_eq!(sighting.span, id.span_id(&self.node).to_string(), "span id of {fact:?}");
            if self.is_root(execution) {
                assert_eq!(sighting.trace, id.trace_id(&self.node).to_string(), "trace of a root, {fact:?}");
            } else if let Some(known) = self.parent(execution) {
                let of_parent = sightings.iter().find(|other| other.id == known.id);
                assert_eq!(Some(&sighting.trace), of_parent.map(|other| &other.trace), "trace of {fact:?}");
            }
        }
    }

    /// Whether an execution is its trace's root: it leads its session, or has entered a container.
    fn is_root(&self, execution: &Execution) -> bool {
        let entered = |before: &Execution| before.fact.role == BEFORE_CONTAINER;
        let entered = execution.replaced.is_some() && self.parent(execution).is_some_and(entered);
        entered || execution.fact.session == Some(execution.id.pid)
    }

    /// Checks that there is exactly one span for each execution, and that spans and events agree.
    ///
    /// # Panics
    /// Where anything differs.
    pub fn check_spans(&self, sightings: &[Sighting], spans: &[&Span]) {
        assert_eq!(spans.len(), self.all.len(), "one span for each execution");
        let by_id: BTreeMap<_, _> = spans.iter().map(|span| (span.record.span_id.clone(), *span)).collect();
        for execution in &self.all {
            let span_id = execution.id.span_id(&self.node).0.to_vec();
            let span = by_id.get(&span_id).unwrap_or_else(|| panic!("no span for {execution:?}"));
            self.check_span(execution, sightings, span, &by_id);
        }
    }

    fn check_span(
        &self,
        execution: &Execution,
        sightings: &[Sighting],
        span: &Span,
        spans: &BTreeMap<Vec<u8>, &Span>,
    ) {
        let Execution { fact, id, .. } = execution;
        let Span { record, .. } = span;
        let of_it = || sightings.iter().filter(|sighting| sighting.id == *id);
        assert!(of_it().all(|sighting| sighting.trace == hex(&record.trace_id)), "trace of {fact:?}");
        assert_eq!(record.kind, SpanKind::Internal as i32);
        assert_eq!(Some(record.name.as_str()), span.text("process.executable.name"));
        assert!(record.start_time_unix_nano <= record.end_time_unix_nano, "{record:?}");
        // The end of an execution is its exit, or the exec of the image that replaced it.
        let next = self.all.iter().find(|other| other.replaced == Some(*id));
        let ending = match next {
            Some(next) => {
                sightings.iter().find(|sighting| sighting.id == next.id && sighting.what == What::Exec)
            }
            None => of_it().find(|sighting| sighting.what != What::Exec),
        };
        assert_eq!(Some(record.end_time_unix_nano), ending.map(|sighting| sighting.time), "end of {fact:?}");
        if let Some(exec) = of_it().find(|sighting| sighting.what == What::Exec) {
            assert_eq!(record.start_time_unix_nano, exec.time, "start of {fact:?}");
        }
        if let Some(parent) = self.parent(execution) {
            let parent_span = parent.id.span_id(&self.node).0.to_vec();
            let above = spans[&parent_span];
            assert!(above.record.start_time_unix_nano <= record.start_time_unix_nano, "a child starts later");
            if self.is_root(execution) {
                assert!(record.parent_span_id.is_empty(), "a root has no parent: {record:?}");
                let links: Vec<_> = record.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
                assert_eq!(
                    links,
                    [(&above.record.trace_id, &parent_span)],
                    "a root links to where it came from"
                );
            } else {
                assert_eq!(record.parent_span_id, parent_span, "parent span of {fact:?}");
                assert!(record.links.is_empty(), "{record:?}");
            }
        }
        let error = match fact.end {
            End::Exec | End::Exit(0) => None,
            End::Exit(code) => Some(code.to_string()),
            End::Signal { number, .. } => Some(sighting::signal_name(number)),
        };
        let status = record.status.as_ref().map_or(StatusCode::Unset, |status| status.code());
        assert_eq!(status, if error.is_some() { StatusCode::Error } else { StatusCode::Unset }, "{record:?}");
        assert_eq!(span.text("error.type"), error.as_deref(), "{record:?}");
    }
}

/// Gives each fact the id that the agent gave it: for each pid, in the order of their starts.
fn find(done: &Done, sightings: &[Sighting]) -> Vec<Execution> {
    let mut ids: BTreeMap<u32, BTreeSet<ExecId>> = BTreeMap::new();
    for sighting in sightings {
        ids.entry(sighting.id.pid).or_default().insert(sighting.id);
    }
    let mut facts: BTreeMap<u32, Vec<&Fact>> = BTreeMap::new();
    for fact in &done.facts {
        facts.entry(fact.pid).or_default().push(fact);
    }
    assert!(ids.keys().eq(facts.keys()), "processes seen {:?}, told {:?}", ids.keys(), facts.keys());
    let mut all = Vec::new();
    for (pid, facts) in facts {
        let ids = &ids[&pid];
        assert_eq!(ids.len(), facts.len(), "executions of process {pid}: {ids:?}, {facts:?}");
        let mut replaced: Option<ExecId> = None;
        for (fact, id) in facts.into_iter().zip(ids) {
            if let Some(before) = replaced {
                assert_eq!(id.ktime, before.ktime + 1, "exec over exec counts up: {fact:?}");
            }
            all.push(Execution { fact: fact.clone(), id: *id, replaced });
            replaced = (fact.end == End::Exec).then_some(*id);
        }
    }
    all
}
