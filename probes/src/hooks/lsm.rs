//! Hooks of the security modules: how they are called, and whether the kernel asks eBPF there.

use std::os::fd::AsFd as _;

use aya::maps::{Array, Map, MapData};
use aya_obj::generated::bpf_insn;

use super::{Target, function_type};
use crate::{
    ProbeError,
    kernel::programs::instruction,
    lifecycle::Kernel,
    sys::{self, ProgramSpec, attach_type, program_type},
    types::{Shape, Types},
};

/// A hook that is cheap and rare, and that this process can have called at any time.
const ASKED: &str = "task_getscheduler";

/// The function of the kernel to which programs on a hook are attached.
pub(crate) fn symbol(hook: &str) -> String {
    format!("bpf_lsm_{hook}")
}

/// The function that asks all security modules: the same hook for whoever is no security module.
fn function_of(hook: &str) -> String {
    match hook {
        "bprm_check_security" => "security_bprm_check".to_owned(),
        _ => {
            let short = hook.strip_suffix("_security").filter(|rest| rest.ends_with("_alloc"));
            format!("security_{}", short.unwrap_or(hook))
        }
    }
}

/// The hook that a function asks security modules at.
fn hook_of(function: &str) -> Option<String> {
    let rest = function.strip_prefix("security_")?;
    Some(if rest == "bprm_check" { "bprm_check_security".to_owned() } else { rest.to_owned() })
}

/// The function that sees what a hook sees.
///
/// # Errors
/// It is given other arguments than the hook, as far as this kernel tells.
pub(super) fn as_function(hook: &str) -> Result<Target, ProbeError> {
    let function = function_of(hook);
    agree(hook, &function).map(|()| Target::Function(function))
}

/// The hook that sees what a function sees.
///
/// # Errors
/// There is none, or it is given other arguments than the function.
pub(super) fn as_hook(function: &str) -> Result<Target, ProbeError> {
    let hook = hook_of(function).ok_or_else(|| ProbeError::NoLsmHook(function.to_owned()))?;
    agree(&hook, function).map(|()| Target::Lsm(hook))
}

/// How a hook is given the file that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileOf {
    /// Its first argument is the file.
    File,
    /// Its first argument is an exec's, which has the file.
    Binprm,
}

/// How a hook is given the file that it is about.
///
/// # Errors
/// It is given none, or the kernel doesn't tell.
pub(super) fn file_of(hook: &str) -> Result<FileOf, ProbeError> {
    let prototype = Types::read()?.of(&Target::Lsm(hook.to_owned()))?;
    match prototype.parameters.first().map(|first| &first.ctype.shape) {
        Some(Shape::Pointer(name)) if name == "file" => Ok(FileOf::File),
        Some(Shape::Pointer(name)) if name == "linux_binprm" => Ok(FileOf::Binprm),
        _ => Err(ProbeError::NoFile(hook.to_owned())),
    }
}

fn agree(hook: &str, function: &str) -> Result<(), ProbeError> {
    let types = Types::read()?;
    let of = |target: Target| types.of(&target).map(|prototype| prototype.parameters);
    let of_function = of(Target::Function(function.to_owned()))?;
    let of_hook = of(Target::Lsm(hook.to_owned()))?;
    let same = of_hook.len() == of_function.len()
        && of_hook.iter().zip(&of_function).all(|(one, other)| one.ctype == other.ctype);
    if same { Ok(()) } else { Err(ProbeError::NoLsmHook(function.to_owned())) }
}

/// Whether security modules that are eBPF programs are asked: a kernel that has them loads and attaches such a program
/// also where `lsm=` leaves them out, and never runs it. So a program is attached, and it is looked whether it was run.
///
/// # Errors
/// They are not asked, or the kernel refuses the program.
pub(crate) fn is_asked(kernel: &Kernel) -> Result<(), ProbeError> {
    /// `BPF_MAP_TYPE_ARRAY`
    const ARRAY: u32 = 2;
    let failed = |what| move |source| ProbeError::Io { what, source };
    let of_map = |source| ProbeError::Map { map: "asked", source };
    let function = symbol(ASKED);
    let target = function_type(kernel, &function);
    if target == 0 {
        return Err(ProbeError::NoFunction(function));
    }
    let map = sys::create_map(ARRAY, 4, 8, 1, 0).map_err(failed("make a map"))?;
    let map = MapData::from_fd(map).map_err(of_map)?;
    let code = notes_its_run(map.fd().as_fd());
    let spec = ProgramSpec {
        name: "trigon_asked",
        kind: program_type::LSM,
        attach: attach_type::LSM_MAC,
        target,
        module: None,
        instructions: &code,
        functions: (&[], 0),
        btf: None,
        sleeps: false,
    };
    let program = sys::load_program(&spec).map_err(|(source, log)| ProbeError::Refused {
        program: "trigon_asked",
        source,
        log,
    })?;
    let _link = sys::link_tracing(program.as_fd(), attach_type::LSM_MAC, 0).map_err(failed("attach"))?;
    sys::ask_scheduler();
    let map = Map::from_map_data(map).map_err(of_map)?;
    let runs: Array<MapData, u64> = map.try_into().map_err(of_map)?;
    match runs.get(&0, 0).map_err(of_map)? {
        0 => Err(ProbeError::LsmNotAsked),
        _ => Ok(()),
    }
}

/// A program that writes into the map that it was run, and allows what it is asked about.
fn notes_its_run(map: std::os::fd::BorrowedFd<'_>) -> Vec<bpf_insn> {
    use std::os::fd::AsRawFd as _;
    vec![
        // r1 = the map's value (`BPF_LD | BPF_IMM | BPF_DW` with `BPF_PSEUDO_MAP_VALUE`), in two instructions
        instruction(0x18, 0x21, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0),
        // *(u64 *)r1 = 1
        instruction(0x7a, 0x01, 0, 1),
        // return 0
        instruction(0xb7, 0, 0, 0),
        instruction(0x95, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_and_functions_have_names_of_their_own() {
        for (hook, function) in [
            ("file_open", "security_file_open"),
            ("bprm_check_security", "security_bprm_check"),
            ("bpf_map_alloc_security", "security_bpf_map_alloc"),
            ("inode_unlink", "security_inode_unlink"),
        ] {
            assert_eq!(function_of(hook), function);
        }
        assert_eq!(hook_of("security_bprm_check").as_deref(), Some("bprm_check_security"));
        assert_eq!(hook_of("security_file_open").as_deref(), Some("file_open"));
        assert_eq!(hook_of("vfs_open"), None);
    }
}
