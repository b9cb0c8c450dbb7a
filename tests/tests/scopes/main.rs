//! Policies that select pods, containers and the host: what they don't select never leaves the kernel.
//!
//! The kernel's side of an agent, with the table of where each cgroup is. Pods are told to the table as the API server's
//! watcher would; cgroups are made as the kubelet and the runtime make them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
};

use trigon::{
    kubernetes::pod::PodEntry,
    policy::{check_text, model::Policy},
};
use trigon_exporters::event::{Pod, PodContainer};
use trigon_probes::{
    lifecycle,
    placements::{HOST, ScopeBits},
};
use trigon_tests::{
    agent::Agent,
    cgroup::Cgroup,
    command::said,
    suite::{self, Need},
    wait,
};

mod rig;

use rig::{Rig, Seen};

const KERNEL: &[Need] = &[Need::Kernel];

const WEB: &str = "3b1c7f0e-58a6-4c0b-9a51-0d2f7b6c9e11";
const DB: &str = "aa1c7f0e-58a6-4c0b-9a51-0d2f7b6c9e22";
const MAIN: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const SIDE: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// Hooks a call that hardly anybody makes, wherever `SELECTORS` say.
const CHDIR: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: NAME
spec:
  SELECTORS
  kprobes:
  - call: sys_chdir
    args:
    - {index: 0, type: string}
"#;

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("only_pods_that_match_leave_the_kernel", KERNEL, only_pods_that_match_leave_the_kernel);
        suite.test("a_pod_is_what_its_labels_are_now", KERNEL, a_pod_is_what_its_labels_are_now);
        suite.test("the_host_and_pods_that_are_not_known", KERNEL, the_host_and_pods_that_are_not_known);
        suite.test("containers_by_name_and_image", KERNEL, containers_by_name_and_image);
        suite.test(
            "a_container_is_seen_from_its_first_program",
            KERNEL,
            a_container_is_seen_from_its_first_program,
        );
        suite.test("selectors_have_workloads_of_their_own", KERNEL, selectors_have_workloads_of_their_own);
        suite.test("policies_of_a_namespace", KERNEL, policies_of_a_namespace);
        suite.test("cgroups_are_told_of_by_raw_tracepoints", KERNEL, cgroups_are_told_of_by_raw_tracepoints);
        suite.test("cgroups_are_told_of_where_asked_for", KERNEL, cgroups_are_told_of_where_asked_for);
        suite.test(
            "an_agent_without_pods_has_the_host_alone",
            KERNEL,
            an_agent_without_pods_has_the_host_alone,
        );
    })
}

/// A process that changes its directory once, in a cgroup or on the host; its id.
fn chdir(cgroup: Option<&Path>) -> u32 {
    let enter = cgroup.map(|folder| format!("echo $$ > {}/cgroup.procs && ", folder.display()));
    let script = format!("{}cd /proc", enter.unwrap_or_default());
    let mut child = Command::new("sh").args(["-c", &script]).spawn().expect("run sh");
    assert!(child.wait().expect("wait").success(), "{script}");
    child.id()
}

fn policy(name: &str, selectors: &str) -> Policy {
    read(&CHDIR.replace("NAME", name).replace("SELECTORS", selectors))
}

fn read(text: &str) -> Policy {
    let mut checked = check_text(text);
    assert_eq!(checked.errors, 0, "{text}\n{:?}", checked.faults);
    checked.policies.remove(0)
}

/// A pod's cgroup as systemd's driver names it.
fn slice(uid: &str) -> String {
    format!("kubepods.slice/kubepods-pod{}.slice", uid.replace('-', "_"))
}

/// A cgroup of a container in a pod.
fn container(uid: &str, id: &str) -> Cgroup {
    Cgroup::new(&format!("{}/cri-containerd-{id}.scope", slice(uid)))
}

fn pod(
    uid: &str,
    namespace: &str,
    labels: &[(&str, &str)],
    containers: &[(&str, &str, &str)],
) -> Arc<PodEntry> {
    let container = |(name, id, image): &(&str, &str, &str)| {
        let (name, id, image) = ((*name).to_owned(), (*id).to_owned(), (*image).to_owned());
        Arc::new(PodContainer { name, id, image, ..PodContainer::default() })
    };
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let pod = Pod {
        namespace: namespace.to_owned(),
        name: uid.to_owned(),
        all_labels: Arc::new(labels.collect()),
        ..Pod::default()
    };
    Arc::new(PodEntry {
        pod: Arc::new(pod),
        cgroup_uid: uid.to_owned(),
        containers: containers.iter().map(container).collect(),
        ..PodEntry::default()
    })
}

