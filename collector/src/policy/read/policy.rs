//! The document: `apiVersion`, `kind`, `metadata`, and the sections of `spec`.

use super::{
    super::{
        fault::Class,
        limits,
        model::{
            ApiVersion, Kind, Mode, Options, OverrideMethod, Policy,
            actions::Action,
            hooks::{FunctionSection, Hook},
            scope::{Scope, Workloads},
        },
        words::{Word, Words},
    },
    Fields, Item, Keys, Quoted, hooks, lists,
    macros::Macros,
    marks, process, workloads,
};

pub mod schema;

const KEYS: Keys = Keys { known: &["apiVersion", "kind", "metadata", "spec", "status"], later: &[] };

/// `metadata` is Kubernetes' ObjectMeta. The name is the policy's; the rest is the cluster's book-keeping.
const METADATA: Keys = Keys {
    known: &[
        "name",
        "namespace",
        "annotations",
        "labels",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ],
    later: &[],
};

const SPEC: Keys = Keys {
    known: &[
        "kprobes",
        "fentries",
        "tracepoints",
        "uprobes",
        "usdts",
        "loader",
        "lsmhooks",
        "enforcers",
        "lists",
        "options",
        "podSelector",
        "containerSelector",
        "hostSelector",
        "nodeSelector",
        "selectorsMacros",
        "process",
    ],
    later: &[],
};

/// Sections that are of `trigon.io` alone.
const OURS: [&str; 1] = ["process"];

/// Sections that are lists of hooks.
const HOOK_SECTIONS: [&str; 6] = ["kprobes", "fentries", "tracepoints", "lsmhooks", "uprobes", "usdts"];

const API_VERSIONS: Words<ApiVersion> = Words {
    what: "apiVersion",
    any_case: false,
    words: &[
        ("cilium.io/v1alpha1", Word::Is(ApiVersion::CiliumV1Alpha1)),
        ("trigon.io/v1alpha1", Word::Is(ApiVersion::TrigonV1Alpha1)),
    ],
};

const KINDS: Words<Kind> = Words {
    what: "kind",
    any_case: false,
    words: &[
        ("TracingPolicy", Word::Is(Kind::Cluster)),
        ("TracingPolicyNamespaced", Word::Is(Kind::Namespaced)),
    ],
};

const OPTION: Keys = Keys { known: &["name", "value"], later: &[] };

#[derive(Clone, Copy)]
enum OptionName {
    DisableKprobeMulti,
    DisableUprobeMulti,
    PolicyMode,
    OverrideMethod,
    SleepablePreloadSize,
}

/// An option and its value.
#[derive(Clone, Copy)]
enum OptionValue {
    DisableKprobeMulti(bool),
    DisableUprobeMulti(bool),
    PolicyMode(Mode),
    OverrideMethod(OverrideMethod),
}

const OPTIONS: Words<OptionName> = Words {
    what: "option",
    any_case: false,
    words: &[
        ("disable-kprobe-multi", Word::Is(OptionName::DisableKprobeMulti)),
        ("disable-uprobe-multi", Word::Is(OptionName::DisableUprobeMulti)),
        ("override-method", Word::Is(OptionName::OverrideMethod)),
        ("policy-mode", Word::Is(OptionName::PolicyMode)),
        ("sleepable-preload-size", Word::Is(OptionName::SleepablePreloadSize)),
    ],
};

/// Values of an option that is true or false.
const BOOLEANS: Words<bool> = Words {
    what: "boolean",
    any_case: true,
    words: &[
        ("true", Word::Is(true)),
        ("false", Word::Is(false)),
        ("1", Word::Is(true)),
        ("0", Word::Is(false)),
        ("t", Word::Also(true)),
        ("f", Word::Also(false)),
    ],
};

/// Values of `policy-mode`.
pub(crate) const MODES: Words<Mode> = Words {
    what: "mode",
    any_case: false,
    words: &[("enforce", Word::Is(Mode::Enforce)), ("monitor", Word::Is(Mode::Monitor))],
};

/// Values of `override-method`.
const OVERRIDE_METHODS: Words<OverrideMethod> = Words {
    what: "method",
    any_case: false,
    words: &[
        ("fmod-ret", Word::Is(OverrideMethod::FmodRet)),
        ("override-return", Word::Is(OverrideMethod::OverrideReturn)),
    ],
};

