//! A followed file, from the moment that it was opened until nobody held it.

use std::sync::Arc;

use super::{File, Policy, Timestamp};
use crate::identity::SpanId;

/// A file that a policy followed, and what went through it. It is a span.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// The policy that followed it.
    pub policy: Arc<Policy>,
    /// The file.
    pub file: File,
    /// The number by which the process knew it first; none where its opening was not told.
    pub fd: Option<u32>,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was no longer followed.
    pub closed: Timestamp,
    /// Calls that read from it.
    pub reads: u64,
    /// Calls that wrote to it.
    pub writes: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Its span; see [`ExecId::descriptor_span_id`](crate::identity::ExecId::descriptor_span_id).
    pub span: SpanId,
    /// How it ended.
    pub end: DescriptorEnd,
}

/// Why a file is followed no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DescriptorEnd {
    /// It was closed.
    Closed,
    /// Its process ended, and it with it.
    ProcessExit,
    /// The policy let it go, or was itself removed.
    Unfollowed,
}

// === impl DescriptorEnd ===

impl DescriptorEnd {
    /// The name in attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ProcessExit => "process_exit",
            Self::Unfollowed => "unfollowed",
        }
    }
}