fn id_of(folder: &Path) -> u64 {
    folder.metadata().expect("a cgroup").ino()
}

/// Cgroups that were there before the agent, and such as come later.
fn only_pods_that_match_leave_the_kernel() {
    let (web, db) = (container(WEB, MAIN), container(DB, MAIN));
    let mut rig = Rig::new();
    rig.load(policy("of-web", "podSelector: {matchLabels: {app: web}}"));
    assert_eq!(rig.matched(Some(&web.folder())), 0, "nobody said yet whose cgroup it is");
    rig.placements.pod(&pod(WEB, "shop", &[("app", "web")], &[]));
    rig.placements.pod(&pod(DB, "shop", &[("app", "db")], &[]));
    assert_eq!(rig.matched(Some(&web.folder())), 1);
    assert_eq!(rig.matched(Some(&db.folder())), 0);
    assert_eq!(rig.matched(None), 0);
    // What this pod's processes make is in the pod.
    let inner = Cgroup::new(&format!("{}/inner", web.path().display()));
    let matched = rig.matched(Some(&inner.folder()));
    assert_eq!(matched, 1);
    // Of many calls elsewhere not one record.
    rig.matches();
    for _ in 0..100 {
        chdir(None);
    }
    chdir(Some(&db.folder()));
    assert_eq!(rig.matches(), []);
    // Beside it others, each with what it selects.
    rig.load(policy(
        "of-db",
        "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}",
    ));
    rig.load(policy("of-shop", "podSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': shop}}"));
    rig.matches();
    let pid = chdir(Some(&db.folder()));
    let mut names: Vec<_> = rig.matches().into_iter().map(|(of, name, _)| (of, name)).collect();
    names.sort();
    assert_eq!(names, [(pid, "of-db".to_owned()), (pid, "of-shop".to_owned())]);
}

fn a_pod_is_what_its_labels_are_now() {
    let web = container(WEB, MAIN);
    let mut rig = Rig::new();
    rig.placements.pod(&pod(WEB, "shop", &[("app", "web")], &[]));
    rig.load(policy("p", "podSelector: {matchLabels: {app: web}}"));
    assert_eq!(rig.matched(Some(&web.folder())), 1);
    rig.placements.pod(&pod(WEB, "shop", &[("app", "other")], &[]));
    assert_eq!(rig.matched(Some(&web.folder())), 0);
    rig.placements.pod(&pod(WEB, "shop", &[("app", "web")], &[]));
    assert_eq!(rig.matched(Some(&web.folder())), 1);
    rig.placements.pod_gone(WEB);
    assert_eq!(rig.matched(Some(&web.folder())), 0);
    // A policy that goes gives its bit back, and the one that has it then is not mistaken for it.
    rig.placements.pod(&pod(WEB, "shop", &[("app", "web")], &[]));
    rig.engine.delete("p", &mut rig.types).expect("delete the policy");
    assert_eq!(rig.placement(id_of(&web.folder())), Some(ScopeBits::default()));
    rig.load(policy("q", "podSelector: {matchLabels: {app: db}}"));
    assert_eq!(rig.matched(Some(&web.folder())), 0);
}

