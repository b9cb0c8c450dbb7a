//! The hook on executions: a program that runs before the one that writes an exec's record (bpf/exec.h).

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use aya::maps::{Array, MapData};

use super::{HookId, Hooks, attach::Attachment, processes::tracepoint_type};
use crate::{
    ProbeError,
    lifecycle::Kernel,
    object::typed,
    programs::Place,
    sys::{self, attach_type, program_type},
};

/// Where the program is among those that tail calls go to: `EXEC_FILTER`.
const EXEC_FILTER: u32 = 0;

/// Keeps the program in its place.
pub(super) struct BeforeExec {
    programs: Arc<OwnedFd>,
    hook: Array<MapData, u32>,
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn attach_execution(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        place: Place,
    ) -> Result<Attachment, ProbeError> {
        if !self.filters_execs {
            return Err(ProbeError::NoExecFilter);
        }
        let target = tracepoint_type(kernel, "sched_process_exec");
        let programs = self.programs.clone();
        let object = self.object("processes", kernel)?;
        let program =
            object.program("exec_filter", program_type::TRACING, attach_type::TRACE_RAW_TP, target)?;
        let mut hook: Array<MapData, u32> = typed(&self.maps, "exec_hook")?;
        hook.set(0, id.0, 0).map_err(|source| ProbeError::Map { map: "exec_hook", source })?;
        let array = self.maps.get("exec_programs").ok_or(ProbeError::Missing("exec_programs"))?;
        sys::place(array.as_fd(), EXEC_FILTER, Some(program.as_fd()))
            .map_err(|source| ProbeError::Io { what: "filter executions", source })?;
        let before = BeforeExec { programs: Arc::clone(array), hook };
        let program = programs.watch(program, place);
        let mut attachment = Attachment::default();
        attachment.programs.push(program);
        attachment.before_exec = Some(before);
        Ok(attachment)
    }
}

// === impl BeforeExec ===

impl Drop for BeforeExec {
    fn drop(&mut self) {
        // What can't be taken out has a hook without a table, and lets everything be told.
        let _ = sys::place(self.programs.as_fd(), EXEC_FILTER, None);
        let _ = self.hook.set(0, 0, 0);
    }
}
