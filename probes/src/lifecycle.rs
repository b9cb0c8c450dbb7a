//! Exec, exit and fork: loading the programs, attaching them, and what they say of themselves.

use std::{collections::HashMap, os::fd::AsFd as _, sync::Arc};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, Map, PerCpuArray, ProgramArray, RingBuf},
    programs::{BtfTracePoint, Program, ProgramError, ProgramFd, RawTracePoint},
};
use tracing::debug;

use crate::{
    ProbeError,
    btf::reduced::Reduced,
    cgroups::Cgroups,
    modules::Modules,
    object::{Maps, typed as typed_map},
    objects,
    programs::{Cost, Footprint, Part, Place, Programs},
    record::RecordType,
    ring::Ring,
};

mod lost;

pub use lost::{Lost, LostReason};

/// A hook, what its programs are called, and what they tell of.
type Hook = (&'static str, &'static str, &'static str, RecordType);

/// Those that are always there.
const HOOKS: [Hook; 3] = [
    // Forks first: whatever starts from here on has its fork's record before its exec's.
    ("sched_process_fork", "fork_btf", "fork_raw", RecordType::Fork),
    ("sched_process_exec", EXEC, "exec_raw", RecordType::Exec),
    ("sched_process_exit", "exit_btf", "exit_raw", RecordType::Exit),
];

/// Those that are there where cgroups are told of.
const CGROUP_HOOKS: [Hook; 2] = [
    ("cgroup_mkdir", "cgroup_made_btf", "cgroup_made_raw", RecordType::CgroupMade),
    ("cgroup_rmdir", "cgroup_gone_btf", "cgroup_gone_raw", RecordType::CgroupGone),
];

/// Cgroups that can have a placement. Without a table of pods only the host has one.
const PLACEMENTS: u32 = 65_536;
const PLACEMENTS_OF_HOST: u32 = 64;

/// How to load the lifecycle programs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the ring buffer in bytes; the kernel takes powers of two of at least a page.
    pub ring_bytes: u32,
    /// Bytes of arguments that an exec's record carries, 16 384 at most.
    pub args_bytes: u32,
    /// Look for TRACEPARENT in the environment of each exec.
    pub join_env: bool,
    /// Variables of the environment that an exec's record carries, [`MAX_VARIABLES`] at most, with names of up to
    /// [`MAX_NAME_BYTES`] bytes with `=` and NUL; what is beyond is left out.
    pub variables: Vec<String>,
    /// Tell of cgroups, and keep placements for them.
    pub cgroups: bool,
    /// Which programs to use.
    pub mechanism: Mechanism,
}

/// Variables of the environment that a record carries at most: `WANTED_NAMES` of bpf/arguments.h.
pub const MAX_VARIABLES: usize = 32;

/// Bytes of such a variable's name, with `=` and NUL: `WANTED_NAME_BYTES` of bpf/arguments.h.
pub const MAX_NAME_BYTES: usize = 64;

/// Bytes of such variables in all, each with its NUL: `KEPT_BYTES` of bpf/arguments.h.
pub const MAX_ENVIRONMENT_BYTES: usize = 4096;

/// Ways to attach to a tracepoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// The best that the kernel loads.
    #[default]
    Best,
    /// Tracepoints with BTF types only.
    BtfTracepoint,
    /// Raw tracepoints only.
    RawTracepoint,
}

/// The attached programs. They are detached when this is dropped.
pub struct Lifecycle {
    // Keeps programs and links alive.
    _ebpf: Ebpf,
    // Tells what its maps take as long as it is there.
    _maps: Maps,
    shared: Shared,
    attached: Vec<Attached>,
    lost: Arc<Lost>,
}

/// What hooks share with the lifecycle.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The maps that all records go through.
    pub(crate) maps: Maps,
    lifecycle: Programs,
    /// The programs of hooks.
    pub(crate) hooks: Programs,
    /// What maps take.
    pub(crate) footprint: Footprint,
    /// A program can decide about an exec before its record is written.
    pub(crate) filters_execs: bool,
}

