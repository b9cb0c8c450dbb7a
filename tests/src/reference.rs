//! What a policy's selectors mean, said once more: from the language's definition alone, without tables, bits or
//! lookups. What the kernel decides is compared with it.
//!
//! What can't be read satisfies no condition but those that say what it is not (`NotEqual`, `NotPrefix`, `NotInMap` and
//! so on); `CelExpr` and `CapabilitiesGained` hold only where all that they name can be read.

use std::{collections::BTreeSet, net::IpAddr};

use trigon::policy::model::{
    arguments::ArgumentSlot,
    conditions::{Comparison, Condition, End, Field, FileType, Number, NumberRange, TextOperator},
    expressions::{Binary, Expression, Node, Type, Unary},
    selectors::{
        BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, Membership, Namespace, NamespaceId,
        PidFilter, Selector,
    },
};

/// A call, as far as selectors look at it.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// The hook's arguments in the order of the policy; none where it can't be read.
    pub arguments: Vec<Option<Value>>,
    /// Its further data, likewise.
    pub data: Vec<Option<Value>>,
    /// What the function returned; none where that isn't known, or it hasn't.
    pub returned: Option<Value>,
    /// Who makes the call.
    pub process: Process,
}

/// A value of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A number.
    Number(i128),
    /// Text, or bytes.
    Text(Vec<u8>),
    /// A path, and what is there.
    File(Vec<u8>, FileType),
    /// A socket, a packet, or an address: of that the source alone.
    Endpoint(Endpoint),
}

/// What a socket or a packet has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// AF_*
    pub family: u16,
    /// IPPROTO_*
    pub protocol: u16,
    /// TCP_*
    pub state: u8,
    /// Its own end; none of a family that isn't the Internet's.
    pub source: Option<(IpAddr, u16)>,
    /// The other.
    pub destination: Option<(IpAddr, u16)>,
}

/// Who makes a call.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its pid in the first namespace.
    pub pid: u32,
    /// Its pid in its own.
    pub namespace_pid: u32,
    /// The pids of all that it descends from, itself too, in the first namespace.
    pub lineage: Vec<u32>,
    /// The path of its program.
    pub binary: Vec<u8>,
    /// The path of its parent's.
    pub parent_binary: Vec<u8>,
    /// The inode of each namespace.
    pub namespaces: Vec<(Namespace, u32)>,
    /// The inode of each of the host's.
    pub host_namespaces: Vec<(Namespace, u32)>,
    /// Effective, inheritable and permitted capabilities.
    pub capabilities: [u64; 3],
    /// Kinds of namespaces that it changed since it executed its program.
    pub changed_namespaces: Vec<Namespace>,
    /// Capabilities that it gained or lost since then, in the order of `capabilities`.
    pub changed_capabilities: [u64; 3],
}

/// Whether a selector matches a call. Pods and containers are not looked at.
pub fn matches(selector: &Selector, event: &Event) -> bool {
    let process = &event.process;
    selector.pids.iter().all(|filter| pids(filter, process))
        && selector.binaries.iter().all(|filter| binary(filter, &process.binary))
        && selector.parent_binaries.iter().all(|filter| binary(filter, &process.parent_binary))
        && selector.namespaces.iter().all(|filter| {
            let inode = inode_of(&process.namespaces, filter.namespace);
            let of_host = inode_of(&process.host_namespaces, filter.namespace);
            let is = |id: &NamespaceId| match id {
                NamespaceId::Host => inode == of_host,
                NamespaceId::Inode(other) => inode == *other,
            };
            member(filter.operator, filter.values.iter().any(is))
        })
        && selector
            .namespace_changes
            .iter()
            .all(|filter| filter.namespaces.iter().any(|kind| process.changed_namespaces.contains(kind)))
        && selector.capabilities.iter().all(|filter| {
            counts(filter, process)
                && member(
                    filter.operator,
                    set_of(&process.capabilities, filter.set) & filter.capabilities != 0,
                )
        })
        && selector.capability_changes.iter().all(|filter| {
            let changed = set_of(&process.changed_capabilities, filter.set);
            let (these, others) = (changed & filter.capabilities != 0, changed & !filter.capabilities != 0);
            counts(filter, process)
                && match filter.operator {
                    Membership::In => these,
                    Membership::NotIn => others && !these,
                }
        })
        && [(&selector.arguments, &event.arguments), (&selector.data, &event.data)].iter().all(
            |(filters, values)| {
                let value = |slot: ArgumentSlot| values.get(usize::from(slot.0)).and_then(Option::as_ref);
                filters.iter().all(|filter| holds(&filter.condition, value(filter.argument), &value))
            },
        )
        && selector
            .return_values
            .iter()
            .all(|filter| holds(&filter.condition, event.returned.as_ref(), &|_| None))
}

