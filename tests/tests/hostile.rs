//! Input that is made to harm: policy files, names of files, and a file system that changes under the eyes of hooks.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nix::sys::resource::{Resource, setrlimit};
use tempfile::TempDir;
use trigon_tests::{
    agent::Ended,
    place,
    policed::{Rig, matches, told_of},
    suite::{self, Need},
    workload::Workload,
};

const KERNEL: &[Need] = &[Need::Kernel];

/// The memory that `trigon policy check` may address, its program included.
const MEMORY: u64 = 256 << 20;
/// The time of a processor, in seconds, that it may take. Under emulation everything takes longer.
const SECONDS: u64 = 20;

/// Every way that a path takes: as text, and from an open file.
const OPENS: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: by-text}
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    args: [{index: 1, type: string}]
    selectors: [{matchBinaries: [{operator: Prefix, values: [WORK/]}]}]
---
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: by-file}
spec:
  kprobes:
  - call: security_file_open
    syscall: false
    args: [{index: 0, type: file}]
    selectors: [{matchBinaries: [{operator: Prefix, values: [WORK/]}]}]
"#;

/// Names that a terminal, a parser or a line may choke on.
const NAMES: [&[u8]; 10] = [
    b"line\nfeed",
    b"{\"process_exec\":{}}\n{\"process_exec\":{}}\n",
    b"carriage\rreturn\ttab",
    b"\x1b[2J\x1b]0;title\x07",
    b"\x01\x02\x7f",
    b"not utf-8 \xff\xfe\xc3(",
    b"quote\"and'apostrophe`",
    b"back\\slash \\n \\x41",
    b"${HOME} $(id) %s%n",
    "h\u{e9}llo \u{202e}right-to-left \u{1f680}".as_bytes(),
];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("files_that_harm_are_refused_in_little_memory", &[], refused_in_little_memory);
        suite.test("names_of_any_bytes", KERNEL, names_of_any_bytes);
        suite.test("paths_of_any_length", KERNEL, paths_of_any_length);
        suite.test("folders_of_many_levels", KERNEL, folders_of_many_levels);
        suite.test("renames_while_files_are_opened", KERNEL, renames_while_files_are_opened);
        suite.test("what_is_no_text", KERNEL, what_is_no_text);
    })
}

/// Files and processes for one test.
struct Scene {
    rig: Rig,
    workload: Workload,
}

// === impl Scene ===

impl Scene {
    fn new() -> Self {
        let workload = Workload::new();
        let rig = Rig::new(&OPENS.replace("WORK", workload.folder().to_str().expect("a plain path")));
        Self { rig, workload }
    }

    /// The command of one process that opens files (O_CREAT), each by a word of its own.
    fn open<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Command {
        let mut command = self.workload.command(["calls"]);
        for path in paths {
            let text = [b"@", path.as_os_str().as_bytes()].concat();
            command.args(["?openat", "-100"]).arg(OsStr::from_bytes(&text)).args(["0x40", "0x180", ";"]);
            command.args(["?close", "3", ";"]);
        }
        command
    }

    /// What each policy told of the workload's opens meanwhile, by text and by file.
    fn opened<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> (Vec<String>, Vec<String>) {
        let ended = self.rig.around(|| assert!(self.open(paths).status().expect("run").success()));
        (self.told(&ended, "by-text"), self.told(&ended, "by-file"))
    }

    /// The paths that a policy told of the workload's deeds.
    fn told(&self, ended: &Ended, policy: &str) -> Vec<String> {
        let of = told_of(ended, self.workload.tag()).into_iter().filter(|told| told.policy == policy);
        of.map(|told| told.args[0].clone()).filter(|path| !is_of_runtime(path)).collect()
    }
}

/// Rust's runtime reads it as a program starts.
fn is_of_runtime(path: &str) -> bool {
    path.starts_with("/proc/") && path.ends_with("/maps")
}

/// A text as JSON lines show it: bytes that are no UTF-8 as `\xff`.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// `trigon policy check` of a file, with memory and time that are bounded.
fn check(file: &Path) -> Output {
    let mut command = Command::new(place::agent());
    command.args(["policy", "check"]).arg(file);
    #[expect(unsafe_code, reason = "limits are set between fork and exec")]
    // SAFETY: setrlimit is a system call and nothing else.
    unsafe {
        command.pre_exec(|| {
            setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?;
            setrlimit(Resource::RLIMIT_CPU, SECONDS, SECONDS)?;
            Ok(())
        });
    }
    command.output().expect("run trigon")
}

