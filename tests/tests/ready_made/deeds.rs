//! Policies on single system calls: what they are for, and its harmless twin.

use std::path::Path;

use trigon_tests::{command::said, policed::Rig, suite::Suite, workload::Workload};

use super::{KERNEL, Scene, calls_here, listed_copy, told_by};

const TRACING: &str = include_str!("../../../deploy/policies/process-tracing.yaml");
const ESCAPE: &str = include_str!("../../../deploy/policies/namespace-escape.yaml");
const MEMFD: &str = include_str!("../../../deploy/policies/memfd-exec.yaml");
const LOGS: &str = include_str!("../../../deploy/policies/log-deletion.yaml");
const PRELOAD: &str = include_str!("../../../deploy/policies/library-preload.yaml");
const CAPABILITY: &str = include_str!("../../../deploy/policies/capability-use.yaml");

/// The policies of this file, by their names.
pub const POLICIES: [(&str, &str); 6] = [
    ("process-tracing", TRACING),
    ("namespace-escape", ESCAPE),
    ("memfd-exec", MEMFD),
    ("log-deletion", LOGS),
    ("library-preload", PRELOAD),
    ("capability-use", CAPABILITY),
];

pub fn tests(suite: &mut Suite) {
    suite.test("process_tracing", KERNEL, process_tracing);
    suite.test("namespace_escape", KERNEL, namespace_escape);
    suite.test("executions_from_memory", KERNEL, executions_from_memory);
    suite.test("deletion_of_logs", KERNEL, deletion_of_logs);
    suite.test("libraries_that_are_preloaded", KERNEL, libraries_that_are_preloaded);
    suite.test("use_of_capabilities", KERNEL, use_of_capabilities);
}

/// Functions, and the argument of a number, that were told of a program while it did a deed on the host.
fn told_here(policy: &str, workload: &Workload, argument: usize, deed: &dyn Fn()) -> Vec<(String, String)> {
    let ended = Rig::new(policy).around(deed);
    let told = told_by(&ended, workload.program().to_str().expect("a plain path"));
    told.into_iter()
        .map(|told| (told.function, told.args.get(argument).cloned().unwrap_or_default()))
        .collect()
}

fn pair(function: &str, argument: &str) -> (String, String) {
    (function.to_owned(), argument.to_owned())
}

/// Calls on a process that isn't there: the kernel refuses them, and they are told all the same.
fn process_tracing() {
    const NOBODY: u32 = 4_194_304;
    let workload = Workload::new();
    let deed = format!(
        "?ptrace 16 {NOBODY} 0 0 ; ?ptrace 16 {NOBODY} 0 0 ; ?ptrace 0x4206 {NOBODY} 0 0 ; \
         ?process_vm_writev {NOBODY} [#1,1] 1 [#1,1] 1 0"
    );
    // Its harmless twins: PTRACE_PEEKDATA, PTRACE_CONT, and reading another's memory.
    let twin = format!(
        "?ptrace 2 {NOBODY} 0 0 ; ?ptrace 7 {NOBODY} 0 0 ; ?process_vm_readv {NOBODY} [#1,1] 1 [#1,1] 1 0"
    );
    let (gdb, policy) = listed_copy(TRACING, "/usr/bin/gdb", &workload);
    let told = told_here(&policy, &workload, 0, &|| {
        calls_here(workload.program(), &format!("{deed} ; {twin}"));
        calls_here(&gdb, &deed);
    });
    let nobody = NOBODY.to_string();
    assert_eq!(told, [pair("ptrace", "16"), pair("ptrace", "16902"), pair("process_vm_writev", &nobody)]);
}

fn namespace_escape() {
    let scene = Scene::new(ESCAPE);
    let deed = "mount @none @/srv @tmpfs 0 ; unshare 0x20000 ; ?setns -1 0 ; ?pivot_root @/none @/none ; chroot @/ ; \
                ?open_by_handle_at -1 #8 0";
    // CLONE_FILES | CLONE_FS alone, and an unmount.
    let twin = "unshare 0x600 ; umount2 @/srv 0";
    let ended = scene.rig.around(|| {
        scene.calls(scene.workload.program(), &format!("{deed} ; {twin}"));
        // On the host it is what administrators do.
        calls_here(scene.workload.program(), "?setns -1 0 ; unshare 0x20000");
    });
    let told = told_by(&ended, scene.workload.program().to_str().expect("a plain path"));
    let functions: Vec<_> = told.iter().map(|told| told.function.as_str()).collect();
    assert_eq!(functions, ["mount", "unshare", "setns", "pivot_root", "chroot", "open_by_handle_at"]);
    assert_eq!(told[0].args, ["none", "/srv", "tmpfs"]);
}

