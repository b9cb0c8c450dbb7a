//! What a policy will do, in plain words: where it looks, whose processes count, under which conditions, what is done,
//! by which mechanism, what it can't prevent, and what it costs.
//!
//! All of it follows from the checked policy and from its compiled tables; only the mechanisms are found by trying
//! ([`trigon_probes::kernel::serve`]).

use std::{fmt::Write as _, iter};

use serde::Serialize;
use trigon_probes::{
    hooks::{Choice, Needs, Target},
    kernel::{Ladder, Outcome, Wanted},
};

use super::{
    engine::{changes, is_late, may_be_missing, targets},
    model::{
        Kind, Policy,
        arguments::{Argument, ArgumentType},
        hooks::{Abi, Function, Hook, Point},
    },
};
use cost::{Class, Cost};

mod cost;
mod limits;
#[cfg(test)]
mod tests;
mod words;

/// What a policy will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What it is known by.
    pub name: String,
    /// `TracingPolicy`, `TracingPolicyNamespaced`.
    pub kind: &'static str,
    /// Whose processes count.
    pub applies_to: String,
    /// Its hooks, in the order of the file.
    pub hooks: Vec<HookExplanation>,
    /// What it can't see or prevent.
    pub limits: Vec<String>,
    /// What all hooks together cost; none where the kernel has to tell types first.
    pub cost: Option<Cost>,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookExplanation {
    /// Its line in the file.
    pub line: u32,
    /// Where it looks.
    pub at: String,
    /// `message`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What an event of it carries.
    pub carries: Vec<String>,
    /// What is done, and when. Without selectors: one that takes every call.
    pub cases: Vec<Case>,
    /// The places in the kernel, and how each is entered.
    pub places: Vec<Place>,
    /// What a call costs; none where the kernel has to tell types first.
    pub cost: Option<Cost>,
}

/// A selector: conditions that all have to hold, and what is done then. The first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// `label`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Conditions. None: every call.
    pub when: Vec<String>,
    /// What is done, in order.
    pub then: Vec<String>,
}

/// A place in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The kernel's name for it.
    pub name: String,
    /// The mechanism that it has here; none where there is none, or where that was not tried.
    pub mechanism: Option<&'static str>,
    /// What was tried, best first, and what each said.
    pub tried: Vec<Try>,
    /// The policy can do without it.
    pub optional: bool,
}

/// A mechanism, tried or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Try {
    /// Which.
    pub mechanism: &'static str,
    /// `ok`, `missing`, `not_permitted`, `untried`
    pub state: &'static str,
    /// What the kernel said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What the kernel says of a policy's places.
pub type Ladders<'a> = &'a [Ladder];

/// The places that a policy hooks, to be tried.
pub fn wanted(policy: &Policy) -> Vec<Wanted> {
    let choice = if policy.options.disable_kprobe_multi { Choice::NotMulti } else { Choice::Best };
    let of_hook = |hook: &Hook| {
        let denies = policy.denies(hook);
        let needs = Needs { returns: is_late(hook), denies, hashes: hook.hashes(), ..Needs::default() };
        let targets = targets(hook).unwrap_or_default();
        let one = |target| {
            let needs = Needs { changes: changes(hook, &target), ..needs };
            Wanted { target, needs, choice }
        };
        targets.into_iter().map(one).collect::<Vec<_>>()
    };
    policy.hooks.iter().flat_map(of_hook).collect()
}

/// Explains a policy. `ladders` are what came of trying its places ([`wanted`]), in their order; empty where it was not
/// tried.
pub fn explain(policy: &Policy, ladders: Ladders<'_>) -> Explanation {
    let mut ladders = ladders.iter();
    let hooks: Vec<_> = policy
        .hooks
        .iter()
        .map(|hook| {
            let all = targets(hook).unwrap_or_default();
            let places = all.iter().map(|target| Place::new(hook, target, ladders.next()));
            let places = places.filter(Place::is_shown).collect();
            explain_hook(policy, hook, places)
        })
        .collect();
    let cost = hooks.iter().map(|hook| hook.cost.as_ref().map(|cost| cost.points)).sum::<Option<u64>>();
    let frequency = hooks.iter().filter_map(|hook| hook.cost.as_ref()).map(|cost| cost.frequency).max();
    let cost = cost.zip(frequency).map(|(points, frequency)| Cost {
        class: Class::of(points),
        points,
        frequency,
        lookups: hooks.iter().filter_map(|hook| hook.cost.as_ref()).map(|cost| cost.lookups).sum(),
        texts: hooks.iter().filter_map(|hook| hook.cost.as_ref()).map(|cost| cost.texts).sum(),
    });
    Explanation {
        name: policy.key(),
        kind: match policy.kind {
            Kind::Cluster => "TracingPolicy",
            Kind::Namespaced => "TracingPolicyNamespaced",
        },
        applies_to: words::scope(policy.scope.as_ref()),
        limits: limits::of(policy, &hooks),
        hooks,
        cost,
    }
}

