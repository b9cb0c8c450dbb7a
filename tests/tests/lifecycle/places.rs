//! Where a process runs: its container, by the name of its cgroup.

use trigon_tests::{cgroup::Cgroup, otlp::Attributes as _, rig::Rig, suite::Suite, workload::Workload};

use crate::{Shared, test};

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub fn tests(suite: &mut Suite, shared: &Shared) {
    test(suite, shared, "container_is_known_by_its_cgroup", container_is_known_by_its_cgroup);
}

fn container_is_known_by_its_cgroup(rig: &Rig) {
    let workload = Workload::new();
    let pod = format!("kubepods.slice/kubepods-burstable.slice/kubepods-pod{}.slice", workload.tag());
    let cgroup = Cgroup::new(&format!("{pod}/cri-containerd-{CONTAINER}.scope"));
    let deed = format!("in-cgroup {} exit 0 contained", cgroup.folder().display());
    let said = rig.check(&workload, &deed);
    let contained = said.executions.role("contained").id;
    let span = said.spans.iter().find(|span| span.record.span_id == contained.span_id(said.node()).0);
    let span = span.expect("a span of the execution in the container");
    assert_eq!(span.origin.text("container.id"), Some(CONTAINER), "{span:?}");
    let before =
        said.spans.iter().find(|other| other.record.span_id != span.record.span_id).expect("another span");
    assert_eq!(before.origin.text("container.id"), None, "{before:?}");
    let cgroup_text = format!("/{}", cgroup.path().display());
    assert_eq!(span.text("process.linux.cgroup"), Some(cgroup_text.as_str()));
}