type Arguments<'a> = dyn Fn(ArgumentSlot) -> Option<&'a Value> + 'a;

fn member(operator: Membership, is_in: bool) -> bool {
    is_in == (operator == Membership::In)
}

fn pids(filter: &PidFilter, process: &Process) -> bool {
    let own = if filter.in_namespace { process.namespace_pid } else { process.pid };
    let is_in = match filter.follow_forks {
        true => process.lineage.iter().any(|pid| filter.pids.contains(pid)),
        false => filter.pids.contains(&own),
    };
    member(filter.operator, is_in)
}

fn binary(filter: &BinaryFilter, path: &[u8]) -> bool {
    let any = |test: fn(&[u8], &[u8]) -> bool| filter.paths.iter().any(|given| test(path, given));
    match filter.operator {
        BinaryOperator::In => any(|path, given| path == given),
        BinaryOperator::NotIn => !any(|path, given| path == given),
        BinaryOperator::Prefix => any(|path, given| path.starts_with(given)),
        BinaryOperator::NotPrefix => !any(|path, given| path.starts_with(given)),
        BinaryOperator::Postfix => any(|path, given| path.ends_with(given)),
        BinaryOperator::NotPostfix => !any(|path, given| path.ends_with(given)),
    }
}

fn inode_of(namespaces: &[(Namespace, u32)], kind: Namespace) -> u32 {
    namespaces.iter().find(|(other, _)| *other == kind).map_or(0, |(_, inode)| *inode)
}

fn set_of(sets: &[u64; 3], set: CapabilitySet) -> u64 {
    match set {
        CapabilitySet::Effective => sets[0],
        CapabilitySet::Inheritable => sets[1],
        CapabilitySet::Permitted => sets[2],
    }
}

/// `isNamespaceCapability`: the process is in a user namespace that isn't the host's.
fn counts(filter: &CapabilityFilter, process: &Process) -> bool {
    let user = |namespaces| inode_of(namespaces, Namespace::User);
    !filter.in_namespace || user(&process.namespaces) != user(&process.host_namespaces)
}

fn holds<'a>(condition: &Condition, value: Option<&'a Value>, arguments: &Arguments<'a>) -> bool {
    match condition {
        Condition::Compare(comparison, numbers) => match value.and_then(number) {
            Some(value) => compare(*comparison, value, numbers),
            None => *comparison == Comparison::NotEqual,
        },
        Condition::Within { negated, ranges } => {
            value.and_then(number).is_some_and(|value| within(value, ranges)) != *negated
        }
        Condition::Text(operator, texts) => {
            let any = |test: fn(&[u8], &[u8]) -> bool| {
                value.and_then(text).is_some_and(|value| texts.iter().any(|given| test(value, given)))
            };
            match operator {
                TextOperator::Equal => any(|value, given| value == given),
                TextOperator::NotEqual => !any(|value, given| value == given),
                TextOperator::Prefix => any(|value, given| value.starts_with(given)),
                TextOperator::NotPrefix => !any(|value, given| value.starts_with(given)),
                TextOperator::Postfix => any(|value, given| value.ends_with(given)),
                TextOperator::NotPostfix => !any(|value, given| value.ends_with(given)),
            }
        }
        Condition::FileType { negated, types } => {
            let is = |value: &Value| matches!(value, Value::File(_, kind) if types.contains(kind));
            value.is_some_and(is) != *negated
        }
        Condition::Contains { any_case, texts } => value.and_then(text).is_some_and(|value| {
            texts.iter().any(|given| {
                value.windows(given.len()).any(|part| match any_case {
                    true => part.eq_ignore_ascii_case(given),
                    false => part == &**given,
                })
            })
        }),
        Condition::Field { field, negated, ranges } => {
            let found = value.and_then(endpoint).and_then(|endpoint| field_of(endpoint, *field));
            found.is_some_and(|value| within(value, ranges)) != *negated
        }
        Condition::Address { end, negated, networks } => {
            let end_of = |endpoint: &Endpoint| match end {
                End::Source => endpoint.source,
                End::Destination => endpoint.destination,
            };
            let address =
                value.and_then(endpoint).and_then(end_of).map(|(address, _)| address.to_canonical());
            let is_in =
                |address| networks.iter().any(|network| begins_alike(network.address, address, network.bits));
            address.is_some_and(is_in) != *negated
        }
        Condition::Holds(expression) => evaluate(expression, arguments),
        Condition::Gained { sets, capabilities } => {
            let set = |slot| arguments(slot).and_then(number).map(|number| number as u64);
            match (set(sets[0]), set(sets[1])) {
                (Some(before), Some(after)) => (0..64)
                    .map(|bit| 1_u64 << bit)
                    .any(|bit| before & bit == 0 && after & bit != 0 && capabilities & bit != 0),
                _ => false,
            }
        }
        Condition::Deferred(..) | Condition::DeferredSeveral { .. } => panic!("a type was left open"),
    }
}

