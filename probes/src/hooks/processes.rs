//! What selectors ask of processes, kept by programs of its own while there are hooks.

use std::{
    io::Read as _,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Pod,
    maps::{Array, HashMap, MapData},
};

use super::{Hooks, attach::Attachment};
use crate::{
    ProbeError,
    lifecycle::Kernel,
    object::open,
    programs::Place,
    sys::{self, attach_type, program_type},
};

/// Paths of binaries are kept this long, NUL included.
const BINARY_BYTES: usize = 256;

/// What gives a process bits that its descendants inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Processes by pid in the initial namespace: pid, bits.
    pub pids: Vec<(u32, u64)>,
    /// Processes by pid in their own namespace: pid, bits. Inherited within that namespace only.
    pub namespace_pids: Vec<(u32, u64)>,
    /// Processes by the path of what they execute: path, bits.
    pub binaries: Vec<(String, u64)>,
}

/// `struct lineage_key` of bpf/hook/process.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct LineageKey {
    kind: u32,
    pid: u32,
}

/// `struct lineage_control` of bpf/hook/process.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct LineageControl {
    enabled: u32,
    reserved: u32,
    namespaced: u64,
}

#[expect(unsafe_code, reason = "what aya asks of keys and values")]
mod pod {
    use super::{LineageControl, LineageKey, Pod};

    // SAFETY: integers without padding: every bit pattern is a value.
    unsafe impl Pod for LineageKey {}
    // SAFETY: as above.
    unsafe impl Pod for LineageControl {}
}

// === impl Hooks ===

impl Hooks {
    /// Starts to keep what selectors ask of processes, where that was not done yet.
    pub(super) fn track_processes(&mut self, kernel: &Kernel) -> Result<(), ProbeError> {
        if self.processes.is_some() {
            return Ok(());
        }
        self.set_lineage_control(0)?;
        let mut kept = Attachment::default();
        for (program, hook) in [
            ("process_fork", "sched_process_fork"),
            ("process_exec", "sched_process_exec"),
            ("process_exit", "sched_process_exit"),
        ] {
            let target = tracepoint_type(kernel, hook);
            let object = self.object("processes", kernel)?;
            let program =
                object.program(program, program_type::TRACING, attach_type::TRACE_RAW_TP, target)?;
            let link = sys::open_raw_tracepoint(program.as_fd(), None)
                .map_err(|source| ProbeError::Io { what: "attach to a tracepoint", source })?;
            kept.links.push(link);
            kept.programs.push(self.programs.watch(program, Place::own(hook, "tp_btf")));
        }
        self.processes = Some(kept);
        self.iterate_processes(kernel)
    }

    /// Says what gives processes bits; those that run already get theirs.
    ///
    /// # Errors
    /// The kernel has no room, or refuses to iterate.
    pub fn set_lineage(&mut self, kernel: &Kernel, lineage: &Lineage) -> Result<(), ProbeError> {
        self.track_processes(kernel)?;
        let failed = |map| move |source| ProbeError::Map { map, source };
        let mut pids: HashMap<MapData, LineageKey, u64> =
            open(&self.maps, "lineage_pids")?.try_into().map_err(failed("lineage_pids"))?;
        let kinds = lineage.pids.iter().map(|entry| (0, entry));
        for (kind, (pid, bits)) in kinds.chain(lineage.namespace_pids.iter().map(|entry| (1, entry))) {
            pids.insert(LineageKey { kind, pid: *pid }, bits, 0).map_err(failed("lineage_pids"))?;
        }
        let mut binaries: HashMap<MapData, [u8; BINARY_BYTES], u64> =
            open(&self.maps, "lineage_binaries")?.try_into().map_err(failed("lineage_binaries"))?;
        for (path, bits) in &lineage.binaries {
            let mut key = [0; BINARY_BYTES];
            let length = path.len().min(BINARY_BYTES - 1);
            key[..length].copy_from_slice(&path.as_bytes()[..length]);
            binaries.insert(key, bits, 0).map_err(failed("lineage_binaries"))?;
        }
        let namespaced = lineage.namespace_pids.iter().fold(0, |all, (_, bits)| all | bits);
        self.set_lineage_control(namespaced)?;
        self.iterate_processes(kernel)
    }

    fn set_lineage_control(&mut self, namespaced: u64) -> Result<(), ProbeError> {
        let failed = |source| ProbeError::Map { map: "lineage_control", source };
        let mut control: Array<MapData, LineageControl> =
            open(&self.maps, "lineage_control")?.try_into().map_err(failed)?;
        control.set(0, LineageControl { enabled: 1, reserved: 0, namespaced }, 0).map_err(failed)
    }

    /// Enters the processes that run already: first what each is, then what each inherited.
    fn iterate_processes(&mut self, kernel: &Kernel) -> Result<(), ProbeError> {
        for program in ["each_process", "each_lineage"] {
            let target = super::function_type(kernel, "bpf_iter_task");
            let object = self.object("processes", kernel)?;
            let program = object.program(program, program_type::TRACING, attach_type::TRACE_ITER, target)?;
            let program = self.programs.watch(program, Place::own("bpf_iter_task", "iter"));
            let io = |source| ProbeError::Io { what: "iterate over the processes", source };
            let link = sys::link_tracing(program.as_fd(), attach_type::TRACE_ITER, 0).map_err(io)?;
            let iterator: OwnedFd = sys::iterate(link.as_fd()).map_err(io)?;
            let mut nothing = Vec::new();
            std::fs::File::from(iterator).read_to_end(&mut nothing).map_err(io)?;
        }
        Ok(())
    }
}

/// The type of a tracepoint's handler in the kernel's BTF.
pub(super) fn tracepoint_type(kernel: &Kernel, name: &str) -> u32 {
    let name = format!("btf_trace_{name}");
    kernel.types.targets.id_by_type_name_kind(&name, aya_obj::btf::BtfKind::Typedef).unwrap_or(0)
}
