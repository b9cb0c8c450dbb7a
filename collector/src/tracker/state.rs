//! What of the process table outlives the agent.
//!
//! Execution ids follow from what the kernel says, at any time. Who forked a process whose parent is gone, and which
//! trace it began in before it became the leader of a session, the kernel no longer tells: an agent that stops
//! leaves that for its successor, in a file that is as short-lived as the processes (`process_table.state_file`).
//! Without the file, after a crash or where none is wanted, those few processes begin traces of their own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use trigon_exporters::{
    event::Timestamp,
    identity::{ExecId, SpanRef, Trace},
};

use super::{Tracker, table::Entry};

/// Bytes of a state file that are read; the fullest table makes less.
const MAX_BYTES: u64 = 1 << 32;

/// Bytes of a line.
const MAX_LINE: usize = 4096;

/// The file's first line: whose it is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    version: u32,
    /// `/proc/sys/kernel/random/boot_id`: the boot clock begins anew with each.
    boot: String,
    /// Trace ids are made from it.
    node: String,
}

/// Each further line: an execution that lived.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    id: ExecId,
    pub(super) parent: Option<ExecId>,
    pub(super) trace: Trace,
    pub(super) trace_began: u64,
    start: u64,
    pub(super) joined: Option<SpanRef>,
}

/// Executions that a predecessor knew.
#[derive(Debug, Default)]
pub struct Predecessor(FxHashMap<ExecId, Kept>);

/// The state can't be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the state of the process table in {}: {source}", path.display())]
pub struct StateError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

// === impl Origin ===

impl Origin {
    fn here(node: &str) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { version: 1, boot: boot.trim().to_owned(), node: node.to_owned() }
    }
}

// === impl Tracker ===

impl Tracker {
    /// Writes what a successor can't learn from the kernel, in place of what was there.
    ///
    /// # Errors
    /// Fails where the file, or its folder, can't be written.
    pub fn keep_state(&self, path: &Path) -> Result<(), StateError> {
        self.write_state(path).map_err(|source| StateError { what: "keep", path: path.to_owned(), source })
    }

    fn write_state(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Written beside and then renamed: a reader finds the old file or the new one, never half of it.
        let beside = path.with_extension("new");
        let _ = fs::remove_file(&beside);
        let mut out =
            BufWriter::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?);
        write_line(&mut out, &Origin::here(&self.settings.node))?;
        for entry in self.table.living() {
            write_line(&mut out, &Kept::of(entry))?;
        }
        out.flush()?;
        fs::rename(&beside, path)
    }

    /// Takes over what a predecessor left; its file is gone then. To be called before the bootstrap.
    ///
    /// # Errors
    /// Fails where there is a file that can't be read. None at all is no error.
    pub fn take_over(&mut self, path: &Path) -> Result<usize, StateError> {
        let failed = |source| StateError { what: "read", path: path.to_owned(), source };
        match File::open(path) {
            Ok(file) => {
                self.predecessor = Predecessor::read(file, &self.settings.node).map_err(failed)?;
                // What was told once is old: a successor of ours must not find it.
                let _ = fs::remove_file(path);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(self.predecessor.0.len())
    }
}

// === impl Predecessor ===

impl Predecessor {
    fn read(file: impl io::Read, node: &str) -> io::Result<Self> {
        let mut lines = BufReader::new(file.take(MAX_BYTES));
        let mut line = Vec::new();
        let mut known = FxHashMap::default();
        if !next(&mut lines, &mut line)?
            || serde_json::from_slice::<Origin>(&line).ok() != Some(Origin::here(node))
        {
            return Ok(Self::default());
        }
        while next(&mut lines, &mut line)? {
            // A line that is broken costs one process its trace, and nothing else.
            if let Ok(kept) = serde_json::from_slice::<Kept>(&line) {
                known.insert(kept.id, kept);
            }
        }
        Ok(Self(known))
    }

    /// What was known of an execution; told once.
    pub(super) fn take(&mut self, id: ExecId) -> Option<Kept> {
        self.0.remove(&id)
    }

    /// Forgets the rest: processes that ended while no agent ran.
    pub(super) fn forget(&mut self) {
        self.0 = FxHashMap::default();
    }
}

fn write_line(out: &mut impl io::Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Reads a line, at most [`MAX_LINE`] bytes of it; false at the end.
fn next(lines: &mut impl io::BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = lines.take(MAX_LINE as u64).read_until(b'\n', line)?;
    Ok(read > 0)
}

// === impl Kept ===

impl Kept {
    fn of(entry: &Entry) -> Self {
        let process = &entry.process;
        Self {
            id: process.exec_id,
            parent: process.parent_exec_id,
            trace: process.trace,
            trace_began: entry.trace_began,
            start: process.start.0,
            joined: entry.joined,
        }
    }

    /// When the execution began.
    pub(super) fn start(&self) -> Timestamp {
        Timestamp(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pid: u32) -> Kept {
        let id = ExecId { ktime: 7, pid };
        let trace =
            Trace { id: id.trace_id("n"), span: id.span_id("n"), parent: Some(id.span_id("m")), link: None };
        Kept { id, parent: Some(ExecId { ktime: 5, pid: 1 }), trace, trace_began: 3, start: 9, joined: None }
    }

    fn file(node: &str, kept: &[Kept]) -> Vec<u8> {
        let mut out = Vec::new();
        write_line(&mut out, &Origin::here(node)).unwrap();
        kept.iter().for_each(|kept| write_line(&mut out, kept).unwrap());
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let file = file("n", &[kept(1), kept(2)]);
        let mut read = Predecessor::read(&file[..], "n").unwrap();
        assert_eq!(read.take(kept(2).id), Some(kept(2)));
        assert_eq!(read.take(kept(2).id), None);
        assert_eq!(read.0.len(), 1);
    }

    #[test]
    fn the_state_of_another_boot_or_node_is_not_ours() {
        assert!(Predecessor::read(&file("other", &[kept(1)])[..], "n").unwrap().0.is_empty());
        let text = String::from_utf8(file("n", &[kept(1)])).unwrap();
        let boot = Origin::here("n").boot;
        let other = text.replace(&boot, "00000000-0000-0000-0000-000000000000");
        assert!(Predecessor::read(other.as_bytes(), "n").unwrap().0.is_empty());
    }

    #[test]
    fn a_broken_line_costs_itself() {
        let mut broken = file("n", &[kept(1)]);
        broken.extend_from_slice(b"{\"id\":\n\xff\xfe\n");
        broken.extend(std::iter::repeat_n(b'x', 3 * MAX_LINE));
        broken.push(b'\n');
        write_line(&mut broken, &kept(2)).unwrap();
        let whole = broken.len();
        let mut read = Predecessor::read(&broken[..], "n").unwrap();
        assert!(read.take(kept(1).id).is_some() && read.take(kept(2).id).is_some());
        for end in 0..whole {
            assert!(Predecessor::read(&broken[..end], "n").unwrap().0.len() <= 2);
        }
    }
}
