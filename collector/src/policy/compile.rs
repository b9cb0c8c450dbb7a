//! From policies to what the kernel understands: one table for each hook, made of all selectors that name it.
//!
//! `bpf/hook/plan.h` explains tables. A selector is a bit. Each of its filters becomes a condition on a dimension, and
//! a dimension is compiled by asking, for each class of values that its conditions tell apart, which selectors it
//! satisfies.

use trigon_exporters::event::Namespaces;
use trigon_probes::hooks::{
    TablePlan,
    plan::{
        self, Dimension, Mask, PostArg, SELECTORS, Table, VALUES, ValueSpec, class, selector_flags, source,
        value_type,
    },
};

use super::model::{
    Located,
    actions::{Action, RateLimitScope},
    arguments::{Argument, ArgumentSlot, ArgumentType, Integer},
    conditions::{Comparison, Condition, TextOperator},
    hooks::Hook,
    selectors::{BinaryFilter, BinaryOperator, Membership, Namespace, NamespaceId, PidFilter, Selector},
};
use condition::{Numbers, Texts, Turn};
use lineage::Lineages;

mod condition;
pub mod lineage;
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
    /// What the policy says.
    pub hook: &'a Hook,
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

/// A table in the making.
struct Builder<'a> {
    host: Host,
    lineages: &'a mut Lineages,
    values: Vec<ValueSpec>,
    dimensions: Vec<Asked>,
    selectors: Vec<plan::Selector>,
    late: Mask,
    follows: bool,
}

/// A dimension and what selectors ask of it.
struct Asked {
    value: u8,
    class: u8,
    late: bool,
    conditions: Conditions,
}

enum Conditions {
    Numbers(Vec<(usize, Numbers)>),
    Texts(Vec<(usize, Texts)>),
    Bits(Vec<(usize, u64, bool)>),
    Present(Vec<usize>),
}

