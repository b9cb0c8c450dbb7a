//! Selectors in words.

use std::{fmt::Write as _, time::Duration};

use trigon_exporters::{names, outbound::OutboundCall};

use super::{
    super::model::{
        actions::{Action, Post, RateLimit, RateLimitScope, ReturnAction},
        arguments::{Argument, ArgumentSlot},
        conditions::{Comparison, Condition, End, Field, FileType, NumberRange, TextOperator},
        hooks::{Hook, Point},
        scope::{LabelOperator, LabelSelector, Scope, Workloads},
        selectors::{
            BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, MarkFilter, Membership, Namespace,
            NamespaceChangeFilter, NamespaceFilter, NamespaceId, PidFilter, Selector,
        },
    },
    Case,
};
use crate::text::push_escaped;

/// Values that are shown of a condition.
const SHOWN: usize = 12;

/// A selector.
pub(super) fn case(hook: &Hook, selector: &Selector) -> Case {
    let mut when = Vec::new();
    if let Some(scope) = &selector.workloads {
        when.push(format!("the process is in {}", self::scope(Some(scope))));
    }
    when.extend(selector.pids.iter().map(pids));
    when.extend(selector.binaries.iter().map(|filter| binaries("its program", filter)));
    when.extend(selector.parent_binaries.iter().map(|filter| binaries("its parent's program", filter)));
    when.extend(selector.namespaces.iter().map(namespaces));
    when.extend(selector.capabilities.iter().map(capabilities));
    when.extend(selector.namespace_changes.iter().map(namespace_changes));
    when.extend(selector.capability_changes.iter().map(capability_changes));
    when.extend(selector.marks.iter().map(marks));
    when.extend(selector.arguments.iter().map(|filter| {
        condition(&hook.arguments, &subject("argument", &hook.arguments, filter.argument), &filter.condition)
    }));
    when.extend(selector.data.iter().map(|filter| {
        condition(&hook.data, &subject("data", &hook.data, filter.argument), &filter.condition)
    }));
    let returned = "what it returned";
    when.extend(selector.return_values.iter().map(|filter| condition(&[], returned, &filter.condition)));
    let mut then: Vec<_> = selector.all_actions().map(|one| action(hook, one)).collect();
    let posts = selector.all_actions().any(|action| matches!(action, Action::Post(_) | Action::NoPost));
    if !posts {
        then.push(action(hook, &Action::Post(Post::default())));
    }
    then.extend(at_return(hook));
    Case { label: selector.label.clone(), when, then }
}

/// What is done with the socket that the function returns.
pub(super) fn at_return(hook: &Hook) -> Option<String> {
    let text = match hook.return_value.as_ref()?.action? {
        ReturnAction::TrackSock => "track the socket that it returned as this process's from here on",
        ReturnAction::UntrackSock => "track the socket that it returned no longer",
    };
    Some(text.to_owned())
}

/// Where a policy, or a selector, applies.
pub(super) fn scope(scope: Option<&Scope>) -> String {
    let Some(scope) = scope else { return "every process of the node, pods and host".to_owned() };
    let pods = scope.pods.as_ref().map(workloads);
    match (pods, scope.host) {
        (Some(pods), true) => format!("{pods}, and the host"),
        (Some(pods), false) => pods,
        (None, true) => "the host: whatever is in no pod".to_owned(),
        (None, false) => "nothing: what is asked for excludes itself".to_owned(),
    }
}

fn workloads(workloads: &Workloads) -> String {
    let mut text = "pods".to_owned();
    if let Some(namespace) = &workloads.namespace {
        let _ = write!(text, " of the namespace {namespace}");
    }
    if !workloads.labels.is_empty() {
        let _ = write!(text, " with {}", labels(&workloads.labels));
    }
    if !workloads.containers.is_empty() {
        let _ = write!(text, ", in containers with {}", labels(&workloads.containers));
    }
    if workloads.namespace.is_none() && workloads.labels.is_empty() {
        text.insert_str(0, "all ");
    }
    text
}

