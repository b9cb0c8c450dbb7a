//! Pods on this machine: cgroups as the kubelet and container runtimes make them, and processes in them.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use crate::cgroup::Cgroup;

/// How the kubelet and the runtime name cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// containerd, by systemd's slices and scopes.
    Systemd,
    /// containerd, by plain folders.
    Cgroupfs,
    /// CRI-O with crun, by systemd's: the processes are in a folder within the container's.
    CriO,
    /// containerd in a node that is itself a Docker container, as kind makes it.
    Kind,
}

/// A pod, as far as this machine knows it.
#[derive(Debug)]
pub struct NodePod {
    /// Its uid.
    pub uid: String,
    driver: Driver,
    cgroup: Cgroup,
}

/// A container of a pod.
#[derive(Debug)]
pub struct NodeContainer {
    /// Its id, without the runtime.
    pub id: String,
    /// Its id as the API server has it.
    pub api_id: String,
    cgroup: Cgroup,
}

/// Moves itself into the cgroup that is its first argument and becomes the rest.
const ENTER: &str = r#"echo 0 > "$0/cgroup.procs" && exec "$@""#;

// === impl Driver ===

impl Driver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Systemd, Self::Cgroupfs, Self::CriO, Self::Kind];

    fn runtime(self) -> &'static str {
        match self {
            Self::CriO => "cri-o",
            _ => "containerd",
        }
    }

    fn pod(self, uid: &str) -> String {
        let slice = uid.replace('-', "_");
        let of = |prefix: &str| {
            format!(
                "{prefix}kubepods.slice/{prefix}kubepods-burstable.slice/{prefix}kubepods-burstable-pod{slice}.slice"
            )
        };
        match self {
            Self::Systemd | Self::CriO => of(""),
            Self::Cgroupfs => format!("kubepods/burstable/pod{uid}"),
            Self::Kind => format!("docker/{}/kubelet.slice/{}", "0a".repeat(32), of("kubelet-")),
        }
    }

    fn container(self, id: &str) -> String {
        match self {
            Self::Systemd | Self::Kind => format!("cri-containerd-{id}.scope"),
            Self::Cgroupfs => id.to_owned(),
            Self::CriO => format!("crio-{id}.scope/container"),
        }
    }
}

// === impl NodePod ===

impl NodePod {
    /// Makes a pod's cgroup.
    pub fn new(driver: Driver) -> Self {
        let uid = uuid();
        let cgroup = Cgroup::new(&driver.pod(&uid));
        Self { uid, driver, cgroup }
    }

    /// Makes a container's cgroup in it.
    pub fn container(&self) -> NodeContainer {
        let id = format!("{}{}", uuid(), uuid()).replace('-', "");
        let path = format!("{}/{}", self.cgroup.path().display(), self.driver.container(&id));
        NodeContainer { api_id: format!("{}://{id}", self.driver.runtime()), id, cgroup: Cgroup::new(&path) }
    }
}

// === impl NodeContainer ===

impl NodeContainer {
    /// The command that runs a program in the container's cgroup, and in PID and mount namespaces of its own.
    pub fn start<S: AsRef<OsStr>>(&self, program: &Path, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.enter(Path::new("unshare"), ["-p", "-f", "-m", "--mount-proc"]);
        command.arg(program).args(args);
        command
    }

    /// The command that runs a program in the container's cgroup alone.
    pub fn enter<S: AsRef<OsStr>>(&self, program: &Path, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", ENTER]).arg(self.cgroup.folder()).arg(program).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }
}

fn uuid() -> String {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel makes uuids");
    uuid.trim().to_owned()
}