fn refused_in_little_memory() {
    let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: a}\nspec:\n";
    let hook = |values: &str| {
        format!(
            "{head}  kprobes:\n  - call: sys_openat\n    args: [{{index: 1, type: string}}]\n    selectors:\n    \
             - matchArgs: [{{index: 1, operator: Equal, values: [{values}]}}]\n"
        )
    };
    let levels = (1..40)
        .map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
    let cases = [
        ("ten megabytes", "x".repeat(10_000_000)),
        ("ten megabytes of hooks", format!("{head}  kprobes:\n{}", "  - {call: a}\n".repeat(700_000))),
        ("aliases of aliases", format!("a0: &a0 [lol, lol, lol]\n{}", levels.collect::<String>())),
        (
            "a long text named often",
            format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(100_000)),
        ),
        ("deep lists", "[".repeat(500_000)),
        ("deep mappings", "{a: ".repeat(200_000)),
        ("a huge value", hook(&"x".repeat(900_000))),
        ("a huge number", hook(&"9".repeat(900_000)).replace("type: string", "type: int")),
        ("many values", hook(&"a, ".repeat(300_000))),
        ("many documents", format!("{head}---\n").repeat(10_000)),
    ];
    let folder = TempDir::new().expect("make a folder");
    for (name, text) in cases {
        let file = folder.path().join("policy.yaml");
        fs::write(&file, text).expect("write a file");
        let output = check(&file);
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{name}: {}: {}",
            output.status,
            said.chars().take(500).collect::<String>()
        );
        assert!(said.contains("policy.yaml:") && said.contains("error"), "{name}: {said}");
        assert!(said.len() < 100_000, "{name}: {} bytes of faults", said.len());
    }
    // A file without an end is not read to it.
    let output = check(Path::new("/dev/zero"));
    assert!(!output.status.success() && output.status.code().is_some(), "{}", output.status);
}

