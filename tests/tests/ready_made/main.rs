//! The policies of `deploy/policies`: each tells of the deeds that it is for, and not of their harmless twins.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use trigon::policy::check_text;
use trigon_tests::{
    agent::Ended,
    command::said,
    container::Container,
    place,
    policed::{Rig, Told, matches},
    suite::{self, Need},
    workload::Workload,
};

mod deeds;
mod network;

const KERNEL: &[Need] = &[Need::Kernel];

const SENSITIVE: &str = include_str!("../../../deploy/policies/sensitive-files.yaml");
const CHANGED: &str = include_str!("../../../deploy/policies/sensitive-files-changed.yaml");
const OTHER: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: other}
spec:
  tracepoints:
  - {subsystem: sched, event: sched_process_exit}
";
const WEB: &str = include_str!("../../../deploy/policies/web-content.yaml");
const SHELL: &str = include_str!("../../../deploy/policies/container-shell.yaml");
const MODULES: &str = include_str!("../../../deploy/policies/kernel-modules.yaml");
const BPF: &str = include_str!("../../../deploy/policies/bpf-load.yaml");
const UNIT: &str = include_str!("../../../deploy/systemd/trigon.service");
const PRIVILEGE: &str = include_str!("../../../deploy/policies/privilege-change.yaml");

/// Folders of the container's own: what is done there is done to nobody's files.
const PREPARE: &str = "
    for folder in /var /srv /usr/sbin; do [ -d $folder ] || mkdir -p $folder; done
    for folder in /etc /root /var /srv /usr/sbin; do mount -t tmpfs none $folder; done
    mkdir -p /etc/ssh /etc/sudoers.d /etc/kubernetes /etc/shadowsocks /root/.ssh /root/.kube /root/.aws
    mkdir -p /var/www/html /var/wwwold /srv/www
    for file in /etc/shadow /etc/gshadow /etc/shadows /etc/shadowsocks/config /etc/sudoers /etc/sudoers.d/x \
        /etc/ssh/ssh_host_rsa_key /etc/ssh/ssh_host_rsa_key.pub /etc/kubernetes/admin.conf /etc/passwd \
        /root/.ssh/id_ed25519 /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys /root/.ssh/known_hosts \
        /root/.kube/config /root/.kube/cache /root/.aws/credentials /root/.aws/config \
        /var/www/html/index.html /var/wwwold/index.html /srv/www/a /srv/b; do
        echo 0123456789 > $file
    done
    cp WORKLOAD /usr/sbin/sshd
    cp WORKLOAD /usr/sbin/other";

/// A deed, and what is told of it: functions, and what they are about. The function that all reads and writes pass is
/// `read` or `write`.
type Deed = (&'static str, &'static [(&'static str, &'static str)]);

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("every_policy_is_accepted", &[], every_policy_is_accepted);
        suite.test("sensitive_files", KERNEL, sensitive_files);
        suite.test("sensitive_files_read_by_whom", KERNEL, sensitive_files_read_by_whom);
        suite.test("web_content", KERNEL, web_content);
        suite.test("shells_in_containers", KERNEL, shells_in_containers);
        suite.test("kernel_modules", KERNEL, kernel_modules);
        suite.test("bpf_programs", KERNEL, bpf_programs);
        suite.test("bpf_programs_of_the_agent", KERNEL, bpf_programs_of_the_agent);
        suite.test("privilege_changes", KERNEL, privilege_changes);
        deeds::tests(suite);
        network::tests(suite);
    })
}

/// A container in which deeds are done while an agent has a policy.
struct Scene {
    rig: Rig,
    workload: Workload,
    container: Container,
}

// === impl Scene ===

impl Scene {
    fn new(policy: &str) -> Self {
        let (rig, workload) = (Rig::new(policy), Workload::new());
        let prepare = PREPARE.replace("WORKLOAD", &workload.program().display().to_string());
        let container = Container::start(&prepare, "");
        Self { rig, workload, container }
    }

    fn calls(&self, program: &Path, calls: &str) {
        let words = ["calls"].into_iter().chain(calls.split_whitespace());
        let mut command = self.container.enter(program, words);
        let status = command.status().expect("run nsenter");
        assert!(status.success(), "{calls}: {status}");
    }

