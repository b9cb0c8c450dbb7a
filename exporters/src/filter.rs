//! Filters: which events a way out gets, and what of each.
//!
//! The keys are those of Tetragon's export filters (`tetragon.Filter` in `events.proto`), and mean the same: within a
//! rule all keys must match, of several rules one, of the values of a key one; what a deny rule matches is out, and
//! where there are allow rules, what none of them matches. A key that can't be answered is refused by name, never
//! passed over.

use std::{borrow::Cow, sync::Arc};

use crate::nearest::nearest;

pub mod config;
pub mod event;
pub mod fields;
pub mod gate;
pub mod json;
mod labels;
pub mod rate;
mod rule;
#[cfg(test)]
mod tests;

pub use {
    config::{FilterConfig, Rule},
    event::About,
    fields::Fields,
    gate::Gate,
    rate::Rate,
};

/// Rules that are ready to be asked. Two are equal if they were made of the same configuration.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    config: FilterConfig,
    fields: Option<Arc<Fields>>,
    allow: Vec<rule::Matcher>,
    deny: Vec<rule::Matcher>,
}

/// What a rule asks about an event. None where there is no answer, such as for the pod of a process that is in none;
/// what has no answer doesn't match.
pub trait Subject {
    /// `PROCESS_EXEC`, in upper or lower case.
    fn event_type(&self) -> &str;
    /// The process's id in the initial PID namespace.
    fn pid(&self) -> Option<u32>;
    /// Path of what the process executes; empty where it could not be read.
    fn binary(&self) -> Option<&str>;
    /// Its arguments as one text, without `argv[0]`.
    fn arguments(&self) -> Option<Cow<'_, str>>;
    /// A set of the process's capabilities, one bit each.
    fn capabilities(&self, set: CapabilitySet) -> Option<u64>;
    /// Whether the process is in no container, and in no pod.
    fn is_of_host(&self) -> Option<bool>;
    /// The runtime's id of the process's container.
    fn container_id(&self) -> Option<&str>;
    /// Path of what the parent executes.
    fn parent_binary(&self) -> Option<&str>;
    /// The parent's arguments as one text.
    fn parent_arguments(&self) -> Option<Cow<'_, str>>;
    /// The policy that asked for the event.
    fn policy_name(&self) -> Option<&str>;
    /// Namespace of the process's pod; empty for a process in no pod.
    fn namespace(&self) -> Option<&str>;
    /// Name of its pod.
    fn pod(&self) -> Option<&str>;
    /// Name of its container in the pod.
    fn container_name(&self) -> Option<&str>;
    /// The value of a label of its pod.
    fn label(&self, key: &str) -> Option<&str>;
    /// Whether it, or its parent, may be a probe of Kubernetes that looks after a container.
    fn is_health_check(&self) -> Option<bool>;

    /// Ids of the parent, its parent and so on, as far as they are told.
    fn ancestor_pids(&self) -> Vec<u32> {
        Vec::new()
    }
    /// What the ancestors above the parent execute.
    fn ancestor_binaries(&self) -> Vec<&str> {
        Vec::new()
    }
    /// Whether it descends from the first process of its container.
    fn in_init_tree(&self) -> Option<bool> {
        None
    }
}

/// A set of capabilities that a process has (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapabilitySet {
    /// What it may make effective.
    Permitted,
    /// What the kernel judges it by.
    Effective,
    /// What it may hand on through an exec.
    Inheritable,
}

/// A filter that can't be used. Each names the key as a path: `otlp.filter.deny[2].binary_regex[0]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No regular expression, or one that would take too much memory.
    #[error("{key} = {pattern:?} can't be used: {reason}")]
    Pattern {
        /// The key.
        key: String,
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that means nothing.
    #[error("{key} = {value:?} can't be used: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is allowed, and what may have been meant.
        allowed: String,
    },
    /// A key that can't be answered here.
    #[error("{key} can't be used here: {reason}")]
    Unanswerable {
        /// The key.
        key: String,
        /// Why not, and what can be done.
        reason: &'static str,
    },
    /// A rule without keys, which would match everything.
    #[error("{rule} has no key, and would match every event: give it one, or remove it")]
    Empty {
        /// The rule.
        rule: String,
    },
}

/// Whose events are filtered, and with that which questions have answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This agent's.
    Agent,
    /// JSON lines, which may be Tetragon's and know more.
    Lines,
}

// === impl Filter ===

impl Filter {
    /// Makes a filter; `name` is what the configuration calls it, such as `otlp.filter`.
    ///
    /// # Errors
    /// Names the first key that can't be used, and why.
    pub fn new(name: &str, config: &FilterConfig, source: Source) -> Result<Self, FilterError> {
        let matchers = |list, rules: &[Rule]| {
            let rules = rules.iter().enumerate();
            rules
                .map(|(place, rule)| rule::Matcher::new(&format!("{name}.{list}[{place}]"), rule, source))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            allow: matchers("allow", &config.allow)?,
            deny: matchers("deny", &config.deny)?,
            fields: Fields::new(&format!("{name}.fields"), &config.fields)?.map(Arc::new),
            config: config.clone(),
        })
    }

    /// Whether every event passes, at any rate.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty() && self.config.rate_limit.is_none()
    }

    /// What is shown of events that pass; none where that is all.
    pub fn fields(&self) -> Option<Arc<Fields>> {
        self.fields.clone()
    }

    /// Whether this event passes.
    pub fn passes(&self, subject: &impl Subject) -> bool {
        let allowed = self.allow.is_empty() || self.allow.iter().any(|rule| rule.matches(subject));
        allowed && !self.deny.iter().any(|rule| rule.matches(subject))
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

impl Eq for Filter {}

// === impl FilterError ===

impl FilterError {
    /// A value that is none of these words; says which one is near.
    fn no_such<'w>(key: String, value: &str, what: &str, words: impl IntoIterator<Item = &'w str>) -> Self {
        let hint = nearest(value, words).map_or_else(String::new, |word| format!("; did you mean {word}?"));
        Self::Value { key, value: value.to_owned(), allowed: format!("{what}{hint}") }
    }
}