/// Reads a document. None where too little of it can be understood; every reason is noted.
pub fn read(document: &Item<'_>) -> Option<Policy> {
    let fields = document.fields(&KEYS)?;
    let api_version = fields.need("apiVersion").and_then(|item| item.word(&API_VERSIONS));
    let kind = fields.need("kind").and_then(|item| item.word(&KINDS));
    let metadata = fields.need("metadata");
    let metadata = metadata.as_ref().and_then(|item| item.fields(&METADATA));
    let name = metadata.as_ref().and_then(|metadata| metadata.need("name"));
    let name = name.and_then(|item| Some(item.locate(subdomain(&item)?)));
    let namespace = namespace(metadata.as_ref(), kind);
    let spec = fields.need("spec")?;
    let section = spec.peek("lists");
    let lists = lists::read(section.as_ref());
    let spec = Item { lists: Some(&lists), ..spec };
    let section = spec.peek("selectorsMacros");
    let macros = Macros::read(section.as_ref());
    let spec = Item { macros: Some(&macros), ..spec };
    let spec = spec.fields(&SPEC)?;
    let options = options(&spec.list("options", OPTIONS.words.len(), option));
    let mut found: Vec<Hook> = Vec::new();
    for (key, section) in [("kprobes", FunctionSection::Kprobes), ("fentries", FunctionSection::Fentries)] {
        found.extend(spec.list(key, limits::HOOKS, |item| hooks::function(item, section)));
    }
    found.extend(spec.list("tracepoints", limits::HOOKS, hooks::tracepoint));
    found.extend(spec.list("uprobes", limits::HOOKS, hooks::programs::uprobe));
    found.extend(spec.list("usdts", limits::HOOKS, hooks::programs::usdt));
    found.extend(spec.list("lsmhooks", limits::HOOKS, hooks::lsm));
    let enforcers = spec.list("enforcers", limits::HOOKS, hooks::enforcer);
    check_notifications(&spec, &found, !enforcers.is_empty());
    found.extend(enforcers.into_iter().flatten());
    found.extend(spec.get("process").and_then(|item| process::read(&item)));
    let functions: usize = found.iter().map(|hook| hook.point.count()).sum();
    if functions > limits::FUNCTIONS {
        let message = format_args!("its hooks are on {functions} functions");
        spec.item.fault(Class::Limit, message, Some(format!("at most {}", limits::FUNCTIONS)));
    }
    let loader = loader(&spec, namespace.as_deref());
    macros.warn_unused();
    marks::check(&spec);
    if api_version == Some(ApiVersion::CiliumV1Alpha1) {
        refuse_ours(&spec);
    }
    if found.is_empty() && !loader && document.faults.fatal() == 0 {
        spec.item.warn("this policy has no hooks");
    }
    let scope = scope(&spec, namespace.as_deref());
    let node_selector = workloads::node_selector(&spec);
    let (name, api_version, kind) = (name?, api_version?, kind?);
    Some(Policy {
        at: name.at,
        api_version,
        kind,
        name: name.value,
        namespace,
        options,
        scope,
        node_selector,
        loader,
        lists: lists.found,
        hooks: found,
    })
}

/// What Tetragon doesn't know it refuses, and so does Trigon in a policy of Tetragon's group.
fn refuse_ours(spec: &Fields<'_>) {
    let refuse_what = |item: &Item<'_>, what: &str| {
        item.invalid(format_args!(
            "there is no such {what} in cilium.io/v1alpha1; it is of apiVersion: trigon.io/v1alpha1"
        ));
    };
    let refuse = |item: &Item<'_>| refuse_what(item, "key");
    OURS.iter().filter_map(|key| spec.get(key)).for_each(|item| refuse(&item));
    marks::refuse(spec, &refuse_what);
    for section in HOOK_SECTIONS.iter().filter_map(|key| spec.get(key)) {
        for hook in section.items(limits::HOOKS) {
            hooks::OURS.iter().filter_map(|key| hook.peek(key)).for_each(|item| refuse(&item));
        }
    }
    // Tetragon's USDT probes have all they read among their arguments.
    for probe in spec.get("usdts").iter().flat_map(|probes| probes.items(limits::HOOKS)) {
        probe.peek("data").iter().for_each(refuse);
    }
}

/// Shows each selector of a policy, as it stands in the file; those of macros, too.
pub fn selectors_of(spec: &Fields<'_>, see: &mut dyn FnMut(&Item<'_>)) {
    let mut of = |hook: &Item<'_>| {
        let selectors = hook.peek("selectors");
        selectors.iter().flat_map(|list| list.items(limits::SELECTORS)).for_each(|one| see(&one));
    };
    for section in HOOK_SECTIONS.iter().filter_map(|key| spec.get(key)) {
        section.items(limits::HOOKS).for_each(|hook| of(&hook));
    }
    spec.get("process").iter().for_each(&mut of);
    let macros = spec.get("selectorsMacros");
    macros.iter().flat_map(|all| all.entries(limits::MACROS)).for_each(|(_, one)| see(&one));
}