/// A hook that has a program.
#[derive(Debug)]
pub struct Attached {
    /// Name of the kernel's tracepoint.
    pub hook: &'static str,
    /// How: `tp_btf` or `raw_tp`.
    pub mechanism: &'static str,
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Loads and attaches the programs; records come from the ring from then on.
    ///
    /// # Errors
    /// Fails where the kernel has no BTF, or refuses a program of every mechanism that `options` allows.
    pub fn attach(options: &Options, kernel: &Kernel) -> Result<(Self, Ring), ProbeError> {
        let wanted = Wanted::new(&options.variables);
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&kernel.types.layouts))
            .map_max_entries("records", options.ring_bytes)
            .map_max_entries("placements", if options.cgroups { PLACEMENTS } else { PLACEMENTS_OF_HOST })
            .override_global("args_bytes", &options.args_bytes, true)
            .override_global("join_env", &u8::from(options.join_env), true)
            .override_global("wanted_names", &wanted.count, true)
            .override_global("wanted_name", &wanted.names, true)
            .override_global("wanted_length", &wanted.lengths, true)
            .load(objects::bytes("lifecycle")?)
            .map_err(|source| object_error("lifecycle", source))?;
        let all = share(&ebpf)?;
        let maps = of_all(&all, SHARED)?;
        let footprint = Footprint::default();
        footprint.add(Part::RingBuffer, &of_all(&all, ["records"])?);
        footprint.add(Part::Placements, &of_all(&all, ["placements"])?);
        footprint.add(Part::Lifecycle, &all);
        let written = kernel.cgroups.write(&mut typed_map(&maps, "cgroup_control")?);
        written.map_err(|source| ProbeError::Map { map: "cgroup_control", source })?;
        let records = ebpf.take_map("records").ok_or(ProbeError::Missing("records"))?;
        let records =
            RingBuf::try_from(records).map_err(|source| ProbeError::Map { map: "records", source })?;
        let control = ebpf.take_map("control").ok_or(ProbeError::Missing("control"))?;
        let control =
            Array::try_from(control).map_err(|source| ProbeError::Map { map: "control", source })?;
        let ring_full = ebpf.take_map("lost").ok_or(ProbeError::Missing("lost"))?;
        let ring_full =
            PerCpuArray::try_from(ring_full).map_err(|source| ProbeError::Map { map: "lost", source })?;
        let ring = Ring::new(records, control)?;

        let mut filters_execs = false;
        let mut attached = Vec::new();
        let mut programs = Vec::new();
        let lifecycle = Programs::default();
        let of_cgroups = CGROUP_HOOKS.iter().filter(|_| options.cgroups);
        for (hook, btf_program, raw_program, kind) in HOOKS.iter().chain(of_cgroups).copied() {
            let (mechanism, program) =
                attach_hook(&mut ebpf, hook, btf_program, raw_program, options.mechanism, kernel)?;
            filters_execs |= kind == RecordType::Exec && mechanism == "tp_btf";
            attached.push(Attached { hook, mechanism });
            let program = program.as_fd().try_clone_to_owned();
            let program = program.map_err(|source| ProbeError::Io { what: "keep a program", source })?;
            programs.push((kind, lifecycle.watch(program, Place::own(hook, mechanism))));
        }
        let hooks = Programs::default();
        let lost = Arc::new(Lost { ring_full, programs, hooks: hooks.clone() });
        let shared = Shared { maps, lifecycle, hooks, footprint, filters_execs };
        Ok((Self { _ebpf: ebpf, _maps: all, shared, attached, lost }, ring))
    }

    /// Which hooks have programs, and how.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// What hooks share with it.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// The kernel's own counts of what it lost.
    pub fn lost(&self) -> Arc<Lost> {
        Arc::clone(&self.lost)
    }
}

// === impl Shared ===

impl Shared {
    /// What the lifecycle's programs and those of hooks cost so far, by where they run. It makes a system call for each.
    pub fn costs(&self) -> HashMap<Place, Cost> {
        let mut all = HashMap::new();
        for (place, cost) in [&self.lifecycle, &self.hooks].into_iter().flat_map(Programs::costs) {
            *all.entry(place).or_default() += cost;
        }
        all
    }

    /// Bytes of kernel memory that each part takes now, as the kernel accounts for it. It reads a file for each program
    /// and map.
    pub fn memory(&self) -> [(Part, u64); Part::ALL.len()] {
        Part::ALL.map(|part| {
            let programs = match part {
                Part::Lifecycle => self.lifecycle.bytes(),
                Part::Hooks => self.hooks.bytes(),
                Part::RingBuffer | Part::Placements => 0,
            };
            (part, programs + self.footprint.bytes(part))
        })
    }
}

/// The wanted variables as the programs take them.
#[derive(Debug)]
struct Wanted {
    count: u32,
    names: [[u8; MAX_NAME_BYTES]; MAX_VARIABLES],
    lengths: [u32; MAX_VARIABLES],
}

// === impl Wanted ===

impl Wanted {
    fn new(variables: &[String]) -> Self {
        let mut wanted =
            Self { count: 0, names: [[0; MAX_NAME_BYTES]; MAX_VARIABLES], lengths: [0; MAX_VARIABLES] };
        let fit = variables.iter().filter(|name| name.len() + 2 <= MAX_NAME_BYTES);
        for ((name, text), length) in fit.zip(&mut wanted.names).zip(&mut wanted.lengths) {
            text[..name.len()].copy_from_slice(name.as_bytes());
            text[name.len()] = b'=';
            *length = name.len() as u32 + 1;
            wanted.count += 1;
        }
        wanted
    }
}

/// Maps that hooks use, too.
const SHARED: [&str; 7] =
    ["records", "control", "lost", "cgroup_control", "placements", "exec_programs", "exec_decisions"];

/// Further handles on all maps, by name.
fn share(ebpf: &Ebpf) -> Result<Maps, ProbeError> {
    let mut maps = Maps::new();
    for (name, map) in ebpf.maps() {
        let (Map::RingBuf(data)
        | Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::ProgramArray(data)
        | Map::HashMap(data)) = map
        else {
            debug!(map = name, "what it takes is not counted");
            continue;
        };
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|source| ProbeError::Io { what: "keep a map", source })?;
        maps.insert(name.to_owned(), Arc::new(fd));
    }
    Ok(maps)
}

