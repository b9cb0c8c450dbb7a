//! The table against a plain model: what is written is at every moment what follows from what there is.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use trigon_exporters::event::{Pod, PodContainer};
use trigon_probes::placements::HOST;

use super::*;
use crate::policy::model::scope::{LabelOperator, LabelSelector, NAMESPACE_LABEL, Requirement, Workloads};

/// What is written, as the kernel would have it; no more than there is room for.
#[derive(Clone, Default)]
struct Written {
    entries: Arc<Mutex<BTreeMap<u64, ScopeBits>>>,
    room: Option<usize>,
}

impl Written {
    fn get(&self, id: u64) -> Option<ScopeBits> {
        self.entries.lock().unwrap().get(&id).copied()
    }

    fn has(&self, id: u64, bit: &ScopeBit) -> bool {
        let (word, bit) = (usize::from(bit.bit() / 64), bit.bit() % 64);
        self.get(id).is_some_and(|bits| bits[word] >> bit & 1 == 1)
    }
}

impl Store for Written {
    fn set(&mut self, cgroup: u64, scopes: ScopeBits) -> Result<(), ProbeError> {
        let mut entries = self.entries.lock().unwrap();
        if !entries.contains_key(&cgroup) && self.room.is_some_and(|room| entries.len() >= room) {
            return Err(ProbeError::Full("placements"));
        }
        entries.insert(cgroup, scopes);
        Ok(())
    }

    fn remove(&mut self, cgroup: u64) -> Result<(), ProbeError> {
        self.entries.lock().unwrap().remove(&cgroup);
        Ok(())
    }
}

/// What a process is in.
#[derive(Clone, Debug)]
struct Place {
    namespace: &'static str,
    app: Option<&'static str>,
    container: Option<(&'static str, &'static str)>,
}

/// Scopes, and what each is in plain words; the last says whether the host is in it.
type Row = (Scope, fn(&Place) -> bool, bool);

fn rows() -> Vec<Row> {
    let need = |key: &str, operator, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Requirement { key: key.to_owned(), operator, values }
    };
    let pods = |namespace: Option<&str>, labels: Vec<Requirement>, containers: Vec<Requirement>| {
        Some(Workloads {
            namespace: namespace.map(str::to_owned),
            labels: LabelSelector::new(labels),
            containers: LabelSelector::new(containers),
        })
    };
    let scope = |pods, host| Scope { pods, host };
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    vec![
        (scope(None, true), |_| false, true),
        (scope(pods(None, vec![], vec![]), false), |_| true, false),
        (scope(pods(Some("a"), vec![], vec![]), false), |place| place.namespace == "a", false),
        (
            scope(pods(None, vec![need("app", In, &["web", "db"])], vec![]), true),
            |place| place.app.is_some_and(|app| app == "web" || app == "db"),
            true,
        ),
        (
            scope(pods(None, vec![need("app", NotIn, &["web"])], vec![]), false),
            |place| place.app != Some("web"),
            false,
        ),
        (
            scope(pods(Some("b"), vec![need("app", Exists, &[])], vec![]), false),
            |place| place.namespace == "b" && place.app.is_some(),
            false,
        ),
        (
            scope(pods(None, vec![need("app", DoesNotExist, &[])], vec![]), false),
            |place| place.app.is_none(),
            false,
        ),
        (
            scope(pods(None, vec![need(NAMESPACE_LABEL, NotIn, &["a"])], vec![]), false),
            |place| place.namespace != "a",
            false,
        ),
        (
            scope(pods(None, vec![], vec![need("name", In, &["main"])]), false),
            |place| place.container.is_some_and(|(name, _)| name == "main"),
            false,
        ),
        (
            scope(
                pods(None, vec![need("app", In, &["db"])], vec![need("repo", NotIn, &["docker.io/nginx"])]),
                false,
            ),
            |place| {
                place.app == Some("db") && place.container.is_some_and(|(_, repo)| repo != "docker.io/nginx")
            },
            false,
        ),
        (scope(None, false), |_| false, false),
    ]
}

const UIDS: [&str; 3] = [
    "00000000-0000-0000-0000-00000000000a",
    "00000000-0000-0000-0000-00000000000b",
    "0000000000000000000000000000000c",
];
const NAMESPACES: [&str; 2] = ["a", "b"];
const APPS: [Option<&str>; 4] = [None, Some("web"), Some("db"), Some("")];
/// Name, image and what that is without tag and digest.
const CONTAINERS: [(&str, &str, &str); 3] = [
    ("main", "docker.io/nginx:1.25", "docker.io/nginx"),
    ("side", "reg:5000/side@sha256:00", "reg:5000/side"),
    ("init", "busy", "busy"),
];

fn container_id(pod: usize, container: usize) -> String {
    format!("{:064x}", 16 * pod + container + 1)
}

