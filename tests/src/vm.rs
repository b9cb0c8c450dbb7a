//! Boots a kernel in QEMU (software emulation), runs test executables in it and reports a result for each test.
//!
//! The guest's first serial line is the console; on the second, [`image`]'s init says which suite runs and passes on
//! what the suite prints (libtest's form).

pub mod image;
mod report;

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

pub use self::report::Report;

/// A guest that says nothing for this long hangs: longer than a test may take in its suite.
const SILENCE: Duration = Duration::from_secs(330);
/// How many of the console's last lines explain a hang or a panic.
const CONSOLE_LINES: usize = 120;
/// `lsm=` names BPF, which Debian builds in but leaves off. `loglevel=5` lets the kernel say where it hangs.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=5 panic=-1 lsm=landlock,lockdown,yama,bpf";

/// A kernel to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What its results are headed with: `6.1`.
    pub name: String,
    /// The image.
    pub path: PathBuf,
    /// The suites that it runs; all where there are none.
    pub only: &'static [&'static str],
}

/// A guest that runs.
struct Guest {
    qemu: Child,
    lines: Receiver<String>,
}

/// What a kernel says on its console when it is its own fault that the machine breaks.
const OOPSES: [&str; 6] =
    ["Kernel panic", "BUG:", "Oops", "soft lockup", "rcu_sched self-detected", "general protection fault"];

/// Boots `kernel` with `initramfs` and hands each line of the report to `print` as it comes. A machine that breaks
/// without a word of its kernel's, as when the host has no memory left for the emulator, is booted once more and goes
/// on with the suite that it was at.
///
/// `folder` gets the console's log.
///
/// # Errors
/// Fails where QEMU can't be started.
pub fn run(
    kernel: &Kernel,
    initramfs: &Path,
    folder: &Path,
    print: impl FnMut(&str),
) -> std::io::Result<Report> {
    let console = folder.join(format!("console-{}.log", kernel.name));
    let mut report = Report::new(&kernel.name, print);
    if let Some(reason) = Guest::boot(kernel, initramfs, &console, None)?.run(&mut report) {
        let said = last_lines(&console);
        if OOPSES.iter().any(|oops| said.contains(oops)) {
            report.broke(&reason, &said);
        } else {
            let from = report.begin_again(&reason, &said);
            if let Some(reason) = Guest::boot(kernel, initramfs, &console, from.as_deref())?.run(&mut report)
            {
                report.broke(&reason, &last_lines(&console));
            }
        }
    }
    Ok(report.into_counts())
}

fn last_lines(console: &Path) -> String {
    let bytes = std::fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
}

// === impl Kernel ===

impl Kernel {
    /// Where `scripts/kernels` puts its modules: beside the image, `modules-6.1`.
    pub fn modules(&self) -> PathBuf {
        self.path.with_file_name(format!("modules-{}", self.name))
    }
}

// === impl Guest ===

impl Guest {
    /// Boots; suites before `from` are left out.
    fn boot(kernel: &Kernel, initramfs: &Path, console: &Path, from: Option<&str>) -> std::io::Result<Self> {
        let mut command_line = COMMAND_LINE.to_owned();
        if let Some(suite) = from {
            command_line += &format!(" {}={suite}", image::FROM);
        }
        if !kernel.only.is_empty() {
            command_line += &format!(" {}={}", image::ONLY, kernel.only.join(","));
        }
        // QEMU would open it as root's umask says; made here, it is there however early QEMU fails.
        let errors = File::create(console)?;
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            // Both processors take turns on one thread: on two, one could go on with code that the other had just patched
            // (seen of QEMU 7.2: a breakpoint that was there no longer, met for ever or by a panic). Every kernel attaches
            // by patching code. By default the emulator keeps 1 GiB of translated code, beside the guest's memory.
            .args(["-accel", "tcg,thread=single,tb-size=256", "-m", "1024", "-smp", "2"])
            // Without what would have the kernel clear its pages byte by byte, which nothing emulates quickly.
            .args(["-cpu", "max,-erms"])
            .arg("-kernel")
            .arg(&kernel.path)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &command_line])
            .arg("-chardev")
            .arg(format!("file,id=console,append=on,path={}", console.display()))
            .args(["-serial", "chardev:console", "-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let stdout =
            qemu.stdout.take().ok_or_else(|| std::io::Error::other("QEMU has no standard output"))?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { qemu, lines })
    }

    /// Reports what it says until it stops. Returns why, where that was before its tests had ended.
    fn run(self, report: &mut Report<impl FnMut(&str)>) -> Option<String> {
        loop {
            match self.lines.recv_timeout(SILENCE) {
                Ok(line) => report.line(&line),
                Err(RecvTimeoutError::Timeout) => return Some(format!("silent for {} s", SILENCE.as_secs())),
                Err(RecvTimeoutError::Disconnected) if report.complete() => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    return Some("the machine stopped before its tests ended".into());
                }
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
