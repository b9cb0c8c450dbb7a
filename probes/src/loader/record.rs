//! The records of perf events, as far as mappings need them.

/// What the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A file was mapped to be executed.
    Mapped(Mapped),
    /// A process took over another image: what it maps from here on is of that one.
    Exec {
        /// Process id.
        pid: u32,
        /// When, on the boot clock in nanoseconds.
        time: u64,
    },
    /// So many records found the buffer full.
    Lost(u64),
}

/// A mapping of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Process id.
    pub pid: u32,
    /// When, on the boot clock in nanoseconds.
    pub time: u64,
    /// The file's path.
    pub path: Vec<u8>,
    /// Its build-id; empty where the linker gave it none, or the kernel could not see it.
    pub build_id: Vec<u8>,
}

/// `struct perf_event_header`
const HEADER: usize = 8;
/// `PERF_RECORD_LOST`, `PERF_RECORD_COMM`, `PERF_RECORD_MMAP2`, `PERF_RECORD_LOST_SAMPLES`.
const LOST: u32 = 2;
const COMM: u32 = 3;
const MMAP2: u32 = 10;
const LOST_SAMPLES: u32 = 13;
/// `PERF_RECORD_MISC_COMM_EXEC`, `PERF_RECORD_MISC_MMAP_BUILD_ID`.
const IS_EXEC: u16 = 1 << 13;
const HAS_BUILD_ID: u16 = 1 << 14;
/// What `sample_id_all` appends: process and thread id, time.
const TRAILER: usize = 16;
/// Where a mapping's build-id, and its path, are.
const BUILD_ID: usize = 40;
const PATH: usize = 72;

// === impl Told ===

impl Told {
    /// When it happened, on the boot clock in nanoseconds; 0 for what has no time.
    pub fn time(&self) -> u64 {
        match self {
            Self::Mapped(mapped) => mapped.time,
            Self::Exec { time, .. } => *time,
            Self::Lost(_) => 0,
        }
    }
}

/// Reads a record; none of one that tells nothing here, or is none.
pub(super) fn parse(bytes: &[u8]) -> Option<Told> {
    let number = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let misc = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let trailer = bytes.len().checked_sub(TRAILER)?;
    let time = long(trailer + 8)?;
    match number(0)? {
        LOST => long(HEADER + 8).map(Told::Lost),
        LOST_SAMPLES => long(HEADER).map(Told::Lost),
        COMM if misc & IS_EXEC != 0 => Some(Told::Exec { pid: number(HEADER)?, time }),
        MMAP2 => {
            let path = bytes.get(PATH..trailer)?;
            let path = &path[..path.iter().position(|byte| *byte == 0).unwrap_or(path.len())];
            // Memory that is of no file has names too: `//anon`, `[vdso]`.
            if !path.starts_with(b"/") || path.starts_with(b"//") {
                return None;
            }
            let length =
                if misc & HAS_BUILD_ID == 0 { 0 } else { usize::from(*bytes.get(BUILD_ID)?).min(20) };
            let build_id = bytes.get(BUILD_ID + 4..BUILD_ID + 4 + length)?.to_vec();
            Some(Told::Mapped(Mapped { pid: number(HEADER)?, time, path: path.to_vec(), build_id }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend(misc.to_ne_bytes());
        bytes.extend((HEADER as u16 + body.len() as u16 + TRAILER as u16).to_ne_bytes());
        bytes.extend(body);
        bytes.extend([0; 8]);
        bytes.extend(77_u64.to_ne_bytes());
        bytes
    }

    fn mapping(misc: u16, path: &[u8]) -> Vec<u8> {
        let mut body = vec![0; PATH - HEADER];
        body[..4].copy_from_slice(&42_u32.to_ne_bytes());
        body[BUILD_ID - HEADER] = 20;
        body[BUILD_ID - HEADER + 4..][..20].copy_from_slice(&[0xab; 20]);
        body.extend(path);
        record(MMAP2, misc, &body)
    }

    #[test]
    fn records() {
        let mapped =
            |build_id| Told::Mapped(Mapped { pid: 42, time: 77, path: b"/bin/a".to_vec(), build_id });
        assert_eq!(parse(&mapping(HAS_BUILD_ID, b"/bin/a\0\0")), Some(mapped(vec![0xab; 20])));
        assert_eq!(parse(&mapping(0, b"/bin/a\0\0")), Some(mapped(Vec::new())));
        for path in [b"//anon\0\0".as_slice(), b"[vdso]\0\0", b"\0\0\0\0\0\0\0\0"] {
            assert_eq!(parse(&mapping(0, path)), None);
        }
        let comm = [42_u32.to_ne_bytes(), 43_u32.to_ne_bytes(), *b"name", *b"\0\0\0\0"].concat();
        assert_eq!(parse(&record(COMM, IS_EXEC, &comm)), Some(Told::Exec { pid: 42, time: 77 }));
        assert_eq!(parse(&record(COMM, 0, &comm)), None, "a thread gave itself a name");
        let lost = [1_u64.to_ne_bytes(), 9_u64.to_ne_bytes()].concat();
        assert_eq!(parse(&record(LOST, 0, &lost)), Some(Told::Lost(9)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left(kind in 0_u32..32, misc in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = record(kind, misc, &body);
            let _ = parse(&whole);
            let _ = parse(&body);
        }
    }
}
