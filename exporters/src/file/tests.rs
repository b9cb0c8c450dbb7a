use std::{
    fs,
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    thread::JoinHandle,
    time::Instant,
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::*;
use crate::{
    compression::Compression,
    event::EventType,
    lines::{has_line, tests::chunk},
    metrics::{Loss, Registry},
    otlp::ExportMetrics,
    samples::{HOST, NODE},
    sink::{QueueSender, queue},
};

/// A writer of a file in a folder of its own.
struct Bench {
    folder: TempDir,
    loss: Loss,
    health: Health,
    reopen: Reopen,
    sender: QueueSender,
    writer: JoinHandle<()>,
}

fn config(folder: &Path) -> FileConfig {
    FileConfig { path: folder.join("events.json"), max_files: 0, ..FileConfig::default() }
}

fn start(folder: TempDir, config: &FileConfig) -> Bench {
    let registry = Registry::new();
    let loss = Loss::register(&registry).unwrap();
    let metrics = ExportMetrics::register(&registry).unwrap();
    let health = Health::default();
    let (sender, receiver) = queue(100_000, loss.counter("queue", "full", "file"), has_line);
    let output = FileOutput::open(config).unwrap();
    let reopen = output.reopen();
    let context = Context { node: NODE.into(), host_namespaces: HOST };
    let (balance, written) = (Balance::file(&loss, &metrics, "file"), health.clone());
    let writer = std::thread::spawn(move || output.run(receiver, context, balance, written));
    Bench { folder, loss, health, reopen, sender, writer }
}

/// Waits; the limit is against hangs.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What a file holds, whether it is compressed or not.
fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap(),
        Some("zst") => zstd::stream::Decoder::new(&*bytes).unwrap().read_to_string(&mut text).unwrap(),
        _ => (&*bytes).read_to_string(&mut text).unwrap(),
    };
    text
}

/// The numbers of the processes in a file's lines; what is no line is counted as the second.
fn numbers(text: &str) -> (Vec<usize>, usize) {
    let lines: Vec<_> = text.lines().map(serde_json::from_str::<serde_json::Value>).collect();
    let whole = lines.iter().flatten();
    let number =
        |line: &serde_json::Value| line["process_exec"]["process"]["arguments"].as_str()?.parse().ok();
    let numbers: Vec<_> = whole.filter_map(number).collect();
    let broken = lines.len() - numbers.len();
    (numbers, broken)
}

impl Bench {
    fn file(&self) -> PathBuf {
        self.folder.path().join("events.json")
    }

    /// Sends one line and waits until it is in the file.
    fn write_one(&self) {
        let before = fs::metadata(self.file()).map_or(0, |metadata| metadata.len());
        self.sender.send(&chunk(1));
        until("a line", || fs::metadata(self.file()).is_ok_and(|metadata| metadata.len() > before));
    }

    fn lost(&self) -> u64 {
        self.loss.counter("export", "write", "file").of(EventType::ProcessExec)
    }

    fn finish(self) -> (TempDir, u64) {
        drop(self.sender);
        self.writer.join().unwrap();
        let lost = self.loss.counter("export", "write", "file");
        (self.folder, lost.of(EventType::ProcessExec))
    }
}

/// Sends 20 000 lines, which come to be in many files, and looks for each of them.
fn rotates(compress: Compression, extension: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = FileConfig { max_bytes: 64 << 10, compress, ..config(folder.path()) };
    let bench = start(folder, &config);
    let (chunks, len) = (40, 500);
    (0..chunks).for_each(|_| bench.sender.send(&chunk(len)));
    let (folder, lost) = bench.finish();
    assert_eq!(lost, 0);
    // The thread does what is left.
    let done = |name: &String| name == "events.json" || name.ends_with(extension);
    until("the last compression", || names(folder.path()).iter().all(done));
    let names = names(folder.path());
    assert!(names.len() > 100, "{}", names.len());
    let mut all = Vec::new();
    for name in &names {
        let path = folder.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        let text = text(&path);
        // One batch of lines, which holds 64 KiB and the line that made it that long.
        assert!(text.len() < 70 << 10, "{name}: {}", text.len());
        let (numbers, broken) = numbers(&text);
        assert_eq!(broken, 0, "{name}");
        all.extend(numbers);
    }
    // The names sort by time, and `events.json`, the newest, comes last.
    assert_eq!(names.last().unwrap(), "events.json");
    assert_eq!(all, (0..chunks).flat_map(|_| 0..len).collect::<Vec<_>>());
}