/// The namespace that a policy is of, and whose pods are all that it applies to.
fn namespace(metadata: Option<&Fields<'_>>, kind: Option<Kind>) -> Option<String> {
    let given = metadata.and_then(|metadata| metadata.get("namespace"));
    match (kind?, given) {
        (Kind::Namespaced, Some(item)) => subdomain(&item),
        (Kind::Namespaced, None) => Some("default".to_owned()),
        (Kind::Cluster, Some(item)) => {
            item.warn("a TracingPolicy has no namespace: it applies to the whole node");
            None
        }
        (Kind::Cluster, None) => None,
    }
}

/// Where the policy applies; None: everywhere.
fn scope(spec: &Fields<'_>, namespace: Option<&str>) -> Option<Scope> {
    let scope = workloads::scope(spec);
    let Some(namespace) = namespace else { return scope };
    if let Some(item) = spec.get("hostSelector") {
        item.invalid("a TracingPolicyNamespaced applies to pods of its namespace, and never to the host");
    }
    let pods = scope.and_then(|scope| scope.pods).unwrap_or_default();
    Some(Scope { pods: Some(Workloads { namespace: Some(namespace.to_owned()), ..pods }), host: false })
}

/// Whether it asks for what processes map. That is told of all processes of a node: no program of the kernel's chooses.
fn loader(spec: &Fields<'_>, namespace: Option<&str>) -> bool {
    let Some(item) = spec.get("loader") else { return false };
    if item.boolean() != Some(true) {
        return false;
    }
    let selects =
        ["podSelector", "containerSelector", "hostSelector"].iter().any(|key| spec.get(key).is_some());
    if namespace.is_some() || selects {
        item.invalid("loader: true tells of all processes of a node: a policy of a namespace, or of some pods, can't have it");
    }
    true
}

/// Whoever is notified has to be there, and whoever is there has to be notified.
fn check_notifications(spec: &Fields<'_>, hooks: &[Hook], enforced: bool) {
    let notifies = |action: &Action| matches!(action, Action::NotifyEnforcer { .. });
    let mut selectors = hooks.iter().flat_map(|hook| &hook.selectors);
    let notified = selectors.any(|selector| selector.all_actions().any(notifies));
    if notified && !enforced && spec.get("enforcers").is_none() {
        spec.item.invalid("NotifyEnforcer needs enforcers, whose calls it is about");
    }
    if let Some(item) = spec.get("enforcers").filter(|_| !notified) {
        item.warn("no action is NotifyEnforcer: these have nothing to do");
    }
}

fn options(found: &[OptionValue]) -> Options {
    let mut options = Options::default();
    for option in found {
        match option {
            OptionValue::DisableKprobeMulti(value) => options.disable_kprobe_multi = *value,
            OptionValue::DisableUprobeMulti(value) => options.disable_uprobe_multi = *value,
            OptionValue::PolicyMode(mode) => options.mode = Some(*mode),
            OptionValue::OverrideMethod(method) => options.override_method = Some(*method),
        }
    }
    options
}

fn option(item: &Item<'_>) -> Option<OptionValue> {
    let fields = item.fields(&OPTION)?;
    let name = fields.need("name")?.word(&OPTIONS)?;
    let value = fields.need("value")?;
    Some(match name {
        OptionName::SleepablePreloadSize => {
            // The size of a buffer of Tetragon's, which changes nothing of what a policy says.
            let text = value.text(limits::LABEL_CHARS)?;
            match text.parse::<u32>() {
                Ok(1..) => value.note("it has no effect: nothing is loaded beforehand here"),
                _ => value.expected(format_args!("{} is no size", Quoted(text)), "a number of bytes"),
            }
            return None;
        }
        OptionName::DisableKprobeMulti => OptionValue::DisableKprobeMulti(value.word(&BOOLEANS)?),
        OptionName::DisableUprobeMulti => OptionValue::DisableUprobeMulti(value.word(&BOOLEANS)?),
        OptionName::PolicyMode => OptionValue::PolicyMode(value.word(&MODES)?),
        OptionName::OverrideMethod => OptionValue::OverrideMethod(value.word(&OVERRIDE_METHODS)?),
    })
}

/// A DNS subdomain (RFC 1123): what Kubernetes takes as a name.
fn subdomain(item: &Item<'_>) -> Option<String> {
    let text = item.text(limits::NAME_BYTES)?;
    let inner = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(inner)
            && label.ends_with(inner)
            && label.chars().all(|character| inner(character) || character == '-')
    };
    if text.split('.').all(label) {
        return Some(text.to_owned());
    }
    let message = format!("{} is no name", Quoted(text));
    item.expected(
        message,
        "lower-case letters, digits, '-' and '.', each part beginning and ending with one of the first two",
    );
    None
}
