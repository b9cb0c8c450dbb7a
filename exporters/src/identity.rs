//! The names of executions and traces: pure functions of what the kernel says.
//!
//! Any two agents on a node, or one agent twice, make the same ids for the same process.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// One execution of an image, on one node.
///
/// `ktime` is the process's start on the kernel's boot clock in nanoseconds, plus one for each exec that replaced
/// an image which had itself been executed (exec over exec). The kernel counts those execs, so the number does not
/// depend on when, or whether, anybody watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExecId {
    /// Start of the process on the boot clock in nanoseconds, plus the number of images it has left behind.
    pub ktime: u64,
    /// Process id (tgid) in the initial PID namespace.
    pub pid: u32,
}

/// An OTLP trace id. Never zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "std::borrow::Cow<'_, str>")]
pub struct TraceId(pub [u8; 16]);

/// An OTLP span id. Never zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "std::borrow::Cow<'_, str>")]
pub struct SpanId(pub [u8; 8]);

/// A span somewhere, in this agent's traces or in an application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpanRef {
    /// The trace that the span belongs to.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
}

/// Where an execution stands among traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The trace that this execution's span and log records belong to.
    pub id: TraceId,
    /// This execution's own span.
    pub span: SpanId,
    /// The span above; none on a trace's root.
    pub parent: Option<SpanId>,
    /// A span of another trace that this one came from.
    pub link: Option<SpanRef>,
}

// === impl ExecId ===

impl ExecId {
    /// Writes the text that the ids are made from, `<node>:<ktime>:<pid>`, over what `out` held.
    fn plain(self, node: &str, out: &mut String) {
        use std::fmt::Write as _;
        out.clear();
        // Writing to a String can't fail.
        let _ = write!(out, "{node}:{}:{}", self.ktime, self.pid);
    }

    /// Appends the exported form: base64 of `<node>:<ktime>:<pid>`, as Tetragon builds it.
    pub fn encode(self, node: &str, out: &mut String) {
        self.encode_with(node, &mut String::with_capacity(node.len() + 32), out);
    }

    /// As [`Self::encode`], with `plain` as working memory, so that a caller who keeps it allocates nothing.
    pub fn encode_with(self, node: &str, plain: &mut String, out: &mut String) {
        self.plain(node, plain);
        STANDARD.encode_string(plain, out);
    }

    /// The exported form as a string of its own.
    pub fn to_base64(self, node: &str) -> String {
        let mut out = String::new();
        self.encode(node, &mut out);
        out
    }

    /// The id of this execution's span: 8 bytes of a hash of the exported exec id.
    pub fn span_id(self, node: &str) -> SpanId {
        let hash = xxh3_64(self.to_base64(node).as_bytes());
        SpanId(hash.max(1).to_be_bytes())
    }

    /// The id of the span of a file that this execution opened and a policy followed: 8 bytes of a hash of the
    /// exported exec id, `opened` (nanoseconds of the boot clock) and the path, as `<exec id>:<opened>:<path>`.
    pub fn descriptor_span_id(self, node: &str, opened: u64, path: &str) -> SpanId {
        use std::fmt::Write as _;
        let mut text = self.to_base64(node);
        // Writing to a String can't fail.
        let _ = write!(text, ":{opened}:{path}");
        SpanId(xxh3_64(text.as_bytes()).max(1).to_be_bytes())
    }

    /// The id of the trace that this execution is the root of: 16 bytes of a hash of the exported exec id.
    pub fn trace_id(self, node: &str) -> TraceId {
        let hash = xxh3_128(self.to_base64(node).as_bytes());
        TraceId(hash.max(1).to_be_bytes())
    }
}

// === impl TraceId, SpanId ===

/// Writes up to 16 bytes as lower-case hexadecimal digits, two a byte.
fn hex(bytes: &[u8], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    // One write: these texts stand on every line that is exported.
    f.write_str(str::from_utf8(&text[..2 * bytes.len().min(16)]).unwrap_or_default())
}

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        hex(&self.0, f)
    }
}

impl std::fmt::Display for SpanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        hex(&self.0, f)
    }
}

impl std::fmt::Debug for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        hex(&self.0, f)
    }
}

impl std::fmt::Debug for SpanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        hex(&self.0, f)
    }
}

/// Reads exactly as many digits as `N` bytes take, lower case only, as OpenTelemetry and W3C write ids.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

impl TraceId {
    /// The id that these hexadecimal digits are; none for zero and what is no id.
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).filter(|id| *id != [0; 16]).map(Self)
    }
}

impl SpanId {
    /// The id that these hexadecimal digits are; none for zero and what is no id.
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).filter(|id| *id != [0; 8]).map(Self)
    }
}

impl TryFrom<std::borrow::Cow<'_, str>> for TraceId {
    type Error = &'static str;

    fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no trace id: 32 hexadecimal digits are one")
    }
}

impl TryFrom<std::borrow::Cow<'_, str>> for SpanId {
    type Error = &'static str;

    fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no span id: 16 hexadecimal digits are one")
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with another implementation of base64 and XXH3 (Python's base64 and xxhash), so that they stay for good:
    /// whoever stored an id finds it again.
    #[test]
    fn known_vectors() {
        for (node, ktime, pid, exec_id, span, trace) in [
            (
                "gke-john-632-default-pool-7041cac0-9s95",
                13_548_674_321_373,
                52_699,
                "Z2tlLWpvaG4tNjMyLWRlZmF1bHQtcG9vbC03MDQxY2FjMC05czk1OjEzNTQ4Njc0MzIxMzczOjUyNjk5",
                "e0c9329f4cc2a478",
                "094fce3c1152e7d1d7d531394abf3305",
            ),
            ("n", 1, 1, "bjoxOjE=", "1932b367ea07a859", "1ffc2027396aef0d10f68de1b4795503"),
            ("", 0, 0, "OjA6MA==", "68963f7f0c0a6c54", "ac4b746efe6e4160a1fb7e2f204804eb"),
        ] {
            let id = ExecId { ktime, pid };
            assert_eq!(id.to_base64(node), exec_id);
            assert_eq!(id.span_id(node).to_string(), span);
            assert_eq!(id.trace_id(node).to_string(), trace);
        }
    }
    /// Made as the others.
    #[test]
    fn known_vectors_of_descriptors() {
        for (node, ktime, pid, opened, path, span) in [
            (
                "gke-john-632-default-pool-7041cac0-9s95",
                13_548_674_321_373,
                52_699,
                13_548_675_000_000,
                "/etc/passwd",
                "5ebf5de072601ad8",
            ),
            ("n", 1, 1, 2, "/", "5f91dcb55247af61"),
            ("", 0, 0, 0, "", "5f4be3caf2a9fde6"),
            ("n", 1, 1, 2, "/naïve/日本", "096c79f000d8fa0a"),
        ] {
            let id = ExecId { ktime, pid };
            assert_eq!(id.descriptor_span_id(node, opened, path).to_string(), span);
        }
    }
}
