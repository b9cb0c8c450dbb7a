//! Files that a connection is made with, certificates, keys and header values: small, some secret, and replaced while
//! the agent runs.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Anybody.
    Public,
    /// Its owner and nobody else: it is refused otherwise.
    Secret,
}

/// What the files of a connection hold: compared with what they held before to see that one was replaced.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<PathBuf, Vec<u8>>);

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is secret and others than its owner can read or change it.
    #[error("{} is open to others (mode {mode:04o}) and holds a secret: `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What it holds is not what was expected.
    #[error("{} can't be used: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong; never what the file holds.
        what: String,
    },
}

/// Bytes that such a file may have: a bundle of every certificate authority there is takes a fifth.
const MAX_SIZE: u64 = 1 << 20;

// === impl Contents ===

impl Contents {
    /// Reads all files; one that is named twice is as secret as the stricter mention says.
    pub(super) fn read<'a>(files: impl Iterator<Item = (&'a Path, Access)>) -> Result<Self, FileError> {
        let mut wanted = BTreeMap::new();
        for (path, access) in files {
            let known = wanted.entry(path).or_insert(access);
            *known = access.max(*known);
        }
        let read = |(path, access): (&Path, Access)| read(path, access).map(|bytes| (path.to_owned(), bytes));
        wanted.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// What a file held; nothing for one that was not read.
    pub(super) fn of(&self, path: &Path) -> &[u8] {
        self.0.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    /// As [`Self::of`], as text without the line's end that editors leave.
    pub(super) fn text(&self, path: &Path) -> Result<&str, FileError> {
        match std::str::from_utf8(self.of(path)) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n'])),
            Err(_) => Err(FileError::content(path, "it is not UTF-8")),
        }
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn read(path: &Path, access: Access) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = open(path).map_err(failed)?;
    // Of the file that is open: the name may be another's by now.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::content(path, "it is not a regular file"));
    }
    let mode = metadata.mode() & 0o7777;
    if access == Access::Secret && mode & 0o077 != 0 {
        return Err(FileError::Open { path: path.to_owned(), mode });
    }
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(FileError::content(path, "it has more than 1 MiB"));
    }
    Ok(bytes)
}

/// Opens without waiting for the other end of what may be a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    OpenOptions::new().read(true).custom_flags(flags as i32).open(path)
}

// === impl FileError ===

impl FileError {
    pub(super) fn content(path: &Path, what: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn reason(path: &Path, access: Access) -> String {
        Contents::read([(path, access)].into_iter()).expect_err("refused").to_string()
    }

    #[test]
    fn a_secret_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "secret\n").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let reason = reason(&path, Access::Secret);
            assert!(reason.contains(&format!("mode {mode:04o}")) && reason.contains("chmod 600"), "{reason}");
            assert!(Contents::read([(&*path, Access::Public)].into_iter()).is_ok());
            let twice = [(&*path, Access::Secret), (&*path, Access::Public)];
            assert!(Contents::read(twice.into_iter()).is_err());
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let contents = Contents::read([(&*path, Access::Secret)].into_iter()).unwrap();
            assert_eq!(contents.text(&path).unwrap(), "secret");
            assert!(!format!("{contents:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_small_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(reason(directory.path(), Access::Public).contains("regular file"));
        assert!(reason(&directory.path().join("none"), Access::Public).contains("cannot read"));
        let large = directory.path().join("large");
        fs::write(&large, vec![0; 1 + MAX_SIZE as usize]).unwrap();
        assert!(reason(&large, Access::Public).contains("1 MiB"));
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(reason(&pipe, Access::Public).contains("regular file"));
    }
}
