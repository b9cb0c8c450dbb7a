//! One selector of a policy: its filters become conditions on dimensions, its actions what the programs do.

use trigon_probes::hooks::plan::{
    self, EXPRESSION_OPERATIONS, SELECTORS, ValueSpec, class, selector_flags, source,
};

use super::{
    super::{
        model::{
            actions::{Action, Post},
            arguments::{Argument, ArgumentSlot, ArgumentType, Class, Integer},
            conditions::{Comparison, Condition, TextOperator},
            hooks::Point,
            selectors::{
                ArgumentFilter, BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, Membership,
                Namespace, NamespaceId, PidFilter, Selector,
            },
        },
        placements::ScopeBit,
    },
    CompileError, Part,
    actions::mark_bit,
    argument,
    builder::Builder,
    condition::{Networks, Numbers, Turn},
    expression::{self, TooLarge},
    index_of, number_of,
};

// === impl Builder ===

impl Builder<'_> {
    pub(super) fn part(&mut self, part: Part<'_>) -> Result<(), CompileError> {
        let first = self.selectors.len();
        if part.hook.selectors.is_empty() {
            self.selector(part, None, 0)?;
        }
        for (selector, number) in part.hook.selectors.iter().zip(0..) {
            self.selector(part, Some(selector), number)?;
        }
        if part.hook.point == Point::Process {
            self.rest_of_executions(part)?;
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
            action: number_of(&Action::Post(Post::default())),
            ..plan::Selector::default()
        };
        let returns = selector.is_some_and(|selector| !selector.return_values.is_empty());
        // What decides what the function returns can't wait for it.
        let overrides = |action: &Action| matches!(action, Action::Override { .. });
        let decides = selector.is_some_and(|selector| selector.all_actions().any(overrides));
        if part.hook.at_return() || returns {
            plan.flags |= selector_flags::RETURN;
            if !decides {
                self.late.set(bit);
            }
        }
        if let Some(Some(scope)) = part.scopes.get(usize::from(number)) {
            self.within(scope, bit)?;
        }
        if let Some(selector) = selector {
            self.filters(part, selector, bit)?;
            let actions = selector.actions.iter().chain(&selector.return_actions);
            self.actions(part, actions, bit, &mut plan)?;
            // The agent hears of the match also where it is to tell nothing of it.
            if selector.all_actions().any(|action| action.calls_out().is_some()) && !part.trial {
                plan.flags |= selector_flags::POST;
            }
        }
        self.post(part, bit, &mut plan)?;
        if part.trial {
            plan.flags |= selector_flags::TRY;
        }
        self.selectors.push(plan);
        Ok(())
    }

    /// What becomes of executions that no selector of a policy takes: told where its selectors only say what is not, else
    /// not. It is about those of the policy's scope.
    fn rest_of_executions(&mut self, part: Part<'_>) -> Result<(), CompileError> {
        let number = u16::try_from(part.hook.selectors.len()).unwrap_or(u16::MAX);
        self.selector(part, None, number)?;
        let hides = |selector: &Selector| selector.all_actions().any(|action| *action == Action::NoPost);
        if let Some(rest) = self.selectors.last_mut()
            && !part.hook.selectors.iter().all(hides)
        {
            rest.flags &= !selector_flags::POST;
        }
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
                self.outside_of_host(Namespace::User, bit)?;
            }
            let index = set_index(filter.set);
            let value =
                self.value(ValueSpec { source: source::CAPABILITIES, index, ..ValueSpec::default() })?;
            self.bits(value, bit, filter.capabilities, filter.operator == Membership::NotIn)?;
        }
        for filter in &selector.namespace_changes {
            let value =
                self.value(ValueSpec { source: source::NAMESPACE_CHANGES, ..ValueSpec::default() })?;
            let kinds = filter.namespaces.iter().fold(0, |all, kind| all | 1 << index_of(*kind));
            self.bits(value, bit, kinds, false)?;
        }
        for filter in &selector.capability_changes {
            self.capability_changes(filter, bit)?;
        }
        for filter in &selector.marks {
            let whose = part.policy;
            let value =
                self.value(ValueSpec { source: source::MARKS, most: whose, ..ValueSpec::default() })?;
            let mut bits = filter.marks.iter().map(|mark| mark_bit(part, mark));
            let bits = bits.try_fold(0, |all, bit| Ok::<_, CompileError>(all | bit?))?;
            self.bits(value, bit, bits, filter.operator == Membership::NotIn)?;
        }
        for filter in &selector.arguments {
            self.argument_filter(part, &part.hook.arguments, filter, bit)?;
        }
        for filter in &selector.data {
            self.argument_filter(part, &part.hook.data, filter, bit)?;
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

    /// The process is where the scope is.
    fn within(&mut self, scope: &ScopeBit, bit: usize) -> Result<(), CompileError> {
        let (word, scope) = (scope.bit() / 64, scope.bit() % 64);
        let value = self.value(ValueSpec { source: source::SCOPES, index: word, ..ValueSpec::default() })?;
        self.bits(value, bit, 1 << scope, false)
    }

    /// The process is in another namespace than the host's.
    fn outside_of_host(&mut self, namespace: Namespace, bit: usize) -> Result<(), CompileError> {
        let index = index_of(namespace);
        let value = self.value(ValueSpec { source: source::NAMESPACE, index, ..ValueSpec::default() })?;
        let host = u64::from(self.host_inode(namespace));
        self.numbers(
            value,
            class::NUMBER,
            false,
            bit,
            Numbers::among(std::iter::once(host), true, Turn::Unsigned),
        )
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
            let source = if source == source::BINARY { source::LINEAGE } else { source::PARENT_LINEAGE };
            let value = self.value(ValueSpec { source, ..ValueSpec::default() })?;
            return self.bits(value, bit, bits, operator.negated());
        }
        let value = self.value(ValueSpec { source, ..ValueSpec::default() })?;
        self.texts(value, false, bit, operator, &filter.paths)
    }

    /// In: one of these is not as it was. Not in: another is, and none of these.
    fn capability_changes(&mut self, filter: &CapabilityFilter, bit: usize) -> Result<(), CompileError> {
        if filter.in_namespace {
            self.outside_of_host(Namespace::User, bit)?;
        }
        let index = set_index(filter.set);
        let value =
            self.value(ValueSpec { source: source::CAPABILITY_CHANGES, index, ..ValueSpec::default() })?;
        if filter.operator == Membership::NotIn {
            self.bits(value, bit, filter.capabilities, true)?;
            return self.bits(value, bit, !filter.capabilities, false);
        }
        self.bits(value, bit, filter.capabilities, false)
    }

    fn argument_filter(
        &mut self,
        part: Part<'_>,
        among: &[Argument],
        filter: &ArgumentFilter,
        bit: usize,
    ) -> Result<(), CompileError> {
        let named = match &filter.condition {
            Condition::Holds(expression) => expression.arguments(),
            Condition::Gained { sets, .. } => sets.to_vec(),
            _ => vec![filter.argument],
        };
        let mut late = false;
        let mut values = Vec::with_capacity(named.len());
        for slot in &named {
            let argument = argument(among, *slot)?;
            values.push(self.argument(part, argument)?);
            late |= argument.copy_at_return;
        }
        if late {
            self.late.set(bit);
        }
        let place = |slot: ArgumentSlot| {
            named
                .iter()
                .position(|named| *named == slot)
                .and_then(|at| values.get(at))
                .copied()
                .unwrap_or_default()
        };
        match &filter.condition {
            Condition::Holds(expression) => {
                let operations = expression::operations(expression, place).map_err(|TooLarge| {
                    CompileError::Full { what: "operations", limit: EXPRESSION_OPERATIONS }
                })?;
                self.expression(&values, late, bit, operations)
            }
            Condition::Gained { sets: [before, after], capabilities } => {
                let operations = expression::gained(place(*before), place(*after), *capabilities);
                self.expression(&values, late, bit, operations)
            }
            condition => {
                let kind = argument(among, filter.argument)?.kind;
                self.condition(place(filter.argument), kind, condition, late, bit)
            }
        }
    }

    fn condition(
        &mut self,
        value: u8,
        kind: ArgumentType,
        condition: &Condition,
        late: bool,
        bit: usize,
    ) -> Result<(), CompileError> {
        let turn = match kind.class() {
            Class::Number(integer) if integer.is_signed() => Turn::Signed,
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
            Condition::Contains { any_case, texts } => self.search(value, *any_case, late, bit, texts),
            Condition::Field { field, negated, ranges } => {
                self.field(value, *field, late, bit, Numbers::within(ranges, *negated, Turn::Unsigned))
            }
            Condition::Address { end, negated, networks } => {
                let networks = Networks { networks: networks.clone(), negated: *negated };
                self.address(value, *end, late, bit, networks)
            }
            Condition::Holds(_) | Condition::Gained { .. } => {
                Err(CompileError::Unsupported("an expression of what isn't an argument"))
            }
            Condition::Deferred(..) | Condition::DeferredSeveral { .. } => {
                Err(CompileError::Unsupported("a filter on an argument whose type the kernel doesn't tell"))
            }
        }
    }
}

/// The place of a set in the programs' order: inheritable, permitted, effective.
fn set_index(set: CapabilitySet) -> u8 {
    match set {
        CapabilitySet::Inheritable => 0,
        CapabilitySet::Permitted => 1,
        CapabilitySet::Effective => 2,
    }
}