/// Compiles the table of a hook that these parts share.
///
/// # Errors
/// There is no room for all of them, or one asks for what isn't there yet.
pub fn table(parts: &[Part<'_>], host: Host, lineages: &mut Lineages) -> Result<TablePlan, CompileError> {
    let mut builder = Builder {
        host,
        lineages,
        values: Vec::new(),
        dimensions: Vec::new(),
        selectors: Vec::new(),
        late: Mask::default(),
        follows: false,
    };
    for part in parts {
        builder.part(*part)?;
    }
    builder.finish()
}

// === impl Builder ===

impl Builder<'_> {
    fn part(&mut self, part: Part<'_>) -> Result<(), CompileError> {
        let first = self.selectors.len();
        if part.hook.selectors.is_empty() {
            self.selector(part, None, 0)?;
        }
        for (selector, number) in part.hook.selectors.iter().zip(0..) {
            self.selector(part, Some(selector), number)?;
        }
        let next = self.selectors.len() as u16;
        self.selectors[first..].iter_mut().for_each(|selector| selector.next = next);
        Ok(())
    }

    fn selector(
        &mut self,
        part: Part<'_>,
        selector: Option<&Selector>,
        number: u16,
    ) -> Result<(), CompileError> {
        let bit = self.selectors.len();
        if bit >= SELECTORS {
            return Err(CompileError::Full { what: "selectors", limit: SELECTORS });
        }
        let mut plan = plan::Selector {
            policy_hook: part.policy_hook,
            number,
            group: part.policy,
            flags: selector_flags::POST,
            action: number_of(&Action::Post(None)),
            ..plan::Selector::default()
        };
        let returns = selector.is_some_and(|selector| !selector.return_values.is_empty());
        if part.hook.at_return() || returns {
            self.late.set(bit);
            plan.flags |= selector_flags::RETURN;
        }
        if let Some(selector) = selector {
            self.filters(part, selector, bit)?;
            let actions = selector.actions.iter().chain(&selector.return_actions);
            self.actions(part, actions, bit, &mut plan)?;
        }
        self.post(part, bit, &mut plan)?;
        self.selectors.push(plan);
        Ok(())
    }

    fn filters(&mut self, part: Part<'_>, selector: &Selector, bit: usize) -> Result<(), CompileError> {
        for filter in &selector.pids {
            self.pids(filter, bit)?;
        }
        if let Some(filter) = &selector.binaries {
            self.binaries(filter, source::BINARY, bit)?;
        }
        if let Some(filter) = &selector.parent_binaries {
            if filter.follow_children {
                return Err(CompileError::Unsupported("matchParentBinaries with followChildren"));
            }
            self.binaries(filter, source::PARENT_BINARY, bit)?;
        }
        for filter in &selector.namespaces {
            let index = index_of(filter.namespace);
            let value = self.value(ValueSpec { source: source::NAMESPACE, index, ..ValueSpec::default() })?;
            let inodes = filter.values.iter().map(|id| match id {
                NamespaceId::Host => self.host_inode(filter.namespace),
                NamespaceId::Inode(inode) => *inode,
            });
            let numbers =
                Numbers::among(inodes.map(u64::from), filter.operator == Membership::NotIn, Turn::Unsigned);
            self.numbers(value, class::NUMBER, false, bit, numbers)?;
        }
        for filter in &selector.capabilities {
            if filter.in_namespace {
                return Err(CompileError::Unsupported("matchCapabilities with isNamespaceCapability"));
            }
            let index = filter.set as u8;
            // The model's order is effective, inheritable, permitted; the plan's begins with the last two.
            let index = [2, 0, 1][usize::from(index)];
            let value =
                self.value(ValueSpec { source: source::CAPABILITIES, index, ..ValueSpec::default() })?;
            self.bits(value, bit, filter.capabilities, filter.operator == Membership::NotIn)?;
        }
        for filter in &selector.arguments {
            let argument = argument(part.hook, filter.argument)?;
            let value = self.argument(part, argument)?;
            self.condition(value, argument.kind, &filter.condition, false, bit)?;
        }
        for filter in &selector.return_values {
            let kind = part
                .hook
                .return_value
                .as_ref()
                .map_or(ArgumentType::Integer(Integer::I64), |value| value.kind);
            let value = self.returned(kind)?;
            self.condition(value, kind, &filter.condition, true, bit)?;
        }
        Ok(())
    }

    fn pids(&mut self, filter: &PidFilter, bit: usize) -> Result<(), CompileError> {
        let negated = filter.operator == Membership::NotIn;
        if filter.follow_forks {
            let bits = self.lineages.of_pids(&filter.pids, filter.in_namespace)?;
            let value = self.value(ValueSpec { source: source::LINEAGE, ..ValueSpec::default() })?;
            return self.bits(value, bit, bits, negated);
        }
        let source = if filter.in_namespace { source::NAMESPACE_PID } else { source::PID };
        let value = self.value(ValueSpec { source, ..ValueSpec::default() })?;
        let numbers = Numbers::among(filter.pids.iter().map(|pid| u64::from(*pid)), negated, Turn::Unsigned);
        self.numbers(value, class::NUMBER, false, bit, numbers)
    }

    fn binaries(&mut self, filter: &BinaryFilter, source: u8, bit: usize) -> Result<(), CompileError> {
        let operator = match filter.operator {
            BinaryOperator::In => TextOperator::Equal,
            BinaryOperator::NotIn => TextOperator::NotEqual,
            BinaryOperator::Prefix => TextOperator::Prefix,
            BinaryOperator::NotPrefix => TextOperator::NotPrefix,
            BinaryOperator::Postfix => TextOperator::Postfix,
            BinaryOperator::NotPostfix => TextOperator::NotPostfix,
        };
        if filter.follow_children {
            let bits = self.lineages.of_binaries(&filter.paths)?;
            let value = self.value(ValueSpec { source: source::LINEAGE, ..ValueSpec::default() })?;
            return self.bits(value, bit, bits, operator.negated());
        }
        let value = self.value(ValueSpec { source, ..ValueSpec::default() })?;
        self.texts(value, false, bit, operator, &filter.paths)
    }

    fn condition(
        &mut self,
        value: u8,
        kind: ArgumentType,
        condition: &Condition,
        late: bool,
        bit: usize,
    ) -> Result<(), CompileError> {
        let turn = match kind {
            ArgumentType::Integer(integer) if integer.is_signed() => Turn::Signed,
            _ => Turn::Unsigned,
        };
        match condition {
            Condition::Compare(Comparison::Mask, numbers) => {
                let bits = numbers.iter().fold(0, |all, number| all | number.bits());
                self.bits_of(value, late, bit, bits, false)
            }
            Condition::Compare(comparison, numbers) => {
                let numbers = Numbers::compared(*comparison, numbers, turn);
                self.numbers(value, class::NUMBER, late, bit, numbers)
            }
            Condition::Within { negated, ranges } => {
                self.numbers(value, class::NUMBER, late, bit, Numbers::within(ranges, *negated, turn))
            }
            Condition::Text(operator, texts) => self.texts(value, late, bit, *operator, texts),
            Condition::FileType { negated, types } => {
                let modes = types.iter().map(|kind| u64::from(kind.mode()));
                let numbers = Numbers::among(modes, *negated, Turn::Unsigned);
                self.numbers(value, class::FILE_TYPE, late, bit, numbers)
            }
            Condition::Deferred(..) => Err(CompileError::Unsupported("a filter on an argument of type auto")),
        }
    }

    fn actions<'b>(
        &mut self,
        part: Part<'_>,
        actions: impl Iterator<Item = &'b Located<Action>>,
        bit: usize,
        plan: &mut plan::Selector,
    ) -> Result<(), CompileError> {
        for action in actions {
            plan.action = number_of(action);
            match &action.value {
                Action::Post(None) => {}
                Action::Post(Some(limit)) => {
                    plan.rate_interval = u64::try_from(limit.interval.as_nanos()).unwrap_or(u64::MAX);
                    plan.rate_scope = match limit.scope {
                        RateLimitScope::Thread => 0,
                        RateLimitScope::Process => 1,
                        RateLimitScope::Global => 2,
                    };
                }
                Action::NoPost => plan.flags &= !selector_flags::POST,
                Action::Sigkill => plan.signal = 9,
                Action::Signal(signal) => plan.signal = *signal,
                Action::FollowFd { name, .. } => {
                    let file = argument(part.hook, *name)?;
                    if file.kind != ArgumentType::File {
                        return Err(CompileError::Unsupported("FollowFD whose argName is no `file`"));
                    }
                    plan.flags |= selector_flags::FOLLOW;
                    plan.follow = self.argument(part, file)?;
                    self.follows = true;
                }
                Action::UnfollowFd { fd } => {
                    plan.flags |= selector_flags::UNFOLLOW;
                    let fd = argument(part.hook, *fd)?;
                    plan.follow = self.followed(part, fd, bit)?;
                }
                // An open file is followed, not its number: a copy is the same open file.
                Action::CopyFd { .. } => {}
            }
        }
        Ok(())
    }

    /// Which arguments are posted, and how.
    fn post(&mut self, part: Part<'_>, bit: usize, plan: &mut plan::Selector) -> Result<(), CompileError> {
        for (argument, number) in part.hook.arguments.iter().zip(0..) {
            if argument.kind == ArgumentType::Nop {
                continue;
            }
            let unfollowed = plan.flags & selector_flags::UNFOLLOW != 0
                && self.values.get(usize::from(plan.follow)).is_some_and(|spec| spec.index == argument.index);
            let value = if unfollowed { plan.follow } else { self.argument(part, argument)? };
            if part.follows && argument.kind == ArgumentType::Fd {
                self.present(value, bit)?;
            }
            let flags = if argument.copy_at_return { plan::POST_LATE } else { 0 };
            let place = plan.arg.get_mut(usize::from(plan.args));
            let place = place.ok_or(CompileError::Full { what: "arguments", limit: plan::POST_ARGS })?;
            *place = PostArg { value, flags, number, reserved: 0 };
            plan.args += 1;
        }
        Ok(())
    }

    // --- values ---

    fn value(&mut self, spec: ValueSpec) -> Result<u8, CompileError> {
        if let Some(index) = self.values.iter().position(|known| *known == spec) {
            return Ok(index as u8);
        }
        if self.values.len() >= VALUES {
            return Err(CompileError::Full { what: "values", limit: VALUES });
        }
        self.values.push(spec);
        Ok(self.values.len() as u8 - 1)
    }

    fn argument(&mut self, part: Part<'_>, argument: &Argument) -> Result<u8, CompileError> {
        /// What a buffer has at most: Tetragon's, and what a record can hold with `maxData`.
        const BUFFER: u32 = 4096;
        const MAX_DATA: u32 = 16_384;
        let mut spec = ValueSpec {
            source: source::ARG,
            index: argument.index,
            kind: kind_of(argument.kind)?,
            ..ValueSpec::default()
        };
        if argument.kind.is_buffer() {
            spec.size_arg = argument.size_from.map_or(0, |index| index + 1);
            spec.most = if argument.max_data { MAX_DATA } else { BUFFER };
        }
        if part.follows && argument.kind == ArgumentType::Fd {
            spec.kind = value_type::FOLLOWED;
            spec.most = part.policy;
        }
        self.value(spec)
    }

    fn returned(&mut self, kind: ArgumentType) -> Result<u8, CompileError> {
        self.value(ValueSpec { source: source::RETURN, kind: kind_of(kind)?, ..ValueSpec::default() })
    }

    /// A descriptor that has to be followed for the selector to match.
    fn followed(&mut self, part: Part<'_>, argument: &Argument, bit: usize) -> Result<u8, CompileError> {
        let value = self.value(ValueSpec {
            source: source::ARG,
            index: argument.index,
            kind: value_type::FOLLOWED,
            size_arg: 0,
            most: part.policy,
        })?;
        self.present(value, bit)?;
        Ok(value)
    }

    fn host_inode(&self, namespace: Namespace) -> u32 {
        let host = &self.host.namespaces;
        match namespace {
            Namespace::Uts => host.uts,
            Namespace::Ipc => host.ipc,
            Namespace::Mnt => host.mnt,
            Namespace::Pid => host.pid,
            Namespace::PidForChildren => host.pid_for_children,
            Namespace::Net => host.net,
            Namespace::Time => host.time,
            Namespace::TimeForChildren => host.time_for_children,
            Namespace::Cgroup => host.cgroup,
            Namespace::User => host.user,
        }
    }

    // --- dimensions ---

    fn asked(
        &mut self,
        value: u8,
        class: u8,
        late: bool,
        empty: fn() -> Conditions,
    ) -> Result<&mut Conditions, CompileError> {
        let same = |asked: &Asked| (asked.value, asked.class, asked.late) == (value, class, late);
        match self.dimensions.iter().position(same) {
            Some(index) => Ok(&mut self.dimensions[index].conditions),
            None => self.new_dimension(value, class, late, empty()),
        }
    }

    fn numbers(
        &mut self,
        value: u8,
        class: u8,
        late: bool,
        bit: usize,
        numbers: Numbers,
    ) -> Result<(), CompileError> {
        if let Conditions::Numbers(all) =
            self.asked(value, class, late, || Conditions::Numbers(Vec::new()))?
        {
            all.push((bit, numbers));
        }
        Ok(())
    }

    fn texts(
        &mut self,
        value: u8,
        late: bool,
        bit: usize,
        operator: TextOperator,
        texts: &[Box<[u8]>],
    ) -> Result<(), CompileError> {
        let texts = Texts::new(operator, texts)?;
        let class = if texts.from_end { class::SUFFIX } else { class::PREFIX };
        if let Conditions::Texts(all) = self.asked(value, class, late, || Conditions::Texts(Vec::new()))? {
            all.push((bit, texts));
        }
        Ok(())
    }

    fn bits(&mut self, value: u8, bit: usize, bits: u64, negated: bool) -> Result<(), CompileError> {
        self.bits_of(value, false, bit, bits, negated)
    }

    /// A dimension of bits has room for one condition of each selector: further ones go to others.
    fn bits_of(
        &mut self,
        value: u8,
        late: bool,
        bit: usize,
        bits: u64,
        negated: bool,
    ) -> Result<(), CompileError> {
        for asked in &mut self.dimensions {
            if let Conditions::Bits(all) = &mut asked.conditions
                && (asked.value, asked.late) == (value, late)
                && all.iter().all(|(selector, ..)| *selector != bit)
            {
                all.push((bit, bits, negated));
                return Ok(());
            }
        }
        self.new_dimension(value, class::BITS, late, Conditions::Bits(vec![(bit, bits, negated)])).map(|_| ())
    }

    fn new_dimension(
        &mut self,
        value: u8,
        class: u8,
        late: bool,
        conditions: Conditions,
    ) -> Result<&mut Conditions, CompileError> {
        if self.dimensions.len() >= plan::DIMENSIONS {
            return Err(CompileError::Full { what: "different filters", limit: plan::DIMENSIONS });
        }
        self.dimensions.push(Asked { value, class, late, conditions });
        let last = self.dimensions.len() - 1;
        Ok(&mut self.dimensions[last].conditions)
    }

    fn present(&mut self, value: u8, bit: usize) -> Result<(), CompileError> {
        if let Conditions::Present(all) =
            self.asked(value, class::PRESENT, false, || Conditions::Present(Vec::new()))?
        {
            all.push(bit);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<TablePlan, CompileError> {
        // What is cheap to look at first: most calls end there.
        self.dimensions.sort_by_key(|asked| {
            let cheap = self.values.get(usize::from(asked.value)).is_some_and(|spec| {
                !matches!(spec.source, source::BINARY | source::PARENT_BINARY)
                    && (spec.source != source::ARG || spec.kind < value_type::STRING)
            });
            !cheap
        });
        let count = self.selectors.len();
        let all = Mask::of(0..count);
        let mut plan = TablePlan {
            table: Table {
                selectors: all,
                late: self.late,
                values: self.values.len() as u8,
                dimensions: self.dimensions.len() as u8,
                follows: u8::from(self.follows),
                ..Table::default()
            },
            ..TablePlan::default()
        };
        plan.table.value[..self.values.len()].copy_from_slice(&self.values);
        for (index, asked) in self.dimensions.iter().enumerate() {
            let number = index as u32;
            let miss = match &asked.conditions {
                Conditions::Numbers(conditions) => {
                    let (miss, entries) = condition::numbers(conditions, count);
                    plan.numbers
                        .extend(entries.into_iter().map(|(value, bits, mask)| (number, value, bits, mask)));
                    miss
                }
                Conditions::Texts(conditions) => {
                    let (miss, entries) = condition::texts(conditions, count);
                    let to =
                        if asked.class == class::SUFFIX { &mut plan.suffixes } else { &mut plan.prefixes };
                    to.extend(entries.into_iter().map(|(text, mask)| (number, text, mask)));
                    miss
                }
                Conditions::Bits(conditions) => {
                    let (miss, entries) = condition::bits(conditions, count);
                    plan.numbers.extend(entries.into_iter().map(|(bit, mask)| (number, bit, 64, mask)));
                    miss
                }
                Conditions::Present(needing) => Mask::of((0..count).filter(|bit| !needing.contains(bit))),
            };
            plan.table.dimension[index] = Dimension {
                value: asked.value,
                class: asked.class,
                late: u8::from(asked.late),
                miss,
                ..Dimension::default()
            };
        }
        plan.selectors = self.selectors;
        Ok(plan)
    }
}

fn argument(hook: &Hook, slot: ArgumentSlot) -> Result<&Argument, CompileError> {
    hook.arguments
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
        ArgumentType::String => value_type::STRING,
        ArgumentType::Filename => value_type::FILENAME,
        ArgumentType::CharBuf | ArgumentType::ConstBuf => value_type::BYTES,
        ArgumentType::CharIovec => value_type::IOVEC,
        ArgumentType::Fd => value_type::FD,
        ArgumentType::File => value_type::FILE,
        ArgumentType::Path => value_type::PATH,
        ArgumentType::Dentry => value_type::DENTRY,
        ArgumentType::Auto => return Err(CompileError::Unsupported("an argument of type auto")),
    })
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

/// Tetragon's number of an action (`KprobeAction`).
fn number_of(action: &Action) -> u8 {
    match action {
        Action::Post(_) => 1,
        Action::FollowFd { .. } => 2,
        Action::Sigkill => 3,
        Action::UnfollowFd { .. } => 4,
        Action::CopyFd { .. } => 6,
        Action::NoPost => 9,
        Action::Signal(_) => 10,
    }
}
