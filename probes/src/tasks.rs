//! The processes that were there before the agent, as the kernel's task iterator tells them.

use std::io::Read as _;

use aya::{EbpfLoader, maps::Array, programs::Iter};

use crate::{
    ProbeError,
    lifecycle::{Kernel, object_error, typed},
    objects,
};

/// The records of all processes, end to end; [`crate::record::decode_first`] takes them apart.
///
/// # Errors
/// Fails where the kernel has no task iterator or refuses the program.
pub fn read(kernel: &Kernel) -> Result<Vec<u8>, ProbeError> {
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&kernel.types.layouts))
        .load(objects::bytes("tasks")?)
        .map_err(|source| object_error("tasks", source))?;
    let control = ebpf.map_mut("cgroup_control").ok_or(ProbeError::Missing("cgroup_control"))?;
    let written = Array::try_from(control).and_then(|mut control| kernel.cgroups.write(&mut control));
    written.map_err(|source| ProbeError::Map { map: "cgroup_control", source })?;
    let failed = |source| ProbeError::Program { program: "each_task", source };
    let program: &mut Iter = typed(&mut ebpf, "each_task").map_err(failed)?;
    program.load("task", &kernel.types.targets).map_err(failed)?;
    let link = program.attach().map_err(failed)?;
    let link = program.take_link(link).map_err(failed)?;
    let mut records = Vec::new();
    let mut file = link.into_file().map_err(|error| ProbeError::Io {
        what: "open the task iterator",
        source: std::io::Error::other(error),
    })?;
    file.read_to_end(&mut records)
        .map_err(|source| ProbeError::Io { what: "read the task iterator", source })?;
    Ok(records)
}
