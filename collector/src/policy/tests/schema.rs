//! The API server takes what the agent takes, and refuses what the agent refuses for its form.

use std::{collections::BTreeSet, fs};

use kube_cel::{Validator, compile_schema, estimate_rule_cost};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    super::{Rules, files, schema},
    arbitrary::SOUND,
    policy, selectors,
    shared::directory,
};

/// A schema as the API server uses it: rules, and what it says of form.
struct Server {
    schema: Value,
    form: jsonschema::Validator,
}

impl Server {
    fn new() -> Self {
        let schema = serde_json::to_value(schema(false)).unwrap();
        let form = jsonschema::validator_for(&plain(&schema)).unwrap();
        Self { schema, form }
    }

    /// Everything that it says against a `spec`.
    fn faults(&self, spec: &Value) -> Vec<String> {
        let mut spec = spec.clone();
        prune_nulls(&mut spec);
        let form = self.form.iter_errors(&spec).map(|error| format!("{}: {error}", error.instance_path()));
        let mut faults: Vec<String> = form.collect();
        if faults.is_empty()
            && let Err(errors) = Validator::new().validate(&self.schema, &spec, None)
        {
            faults.extend(errors.iter().map(ToString::to_string));
        }
        faults
    }
}

/// The same schema in the words of JSON Schema. Keys that it doesn't know are refused, as `kubectl` asks the API server
/// to (`fieldValidation=Strict`).
fn plain(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut plain = Map::new();
    for (key, value) in fields {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(key, schema)| (key.clone(), self::plain(schema))).collect()
            }
            ("items" | "not" | "additionalProperties", schema) => self::plain(schema),
            ("anyOf" | "allOf" | "oneOf", Value::Array(schemas)) => schemas.iter().map(self::plain).collect(),
            (_, value) => value.clone(),
        };
        plain.insert(key.clone(), value);
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
        plain.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if fields.get("type") == Some(&json!("object")) && fields.contains_key("properties") {
        plain.insert("additionalProperties".to_owned(), json!(false));
    }
    Value::Object(plain)
}

/// What the API server does first: a key without a value is no key.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

fn spec_of(text: &str) -> Value {
    serde_saphyr::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}\n{text}"))["spec"].take()
}

/// What holds at each part of a structural schema.
fn walk(schema: &Value, path: &str, times: u64, visit: &mut dyn FnMut(&Value, &str, u64)) {
    visit(schema, path, times);
    for (key, part) in schema["properties"].as_object().into_iter().flatten() {
        walk(part, &format!("{path}.{key}"), times, visit);
    }
    if schema["items"].is_object() {
        let most = schema["maxItems"].as_u64().unwrap_or_else(|| panic!("{path} has no maxItems"));
        walk(&schema["items"], &format!("{path}[]"), times * most.max(1), visit);
    }
    if schema["additionalProperties"].is_object() {
        let most = schema["maxProperties"].as_u64().unwrap_or_else(|| panic!("{path} has no maxProperties"));
        walk(&schema["additionalProperties"], &format!("{path}{{}}"), times * most, visit);
    }
}

#[test]
fn the_schema_is_structural_and_every_key_has_its_own() {
    for namespaced in [false, true] {
        let schema = serde_json::to_value(schema(namespaced)).unwrap();
        let (mut parts, mut rules) = (0, 0);
        walk(&schema, "spec", 1, &mut |part, path, times| {
            parts += 1;
            let either = part["x-kubernetes-int-or-string"] == json!(true);
            assert!(
                part["x-kubernetes-preserve-unknown-fields"].is_null(),
                "{path} has no schema of its own"
            );
            assert_eq!(part["type"].is_string(), !either, "{path}: a type, or either");
            if part["type"] == "string" && part["enum"].is_null() {
                assert!(part["maxLength"].is_u64(), "{path} has no maxLength");
            }
            assert!(part["default"].is_null() && part["uniqueItems"].is_null(), "{path}");
            for inner in ["not", "anyOf", "allOf", "oneOf"] {
                forbid_types(&part[inner], path);
            }
            for required in part["required"].as_array().into_iter().flatten() {
                assert!(part["properties"][required.as_str().unwrap()].is_object(), "{path}: {required}");
            }
            for rule in part["x-kubernetes-validations"].as_array().into_iter().flatten() {
                rules += 1;
                let rule = rule["rule"].as_str().unwrap();
                let warnings = estimate_rule_cost(rule, &compile_schema(part));
                assert!(warnings.is_empty(), "{path}: {warnings:?}");
                // The API server takes a rule whose cost, for all its places, is below 10 million; the dearest
                // step here costs some dozens.
                assert!(times <= 20_000, "{path}: {rule} is evaluated up to {times} times");
            }
        });
        assert!(parts > 100 && rules > 5, "{parts} parts, {rules} rules");
    }
}