#[test]
fn rotation_keeps_every_line_in_order() {
    rotates(Compression::None, ".json");
}

#[test]
fn rotation_with_gzip_keeps_every_line() {
    rotates(Compression::Gzip, ".json.gz");
}

#[test]
fn rotation_with_zstd_keeps_every_line() {
    rotates(Compression::Zstd, ".json.zst");
}

#[test]
fn the_oldest_are_removed_and_other_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let others = ["events.json.1", "events-audit-2026-11-24T12-00-00.123.json", "notes"];
    others.iter().for_each(|name| fs::write(folder.path().join(name), "mine").unwrap());
    let config = FileConfig { max_bytes: 64 << 10, max_files: 3, ..config(folder.path()) };
    let bench = start(folder, &config);
    (0..10).for_each(|_| bench.sender.send(&chunk(500)));
    let (folder, _) = bench.finish();
    until("the removal of the oldest", || names(folder.path()).len() == others.len() + 3 + 1);
    let names = names(folder.path());
    others.iter().for_each(|name| assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "mine"));
    // What is left are the last lines.
    let last = names.iter().rfind(|name| name.starts_with("events-2") && name.ends_with(".json")).unwrap();
    let newest = text(&folder.path().join(last)) + &text(&folder.path().join("events.json"));
    let (numbers, _) = numbers(&newest);
    assert_eq!(numbers.last(), Some(&499));
}

#[test]
fn what_a_crash_left_is_compressed_and_removed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("events-2026-11-24T12-00-00.001.json", "1\n");
    write("events-2026-11-24T12-00-00.002.json", "2\n");
    // The agent was stopped between the compression and the removal, and in the middle of one.
    write("events-2026-11-24T12-00-00.002.json.gz", "half of it");
    write("events-2026-11-24T12-00-00.003.json", "3\n");
    write("events-2026-11-24T12-00-00.003.json.gz.tmp", "half of it");
    // What can't be compressed is left, and doesn't keep others from it.
    symlink("/etc/passwd", folder.path().join("events-2026-11-24T12-00-00.004.json")).unwrap();
    write("events-2026-11-24T12-00-00.005.json", "5\n");
    let config = FileConfig { compress: Compression::Gzip, max_files: 4, ..config(folder.path()) };
    let bench = start(folder, &config);
    let done = bench.folder.path().join("events-2026-11-24T12-00-00.005.json.gz");
    until("the last compression", || done.exists() && !done.with_extension("").exists());
    let (folder, _) = bench.finish();
    let expected = [
        "events-2026-11-24T12-00-00.002.json.gz",
        "events-2026-11-24T12-00-00.003.json.gz",
        "events-2026-11-24T12-00-00.004.json",
        "events-2026-11-24T12-00-00.005.json.gz",
        "events.json",
    ];
    assert_eq!(names(folder.path()), expected);
    for (name, lines) in [(expected[0], "2\n"), (expected[1], "3\n"), (expected[3], "5\n")] {
        assert_eq!(text(&folder.path().join(name)), lines);
    }
}

#[test]
fn an_old_file_is_rotated_although_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let config = FileConfig { max_age: Duration::from_secs(1), ..config(folder.path()) };
    let bench = start(folder, &config);
    bench.write_one();
    until("the rotation", || names(bench.folder.path()).len() == 2);
    bench.write_one();
    let (folder, lost) = bench.finish();
    let rotated = names(folder.path()).remove(0);
    assert_eq!((numbers(&text(&folder.path().join(rotated))).0, lost), (vec![0], 0));
}

#[test]
fn a_file_that_was_moved_away_or_removed_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let bench = start(folder, &config);
    bench.write_one();
    fs::rename(bench.file(), bench.file().with_extension("json.1")).unwrap();
    bench.write_one();
    fs::remove_file(bench.file()).unwrap();
    bench.write_one();
    // A reader that is told at once does not have to wait for an event.
    fs::remove_file(bench.file()).unwrap();
    bench.reopen.reopen();
    until("the new file", || bench.file().exists());
    assert_eq!(bench.health.state().last_failure, None);
    let (folder, lost) = bench.finish();
    assert_eq!((numbers(&text(&folder.path().join("events.json.1"))).0, lost), (vec![0], 0));
}