fn explain_hook(policy: &Policy, hook: &Hook, places: Vec<Place>) -> HookExplanation {
    // An execution's arguments are there to be asked for.
    let carried = if matches!(hook.point, Point::Process) { &[] } else { hook.arguments.as_slice() };
    let mut carries: Vec<_> = carried.iter().filter_map(argument).collect();
    if let Some(returned) = &hook.return_value {
        let label = returned.label.as_deref().map(|label| format!(", called {label}")).unwrap_or_default();
        carries.push(format!("what it returned, as {}{label}", returned.kind.as_str()));
    }
    let cases = match hook.selectors.as_slice() {
        [] => {
            let then = iter::once("post the event".to_owned()).chain(words::at_return(hook)).collect();
            vec![Case { label: None, when: Vec::new(), then }]
        }
        selectors => selectors.iter().map(|selector| words::case(hook, selector)).collect(),
    };
    HookExplanation {
        line: hook.at.line,
        at: place_of(hook),
        message: hook.message.clone(),
        carries,
        cases,
        places,
        cost: Cost::of(policy, hook),
    }
}

/// Where a hook looks.
fn place_of(hook: &Hook) -> String {
    let mut text = match &hook.point {
        Point::Tracepoint(point) => format!("tracepoint {}/{}", point.subsystem, point.event),
        Point::RawTracepoint(point) => format!("raw tracepoint {}/{}", point.subsystem, point.event),
        Point::Lsm(hook) => format!("hook {hook} of the security modules"),
        Point::Program(_) => format!("code of a program, {}", hook.point),
        Point::Process => "executions: whether they are told".to_owned(),
        Point::Usdt(_) => format!("the probe of a program, {}", hook.point),
        Point::Functions(functions) => {
            let calls = functions.functions.iter().all(|one| matches!(one, Function::Syscall { .. }));
            let (one, many) =
                if calls { ("system call", "system calls") } else { ("kernel function", "functions") };
            let name = |function: &Function| match function {
                Function::Syscall { name, abi: Abi::Native } => name.clone(),
                function => function.to_string(),
            };
            match &*functions.functions {
                [] => format!("{many} that the kernel lists when the policy is loaded"),
                [only] => format!("{one} {}", name(only)),
                all => {
                    let names: Vec<_> = all.iter().map(name).collect();
                    format!("each of {} {many}: {}", all.len(), names.join(", "))
                }
            }
        }
    };
    if is_late(hook) {
        text.push_str(", when it has returned");
    }
    text
}

/// What an event carries of an argument.
fn argument(argument: &Argument) -> Option<String> {
    if argument.kind == ArgumentType::Nop {
        return None;
    }
    let mut text = format!("argument {} as {}", argument.index, argument.kind.as_str());
    if let Some(label) = &argument.label {
        let _ = write!(text, ", called {label}");
    }
    if argument.copy_at_return {
        text.push_str(", as it is at the return");
    }
    Some(text)
}

// === impl Place ===

impl Place {
    fn new(hook: &Hook, target: &Target, ladder: Option<&Ladder>) -> Self {
        let tried = ladder.map(|ladder| {
            let step = |step: &trigon_probes::kernel::Step| Try {
                mechanism: step.mechanism.as_str(),
                state: step.outcome.as_str(),
                reason: step.outcome.reason().to_owned(),
            };
            ladder.steps.iter().map(step).collect()
        });
        let untried = || {
            let one = |mechanism: &trigon_probes::hooks::Mechanism| Try {
                mechanism: mechanism.as_str(),
                state: Outcome::Untried(String::new()).as_str(),
                reason: String::new(),
            };
            let mechanism = trigon_probes::hooks::Mechanism::ladder;
            let denial = trigon_probes::hooks::Mechanism::denials;
            if hook.denies() { denial(target) } else { mechanism(target) }.iter().map(one).collect()
        };
        Self {
            name: target.symbol(),
            mechanism: ladder.and_then(Ladder::chosen).map(|mechanism| mechanism.as_str()),
            tried: tried.unwrap_or_else(untried),
            optional: may_be_missing(hook, target),
        }
    }

    /// A 32-bit system call that came along, and that this kernel doesn't have, is no news.
    fn is_shown(&self) -> bool {
        !(self.optional
            && self.mechanism.is_none()
            && self.name.starts_with("__ia32_")
            && self.tried.iter().any(|one| one.state != "untried"))
    }

    /// Why it has the mechanism that it has; or why none.
    pub fn why(&self) -> String {
        let refused = self.tried.iter().filter(|one| one.state != "ok" && one.state != "untried");
        let refused: Vec<_> = refused.map(|one| format!("{}: {}", one.mechanism, one.reason)).collect();
        match (self.mechanism, refused.as_slice()) {
            (Some(_), []) => "the best that there is".to_owned(),
            _ => refused.join("; "),
        }
    }
}
