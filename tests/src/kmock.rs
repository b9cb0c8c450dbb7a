//! kmock, a server of Kubernetes' API that this project didn't write. `scripts/setup test` installs it.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::place;

/// A kmock that runs, and remembers objects.
#[derive(Debug)]
pub struct Kmock {
    child: Child,
    url: String,
}

/// The folder of its Python packages; none where it isn't installed.
pub fn find() -> Option<PathBuf> {
    let folder = place::cache().join("kmock");
    folder.join("kmock/__init__.py").is_file().then_some(folder)
}

// === impl Kmock ===

impl Kmock {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let mut child = Command::new("python3")
            .args(["-c", include_str!("serve_kmock.py")])
            .env("PYTHONPATH", find().expect("kmock is installed"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start python3");
        let mut url = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut url).expect("read where it listens");
        assert!(url.starts_with("http://"), "kmock didn't start: {url:?}, {:?}", child.try_wait());
        Self { child, url: url.trim().to_owned() }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Kmock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
