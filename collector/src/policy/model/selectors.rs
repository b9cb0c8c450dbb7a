//! Which calls a hook takes: every filter of a selector must hold.

use std::sync::Arc;

use super::{
    Located, Position, actions::Action, arguments::ArgumentSlot, conditions::Condition, scope::Scope,
};

/// An item of `selectors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Where it begins.
    pub at: Position,
    /// `label`: its name in states and metrics.
    pub label: Option<String>,
    /// `matchPIDs`
    pub pids: Vec<PidFilter>,
    /// `matchBinaries`
    pub binaries: Option<BinaryFilter>,
    /// `matchParentBinaries`
    pub parent_binaries: Option<BinaryFilter>,
    /// `matchArgs`
    pub arguments: Vec<ArgumentFilter>,
    /// `matchData`: their arguments are the hook's further data.
    pub data: Vec<ArgumentFilter>,
    /// `matchReturnArgs`
    pub return_values: Vec<ReturnFilter>,
    /// `matchNamespaces`
    pub namespaces: Vec<NamespaceFilter>,
    /// `matchCapabilities`
    pub capabilities: Vec<CapabilityFilter>,
    /// `matchNamespaceChanges`
    pub namespace_changes: Vec<NamespaceChangeFilter>,
    /// `matchCapabilityChanges`
    pub capability_changes: Vec<CapabilityFilter>,
    /// `matchMarks`, of `trigon.io`
    pub marks: Vec<MarkFilter>,
    /// `matchWorkloads`: a further condition on where a process is.
    pub workloads: Option<Scope>,
    /// `matchActions`. None of them is `NoPost`: the event is posted.
    pub actions: Vec<Located<Action>>,
    /// `matchReturnActions`: what is done once the return filters hold.
    pub return_actions: Vec<Located<Action>>,
}

/// In a set, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Membership {
    /// `In`
    In,
    /// `NotIn`
    NotIn,
}

/// An item of `matchPIDs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidFilter {
    /// Where it begins.
    pub at: Position,
    /// In the set, or not.
    pub operator: Membership,
    /// The PIDs.
    pub pids: Vec<u32>,
    /// `isNamespacePID`: PIDs are those of the process's own PID namespace.
    pub in_namespace: bool,
    /// `followForks`: whoever descends from one of them counts as one of them.
    pub follow_forks: bool,
}

/// The item of `matchBinaries` or `matchParentBinaries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryFilter {
    /// Where it begins.
    pub at: Position,
    /// How.
    pub operator: BinaryOperator,
    /// Paths, or their beginnings or ends.
    pub paths: Vec<Box<[u8]>>,
    /// `followChildren`: whoever descends from such a process counts as one. Only with `In` and `NotIn`.
    pub follow_children: bool,
}

/// An operator of `matchBinaries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    /// One of these.
    In,
    /// None of these.
    NotIn,
    /// It begins like one of these.
    Prefix,
    /// It begins like none of these.
    NotPrefix,
    /// It ends like one of these.
    Postfix,
    /// It ends like none of these.
    NotPostfix,
}

/// An item of `matchArgs` or `matchData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentFilter {
    /// Where it begins.
    pub at: Position,
    /// Which argument of the hook.
    pub argument: ArgumentSlot,
    /// What it must be.
    pub condition: Condition,
}

/// An item of `matchReturnArgs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnFilter {
    /// Where it begins.
    pub at: Position,
    /// What the hook's return value must be.
    pub condition: Condition,
}

/// An item of `matchNamespaces`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFilter {
    /// Where it begins.
    pub at: Position,
    /// Which.
    pub namespace: Namespace,
    /// In the set, or not.
    pub operator: Membership,
    /// The namespaces.
    pub values: Vec<NamespaceId>,
}

/// A namespace of a process: namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in the file")]
pub enum Namespace {
    Uts,
    Ipc,
    Mnt,
    Pid,
    PidForChildren,
    Net,
    Time,
    TimeForChildren,
    Cgroup,
    User,
}

/// An item of `matchNamespaceChanges`: the process has another namespace of one of these kinds than when it, or the
/// ancestor whose program it runs, executed that program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceChangeFilter {
    /// Where it begins.
    pub at: Position,
    /// The kinds; with `NotIn` all but those in the file.
    pub namespaces: Vec<Namespace>,
}

/// One namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NamespaceId {
    /// `host_ns`: the host's, whatever its number is.
    Host,
    /// The inode that /proc/PID/ns shows.
    Inode(u32),
}

/// An item of `matchCapabilities`, which is about what a set holds, or of `matchCapabilityChanges`, about what it holds
/// and didn't, or doesn't and did, when the program was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityFilter {
    /// Where it begins.
    pub at: Position,
    /// Which set of the process.
    pub set: CapabilitySet,
    /// One of these, or none; of changes: others, and none of these.
    pub operator: Membership,
    /// A bit for each capability's number.
    pub capabilities: u64,
    /// `isNamespaceCapability`: only where the process is in another user namespace than the host's.
    pub in_namespace: bool,
}

/// An item of `matchMarks`: what selectors of the policy left on the process before this call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkFilter {
    /// Where it begins.
    pub at: Position,
    /// It has one of these, or none.
    pub operator: Membership,
    /// Names of marks.
    pub marks: Vec<Arc<str>>,
}

/// A set of capabilities: capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in the file")]
pub enum CapabilitySet {
    Effective,
    Inheritable,
    Permitted,
}

// === impl Namespace ===

impl Namespace {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Uts,
        Self::Ipc,
        Self::Mnt,
        Self::Pid,
        Self::PidForChildren,
        Self::Net,
        Self::Time,
        Self::TimeForChildren,
        Self::Cgroup,
        Self::User,
    ];
}

// === impl Selector ===

impl Selector {
    /// One that takes every call.
    pub fn of_actions(at: Position, actions: Vec<Located<Action>>) -> Self {
        Self {
            at,
            label: None,
            pids: Vec::new(),
            binaries: None,
            parent_binaries: None,
            arguments: Vec::new(),
            data: Vec::new(),
            return_values: Vec::new(),
            namespaces: Vec::new(),
            capabilities: Vec::new(),
            namespace_changes: Vec::new(),
            capability_changes: Vec::new(),
            marks: Vec::new(),
            workloads: None,
            actions,
            return_actions: Vec::new(),
        }
    }

    /// Actions at entry, then those at return.
    pub fn all_actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().chain(&self.return_actions).map(|action| &action.value)
    }
}
