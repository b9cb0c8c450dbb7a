//! An editor in a container: what a policy that follows descriptors tells of it, as people see it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use trigon_tests::{
    container::Container,
    place,
    policed::Rig,
    policies::{FOLLOW, NOT_OF_INIT},
    suite::{self, Need},
    workload::Workload,
};

const KERNEL: &[Need] = &[Need::Kernel];

/// Writes a file anew beside the old one and renames it.
const ANEW: &str = "openat -100 @/etc/passwd 0 ; read $0 #340 340 ; close $0 ; \
    openat -100 @/etc/passwd.new 0xc2 0x180 ; write $3 #355 355 ; \
    rename @/etc/passwd.new @/etc/passwd ; write $3 #2 2 ; close $3";

/// A container with an /etc of its own, and an editor.
struct Desk {
    workload: Workload,
    editor: PathBuf,
    outside: PathBuf,
    container: Container,
}

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("editor_writes_in_place", KERNEL, || writes_in_place(&rig()));
        suite.test("editor_writes_in_place_as_published", &[Need::Kernel, Need::Policies], || {
            let mut rig = Rig::new("");
            rig.policy = place::policies().expect("a need").join("sys_write_follow_fd_prefix.yaml");
            writes_in_place(&rig)
        });
        suite.test("editor_writes_anew_and_renames", KERNEL, writes_anew_and_renames);
        suite.test("sed_edits_a_file", KERNEL, sed_edits_a_file);
    })
}

/// Files below /etc/, but those of who descends from process 1 of its namespace.
fn rig() -> Rig {
    Rig::new(&FOLLOW.replace("FOLDER/", "/etc/").replace("PIDS", NOT_OF_INIT))
}

// === impl Desk ===

impl Desk {
    fn new(rig: &Rig) -> Self {
        let workload = Workload::new();
        let (editor, passwd) = (workload.folder().join("vi"), rig.path("passwd"));
        fs::hard_link(workload.program(), &editor).expect("name the workload");
        fs::write(&passwd, "x".repeat(340)).expect("write a file");
        let prepare =
            format!("mount -t tmpfs none /etc; cp {0} /etc/passwd; cp {0} /etc/other", passwd.display());
        // The first process reads and writes all the while, and what it forks does.
        let loops = "read line < /etc/passwd; (read line < /etc/passwd; echo x > /etc/other)";
        let container = Container::start(&prepare, loops);
        Self { workload, editor, outside: rig.path("one"), container }
    }

    fn run(mut command: Command) {
        let status = command.status().expect("run nsenter");
        assert!(status.success(), "{command:?}: {status}");
    }

    /// A deed of the workload within.
    fn calls(&self, calls: &str) {
        let words = ["calls"].into_iter().chain(calls.split_whitespace());
        Self::run(self.container.enter(self.workload.program(), words));
    }
}

/// The lines about a program, without what they say of capabilities and without the node.
fn lines_of(lines: &[String], program: &Path) -> Vec<String> {
    let program = program.to_str().expect("a plain path");
    let about = lines.iter().filter(|line| line.split_whitespace().nth(3) == Some(program));
    about
        .map(|line| {
            let line = line.trim_end_matches("🛑 CAP_SYS_ADMIN").trim_end();
            let node = line.split_whitespace().nth(2).expect("a node");
            line.replacen(node, "NODE", 1)
        })
        .collect()
}

/// What the policy told of any other program, of a file of the container's or of the outside.
fn of_others<'a>(lines: &'a [String], desk: &Desk) -> Vec<&'a String> {
    let outside = desk.outside.to_str().expect("a plain path");
    let told = lines.iter().filter(|line| ["📬", "📚", "📝", "📪"].iter().any(|sign| line.starts_with(sign)));
    let others = told.filter(|line| !line.contains(desk.workload.tag()));
    others.filter(|line| line.contains("/etc/other") || line.contains(outside)).collect()
}

