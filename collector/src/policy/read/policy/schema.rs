//! The schema of `spec`.

use super::{
    super::{
        super::limits,
        super::words::Words,
        arguments::Place,
        hooks::{
            programs::schema::{uprobe, usdt},
            schema::{enforcer, function, function_list, lsm, tracepoint},
        },
        process::schema::process,
        schema::{Build as _, Schema, boolean, labels, list, map, object, text, unknown, word},
        selectors::schema::selector,
    },
    BOOLEANS, MODES, OPTION, OPTIONS, OVERRIDE_METHODS, SPEC,
};

/// `spec` of a policy; of a `namespaced` one, which is about a namespace's pods.
pub fn spec(namespaced: bool) -> Schema {
    let mut spec = object(&SPEC, &[], key);
    if namespaced && SPEC.known.contains(&"hostSelector") {
        spec = spec
            .rule("!has(self.hostSelector)", "a policy of a namespace is about its pods, not about the host");
    }
    let selects = match namespaced {
        true => "true",
        false => "(has(self.podSelector) || has(self.containerSelector) || has(self.hostSelector))",
    };
    spec = spec.rule(
        &format!("!has(self.loader) || !self.loader || !{selects}"),
        "loader: true tells of all processes of a node: a policy of a namespace, or of some pods, can't have it",
    );
    for section in ["kprobes", "fentries"] {
        spec = spec.rule(
            &format!(
                "!has(self.{section}) || self.{section}.all(hook, !hook.call.startsWith('list:') || (has(self.lists) && self.lists.exists(known, 'list:' + known.name == hook.call)))"
            ),
            &format!("call: list:NAME of {section} needs a list of that name in lists"),
        );
    }
    spec
}

fn key(key: &str) -> Schema {
    match key {
        "kprobes" => list(limits::HOOKS, function(Place::Function)).about("Functions of the kernel."),
        "fentries" => list(limits::HOOKS, function(Place::Fentry))
            .about("Functions of the kernel, entered by a trampoline."),
        "lsmhooks" => list(limits::HOOKS, lsm()).about("Hooks of the security modules."),
        "enforcers" => list(limits::HOOKS, enforcer())
            .about("System calls that NotifyEnforcer is about: what it asks for is done there."),
        "tracepoints" => list(limits::HOOKS, tracepoint()).about("Tracepoints of the kernel."),
        "uprobes" => list(limits::HOOKS, uprobe()).about("Functions of programs and libraries."),
        "usdts" => list(limits::HOOKS, usdt()).about("USDT probes of programs and libraries."),
        "loader" => boolean().about("Tell what processes map to execute, of the whole node."),
        "lists" => list(limits::LISTS, function_list())
            .by("name")
            .about("Functions that a hook's call names as list:NAME."),
        "options" => list(OPTIONS.words.len(), option()),
        "podSelector" => labels::selector().about("Pods that the policy is about."),
        "containerSelector" => {
            labels::containers().about("Containers that the policy is about: by name and repo.")
        }
        "hostSelector" => {
            labels::everything().about("Whether it is also about processes outside of pods: {} says so.")
        }
        "selectorsMacros" => map(limits::MACROS, selector())
            .about("Sections of selectors, by the name that a selector's macros uses."),
        "process" => process().about("Which executions are told at all, by any way out."),
        "nodeSelector" => labels::selector().about("Nodes on which the policy is loaded."),
        _ => unknown(),
    }
}

fn option() -> Schema {
    object(&OPTION, &["name", "value"], |key| match key {
        "name" => word(&OPTIONS),
        _ => text(limits::LABEL_CHARS),
    })
    .rule(&values("disable-kprobe-multi", &BOOLEANS), &format!("disable-kprobe-multi is one of {BOOLEANS}"))
    .rule(&values("disable-uprobe-multi", &BOOLEANS), &format!("disable-uprobe-multi is one of {BOOLEANS}"))
    .rule(&values("policy-mode", &MODES), &format!("policy-mode is one of {MODES}"))
    .rule(
        &values("override-method", &OVERRIDE_METHODS),
        &format!("override-method is one of {OVERRIDE_METHODS}"),
    )
}

/// The rule that an option has one of these values.
fn values<T: Copy>(name: &str, words: &Words<T>) -> String {
    let all: Vec<_> = words.all().map(|word| format!("'{word}'")).collect();
    format!("self.name != '{name}' || self.value in [{}]", all.join(", "))
}
