//! What the running kernel offers, found by trying: each type of program is loaded and attached, each map made, each
//! helper called, and then what Trigon itself loads. Nothing is inferred from a version or a configuration.
//!
//! What is attached does nothing, and is detached at once.

use std::io;

use crate::{ProbeError, btf::reduced::Reduced, cgroups::Cgroups, lifecycle::Kernel, modules::Modules};
pub use serving::{Ladder, Serving, Step, Wanted};

mod helpers;
mod maps;
pub(crate) mod programs;
mod serving;

/// What the kernel offers.
#[derive(Debug)]
pub struct Examination {
    /// The kernel's release, to be shown.
    pub release: String,
    /// The machine's architecture.
    pub machine: String,
    /// bpf(2) itself.
    pub access: Trial,
    /// The kernel's type information.
    pub btf: Trial,
    /// Types of programs.
    pub programs: Vec<Trial>,
    /// Types of maps.
    pub maps: Vec<Trial>,
    /// Functions of the kernel that programs call.
    pub helpers: Vec<Trial>,
    /// What Trigon's own programs come to.
    pub serving: Serving,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its usual name: `fentry`, `bpf_loop`.
    pub name: &'static str,
    /// Whether Trigon needs it.
    pub need: Need,
    /// How it went.
    pub outcome: Outcome,
    /// What its lack costs.
    pub cost: &'static str,
    /// What gives a kernel that has it not.
    pub mend: &'static str,
}

/// How much depends on something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// There is no agent without it.
    Required,
    /// There is something that does its work less well, or a part of the policies' language that goes without it.
    Useful,
    /// This version of Trigon doesn't use it.
    Unused,
}

/// How a trial went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel did it.
    Works,
    /// The kernel doesn't have it, or refuses it whoever asks; what it said.
    Missing(String),
    /// It takes privileges that this process doesn't have; what the kernel said.
    NotPermitted(String),
    /// It could not be tried; why not.
    Untried(String),
}

/// What is the same for all trials.
struct Bench {
    kernel: Result<Kernel, String>,
    /// The kernel lets this process load programs: what it refuses all the same, it refuses whoever asks.
    permitted: bool,
}

/// Why a trial failed.
#[derive(Debug)]
enum Failure {
    /// The kernel refused: its error, and what the verifier said.
    Refused(io::Error, String),
    /// It could not be tried; why not.
    Untried(String),
}

/// Examines the kernel. Takes a second, for Trigon's own programs are long.
pub fn examine() -> Examination {
    let name = rustix::system::uname();
    let access = programs::access();
    let types = Reduced::of_kernel();
    let types_outcome = match &types {
        Ok(_) => Outcome::Works,
        Err(error) => unread(error),
    };
    let bench = Bench {
        kernel: types
            .map(|types| Kernel { types, cgroups: Cgroups::detect(), modules: Modules::default() })
            .map_err(|_| "the kernel's type information is missing".to_owned()),
        permitted: access.is_ok(),
    };
    Examination {
        release: name.release().to_string_lossy().into_owned(),
        machine: name.machine().to_string_lossy().into_owned(),
        access: Trial {
            name: "bpf(2)",
            need: Need::Required,
            outcome: bench.outcome(access),
            cost: "nothing can be loaded",
            mend: "a kernel with CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS",
        },
        btf: Trial {
            name: "BTF",
            need: Need::Required,
            outcome: types_outcome,
            cost: "programs can't be fitted to this kernel",
            mend: "a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions' are since 2021; /sys mounted",
        },
        programs: programs::examine(&bench),
        maps: maps::examine(&bench),
        helpers: helpers::examine(&bench),
        serving: serving::examine(&bench),
    }
}

/// What would serve hooks on this kernel: for each, mechanisms are tried from the best on until one works. What is
/// attached does nothing, and is detached at once.
///
/// # Errors
/// Nothing could be tried; why not.
pub fn serve(wanted: &[Wanted]) -> Result<Vec<Ladder>, Outcome> {
    let access = programs::access();
    let permitted = access.is_ok();
    let bench = Bench { kernel: Kernel::read().map_err(|error| error.to_string()), permitted };
    if !permitted {
        return Err(bench.outcome(access));
    }
    serving::serve(&bench, wanted)
}

