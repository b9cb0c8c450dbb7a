//! Tracked sockets: whose they are is kept until they are freed.
//!
//! Where the kernel has trampolines, the freeing of every socket is seen. Where it has none, it is seen that one closes.

use std::{
    ffi::CStr,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{HashMap, MapData};
use tracing::debug;

use super::{Hooks, Mechanism, function_type};
use crate::{
    ProbeError,
    lifecycle::Kernel,
    object::open,
    programs::{Loaded, Place},
    sys::{self, attach_type, program_type},
};

/// A function that is called with each socket that is freed, in every kernel with security modules for networks.
const FREEING: &str = "security_sk_free";

/// Where the states of sockets are seen.
const STATES: &CStr = c"inet_sock_set_state";

// Only the keys are looked at; the kernel compares the sizes of values when a map is opened.
type Tracked = [u8; 56];

/// What sees sockets end.
pub(super) struct Watch {
    _program: Loaded,
    _link: OwnedFd,
}

// === impl Hooks ===

impl Hooks {
    /// Whether sockets that end are seen.
    pub fn watches_sockets(&self) -> bool {
        self.sockets.is_some()
    }

    /// Begins to see sockets end. To be called before a table is put in place that tracks some.
    ///
    /// # Errors
    /// The kernel refuses the programs.
    pub fn watch_sockets(&mut self, kernel: &Kernel) -> Result<(), ProbeError> {
        if self.sockets.is_none() {
            let freed = self.see_freed(kernel);
            let seen = freed.or_else(|error| {
                debug!(%error, "sockets are not seen to be freed");
                self.see_closed(kernel)
            });
            self.sockets = Some(seen?);
            // What a call tracked that was on its way when nobody asked any more.
            self.forget_tracked()?;
        }
        Ok(())
    }

    /// Forgets whose sockets are: no policy asks any more.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn forget_sockets(&mut self) -> Result<(), ProbeError> {
        if self.sockets.take().is_none() { Ok(()) } else { self.forget_tracked() }
    }

    fn forget_tracked(&self) -> Result<(), ProbeError> {
        let failed = |source| ProbeError::Map { map: "tracked", source };
        let mut tracked: HashMap<MapData, u64, Tracked> =
            open(&self.maps, "tracked")?.try_into().map_err(failed)?;
        for socket in tracked.keys().flatten().collect::<Vec<_>>() {
            // What made room meanwhile isn't there.
            let _ = tracked.remove(&socket);
        }
        Ok(())
    }

    fn see_freed(&mut self, kernel: &Kernel) -> Result<Watch, ProbeError> {
        let target = function_type(kernel, FREEING);
        if target == 0 {
            return Err(ProbeError::NoFunction(FREEING.to_owned()));
        }
        let programs = self.programs.clone();
        let object = self.object("sockets", kernel)?;
        let program =
            object.program("socket_freed", program_type::TRACING, attach_type::TRACE_FENTRY, target)?;
        let link = sys::link_tracing(program.as_fd(), attach_type::TRACE_FENTRY, 0)
            .map_err(|source| ProbeError::Io { what: "attach to the freeing of sockets", source })?;
        let place = Place::own(FREEING, Mechanism::Trampoline.as_str());
        Ok(Watch { _program: programs.watch(program, place), _link: link })
    }

    fn see_closed(&mut self, kernel: &Kernel) -> Result<Watch, ProbeError> {
        let programs = self.programs.clone();
        let object = self.object("sockets", kernel)?;
        let program = object.program("socket_state", program_type::RAW_TRACEPOINT, attach_type::NONE, 0)?;
        let link = sys::open_raw_tracepoint(program.as_fd(), Some(STATES))
            .map_err(|source| ProbeError::Io { what: "attach to the states of sockets", source })?;
        let place = Place::own("inet_sock_set_state", Mechanism::RawTracepoint.as_str());
        Ok(Watch { _program: programs.watch(program, place), _link: link })
    }
}