fn labels(selector: &LabelSelector) -> String {
    let one = |key: &str, operator: LabelOperator, values: &[String]| match operator {
        LabelOperator::In if values.len() == 1 => format!("{key} = {}", values[0]),
        LabelOperator::In => format!("{key} one of {}", values.join(", ")),
        LabelOperator::NotIn => format!("{key} none of {}", values.join(", ")),
        LabelOperator::Exists => format!("a label {key}"),
        LabelOperator::DoesNotExist => format!("no label {key}"),
    };
    let all: Vec<_> = selector.requirements().map(|all| one(&all.key, all.operator, &all.values)).collect();
    all.join(" and ")
}

/// What a filter is on: one of the hook's arguments, or of its further data.
fn subject(what: &str, among: &[Argument], slot: ArgumentSlot) -> String {
    among.get(usize::from(slot.0)).map_or_else(
        || format!("an {what}"),
        |argument| {
            let label = argument.label.as_deref().map(|label| format!(" ({label})")).unwrap_or_default();
            format!("{what} {}{label}", argument.index)
        },
    )
}

/// A condition on a value.
fn condition(among: &[Argument], what: &str, condition: &Condition) -> String {
    match condition {
        Condition::Compare(comparison, numbers) => {
            let numbers: Vec<_> = numbers.iter().map(|number| number.0.to_string()).collect();
            match comparison {
                Comparison::Equal => format!("{what} is {}", any(&numbers)),
                Comparison::NotEqual => format!("{what} is not {}", any(&numbers)),
                Comparison::GreaterThan => format!("{what} is greater than {}", any(&numbers)),
                Comparison::LessThan => format!("{what} is less than {}", any(&numbers)),
                Comparison::Mask => format!("{what} has a bit in common with {}", any(&numbers)),
            }
        }
        Condition::Within { negated, ranges } => format!("{what} is {}{}", not(*negated), within(ranges)),
        Condition::Text(operator, texts) => text(what, *operator, texts),
        Condition::FileType { negated, types } => {
            let types: Vec<_> = types.iter().map(|kind| file_type(*kind).to_owned()).collect();
            format!("{what} is {}{}", not(*negated), any(&types))
        }
        Condition::Deferred(operator, values) => {
            let values: Vec<_> = values.iter().map(|value| quoted(value.value.as_bytes())).collect();
            format!("{what}, whose type the kernel tells, satisfies {} {}", operator.name(), any(&values))
        }
        Condition::Contains { any_case, texts } => {
            let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
            let case = if *any_case { ", in upper or lower case" } else { "" };
            format!("{what} contains {}{case}", any(&texts))
        }
        Condition::Field { field: number, negated, ranges } => {
            format!("the {} of {what} is {}{}", field(*number), not(*negated), within(ranges))
        }
        Condition::Address { end, negated, networks } => {
            let networks: Vec<_> =
                networks.iter().map(|network| format!("{}/{}", network.address, network.bits)).collect();
            let end = match end {
                End::Source => "source",
                End::Destination => "destination",
            };
            format!("the {end} address of {what} is {}in {}", not(*negated), any(&networks))
        }
        Condition::Holds(_) => "its expression (CelExpr) holds".to_owned(),
        Condition::Gained { sets: [before, after], capabilities } => format!(
            "{} has of {} what {} has not",
            subject("argument", among, *after),
            any(&capability_names(*capabilities)),
            subject("argument", among, *before)
        ),
        Condition::DeferredSeveral { operator, arguments, .. } => {
            let arguments: Vec<_> = arguments.iter().map(|slot| subject("argument", among, *slot)).collect();
            format!("{}, whose types the kernel tells, satisfy {}", arguments.join(" and "), operator.name())
        }
    }
}

fn within(ranges: &[NumberRange]) -> String {
    let range = |range: &NumberRange| match (range.first.0, range.last.0) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first} to {last}"),
    };
    let ranges: Vec<_> = ranges.iter().map(range).collect();
    any(&ranges)
}

fn field(field: Field) -> &'static str {
    match field {
        Field::SourcePort => "source port",
        Field::DestinationPort => "destination port",
        Field::Protocol => "protocol's number",
        Field::Family => "family's number",
        Field::State => "state's number",
    }
}

