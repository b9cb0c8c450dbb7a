//! Runs the kernel tests inside other kernels: `trigon-vm NAME=KERNEL… [SUITE…]`.
//!
//! Without a SUITE, all that are about kernels: this crate's and the probes' integration tests.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Mutex,
    thread,
    time::Instant,
};

use serde_json::Value;
use trigon_tests::{
    place,
    vm::{self, Kernel, Report, image::Entry},
};

/// Suites about what the agent does after the kernel has told it everything, or around it: natively they say as much.
const NATIVE: [&str; 22] = [
    "alerts",
    "apiserver",
    "chart",
    "cluster_policies",
    "control",
    "dashboards",
    "demo",
    "documentation",
    "exports",
    "files",
    "flood",
    "hostile",
    "loss",
    "operate",
    "outbound",
    "outage",
    "overhead",
    "pods",
    "prometheus",
    "redaction",
    "rotel",
    "service",
];

/// A kernel that runs, where no suite is named, a few alone: whether hooks work on the newest one, and what programs may
/// change in a process there.
const NEWEST: (&str, &[&str]) = ("7.3", &["hooks", "smoke", "user_hooks"]);

fn main() -> ExitCode {
    let start = Instant::now();
    let (kernels, only): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.contains('='));
    let kernel = |(name, path): (&str, &str)| Kernel {
        name: name.into(),
        path: path.into(),
        only: if name == NEWEST.0 && only.is_empty() { NEWEST.1 } else { &[] },
    };
    let kernels: Vec<_> = kernels.iter().filter_map(|kernel| kernel.split_once('=')).map(kernel).collect();
    assert!(
        !kernels.is_empty(),
        "usage: trigon-vm NAME=KERNEL… [SUITE…]; scripts/kernels prints the first part"
    );
    let folder = place::cache().join("vm");
    std::fs::create_dir_all(&folder).expect("make .cache/vm");
    let mut files = entries(&only);
    // Below the release of its kernel: of all kernels in one initramfs each finds its own.
    kernels.iter().for_each(|kernel| modules(&kernel.modules(), "lib/modules", &mut files));
    let initramfs = vm::image::build(&folder, &files).expect("write the initramfs");
    println!("\nrunning the kernel tests in {} machines", kernels.len());
    // Each machine's lines come as they are made, one at a time.
    let stdout = Mutex::new(std::io::stdout());
    let print = |line: &str| {
        let mut stdout = stdout.lock().expect("no machine's thread panics while it prints");
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).expect("print");
    };
    let reports: Vec<Report> = thread::scope(|scope| {
        let run = |kernel| vm::run(kernel, &initramfs, &folder, print).expect("run QEMU");
        let machines: Vec<_> = kernels.iter().map(|kernel| scope.spawn(move || run(kernel))).collect();
        machines.into_iter().map(|machine| machine.join().expect("a machine's thread ends")).collect()
    });
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    let (passed, failed, ignored) = (sum(|of| of.passed), sum(|of| of.failed.len()), sum(|of| of.ignored));
    // Once more, where whoever reads only the end finds them.
    reports.iter().flat_map(|of| &of.failed).for_each(|line| println!("{line}"));
    let verdict = if failed == 0 && passed > 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; \
         finished in {:.2}s\n",
        start.elapsed().as_secs_f64()
    );
    if verdict == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What goes into the guest. Of the suites cargo says where they are; the rest lies beside them.
fn entries(only: &[String]) -> Vec<Entry> {
    let all = ["*".to_owned()];
    let suites = if only.is_empty() { &all } else { only };
    let output = Command::new("cargo")
        .args(["test", "--workspace", "--no-run", "--quiet", "--message-format=json-render-diagnostics"])
        .args(suites.iter().flat_map(|name| ["--test", name.as_str()]))
        .current_dir(place::workspace("."))
        .stderr(Stdio::inherit())
        .output()
        .expect("run cargo");
    assert!(output.status.success(), "cargo test --no-run: {}", output.status);
    let messages = String::from_utf8(output.stdout).expect("cargo's messages are UTF-8");
    let mut suites: Vec<_> = messages.lines().filter_map(suite).collect();
    suites.retain(|(name, _)| if only.is_empty() { !NATIVE.contains(&&**name) } else { only.contains(name) });
    assert!(!suites.is_empty(), "no suite of {only:?}");
    let entry = |guest: &str, host: PathBuf| Entry { guest: guest.into(), host };
    let mut entries = vec![
        entry("bin/busybox", "/bin/busybox".into()),
        entry("bin/trigon", place::agent()),
        entry("bin/trigon-workload", place::workload()),
    ];
    let policies = place::policies().and_then(|folder| folder.read_dir().ok()).into_iter().flatten();
    entries.extend(
        policies
            .filter_map(Result::ok)
            .map(|file| entry(&format!("policies/{}", file.file_name().to_string_lossy()), file.path())),
    );
    entries.extend(suites.into_iter().map(|(name, path)| entry(&format!("suites/{name}"), path)));
    entries
}

/// All files below a folder; none where it isn't there.
fn modules(folder: &Path, guest: &str, entries: &mut Vec<Entry>) {
    for host in folder.read_dir().into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()) {
        let guest = format!("{guest}/{}", host.file_name().unwrap_or_default().to_string_lossy());
        if host.is_dir() {
            modules(&host, &guest, entries);
        } else {
            entries.push(Entry { guest, host });
        }
    }
}

/// The name and path of a suite that cargo built; none where the message is about something else.
fn suite(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?;
    let target = &message["target"];
    let is =
        |kind: &str| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|found| found == kind));
    let of = |part: &str| target["src_path"].as_str().is_some_and(|source| source.contains(part));
    let wanted = is("test") && (of("/tests/tests/") || of("/probes/"));
    (wanted && message["profile"]["test"] == true)
        .then(|| (target["name"].as_str().unwrap_or_default().into(), path.into()))
}
