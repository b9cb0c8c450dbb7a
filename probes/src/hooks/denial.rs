//! Hooks that decide what their function returns.

use std::{
    ffi::CString,
    ops::BitOr,
    os::fd::{AsFd as _, OwnedFd},
};

use super::{
    Hooks, Mechanism, Target,
    attach::{Attachment, attaching, event_type, first_of, symbols_of},
    function_type,
    lsm::{self, FileOf},
};
use crate::{
    ProbeError,
    lifecycle::Kernel,
    programs::Place,
    sys::{self, attach_type, program_type},
};

/// What a hook's programs have to be able to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// See what the function returns.
    pub returns: bool,
    /// Decide what it returns.
    pub denies: bool,
    /// Decide it so: `override-method`.
    pub method: Option<Mechanism>,
    /// Tell the hash of the file that the hook is about.
    pub hashes: bool,
    /// Change the process at a place in its program.
    pub changes: Changes,
}

/// What of a process a hook changes: more than a kernel lets every program do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Its memory.
    pub memory: bool,
    /// Its registers. To decide what a function returns takes these, too.
    pub registers: bool,
}

// === impl Hooks ===

impl Hooks {
    /// Attaches by a mechanism that can deny; where returns are of interest, what sees them too.
    pub(super) fn attach_denial(
        &mut self,
        kernel: &Kernel,
        target: &Target,
        needs: Needs,
        cookie: u64,
        place: &Place,
        mechanism: Mechanism,
    ) -> Result<Attachment, ProbeError> {
        let returns = needs.returns;
        match (mechanism, target) {
            (Mechanism::Lsm, Target::Lsm(hook)) => {
                self.need_lsm(kernel)?;
                let symbol = lsm::symbol(hook);
                let entry = ("lsm_entry", program_type::LSM, attach_type::LSM_MAC);
                let mut attachment = Attachment::default();
                if returns {
                    let Target::Function(function) = lsm::as_function(hook)? else {
                        return Err(ProbeError::NoLsmHook(hook.clone()));
                    };
                    self.link_return(kernel, &function, cookie, place, &mut attachment)?;
                }
                self.link_denial(kernel, &symbol, entry, cookie, place, &mut attachment)?;
                if needs.hashes {
                    // The last one attached is the first one run: what makes the hash, then what asks for it.
                    let name = match lsm::file_of(hook)? {
                        FileOf::File => "lsm_hash_file",
                        FileOf::Binprm => "lsm_hash_bprm",
                    };
                    let hash = (name, program_type::LSM, attach_type::LSM_MAC);
                    self.link_denial(kernel, &symbol, hash, cookie, place, &mut attachment)?;
                    let want = ("lsm_want_hash", program_type::LSM, attach_type::LSM_MAC);
                    self.link_denial(kernel, &symbol, want, cookie, place, &mut attachment)?;
                }
                Ok(attachment)
            }
            (Mechanism::FmodRet, _) => first_of(&symbols_of(target), |symbol| {
                let entry = ("modify_return", program_type::TRACING, attach_type::MODIFY_RETURN);
                let mut attachment = Attachment::default();
                if returns {
                    self.link_return(kernel, symbol, cookie, place, &mut attachment)?;
                }
                self.link_denial(kernel, symbol, entry, cookie, place, &mut attachment)?;
                Ok(attachment)
            }),
            _ => first_of(&symbols_of(target), |symbol| {
                self.attach_override(kernel, symbol, returns, cookie, place)
            }),
        }
    }

    /// Whether security modules that are eBPF programs are asked here: found out once.
    fn need_lsm(&mut self, kernel: &Kernel) -> Result<(), ProbeError> {
        if !self.lsm_is_asked {
            lsm::is_asked(kernel)?;
            self.lsm_is_asked = true;
        }
        Ok(())
    }

