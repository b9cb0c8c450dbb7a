//! What a selector does: its actions become what the programs do, and what they post.

use trigon_probes::{
    hooks::plan::{self, MARKS, PostArg, selector_flags},
    record::arg_flags,
};

use super::{
    super::model::{
        Located,
        actions::{Action, Post, RateLimitScope, ReturnAction},
        arguments::{ArgumentSlot, ArgumentType, Source},
        hooks::Point,
    },
    CompileError, Part, argument,
    builder::Builder,
    number_of, return_number_of,
};

// === impl Builder ===

impl Builder<'_> {
    pub(super) fn actions<'b>(
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
    pub(super) fn post(
        &mut self,
        part: Part<'_>,
        bit: usize,
        plan: &mut plan::Selector,
    ) -> Result<(), CompileError> {
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
pub(super) fn mark_bit(part: Part<'_>, mark: &str) -> Result<u64, CompileError> {
    let place = part.marks.iter().position(|known| **known == *mark).filter(|place| *place < MARKS);
    place.map(|place| 1 << place).ok_or(CompileError::Full { what: "marks", limit: MARKS })
}
