//! Where policies apply.

use super::{
    super::{
        check_text, limits,
        model::{
            ApiVersion, Kind, Policy,
            scope::{LabelOperator, LabelSelector, Requirement, Scope, Workloads},
        },
    },
    policy, sound, written,
};

const HOOK: &str = "  kprobes: [{call: sys_read}]\n";

fn with(selectors: &str) -> Policy {
    sound(&policy(&format!("{selectors}{HOOK}")))
}

fn namespaced(metadata: &str, selectors: &str) -> String {
    format!(
        "apiVersion: trigon.io/v1alpha1\nkind: TracingPolicyNamespaced\nmetadata: {metadata}\nspec:\n{selectors}{HOOK}"
    )
}

fn labels(requirements: &[(&str, LabelOperator, &[&str])]) -> LabelSelector {
    let requirement = |(key, operator, values): &(&str, LabelOperator, &[&str])| Requirement {
        key: (*key).to_owned(),
        operator: *operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    LabelSelector::new(requirements.iter().map(requirement).collect())
}

#[test]
fn selectors_of_pods_containers_and_the_host() {
    assert_eq!(with("").scope, None);
    assert_eq!(with("  podSelector: ~\n  hostSelector:\n").scope, None);
    assert_eq!(with("  hostSelector: {}\n").scope, Some(Scope { pods: None, host: true }));
    let all = Some(Workloads::default());
    assert_eq!(with("  podSelector: {}\n").scope, Some(Scope { pods: all.clone(), host: false }));
    assert_eq!(with("  podSelector: {}\n  hostSelector: {}\n").scope, Some(Scope { pods: all, host: true }));
    let scope = with(
        r#"  podSelector:
    matchLabels: {app: web, example.com/tier: "1", "k8s:io.kubernetes.pod.namespace": team-a}
    matchExpressions:
    - {key: env, operator: notin, values: [test, dev, test]}
    - {key: canary, operator: DoesNotExist}
    - {key: owner, operator: Exists}
  containerSelector:
    matchExpressions:
    - {key: name, operator: In, values: [main]}
    - {key: repo, operator: NotIn, values: ["docker.io/library/nginx"]}
"#,
    )
    .scope;
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let pods = Workloads {
        namespace: None,
        labels: labels(&[
            ("app", In, &["web"]),
            ("example.com/tier", In, &["1"]),
            ("k8s:io.kubernetes.pod.namespace", In, &["team-a"]),
            ("env", NotIn, &["dev", "test"]),
            ("canary", DoesNotExist, &[]),
            ("owner", Exists, &[]),
        ]),
        containers: labels(&[("name", In, &["main"]), ("repo", NotIn, &["docker.io/library/nginx"])]),
    };
    assert_eq!(scope, Some(Scope { pods: Some(pods), host: false }));
    // What asks the same is the same, however it is written.
    let one = with("  podSelector: {matchLabels: {a: x, b: \"y\"}}\n");
    let other = with(
        "  podSelector: {matchLabels: {b: \"y\"}, matchExpressions: [{key: a, operator: In, values: [x, x]}]}\n",
    );
    assert_eq!(one.scope, other.scope);
}

#[test]
fn policies_of_a_namespace() {
    let policy =
        sound(&namespaced("{name: x, namespace: team-a}", "  podSelector: {matchLabels: {app: web}}\n"));
    assert_eq!((policy.kind, policy.api_version), (Kind::Namespaced, ApiVersion::TrigonV1Alpha1));
    assert_eq!((policy.key().as_str(), policy.name.as_str()), ("team-a/x", "x"));
    let pods = Workloads {
        namespace: Some("team-a".to_owned()),
        labels: labels(&[("app", LabelOperator::In, &["web"])]),
        containers: LabelSelector::default(),
    };
    assert_eq!(policy.scope, Some(Scope { pods: Some(pods), host: false }));
    let policy = sound(&namespaced("{name: x}", ""));
    assert_eq!(policy.key(), "default/x");
    assert!(policy.scope.is_some_and(|scope| !scope.host && scope.pods.is_some()));
    // As many policies of a name as namespaces.
    let [one, other] =
        ["{name: x, namespace: a}", "{name: x, namespace: b}"].map(|metadata| namespaced(metadata, ""));
    assert_eq!(check_text(&format!("{one}---\n{other}")).policies.len(), 2);
    let checked = check_text(&format!("{one}---\n{one}"));
    assert!(written(&checked).contains("two policies of this file are called a/x"), "{}", written(&checked));
}

#[test]
fn a_selector_applies_where_the_policy_and_it_do() {
    let policy = sound(&policy(
        r#"  podSelector: {matchLabels: {app: web}}
  hostSelector: {}
  kprobes:
  - call: sys_read
    selectors:
    - {label: all}
    - matchWorkloads: {podSelector: {matchLabels: {env: live}}}
    - matchWorkloads: {hostSelector: {}}
  - {call: sys_write}
"#,
    ));
    let web = ("app", LabelOperator::In, &["web"][..]);
    let live = ("env", LabelOperator::In, &["live"][..]);
    let pods = |all: &[_]| Some(Workloads { labels: labels(all), ..Workloads::default() });
    let hook = &policy.hooks[0];
    let scopes: Vec<_> = hook.selectors.iter().map(|selector| policy.scope_of(Some(selector))).collect();
    let expected = [
        Scope { pods: pods(&[web]), host: true },
        Scope { pods: pods(&[web, live]), host: false },
        Scope { pods: None, host: true },
    ];
    assert_eq!(scopes, expected.map(Some));
    assert_eq!(policy.scope_of(None), policy.scope);
}

#[test]
fn selectors_of_labels_have_limits() {
    let many = |count: usize| (0..count).map(|index| format!("k{index}: v")).collect::<Vec<_>>().join(", ");
    let of = |labels: &str| policy(&format!("  podSelector: {{matchLabels: {{{labels}}}}}\n{HOOK}"));
    sound(&of(&many(limits::REQUIREMENTS)));
    let refused = |text: &str| {
        let checked = check_text(text);
        assert!(checked.errors > 0 && checked.policies.is_empty(), "{text}");
        let faults = written(&checked);
        assert!(faults.len() < 500 * limits::FAULTS && !faults.contains('\u{1b}'), "{faults}");
    };
    refused(&of(&many(limits::REQUIREMENTS + 1)));
    refused(&of(&many(50_000)));
    sound(&of(&format!("{}/{}: {}", "d".repeat(253), "n".repeat(63), "v".repeat(63))));
    refused(&of(&format!("{}: v", "n".repeat(64))));
    refused(&of(&format!("{}/n: v", "d".repeat(254))));
    refused(&of(&format!("a: {}", "v".repeat(64))));
    refused(&of(&format!("\"\\e[31m{}\": \"\\e[31m\"", "x".repeat(100_000))));
    let values = (0..=limits::LABEL_VALUES).map(|index| format!("v{index}")).collect::<Vec<_>>().join(", ");
    refused(&policy(&format!(
        "  podSelector: {{matchExpressions: [{{key: a, operator: In, values: [{values}]}}]}}\n{HOOK}"
    )));
}
