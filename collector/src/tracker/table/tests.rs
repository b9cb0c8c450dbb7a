use std::sync::Arc;

use trigon_exporters::{
    event::{Credentials, Image, Namespaces, ProcessFlags, Timestamp},
    identity::Trace,
};

use super::*;

const LINGER: u64 = 10;
const END: End = End::Exec;

fn id(pid: u32) -> ExecId {
    ExecId { ktime: u64::from(pid), pid }
}

fn entry(pid: u32, parent: Option<u32>) -> Entry {
    let exec_id = id(pid);
    let trace = Trace { id: exec_id.trace_id("n"), span: exec_id.span_id("n"), parent: None, link: None };
    let process = Process {
        exec_id,
        parent_exec_id: parent.map(id),
        trace,
        start: Timestamp(0),
        parent_pid: parent.unwrap_or(0),
        tid: pid,
        vpid: pid,
        session: 1,
        group: 1,
        auid: 0,
        flags: ProcessFlags::empty(),
        credentials: Credentials::default(),
        namespaces: Namespaces::default(),
        cgroup: Arc::default(),
        image: Arc::new(Image::default()),
    };
    Entry::new(Arc::new(process), 0, None)
}

fn table(capacity: usize, entries: &[(u32, Option<u32>)]) -> Table {
    let mut table = Table::new(capacity, LINGER);
    for (pid, parent) in entries {
        table.insert(entry(*pid, *parent), 0);
    }
    table
}

fn known(table: &Table) -> Vec<u32> {
    let mut pids: Vec<_> = table.entries.keys().map(|id| id.pid).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn what_ended_lingers() {
    let mut table = table(10, &[(1, None), (2, Some(1))]);
    table.end(id(2), 100, END);
    table.sweep(100 + LINGER - 1);
    assert!(table.get(id(2)).unwrap().ended());
    table.sweep(100 + LINGER);
    assert_eq!(known(&table), [1]);
    assert_eq!(table.evictions(), Evictions::default());
}

#[test]
fn a_parent_stays_with_its_children_and_goes_with_the_last() {
    let mut table = table(10, &[(1, None), (2, Some(1)), (3, Some(2)), (4, Some(2))]);
    table.end(id(1), 0, END);
    table.end(id(2), 0, END);
    table.sweep(1000);
    assert_eq!(known(&table), [1, 2, 3, 4]);
    table.end(id(3), 2000, END);
    table.sweep(3000);
    assert_eq!(known(&table), [1, 2, 4]);
    table.end(id(4), 4000, END);
    table.sweep(5000);
    assert_eq!(known(&table), [0; 0]);
}

#[test]
fn when_full_what_ended_goes_first_and_then_what_has_no_children() {
    let mut table = table(4, &[(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1))]);
    table.end(id(4), 0, END);
    table.insert(entry(5, Some(1)), 1);
    assert_eq!(known(&table), [1, 2, 3, 5]);
    assert_eq!(table.evictions(), Evictions { ended: 1, living: 0 });
    table.insert(entry(6, Some(1)), 2);
    // 1 and 2 have children: 3 is the oldest without.
    assert_eq!(known(&table), [1, 2, 5, 6]);
    assert_eq!(table.evictions(), Evictions { ended: 1, living: 1 });
}

#[test]
fn a_table_of_parents_only_is_bounded_too() {
    let mut table = Table::new(100, LINGER);
    for pid in 1..10_000 {
        table.insert(entry(pid, Some(pid.saturating_sub(1))), 0);
    }
    assert_eq!(table.len(), 100);
    assert_eq!(table.evictions().living, 9_999 - 100);
}

#[test]
fn an_exec_takes_over_from_its_fork() {
    let mut table = table(10, &[(1, None), (2, Some(1)), (3, Some(2))]);
    table.insert(entry(2, Some(1)), 0);
    assert_eq!(table.get(id(2)).unwrap().children, 1);
    assert_eq!(table.get(id(1)).unwrap().children, 1);
    // It may turn out that another was its parent.
    table.insert(entry(2, None), 0);
    assert_eq!(table.get(id(1)).unwrap().children, 0);
}

#[test]
fn an_end_is_taken_once() {
    let mut table = table(10, &[(1, None)]);
    table.end(id(1), 0, END);
    table.end(id(1), 5, END);
    table.end(id(7), 5, END);
    table.sweep(LINGER);
    assert_eq!(table.len(), 0);
    assert!(table.ended.is_empty());
}

/// Nothing grows with the number of processes that came and went.
#[test]
fn churn_leaves_nothing_behind() {
    let mut table = table(1_000, &[(1, None)]);
    for pid in 2..100_000 {
        table.insert(entry(pid, Some(1)), u64::from(pid));
        table.end(id(pid), u64::from(pid), END);
        table.sweep(u64::from(pid));
    }
    table.sweep(u64::MAX);
    assert_eq!(known(&table), [1]);
    assert_eq!(table.get(id(1)).unwrap().children, 0);
    assert!(table.arrivals.len() < 2_000 && table.ended.is_empty());
}
