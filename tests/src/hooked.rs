//! The programs that tests hook (`programs/`), and what they do.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

static HOOKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hooked"));
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/library"));

/// Copies of the programs in a folder of their own.
#[derive(Debug)]
pub struct Hooked {
    folder: TempDir,
}

// === impl Hooked ===

impl Hooked {
    /// Writes the copies.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-hooked-").tempdir().expect("make a folder");
        for (name, bytes) in [("hooked", HOOKED), ("library", LIBRARY)] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("write a program");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("let it be executed");
        }
        Self { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program.
    pub fn program(&self) -> PathBuf {
        self.folder.path().join("hooked")
    }

    /// The library.
    pub fn library(&self) -> PathBuf {
        self.folder.path().join("library")
    }

    /// Starts the program; it ends when its standard input does.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = Command::new(self.program());
        command.arg("-").args(args).stdin(Stdio::piped());
        command.spawn().expect("start the program")
    }

    /// Runs the program; how it ended, and its process id.
    pub fn run(&self, args: &[&str]) -> (u32, ExitStatus) {
        let mut child = Command::new(self.program()).args(args).spawn().expect("start the program");
        let pid = child.id();
        (pid, child.wait().expect("wait for the program"))
    }
}

impl Default for Hooked {
    fn default() -> Self {
        Self::new()
    }
}
