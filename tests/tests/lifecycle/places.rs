//! Where a process runs: its container, by the name of its cgroup.

use std::{
    fs,
    path::{Path, PathBuf},
};

use trigon_tests::{otlp::Attributes as _, rig::Rig, suite::Suite, wait, workload::Workload};

use crate::{Shared, test};

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A cgroup, removed with its empty parents.
struct Cgroup {
    mount: PathBuf,
    path: PathBuf,
}

pub fn tests(suite: &mut Suite, shared: &Shared) {
    test(suite, shared, "container_is_known_by_its_cgroup", container_is_known_by_its_cgroup);
}

fn container_is_known_by_its_cgroup(rig: &Rig) {
    let workload = Workload::new();
    let pod = format!("kubepods.slice/kubepods-burstable.slice/kubepods-pod{}.slice", workload.tag());
    let cgroup = Cgroup::new(&format!("{pod}/cri-containerd-{CONTAINER}.scope"));
    let folder = cgroup.mount.join(&cgroup.path);
    let deed = format!("in-cgroup {} exit 0 contained", folder.display());
    let said = rig.check(&workload, &deed);
    let contained = said.executions.role("contained").id;
    let span = said.spans.iter().find(|span| span.record.span_id == contained.span_id(said.node()).0);
    let span = span.expect("a span of the execution in the container");
    assert_eq!(span.origin.text("container.id"), Some(CONTAINER), "{span:?}");
    let before =
        said.spans.iter().find(|other| other.record.span_id != span.record.span_id).expect("another span");
    assert_eq!(before.origin.text("container.id"), None, "{before:?}");
    let cgroup_text = format!("/{}", cgroup.path.display());
    assert_eq!(span.text("process.linux.cgroup"), Some(cgroup_text.as_str()));
}

// === impl Cgroup ===

impl Cgroup {
    fn new(path: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
        let mount =
            mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup2 mount");
        let mount = PathBuf::from(mount.split(' ').nth(1).expect("a mount has a path"));
        fs::create_dir_all(mount.join(path)).expect("make a cgroup");
        Self { mount, path: path.into() }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel frees a cgroup a moment after its last process: then it can be removed.
        let leaf = self.mount.join(&self.path);
        wait::until("the cgroup to be empty", || fs::remove_dir(&leaf).ok(), || leaf.display().to_string());
        let above = self.path.ancestors().skip(1).take_while(|path| *path != Path::new(""));
        above.for_each(|path| drop(fs::remove_dir(self.mount.join(path))));
    }
}