fn text(what: &str, operator: TextOperator, texts: &[Box<[u8]>]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    let verb = match operator {
        TextOperator::Equal => "is",
        TextOperator::NotEqual => "is not",
        TextOperator::Prefix => "begins with",
        TextOperator::NotPrefix => "does not begin with",
        TextOperator::Postfix => "ends with",
        TextOperator::NotPostfix => "does not end with",
    };
    format!("{what} {verb} {}", any(&texts))
}

fn file_type(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket",
        FileType::Symlink => "a symbolic link",
        FileType::Regular => "a regular file",
        FileType::Block => "a block device",
        FileType::Directory => "a directory",
        FileType::Character => "a character device",
        FileType::Fifo => "a pipe",
    }
}

fn pids(filter: &PidFilter) -> String {
    let numbers: Vec<_> = filter.pids.iter().map(u32::to_string).collect();
    let whose = if filter.in_namespace { "its PID in its own namespace" } else { "its PID" };
    let negated = filter.operator == Membership::NotIn;
    if filter.follow_forks {
        let whose = if filter.in_namespace { "PID in its own namespace" } else { "PID" };
        let verb = if negated { "neither is nor descends from" } else { "is or descends from" };
        return format!("the process {verb} {whose} {}", any(&numbers));
    }
    format!("{whose} is {}{}", not(negated), any(&numbers))
}

fn binaries(whose: &str, filter: &BinaryFilter) -> String {
    let operator = match filter.operator {
        BinaryOperator::In => TextOperator::Equal,
        BinaryOperator::NotIn => TextOperator::NotEqual,
        BinaryOperator::Prefix => TextOperator::Prefix,
        BinaryOperator::NotPrefix => TextOperator::NotPrefix,
        BinaryOperator::Postfix => TextOperator::Postfix,
        BinaryOperator::NotPostfix => TextOperator::NotPostfix,
    };
    let whose =
        if filter.follow_children { format!("{whose}, or that of an ancestor,") } else { whose.to_owned() };
    text(&whose, operator, &filter.paths)
}

fn namespaces(filter: &NamespaceFilter) -> String {
    let name = namespace(filter.namespace);
    let values: Vec<_> = filter
        .values
        .iter()
        .map(|value| match value {
            NamespaceId::Host => "the host's".to_owned(),
            NamespaceId::Inode(inode) => inode.to_string(),
        })
        .collect();
    format!("its {name} namespace is {}{}", not(filter.operator == Membership::NotIn), any(&values))
}

fn namespace_changes(filter: &NamespaceChangeFilter) -> String {
    let names: Vec<_> = filter.namespaces.iter().map(|kind| namespace(*kind).to_owned()).collect();
    format!("since it executed its program it went into another namespace: {}", any(&names))
}

fn namespace(kind: Namespace) -> &'static str {
    match kind {
        Namespace::Uts => "host name",
        Namespace::Ipc => "IPC",
        Namespace::Mnt => "mount",
        Namespace::Pid => "PID",
        Namespace::PidForChildren => "children's PID",
        Namespace::Net => "network",
        Namespace::Time => "time",
        Namespace::TimeForChildren => "children's time",
        Namespace::Cgroup => "cgroup",
        Namespace::User => "user",
    }
}

fn capabilities(filter: &CapabilityFilter) -> String {
    let set = capability_set(filter.set);
    let all = capability_names(filter.capabilities);
    let verb = if filter.operator == Membership::In { "hold" } else { "do not hold" };
    let mut text = format!("its {set} capabilities {verb} {}", any(&all));
    if filter.in_namespace {
        text.push_str(", and its user namespace is not the host's");
    }
    text
}

fn capability_changes(filter: &CapabilityFilter) -> String {
    let verb = if filter.operator == Membership::In { "changed in" } else { "changed otherwise than in" };
    let all = capability_names(filter.capabilities);
    format!(
        "its {} capabilities {verb} {} since it executed its program",
        capability_set(filter.set),
        any(&all)
    )
}

fn marks(filter: &MarkFilter) -> String {
    let names: Vec<_> = filter.marks.iter().map(|mark| mark.to_string()).collect();
    let verb = if filter.operator == Membership::In { "has" } else { "does not have" };
    format!("the process {verb} the mark {}", any(&names))
}

