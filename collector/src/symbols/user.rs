//! Functions of programs and libraries: /proc/PID/maps says which file an address is of, the file which function.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags};
use trigon_exporters::{
    event::{Frame, Process},
    identity::ExecId,
};
use trigon_probes::elf::{Elf, FileId, Functions};

use super::looked_up;

/// What is known of processes' memory, and of files.
#[derive(Debug, Default)]
pub(super) struct UserSymbols {
    maps: HashMap<ExecId, Maps>,
    files: HashMap<FileId, Arc<Functions>>,
    bytes: usize,
}

/// What a process had mapped to execute.
#[derive(Debug)]
struct Maps {
    regions: Vec<Region>,
    read: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Region {
    start: u64,
    end: u64,
    offset: u64,
    path: Box<str>,
    /// Its functions, once they were asked for; none where its file doesn't tell.
    functions: Option<Option<FileId>>,
}

/// Processes of which the memory is known.
const PROCESSES: usize = 1024;
/// Bytes of a process's maps: some ten thousand mappings.
const MAPS_BYTES: u64 = 4 << 20;
/// Bytes of names that a file's functions have at most, and bytes of all.
const NAMES_BYTES: u64 = 64 << 20;
const FILES_BYTES: usize = 128 << 20;
/// What was mapped since is looked for, but no more often than this.
const PATIENCE: Duration = Duration::from_millis(100);
/// What was not asked for as long is forgotten.
const LINGER: Duration = Duration::from_secs(60);
/// File systems of which somebody else answers when a file is read, whenever he will.
const SLOW: [&str; 12] =
    ["fuse", "nfs", "cifs", "smb", "ceph", "afs", "9p", "autofs", "gfs2", "ocfs2", "lustre", "coda"];

// === impl UserSymbols ===

impl UserSymbols {
    /// Frames from the innermost out.
    pub(super) fn name(&mut self, process: &Process, addresses: &[u64]) -> Box<[Frame]> {
        let id = process.exec_id;
        let missing = |maps: &Maps| addresses.iter().any(|address| maps.index_of(*address).is_none());
        let stale = match self.maps.get(&id) {
            None => true,
            Some(maps) => maps.read.elapsed() >= PATIENCE && missing(maps),
        };
        if stale && let Some(regions) = regions(process) {
            if self.maps.len() >= PROCESSES {
                self.maps.clear();
            }
            self.maps.insert(id, Maps { regions, read: Instant::now() });
        }
        let frames = addresses.iter().enumerate().map(|(index, address)| self.frame(id, index, *address));
        frames.collect()
    }

    /// Forgets what was not asked for lately.
    pub(super) fn keep_house(&mut self) {
        self.maps.retain(|_, maps| maps.read.elapsed() < LINGER);
        if self.maps.is_empty() {
            self.files.clear();
            self.bytes = 0;
        }
    }

    fn frame(&mut self, id: ExecId, index: usize, address: u64) -> Frame {
        let unknown = || Frame { address, ..Frame::default() };
        let wanted = looked_up(index, address);
        let Some(maps) = self.maps.get_mut(&id) else { return unknown() };
        let Some(region) = maps.index_of(wanted).and_then(|index| maps.regions.get_mut(index)) else {
            return unknown();
        };
        let offset = wanted - region.start + region.offset;
        let (module, functions) = (region.path.clone(), region.functions);
        let functions = match functions {
            Some(known) => known.and_then(|file| self.files.get(&file).cloned()),
            None => {
                let region = region.clone();
                let read = self.functions(id.pid, &region);
                if let Some(region) = self
                    .maps
                    .get_mut(&id)
                    .and_then(|maps| maps.regions.iter_mut().find(|other| other.start == region.start))
                {
                    region.functions = Some(read.as_ref().map(|(file, _)| *file));
                }
                read.map(|(_, functions)| functions)
            }
        };
        let behind = address.wrapping_sub(wanted);
        match functions.and_then(|functions| functions.at_offset(offset)) {
            Some((symbol, into)) => Frame { address, offset: into + behind, symbol: symbol.into(), module },
            None => Frame { address, offset: offset + behind, symbol: Box::default(), module },
        }
    }

