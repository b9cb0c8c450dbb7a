//! The cgroups that there are.

use std::{
    fs, io,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
};

use crate::enrich::container;

/// Deeper than any runtime goes; whoever may make cgroups can go deeper, and stays unseen there.
const DEPTH: usize = 32;

/// Those below the cgroup of all pods, with the paths that they have below `mount`, each after the one that it is in.
///
/// # Errors
/// The hierarchy can't be read. A cgroup that goes meanwhile is none.
pub(super) fn of_pods(mount: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    let mut open = vec![(PathBuf::from(mount), String::new(), 0)];
    while let Some((folder, path, depth)) = open.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            if depth == DEPTH || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
            if container::is_of_pods(&path) {
                // The inode is the kernel's id of the cgroup.
                found.push((entry.ino(), path.clone()));
            }
            open.push((entry.path(), path, depth + 1));
        }
    }
    Ok(found)
}