fn of_all<const N: usize>(all: &Maps, names: [&'static str; N]) -> Result<Maps, ProbeError> {
    let one = |name: &'static str| {
        let map = all.get(name).ok_or(ProbeError::Missing(name))?;
        Ok((name.to_owned(), Arc::clone(map)))
    };
    names.into_iter().map(one).collect()
}

fn attach_hook(
    ebpf: &mut Ebpf,
    hook: &'static str,
    btf_program: &'static str,
    raw_program: &'static str,
    mechanism: Mechanism,
    kernel: &Kernel,
) -> Result<(&'static str, ProgramFd), ProbeError> {
    let mut tried = Vec::new();
    if mechanism != Mechanism::RawTracepoint {
        match attach_btf(ebpf, btf_program, hook, kernel) {
            Ok(program) => return Ok(("tp_btf", program)),
            Err(error) => tried.push((btf_program, error)),
        }
    }
    if mechanism != Mechanism::BtfTracepoint {
        match attach_raw(ebpf, raw_program, hook) {
            Ok(program) => return Ok(("raw_tp", program)),
            Err(error) => tried.push((raw_program, error)),
        }
    }
    if let Some((_, ProgramError::LoadError { io_error, .. })) = tried.first()
        && io_error.kind() == std::io::ErrorKind::PermissionDenied
    {
        return Err(ProbeError::NotPermitted(std::io::Error::from(io_error.kind())));
    }
    let tried: Vec<_> = tried.iter().map(|(program, error)| format!("{program}: {error}")).collect();
    Err(ProbeError::Attach { hook, tried: tried.join("; ") })
}

fn attach_btf(
    ebpf: &mut Ebpf,
    name: &'static str,
    hook: &'static str,
    kernel: &Kernel,
) -> Result<ProgramFd, ProgramError> {
    if name == EXEC {
        place_exec_writer(ebpf, hook, kernel)?;
    }
    let program: &mut BtfTracePoint = typed(ebpf, name)?;
    program.load(hook, &kernel.types.targets)?;
    program.attach()?;
    debug!(hook, mechanism = "tp_btf", "attached");
    program.fd()?.try_clone().map_err(Into::into)
}

/// The program at an exec, and the one to which it leaves the record (bpf/exec.h).
const EXEC: &str = "exec_btf";
const EXEC_WRITER: &str = "exec_write";
/// Where that one is among the programs that tail calls go to: `EXEC_WRITE`.
const EXEC_WRITE: u32 = 1;

fn place_exec_writer(ebpf: &mut Ebpf, hook: &'static str, kernel: &Kernel) -> Result<(), ProgramError> {
    let writer: &mut BtfTracePoint = typed(ebpf, EXEC_WRITER)?;
    writer.load(hook, &kernel.types.targets)?;
    let writer = writer.fd()?.try_clone()?;
    let programs = ebpf.map_mut("exec_programs").ok_or(ProgramError::UnexpectedProgramType)?;
    ProgramArray::try_from(programs)?.set(EXEC_WRITE, &writer, 0)?;
    Ok(())
}

fn attach_raw(ebpf: &mut Ebpf, name: &'static str, hook: &'static str) -> Result<ProgramFd, ProgramError> {
    let program: &mut RawTracePoint = typed(ebpf, name)?;
    program.load()?;
    program.attach(hook)?;
    debug!(hook, mechanism = "raw_tp", "attached");
    program.fd()?.try_clone().map_err(Into::into)
}

pub(crate) fn typed<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

pub(crate) fn object_error(object: &'static str, source: EbpfError) -> ProbeError {
    let mut cause: Option<&dyn std::error::Error> = Some(&source);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::PermissionDenied
        {
            return ProbeError::NotPermitted(std::io::Error::from(io.kind()));
        }
        cause = error.source();
    }
    ProbeError::Object { object, source }
}

/// What is known of the running kernel; read once, shared by all objects.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) types: Reduced,
    pub(crate) cgroups: Cgroups,
    pub(crate) modules: Modules,
}

// === impl Kernel ===

impl Kernel {
    /// Reads what the loaders need to know of the running kernel.
    ///
    /// # Errors
    /// Fails where the kernel is too old or has no BTF.
    pub fn read() -> Result<Self, ProbeError> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        if version(&release).is_some_and(|version| version < OLDEST) {
            let reason = "bpf_loop and the ring buffer";
            return Err(ProbeError::TooOld { release, needs: "5.17", reason });
        }
        Ok(Self { types: Reduced::of_kernel()?, cgroups: Cgroups::detect(), modules: Modules::default() })
    }

    /// In which hierarchy of cgroups containers are.
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }
}

/// bpf_loop came with 5.17; the ring buffer and BTF tracepoints are older.
const OLDEST: (u32, u32) = (5, 17);

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions() {
        assert_eq!(version("6.1.0-32-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("nonsense"), None);
    }
}
