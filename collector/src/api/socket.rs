//! The socket: who may make it, and who may connect to it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, fchmod, flock},
    io::Errno,
};
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream},
    time::sleep,
};

/// A socket that is listened on. Its file goes with it.
#[derive(Debug)]
pub struct Socket {
    /// Who waits on it.
    pub listener: UnixListener,
    /// Its file.
    pub file: SocketFile,
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// A socket can't be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// An agent lives there.
    #[error(
        "another agent{} listens on {}. Stop that one, or give this one another socket: [api] socket, or --socket",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        path.display()
    )]
    Taken {
        /// Where.
        path: PathBuf,
        /// Its process, where the kernel says it.
        pid: Option<i32>,
    },
    /// There is something else.
    #[error("{} is there and is no socket. Set another path: [api] socket, or --socket", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses it.
    #[error(
        "cannot make the socket {}: {source}. Set a path that can be written, [api] socket or --socket; empty for none",
        path.display()
    )]
    System {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How long the directory's lock is waited for: two seconds.
const LOCK_TRIES: usize = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

// === impl Socket ===

impl Socket {
    /// Makes the socket, with mode 0600, and its directory, with mode 0755. One that an agent left that is dead is
    /// replaced.
    ///
    /// # Errors
    /// A living agent has it, or the system refuses it.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::System { path: path.to_owned(), source };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
        // Two agents that start at once ask one after the other whether the socket is dead. Anybody who can open the
        // directory can hold the lock: there is an end to the waiting.
        let lock = File::open(directory).map_err(failed)?;
        for _ in 0..LOCK_TRIES {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => sleep(LOCK_PAUSE).await,
                _ => break,
            }
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket { path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path).await {
                Ok(living) => {
                    let pid = living.peer_cred().ok().and_then(|peer| peer.pid());
                    return Err(SocketError::Taken { path: path.to_owned(), pid });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let socket = UnixSocket::new_stream().map_err(failed)?;
        // The file takes the socket's own mode: it is at no moment open to others.
        fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        socket.bind(path).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
        Ok(Self { listener, file: SocketFile { path: path.to_owned(), inode } })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whoever found it dead may have put another in its place.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the process at the other end is root's or of the agent's own user.
pub fn may_connect(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixListener as Plain};

    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/trigon.sock");
        fs::create_dir(folder.path().join("made")).unwrap();
        drop(Plain::bind(&path).unwrap());
        let socket = Socket::bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let taken = Socket::bind(&path).await.unwrap_err();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(taken, SocketError::Taken { pid: Some(found), .. } if found == pid), "{taken}");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "precious").unwrap();
        let error = Socket::bind(&path).await.unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = folder.path().join("x".repeat(200));
        let error = Socket::bind(&long).await.unwrap_err().to_string();
        assert!(error.contains("[api] socket"), "{error}");
    }
}