    /// Does the deeds one after the other, in one process, and compares: one policy tells of reads, one of the rest.
    fn check(&self, reads: &str, rest: &str, deeds: &[Deed]) {
        let calls = deeds.iter().map(|(deed, _)| *deed).collect::<Vec<_>>().join(" ; ");
        let ended = self.rig.around(|| self.calls(self.workload.program(), &calls));
        let program = self.workload.program().to_str().expect("a plain path");
        let told = told_by(&ended, program);
        let found: Vec<_> = told.iter().map(|told| (done(told), told.args[0].as_str())).collect();
        let expected: Vec<_> = deeds.iter().flat_map(|(_, told)| told.iter().copied()).collect();
        assert_eq!(found, expected, "{told:#?}");
        let policy = |told: &Told| if done(told) == "read" { reads } else { rest };
        assert!(told.iter().all(|told| told.policy == policy(told)), "{told:#?}");
    }
}

/// What was done, where one function does more than one thing.
fn done(told: &Told) -> &str {
    match (told.function.as_str(), told.args.get(1).map(String::as_str)) {
        // MAY_WRITE, MAY_READ
        ("security_file_permission", Some("2")) => "write",
        ("security_file_permission", Some("4")) => "read",
        (function, _) => function,
    }
}

/// Calls of a process on the host that executes this program.
fn calls_here(program: &Path, calls: &str) {
    let status = Command::new(program).arg("calls").args(calls.split_whitespace()).status();
    let status = status.expect("run the program");
    assert!(status.success(), "{calls}: {status}");
}

/// A copy of the workload; policies that name `listed` name the copy instead.
fn listed_copy(policy: &str, listed: &str, workload: &Workload) -> (PathBuf, String) {
    let copy = workload.folder().join("listed");
    std::fs::copy(workload.program(), &copy).expect("copy the workload");
    let line = |path: &str| format!("- {path}\n");
    let changed = policy.replace(&line(listed), &line(copy.to_str().expect("a plain path")));
    assert_ne!(changed, policy, "{listed} is in the policy");
    (copy, changed)
}

/// What was told of processes that execute this program.
fn told_by(ended: &Ended, program: &str) -> Vec<Told> {
    let lines = matches(ended);
    let of = lines.iter().filter(|line| line.text("/process/binary") == program);
    of.map(Told::from).collect()
}

fn every_policy_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies");
    let policies = [
        ("sensitive-files", SENSITIVE),
        ("sensitive-files-changed", CHANGED),
        ("web-content", WEB),
        ("container-shell", SHELL),
        ("kernel-modules", MODULES),
        ("bpf-load", BPF),
        ("privilege-change", PRIVILEGE),
    ];
    let policies: Vec<_> = policies.into_iter().chain(deeds::POLICIES).chain(network::POLICIES).collect();
    for (name, text) in &policies {
        let checked = check_text(text);
        assert!(checked.errors == 0 && checked.faults.is_empty(), "{name}: {:?}", checked.faults);
        let policy = &checked.policies[0];
        assert_eq!(policy.name, *name);
        assert!(policy.hooks.iter().all(|hook| hook.message.is_some() && !hook.tags.is_empty()), "{name}");
        let untold = policy.hooks.iter().filter(|hook| hook.selectors.is_empty()).count();
        assert_eq!(untold, 0, "{name}: a hook without a selector tells of everything");
    }
    // In a test kernel there is no checkout.
    if let Ok(files) = std::fs::read_dir(&folder) {
        let is_policy = |file: &std::fs::DirEntry| file.path().extension().is_some_and(|of| of == "yaml");
        let count = files.filter_map(Result::ok).filter(is_policy).count();
        assert_eq!(count, policies.len(), "each policy of {} is in this suite", folder.display());
    }
}

