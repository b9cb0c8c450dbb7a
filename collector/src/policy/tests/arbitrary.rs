//! No text makes the reader panic, and what it accepts holds what the model promises.

use proptest::prelude::*;

use super::{
    super::{Checked, Rules, limits},
    policy, selectors,
};

pub(super) const SOUND: &str = r#"apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: all-of-it
spec:
  podSelector:
    matchLabels: {app: web}
    matchExpressions: [{key: tier, operator: NotIn, values: [one, two]}]
  containerSelector: {matchExpressions: [{key: name, operator: In, values: [main]}]}
  hostSelector: {}
  options:
  - {name: disable-kprobe-multi, value: "1"}
  lists:
  - name: writes
    type: syscalls
    values: [sys_write, sys_pwrite64]
  kprobes:
  - call: list:writes
    return: true
    message: it writes
    tags: [one, two]
    args:
    - {index: 0, type: fd}
    - {index: 1, type: char_buf, sizeArgIndex: 3}
    - {index: 2, type: size_t, label: size}
    returnArg: {index: 0, type: int64}
    selectors:
    - label: first
      matchPIDs:
      - {operator: NotIn, values: [1, 2], isNamespacePID: true, followForks: true}
      matchBinaries:
      - {operator: In, values: [/bin/vi], followChildren: true}
      matchArgs:
      - {index: 0, operator: Prefix, values: [/etc/, /root/]}
      - {index: 2, operator: InRange, values: ["1:0x10"]}
      matchReturnArgs:
      - {index: 0, operator: LT, values: ["0"]}
      matchNamespaces:
      - {namespace: Pid, operator: NotIn, values: [host_ns, "4026531836"]}
      matchCapabilities:
      - {operator: In, values: [CAP_SYS_ADMIN]}
      matchWorkloads: {podSelector: {matchLabels: {env: live}}}
      matchActions:
      - {action: Post, rateLimit: 5m, rateLimitScope: process}
  tracepoints:
  - {subsystem: sched, event: sched_process_exec, raw: true, args: [{index: 1, type: nop}]}
"#;

/// What holds of everything that comes out.
fn check(checked: &Checked) {
    assert!(checked.faults.len() <= limits::FAULTS);
    assert!(checked.errors == 0 || checked.policies.is_empty());
    assert!(checked.errors + checked.policies.len() > 0);
    for hook in checked.policies.iter().flat_map(|policy| &policy.hooks) {
        assert!(hook.arguments.len() <= limits::ARGUMENTS);
        for filter in hook.selectors.iter().flat_map(|selector| &selector.arguments) {
            assert!(usize::from(filter.argument.0) < hook.arguments.len());
        }
        let returns = hook.selectors.iter().any(|selector| !selector.return_values.is_empty());
        assert!(hook.return_value.is_some() || !returns);
    }
}

#[test]
fn the_sound_policy_is_sound() {
    let policy = super::sound(SOUND);
    assert_eq!(policy.hooks.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text(text in ".{0,400}") {
        check(&Rules::ALL.check_text(&text));
        check(&Rules::ALL.check_text(&policy(&format!("  {text}"))));
    }

    #[test]
    fn any_yaml_like_text(text in "[-a-c0-9:?&*!|>'\"%@`#{}\\[\\], \n\t]{0,200}") {
        check(&Rules::ALL.check_text(&text));
        check(&Rules::ALL.check_text(&selectors(&format!("    - {text}\n"))));
    }

    #[test]
    fn a_sound_policy_with_lines_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4u8), 1..6),
    ) {
        let mut lines: Vec<String> = SOUND.lines().map(str::to_owned).collect();
        for (one, other, change) in changes {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            match change {
                0 => drop(lines.remove(one)),
                1 => lines.swap(one, other),
                2 => lines.insert(one, lines[other].clone()),
                _ => lines[one] = lines[one].replace(|character: char| character.is_ascii_digit(), "-1"),
            }
        }
        check(&Rules::ALL.check_text(&lines.join("\n")));
    }

    #[test]
    fn a_sound_policy_with_words_exchanged(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        let mut words: Vec<&str> = SOUND.split_inclusive([' ', '\n', ',']).collect();
        let (one, other) = (one.index(words.len()), other.index(words.len()));
        words.swap(one, other);
        check(&Rules::ALL.check_text(&words.concat()));
    }

    #[test]
    fn a_sound_policy_cut_short(end in any::<prop::sample::Index>()) {
        check(&Rules::ALL.check_text(&SOUND[..end.index(SOUND.len())]));
    }
}