#[test]
fn a_file_that_was_emptied_is_written_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let bench = start(folder, &config);
    bench.write_one();
    fs::write(bench.file(), "").unwrap();
    bench.write_one();
    let (folder, _) = bench.finish();
    assert_eq!(numbers(&text(&folder.path().join("events.json"))), (vec![0], 0));
}

#[test]
fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let victim = folder.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, &config.path).unwrap();
    let error = FileOutput::open(&config).unwrap_err().to_string();
    assert!(error.contains("events.json") && error.contains("symbolic link"), "{error}");
    fs::remove_file(&config.path).unwrap();

    let bench = start(folder, &config);
    bench.write_one();
    // While it runs: events are lost and counted, until the link is gone.
    fs::remove_file(&config.path).unwrap();
    symlink(&victim, &config.path).unwrap();
    bench.sender.send(&chunk(3));
    until("the loss", || bench.lost() == 3);
    assert!(bench.health.state().failing);
    fs::remove_file(&config.path).unwrap();
    bench.write_one();
    assert!(!bench.health.state().failing);
    let (folder, _) = bench.finish();
    assert_eq!(fs::read_to_string(folder.path().join("victim")).unwrap(), "mine");
    // A pipe and a folder are no files either, and nobody waits for the other end of the pipe.
    rustix::fs::mkfifoat(rustix::fs::CWD, victim.with_extension("fifo"), rustix::fs::Mode::RWXU).unwrap();
    for path in [victim.with_extension("fifo"), folder.path().to_owned()] {
        assert!(FileOutput::open(&FileConfig { path, ..config.clone() }).is_err());
    }
}

#[test]
fn a_file_that_others_could_read_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = FileConfig { mode: FileMode(0o640), ..config(folder.path()) };
    fs::write(&config.path, "").unwrap();
    fs::set_permissions(&config.path, fs::Permissions::from_mode(0o666)).unwrap();
    start(folder, &config).finish();
    let missing = tempfile::tempdir().unwrap();
    let config = FileConfig { path: missing.path().join("a/b/events"), ..config };
    let (_, _) = start(missing, &config).finish();
}

#[test]
fn a_line_that_a_crash_cut_short_does_not_swallow_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    fs::write(&config.path, "{\"process_exec\":{\"pro").unwrap();
    let bench = start(folder, &config);
    bench.sender.send(&chunk(2));
    let (folder, _) = bench.finish();
    assert_eq!(numbers(&text(&folder.path().join("events.json"))), (vec![0, 1], 1));
}

/// A file system of 256 KiB: it is filled, and emptied again.
#[test]
fn a_full_disk_costs_events_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(disk) = SmallDisk::mount(folder.path()) else {
        println!("skipped: cannot mount a file system (needs root)");
        return;
    };
    let config = FileConfig { max_bytes: 0, ..config(folder.path()) };
    let bench = start(folder, &config);
    bench.write_one();
    let filler = bench.folder.path().join("filler");
    while fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&filler)
        .and_then(|mut file| io::Write::write_all(&mut file, &[b'x'; 4096]))
        .is_ok()
    {}
    let (chunks, len) = (20, 50);
    (0..chunks).for_each(|_| bench.sender.send(&chunk(len)));
    until("the loss", || bench.lost() > 0 && bench.health.state().failing);
    until("the queue's end", || bench.sender.depth().get() == 0);
    fs::remove_file(&filler).unwrap();
    bench.sender.send(&chunk(len));
    let health = bench.health.clone();
    let (folder, lost) = bench.finish();
    assert!(!health.state().failing, "{:?}", health.state());
    let (numbers, broken) = numbers(&text(&folder.path().join("events.json")));
    assert!(numbers.ends_with(&(0..len).collect::<Vec<_>>()), "{numbers:?}");
    assert_eq!(numbers.len() as u64 + lost, 1 + (chunks as u64 + 1) * len as u64);
    // At most the line that was cut where the disk was full.
    assert!(broken <= 1, "{broken} broken lines");
    drop(disk);
}

/// A small file system, gone with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> rustix::io::Result<Self> {
        mount("trigon-test", folder, "tmpfs", MountFlags::empty(), c"size=256k")?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