fn sensitive_files() {
    let deeds: &[Deed] = &[
        // Read twice and written: reads are told once a minute, writes too.
        (
            "openat -100 @/etc/shadow 2 ; read $0 #1 1 ; read $0 #1 1 ; write $0 #1 1",
            &[("read", "/etc/shadow"), ("write", "/etc/shadow")],
        ),
        (
            "fchmod $0 0x180 ; fchown $0 0 0 ; ftruncate $0 3",
            &[("fchmod", "/etc/shadow"), ("fchown", "/etc/shadow"), ("ftruncate", "/etc/shadow")],
        ),
        // Through a folder, a link and another name.
        ("chdir @/etc ; open @gshadow 0 ; pread64 $8 #1 1 0", &[("read", "/etc/gshadow")]),
        ("openat -100 @/etc/../etc/sudoers 0 ; read $10 #1 1", &[("read", "/etc/sudoers")]),
        ("symlink @/etc/ssh/ssh_host_rsa_key @/etc/link", &[("symlink", "/etc/ssh/ssh_host_rsa_key")]),
        ("openat -100 @/etc/link 0 ; read $13 #1 1", &[("read", "/etc/ssh/ssh_host_rsa_key")]),
        (
            "openat2 -100 @/etc/kubernetes/admin.conf [0,0,0] 24 ; read $15 #1 1",
            &[("read", "/etc/kubernetes/admin.conf")],
        ),
        ("openat -100 @/root/.ssh/id_ed25519 0 ; read $17 #1 1", &[("read", "/root/.ssh/id_ed25519")]),
        ("openat -100 @/root/.kube/config 0 ; readv $19 [#1,1] 1", &[("read", "/root/.kube/config")]),
        ("openat -100 @/root/.aws/credentials 0 ; read $21 #1 1", &[("read", "/root/.aws/credentials")]),
        // Made and written anew.
        ("openat -100 @/etc/sudoers.d/new 0x41 0x180 ; write $23 #1 1", &[("write", "/etc/sudoers.d/new")]),
        ("chmod @/etc/shadow 0x1b6", &[("chmod", "/etc/shadow")]),
        ("fchmodat -100 @/root/.ssh/authorized_keys 0x1b6", &[("fchmodat", "/root/.ssh/authorized_keys")]),
        (
            "chown @/etc/gshadow 1 1 ; lchown @/etc/gshadow 0 0 ; fchownat -100 @/etc/gshadow 0 0 0",
            &[("chown", "/etc/gshadow"), ("lchown", "/etc/gshadow"), ("fchownat", "/etc/gshadow")],
        ),
        ("truncate @/root/.kube/config 1", &[("truncate", "/root/.kube/config")]),
        ("link @/etc/shadow @/etc/other", &[("link", "/etc/shadow")]),
        ("linkat -100 @/etc/gshadow -100 @/etc/another 0", &[("linkat", "/etc/gshadow")]),
        ("rename @/etc/shadow @/etc/old", &[("rename", "/etc/shadow")]),
        ("renameat2 -100 @/etc/old -100 @/etc/shadow 0", &[("renameat2", "/etc/old")]),
        ("unlink @/etc/shadow", &[("unlink", "/etc/shadow")]),
        ("unlinkat -100 @/etc/kubernetes/admin.conf 0", &[("unlinkat", "/etc/kubernetes/admin.conf")]),
        // Their harmless twins.
        ("openat -100 @/etc/shadows 2 ; read $37 #1 1 ; write $37 #1 1 ; fchmod $37 0x180", &[]),
        ("openat -100 @/etc/passwd 0 ; read $41 #1 1", &[]),
        ("openat -100 @/etc/shadowsocks/config 0 ; read $43 #1 1", &[]),
        ("openat -100 @/etc/ssh/ssh_host_rsa_key.pub 0 ; read $45 #1 1", &[]),
        ("openat -100 @/root/.ssh/id_ed25519.pub 0 ; read $47 #1 1", &[]),
        ("openat -100 @/root/.ssh/known_hosts 2 ; write $49 #1 1", &[]),
        ("openat -100 @/root/.aws/config 0 ; read $51 #1 1", &[]),
        ("rename @/root/.kube/cache @/root/.kube/cached ; unlink @/root/.kube/cached", &[]),
        ("chmod @/etc/passwd 0x1a4 ; truncate @/etc/shadows 1 ; unlink @/etc/shadows", &[]),
    ];
    Scene::new(&format!("{SENSITIVE}---\n{CHANGED}")).check(
        "sensitive-files",
        "sensitive-files-changed",
        deeds,
    );
}

/// What logs people in reads those files all the time.
fn sensitive_files_read_by_whom() {
    let scene = Scene::new(&format!("{SENSITIVE}---\n{CHANGED}"));
    let deed =
        "openat -100 @/etc/shadow 0 ; read $0 #1 1 ; openat -100 @/etc/ssh/ssh_host_rsa_key 0 ; read $2 #1 1";
    let more =
        format!("{deed} ; openat -100 @/root/.aws/credentials 0 ; read $4 #1 1 ; chmod @/etc/shadow 0x180");
    let ended = scene.rig.around(|| {
        scene.calls(Path::new("/usr/sbin/sshd"), &more);
        scene.calls(Path::new("/usr/sbin/other"), deed);
    });
    let paths = |program: &str| {
        told_by(&ended, program)
            .into_iter()
            .map(|told| (told.function, told.args[0].clone()))
            .collect::<Vec<_>>()
    };
    let read = |path: &str| ("security_file_permission".to_owned(), path.to_owned());
    assert_eq!(paths("/usr/sbin/other"), [read("/etc/shadow"), read("/etc/ssh/ssh_host_rsa_key")]);
    let of_sshd = [read("/root/.aws/credentials"), ("chmod".to_owned(), "/etc/shadow".to_owned())];
    assert_eq!(paths("/usr/sbin/sshd"), of_sshd, "it has no business with those");
}