    /// The functions of the file that a region is of, whatever has become of its path.
    fn functions(&mut self, pid: u32, region: &Region) -> Option<(FileId, Arc<Functions>)> {
        if !region.path.starts_with('/') {
            return None;
        }
        let link = format!("/proc/{pid}/map_files/{:x}-{:x}", region.start, region.end);
        let place = rustix::fs::open(&*link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        if !is_quick(pid, &place).ok()? {
            return None;
        }
        let elf = Elf::of_place(Path::new(&*region.path), &place).ok()?;
        if let Some(known) = self.files.get(&elf.id()) {
            return Some((elf.id(), Arc::clone(known)));
        }
        let functions = Arc::new(elf.functions(NAMES_BYTES).ok()?);
        if self.bytes + functions.bytes() > FILES_BYTES {
            self.files.clear();
            self.maps.clear();
            self.bytes = 0;
        }
        self.bytes += functions.bytes();
        self.files.insert(elf.id(), Arc::clone(&functions));
        Some((elf.id(), functions))
    }
}

/// Whether a file is of a file system that answers by itself. Nothing of it is asked for that: the kernel knows which
/// mount a descriptor is of.
fn is_quick(pid: u32, place: &OwnedFd) -> io::Result<bool> {
    let info = read_proc(&format!("/proc/self/fdinfo/{}", place.as_raw_fd()))?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    let mounts = read_proc(&format!("/proc/{pid}/mountinfo"))?;
    // `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS…] - TYPE SOURCE OPTIONS`
    let kind = mounts.lines().find_map(|line| {
        let is_it = line.split(' ').next() == mount;
        is_it.then(|| line.split(" - ").nth(1)?.split(' ').next()).flatten()
    });
    Ok(kind.is_some_and(|kind| !SLOW.iter().any(|slow| kind.starts_with(slow))))
}

fn read_proc(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAPS_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a process has mapped to execute; none where it is gone, or executes something else by now.
fn regions(process: &Process) -> Option<Vec<Region>> {
    let pid = process.exec_id.pid;
    let maps = File::open(format!("/proc/{pid}/maps")).ok()?;
    let mut regions = Vec::new();
    for line in BufReader::new(maps.take(MAPS_BYTES)).split(b'\n') {
        let line = line.ok()?;
        regions.extend(region(&String::from_utf8_lossy(&line)));
    }
    let binary = process.image.binary();
    regions.iter().any(|region| &*region.path == binary).then_some(regions)
}

/// `START-END rwxp OFFSET MAJOR:MINOR INODE   PATH`; none where it isn't to be executed.
fn region(line: &str) -> Option<Region> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let executable = words.next()?.as_bytes().get(2) == Some(&b'x');
    let offset = hex(words.next()?)?;
    let path = words.nth(2).unwrap_or_default().trim_start();
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    (executable && start < end && offset.checked_add(end - start).is_some()).then(|| Region {
        start,
        end,
        offset,
        path: path.into(),
        functions: None,
    })
}

// === impl Maps ===

impl Maps {
    /// They lie in the order of their addresses.
    fn index_of(&self, address: u64) -> Option<usize> {
        let after = self.regions.partition_point(|region| region.start <= address);
        let index = after.checked_sub(1)?;
        self.regions.get(index).filter(|region| address < region.end).map(|_| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line =
            "55d0c0a00000-55d0c0a10000 r-xp 00002000 fd:01 1234                       /usr/bin/a b (deleted)";
        let region = region(line).unwrap();
        assert_eq!((region.start, region.end), (0x55d0_c0a0_0000, 0x55d0_c0a1_0000));
        assert_eq!((region.offset, &*region.path), (0x2000, "/usr/bin/a b"));
        let vdso = "7ffc1000-7ffc2000 r-xp 00000000 00:00 0                          [vdso]";
        assert_eq!(&*super::region(vdso).unwrap().path, "[vdso]");
        for line in [
            "",
            "x-y r-xp 0 0 0 /a",
            "1000-2000 r--p 0 0:0 0 /a",
            "2000-1000 r-xp 0 0:0 0 /a",
            "1000-2000",
            "ffff",
        ] {
            assert_eq!(super::region(line), None, "{line}");
        }
    }

    #[test]
    fn addresses_are_found() {
        let of = |start, end| Region { start, end, offset: 0, path: "/a".into(), functions: None };
        let maps = Maps { regions: vec![of(10, 20), of(20, 30), of(40, 50)], read: Instant::now() };
        let found = [9, 10, 19, 20, 29, 30, 49, 50].map(|address| maps.index_of(address));
        assert_eq!(found, [None, Some(0), Some(0), Some(1), Some(1), None, Some(2), None]);
    }
}
