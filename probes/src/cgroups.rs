//! In which hierarchy of cgroups this host's containers are.
//!
//! | host | containers are in |
//! |---|---|
//! | unified: cgroup2 alone | cgroup2 |
//! | legacy: controllers have hierarchies of their own | the memory controller's, and every other's |
//! | hybrid: both | cgroup2 too, where systemd makes the cgroups of containers; else in controllers' alone |

use std::{
    borrow::BorrowMut,
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Pod,
    maps::{Array, MapData, MapError},
};

#[cfg(test)]
mod tests;

/// The hierarchy of cgroups that containers are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// Which.
    pub source: Source,
    /// The kernel's number of the one whose cgroups are told of: that in /proc/PID/cgroup.
    pub hierarchy: i32,
    /// Where that one is mounted, if it is.
    pub mount: Option<PathBuf>,
}

/// Where a process's cgroup is looked at: `enum cgroup_source` of bpf/cgroup.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Not known: in the unified hierarchy, or of what has everything in its root there, in a controller's.
    #[default]
    Auto,
    /// The unified hierarchy.
    Unified,
    /// That of the memory controller.
    Memory,
    /// That of the pids controller.
    Pids,
}

/// `struct cgroup_control` of bpf/cgroup.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Control {
    source: u32,
    hierarchy: i32,
}

#[expect(unsafe_code, reason = "what aya asks of a map's value")]
// SAFETY: integers without padding: every bit pattern is a value.
unsafe impl Pod for Control {}

/// A hierarchy that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    source: Source,
    path: PathBuf,
}

/// Directories at the top of a hierarchy whose name begins so hold containers.
const TOPS: [&str; 4] = ["kubepods", "kubelet", "docker", "libpod_parent"];
/// Scopes below `system.slice` whose name begins so are containers.
const SCOPES: [&str; 4] = ["cri-containerd-", "crio-", "docker-", "libpod-"];

// === impl Cgroups ===

impl Cgroups {
    /// Finds out, as the first process sees the host: in a container that shares the host's PIDs that is the host's
    /// own, while this process may see a part of a hierarchy only. What can't be read is taken for not there.
    pub fn detect() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own = text("/proc/self/cgroup");
        let root = Path::new("/proc/1/root");
        match fs::read_to_string("/proc/1/mountinfo").and_then(|text| root.read_dir().map(|_| text)) {
            Ok(mountinfo) => {
                let there = |mount: &Path| root.join(mount.strip_prefix("/").unwrap_or(mount));
                let mut found = Self::of(&mountinfo, &own, |mount| has_containers(&there(mount)));
                found.mount = found.mount.as_deref().map(there);
                found
            }
            Err(_) => Self::of(&text("/proc/self/mountinfo"), &own, has_containers),
        }
    }

    /// The same, of the texts of proc_pid_mountinfo(5) and cgroups(7), and of what directories have containers.
    fn of(mountinfo: &str, own: &str, has_containers: impl Fn(&Path) -> bool) -> Self {
        let mounts: Vec<_> = mountinfo.lines().filter_map(mount).collect();
        let all = |source| mounts.iter().filter(move |mount| mount.source == source);
        let full = |source| all(source).find(|mount| has_containers(&mount.path));
        let first = |source| all(source).next();
        let is_hybrid = first(Source::Unified).is_some()
            && (first(Source::Memory).is_some() || first(Source::Pids).is_some());
        let order = [Source::Unified, Source::Memory, Source::Pids];
        let found = order.into_iter().find_map(full);
        let found = found.or_else(|| order.into_iter().find_map(first).filter(|_| !is_hybrid));
        let source = found.map_or(Source::Auto, |mount| mount.source);
        let told = found.or_else(|| first(Source::Unified));
        Self { source, hierarchy: hierarchy(own, source), mount: told.map(|mount| mount.path.clone()) }
    }

    /// Tells the programs.
    pub(crate) fn write<T: BorrowMut<MapData>>(
        &self,
        control: &mut Array<T, Control>,
    ) -> Result<(), MapError> {
        control.set(0, Control { source: self.source as u32, hierarchy: self.hierarchy }, 0)
    }
}

/// A line of mountinfo, if it is a hierarchy of interest: `… ROOT MOUNT OPTIONS … - TYPE SOURCE SUPER-OPTIONS`.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let path = before.split(' ').nth(4)?;
    let mut after = after.split(' ');
    let kind = after.next()?;
    let mut options = after.nth(1)?.split(',');
    let source = match kind {
        "cgroup2" => Source::Unified,
        "cgroup" => options.find_map(|option| match option {
            "memory" => Some(Source::Memory),
            "pids" => Some(Source::Pids),
            _ => None,
        })?,
        _ => return None,
    };
    Some(Mount { source, path: PathBuf::from(unescaped(path)) })
}

/// Blanks and backslashes in a path are written as three octal digits.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

/// The number of a hierarchy in /proc/PID/cgroup: `4:memory:/a/b`; the unified one's is 0.
fn hierarchy(own: &str, source: Source) -> i32 {
    let controller = match source {
        Source::Auto | Source::Unified => return 0,
        Source::Memory => "memory",
        Source::Pids => "pids",
    };
    let number = own.lines().find_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, _) = rest.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then(|| number.parse().ok())?
    });
    number.unwrap_or(0)
}

fn has_containers(hierarchy: &Path) -> bool {
    let any = |folder: &Path, beginnings: &[&str]| {
        names(folder)
            .unwrap_or_default()
            .iter()
            .any(|name| beginnings.iter().any(|beginning| name.starts_with(beginning)))
    };
    any(hierarchy, &TOPS) || any(&hierarchy.join("system.slice"), &SCOPES)
}

/// The directories in a directory.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