fn web_content() {
    let deeds: &[Deed] = &[
        (
            "openat -100 @/var/www/html/index.html 1 ; write $0 #1 1 ; write $0 #1 1",
            &[("write", "/var/www/html/index.html")],
        ),
        ("fchmod $0 0x1b6", &[("fchmod", "/var/www/html/index.html")]),
        ("chdir @/var/www ; openat -100 @html/index.html 1 ; pwrite64 $5 #1 1 0 ; close $5", &[]),
        // Made anew (O_CREAT), emptied (O_TRUNC).
        (
            "openat -100 @/var/www/html/shell.php 0x41 0x1a4 ; write $8 #1 1",
            &[("openat", "/var/www/html/shell.php"), ("write", "/var/www/html/shell.php")],
        ),
        ("open @/srv/www/a 0x201", &[("open", "/srv/www/a")]),
        ("creat @/srv/www/c 0x1a4", &[("creat", "/srv/www/c")]),
        ("mkdir @/var/www/html/x 0x1ed", &[("mkdir", "/var/www/html/x")]),
        ("chmod @/var/www/html/shell.php 0x1ff", &[("chmod", "/var/www/html/shell.php")]),
        ("rename @/srv/b @/srv/www/b", &[("rename", "/srv/b")]),
        ("symlinkat @/etc/passwd -100 @/srv/www/p", &[("symlinkat", "/etc/passwd")]),
        ("renameat -100 @/srv/www/b -100 @/srv/b", &[("renameat", "/srv/www/b")]),
        ("truncate @/srv/www/a 0", &[("truncate", "/srv/www/a")]),
        (
            "unlink @/srv/www/a ; unlinkat -100 @/srv/www/c 0 ; rmdir @/var/www/html/x",
            &[("unlink", "/srv/www/a"), ("unlinkat", "/srv/www/c"), ("rmdir", "/var/www/html/x")],
        ),
        // Their harmless twins: read, and the same elsewhere.
        ("openat -100 @/var/www/html/index.html 0 ; read $21 #1 1", &[]),
        ("openat -100 @/var/wwwold/index.html 0x241 0x1a4 ; write $23 #1 1 ; fchmod $23 0x1a4", &[]),
        ("rename @/srv/b @/srv/c ; chmod @/srv/c 0x1ff ; unlink @/srv/c", &[]),
    ];
    Scene::new(WEB).check("", "web-content", deeds);
}

fn shells_in_containers() {
    let scene = Scene::new(SHELL);
    for name in ["sh", "bash", "shell"] {
        std::fs::hard_link(scene.workload.program(), scene.workload.folder().join(name)).expect("a name");
    }
    let folder = scene.workload.folder().display();
    let execute = |name: &str| format!("execve @{folder}/{name} [@{name},@quiet,@0,0] [0]");
    let at = format!("execveat -100 @{folder}/bash [@bash,@quiet,@0,0] [0] 0");
    let told = |deed: &dyn Fn()| {
        let lines = matches(&scene.rig.around(deed));
        let ours = lines.iter().filter(|line| line.text("/process/binary").contains(scene.workload.tag()));
        ours.map(|line| {
            let told = Told::from(line);
            assert_eq!(told.policy, "container-shell");
            (told.function, told.args[0].rsplit('/').next().unwrap_or_default().to_owned())
        })
        .collect::<Vec<_>>()
    };
    let here = |calls: &str| {
        let words = ["calls"].into_iter().chain(calls.split_whitespace());
        assert!(scene.workload.command(words).status().expect("run the workload").success(), "{calls}");
    };
    let entered = told(&|| {
        scene.calls(scene.workload.program(), &execute("sh"));
        scene.calls(scene.workload.program(), &at);
        scene.calls(scene.workload.program(), &execute("shell"));
        // A container that shares the host's PIDs: CLONE_NEWNS, CLONE_NEWUTS.
        here(&format!("unshare 0x4020000 ; {}", execute("bash")));
    });
    let expected = [("execve", "sh"), ("execveat", "bash"), ("execve", "bash")];
    assert_eq!(entered, expected.map(|(function, name)| (function.to_owned(), name.to_owned())));
    // On the host, and in a service that has only its own mounts.
    let outside = told(&|| {
        here(&execute("sh"));
        here(&format!("unshare 0x20000 ; {}", execute("sh")));
    });
    assert_eq!(outside, []);
}