/// Within `not` and its like a structural schema says no types, and describes nothing.
fn forbid_types(schema: &Value, path: &str) {
    match schema {
        Value::Object(fields) => {
            for word in ["type", "description", "default", "nullable", "additionalProperties"] {
                // A property may be called so.
                let named = path.ends_with(".properties");
                assert!(named || !fields.contains_key(word), "{path}: {word}");
            }
            fields.iter().for_each(|(key, value)| forbid_types(value, &format!("{path}.{key}")));
        }
        Value::Array(items) => items.iter().for_each(|item| forbid_types(item, path)),
        _ => {}
    }
}

#[test]
fn what_the_agent_takes_the_api_server_takes() {
    let server = Server::new();
    let calls = "    - matchActions: [{action: GetUrl, argUrl: 'https://a.b/c?d'}, {action: DnsLookup, argFqdn: _a.b.}]\n";
    let mut texts = vec![SOUND.to_owned(), selectors(calls)];
    let ready_made = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies");
    for directory in [Some(ready_made), directory()].into_iter().flatten() {
        let read = |file| fs::read_to_string(file).unwrap();
        texts.extend(files(&directory).unwrap().into_iter().map(read));
    }
    let (mut taken, mut refused) = (0, 0);
    for text in texts {
        // Some of them are several documents; those are for files, not for an API server.
        for document in text.split("\n---\n").filter(|document| document.contains("kind:")) {
            if Rules::ALL.check_text(document).errors > 0 {
                refused += 1;
                continue;
            }
            let faults = server.faults(&spec_of(document));
            assert!(faults.is_empty(), "{faults:#?}\n{document}");
            taken += 1;
        }
    }
    assert!(taken >= 4, "{taken} taken, {refused} refused by the agent");
}

