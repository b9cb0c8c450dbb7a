//! From policies to what the kernel understands: one table for each hook, made of all selectors that name it.
//!
//! `bpf/hook/plan.h` explains tables. A selector is a bit. Each of its filters becomes a condition on a dimension, and
//! a dimension is compiled by asking, for each class of values that its conditions tell apart, which selectors it
//! satisfies.

use std::sync::Arc;

use trigon_exporters::event::Namespaces;
use trigon_probes::hooks::{TablePlan, plan::value_type};

use super::{
    model::{
        OverrideMethod,
        actions::{Action, ReturnAction},
        arguments::{Argument, ArgumentSlot, ArgumentType, Integer, ObjectType},
        hooks::Hook,
        selectors::Namespace,
    },
    placements::ScopeBit,
};
use builder::Builder;
use lineage::Lineages;

mod actions;
mod builder;
mod condition;
pub(super) mod expression;
pub mod lineage;
mod search;
mod selector;
#[cfg(test)]
mod tests;

/// A policy's hook, as far as one target is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The policy's number: who follows descriptors.
    pub policy: u32,
    /// The number by which records name this hook of this policy.
    pub policy_hook: u32,
    /// The policy follows descriptors.
    pub follows: bool,
    /// The policy will have no kprobe.multi, or no uprobe.multi: whichever this is for.
    pub alone: bool,
    /// It has to decide what the function returns.
    pub denies: bool,
    /// How it will have that done.
    pub method: Option<OverrideMethod>,
    /// What the policy says.
    pub hook: &'a Hook,
    /// The policy's marks, each in the place of its bit.
    pub marks: &'a [Arc<str>],
    /// Where each selector applies, or without selectors the hook; none for everywhere.
    pub scopes: &'a [Option<ScopeBit>],
    /// It only counts what it would do: `trigon policy try`.
    pub trial: bool,
}

/// A policy that can't be loaded as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// More than a hook's table can hold.
    #[error("{what}: this hook has no room for more, with all policies that name it; {limit} is the limit")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there can be.
        limit: usize,
    },
    /// Something that is still to come.
    #[error("{0} is not supported yet")]
    Unsupported(&'static str),
    /// A value that is longer than what the kernel compares.
    #[error("a value of {length} bytes is longer than what the kernel compares: {limit} bytes")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest.
        limit: usize,
    },
}

/// What depends on this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host {
    /// The host's own namespaces: `host_ns`.
    pub namespaces: Namespaces,
}

/// Compiles the table of a hook that these parts share.
///
/// # Errors
/// There is no room for all of them, or one asks for what isn't there yet.
pub fn table(parts: &[Part<'_>], host: Host, lineages: &mut Lineages) -> Result<TablePlan, CompileError> {
    let mut builder = Builder::new(host, lineages);
    for part in parts {
        builder.part(*part)?;
    }
    builder.finish()
}

fn argument(among: &[Argument], slot: ArgumentSlot) -> Result<&Argument, CompileError> {
    among
        .get(usize::from(slot.0))
        .ok_or(CompileError::Unsupported("a filter on an argument that isn't there"))
}

fn kind_of(kind: ArgumentType) -> Result<u8, CompileError> {
    Ok(match kind {
        ArgumentType::Nop => value_type::NONE,
        ArgumentType::Integer(integer) => match integer {
            Integer::I8 => value_type::S8,
            Integer::U8 => value_type::U8,
            Integer::I16 => value_type::S16,
            Integer::U16 => value_type::U16,
            Integer::I32 => value_type::S32,
            Integer::U32 => value_type::U32,
            Integer::I64 => value_type::S64,
            Integer::U64 | Integer::Size => value_type::U64,
        },
        ArgumentType::String | ArgumentType::DataLoc => value_type::STRING,
        ArgumentType::Filename => value_type::FILENAME,
        ArgumentType::CharBuf | ArgumentType::ConstBuf => value_type::BYTES,
        ArgumentType::CharIovec => value_type::IOVEC,
        ArgumentType::Fd => value_type::FD,
        ArgumentType::File => value_type::FILE,
        ArgumentType::Path => value_type::PATH,
        ArgumentType::Dentry => value_type::DENTRY,
        ArgumentType::Kiocb => value_type::KIOCB,
        ArgumentType::LinuxBinprm => value_type::BINPRM,
        ArgumentType::Object(object) => object_of(object),
        ArgumentType::Auto => {
            return Err(CompileError::Unsupported("an argument whose type the kernel doesn't tell"));
        }
    })
}

fn object_of(object: ObjectType) -> u8 {
    match object {
        ObjectType::Skb => value_type::SKB,
        ObjectType::Sock => value_type::SOCK,
        ObjectType::Socket => value_type::SOCKET,
        ObjectType::Sockaddr => value_type::SOCKADDR,
        ObjectType::SockaddrUn => value_type::SOCKADDR_UN,
        ObjectType::Cred => value_type::CRED,
        ObjectType::UserNamespace => value_type::USER_NS,
        ObjectType::Capability => value_type::CAPABILITY,
        ObjectType::KernelCap => value_type::CAPABILITIES,
        ObjectType::CapInheritable => value_type::CAP_INHERITABLE,
        ObjectType::CapPermitted => value_type::CAP_PERMITTED,
        ObjectType::CapEffective => value_type::CAP_EFFECTIVE,
        ObjectType::LoadInfo => value_type::LOAD_INFO,
        ObjectType::Module => value_type::MODULE,
        ObjectType::BpfAttr => value_type::BPF_ATTR,
        ObjectType::BpfProg => value_type::BPF_PROG,
        ObjectType::BpfMap => value_type::BPF_MAP,
        ObjectType::BpfCmd => value_type::BPF_CMD,
        ObjectType::PerfEvent => value_type::PERF_EVENT,
        ObjectType::Syscall64 => value_type::SYSCALL64,
        ObjectType::NetDevice => value_type::NET_DEVICE,
        ObjectType::IovIter => value_type::IOV_ITER,
    }
}

/// The place of a namespace in `struct task_namespaces`.
fn index_of(namespace: Namespace) -> u8 {
    match namespace {
        Namespace::Uts => 0,
        Namespace::Ipc => 1,
        Namespace::Mnt => 2,
        Namespace::Pid => 3,
        Namespace::PidForChildren => 4,
        Namespace::Net => 5,
        Namespace::Time => 6,
        Namespace::TimeForChildren => 7,
        Namespace::Cgroup => 8,
        Namespace::User => 9,
    }
}

/// The same of what is done at the return.
fn return_number_of(action: ReturnAction) -> u8 {
    match action {
        ReturnAction::TrackSock => 11,
        ReturnAction::UntrackSock => 12,
    }
}

/// Tetragon's number of an action (`KprobeAction`).
fn number_of(action: &Action) -> u8 {
    match action {
        // Tetragon has no number for marks.
        Action::Post(_) | Action::ImaHash | Action::Mark { .. } | Action::Unmark { .. } => 1,
        Action::FollowFd { .. } => 2,
        Action::Sigkill => 3,
        Action::UnfollowFd { .. } => 4,
        Action::CopyFd { .. } => 6,
        Action::NoPost => 9,
        Action::Signal(_) => 10,
        Action::Override { .. } => 5,
        Action::Set { .. } => 15,
        Action::TrackSock { .. } => 11,
        Action::UntrackSock { .. } => 12,
        Action::NotifyEnforcer { .. } | Action::Enforce => 13,
        Action::CleanupEnforcerNotification => 14,
        Action::CallOut(call) => call.action().number(),
    }
}