/// Whoever may not, and modules that are none: the attempt is told.
fn kernel_modules() {
    let deeds: &[Deed] = &[
        ("?init_module #16 16 @a=1", &[("init_module", "16")]),
        ("openat -100 @/etc/passwd 0 ; ?finit_module $1 @ 0", &[("finit_module", "/etc/passwd")]),
        ("?delete_module @trigon_none 0x800", &[("delete_module", "trigon_none")]),
        // Its harmless twin: the file is read.
        ("openat -100 @/etc/passwd 0 ; read $4 #16 16", &[]),
    ];
    Scene::new(MODULES).check("", "kernel-modules", deeds);

    // On the host, by somebody, and by what does so when a device appears.
    let workload = Workload::new();
    let (udev, policy) = listed_copy(MODULES, "/usr/bin/udevadm", &workload);
    let ended = Rig::new(&policy).around(|| {
        calls_here(workload.program(), "?delete_module @trigon_none 0x800");
        calls_here(&udev, "?delete_module @trigon_none 0x800 ; ?init_module #16 16 @");
    });
    let functions = |program: &Path| functions(&ended, program);
    assert_eq!(functions(workload.program()), ["delete_module"]);
    assert_eq!(functions(&udev), [""; 0]);
}

fn functions(ended: &Ended, program: &Path) -> Vec<String> {
    let told = told_by(ended, program.to_str().expect("a plain path"));
    told.into_iter().map(|told| told.function).collect()
}

/// A call that the kernel refuses, since what it is given is no program, counts.
fn bpf_programs() {
    let deeds: &[Deed] = &[
        // BPF_PROG_LOAD, twice: a process is told once a minute.
        ("?bpf 5 #128 128 ; ?bpf 5 #128 128", &[("bpf", "5")]),
        // Its harmless twins: BPF_MAP_CREATE, BPF_PROG_GET_NEXT_ID.
        ("?bpf 0 #128 128 ; ?bpf 11 #128 128", &[]),
    ];
    Scene::new(BPF).check("", "bpf-load", deeds);

    let workload = Workload::new();
    let (runc, policy) = listed_copy(BPF, "/usr/bin/runc", &workload);
    let ended = Rig::new(&policy).around(|| {
        calls_here(workload.program(), "?bpf 5 #128 128");
        calls_here(&runc, "?bpf 5 #128 128");
    });
    assert_eq!(functions(&ended, workload.program()), ["bpf"]);
    assert_eq!(functions(&ended, &runc), [""; 0]);
}

/// It loads programs for each policy that comes; where it is installed, its path is in the policy's list.
fn bpf_programs_of_the_agent() {
    let agent = place::agent().canonicalize().expect("the agent's path");
    let told = |policy: &str| {
        let rig = Rig::new(policy);
        let running = rig.agent().start();
        // What hooks system calls shares programs that are there; a tracepoint has one of its own.
        let other = rig.path("other.yaml");
        std::fs::write(&other, OTHER).expect("write a policy");
        let said = said(&mut running.command(&["policy", "add", other.to_str().expect("a plain path")]));
        assert_eq!(said.code, Some(0), "{said:?}");
        functions(&running.stop(), &agent)
    };
    let installed = "- /usr/local/bin/trigon\n";
    let here = format!("- {}\n", agent.display());
    assert!(BPF.contains(installed) && UNIT.contains("ExecStart=/usr/local/bin/trigon "));
    assert_eq!(told(&BPF.replace(installed, &here)), [""; 0]);
    assert_eq!(told(BPF), ["bpf"], "and somebody else at another path is seen");
}

fn privilege_changes() {
    // As root: nothing that it has not. setuid(0); seteuid to a user and back; and down to a user for good.
    const ROOT: &str =
        "setuid 0 ; setresuid 0 0 0 ; setresuid -1 1000 -1 ; setresuid -1 0 -1 ; setresuid 1000 1000 1000";
    // As that user, who may not.
    const USER: &str = "?setuid 1000 ; ?setuid 0 ; ?setreuid 0 0 ; ?setresuid 0 0 0 ; ?setreuid 1000 1000";
    let workload = Workload::new();
    let (sudo, policy) = listed_copy(PRIVILEGE, "/usr/bin/sudo", &workload);
    let deed = format!("{ROOT} ; {USER}");
    let ended = Rig::new(&policy).around(|| {
        calls_here(workload.program(), &deed);
        calls_here(&sudo, &deed);
    });
    assert_eq!(functions(&ended, workload.program()), ["setuid", "setreuid", "setresuid"]);
    assert_eq!(functions(&ended, &sudo), [""; 0]);
}
