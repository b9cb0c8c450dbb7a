//! Events to a file: rotation under load, a full disk, a file that is moved away; and `trigon events`, which reads it.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use flate2::read::GzDecoder;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;
use trigon_tests::{
    agent::{Agent, Running},
    json::Line,
    place,
    suite::{self, Need},
    wait,
    workload::{Done, Workload},
};

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("rotation_under_load_loses_no_line", &[Need::Kernel], rotation);
        suite.test("a_full_disk_costs_events_and_nothing_else", &[Need::Kernel], full_disk);
        suite.test("a_file_that_was_moved_away_is_made_anew", &[Need::Kernel], moved_away);
        suite.test("events_of_a_file_are_shown", &[Need::Kernel], shown);
        suite.test("a_file_that_cannot_be_written_stops_the_start", &[Need::Kernel], refused);
    })
}

/// A folder with a file of events in it, and an agent that writes it.
struct Bench {
    folder: TempDir,
    agent: Running,
}

impl Bench {
    fn start(folder: TempDir, settings: &str) -> Self {
        let path = folder.path().join("events.json");
        let agent = Agent::new().config(&format!("[file]\npath = {path:?}\n{settings}")).start();
        Self { folder, agent }
    }

    /// Every line of every file, the oldest first.
    fn lines(&self) -> Vec<String> {
        names(self.folder.path()).iter().flat_map(|name| lines(&self.folder.path().join(name))).collect()
    }

    /// Waits until there are the lines of all that a workload did, and checks that each is there once.
    fn check(&self, workload: &Workload, done: &[Done]) {
        let processes: BTreeSet<u32> =
            done.iter().flat_map(|done| &done.facts).map(|fact| fact.pid).collect();
        let count = 2 * processes.len();
        self.agent.until_lines(workload.tag(), count);
        // While a file is being compressed its lines are there twice, or it has just got another name.
        let settled = || {
            let lines = of(&self.lines(), workload.tag());
            (lines.len() == count).then_some(lines)
        };
        let found = || {
            format!(
                "{} of {count} in {:?}",
                of(&self.lines(), workload.tag()).len(),
                names(self.folder.path())
            )
        };
        let lines = wait::until("a line for each event", settled, found);
        let told: BTreeSet<_> = lines.iter().map(|line| (line.kind.clone(), line.pid())).collect();
        let kinds = ["process_exec", "process_exit"];
        let expected = kinds.iter().flat_map(|kind| processes.iter().map(|pid| ((*kind).to_owned(), *pid)));
        assert_eq!(told, expected.collect());
    }

    fn lost(&self) -> f64 {
        let labels = [("stage", "export"), ("exporter", "file")];
        self.agent.metrics().sum("trigon_lost_events_total", &labels)
    }
}

/// Sorted, which is by time, with the file that is written now last.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("list the folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("list the folder").file_name().into_string().expect("plain"))
        .collect();
    names.retain(|name| name.starts_with("events") && !name.ends_with(".tmp"));
    names.sort();
    names
}

/// The lines of a file; none where it is gone, or not whole yet.
fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| match path.extension() {
        Some(extension) if extension == "gz" => GzDecoder::new(file).read_to_string(&mut text),
        _ => file.read_to_string(&mut text),
    });
    read.map(|_| text.lines().map(str::to_owned).collect()).unwrap_or_default()
}

fn of(lines: &[String], tag: &str) -> Vec<Line> {
    let parsed = lines.iter().filter(|line| line.contains(tag)).map(|line| Line::parse(line));
    parsed.filter(|line| line.text("/process/binary").contains(tag)).collect()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("trigon-files-").tempdir().expect("make a folder")
}