fn number(value: &Value) -> Option<i128> {
    if let Value::Number(number) = value { Some(*number) } else { None }
}

fn text(value: &Value) -> Option<&[u8]> {
    if let Value::Text(text) | Value::File(text, _) = value { Some(text) } else { None }
}

fn endpoint(value: &Value) -> Option<&Endpoint> {
    if let Value::Endpoint(endpoint) = value { Some(endpoint) } else { None }
}

fn compare(comparison: Comparison, value: i128, numbers: &[Number]) -> bool {
    match comparison {
        Comparison::Equal => numbers.iter().any(|number| value == number.0),
        Comparison::NotEqual => numbers.iter().all(|number| value != number.0),
        Comparison::GreaterThan => numbers.iter().any(|number| value > number.0),
        Comparison::LessThan => numbers.iter().any(|number| value < number.0),
        Comparison::Mask => numbers.iter().any(|number| value & number.0 & i128::from(u64::MAX) != 0),
    }
}

fn within(value: i128, ranges: &[NumberRange]) -> bool {
    ranges.iter().any(|range| range.first.0 <= value && value <= range.last.0)
}

fn field_of(endpoint: &Endpoint, field: Field) -> Option<i128> {
    match field {
        Field::SourcePort => endpoint.source.map(|(_, port)| port.into()),
        Field::DestinationPort => endpoint.destination.map(|(_, port)| port.into()),
        Field::Protocol => Some(endpoint.protocol.into()),
        Field::Family => Some(endpoint.family.into()),
        Field::State => Some(endpoint.state.into()),
    }
}

fn begins_alike(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let bytes = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (one, other) = (bytes(one), bytes(other));
    let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    one.len() == other.len() && (0..usize::from(bits)).all(|at| bit(&one, at) == bit(&other, at))
}

/// Whether an expression holds.
fn evaluate<'a>(expression: &Expression, arguments: &Arguments<'a>) -> bool {
    // One that can't be read makes it false, wherever it stands.
    let named: BTreeSet<u8> = expression.arguments().iter().map(|slot| slot.0).collect();
    let readable = |slot: &u8| arguments(ArgumentSlot(*slot)).and_then(number).is_some();
    named.iter().all(readable) && computed(&expression.root, arguments) == 1
}

fn computed<'a>(node: &Node, arguments: &Arguments<'a>) -> i128 {
    let wrapped = |number: i128, kind| match kind {
        Type::Bool => number,
        Type::I32 => i128::from(number as i32),
        Type::U32 => i128::from(number as u32),
        Type::I64 => i128::from(number as i64),
        Type::U64 => i128::from(number as u64),
    };
    match node {
        Node::Constant(_, number) => *number,
        Node::Argument(slot, _) => arguments(*slot).and_then(number).unwrap_or_default(),
        Node::Unary(operation, operand) => {
            let value = computed(operand, arguments);
            match operation {
                Unary::LogicalNot => i128::from(value == 0),
                Unary::Not => wrapped(!value, operand.kind()),
                Unary::ToI32 => wrapped(value, Type::I32),
                Unary::ToU32 => wrapped(value, Type::U32),
            }
        }
        Node::Binary(operation, left, right) => {
            let kind = left.kind();
            let (left, right) = (computed(left, arguments), computed(right, arguments));
            match operation {
                Binary::Add => wrapped(left + right, kind),
                Binary::Subtract => wrapped(left - right, kind),
                Binary::And => wrapped(left & right, kind),
                Binary::Or => wrapped(left | right, kind),
                Binary::Xor => wrapped(left ^ right, kind),
                Binary::LogicalAnd => i128::from(left == 1 && right == 1),
                Binary::LogicalOr => i128::from(left == 1 || right == 1),
                Binary::Equal => i128::from(left == right),
                Binary::NotEqual => i128::from(left != right),
                Binary::Less => i128::from(left < right),
                Binary::LessOrEqual => i128::from(left <= right),
                Binary::Greater => i128::from(left > right),
                Binary::GreaterOrEqual => i128::from(left >= right),
            }
        }
    }
}
