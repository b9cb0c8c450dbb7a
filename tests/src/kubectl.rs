//! Kubernetes' command lines, `kubectl` and `helm`, as people use them. `scripts/setup test` installs them.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{command::Said, place};

/// The command lines of somebody whose home folder holds nothing but the way to one cluster.
#[derive(Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    home: TempDir,
}

/// The program `kubectl`; none where it isn't installed.
pub fn find() -> Option<PathBuf> {
    program("kubectl")
}

/// The program `helm`; none where it isn't installed.
pub fn find_helm() -> Option<PathBuf> {
    program("helm")
}

fn program(name: &str) -> Option<PathBuf> {
    let program = place::cache().join("kubectl").join(name);
    program.is_file().then_some(program)
}

// === impl Kubectl ===

impl Kubectl {
    /// Whoever uses this kubeconfig file.
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Self {
        let home = tempfile::Builder::new().prefix("trigon-kubectl-").tempdir().expect("make a folder");
        Self { kubeconfig: kubeconfig.into(), home }
    }

    /// Runs `kubectl` with these arguments and this standard input.
    pub fn said(&self, arguments: &[&str], input: &str) -> Said {
        self.run(&find().expect("kubectl is installed"), arguments, input)
    }

    /// What `kubectl` prints.
    ///
    /// # Panics
    /// It fails.
    pub fn prints(&self, arguments: &[&str]) -> String {
        self.takes(arguments, "")
    }

    /// What `kubectl` prints, given this standard input.
    ///
    /// # Panics
    /// It fails.
    pub fn takes(&self, arguments: &[&str], input: &str) -> String {
        let said = self.said(arguments, input);
        assert_eq!(said.code, Some(0), "kubectl {arguments:?}: {said:?}");
        said.out
    }

    /// What `helm` prints.
    ///
    /// # Panics
    /// It fails.
    pub fn helm(&self, arguments: &[&str]) -> String {
        let said = self.helm_said(arguments);
        assert_eq!(said.code, Some(0), "helm {arguments:?}: {said:?}");
        said.out
    }

    /// Runs `helm` with these arguments.
    pub fn helm_said(&self, arguments: &[&str]) -> Said {
        self.run(&find_helm().expect("helm is installed"), arguments, "")
    }

    /// Starts `kubectl`; its standard output is a pipe.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let program = find().expect("kubectl is installed");
        self.command(&program, arguments).stdin(Stdio::null()).spawn().expect("start kubectl")
    }

    fn run(&self, program: &Path, arguments: &[&str], input: &str) -> Said {
        let mut child =
            self.command(program, arguments).stdin(Stdio::piped()).spawn().expect("start the program");
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that doesn't read its input may be gone by now.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().expect("run the program");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Said { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            // `kubectl diff` runs diff.
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(self.home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}