#[test]
fn what_the_agent_refuses_for_its_form_the_api_server_refuses() {
    let filter = |filter: &str| selectors(&format!("    - {filter}\n"));
    let texts = [
        "  kprobes: sys_read\n",
        "  kprobes: [sys_read]\n",
        "  kprobes: [{syscall: false}]\n",
        "  kprobes: [{call: fd_install}]\n",
        "  kprobes: [{call: \"a b\", syscall: false}]\n",
        "  kprobes: [{call: sys_read, syscall: \"true\"}]\n",
        "  kprobes: [{call: sys_read, cal: sys_read}]\n",
        "  kprobes: [{call: sys_read, return: true}]\n",
        "  kprobes: [{call: sys_read, returnArgAction: Kill}]\n",
        "  kprobes: [{call: sys_read, ignore: {callFound: true}}]\n",
        "  kprobes: [{call: sys_read, args: [{type: int}]}]\n",
        "  kprobes: [{call: sys_read, args: [{index: 6, type: int}]}]\n",
        "  kprobes: [{call: sys_read, args: [{index: 0, type: integer}]}]\n",
        "  kprobes: [{call: sys_read, args: [{index: 0}, {index: 1}, {index: 2}, {index: 3}, {index: 4}, {index: 5}]}]\n",
        "  kprobes: [{call: sys_read, args: [{index: 0, resolve: a..b}]}]\n",
        "  kprobes: [{call: sys_read, data: [{index: 6}]}]\n",
        "  kprobes: [{call: 'list:other'}]\n",
        "  fentries: [{call: 'list:other'}]\n  lists: [{name: calls, values: [a]}]\n",
        "  lists: [{name: calls, type: syscalls, values: [open]}]\n",
        "  lists: [{name: calls, values: []}]\n",
        "  lists: [{values: [a]}]\n",
        "  lists: [{name: all, type: generated_syscalls, values: [sys_read]}]\n",
        "  lists: [{name: f, type: generated_ftrace}]\n",
        "  selectorsMacros: [a]\n",
        "  selectorsMacros: {a: {matchArg: []}}\n",
        "  tracepoints: [{subsystem: sched}]\n",
        "  tracepoints: [{subsystem: sched, event: \"a b\"}]\n",
        "  tracepoints: [{subsystem: sched, event: a, args: [{index: 64}]}]\n",
        "  tracepoints: [{subsystem: sched, event: a, raw: true, args: [{index: 12}]}]\n",
        "  tracepoints: [{subsystem: sched, event: a, args: [{index: 1, type: char_buf, returnCopy: true}]}]\n",
        "  tracepoints: [{subsystem: sched, event: a, selectors: [{matchReturnActions: [{action: Post}]}]}]\n",
        "  options: [{name: policy-mode, value: watch}]\n",
        "  options: [{name: override-method, value: magic}]\n",
        "  options: [{name: disable-kprobe-multi, value: maybe}]\n",
        "  options: [{name: disable-kprobe-multi}]\n",
        "  lsmhooks: [{message: no hook}]\n",
        "  lsmhooks: [{hook: \"a b\"}]\n",
        "  lsmhooks: [{hook: file_open, args: [{index: 0, type: file, returnCopy: true}]}]\n",
        "  uprobes: [{path: /bin/sh}]\n",
        "  uprobes: [{path: bin/sh, symbols: [main]}]\n",
        "  uprobes: [{symbols: [main]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: []}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], offsets: [1]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [\"a b\"]}]\n",
        "  uprobes: [{path: /bin/sh, offsets: [-1]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], args: [{index: 0}]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], args: [{index: 0, type: file}]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], args: [{index: 6, type: int}]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], return: true}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], return: true, returnArg: {index: 0}}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], binaryDigests: [\"md5:00\"]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], btfPath: /a}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], args: [{index: 0, type: auto}]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], args: [{index: 0, type: uint64, resolve: a.b}]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], data: [{source: pt_regs}]}]\n",
        "  uprobes: [{path: /bin/sh, symbols: [main], data: [{source: pt_regs, resolve: rdi, type: file}]}]\n",
        "  usdts: [{path: /bin/sh, provider: a, name: b, data: [{resolve: a, index: 0}]}]\n",
        "  usdts: [{path: /bin/sh, provider: a}]\n",
        "  usdts: [{path: /bin/sh, provider: a, name: b, args: [{index: 12}]}]\n",
        "  usdts: [{path: /bin/sh, provider: a, name: b, args: [{index: 0, type: dentry}]}]\n",
        "  usdts: [{path: /bin/sh, provider: a, name: b, args: [{index: 0, type: char_buf, returnCopy: true}]}]\n",
        "  loader: true\n  podSelector: {matchLabels: {app: a}}\n",
        "  enforcers: [{calls: []}]\n",
    ];
    let filters = [
        "matchPIDs: [{operator: In}]",
        "matchPIDs: [{operator: In, values: []}]",
        "matchPIDs: [{operator: Is, values: [1]}]",
        "matchPIDs: [{operator: In, values: [-1]}]",
        "matchPIDs: [{operator: In, values: [5000000]}]",
        "matchBinaries: [{operator: In, values: [/a]}, {operator: In, values: [/b]}]",
        "matchBinaries: [{operator: In, values: [\"\"]}]",
        "matchBinaries: [{operator: Prefix, values: [/a], followChildren: true}]",
        "matchArgs: [{index: 0, operator: Equal, values: []}]",
        "matchArgs: [{index: 0, operator: Equals, values: [\"1\"]}]",
        "matchArgs: [{index: 0, args: [0], operator: Equal, values: [\"1\"]}]",
        "matchReturnArgs: [{index: 0, operator: Equal, values: [\"1\"]}]",
        "matchReturnActions: [{action: Post}]",
        "matchNamespaces: [{namespace: Pod, operator: In, values: [host_ns]}]",
        "matchNamespaces: [{operator: In, values: [host_ns]}]",
        "matchCapabilities: [{operator: In, values: [CAP_WORLD]}]",
        "matchCapabilities: [{type: Ambient, operator: In, values: [CAP_KILL]}]",
        "matchMarks: [{operator: In}]",
        "matchMarks: [{operator: In, values: []}]",
        "matchMarks: [{operator: In, values: [a b]}]",
        "matchActions: [{action: Mark}]",
        "matchActions: [{action: Unmark, mark: -a}]",
        "matchActions: [{}]",
        "matchActions: [{action: Explode}]",
        "matchActions: [{action: Override}]",
        "matchActions: [{action: Override, argError: -5000}]",
        "matchActions: [{action: Signal}]",
        "matchActions: [{action: Signal, argSig: 65}]",
        "matchActions: [{action: Post, rateLimit: soon}]",
        "matchActions: [{action: Post, rateLimit: 5s, rateLimitScope: world}]",
        "matchActions: [{action: GetUrl}]",
        "matchActions: [{action: GetUrl, argUrl: canary.example.com}]",
        "matchActions: [{action: GetUrl, argUrl: 'ftp://canary.example.com/'}]",
        "matchActions: [{action: GetUrl, argUrl: 'http://me@canary.example.com/'}]",
        "matchActions: [{action: GetUrl, argUrl: 'http:///a'}]",
        "matchActions: [{action: GetUrl, argUrl: 'http://a/#b'}]",
        "matchActions: [{action: DnsLookup, argUrl: 'http://a/'}]",
        "matchActions: [{action: DnsLookup, argFqdn: 'a b'}]",
        "matchActions: [{action: DnsLookup, argFqdn: -a}]",
        "matchData: [{index: 0}]",
        "matchNamespaceChanges: [{operator: In}]",
        "macros: a",
        "matchArg: []",
    ];
    let server = Server::new();
    let mut taken = Vec::new();
    for text in texts.iter().map(|spec| policy(spec)).chain(filters.iter().map(|text| filter(text))) {
        if Rules::ALL.check_text(&text).errors == 0 {
            taken.push(format!("the agent takes\n{text}"));
        }
        if server.faults(&spec_of(&text)).is_empty() {
            taken.push(format!("the API server takes\n{text}"));
        }
    }
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}

