//! The container and the pod of a cgroup, from the names that runtimes and the kubelet give to cgroups.
//!
//! | runtime | systemd driver | cgroupfs driver |
//! |---|---|---|
//! | containerd (CRI) | `cri-containerd-<id>.scope` | `<pod>/<id>` |
//! | CRI-O | `crio-<id>.scope` | `crio-<id>` |
//! | Docker | `docker-<id>.scope` | `docker/<id>`, by cri-dockerd `<pod>/<id>` |
//! | podman | `libpod-<id>.scope`, `libpod-payload-<id>` | `libpod-<id>`, `libpod_parent/libpod-<id>` |
//! | nerdctl | `nerdctl-<id>.scope` | `default/<id>` |
//!
//! A pod is `…-pod<uid>.slice`, with `_` for each `-` of the uid, or `pod<uid>`. Where the kubelet has the systemd
//! driver and containerd hasn't, both stand in one name: `kubepods-pod<uid>.slice:cri-containerd:<id>`. A static pod's
//! uid here is the hash of its manifest, 32 digits without a dash. Monitors (`conmon`) have cgroups of their own, which
//! are none of the container.

use std::sync::Arc;

use trigon_exporters::event::Container;

/// What a cgroup's name begins with, and the runtime that names it so.
const PREFIXES: [(&str, &str); 6] = [
    ("cri-containerd-", "containerd"),
    ("crio-", "cri-o"),
    ("docker-", "docker"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
    ("nerdctl-", "containerd"),
];

/// What a cgroup's path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belongs {
    /// The innermost container. A container may hold cgroups of its own, and other containers.
    pub container: Option<Arc<Container>>,
    /// The pod.
    pub pod: Option<PodRef>,
}

/// The pod that a cgroup is of, as its path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its uid, or its manifest's hash.
    pub uid: String,
    /// The pod's container; none for the pod's own cgroup.
    pub container: Option<String>,
}

// === impl Belongs ===

impl Belongs {
    /// What the path of a cgroup tells.
    pub fn of_path(path: &str) -> Self {
        let mut belongs = Self::default();
        let (mut parent, mut of_pods) = ("", false);
        for name in path.split('/') {
            // Both in one name, where the drivers differ.
            let (slice, rest) =
                name.split_once(':').map_or((name, None), |(slice, rest)| (slice, Some(rest)));
            of_pods |= is_root_of_pods(name);
            // Whoever is in a container may make cgroups that are called as another pod's: the outermost is it.
            if of_pods
                && belongs.pod.is_none()
                && let Some(uid) = pod_uid(slice)
            {
                // What is outside, as a node that is a container itself, is not what the pod runs in.
                belongs = Self { container: None, pod: Some(PodRef { uid, container: None }) };
            }
            let found = match rest.and_then(|rest| rest.split_once(':')) {
                Some((runtime, id)) => {
                    is_id(id).then(|| Container { id: id.to_owned(), runtime: named(runtime) })
                }
                None => of_name(name, parent),
            };
            if let Some(container) = found {
                if let Some(pod) = &mut belongs.pod {
                    pod.container.get_or_insert_with(|| container.id.clone());
                }
                belongs.container = Some(Arc::new(container));
            }
            parent = name;
        }
        belongs
    }
}

/// Whether the cgroup at `path` is the one of all pods, or below it: `kubepods`, `kubepods.slice`, or with the kubelet's
/// `--cgroup-root` another slice before it, such as `kubelet-kubepods.slice`.
pub fn is_of_pods(path: &str) -> bool {
    path.split('/').any(is_root_of_pods)
}

fn is_root_of_pods(name: &str) -> bool {
    // Where the drivers differ there is no such cgroup, and a pod's name has all.
    if let Some((slice, _)) = name.split_once(':') {
        return slice.starts_with("kubepods-");
    }
    let name = name.strip_suffix(".slice").unwrap_or(name);
    name == "kubepods" || name.ends_with("-kubepods")
}

/// The runtime that a prefix stands for.
fn named(prefix: &str) -> Option<&'static str> {
    let same = |(known, _): &&(&str, &str)| known.strip_suffix('-') == Some(prefix);
    PREFIXES.iter().find(same).map(|(_, runtime)| *runtime)
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

