//! Places in programs and libraries: uprobes, which the kernel puts on a file, whoever runs it and by whatever name.

use std::{ffi::CString, fmt, os::fd::AsFd as _, os::fd::AsRawFd as _, path::Path, sync::Arc};

use aya::Pod;

use super::{Attachment, attaching, event_type};
use crate::{
    ProbeError,
    elf::{Elf, FileId},
    hooks::{FIELDS, FieldUse, HookId, Hooks, Mechanism, Needs, Target},
    lifecycle::Kernel,
    operand::{Machine, Operand},
    programs::Place,
    sys::{self, attach_type, program_type},
};

/// A place in the code of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserPlace {
    /// Path of the file, in the agent's mount namespace.
    pub path: Arc<str>,
    /// The file that was there when the place was looked up: the hook is on it, and on no other of that path.
    pub file: FileId,
    /// What is there.
    pub code: UserCode,
    /// Where in the file.
    pub offset: u64,
    /// Where in the file the counter is of those who look at the place; 0 for none.
    pub counter: u64,
    /// What is to be seen there, by number; none for what can't be read.
    pub arguments: Arc<[Option<Operand>]>,
}

/// What is at a place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UserCode {
    /// A function.
    Function(Arc<str>),
    /// Nothing that has a name, or none that was asked for.
    Offset,
    /// A USDT probe.
    Usdt {
        /// Whose.
        provider: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

/// `struct user_arguments` of bpf/uprobes.bpf.c.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(in crate::hooks) struct Operands([Operand; FIELDS]);

#[expect(unsafe_code, reason = "what aya asks of values")]
mod pod {
    use super::{Operands, Pod};

    // SAFETY: integers without padding: every bit pattern is a value.
    unsafe impl Pod for Operands {}
}

// === impl UserPlace ===

impl UserPlace {
    /// What a table looks at.
    ///
    /// # Errors
    /// There is no such argument, or it can't be read; or the table looks at too many.
    pub(in crate::hooks) fn operands(&self, uses: &[FieldUse]) -> Result<Operands, ProbeError> {
        let mut all = Operands::default();
        if uses.len() > FIELDS {
            return Err(ProbeError::Full(
                "arguments of a place in a program: its policies look at 8 at most",
            ));
        }
        for (place, one) in all.0.iter_mut().zip(uses) {
            let known = self.arguments.get(usize::from(one.number)).copied().flatten();
            *place = known.ok_or_else(|| ProbeError::NoField(self.to_string(), one.number))?;
        }
        Ok(all)
    }
}

impl fmt::Display for UserPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, .. } = self;
        match &self.code {
            UserCode::Function(name) => write!(f, "{path}:{name}"),
            UserCode::Offset => write!(f, "{path}:{offset:#x}"),
            UserCode::Usdt { provider, name } => write!(f, "{path}:{provider}:{name}"),
        }
    }
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn attach_program(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
        needs: Needs,
        mechanism: Mechanism,
        place: &Place,
    ) -> Result<Attachment, ProbeError> {
        let Target::User(at) = target else { return Err(ProbeError::NoFunction(target.to_string())) };
        let elf = Elf::open(Path::new(&*at.path))?;
        if elf.id() != at.file {
            return Err(ProbeError::Replaced(at.path.to_string()));
        }
        // The file that was looked at, whatever becomes of its path.
        let file = CString::new(format!("/proc/self/fd/{}", elf.file().as_raw_fd())).unwrap_or_default();
        // What the upper half of a cookie is: where at its return a function has its result, and how far from its start a
        // `ret` is.
        let result = u32::from(Machine::HERE.returned());
        let way = match needs.denies {
            true => elf.way_to_return(at.offset)?.ok_or_else(|| ProbeError::NoReturn(target.to_string()))?,
            false => 0,
        };
        let multi = mechanism == Mechanism::UprobeMulti;
        let attach = if multi { attach_type::TRACE_UPROBE_MULTI } else { attach_type::NONE };
        let programs = self.programs.clone();
        let object = self.object("uprobes", kernel)?;
        let mut attachment = Attachment::default();
        // The return's first: a call that is entered from here on is seen to its end.
        let programs_of_it =
            [("uprobe_return", true, result), (needs.changes.program(), false, way.cast_unsigned())];
        for (name, returning, upper) in programs_of_it.into_iter().skip(usize::from(!needs.returns)) {
            let cookie = u64::from(id.0) | u64::from(upper) << 32;
            let program = object.program(name, program_type::KPROBE, attach, 0)?;
            if multi {
                let link =
                    sys::link_uprobe_multi(program.as_fd(), &file, at.offset, at.counter, returning, cookie);
                attachment.links.push(link.map_err(attaching)?);
            } else {
                let kind = event_type("uprobe").map_err(attaching)?;
                // Of the configuration the lowest bit asks for the return, the upper half is the counter's place
                // (/sys/bus/event_source/devices/uprobe/format).
                let counter = u32::try_from(at.counter)
                    .map_err(|_| ProbeError::Full("counters of a probe that lie beyond 4 GiB of its file"))?;
                let config = u64::from(returning) | u64::from(counter) << 32;
                let event = sys::open_perf_event(kind, config, Some(&file), at.offset).map_err(attaching)?;
                attachment.link_event(program.as_fd(), event, cookie)?;
            }
            attachment.programs.push(programs.watch(program, place.clone()));
        }
        Ok(attachment)
    }
}