fn rotation() {
    let bench = Bench::start(folder(), "max_bytes = 65536\nmax_files = 0\ncompress = \"gzip\"");
    let workload = Workload::new();
    let done: Vec<_> = (0..4).map(|_| workload.run("tree 3 4")).collect();
    bench.check(&workload, &done);
    let names = names(bench.folder.path());
    assert!(names.len() > 5, "{names:?}");
    for name in &names {
        let mode = fs::metadata(bench.folder.path().join(name)).expect("look at a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(bench.lost(), 0.0);
    bench.agent.stop();
}

fn full_disk() {
    let folder = folder();
    let _disk = Disk::mount(folder.path());
    let bench = Bench::start(folder, "");
    let first = Workload::new();
    let done = first.run("tree 1 2");
    bench.check(&first, &[done]);

    let filler = bench.folder.path().join("filler");
    let mut fill = OpenOptions::new().create(true).append(true).open(&filler).expect("make the filler");
    while fill.write_all(&[b'x'; 4096]).is_ok() {}
    drop(fill);
    // More than what is left of the last page. Standard output goes on meanwhile.
    let second = Workload::new();
    let done = second.run("tree 2 4");
    bench.agent.until_lines(second.tag(), 2 * done.facts.len());
    wait::until("the loss", || (bench.lost() > 0.0).then_some(()), || bench.agent.log());
    assert!(bench.agent.log().contains("No space left on device"), "{}", bench.agent.log());

    fs::remove_file(&filler).expect("remove the filler");
    let third = Workload::new();
    let done = third.run("tree 1 3");
    // Only the line that was cut when the disk was full is none.
    let whole = || bench.lines().iter().filter(|line| line.starts_with('{') && line.ends_with('}')).count();
    bench.check(&third, &[done]);
    assert!(bench.lines().len() - whole() <= 1);
    bench.agent.stop();
}

/// As logrotate does, without a word to the agent.
fn moved_away() {
    let bench = Bench::start(folder(), "");
    let path = bench.folder.path().join("events.json");
    let workload = Workload::new();
    let mut done = vec![workload.run("tree 1 2")];
    bench.check(&workload, &done);
    fs::rename(&path, bench.folder.path().join("events.json.1")).expect("move the file away");
    done.push(workload.run("tree 1 2"));
    bench.check(&workload, &done);
    assert!(!of(&lines(&path), workload.tag()).is_empty());
    assert_eq!(bench.lost(), 0.0);
    bench.agent.stop();
}

fn shown() {
    let bench = Bench::start(folder(), "");
    let path = bench.folder.path().join("events.json");
    let workload = Workload::new();
    let done = workload.run("exit 3");
    bench.check(&workload, &[done]);
    bench.agent.stop();
    let mut file = OpenOptions::new().append(true).open(&path).expect("open the file");
    file.write_all(b"{\"process_exec\":\n").expect("damage it");
    let damaged = fs::read_to_string(&path).expect("read the file").lines().count();

    let events = |arguments: &[&str], stdin: Stdio| {
        let mut command = Command::new(place::agent());
        let command = command.arg("events").args(["--process", workload.tag()]).args(arguments).stdin(stdin);
        let output = command.output().expect("run trigon events");
        let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
        assert!(output.status.success(), "{}", text(output.stderr));
        (text(output.stdout), text(output.stderr))
    };
    let name = path.to_str().expect("a plain path");
    let (out, err) = events(&[name], Stdio::null());
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].starts_with("🚀 process ") && lines[0].contains(" exit 3"), "{out}");
    assert!(lines[1].starts_with("💥 exit    ") && lines[1].contains(" exit 3 3"), "{out}");
    assert!(err.contains(&format!("line {damaged} is skipped")), "{err}");
    // What is piped in is read without being named, too.
    let open = || Stdio::from(File::open(&path).expect("open the file"));
    assert_eq!(events(&[], open()).0, out);
    assert_eq!(events(&["-"], open()).0, out);
    let (json, _) = events(&["-o", "json", "--event-type", "exit", name], Stdio::null());
    assert_eq!(json.lines().count(), 1);
    assert!(fs::read_to_string(&path).expect("read the file").contains(&json));
}

fn refused() {
    let folder = folder();
    let path = folder.path().join("events.json");
    std::os::unix::fs::symlink("/etc/passwd", &path).expect("make a link");
    let ended = Agent::new().config(&format!("[file]\npath = {path:?}")).spawn().wait();
    assert_eq!(ended.status.code(), Some(6), "{}", ended.log);
    let named = ended.log.contains(path.to_str().expect("a plain path"));
    assert!(named && ended.log.contains("symbolic link"), "{}", ended.log);
}

/// A small file system, and yet one that what else happens on this machine does not fill. Gone with this.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Self {
        mount("trigon-test", folder, "tmpfs", MountFlags::empty(), c"size=256k")
            .expect("mount a file system");
        Self(folder.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