fn executions_from_memory() {
    let workload = Workload::new();
    let program = workload.program().display().to_string();
    // The program, copied to memory, executed as what exits at once.
    let size = std::fs::metadata(workload.program()).expect("its size").len();
    let copied = format!("memfd_create @payload 0 ; openat -100 @{program} 0 ; sendfile $0 $1 0 {size}");
    let empty = 0x1000;
    let told = told_here(MEMFD, &workload, 0, &|| {
        let run = |execute: &str| calls_here(workload.program(), &format!("{copied} ; {execute}"));
        run(&format!("execveat $0 @ [@payload,@quiet,@0,0] [0] {empty}"));
        run("dup2 $0 77 ; execve @/proc/self/fd/77 [@payload,@quiet,@0,0] [0]");
        // Their harmless twins: a file's descriptor, and a path.
        let twin = |execute: &str| calls_here(workload.program(), execute);
        twin(&format!("openat -100 @{program} 0 ; execveat $0 @ [@x,@quiet,@0,0] [0] {empty}"));
        twin(&format!("execve @{program} [@x,@quiet,@0,0] [0]"));
    });
    let functions: Vec<_> = told.iter().map(|(function, _)| function.as_str()).collect();
    assert_eq!(functions, ["execveat", "execve"], "{told:?}");
    assert!(told[0].1.starts_with("/memfd:payload"), "{told:?}");
    assert_eq!(told[1].1, "/proc/self/fd/77");
}

fn deletion_of_logs() {
    let scene = Scene::new(LOGS);
    let prepared = "mkdir @/var/log 0x1ed ; mkdir @/var/logs 0x1ed ; creat @/var/log/a 0x180 ; creat @/var/log/b 0x180 ; \
                    creat @/var/logs/a 0x180 ; creat @/root/.bash_history 0x180 ; creat @/root/.bashrc 0x180";
    let deed = "openat -100 @/var/log/a 0x201 ; ftruncate $7 0 ; truncate @/var/log/a 0 ; \
                rename @/var/log/b @/var/log/c ; unlink @/var/log/a ; unlinkat -100 @/var/log/c 0 ; \
                truncate @/root/.bash_history 0 ; unlink @/root/.bash_history";
    let twin = "openat -100 @/var/logs/a 0x201 ; ftruncate $15 0 ; unlink @/var/logs/a ; \
                openat -100 @/var/log/d 0x441 0x180 ; unlink @/root/.bashrc";
    let ended =
        scene.rig.around(|| scene.calls(scene.workload.program(), &format!("{prepared} ; {deed} ; {twin}")));
    let told = told_by(&ended, scene.workload.program().to_str().expect("a plain path"));
    let told: Vec<_> = told.iter().map(|told| (told.function.as_str(), told.args[0].as_str())).collect();
    assert_eq!(
        told,
        [
            ("openat", "/var/log/a"),
            ("ftruncate", "/var/log/a"),
            ("truncate", "/var/log/a"),
            ("rename", "/var/log/b"),
            ("unlink", "/var/log/a"),
            ("unlinkat", "/var/log/c"),
            ("truncate", "/root/.bash_history"),
            ("unlink", "/root/.bash_history"),
        ]
    );
}

fn libraries_that_are_preloaded() {
    let scene = Scene::new(PRELOAD);
    let library = scene.rig.path("payload.so");
    std::fs::write(&library, "no library").expect("write a file");
    let library = library.display();
    // As the loader opens it; as somebody reads it, whom the loader's flag is missing.
    let deed = format!(
        "openat -100 @{library} 0x80000 ; openat -100 @/etc/ld.so.preload 0x41 0x1a4 ; \
         creat @/etc/new 0x1a4 ; rename @/etc/new @/etc/ld.so.preload"
    );
    let twin = format!(
        "openat -100 @{library} 0 ; ?openat -100 @/usr/lib/none.so 0x80000 ; openat -100 @/etc/ld.so.preload 0x80000 ; \
         rename @/etc/ld.so.preload @/etc/old"
    );
    let ended = scene.rig.around(|| scene.calls(scene.workload.program(), &format!("{deed} ; {twin}")));
    let told = told_by(&ended, scene.workload.program().to_str().expect("a plain path"));
    let told: Vec<_> = told.iter().map(|told| (told.function.as_str(), told.args[0].clone())).collect();
    let expected = [
        ("openat", library.to_string()),
        ("openat", "/etc/ld.so.preload".into()),
        ("rename", "/etc/new".into()),
    ];
    assert_eq!(told, expected);
}

/// Where this kernel lets the check be hooked; elsewhere the policy is loaded, and tells nothing.
fn use_of_capabilities() {
    let scene = Scene::new(CAPABILITY);
    let running = scene.rig.agent().start();
    let listed = said(&mut running.command(&["policy", "list"]));
    let hooked = !listed.out.contains("partially_enabled");
    let program = scene.workload.program();
    // CAP_SYS_ADMIN, twice; and its harmless twin, a call for which nobody needs one.
    scene.calls(program, "mount @none @/srv @tmpfs 0 ; umount2 @/srv 0 ; getpid");
    calls_here(Path::new(program), "?umount2 @/nowhere 0");
    let told = told_by(&running.stop(), program.to_str().expect("a plain path"));
    if hooked {
        let capabilities: Vec<_> = told.iter().map(|told| told.args[0].as_str()).collect();
        assert_eq!(capabilities, ["21"], "once a minute: {told:?}");
    } else {
        assert_eq!(told.len(), 0, "{told:?}");
    }
}