/// Why type information can't be had.
fn unread(error: &ProbeError) -> Outcome {
    match error {
        ProbeError::NoBtf(aya::BtfError::FileError { error, .. })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            Outcome::NotPermitted(error.to_string())
        }
        ProbeError::NoBtf(error) => Outcome::Missing(error.to_string()),
        error => Outcome::Missing(error.to_string()),
    }
}

// === impl Bench ===

impl Bench {
    fn kernel(&self) -> Result<&Kernel, Failure> {
        self.kernel.as_ref().map_err(|reason| Failure::Untried(reason.clone()))
    }

    fn outcome(&self, result: Result<(), Failure>) -> Outcome {
        match result {
            Ok(()) => Outcome::Works,
            Err(Failure::Untried(why)) => Outcome::Untried(why),
            Err(Failure::Refused(error, log)) => self.refused(&error, &log),
        }
    }

    /// An error without a word of the verifier's is about rights, unless others like it were granted.
    fn refused(&self, error: &io::Error, log: &str) -> Outcome {
        match error.raw_os_error() {
            Some(libc::EPERM) if self.permitted => {
                Outcome::Missing("this kernel refuses it whoever asks (EPERM)".to_owned())
            }
            Some(libc::EPERM | libc::EACCES) if log.is_empty() => Outcome::NotPermitted(error.to_string()),
            Some(libc::EOPNOTSUPP) if log.is_empty() => {
                Outcome::Missing("this kernel has no such thing".to_owned())
            }
            _ if log.is_empty() => Outcome::Missing(error.to_string()),
            _ => Outcome::Missing(format!("{error}: {log}")),
        }
    }

    /// The outcome of what Trigon itself does.
    fn own(&self, error: &ProbeError) -> Outcome {
        match error {
            ProbeError::NotPermitted(error) => Outcome::NotPermitted(error.to_string()),
            ProbeError::Refused { source, log, .. } => self.refused(source, log),
            ProbeError::Hook { tried, .. } | ProbeError::Denial { tried, .. } => {
                Outcome::Missing(tried.clone())
            }
            ProbeError::Io { source, .. } if !self.permitted => self.refused(source, ""),
            error if !self.permitted => Outcome::NotPermitted(error.to_string()),
            error => Outcome::Missing(error.to_string()),
        }
    }
}

// === impl Failure ===

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Refused(error, String::new())
    }
}

// === impl Outcome ===

impl Outcome {
    /// One word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Works => "ok",
            Self::Missing(_) => "missing",
            Self::NotPermitted(_) => "not_permitted",
            Self::Untried(_) => "untried",
        }
    }

    /// Why it isn't there; empty where it is.
    pub fn reason(&self) -> &str {
        match self {
            Self::Works => "",
            Self::Missing(reason) | Self::NotPermitted(reason) | Self::Untried(reason) => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(permitted: bool) -> Bench {
        Bench { kernel: Err("no BTF".to_owned()), permitted }
    }

    fn refusal(permitted: bool, number: i32, log: &str) -> &'static str {
        let error = io::Error::from_raw_os_error(number);
        bench(permitted).outcome(Err(Failure::Refused(error, log.to_owned()))).as_str()
    }

    #[test]
    fn a_refusal_is_a_matter_of_rights_unless_others_like_it_are_granted() {
        assert_eq!(refusal(false, libc::EPERM, ""), "not_permitted");
        assert_eq!(refusal(true, libc::EPERM, ""), "missing");
        assert_eq!(refusal(true, libc::EACCES, ""), "not_permitted");
        assert_eq!(refusal(true, libc::EACCES, "invalid access to packet"), "missing");
        assert_eq!(refusal(true, libc::EINVAL, ""), "missing");
        assert_eq!(refusal(false, libc::EOPNOTSUPP, ""), "missing");
    }

    #[test]
    fn what_needs_types_is_not_tried_without() {
        let failure = bench(true).kernel().err().map(Err).unwrap_or(Ok(()));
        assert_eq!(bench(true).outcome(failure), Outcome::Untried("no BTF".to_owned()));
    }
}
