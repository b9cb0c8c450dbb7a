//! A rule, checked and compiled.

use regex::{Regex, RegexBuilder};

use super::{
    CapabilitySet, FilterError, Source, Subject,
    config::{Capabilities, CapabilityCondition, Rule},
    labels::Selector,
};
use crate::{event::EventType, names};

/// A rule that is ready to be asked: all of these must hold.
#[derive(Clone, Debug)]
pub(super) struct Matcher(Vec<Check>);

/// One key of a rule.
#[derive(Clone, Debug)]
enum Check {
    EventSet(Vec<String>),
    Pid(Vec<u32>),
    PidSet(Vec<u32>),
    Host(bool),
    InInitTree(bool),
    Probe(bool),
    PolicyNames(Vec<String>),
    Namespace(Vec<String>),
    Capabilities(CapabilitySet, Holds, u64),
    Labels(Vec<Selector>),
    Text(Text, Vec<Regex>),
}

/// A text that expressions are matched with.
#[derive(Clone, Copy, Debug)]
enum Text {
    Binary,
    Arguments,
    ParentBinary,
    ParentArguments,
    AncestorBinary,
    ContainerId,
    ContainerName,
    Namespace,
    Pod,
}

/// How a set of capabilities is compared.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Any,
    All,
    Exactly,
    None,
}

/// Bytes that a compiled expression may take: enough for any list of paths, and not for `(.{1000}){1000}`.
const PATTERN_LIMIT: usize = 1 << 20;

/// Types of Tetragon's that Trigon has no events of; filters written for Tetragon name them.
const FOREIGN_TYPES: [&str; 3] = ["PROCESS_THROTTLE", "PROCESS_LSM", "TEST"];

const NO_CEL: &str = "Trigon doesn't evaluate CEL: say it by the other keys of a rule";
const NO_ANCESTORS: &str = "an event tells of its process and of that one's parent, not of all ancestors: \
                            `parent_binary_regex` asks about the parent";
const NO_INIT_TREE: &str = "the agent doesn't know which processes descend from a container's first one; a policy's \
                            `matchPIDs` can ask that in the kernel";

// === impl Matcher ===

impl Matcher {
    pub(super) fn new(name: &str, rule: &Rule, source: Source) -> Result<Self, FilterError> {
        let key = |key: &str| format!("{name}.{key}");
        answerable(rule, source)
            .map_err(|(at, reason)| FilterError::Unanswerable { key: key(at), reason })?;
        let mut checks = Vec::new();
        // What is cheap to ask first.
        if !rule.event_set.is_empty() {
            event_types(&key("event_set"), &rule.event_set)?;
            checks.push(Check::EventSet(rule.event_set.clone()));
        }
        let list = |list: &Vec<u32>| (!list.is_empty()).then(|| list.clone());
        let words = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        checks.extend(list(&rule.pid).map(Check::Pid));
        checks.extend(rule.host.map(Check::Host));
        checks.extend(rule.in_init_tree.map(Check::InInitTree));
        checks.extend(rule.health_check.map(Check::Probe));
        if let Some(sets) = &rule.capabilities {
            capabilities(&key("capabilities"), sets, &mut checks)?;
        }
        checks.extend(words(&rule.policy_names).map(Check::PolicyNames));
        checks.extend(words(&rule.namespace).map(Check::Namespace));
        checks.extend(list(&rule.pid_set).map(Check::PidSet));
        for (name, text, patterns) in [
            ("binary_regex", Text::Binary, &rule.binary_regex),
            ("parent_binary_regex", Text::ParentBinary, &rule.parent_binary_regex),
            ("container_id", Text::ContainerId, &rule.container_id),
            ("container_name_regex", Text::ContainerName, &rule.container_name_regex),
            ("namespace_regex", Text::Namespace, &rule.namespace_regex),
            ("pod_regex", Text::Pod, &rule.pod_regex),
            ("ancestor_binary_regex", Text::AncestorBinary, &rule.ancestor_binary_regex),
            ("arguments_regex", Text::Arguments, &rule.arguments_regex),
            ("parent_arguments_regex", Text::ParentArguments, &rule.parent_arguments_regex),
        ] {
            if !patterns.is_empty() {
                checks.push(Check::Text(text, compile(&key(name), patterns)?));
            }
        }
        if !rule.labels.is_empty() {
            let selectors = rule.labels.iter().enumerate().map(|(place, text)| {
                Selector::parse(text).map_err(|allowed| FilterError::Value {
                    key: format!("{}[{place}]", key("labels")),
                    value: text.clone(),
                    allowed: allowed.to_owned(),
                })
            });
            checks.push(Check::Labels(selectors.collect::<Result<_, _>>()?));
        }
        if checks.is_empty() {
            return Err(FilterError::Empty { rule: name.to_owned() });
        }
        Ok(Self(checks))
    }

    pub(super) fn matches(&self, subject: &impl Subject) -> bool {
        self.0.iter().all(|check| check.holds(subject))
    }
}

/// The first key that has no answer there, and why.
fn answerable(rule: &Rule, source: Source) -> Result<(), (&'static str, &'static str)> {
    let agent = source == Source::Agent;
    let refused = [
        (!rule.cel_expression.is_empty(), "cel_expression", NO_CEL),
        (agent && rule.in_init_tree.is_some(), "in_init_tree", NO_INIT_TREE),
        (agent && !rule.pid_set.is_empty(), "pid_set", NO_ANCESTORS),
        (agent && !rule.ancestor_binary_regex.is_empty(), "ancestor_binary_regex", NO_ANCESTORS),
    ];
    refused.into_iter().find(|(refused, ..)| *refused).map_or(Ok(()), |(_, key, why)| Err((key, why)))
}

