//! A policy that was read and checked: closed sets and bounded numbers, and where in the file each part stands.

use std::{fmt, ops::Deref, sync::Arc};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub mod actions;
pub mod arguments;
pub mod conditions;
pub mod expressions;
pub mod hooks;
pub mod scope;
pub mod selectors;

use actions::Action;
use hooks::{Hook, List};
use scope::{LabelSelector, Scope};
use selectors::Selector;

/// A tracing policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where `metadata.name` stands.
    pub at: Position,
    /// The group and version of its language.
    pub api_version: ApiVersion,
    /// What it applies to.
    pub kind: Kind,
    /// `metadata.name`: a DNS subdomain (RFC 1123).
    pub name: String,
    /// `metadata.namespace`. None for a policy of the whole node.
    pub namespace: Option<String>,
    /// `spec.options`
    pub options: Options,
    /// Where it applies. None: everywhere, pods and host.
    pub scope: Option<Scope>,
    /// `spec.nodeSelector`: the nodes on which it is loaded, if it comes from the API server. None: all.
    pub node_selector: Option<LabelSelector>,
    /// `spec.loader`: tell what processes map to execute.
    pub loader: bool,
    /// `spec.lists`, used or not.
    pub lists: Vec<List>,
    /// kprobes, then fentries, tracepoints, uprobes, usdts, lsmhooks and enforcers, each in the order of the file.
    pub hooks: Vec<Hook>,
}

/// The group and version of a policy's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// `cilium.io/v1alpha1`
    CiliumV1Alpha1,
    /// `trigon.io/v1alpha1`: the same language.
    TrigonV1Alpha1,
}

/// What a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `TracingPolicy`: to the whole node.
    Cluster,
    /// `TracingPolicyNamespaced`: to the pods of its namespace.
    Namespaced,
}

/// `spec.options`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `disable-kprobe-multi`: attach each function by a kprobe of its own.
    pub disable_kprobe_multi: bool,
    /// `disable-uprobe-multi`: attach each place of a program by a uprobe of its own.
    pub disable_uprobe_multi: bool,
    /// `policy-mode`: whether it does what it says beside telling.
    pub mode: Option<Mode>,
    /// `override-method`: how `Override` is done. None: as this kernel can best.
    pub override_method: Option<OverrideMethod>,
}

/// Whether a policy does what it says, or only tells what it would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `enforce`
    #[default]
    Enforce,
    /// `monitor`: nothing is killed, signalled or denied.
    Monitor,
}

/// How a function is made to return something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverrideMethod {
    /// `fmod-ret`: a program before the function decides.
    FmodRet,
    /// `override-return`: a kprobe has the function return.
    OverrideReturn,
}

/// A place in a file. Both count from 1; a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// Where.
    pub at: Position,
    /// What.
    pub value: T,
}

/// What a policy is known by. No name has a slash in it.
pub fn key_of(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

// === impl Policy ===

impl Policy {
    /// What it is known by: `name`, or `namespace/name`.
    pub fn key(&self) -> String {
        key_of(self.namespace.as_deref(), &self.name)
    }

    /// Whether it follows descriptors: then its `fd` arguments resolve through the followed ones, and a call on
    /// any other posts nothing.
    pub fn follows(&self) -> bool {
        let mut selectors = self.hooks.iter().flat_map(|hook| &hook.selectors);
        selectors.any(|selector| selector.all_actions().any(|action| action.follows()))
    }

    /// Whether it tracks sockets.
    pub fn tracks(&self) -> bool {
        self.hooks.iter().any(Hook::tracks)
    }

    /// The names of its marks, each once.
    pub fn marks(&self) -> Vec<Arc<str>> {
        let selectors = self.hooks.iter().flat_map(|hook| &hook.selectors);
        let named = selectors.flat_map(|selector| {
            let asked = selector.marks.iter().flat_map(|filter| &filter.marks);
            asked.chain(selector.all_actions().filter_map(Action::mark))
        });
        let mut names: Vec<_> = named.cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether it does anything but tell: kill, signal or deny.
    pub fn enforces(&self) -> bool {
        let mut selectors = self.hooks.iter().flat_map(|hook| &hook.selectors);
        selectors.any(|selector| selector.all_actions().any(Action::enforces))
    }

    /// Whether a hook of it has to decide what its function returns.
    pub fn denies(&self, hook: &Hook) -> bool {
        let mut selectors = self.hooks.iter().flat_map(|hook| &hook.selectors);
        let notified = |action: &Action| matches!(action, Action::NotifyEnforcer { error: Some(_), .. });
        hook.denies() || hook.is_enforcer() && selectors.any(|selector| selector.all_actions().any(notified))
    }

    /// Where a selector applies, or a hook without selectors. None: everywhere.
    pub fn scope_of(&self, selector: Option<&Selector>) -> Option<Scope> {
        match (&self.scope, selector.and_then(|selector| selector.workloads.as_ref())) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.as_ref().or(other).cloned(),
        }
    }
}

// === impl Mode ===

impl Mode {
    /// As files and commands name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        }
    }
}

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

// === impl Located ===

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