/// The uid that a pod's cgroup has in its name, as the API server writes it.
fn pod_uid(name: &str) -> Option<String> {
    let text = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let uid = text.replace('_', "-");
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|byte| *byte == b'-').count();
    (digits == 32 && digits + dashes == uid.len() && matches!(dashes, 0 | 4)).then_some(uid)
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
    const UID: &str = "a1b2c3d4-0001-4002-8003-0123456789ab";
    const HASH: &str = "d7a7a1a2b3b4c5c6d7d8e9e0f1f2a3a4";

    fn belongs(path: &str) -> Belongs {
        let slice = UID.replace('-', "_");
        let texts = [("{A}", A), ("{B}", B), ("{uid}", UID), ("{slice}", &slice), ("{hash}", HASH)];
        Belongs::of_path(&texts.iter().fold(path.to_owned(), |path, (name, text)| path.replace(name, text)))
    }

    fn container(path: &str) -> Option<(String, Option<&'static str>)> {
        belongs(path).container.map(|found| (found.id.clone(), found.runtime))
    }

    #[test]
    fn containers_outside_of_pods() {
        let table = [
            ("system.slice/docker-{A}.scope", Some("docker")),
            ("docker/{A}", Some("docker")),
            ("custom.slice/docker-{A}.scope", Some("docker")),
            ("user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", Some("docker")),
            ("machine.slice/libpod-{A}.scope", Some("podman")),
            ("machine.slice/libpod-{A}.scope/container", Some("podman")),
            ("machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope/container", Some("podman")),
            ("user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope", Some("podman")),
            ("libpod_parent/libpod-{A}", Some("podman")),
            ("system.slice/web.service/libpod-payload-{A}", Some("podman")),
            ("system.slice/nerdctl-{A}.scope", Some("containerd")),
            ("default/{A}", None),
            // systemd in a container
            ("system.slice/docker-{A}.scope/init.scope", Some("docker")),
            ("system.slice/docker-{A}.scope/system.slice/nginx.service", Some("docker")),
            // a container in a container
            ("docker/{B}/docker/{A}", Some("docker")),
        ];
        for (path, runtime) in table {
            assert_eq!(container(path), Some((A.to_owned(), runtime)), "{path}");
            assert_eq!(belongs(path).pod, None, "{path}");
        }
    }

    #[test]
    fn containers_of_pods() {
        let burstable = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice";
        let guaranteed = "kubepods.slice/kubepods-pod{slice}.slice";
        let kind = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{slice}.slice";
        let table = [
            (format!("{burstable}/cri-containerd-{{A}}.scope"), Some("containerd")),
            (format!("{guaranteed}/cri-containerd-{{A}}.scope"), Some("containerd")),
            ("kubepods/burstable/pod{uid}/{A}".into(), None),
            ("kubepods/pod{uid}/{A}".into(), None),
            (
                "system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{A}"
                    .into(),
                Some("containerd"),
            ),
            (format!("{guaranteed}/crio-{{A}}.scope"), Some("cri-o")),
            (format!("{guaranteed}/crio-{{A}}.scope/container"), Some("cri-o")),
            ("kubepods/besteffort/pod{uid}/crio-{A}".into(), Some("cri-o")),
            (format!("{burstable}/docker-{{A}}.scope"), Some("docker")),
            // systemd in a pod
            (format!("{burstable}/cri-containerd-{{A}}.scope/init.scope"), Some("containerd")),
            (
                format!("{burstable}/cri-containerd-{{A}}.scope/system.slice/nginx.service"),
                Some("containerd"),
            ),
            // kind and others: the node is a container that holds containers
            (format!("docker/{{B}}/{kind}/cri-containerd-{{A}}.scope"), Some("containerd")),
            (
                format!("system.slice/docker-{{B}}.scope/{kind}/cri-containerd-{{A}}.scope"),
                Some("containerd"),
            ),
            ("docker/{B}/kubelet/kubepods/besteffort/pod{uid}/{A}".into(), None),
            ("docker/{B}/kubepods/besteffort/pod{uid}/{A}".into(), None),
        ];
        for (path, runtime) in table {
            assert_eq!(container(&path), Some((A.to_owned(), runtime)), "{path}");
            let pod = PodRef { uid: UID.to_owned(), container: Some(A.to_owned()) };
            assert_eq!(belongs(&path).pod, Some(pod), "{path}");
        }
    }

    #[test]
    fn a_static_pod_is_known_by_the_hash_of_its_manifest() {
        for path in
            ["kubepods/burstable/pod{hash}/{A}", "kubepods.slice/kubepods-pod{hash}.slice/crio-{A}.scope"]
        {
            assert_eq!(belongs(path).pod.map(|pod| pod.uid).as_deref(), Some(HASH), "{path}");
        }
    }

    #[test]
    fn the_pod_has_a_cgroup_of_its_own() {
        for path in [
            "kubepods/pod{uid}",
            "docker/{B}/kubelet/kubepods/pod{uid}",
            "kubepods.slice/kubepods-pod{slice}.slice",
        ] {
            let pod = PodRef { uid: UID.to_owned(), container: None };
            assert_eq!(belongs(path), Belongs { container: None, pod: Some(pod) }, "{path}");
        }
    }

    #[test]
    fn a_container_that_a_pod_runs_is_inside_of_the_pod_s_own() {
        let found = belongs("kubepods/pod{uid}/{B}/docker/{A}");
        assert_eq!(found.container.map(|container| container.id.clone()).as_deref(), Some(A));
        assert_eq!(found.pod.and_then(|pod| pod.container).as_deref(), Some(B));
    }

    #[test]
    fn uids_of_pods() {
        let burstable = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice";
        let table = [
            (format!("{burstable}/crio-{{A}}.scope/container/init.scope"), Some(UID)),
            ("a/b/kubepods/besteffort/pod{uid}".into(), Some(UID)),
            // A container may make cgroups that are called as another pod's.
            ("kubepods/pod{uid}/{A}/pod{hash}".into(), Some(UID)),
            ("kubepods/pod{hash}/{A}/kubelet/kubepods/pod{uid}/{B}".into(), Some(HASH)),
            ("pod{uid}".into(), None),
            ("user.slice/x-pod{slice}.slice".into(), None),
            ("kubepods/burstable".into(), None),
            ("kubepods/podman".into(), None),
            ("kubepods/pod{uid}x".into(), None),
            ("kubepods/-pod.slice".into(), None),
        ];
        for (path, uid) in table {
            assert_eq!(belongs(&path).pod.map(|pod| pod.uid).as_deref(), uid, "{path}");
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
    fn what_is_neither() {
        for path in [
            "",
            "/",
            "::",
            "system.slice/sshd.service",
            "user.slice/user-1000.slice/session-3.scope",
            "docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
            "machine.slice/libpod-conmon-{A}.scope",
            "system.slice/crio-conmon-{A}.scope",
            "docker-{A}x.scope",
            "kubepods.slice/kubepods-besteffort.slice",
            "kubepods/besteffort/pod0123",
            "pod",
            "x-pod.slice",
            "kubepods/podz1b2c3d4-0001-4002-8003-0123456789ab",
        ] {
            assert_eq!(belongs(path), Belongs::default(), "{path}");
        }
    }
}