fn the_host_and_pods_that_are_not_known() {
    let web = container(WEB, MAIN);
    let mut rig = Rig::new();
    rig.load(policy("host", "hostSelector: {}"));
    assert_eq!(rig.matched(None), 1);
    assert_eq!(rig.matched(Some(&web.folder())), 0, "of a pod that is not known, and no less of a pod");
    rig.load(policy("pods", "podSelector: {}"));
    assert_eq!(rig.matched(Some(&web.folder())), 0);
    assert_eq!(rig.matched(None), 1);
    rig.placements.pod(&pod(WEB, "shop", &[], &[]));
    assert_eq!(rig.matched(Some(&web.folder())), 1);
    rig.load(policy("both", "podSelector: {}\n  hostSelector: {}"));
    assert_eq!(rig.matched(None), 2);
    assert_eq!(rig.matched(Some(&web.folder())), 2);
    rig.load(policy("all", ""));
    assert_eq!(rig.matched(None), 3);
    // A container of no pod is of the host.
    let docker = Cgroup::new(&format!("docker/{SIDE}"));
    rig.matches();
    let pid = chdir(Some(&docker.folder()));
    let own = rig.matches().into_iter().filter(|(of, ..)| *of == pid);
    let mut names: Vec<_> = own.map(|(_, name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["all", "both", "host"]);
}

fn containers_by_name_and_image() {
    let (main, side) = (container(WEB, MAIN), container(WEB, SIDE));
    let mut rig = Rig::new();
    let containers =
        [("main", MAIN, "docker.io/library/nginx:1.25"), ("side", SIDE, "reg:5000/side@sha256:00")];
    rig.placements.pod(&pod(WEB, "shop", &[], &containers[..1]));
    rig.load(policy("by-name", "containerSelector: {matchLabels: {name: main}}"));
    assert_eq!(rig.matched(Some(&main.folder())), 1);
    assert_eq!(rig.matched(Some(&side.folder())), 0);
    rig.load(policy("by-repo", "containerSelector: {matchLabels: {repo: 'reg:5000/side'}}"));
    assert_eq!(rig.matched(Some(&side.folder())), 0, "the kubelet has not told yet what it is");
    rig.placements.pod(&pod(WEB, "shop", &[], &containers));
    assert_eq!(rig.matched(Some(&side.folder())), 1);
    // The pod's own cgroup is in no container.
    let other = Cgroup::new(&format!("{}/other", slice(WEB)));
    assert_eq!(rig.matched(Some(&other.folder())), 0);
}

/// The kernel alone decides: the agent is told of the cgroup only after its first program has run.
fn a_container_is_seen_from_its_first_program() {
    let sandbox = container(WEB, SIDE);
    let mut rig = Rig::new();
    rig.placements.pod(&pod(WEB, "shop", &[("app", "web")], &[]));
    rig.load(policy("p", "podSelector: {matchLabels: {app: web}}"));
    rig.seen();
    let main = container(WEB, MAIN);
    let (id, path) = (id_of(&main.folder()), main.path().to_str().expect("a plain path").to_owned());
    let pod_id = id_of(sandbox.folder().parent().expect("the pod's"));
    let pid = chdir(Some(&main.folder()));
    let seen = rig.seen_by(|_| {});
    let is_of_this = |seen: &Seen| match seen {
        Seen::Made(made, ..) => *made == id,
        Seen::Match(..) => true,
        Seen::Gone(_) => false,
    };
    let of_this: Vec<_> = seen.into_iter().filter(is_of_this).collect();
    assert_eq!(of_this, [Seen::Made(id, pod_id, path.clone()), Seen::Match(pid, "p".to_owned(), 0)]);
    assert_eq!(rig.placement(id), rig.placement(pod_id));
    rig.placements.cgroup(id, &path);
    assert_eq!(rig.matched(Some(&main.folder())), 1);
    rig.seen();
    drop(main);
    // The kernel forgets it before the agent is told.
    assert_eq!(rig.placement(id), None);
    assert!(rig.seen().contains(&Seen::Gone(id)));
    // What a walk finds is no other than what the records told.
    let before = rig.placement(pod_id);
    rig.placements.walk();
    assert_eq!((rig.placement(pod_id), rig.placement(id)), (before, None));
}

fn selectors_have_workloads_of_their_own() {
    let (web, db) = (container(WEB, MAIN), container(DB, MAIN));
    let mut rig = Rig::new();
    rig.placements.pod(&pod(WEB, "shop", &[("app", "web")], &[]));
    rig.placements.pod(&pod(DB, "shop", &[("app", "db")], &[]));
    let selectors = r"
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: [/nowhere]}]
    - matchWorkloads: {podSelector: {matchLabels: {app: db}}}
    - matchWorkloads: {hostSelector: {}}
";
    let text = CHDIR.replace("NAME", "p").replace("SELECTORS", "podSelector: {}\n  hostSelector: {}");
    rig.load(read(&format!("{text}{selectors}")));
    rig.matches();
    let pids = [Some(db.folder()), Some(web.folder()), None].map(|cgroup| chdir(cgroup.as_deref()));
    let told: Vec<_> = rig.matches().into_iter().filter(|(pid, ..)| pids.contains(pid)).collect();
    assert_eq!(told, [(pids[0], "p".to_owned(), 1), (pids[2], "p".to_owned(), 2)]);
    // Both conditions have to hold.
    rig.engine.delete("p", &mut rig.types).expect("delete the policy");
    let text = CHDIR.replace("NAME", "p").replace("SELECTORS", "podSelector: {matchLabels: {app: web}}");
    rig.load(read(&format!("{text}{selectors}")));
    assert_eq!([web.folder(), db.folder()].map(|cgroup| rig.matched(Some(&cgroup))), [0, 0]);
}

