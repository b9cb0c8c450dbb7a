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
