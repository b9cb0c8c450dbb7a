use trigon_exporters::{
    event::{Exec, Kind, Pod, PodContainer, Process, Timestamp},
    identity::ExecId,
};

use super::*;
use crate::kubernetes::{pod::PodEntry, pods::Change};

const WAIT: Duration = Duration::from_secs(5);
const UID: &str = "a1b2c3d4-0001-4002-8003-0123456789ab";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Bench {
    cgroups: Cgroups,
    waiting: Waiting,
    start: Instant,
    out: Vec<u64>,
}

impl Bench {
    fn new(most: usize) -> Self {
        Self {
            cgroups: Cgroups::default(),
            waiting: Waiting::new(WAIT, most),
            start: Instant::now(),
            out: Vec::new(),
        }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// A process of this pid, in a cgroup with this id and path, does something at this second.
    fn event(&mut self, number: u64, pid: u32, cgroup: (u64, &str), second: u64) {
        let process = Process {
            exec_id: ExecId { ktime: 1, pid },
            cgroup: self.cgroups.get(cgroup.0, cgroup.1),
            ..Process::default()
        };
        let event = Event {
            time: Timestamp(number),
            observed: Timestamp(number),
            process: Arc::new(process),
            parent: None,
            kind: Kind::Exec(Exec::default()),
        };
        let now = self.at(second);
        self.waiting.take(event, &self.cgroups, now, &mut |event: Event| self.out.push(event.time.0));
    }

    fn settle(&mut self, second: u64) {
        let now = self.at(second);
        self.waiting.settle(&self.cgroups, now, &mut |event: Event| self.out.push(event.time.0));
    }

    fn pod(&mut self, containers: &[&str]) {
        let container =
            |id: &&str| Arc::new(PodContainer { id: (*id).to_owned(), ..PodContainer::default() });
        let entry = PodEntry {
            pod: Arc::new(Pod { name: "web".into(), ..Pod::default() }),
            cgroup_uid: UID.into(),
            containers: containers.iter().map(container).collect(),
            ..PodEntry::default()
        };
        let now = self.start;
        self.cgroups.change_pods(|pods| pods.take(Change::Is(Box::new(entry)), now));
    }
}

fn path() -> String {
    format!("kubepods/burstable/pod{UID}/{ID}")
}

#[test]
fn events_of_the_host_and_of_other_containers_never_wait() {
    let mut bench = Bench::new(10);
    bench.event(1, 1, (1, "system.slice/sshd.service"), 0);
    bench.event(2, 2, (2, &format!("docker/{ID}")), 0);
    assert_eq!(bench.out, [1, 2]);
}

#[test]
fn they_wait_until_their_container_is_known() {
    let mut bench = Bench::new(10);
    bench.event(1, 1, (1, &path()), 0);
    bench.event(2, 2, (1, &path()), 1);
    bench.settle(2);
    bench.pod(&[]);
    bench.settle(2);
    assert!(bench.out.is_empty());
    bench.pod(&[ID]);
    bench.settle(2);
    assert_eq!((&*bench.out, bench.waiting.count()), (&[1, 2][..], 0));
    bench.event(3, 2, (1, &path()), 3);
    assert_eq!(bench.out, [1, 2, 3]);
    assert_eq!(bench.waiting.outcomes(), Outcomes { found: 2, ..Outcomes::default() });
}

#[test]
fn or_until_their_time_is_over_and_then_no_longer() {
    let mut bench = Bench::new(10);
    bench.event(1, 1, (1, &path()), 0);
    bench.settle(4);
    assert!(bench.out.is_empty());
    bench.settle(5);
    bench.event(2, 1, (1, &path()), 6);
    assert_eq!(bench.out, [1, 2]);
    assert_eq!(bench.waiting.outcomes(), Outcomes { without_pod: 1, ..Outcomes::default() });
}

#[test]
fn a_pod_without_its_container_is_better_than_nothing() {
    let mut bench = Bench::new(10);
    bench.pod(&[]);
    bench.event(1, 1, (1, &path()), 0);
    bench.settle(5);
    assert_eq!(bench.out, [1]);
    assert_eq!(bench.waiting.outcomes(), Outcomes { without_container: 1, ..Outcomes::default() });
}

#[test]
fn a_process_that_leaves_its_cgroup_keeps_its_order() {
    let mut bench = Bench::new(10);
    bench.event(1, 1, (1, &path()), 0);
    bench.event(2, 1, (2, "system.slice/sshd.service"), 0);
    bench.event(3, 2, (2, "system.slice/sshd.service"), 0);
    assert_eq!(bench.out, [3]);
    bench.settle(5);
    assert_eq!(bench.out, [3, 1, 2]);
    bench.event(4, 1, (2, "system.slice/sshd.service"), 6);
    assert_eq!(bench.out, [3, 1, 2, 4]);
}

#[test]
fn no_more_than_so_many_wait() {
    let mut bench = Bench::new(3);
    for number in 1..=4 {
        bench.event(number, number as u32, (1, &path()), 0);
    }
    assert_eq!((&*bench.out, bench.waiting.count()), (&[1, 2, 3, 4][..], 0));
    assert_eq!(bench.waiting.outcomes(), Outcomes { full: 4, ..Outcomes::default() });
}

#[test]
fn at_the_end_nothing_is_left() {
    let mut bench = Bench::new(10);
    bench.event(1, 1, (1, &path()), 0);
    let Bench { waiting, out, .. } = &mut bench;
    waiting.flush(&mut |event: Event| out.push(event.time.0));
    assert_eq!((&**out, waiting.count(), waiting.processes.len()), (&[1][..], 0, 0));
}

#[test]
fn cgroups_that_are_gone_are_forgotten() {
    let mut bench = Bench::new(10);
    for id in 1..100 {
        bench.event(id, id as u32, (id, &path()), 0);
    }
    bench.settle(5);
    bench.cgroups = Cgroups::default();
    bench.waiting.sweep();
    assert!(bench.waiting.given_up.is_empty() && bench.waiting.processes.is_empty());
}
