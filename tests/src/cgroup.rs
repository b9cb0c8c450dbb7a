//! A cgroup, such as a container's.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::wait;

/// A cgroup, removed with its empty parents.
#[derive(Debug)]
pub struct Cgroup {
    mount: PathBuf,
    path: PathBuf,
}

// === impl Cgroup ===

impl Cgroup {
    /// Makes one of that path below the hierarchy's root.
    pub fn new(path: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
        let mount =
            mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup2 mount");
        let mount = PathBuf::from(mount.split(' ').nth(1).expect("a mount has a path"));
        fs::create_dir_all(mount.join(path)).expect("make a cgroup");
        Self { mount, path: path.into() }
    }

    /// Its path below the hierarchy's root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.mount.join(&self.path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel frees a cgroup a moment after its last process: then it can be removed.
        let leaf = self.folder();
        // One that was in it may have taken it along.
        let removed = || match fs::remove_dir(&leaf) {
            Err(error) if error.kind() != ErrorKind::NotFound => None,
            _ => Some(()),
        };
        wait::until("the cgroup to be empty", removed, || leaf.display().to_string());
        let above = self.path.ancestors().skip(1).take_while(|path| *path != Path::new(""));
        above.for_each(|path| drop(fs::remove_dir(self.mount.join(path))));
    }
}
