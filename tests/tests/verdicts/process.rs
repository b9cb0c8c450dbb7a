//! Who makes the calls: processes that change what selectors ask of them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use trigon::policy::model::selectors::Namespace;
use trigon_exporters::event::Namespaces;
use trigon_tests::{place, reference::Process};

/// What a process does to itself before it makes its calls.
#[derive(Clone, Copy, Debug)]
pub enum Before {
    Nothing,
    /// Enters a new UTS namespace.
    NewUts,
    /// Enters a new network namespace: all ports and addresses are free there.
    NewNetwork,
    /// Drops CAP_CHOWN and CAP_NET_RAW from its effective capabilities.
    Drop,
}

/// System calls that a process makes: words of `trigon-workload calls`.
#[derive(Default)]
pub struct Script {
    words: Vec<String>,
    calls: usize,
}

/// What is the same of all processes that this one starts.
pub struct Who {
    lineage: Vec<u32>,
    capabilities: [u64; 3],
    binary: Vec<u8>,
    parent_binary: Vec<u8>,
}

/// CAP_CHOWN and CAP_NET_RAW.
const DROPPED: u64 = 1 | 1 << 13;

pub fn namespaces(pid: &str) -> Namespaces {
    let inode = |name: &str| {
        fs::metadata(format!("/proc/{pid}/ns/{name}")).map_or(0, |namespace| namespace.ino() as u32)
    };
    Namespaces {
        uts: inode("uts"),
        ipc: inode("ipc"),
        mnt: inode("mnt"),
        pid: inode("pid"),
        pid_for_children: inode("pid_for_children"),
        net: inode("net"),
        time: inode("time"),
        time_for_children: inode("time_for_children"),
        cgroup: inode("cgroup"),
        user: inode("user"),
    }
}

fn kinds(all: &Namespaces) -> Vec<(Namespace, u32)> {
    vec![
        (Namespace::Uts, all.uts),
        (Namespace::Ipc, all.ipc),
        (Namespace::Mnt, all.mnt),
        (Namespace::Pid, all.pid),
        (Namespace::PidForChildren, all.pid_for_children),
        (Namespace::Net, all.net),
        (Namespace::Time, all.time),
        (Namespace::TimeForChildren, all.time_for_children),
        (Namespace::Cgroup, all.cgroup),
        (Namespace::User, all.user),
    ]
}

/// This process and all that it descends from.
fn ancestors() -> Vec<u32> {
    let mut found = Vec::new();
    let mut pid = std::process::id();
    while pid > 0 && found.len() < 64 {
        found.push(pid);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        pid = parent.and_then(|parent| parent.parse().ok()).unwrap_or(0);
    }
    found
}

// === impl Before ===

impl Before {
    pub fn act(self, script: &mut Script, who: &Who) {
        match self {
            Self::Nothing => {}
            Self::NewUts => drop(script.call("unshare 0x04000000")),
            Self::NewNetwork => drop(script.call("unshare 0x40000000")),
            Self::Drop => {
                let [effective, inheritable, permitted] = who.capabilities;
                let effective = effective & !DROPPED;
                // Version 3 of the call: two elements of three words of 32 bits.
                let low = |set: u64| set & 0xffff_ffff;
                let words = [
                    low(effective) | permitted << 32,
                    low(inheritable) | effective >> 32 << 32,
                    permitted >> 32 | inheritable >> 32 << 32,
                ];
                let words = words.map(|word| format!("{word:#x}")).join(",");
                script.call(&format!("capset [0x20080522] [{words}]"));
            }
        }
    }
}

// === impl Script ===

impl Script {
    /// One more call; and how those after it name what it returned.
    pub fn call(&mut self, call: &str) -> String {
        self.words.extend(call.split(' ').map(str::to_owned));
        self.words.push(";".into());
        self.calls += 1;
        format!("${}", self.calls - 1)
    }

    /// Lets a process make the calls; its pid.
    pub fn run(&self) -> u32 {
        let mut command = Command::new(place::workload());
        command.arg("calls").args(&self.words).stdout(Stdio::null());
        let mut child = command.spawn().expect("run the workload");
        let status = child.wait().expect("wait for the workload");
        assert!(status.success(), "the deeds were not done: {status:?} {:?}", self.words.join(" "));
        child.id()
    }
}

// === impl Who ===

impl Who {
    pub fn read() -> Self {
        // A program that is executed may have other capabilities than who executes it.
        let output = Command::new("cat").arg("/proc/self/status").output().expect("run cat");
        let status = String::from_utf8(output.stdout).expect("a status in UTF-8");
        let set = |name: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).expect("a set of capabilities");
            u64::from_str_radix(line.trim(), 16).expect("a set in hexadecimal")
        };
        let canonical = |path: &std::path::Path| {
            fs::canonicalize(path).expect("a program's path").into_os_string().into_encoded_bytes()
        };
        Self {
            lineage: ancestors(),
            capabilities: [set("CapEff:"), set("CapInh:"), set("CapPrm:")],
            binary: canonical(&place::workload()),
            parent_binary: canonical("/proc/self/exe".as_ref()),
        }
    }

    pub fn process(&self, pid: u32, before: Before) -> Process {
        let mut process = Process {
            pid,
            // This suite runs in the first namespace.
            namespace_pid: pid,
            lineage: [pid].into_iter().chain(self.lineage.iter().copied()).collect(),
            binary: self.binary.clone(),
            parent_binary: self.parent_binary.clone(),
            namespaces: kinds(&namespaces("self")),
            host_namespaces: kinds(&namespaces("1")),
            capabilities: self.capabilities,
            ..Process::default()
        };
        let changed = match before {
            Before::NewUts => Some(Namespace::Uts),
            Before::NewNetwork => Some(Namespace::Net),
            Before::Nothing | Before::Drop => None,
        };
        // The new one is nobody else's: its number is of no interest.
        let own = process.namespaces.iter_mut().filter(|(kind, _)| Some(*kind) == changed);
        own.for_each(|(_, inode)| *inode = 1);
        process.changed_namespaces.extend(changed);
        if matches!(before, Before::Drop) {
            process.changed_capabilities = [self.capabilities[0] & DROPPED, 0, 0];
            process.capabilities[0] &= !DROPPED;
        }
        process
    }
}
