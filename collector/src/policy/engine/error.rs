//! What keeps a policy from being loaded.

use trigon_exporters::outbound::OutboundError;
use trigon_probes::ProbeError;

use crate::policy::{compile::CompileError, placements::NoScopeFree, resolve::Unresolved};

/// A policy could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is one of that name.
    #[error("a policy named {0} is loaded; delete it first")]
    Exists(String),
    /// There is none of that name.
    #[error("no policy named {0} is loaded")]
    Unknown(String),
    /// It has no mode.
    #[error(
        "it has no mode: none of its actions kills, signals or denies (Sigkill, Signal, Override, NotifyEnforcer)"
    )]
    OnlyTells,
    /// Policies that share a hook want it to be overridden differently.
    #[error("hook {0}: policies that name it ask for different methods (option override-method)")]
    Methods(String),
    /// The kernel, or the agent, can't do what it asks for.
    #[error("hook {hook}: {source}")]
    Compile {
        /// The hook.
        hook: String,
        /// What can't be done.
        source: CompileError,
    },
    /// It, and those that had its name before it, have more marks than there is room for.
    #[error(
        "the policies that had its name left marks of other names on processes; with them there are more than {0}: delete \
         the policy, and add it then"
    )]
    Marks(usize),
    /// It has more selectors of pods than there is room for.
    #[error(transparent)]
    Scopes(#[from] NoScopeFree),
    /// It would have the agent call out.
    #[error(
        "it has the agent call out (GetUrl, DnsLookup), which policy.allow_outbound_actions = true would have to allow"
    )]
    OutboundRefused,
    /// It can't call out as it says.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// It doesn't fit what the kernel says of its types.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// The kernel refuses it.
    #[error(transparent)]
    Kernel(#[from] ProbeError),
}
