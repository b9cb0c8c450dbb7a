use std::path::Path;

use trigon_probes::{
    hooks::Mechanism,
    kernel::{Ladder, Outcome, Step},
};

use super::*;

/// What `explain` writes of the policies of a text, as where nothing could be tried.
fn untried(text: &str) -> String {
    let policies = Rules::ALL.check_text(text).policies;
    assert!(!policies.is_empty(), "{text}");
    let report = |policy| PolicyReport {
        explanation: explain::explain(policy, &[]),
        untried: Some("it takes root".to_owned()),
        unresolved: None,
    };
    written(policies.iter().map(report))
}

fn written(reports: impl Iterator<Item = PolicyReport>) -> String {
    let mut out = Vec::new();
    reports.for_each(|report| report.write_text(&mut out).unwrap());
    String::from_utf8(out).unwrap()
}

fn ready_made(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn ready_made_policies_in_words() {
    insta::assert_snapshot!("kernel_modules", untried(&ready_made("kernel-modules.yaml")));
    insta::assert_snapshot!("container_shell", untried(&ready_made("container-shell.yaml")));
    insta::assert_snapshot!("privilege_change", untried(&ready_made("privilege-change.yaml")));
}

/// A policy with one of each: scopes, filters, actions.
const ALL: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicyNamespaced
metadata: {name: all, namespace: shop}
spec:
  podSelector:
    matchLabels: {app: web}
    matchExpressions:
    - {key: env, operator: NotIn, values: [test]}
  containerSelector:
    matchLabels: {name: main}
  kprobes:
  - call: sys_openat
    syscall: true
    message: "a file was opened\u0007"
    return: true
    returnArg: {index: 0, type: int, label: descriptor}
    args:
    - {index: 1, type: string, label: path}
    - {index: 2, type: int}
    - {index: 3, type: uint32}
    selectors:
    - label: told
      matchPIDs:
      - {operator: NotIn, values: [0, 1], followForks: true, isNamespacePID: true}
      matchBinaries:
      - {operator: In, values: [/usr/bin/curl, "/tmp/\u001bx"], followChildren: true}
      matchParentBinaries:
      - {operator: NotPostfix, values: [/sh]}
      matchNamespaces:
      - {namespace: Pid, operator: NotIn, values: [host_ns]}
      matchCapabilities:
      - {type: Effective, operator: In, values: [CAP_SYS_ADMIN, CAP_NET_ADMIN], isNamespaceCapability: true}
      matchArgs:
      - {index: 1, operator: Prefix, values: [/etc/, /root/]}
      - {index: 2, operator: Mask, values: [3]}
      - {index: 3, operator: InMap, values: ["1:5", "7"]}
      matchReturnArgs:
      - {index: 0, operator: GreaterThan, values: [-1]}
      matchActions:
      - {action: Post, rateLimit: 5m, rateLimitScope: process}
    - label: killed
      matchArgs:
      - {index: 1, operator: Equal, values: [/1, /2, /3, /4, /5, /6, /7, /8, /9, /10, /11, /12, /13, /14]}
      matchActions:
      - {action: Sigkill}
      - {action: Signal, argSig: 15}
    - matchActions:
      - {action: NoPost}
"#;

#[test]
fn every_part_of_a_policy_in_words() {
    insta::assert_snapshot!(untried(ALL));
}

#[test]
fn whom_a_policy_calls_in_words() {
    insta::assert_snapshot!(untried(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: canary}\nspec:\n  kprobes:\n  - call: sys_openat\n    args: [{index: 1, type: string}]\n    selectors:\n    - matchArgs: [{index: 1, operator: Equal, values: [/etc/canary]}]\n      matchActions: [{action: GetUrl, argUrl: 'https://canary.example.com/t?a=b'}, {action: NoPost}]\n    - matchArgs: [{index: 1, operator: Equal, values: [/etc/shadow]}]\n      matchActions: [{action: DnsLookup, argFqdn: canary.example.com}]\n"
    ));
}

#[test]
fn mechanisms_say_why() {
    let policy = policy::check_text(&ready_made("sensitive-files.yaml")).policies.remove(0);
    let wanted = explain::wanted(&policy);
    let missing = |mechanism, reason: &str| Step { mechanism, outcome: Outcome::Missing(reason.to_owned()) };
    let ladder = |wanted: &kernel::Wanted| {
        let mut steps = vec![
            missing(Mechanism::Trampoline, "this kernel refuses it whoever asks (EPERM)"),
            missing(Mechanism::Kprobe, "this kernel has no perf events of the type kprobe"),
        ];
        // The one has an equivalent, the other none.
        if wanted.target.symbol() == "security_file_permission" {
            steps.push(Step { mechanism: Mechanism::Equivalent, outcome: Outcome::Works });
        }
        Ladder { kind: "", target: wanted.target.to_string(), steps }
    };
    let ladders: Vec<_> = wanted.iter().map(ladder).collect();
    let explanation = explain::explain(&policy, &ladders);
    let report = PolicyReport { explanation, untried: None, unresolved: None };
    insta::assert_snapshot!(written([report].into_iter()));
}

/// Policies of people outside of the project: each has words, and none of these could act on a terminal.
#[test]
fn shared_policies_in_words() {
    let folder = std::env::var_os("TRIGON_POLICIES").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/policies");
    let folder = folder.unwrap_or_else(beside);
    if !folder.is_dir() {
        eprintln!("SKIPPED: there are no policies; set TRIGON_POLICIES to a directory of them");
        return;
    }
    for file in policy::files(&folder).unwrap() {
        for policy in Rules::ALL.check_file(&file).unwrap().policies {
            let explanation = explain::explain(&policy, &[]);
            assert_eq!(explanation.hooks.len(), policy.hooks.len(), "{}", file.display());
            for (hook, of) in explanation.hooks.iter().zip(&policy.hooks) {
                // Only the kernel knows what a generated list has, and only the file where a program's places are.
                let places = !hook.places.is_empty() || of.point.count() == 0 || of.point.is_in_program();
                assert!(places, "{}: {} is nowhere", file.display(), hook.at);
                assert_eq!(hook.cases.len(), of.selectors.len().max(1), "{}", file.display());
                assert!(hook.cases.iter().all(|case| !case.then.is_empty()), "{}", file.display());
            }
            assert!(!explanation.limits.is_empty());
            let report = PolicyReport { explanation, untried: None, unresolved: None };
            let text = written([report].into_iter());
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{}", file.display());
        }
    }
}
