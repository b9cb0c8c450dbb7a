//! The container's id and runtime, from the names that runtimes give to cgroups.
//!
//! | runtime | systemd driver | cgroupfs driver |
//! |---|---|---|
//! | containerd (CRI) | `cri-containerd-<id>.scope` | `<pod>/<id>` |
//! | CRI-O | `crio-<id>.scope` | `crio-<id>` |
//! | Docker | `docker-<id>.scope` | `docker/<id>` |
//! | podman | `libpod-<id>.scope` | `libpod-<id>`, `libpod_parent/libpod-<id>` |

use std::sync::Arc;

use trigon_exporters::event::Container;

/// What a cgroup's name begins with, and the runtime that names it so.
const PREFIXES: [(&str, &str); 4] =
    [("cri-containerd-", "containerd"), ("crio-", "cri-o"), ("docker-", "docker"), ("libpod-", "podman")];

/// The innermost container that the cgroup at `path` belongs to. A container may hold cgroups of its own, and other
/// containers.
pub fn of_path(path: &str) -> Option<Arc<Container>> {
    let mut parents = path.rsplit('/').skip(1);
    path.rsplit('/').find_map(|name| {
        let parent = parents.next().unwrap_or_default();
        of_name(name, parent).map(Arc::new)
    })
}

fn of_name(name: &str, parent: &str) -> Option<Container> {
    let name = name.strip_suffix(".scope").or_else(|| name.strip_suffix(".service")).unwrap_or(name);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some(Container { id: id.to_owned(), runtime: Some(runtime) });
        }
    }
    let runtime = (parent == "docker").then_some("docker");
    is_id(name).then(|| Container { id: name.to_owned(), runtime })
}

/// Whether the cgroup at `path` is the one of all pods, or below it: `kubepods`, `kubepods.slice`, or with the kubelet's
/// `--cgroup-root` another slice before it, such as `kubelet-kubepods.slice`.
pub fn is_of_pods(path: &str) -> bool {
    path.split('/').any(is_root_of_pods)
}

fn is_root_of_pods(name: &str) -> bool {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    name == "kubepods" || name.ends_with("-kubepods")
}

/// The uid of the pod that the cgroup at `path` belongs to, as the kubelet writes it: `…-pod<uid>.slice` with `_` for
/// `-` by the systemd driver, `pod<uid>` by the cgroupfs driver. A pod may hold cgroups that look like another's: the
/// outermost below the cgroup of all pods is it, and the innermost such cgroup counts where a node is a container.
pub fn pod_uid(path: &str) -> Option<String> {
    let mut below = false;
    let mut found = None;
    for name in path.split('/') {
        if is_root_of_pods(name) {
            (below, found) = (true, None);
        } else if below && found.is_none() {
            found = uid_of_name(name);
        }
    }
    found
}

fn uid_of_name(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    // A UUID, or of a static pod the hash of its manifest.
    let sound =
        matches!(uid.len(), 32 | 36) && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    sound.then_some(uid)
}

/// 64 hexadecimal digits, as all of them use.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    fn found(path: &str) -> Option<(String, Option<&'static str>)> {
        of_path(&path.replace("{A}", A).replace("{B}", B)).map(|found| (found.id.clone(), found.runtime))
    }

    #[test]
    fn runtimes_and_drivers() {
        let table = [
            (
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{A}.scope",
                Some("containerd"),
            ),
            ("kubepods/burstable/pod5f3c/{A}", None),
            ("kubepods.slice/kubepods-pod1.slice/crio-{A}.scope", Some("cri-o")),
            ("kubepods/besteffort/pod1/crio-{A}", Some("cri-o")),
            ("kubepods.slice/kubepods-pod1.slice/crio-{A}.scope/container", Some("cri-o")),
            ("system.slice/docker-{A}.scope", Some("docker")),
            ("docker/{A}", Some("docker")),
            ("machine.slice/libpod-{A}.scope/container", Some("podman")),
            ("user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope", Some("podman")),
            ("libpod_parent/libpod-{A}", Some("podman")),
            // systemd in a container
            ("system.slice/docker-{A}.scope/init.scope", Some("docker")),
            // kind: a node is a container that holds containers
            ("docker/{B}/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{A}.scope", Some("containerd")),
        ];
        for (path, runtime) in table {
            assert_eq!(found(path), Some((A.to_owned(), runtime)), "{path}");
        }
    }

    #[test]
    fn uids_of_pods() {
        const UID: &str = "3b1c7f0e-58a6-4c0b-9a51-0d2f7b6c9e11";
        let slice = UID.replace('-', "_");
        let burstable =
            format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice");
        let hash = "0123456789abcdef0123456789abcdef";
        let table = [
            (burstable.clone(), Some(UID)),
            (format!("{burstable}/cri-containerd-{A}.scope"), Some(UID)),
            (format!("{burstable}/crio-{A}.scope/container/init.scope"), Some(UID)),
            // Guaranteed pods are in no slice of their class.
            (format!("kubepods.slice/kubepods-pod{slice}.slice"), Some(UID)),
            (format!("kubepods/burstable/pod{UID}/{A}"), Some(UID)),
            (format!("kubepods/pod{hash}/{A}"), Some(hash)),
            (format!("kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{slice}.slice"), Some(UID)),
            (
                format!(
                    "docker/{B}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{slice}.slice/cri-containerd-{A}.scope"
                ),
                Some(UID),
            ),
            (format!("a/b/kubepods/besteffort/pod{UID}"), Some(UID)),
            // A container may make cgroups that are called as another pod's.
            (format!("kubepods/pod{UID}/{A}/pod{hash}"), Some(UID)),
            // A node in a pod of another cluster.
            (format!("kubepods/pod{hash}/{A}/kubelet/kubepods/pod{UID}/{B}"), Some(UID)),
            (format!("kubepods/pod{hash}/{A}/kubelet/kubepods"), None),
            (format!("pod{UID}"), None),
            (format!("user.slice/x-pod{slice}.slice"), None),
            ("kubepods/burstable".to_owned(), None),
            ("kubepods/podman".to_owned(), None),
            (format!("kubepods/pod{UID}x"), None),
            ("kubepods/pod".to_owned(), None),
            ("kubepods/-pod.slice".to_owned(), None),
            (String::new(), None),
        ];
        for (path, uid) in table {
            assert_eq!(pod_uid(&path).as_deref(), uid, "{path}");
        }
    }

    #[test]
    fn cgroups_of_pods() {
        for path in ["kubepods", "kubepods.slice", "kubepods/x", "a/kubelet-kubepods.slice/b", "k-kubepods"] {
            assert!(is_of_pods(path), "{path}");
        }
        for path in ["", "kubelet", "kubepods-burstable.slice", "mykubepods", "docker/x", "kubepods.service"]
        {
            assert!(!is_of_pods(path), "{path}");
        }
    }

    #[test]
    fn what_is_no_container() {
        for path in [
            "",
            "system.slice/sshd.service",
            "user.slice/user-1000.slice/session-3.scope",
            "docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
            "kubepods/besteffort/pod0123",
            "machine.slice/libpod-conmon-{A}.scope",
            "crio-conmon-{A}.scope",
            "docker-{A}x.scope",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