/// Every place in a value.
fn places(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| places(value, &format!("{path}/{key}"), all));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{path}/{index}"), all));
        }
        _ => {}
    }
}

/// Whether scalars of both have the same types at the same places. A policy of a file may say 1 where text is meant, an
/// object of the API server may not.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.iter().all(|(key, value)| other.get(key).is_none_or(|other| alike(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.iter().all(|one| other.iter().all(|other| alike(one, other)))
        }
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// Takes a place out, or puts what is at another place there, where both are alike.
fn change(spec: &mut Value, one: &str, other: &str, remove: bool) {
    let replacement = spec.pointer(other).cloned();
    if !remove {
        if let (Some(place), Some(replacement)) = (spec.pointer_mut(one), replacement)
            && alike(place, &replacement)
        {
            *place = replacement;
        }
        return;
    }
    let Some((parent, key)) = one.rsplit_once('/') else { return };
    match spec.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.remove(key)),
        Some(Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_policy_that_the_agent_takes_is_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 1..4),
    ) {
        thread_local!(static SERVER: Server = Server::new());
        let mut spec = spec_of(SOUND);
        for (one, other, remove) in changes {
            let mut all = Vec::new();
            places(&spec, "", &mut all);
            let (one, other) = (one.get(&all).clone(), other.get(&all).clone());
            change(&mut spec, &one, &other, remove);
        }
        let policy = json!({
            "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "a"}, "spec": spec,
        });
        let checked = Rules::ALL.check_text(&policy.to_string());
        if checked.errors == 0 {
            let faults = SERVER.with(|server| server.faults(&spec));
            prop_assert!(faults.is_empty(), "{faults:#?}\n{spec:#}");
        }
    }
}

#[test]
fn both_scopes_differ_in_what_is_about_the_host_alone() {
    let rules = |namespaced| -> BTreeSet<String> {
        let schema = serde_json::to_value(schema(namespaced)).unwrap();
        let rules = schema["x-kubernetes-validations"].as_array().unwrap().clone();
        rules.iter().map(|rule| rule["rule"].to_string()).collect()
    };
    let (mut cluster, namespaced) = (rules(false), rules(true));
    // What processes map is told of the whole node.
    cluster.retain(|rule| !rule.contains("self.loader"));
    assert!(cluster.is_subset(&namespaced), "{:?}", cluster.difference(&namespaced));
}