/// Checks the names of types.
pub(super) fn event_types(key: &str, names: &[String]) -> Result<(), FilterError> {
    let known = || EventType::ALL.map(EventType::as_str).into_iter().chain(FOREIGN_TYPES);
    let unknown = names.iter().enumerate().find(|(_, name)| !known().any(|known| known == name.as_str()));
    let Some((place, name)) = unknown else { return Ok(()) };
    let what = "a type of event such as PROCESS_EXEC, PROCESS_EXIT or PROCESS_KPROBE is allowed";
    Err(FilterError::no_such(format!("{key}[{place}]"), name, what, known()))
}

fn compile(key: &str, patterns: &[String]) -> Result<Vec<Regex>, FilterError> {
    let compile = |(place, pattern): (usize, &String)| {
        let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT).build();
        compiled.map_err(|error| FilterError::Pattern {
            key: format!("{key}[{place}]"),
            pattern: pattern.clone(),
            reason: reason(&error),
        })
    };
    patterns.iter().enumerate().map(compile).collect()
}

/// The last line of the library's explanation; those before draw the expression.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("compiled it would take more than {limit} bytes; make it smaller, or several of it")
        }
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

fn capabilities(key: &str, sets: &Capabilities, checks: &mut Vec<Check>) -> Result<(), FilterError> {
    let sets = [
        ("permitted", CapabilitySet::Permitted, &sets.permitted),
        ("effective", CapabilitySet::Effective, &sets.effective),
        ("inheritable", CapabilitySet::Inheritable, &sets.inheritable),
    ];
    for (name, set, condition) in sets {
        let Some(CapabilityCondition { any, all, exactly, none }) = condition else { continue };
        let given = |list| Some(list).filter(|list: &&Vec<String>| !list.is_empty());
        for (how, holds, list) in [
            ("any", Holds::Any, given(any)),
            ("all", Holds::All, given(all)),
            ("exactly", Holds::Exactly, exactly.as_ref()),
            ("none", Holds::None, given(none)),
        ] {
            if let Some(list) = list {
                checks.push(Check::Capabilities(set, holds, bits(&format!("{key}.{name}.{how}"), list)?));
            }
        }
    }
    Ok(())
}

fn bits(key: &str, capabilities: &[String]) -> Result<u64, FilterError> {
    let bit = |(place, name): (usize, &String)| {
        names::capability_number(name).map(|number| 1_u64 << number).ok_or_else(|| {
            let known = (0..u64::BITS).map_while(names::capability);
            let what = "a name of capabilities(7) such as CAP_SYS_ADMIN is allowed";
            FilterError::no_such(format!("{key}[{place}]"), name, what, known)
        })
    };
    capabilities.iter().enumerate().map(bit).try_fold(0, |set, bit| Ok(set | bit?))
}

// === impl Check ===

impl Check {
    fn holds(&self, subject: &impl Subject) -> bool {
        let among = |list: &[String], text: Option<&str>| {
            text.is_some_and(|text| list.iter().any(|known| known == text))
        };
        match self {
            Self::EventSet(types) => {
                types.iter().any(|known| known.eq_ignore_ascii_case(subject.event_type()))
            }
            Self::Pid(pids) => subject.pid().is_some_and(|pid| pids.contains(&pid)),
            Self::PidSet(pids) => {
                subject.pid().into_iter().chain(subject.ancestor_pids()).any(|pid| pids.contains(&pid))
            }
            Self::Host(host) => subject.is_of_host() == Some(*host),
            Self::InInitTree(inside) => subject.in_init_tree() == Some(*inside),
            Self::Probe(is_one) => subject.is_health_check() == Some(*is_one),
            Self::PolicyNames(names) => among(names, subject.policy_name()),
            Self::Namespace(names) => among(names, subject.namespace()),
            Self::Capabilities(set, holds, bits) => {
                subject.capabilities(*set).is_some_and(|held| holds.holds(held, *bits))
            }
            // A pod without labels fits `!canary`; a process in no pod fits nothing.
            Self::Labels(selectors) => {
                let fits = |selector: &Selector| selector.matches(|key| subject.label(key));
                subject.pod().is_some() && selectors.iter().any(fits)
            }
            Self::Text(text, patterns) => text.matches(patterns, subject),
        }
    }
}

// === impl Text ===

impl Text {
    fn matches(self, patterns: &[Regex], subject: &impl Subject) -> bool {
        let any = |text: &str| patterns.iter().any(|pattern| pattern.is_match(text));
        match self {
            Self::Binary => subject.binary().is_some_and(any),
            Self::Arguments => subject.arguments().is_some_and(|text| any(&text)),
            Self::ParentBinary => subject.parent_binary().is_some_and(any),
            Self::ParentArguments => subject.parent_arguments().is_some_and(|text| any(&text)),
            Self::AncestorBinary => subject.ancestor_binaries().into_iter().any(any),
            Self::ContainerId => subject.container_id().is_some_and(any),
            Self::ContainerName => subject.container_name().is_some_and(any),
            // As with Tetragon only a pod's; `namespace` alone has a word for processes in no pod.
            Self::Namespace => subject.pod().and(subject.namespace()).is_some_and(any),
            Self::Pod => subject.pod().is_some_and(any),
        }
    }
}

// === impl Holds ===

impl Holds {
    fn holds(self, held: u64, bits: u64) -> bool {
        match self {
            Self::Any => held & bits != 0,
            Self::All => held & bits == bits,
            Self::Exactly => held == bits,
            Self::None => held & bits == 0,
        }
    }
}
