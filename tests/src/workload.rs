//! Deeds of known shape, done by the program `trigon-workload`, and what it says of them.
//!
//! Each execution that takes part prints one [`Fact`] a line; together they are exactly what the agent must have seen.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::place;

/// Arguments that a terminal, a parser or a decoder may choke on. The deed `hostile-args` executes with them.
pub const HOSTILE_ARGS: [&[u8]; 9] = [
    b"",
    b"with space",
    b"quote\"and'apostrophe",
    b"back\\slash",
    b"line\nfeed\ttab",
    b"\x1b[31mred\x1b]0;title\x07",
    b"not utf-8: \xff\xfe\xc3(",
    b"cut in a character: \xe2\x82",
    "h\u{e9}llo \u{202e}right-to-left \u{1f680}".as_bytes(),
];

/// What one execution was, told by itself or by the process that waited for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Its part in the deed.
    pub role: String,
    /// Process id.
    pub pid: u32,
    /// Process id of whoever started the process, even if that one has gone since.
    pub parent: u32,
    /// Start of the process, in clock ticks (1/100 s) of the boot clock; `/proc/<pid>/stat`, field 22.
    pub start: Option<u64>,
    /// Process id of the session leader when this execution began, where the teller knew it.
    pub session: Option<u32>,
    /// It executed an image of its own; else it was only forked.
    pub exec: bool,
    /// How it ended.
    pub end: End,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The process exited with a status.
    Exit(u8),
    /// A signal ended the process.
    Signal {
        /// Number of the signal.
        number: u8,
        /// The kernel wrote a core dump.
        core: bool,
    },
    /// The process executed another image.
    Exec,
}

/// A private copy of the workload program. Its path tells its processes from all others of the machine.
#[derive(Debug)]
pub struct Workload {
    folder: TempDir,
    program: PathBuf,
}

/// What a deed left behind.
#[derive(Debug)]
pub struct Done {
    /// One for each execution, in the order told.
    pub facts: Vec<Fact>,
}

/// A process of the workload that lives until told otherwise.
#[derive(Debug)]
pub struct Alive {
    child: Child,
    stdin: Option<ChildStdin>,
    /// What it is, and how it will end.
    pub fact: Fact,
}

// === impl Workload ===

impl Workload {
    /// Copies the program to a place of its own.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-work-").tempdir().expect("make a folder");
        let program = folder.path().join("workload");
        // A copy can fail to execute (ETXTBSY) while a process that was forked meanwhile holds it open for writing.
        let source = place::workload();
        if std::fs::hard_link(&source, &program).is_err() {
            std::fs::copy(&source, &program).expect("copy the workload");
        }
        Self { folder, program }
    }

    /// What the paths of its programs contain and no other's on this machine.
    pub fn tag(&self) -> &str {
        self.folder
            .path()
            .file_name()
            .and_then(OsStr::to_str)
            .expect("the name of a temporary folder is plain")
    }

    /// The path that its processes execute.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its folder, which is also the working directory of its processes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command that does a deed; its environment is empty.
    pub fn command<S: AsRef<OsStr>>(&self, deed: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(deed).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Does a deed and waits for all that took part in it.
    pub fn run(&self, deed: &str) -> Done {
        self.run_with(self.command(deed.split(' ')))
    }

    /// Runs a command of [`Self::command`] and waits for all that took part in it.
    pub fn run_with(&self, mut command: Command) -> Done {
        let (mut reader, writer) = std::io::pipe().expect("make a pipe");
        let mut child =
            command.stdout(writer).spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        // Drops this process's copy of the write end: the pipe ends when the last of the workload has.
        drop(command);
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("read what the workload tells");
        child.wait().expect("wait for the workload");
        Done { facts: told.lines().map(fact).collect() }
    }

    /// Starts a process that lives until [`Alive::finish`].
    pub fn live(&self) -> Alive {
        let mut command = self.command(["live"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start the workload");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("read what the workload tells");
        let stdin = child.stdin.take();
        Alive { child, stdin, fact: fact(&line) }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self::new()
    }
}

fn fact(line: &str) -> Fact {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("not a fact of the workload: {line:?}: {error}"))
}

// === impl Done ===

impl Done {
    /// The one execution with this part.
    pub fn role(&self, role: &str) -> &Fact {
        let mut found = self.facts.iter().filter(|fact| fact.role == role);
        match (found.next(), found.next()) {
            (Some(fact), None) => fact,
            (none, _) => {
                panic!("{} `{role}` in {self:?}", if none.is_none() { "no" } else { "more than one" })
            }
        }
    }
}

// === impl Alive ===

impl Alive {
    /// Lets it exit, with the status it said, and waits for that.
    pub fn finish(mut self) -> Fact {
        drop(self.stdin.take());
        self.child.wait().expect("wait for the workload");
        self.fact.clone()
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

// === impl Fact ===

impl Fact {
    /// What this process is: an execution that began with an exec.
    pub fn of_self(role: &str, end: End) -> Self {
        let stat = File::open("/proc/self/stat").and_then(|mut file| {
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        });
        // The name, field 2, is in parentheses and may hold anything; the fields after it are plain.
        let start =
            stat.ok().and_then(|text| text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok());
        Self {
            role: role.to_owned(),
            pid: std::process::id(),
            parent: nix::unistd::getppid().as_raw().unsigned_abs(),
            start,
            session: nix::unistd::getsid(None).ok().map(|session| session.as_raw().unsigned_abs()),
            exec: true,
            end,
        }
    }
}

impl fmt::Display for Fact {
    /// The line that the workload prints, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The arguments of the deed `hostile-args`' execution, after the program's name and its deed.
pub fn hostile_args() -> impl Iterator<Item = OsString> {
    HOSTILE_ARGS.iter().map(|bytes| OsStr::from_bytes(bytes).to_owned())
}