fn entry(pod: usize, namespace: usize, app: usize, containers: usize) -> Arc<PodEntry> {
    let namespace = NAMESPACES[namespace % NAMESPACES.len()].to_owned();
    let app = APPS[app % APPS.len()].map(|app| ("app".to_owned(), app.to_owned()));
    let container = |index: usize| {
        let (name, image, _) = CONTAINERS[index];
        let (name, image) = (name.to_owned(), image.to_owned());
        Arc::new(PodContainer { name, image, id: container_id(pod, index), ..PodContainer::default() })
    };
    let all_labels = Arc::new(app.into_iter().collect());
    Arc::new(PodEntry {
        pod: Arc::new(Pod { namespace, name: "pod".to_owned(), all_labels, ..Pod::default() }),
        cgroup_uid: UIDS[pod].to_owned(),
        containers: (0..containers % (CONTAINERS.len() + 1)).map(container).collect(),
        ..PodEntry::default()
    })
}

/// A cgroup by its number: pods', their containers', what these made, and others.
fn cgroup(number: usize) -> (u64, String, Option<(usize, Option<usize>)>) {
    let id = number as u64 + 10;
    let pod = number % UIDS.len();
    let slice = if pod == 1 {
        format!("kubepods/burstable/pod{}", UIDS[pod])
    } else {
        format!("kubepods.slice/kubepods-pod{}.slice", UIDS[pod].replace('-', "_"))
    };
    match number / UIDS.len() {
        0 => (id, slice, Some((pod, None))),
        part @ 1..=3 => {
            let name = container_id(pod, part - 1);
            let name = if pod == 1 { name } else { format!("cri-containerd-{name}.scope") };
            (id, format!("{slice}/{name}"), Some((pod, Some(part - 1))))
        }
        4 => (id, format!("{slice}/crio-{}.scope/init.scope", container_id(pod, 0)), Some((pod, Some(0)))),
        5 => (id, format!("{slice}/other"), Some((pod, None))),
        6 => (id, "kubepods.slice/kubepods-burstable.slice".to_owned(), Some((usize::MAX, None))),
        _ => (id, format!("system.slice/docker-{}.scope", container_id(pod, 0)), None),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pod(usize, usize, usize, usize),
    PodGone(usize),
    Cgroup(usize),
    CgroupGone(usize),
    Hold(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..UIDS.len(), 0..2_usize, 0..4_usize, 0..4_usize).prop_map(|(a, b, c, d)| Step::Pod(a, b, c, d)),
        (0..UIDS.len()).prop_map(Step::PodGone),
        (0..24_usize).prop_map(Step::Cgroup),
        (0..24_usize).prop_map(Step::CgroupGone),
        (0..11_usize).prop_map(Step::Hold),
        (0..11_usize).prop_map(Step::Drop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_follows_from_what_there_is(steps in prop::collection::vec(step(), 1..60)) {
        let rows = rows();
        let written = Written::default();
        let placements = Placements::new(written.clone(), None);
        let mut pods: BTreeMap<usize, Arc<PodEntry>> = BTreeMap::new();
        let mut cgroups: BTreeMap<usize, ()> = BTreeMap::new();
        let mut held: Vec<(usize, ScopeBit)> = Vec::new();
        for step in steps {
            match step {
                Step::Pod(pod, namespace, app, containers) => {
                    let entry = entry(pod, namespace, app, containers);
                    placements.pod(&entry);
                    pods.insert(pod, entry);
                }
                Step::PodGone(pod) => {
                    placements.pod_gone(UIDS[pod]);
                    pods.remove(&pod);
                }
                Step::Cgroup(number) => {
                    let (id, path, _) = cgroup(number);
                    placements.cgroup(id, &path);
                    cgroups.insert(number, ());
                }
                Step::CgroupGone(number) => {
                    placements.cgroup_gone(cgroup(number).0);
                    cgroups.remove(&number);
                }
                Step::Hold(row) => held.push((row, placements.hold(&rows[row].0).unwrap())),
                Step::Drop(index) if !held.is_empty() => drop(held.remove(index % held.len())),
                Step::Drop(_) => {}
            }
            for (row, bit) in &held {
                prop_assert_eq!(written.has(HOST, bit), rows[*row].2);
                for (other, of_other) in &held {
                    prop_assert_eq!(row == other, bit.bit() == of_other.bit(), "a scope has one bit");
                }
            }
            for number in 0..24 {
                let (id, path, place) = cgroup(number);
                let there = cgroups.contains_key(&number) && place.is_some();
                prop_assert_eq!(written.get(id).is_some(), there, "{}", path);
                let Some((pod, container)) = place.filter(|_| there) else { continue };
                let place = pods.get(&pod).map(|entry| Place {
                    namespace: NAMESPACES.into_iter().find(|one| *one == entry.pod.namespace).unwrap(),
                    app: entry.labels().get("app").map(|app| {
                        APPS.into_iter().flatten().find(|one| one == app).unwrap()
                    }),
                    container: container
                        .filter(|index| *index < entry.containers.len())
                        .map(|index| (CONTAINERS[index].0, CONTAINERS[index].2)),
                });
                let mut expected = ScopeBits::default();
                for (row, bit) in &held {
                    if place.as_ref().is_some_and(rows[*row].1) {
                        expected[usize::from(bit.bit() / 64)] |= 1 << (bit.bit() % 64);
                    }
                }
                prop_assert_eq!(written.get(id), Some(expected), "{}", path);
            }
        }
    }
}

fn scope(namespace: &str) -> Scope {
    let pods = Workloads { namespace: Some(namespace.to_owned()), ..Workloads::default() };
    Scope { pods: Some(pods), host: false }
}

#[test]
fn bits_run_out_and_are_given_again() {
    let placements = Placements::new(Written::default(), None);
    let hold = |number: usize| placements.hold(&scope(&format!("n{number}")));
    let mut held: Vec<_> = (0..SCOPES).map(|number| hold(number).unwrap()).collect();
    assert_eq!(hold(SCOPES).unwrap_err(), NoScopeFree);
    // One that is there needs no other bit.
    assert_eq!(hold(7).unwrap().bit(), held[7].bit());
    let free = held.remove(100).bit();
    assert_eq!(hold(SCOPES).unwrap().bit(), free);
}

#[test]
fn what_found_no_room_is_tried_again_and_what_a_walk_misses_is_gone() {
    let written = Written { room: Some(2), ..Written::default() };
    let placements = Placements::new(written.clone(), None);
    for number in 0..3 {
        let (id, path, _) = cgroup(number);
        placements.cgroup(id, &path);
    }
    assert_eq!(placements.len(), 2);
    let turn = placements.table().begin_walk();
    // Made while the walk was under way.
    let (young, path, _) = cgroup(3);
    placements.cgroup_gone(cgroup(0).0);
    placements.cgroup(young, &path);
    let found: Vec<_> = [1].map(|number| (cgroup(number).0, cgroup(number).1)).into();
    placements.table().end_walk(turn, &found);
    assert!(written.get(cgroup(1).0).is_some() && written.get(cgroup(2).0).is_none());
    assert!(written.get(young).is_some(), "what is made meanwhile may be missing in a walk");
    let found: Vec<_> = [1, 2].map(|number| (cgroup(number).0, cgroup(number).1)).into();
    let turn = placements.table().begin_walk();
    placements.table().end_walk(turn, &found);
    assert!(written.get(young).is_none());
    // There was no room for it while the other was there.
    let turn = placements.table().begin_walk();
    placements.table().end_walk(turn, &found);
    assert!(written.get(cgroup(2).0).is_some());
}

#[test]
fn a_cgroup_whose_path_was_cut_is_where_its_parent_is() {
    let written = Written::default();
    let placements = Placements::new(written.clone(), None);
    let (parent, path, _) = cgroup(3);
    placements.cgroup(parent, &path);
    placements.table().nested(100, parent);
    placements.table().nested(101, 100);
    placements.table().nested(102, 99);
    let bit = placements.hold(&scope("a")).unwrap();
    placements.pod(&entry(0, 0, 0, 3));
    assert!(written.has(101, &bit) && written.get(102).is_none());
    // No walk comes so deep.
    let turn = placements.table().begin_walk();
    placements.table().end_walk(turn, &[(parent, path)]);
    assert!(written.has(101, &bit));
    placements.cgroup_gone(101);
    assert!(written.get(101).is_none());
}

#[test]
fn the_tree_is_walked_for_what_is_below_the_cgroup_of_all_pods() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let paths = ["kubepods.slice/a/b", "x/kubelet-kubepods.slice/c", "system.slice/d.service"];
    paths.iter().for_each(|path| std::fs::create_dir_all(folder.path().join(path)).unwrap());
    std::fs::write(folder.path().join("kubepods.slice/cgroup.procs"), "").unwrap();
    let mut found = tree::of_pods(folder.path()).unwrap();
    found.sort_by(|one, other| one.1.cmp(&other.1));
    let names: Vec<_> = found.iter().map(|(_, path)| path.as_str()).collect();
    let expected = [
        "kubepods.slice",
        "kubepods.slice/a",
        "kubepods.slice/a/b",
        "x/kubelet-kubepods.slice",
        "x/kubelet-kubepods.slice/c",
    ];
    assert_eq!(names, expected);
    for (id, path) in &found {
        assert_eq!(*id, folder.path().join(path).metadata().unwrap().ino());
    }
    assert!(tree::of_pods(&folder.path().join("missing")).is_err());
}