fn capability_set(set: CapabilitySet) -> &'static str {
    match set {
        CapabilitySet::Effective => "effective",
        CapabilitySet::Inheritable => "inheritable",
        CapabilitySet::Permitted => "permitted",
    }
}

fn capability_names(capabilities: u64) -> Vec<String> {
    let name = |number| names::capability(number).map_or_else(|| number.to_string(), str::to_owned);
    names::capabilities(capabilities).map(name).collect()
}

fn action(hook: &Hook, action: &Action) -> String {
    let of_execution = matches!(hook.point, Point::Process);
    match action {
        Action::Post(_) if of_execution => "tell of it".to_owned(),
        Action::NoPost if of_execution => "tell nothing of it, from its exec to its exit".to_owned(),
        Action::Post(how) => post(how),
        Action::NoPost => "post nothing".to_owned(),
        Action::Sigkill => "kill the process (SIGKILL)".to_owned(),
        Action::Signal(signal) => format!("send the process {}", names::signal(*signal)),
        Action::FollowFd { .. } => "follow the open file from here on".to_owned(),
        Action::UnfollowFd { .. } => {
            "follow the open file no longer, once its last descriptor is closed".to_owned()
        }
        Action::CopyFd { .. } => "follow the copy too, which is the same open file".to_owned(),
        Action::TrackSock { .. } => "track the socket as this process's from here on".to_owned(),
        Action::UntrackSock { .. } => "track the socket no longer".to_owned(),
        Action::Mark { mark } => format!("mark the process as {mark} from here on"),
        Action::Unmark { mark } => format!("take the mark {mark} from the process"),
        Action::Override { error } => match hook.point.is_in_program() {
            true => format!("have the function return {error} at once, and do nothing"),
            false => format!("deny the call, which returns {error}"),
        },
        Action::Set { argument, value } => {
            let index = hook.arguments.get(usize::from(argument.0)).map_or(0, |argument| argument.index);
            format!("set argument {index} of the probe to {value}")
        }
        Action::NotifyEnforcer { .. } => {
            "have the enforcer act at the thread's next call of its list".to_owned()
        }
        Action::CleanupEnforcerNotification => {
            "take back what the enforcer was told of the thread".to_owned()
        }
        Action::Enforce => "do what was asked for at an earlier call of the thread".to_owned(),
        Action::CallOut(OutboundCall::Get(url)) => {
            format!("have the agent ask for {url} (GET), which tells nothing of the event")
        }
        Action::CallOut(OutboundCall::Lookup(name)) => {
            format!("have the agent look up the name {name}, which tells nothing of the event")
        }
        Action::ImaHash => "tell the hash of the file (IMA)".to_owned(),
    }
}

fn post(how: &Post) -> String {
    let mut text = how.limit.as_ref().map_or_else(|| "post the event".to_owned(), rate);
    match (how.kernel_stack, how.user_stack) {
        (true, true) => text.push_str(", with the stacks of the kernel and the program"),
        (true, false) => text.push_str(", with the kernel's stack"),
        (false, true) => text.push_str(", with the program's stack"),
        (false, false) => {}
    }
    text
}

fn rate(limit: &RateLimit) -> String {
    let RateLimit { interval, scope } = limit;
    let whose = match scope {
        RateLimitScope::Thread => "of a thread",
        RateLimitScope::Process => "of a process",
        RateLimitScope::Global => "of all processes together",
    };
    format!("post the event; of those with the same arguments {whose} one in {}", period(*interval))
}

fn period(interval: Duration) -> String {
    match interval.as_secs() {
        1 => "a second".to_owned(),
        60 => "a minute".to_owned(),
        3600 => "an hour".to_owned(),
        seconds if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "not " } else { "" }
}

/// One of some values, as many as can be read.
fn any(values: &[String]) -> String {
    match values {
        [] => "anything".to_owned(),
        [only] => only.clone(),
        [shown @ .., last] if shown.len() < SHOWN => format!("{} or {last}", shown.join(", ")),
        values => format!("{} or one of {} more", values[..SHOWN].join(", "), values.len() - SHOWN),
    }
}

/// Text of a policy as a terminal may have it.
fn quoted(text: &[u8]) -> String {
    let mut escaped = String::new();
    push_escaped(text, &mut escaped);
    format!("{escaped:?}")
}
