//! One selector of a policy: its filters become conditions on dimensions, its actions what the programs do.

use trigon_probes::{
    hooks::plan::{
        self, EXPRESSION_OPERATIONS, MARKS, PostArg, SELECTORS, ValueSpec, class, selector_flags, source,
    },
    record::arg_flags,
};

use super::{
    super::{
        model::{
            Located,
            actions::{Action, Post, RateLimitScope, ReturnAction},
            arguments::{Argument, ArgumentSlot, ArgumentType, Class, Integer, Source},
            conditions::{Comparison, Condition, TextOperator},
            hooks::Point,
            selectors::{
                ArgumentFilter, BinaryFilter, BinaryOperator, CapabilityFilter, CapabilitySet, Membership,
                Namespace, NamespaceId, PidFilter, Selector,
            },
        },
        placements::ScopeBit,
    },
    CompileError, Part, argument,
    builder::Builder,
    condition::{Networks, Numbers, Turn},
    expression::{self, TooLarge},
    index_of, number_of, return_number_of,
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

    fn actions<'b>(
        &mut self,
        part: Part<'_>,
        actions: impl Iterator<Item = &'b Located<Action>>,
        bit: usize,
        plan: &mut plan::Selector,
    ) -> Result<(), CompileError> {
        for action in actions {
            // What is done is told, rather than that it is told.
            let only_told = matches!(
                action.value,
                Action::Post(_)
                    | Action::NoPost
                    | Action::ImaHash
                    | Action::CallOut(_)
                    | Action::Mark { .. }
                    | Action::Unmark { .. }
            );
            if !only_told || plan.action == number_of(&Action::Post(Post::default())) {
                plan.action = number_of(action);
            }
            match &action.value {
                Action::Post(post) => {
                    if post.kernel_stack {
                        plan.flags |= selector_flags::KERNEL_STACK;
                    }
                    if post.user_stack {
                        plan.flags |= selector_flags::USER_STACK;
                    }
                    let Some(limit) = post.limit else { continue };
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
                    let file = argument(&part.hook.arguments, *name)?;
                    if file.kind != ArgumentType::File {
                        return Err(CompileError::Unsupported("FollowFD whose argName is no `file`"));
                    }
                    plan.flags |= selector_flags::FOLLOW;
                    plan.follow = self.argument(part, file)?;
                }
                Action::UnfollowFd { fd } => {
                    plan.flags |= selector_flags::UNFOLLOW;
                    let fd = argument(&part.hook.arguments, *fd)?;
                    plan.follow = self.followed(part, fd, bit)?;
                }
                // An open file is followed, not its number: a copy is the same open file.
                Action::CopyFd { .. } => {}
                Action::TrackSock { socket } => plan.track |= self.socket(part, *socket, bit)?,
                Action::UntrackSock { socket } => plan.untrack |= self.socket(part, *socket, bit)?,
                Action::Mark { mark } => plan.mark |= mark_bit(part, mark)?,
                Action::Unmark { mark } => plan.unmark |= mark_bit(part, mark)?,
                Action::Override { error } => {
                    plan.flags |= selector_flags::OVERRIDE;
                    plan.error = *error;
                }
                Action::Set { argument: slot, value } => {
                    plan.flags |= selector_flags::SET;
                    let index = argument(&part.hook.arguments, *slot)?.index;
                    let place = self.raw(part, index, false)?;
                    self.set(bit, place, *value);
                }
                Action::NotifyEnforcer { error, signal } => {
                    plan.flags |= selector_flags::NOTIFY;
                    plan.notify_error = error.unwrap_or(0);
                    plan.notify_signal = signal.unwrap_or(0);
                }
                Action::CleanupEnforcerNotification => plan.flags |= selector_flags::NOTIFY,
                Action::Enforce => plan.flags |= selector_flags::ENFORCER,
                Action::ImaHash => plan.hash = 1,
                // The agent does it.
                Action::CallOut(_) => {}
            }
        }
        Ok(())
    }

    /// The bit of a value that is a socket to track, or one that is not tracked any more. As with what is posted, it is the
    /// one that the function was entered with.
    fn socket(&mut self, part: Part<'_>, slot: ArgumentSlot, bit: usize) -> Result<u16, CompileError> {
        let value = 1 << self.argument(part, argument(&part.hook.arguments, slot)?)?;
        if self.late.has(bit) {
            self.captures |= value;
        }
        Ok(value)
    }

    /// Which arguments are posted, and how.
    fn post(&mut self, part: Part<'_>, bit: usize, plan: &mut plan::Selector) -> Result<(), CompileError> {
        // Of an execution it is decided whether it is told, not what.
        if part.hook.point == Point::Process {
            return Ok(());
        }
        let arguments = part.hook.arguments.iter().zip(0..).map(|(argument, number)| (argument, number, 0));
        let data = part.hook.data.iter().zip(0..).map(|(datum, number)| (datum, number, arg_flags::DATA));
        for (argument, number, flags) in arguments.chain(data) {
            if argument.kind == ArgumentType::Nop {
                continue;
            }
            if argument.kind.is_socket() {
                plan.flags |= selector_flags::SOCKETS;
            }
            let is_unfollowed = argument.source == Source::Call
                && argument.path.is_none()
                && plan.flags & selector_flags::UNFOLLOW != 0
                && {
                    let index = self.raw(part, argument.index, false)?;
                    self.values.get(usize::from(plan.follow)).is_some_and(|spec| spec.index == index)
                };
            let value = if is_unfollowed { plan.follow } else { self.argument(part, argument)? };
            if part.follows && argument.kind == ArgumentType::Fd {
                self.present(value, false, bit)?;
            }
            // What it was given is read when it is entered; a long buffer, for which there is no room, at its return.
            if self.late.has(bit) && !argument.copy_at_return && !argument.max_data {
                self.captures |= 1 << value;
            }
            push(plan, PostArg { value, number, flags })?;
        }
        // A number is in every record of a return; anything else has to be read.
        if let Some(returned) = &part.hook.return_value
            && !matches!(returned.kind, ArgumentType::Integer(_) | ArgumentType::Fd | ArgumentType::Nop)
        {
            let value = self.returned(returned.kind)?;
            if returned.kind.is_socket() {
                plan.flags |= selector_flags::SOCKETS;
            }
            match returned.action {
                Some(ReturnAction::TrackSock) => plan.track |= 1 << value,
                Some(ReturnAction::UntrackSock) => plan.untrack |= 1 << value,
                None => {}
            }
            plan.return_action = returned.action.map_or(0, return_number_of);
            push(plan, PostArg { value, number: 0, flags: arg_flags::RETURNED })?;
        }
        Ok(())
    }
}

fn push(plan: &mut plan::Selector, arg: PostArg) -> Result<(), CompileError> {
    let place = plan.arg.get_mut(usize::from(plan.args));
    *place.ok_or(CompileError::Full { what: "arguments", limit: plan::POST_ARGS })? = arg;
    plan.args += 1;
    Ok(())
}

/// The bit of a mark among its policy's.
fn mark_bit(part: Part<'_>, mark: &str) -> Result<u64, CompileError> {
    let place = part.marks.iter().position(|known| **known == *mark).filter(|place| *place < MARKS);
    place.map(|place| 1 << place).ok_or(CompileError::Full { what: "marks", limit: MARKS })
}

/// The place of a set in the programs' order: inheritable, permitted, effective.
fn set_index(set: CapabilitySet) -> u8 {
    match set {
        CapabilitySet::Inheritable => 0,
        CapabilitySet::Permitted => 1,
        CapabilitySet::Effective => 2,
    }
}
