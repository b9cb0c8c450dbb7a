//! What a policy can't see, and what it can't prevent.

use trigon_probes::hooks::Mechanism;

use super::{
    super::model::{
        Policy,
        actions::Action,
        arguments::ArgumentType,
        conditions::Condition,
        hooks::{Function, Hook, Point},
        selectors::Selector,
    },
    HookExplanation,
};

/// The limits of a policy, what concerns prevention first.
pub(super) fn of(policy: &Policy, explained: &[HookExplanation]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut say = |holds: bool, text: &str| {
        if holds {
            all.push(text.to_owned());
        }
    };
    let actions = || policy.hooks.iter().flat_map(|hook| &hook.selectors).flat_map(Selector::all_actions);
    let signals = actions().any(|action| matches!(action, Action::Sigkill | Action::Signal(_)));
    let hooks = |is: &dyn Fn(&Hook) -> bool| policy.hooks.iter().any(is);
    let selectors = |is: &dyn Fn(&Selector) -> bool| hooks(&|hook| hook.selectors.iter().any(is));
    let by = |mechanism: Mechanism| {
        let places = explained.iter().flat_map(|hook| &hook.places);
        places
            .filter(move |place| place.mechanism == Some(mechanism.as_str()))
            .map(|place| place.name.clone())
    };

    say(
        policy.loader,
        "What processes map to execute is told of the whole node. A build-id is missing where the file has none, or where \
         its first page was not in memory.",
    );
    say(!policy.enforces(), "It observes: nothing is stopped, denied or killed.");
    say(
        hooks(&|hook| hook.denies() && !hook.point.is_in_program()),
        "What is denied fails with the policy's error before it begins. A call that interrupts two others which are being \
         looked at on its CPU is made all the same, and counted (trigon_lost_events_total, reason busy).",
    );
    say(
        hooks(&|hook| hook.point.is_in_program() && hook.selectors.iter().any(changes)),
        "What is changed in a program is the program's own: whoever can run code in its process goes around it. Events tell \
         what was there before. It takes a kernel that lets programs change registers (Linux 6.18) or memory; what can't be \
         written when it comes to it is counted (trigon_lost_events_total, reason not_set).",
    );
    say(
        signals,
        "A signal answers a call and does not undo it: the system call still completes. A file that was to be deleted \
         is deleted; only an execve that is killed never runs its program.",
    );
    say(
        actions().any(|action| action.calls_out().is_some()),
        "It has the agent call out, and is refused unless policy.allow_outbound_actions = true. Whoever can do what is \
         matched decides when the agent calls. Each action calls at most 10 times a minute, in the mode monitor too; \
         calls that are not made, or not answered, are counted (trigon_outbound_actions_total).",
    );
    say(
        hooks(&|hook| compares(hook, &|kind| kind == ArgumentType::String) && is_of_syscalls(hook)),
        "A string of a system call is the text that was passed: relative paths, `..`, links and other mounts are other \
         texts, and another thread can change it between this look and the kernel's own.",
    );
    say(
        hooks(&|hook| compares(hook, &|kind| kind.names_file() && kind != ArgumentType::String)),
        "A path is the one that the file has at the call: a hard link, a bind mount or a rename gives it another.",
    );
    say(
        selectors(&|selector| selector.binaries.is_some() || selector.parent_binaries.is_some()),
        "A program's path is no identity: who can replace the file, or inject code into its process, counts as it does; \
         scripts have their interpreter's.",
    );
    let equivalents: Vec<_> = by(Mechanism::Equivalent).collect();
    say(
        !equivalents.is_empty(),
        &format!(
            "On this kernel {} {} seen from the system calls that pass {}: what takes another way is not seen (io_uring, \
             mmap, splice, sendfile, descriptors that arrive over a socket), and nothing can be denied there.",
            equivalents.join(", "),
            if equivalents.len() == 1 { "is" } else { "are" },
            if equivalents.len() == 1 { "it" } else { "them" },
        ),
    );
    say(
        by(Mechanism::Syscalls).next().is_some(),
        "On this kernel system calls are seen as they are entered (tp_btf/sys_enter): each system call of the machine \
         passes two more programs, once for all policies.",
    );
    say(hooks(&is_of_syscalls), "A system call that io_uring does for a program is none, and is not seen.");
    say(
        actions().any(|action| matches!(action, Action::Post(how) if how.limit.is_some())),
        "What a rate limit holds back is counted (trigon_lost_events_total, reason rate_limit), and told nowhere else.",
    );
    say(
        policy.follows(),
        "Descriptors that were open before the policy was loaded are not followed; 8192 open files are at a time.",
    );
    say(
        policy.tracks(),
        "What happens to a tracked socket is told of its owner. Filters, rate limits and signals are about the process that \
         runs, which in an interrupt is any. Sockets from before the policy was loaded are nobody's; 16384 are tracked at a \
         time, and those that nothing happened to for longest make room.",
    );
    say(
        !policy.marks().is_empty(),
        "What a process did before the policy was loaded is marked nowhere, nor what its parent did. 32768 processes have \
         marks at a time, and those that nothing asked about for longest make room.",
    );
    say(
        policy.scope.as_ref().is_some_and(|scope| scope.pods.is_some())
            || selectors(&|selector| selector.workloads.is_some()),
        "A pod that the API server hasn't told of yet matches no selector of pods.",
    );
    say(
        hooks(&|hook| matches!(&hook.point, Point::Functions(functions) if functions.ignore_missing)),
        "A function that this kernel can't hook is left out (ignore.callNotFound); `trigon policy list` says which.",
    );
    all
}

fn changes(selector: &Selector) -> bool {
    selector.all_actions().any(|action| matches!(action, Action::Set { .. } | Action::Override { .. }))
}

fn is_of_syscalls(hook: &Hook) -> bool {
    let Point::Functions(functions) = &hook.point else { return false };
    functions.functions.iter().any(|function| matches!(function, Function::Syscall { .. }))
}

/// Whether a selector compares an argument of such a type as text.
fn compares(hook: &Hook, is: &dyn Fn(ArgumentType) -> bool) -> bool {
    let filters = hook.selectors.iter().flat_map(|selector| &selector.arguments);
    let kinds = filters.filter(|filter| matches!(filter.condition, Condition::Text(..)));
    let mut kinds = kinds.filter_map(|filter| hook.arguments.get(usize::from(filter.argument.0)));
    kinds.any(|argument| is(argument.kind))
}