fn policies_of_a_namespace() {
    let (web, db) = (container(WEB, MAIN), container(DB, MAIN));
    let mut rig = Rig::new();
    rig.placements.pod(&pod(WEB, "shop", &[("app", "web")], &[]));
    rig.placements.pod(&pod(DB, "default", &[("app", "web")], &[]));
    let of = |namespace: &str, selectors: &str| {
        let text = CHDIR.replace("TracingPolicy", "TracingPolicyNamespaced").replace("SELECTORS", selectors);
        read(&text.replace("name: NAME", &format!("name: p\n  namespace: {namespace}")))
    };
    rig.load(of("shop", ""));
    assert_eq!(rig.matched(Some(&web.folder())), 1);
    assert_eq!(rig.matched(Some(&db.folder())), 0);
    assert_eq!(rig.matched(None), 0);
    // Of that name another, of another namespace.
    rig.load(of("~", "podSelector: {matchLabels: {app: web}}"));
    assert_eq!([web.folder(), db.folder()].map(|cgroup| rig.matched(Some(&cgroup))), [1, 1]);
    rig.engine.delete("default/p", &mut rig.types).expect("delete the policy");
    assert_eq!([web.folder(), db.folder()].map(|cgroup| rig.matched(Some(&cgroup))), [1, 0]);
}

fn cgroups_are_told_of_by_raw_tracepoints() {
    let mut rig = Rig::with(lifecycle::Mechanism::RawTracepoint, true);
    rig.seen();
    let cgroup = Cgroup::new("kubepods.slice/raw");
    let id = id_of(&cgroup.folder());
    let is_made = |seen: &Seen| matches!(seen, Seen::Made(made, _, path) if *made == id && path == "kubepods.slice/raw");
    assert!(rig.seen().iter().any(is_made));
    assert_eq!(rig.placement(id), Some(ScopeBits::default()));
    drop(cgroup);
    assert!(rig.seen().contains(&Seen::Gone(id)));
    assert_eq!(rig.placement(id), None);
}

fn cgroups_are_told_of_where_asked_for() {
    let mut rig = Rig::with(lifecycle::Mechanism::Best, false);
    rig.seen();
    drop(Cgroup::new("kubepods.slice/unasked"));
    let told = rig.seen().into_iter().any(|seen| !matches!(seen, Seen::Match(..)));
    assert!(!told, "nobody asked for cgroups");
    rig.load(policy("host", "hostSelector: {}"));
    assert_ne!(rig.placement(HOST), None);
    assert_eq!(rig.matched(None), 1);
}

/// The whole agent, with policies that are added and named by command.
fn an_agent_without_pods_has_the_host_alone() {
    let agent = Agent::new().start();
    let folder = tempfile::tempdir().expect("make a folder");
    let trigon = |arguments: &[&str]| said(&mut agent.command(&[&["policy"], arguments].concat()));
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("write a policy");
        path
    };
    let text = |name: &str, selectors: &str| CHDIR.replace("NAME", name).replace("SELECTORS", selectors);
    let namespaced =
        |selectors: &str| text("of-pods", selectors).replace("TracingPolicy", "TracingPolicyNamespaced");
    for (name, text) in [
        ("host.yaml", text("of-host", "hostSelector: {}")),
        ("pods.yaml", text("of-pods", "podSelector: {}")),
        ("namespaced.yaml", namespaced("")),
    ] {
        let added = trigon(&["add", write(name, &text).to_str().expect("a plain path")]);
        assert_eq!(added.code, Some(0), "{added:?}; {}", agent.log());
    }
    let refused = write("refused.yaml", &namespaced("hostSelector: {}"));
    let refused = trigon(&["check", refused.to_str().expect("a plain path")]);
    assert!(refused.code == Some(1) && refused.out.contains("spec.hostSelector"), "{refused:?}");
    let list = trigon(&["list"]).out;
    for name in ["of-host ", "of-pods ", "default/of-pods "] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name} in\n{list}");
    }
    let pid = chdir(None);
    let of_hooks = || {
        let lines = agent.lines_with("/proc");
        let lines = lines.into_iter().filter(|line| line.kind == "process_kprobe" && line.pid() == pid);
        lines.map(|line| line.text("/policy_name").to_owned()).collect::<Vec<_>>()
    };
    let names = wait::until(
        "the host's policy to tell",
        || Some(of_hooks()).filter(|all| !all.is_empty()),
        || agent.log(),
    );
    assert_eq!(names, ["of-host"]);
    for name in ["default/of-pods", "of-pods", "of-host"] {
        let disabled = trigon(&["disable", name]);
        assert_eq!(disabled.code, Some(0), "{disabled:?}");
        let deleted = trigon(&["delete", name]);
        assert_eq!(deleted.code, Some(0), "{deleted:?}");
    }
    assert_eq!(trigon(&["delete", "default/of-pods"]).code, Some(1));
    assert_eq!(trigon(&["list"]).out, "no policies\n");
    assert_eq!(agent.metrics().sum("trigon_placements", &[]), 0.0);
}
