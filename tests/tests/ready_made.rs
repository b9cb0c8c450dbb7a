//! The policies of `deploy/policies`: each tells of the deeds that it is for, and not of their harmless twins.

use std::{path::Path, process::ExitCode};

use trigon::policy::check_text;
use trigon_tests::{
    agent::Ended,
    container::Container,
    policed::{Rig, Told, matches},
    suite::{self, Need},
    workload::Workload,
};

const KERNEL: &[Need] = &[Need::Kernel];

const SENSITIVE: &str = include_str!("../../deploy/policies/sensitive-files.yaml");
const WEB: &str = include_str!("../../deploy/policies/web-content.yaml");
const SHELL: &str = include_str!("../../deploy/policies/container-shell.yaml");

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

/// A deed, and what is told of it: functions, and the paths that they are about.
type Deed = (&'static str, &'static [(&'static str, &'static str)]);

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("every_policy_is_accepted", &[], every_policy_is_accepted);
        suite.test("sensitive_files", KERNEL, sensitive_files);
        suite.test("sensitive_files_read_by_whom", KERNEL, sensitive_files_read_by_whom);
        suite.test("web_content", KERNEL, web_content);
        suite.test("shells_in_containers", KERNEL, shells_in_containers);
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

    /// Does the deeds one after the other, in one process, and compares.
    fn check(&self, policy: &str, deeds: &[Deed]) {
        let calls = deeds.iter().map(|(deed, _)| *deed).collect::<Vec<_>>().join(" ; ");
        let ended = self.rig.around(|| self.calls(self.workload.program(), &calls));
        let program = self.workload.program().to_str().expect("a plain path");
        let told = told_by(&ended, program);
        let found: Vec<_> = told.iter().map(|told| (told.function.as_str(), told.args[0].as_str())).collect();
        let expected: Vec<_> = deeds.iter().flat_map(|(_, told)| told.iter().copied()).collect();
        assert_eq!(found, expected, "{told:#?}");
        assert!(told.iter().all(|told| told.policy == policy), "{told:#?}");
    }
}

/// What was told of processes that execute this program.
fn told_by(ended: &Ended, program: &str) -> Vec<Told> {
    let lines = matches(ended);
    let of = lines.iter().filter(|line| line.text("/process/binary") == program);
    of.map(Told::from).collect()
}

fn every_policy_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies");
    for (name, text) in [("sensitive-files", SENSITIVE), ("web-content", WEB), ("container-shell", SHELL)] {
        let checked = check_text(text);
        assert!(checked.errors == 0 && checked.faults.is_empty(), "{name}: {:?}", checked.faults);
        let policy = &checked.policies[0];
        assert_eq!(policy.name, name);
        assert!(policy.hooks.iter().all(|hook| hook.message.is_some() && !hook.tags.is_empty()), "{name}");
        let untold = policy.hooks.iter().filter(|hook| hook.selectors.is_empty()).count();
        assert_eq!(untold, 0, "{name}: a hook without a selector tells of everything");
    }
    // In a test kernel there is no checkout.
    if let Ok(files) = std::fs::read_dir(&folder) {
        let is_policy = |file: &std::fs::DirEntry| file.path().extension().is_some_and(|of| of == "yaml");
        let count = files.filter_map(Result::ok).filter(is_policy).count();
        assert_eq!(count, 3, "each policy of {} is in this suite", folder.display());
    }
}

fn sensitive_files() {
    const READ: &str = "security_file_permission";
    let deeds: &[Deed] = &[
        // Read twice and written: reads are told once a minute, writes too.
        (
            "openat -100 @/etc/shadow 2 ; read $0 #1 1 ; read $0 #1 1 ; write $0 #1 1",
            &[(READ, "/etc/shadow"), (READ, "/etc/shadow")],
        ),
        (
            "fchmod $0 0x180 ; fchown $0 0 0 ; ftruncate $0 3",
            &[("fchmod", "/etc/shadow"), ("fchown", "/etc/shadow"), ("ftruncate", "/etc/shadow")],
        ),
        // Through a folder, a link and another name.
        ("chdir @/etc ; open @gshadow 0 ; pread64 $8 #1 1 0", &[(READ, "/etc/gshadow")]),
        ("openat -100 @/etc/../etc/sudoers 0 ; read $10 #1 1", &[(READ, "/etc/sudoers")]),
        ("symlink @/etc/ssh/ssh_host_rsa_key @/etc/link", &[("symlink", "/etc/ssh/ssh_host_rsa_key")]),
        ("openat -100 @/etc/link 0 ; read $13 #1 1", &[(READ, "/etc/ssh/ssh_host_rsa_key")]),
        (
            "openat2 -100 @/etc/kubernetes/admin.conf [0,0,0] 24 ; read $15 #1 1",
            &[(READ, "/etc/kubernetes/admin.conf")],
        ),
        ("openat -100 @/root/.ssh/id_ed25519 0 ; read $17 #1 1", &[(READ, "/root/.ssh/id_ed25519")]),
        ("openat -100 @/root/.kube/config 0 ; readv $19 [#1,1] 1", &[(READ, "/root/.kube/config")]),
        ("openat -100 @/root/.aws/credentials 0 ; read $21 #1 1", &[(READ, "/root/.aws/credentials")]),
        // Made and written anew.
        ("openat -100 @/etc/sudoers.d/new 0x41 0x180 ; write $23 #1 1", &[(READ, "/etc/sudoers.d/new")]),
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
    Scene::new(SENSITIVE).check("sensitive-files", deeds);
}

/// What logs people in reads those files all the time.
fn sensitive_files_read_by_whom() {
    let scene = Scene::new(SENSITIVE);
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
    const WRITE: &str = "security_file_permission";
    let deeds: &[Deed] = &[
        (
            "openat -100 @/var/www/html/index.html 1 ; write $0 #1 1 ; write $0 #1 1",
            &[(WRITE, "/var/www/html/index.html")],
        ),
        ("fchmod $0 0x1b6", &[("fchmod", "/var/www/html/index.html")]),
        ("chdir @/var/www ; openat -100 @html/index.html 1 ; pwrite64 $5 #1 1 0 ; close $5", &[]),
        // Made anew (O_CREAT), emptied (O_TRUNC).
        (
            "openat -100 @/var/www/html/shell.php 0x41 0x1a4 ; write $8 #1 1",
            &[("openat", "/var/www/html/shell.php"), (WRITE, "/var/www/html/shell.php")],
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
    Scene::new(WEB).check("web-content", deeds);
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
