//! Ways to compress what goes out.

use serde::{Deserialize, Serialize};

/// How something is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, at its fastest level.
    Gzip,
    /// Zstandard: smaller than gzip for less CPU time, where the reader knows it. Requests at its fastest level, files
    /// at its default one.
    Zstd,
}