fn writes_in_place(rig: &Rig) {
    let desk = Desk::new(rig);
    let agent = rig.agent().output("compact").start();
    // A file that is elsewhere, and one of the host's /etc by a process that descends from its first one.
    fs::read(&desk.outside).expect("read a file");
    desk.calls(&format!(
        "openat -100 @{} 2 ; read $0 #9 9 ; write $0 #9 9 ; close $0",
        desk.outside.display()
    ));
    Desk::run(desk.container.enter(&desk.editor, ["/etc/passwd"]));
    let lines = agent.stop().lines;
    let editor = desk.editor.display();
    let expected = [
        format!("🚀 process NODE {editor} /etc/passwd"),
        format!("📬 open    NODE {editor} /etc/passwd"),
        format!("📚 read    NODE {editor} /etc/passwd 340 bytes"),
        format!("📝 write   NODE {editor} /etc/passwd 355 bytes"),
        format!("📪 close   NODE {editor} /etc/passwd"),
        format!("💥 exit    NODE {editor} /etc/passwd 0"),
    ];
    assert_eq!(lines_of(&lines, &desk.editor), expected);
    let workload = lines_of(&lines, desk.workload.program());
    assert_eq!(workload.len(), 2, "a start and an end, and nothing of files outside of /etc: {workload:#?}");
    assert_eq!(of_others(&lines, &desk), [""; 0], "of the first process and its forks nothing is told");
}

fn writes_anew_and_renames() {
    let rig = rig();
    let desk = Desk::new(&rig);
    let agent = rig.agent().output("compact").start();
    desk.calls(ANEW);
    let lines = lines_of(&agent.stop().lines, desk.workload.program());
    let program = desk.workload.program().display();
    // A followed file keeps the name that it was opened by.
    let expected = [
        format!("📬 open    NODE {program} /etc/passwd"),
        format!("📚 read    NODE {program} /etc/passwd 340 bytes"),
        format!("📪 close   NODE {program} /etc/passwd"),
        format!("📬 open    NODE {program} /etc/passwd.new"),
        format!("📝 write   NODE {program} /etc/passwd.new 355 bytes"),
        format!("📝 write   NODE {program} /etc/passwd.new 2 bytes"),
        format!("📪 close   NODE {program} /etc/passwd.new"),
    ];
    assert!(lines[0].starts_with("🚀 process"), "{lines:#?}");
    assert!(lines[lines.len() - 1].starts_with("💥 exit"), "{lines:#?}");
    assert_eq!(lines[1..lines.len() - 1], expected);
}

/// A real one: it makes a file with a name of its own in the folder, and renames it.
fn sed_edits_a_file() {
    let rig = rig();
    let desk = Desk::new(&rig);
    let agent = rig.agent().output("compact").start();
    let busybox = Path::new("/bin/busybox");
    Desk::run(desk.container.enter(busybox, ["sed", "-i", "s/x/y/", "/etc/passwd"]));
    let all = agent.stop().lines;
    let lines: Vec<_> =
        all.iter().filter(|line| line.contains("busybox") && line.contains(" /etc/")).collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| (words[1], words[4]))
        .filter(|(word, _)| !["process", "exit"].contains(word))
        .collect();
    let new = told.iter().find(|(word, _)| *word == "write").unwrap_or_else(|| panic!("{all:#?}")).1;
    assert!(new.starts_with("/etc/") && new != "/etc/passwd", "written under another name: {lines:#?}");
    let of =
        |path: &str| told.iter().filter(|(_, of)| *of == path).map(|(word, _)| *word).collect::<Vec<_>>();
    assert!(of("/etc/passwd").starts_with(&["open", "read"]), "{lines:#?}");
    assert!(of("/etc/passwd").ends_with(&["close"]), "{lines:#?}");
    assert_eq!(of(new), ["open", "write", "close"], "{lines:#?}");
    assert!(told.iter().all(|(_, path)| [new, "/etc/passwd"].contains(path)), "{lines:#?}");
}