    fn link_denial(
        &mut self,
        kernel: &Kernel,
        symbol: &str,
        (name, kind, attach): (&'static str, u32, u32),
        cookie: u64,
        place: &Place,
        attachment: &mut Attachment,
    ) -> Result<(), ProbeError> {
        let target = function_type(kernel, symbol);
        if target == 0 {
            return Err(ProbeError::NoFunction(symbol.to_owned()));
        }
        let programs = self.programs.clone();
        let object = self.object("denials", kernel)?;
        let program = match name.starts_with("lsm_hash_") {
            true => object.sleeping_program(name, kind, attach, target)?,
            false => object.program(name, kind, attach, target)?,
        };
        let link = sys::link_tracing(program.as_fd(), attach, cookie).map_err(attaching)?;
        attachment.programs.push(programs.watch(program, place.clone()));
        attachment.links.push(link);
        Ok(())
    }

    fn link_return(
        &mut self,
        kernel: &Kernel,
        symbol: &str,
        cookie: u64,
        place: &Place,
        attachment: &mut Attachment,
    ) -> Result<(), ProbeError> {
        let target = function_type(kernel, symbol);
        if target == 0 {
            return Err(ProbeError::NoFunction(symbol.to_owned()));
        }
        let programs = self.programs.clone();
        let object = self.object("trampolines", kernel)?;
        let attach = attach_type::TRACE_FEXIT;
        let program = object.program("trampoline_return", program_type::TRACING, attach, target)?;
        let link = sys::link_tracing(program.as_fd(), attach, cookie).map_err(attaching)?;
        attachment.programs.push(programs.watch(program, place.clone()));
        attachment.links.push(link);
        Ok(())
    }

    /// By kprobes. A kernel has the helper with `CONFIG_BPF_KPROBE_OVERRIDE`, and allows it on the functions that it
    /// lists for error injection.
    fn attach_override(
        &mut self,
        kernel: &Kernel,
        symbol: &str,
        returns: bool,
        cookie: u64,
        place: &Place,
    ) -> Result<Attachment, ProbeError> {
        let c_symbol = CString::new(symbol).map_err(|_| ProbeError::NoFunction(symbol.to_owned()))?;
        let programs = self.programs.clone();
        let object = self.object("kprobes", kernel)?;
        let mut attachment = Attachment::default();
        let kind = event_type("kprobe").map_err(attaching)?;
        for (name, returning) in
            [("kprobe_return", true), ("kprobe_override", false)].into_iter().skip(usize::from(!returns))
        {
            let program: OwnedFd = object.program(name, program_type::KPROBE, attach_type::NONE, 0)?;
            let event =
                sys::open_perf_event(kind, u64::from(returning), Some(&c_symbol), 0).map_err(attaching)?;
            attachment.link_event(program.as_fd(), event, cookie)?;
            attachment.programs.push(programs.watch(program, place.clone()));
        }
        Ok(attachment)
    }
}

// === impl Needs ===

impl Needs {
    /// What it takes to see, with returns or without.
    pub fn seeing(returns: bool) -> Self {
        Self { returns, ..Self::default() }
    }
}

// === impl Changes ===

impl Changes {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self.memory || self.registers
    }

    /// Whether who can make these can make the others.
    pub(super) fn cover(self, other: Self) -> bool {
        (self.memory || !other.memory) && (self.registers || !other.registers)
    }

    /// The program of bpf/uprobes.bpf.c that makes them, and no other.
    pub(super) fn program(self) -> &'static str {
        match (self.memory, self.registers) {
            (false, false) => "uprobe_entry",
            (true, false) => "uprobe_memory",
            (false, true) => "uprobe_registers",
            (true, true) => "uprobe_both",
        }
    }

    /// What they are, to be read.
    pub(super) fn as_str(self) -> &'static str {
        match (self.memory, self.registers) {
            (_, false) => "memory",
            (false, true) => "registers",
            (true, true) => "memory and registers",
        }
    }
}

impl BitOr for Changes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self { memory: self.memory || other.memory, registers: self.registers || other.registers }
    }
}
