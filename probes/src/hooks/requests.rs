//! The requests that threads are serving, as OpenTelemetry's eBPF instrumentation tells them: a pinned map from
//! `pid_tgid` to trace and span, `traces_ctx_v1`.
//!
//! The map is put into one that the programs look into, so that it may come, go, and come again as another, while hooks
//! are attached. Source: <https://github.com/open-telemetry/opentelemetry-specification/pull/4855>.

use std::{
    ffi::CString,
    io,
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::Path,
};

use super::Hooks;
use crate::{
    ProbeError,
    sys::{self, MapFacts},
};

/// What became of the map that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// It is the one in use, or there is still none.
    Same,
    /// From now on events are told with their requests.
    Found,
    /// It is gone.
    Gone,
}

// === impl Hooks ===

impl Hooks {
    /// Looks for the map of requests, and uses it where it is there.
    ///
    /// # Errors
    /// There is a map, and it is not such a one; or it can't be used.
    pub fn find_requests(&mut self, path: &Path) -> Result<Requests, ProbeError> {
        /// `BPF_MAP_TYPE_LRU_HASH`
        const LRU_HASH: u32 = 9;
        let failed =
            |source| ProbeError::Io { what: "use the pinned map of requests (policy.traces_ctx)", source };
        let Some(array) = self.maps.get("requests") else { return Ok(Requests::Same) };
        let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
        let map = match sys::open_pinned(&c_path) {
            Ok(map) => map,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.requests.take().is_none() {
                    return Ok(Requests::Same);
                }
                sys::place(array.as_fd(), 0, None).map_err(failed)?;
                return Ok(Requests::Gone);
            }
            Err(error) => return Err(failed(error)),
        };
        let facts = sys::map_facts(map.as_fd()).map_err(failed)?;
        if self.requests == Some(facts.id) {
            return Ok(Requests::Same);
        }
        if !matches!(facts, MapFacts { kind: LRU_HASH, key: 8, value: 24, .. }) {
            let what = "it is no LRU hash with keys of 8 and values of 24 bytes";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        sys::place(array.as_fd(), 0, Some(map.as_fd())).map_err(failed)?;
        self.requests = Some(facts.id);
        Ok(Requests::Found)
    }
}