fn names_of_any_bytes() {
    let scene = Scene::new();
    let paths = NAMES.map(|name| scene.rig.folder.path().join(OsStr::from_bytes(name)));
    let (by_text, by_file) = scene.opened(paths.iter().map(PathBuf::as_path));
    let expected = paths.each_ref().map(|path| shown(path.as_os_str().as_bytes()));
    assert_eq!(by_text, expected);
    assert_eq!(by_file, expected);
    // For people: a line each, without a character that a terminal obeys.
    let agent = scene.rig.agent().output("compact").start();
    assert!(scene.open(paths.iter().map(PathBuf::as_path)).status().expect("run").success());
    let lines = agent.stop().lines;
    let ours: Vec<_> = lines.iter().filter(|line| line.contains(scene.workload.tag())).collect();
    // A start, an end, two of the runtime, and two for each file: what its name says makes no line.
    assert_eq!(ours.len(), 4 + 2 * NAMES.len(), "{ours:#?}");
    let signs = ["🚀", "💥", "📬", "❓"];
    for line in ours {
        assert!(signs.iter().any(|sign| line.starts_with(sign)), "{line}");
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
}

fn paths_of_any_length() {
    let scene = Scene::new();
    // What is opened need not be there: of the text, all 4096 bytes with the NUL are the kernel's limit.
    let path = |length: usize| {
        let start = scene.rig.folder.path().to_str().expect("a plain path").to_owned() + "/";
        let rest = "x/".repeat(4096);
        PathBuf::from(start.clone() + &rest[..length - start.len()])
    };
    let lengths = [255, 256, 1024, 4000, 4094, 4095, 4096, 5000];
    let paths = lengths.map(path);
    let ended = scene.rig.around(|| {
        assert!(scene.open(paths.iter().map(PathBuf::as_path)).status().expect("run").success());
    });
    let texts = scene.told(&ended, "by-text");
    assert_eq!(texts.len(), paths.len(), "each is told");
    for (text, path) in texts.iter().zip(&paths) {
        let path = path.to_str().expect("a plain path");
        if path.len() < 4096 {
            assert_eq!(text, path, "of {} bytes", path.len());
        } else {
            assert!(path.starts_with(text.as_str()) && text.len() >= 4000, "{} bytes", text.len());
        }
    }
}

fn folders_of_many_levels() {
    let scene = Scene::new();
    let mut command = scene.workload.command(["calls", "chdir"]);
    command.arg(format!("@{}", scene.rig.folder.path().display())).arg(";");
    // One after the other, each opened from within: no path is ever longer than a name. Names of 200 bytes make the
    // path too long for the kernel itself.
    let mut expected = Vec::new();
    let mut path = scene.rig.folder.path().to_path_buf();
    for level in 1..=100 {
        let name = if level <= 62 { format!("d{level}") } else { "x".repeat(200) };
        path.push(&name);
        command.args(["mkdir", &format!("@{name}"), "0x1c0", ";", "chdir", &format!("@{name}"), ";"]);
        if [1, 30, 55, 58, 60, 62, 70, 80, 81, 82, 83, 100].contains(&level) {
            command.args(["openat", "-100", "@file", "0x40", "0x180", ";"]);
            expected.push(path.join("file"));
        }
    }
    let mut lines = Vec::new();
    let ended = scene.rig.around(|| assert!(command.status().expect("run").success()));
    for line in matches(&ended) {
        let ours = line.text("/process/binary").contains(scene.workload.tag());
        let path = line.text("/args/0/file_arg/path");
        if ours && line.text("/policy_name") == "by-file" && !is_of_runtime(path) {
            lines.push(line);
        }
    }
    assert_eq!(lines.len(), expected.len(), "each is told");
    let mut cut = 0;
    for (line, path) in lines.iter().zip(&expected) {
        let (told, path) = (line.text("/args/0/file_arg/path"), path.to_str().expect("a plain path"));
        if path.len() < 4096 {
            assert_eq!(told, path, "{} levels, {} bytes", path.matches('/').count(), path.len());
            continue;
        }
        // What is missing is its beginning, and that is said.
        cut += 1;
        assert_eq!(line.text("/args/0/file_arg/flags"), "unresolvedPathComponents", "{}", line.whole);
        assert!(path.ends_with(told) && told.starts_with('/') && told.len() > 3500, "{} bytes", told.len());
    }
    eprintln!("{} paths, {cut} of them cut", expected.len());
    assert!(cut > 1, "the longest has {} bytes", path.as_os_str().len());
    // The folders are deeper than a recursive deletion by path can go.
    let _ = Command::new("rm").arg("-rf").arg(scene.rig.folder.path()).status();
}

fn renames_while_files_are_opened() {
    let scene = Scene::new();
    let folder = scene.rig.folder.path().display().to_string();
    fs::create_dir_all(scene.rig.path("a/b/c/d")).expect("make folders");
    fs::write(scene.rig.path("a/b/c/d/file"), "x").expect("write a file");
    let files: Vec<_> = (0..300).map(|index| scene.rig.path(&format!("f{index}"))).collect();
    let moving = scene.rig.path("a/b/c/d/file");
    let ended = scene.rig.around(|| {
        let paths = files.iter().flat_map(|file| [file.as_path(), moving.as_path()]);
        let mut command = scene.workload.command(["calls", "openat", "-100"]);
        // From within, the file is always there, whatever the folders above it are called.
        command.arg(format!("@{folder}")).args(["0", ";"]);
        for path in paths {
            command
                .args(["?openat", "-100"])
                .arg(format!("@{}", path.display()))
                .args(["0x40", "0x180", ";"]);
            command.args(["?close", "4", ";"]);
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let moves = [("a", "z"), ("z/b", "z/y"), ("z/y", "z/b"), ("z", "a")];
                while !over.load(Ordering::Relaxed) {
                    for (from, to) in moves {
                        fs::rename(scene.rig.path(from), scene.rig.path(to)).expect("rename a folder");
                    }
                }
            });
            let status = command.status();
            over.store(true, Ordering::Relaxed);
            assert!(status.expect("run").success());
        });
    });
    let (by_text, by_file) = (scene.told(&ended, "by-text"), scene.told(&ended, "by-file"));
    assert_eq!(by_text.len(), 1 + 2 * files.len(), "each attempt is told");
    for file in &files {
        let file = file.to_str().expect("a plain path");
        assert_eq!(by_file.iter().filter(|path| **path == file).count(), 1, "{file}");
    }
    // Of what moves, some name that it had.
    let moved = by_file.iter().filter(|path| path.ends_with("/d/file")).count();
    assert!(
        by_file.iter().filter(|path| path.ends_with("/file")).all(|path| path.starts_with(&folder)),
        "{by_file:?}"
    );
    eprintln!("{moved} of {} found the file that moves", files.len());
    assert!(moved > 0);
}

/// Pointers that lead nowhere, descriptors that are none.
fn what_is_no_text() {
    let scene = Scene::new();
    let deeds = "?openat -100 0 0 ; ?openat -100 1 0 ; ?openat -100 -1 0 ; ?openat -100 0xffff800000000000 0 ; \
                 ?openat -100 @ 0 ; openat -100 @/dev/null 0";
    let words = ["calls"].into_iter().chain(deeds.split_whitespace());
    let ended = scene.rig.around(|| assert!(scene.workload.command(words).status().expect("run").success()));
    let by_text = scene.told(&ended, "by-text");
    assert_eq!(by_text, ["", "", "", "", "", "/dev/null"]);
}
