//! The language as a whole; `yaml` and `check` have tests of their own.

use super::{Checked, check_text, fault::Class};

mod arbitrary;
mod faults;
mod hostile;
mod schema;
mod shared;
mod sound;
mod workloads;

/// A policy with this `spec`, which is indented by two.
pub(super) fn policy(spec: &str) -> String {
    format!("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: test\nspec:\n{spec}")
}

/// A policy whose one hook has two arguments, a number and a file, and these `selectors`, indented by four.
fn selectors(selectors: &str) -> String {
    let hook = "  kprobes:\n  - call: fd_install\n    syscall: false\n    args:\n    - {index: 0, type: int}\n    - {index: 1, type: file}\n    selectors:\n";
    policy(&format!("{hook}{selectors}"))
}

/// The faults as `trigon policy check` writes them.
fn written(checked: &Checked) -> String {
    let lines = checked.faults.iter().map(|fault| format!("test.yaml:{fault}\n"));
    let hidden = (checked.hidden > 0).then(|| format!("test.yaml: and {} more\n", checked.hidden));
    lines.chain(hidden).collect()
}

/// The policy of a text that has nothing wrong.
pub(super) fn sound(text: &str) -> super::model::Policy {
    let mut checked = check_text(text);
    checked.faults.retain(|fault| fault.class != Class::Note);
    assert_eq!(written(&checked), "", "{text}");
    checked.policies.remove(0)
}

/// The names of what isn't supported yet.
fn unsupported(checked: &Checked) -> Vec<String> {
    let features = checked.faults.iter().filter_map(|fault| match fault.class {
        Class::Unsupported(feature) => Some(feature.to_string()),
        _ => None,
    });
    let mut features: Vec<String> = features.collect();
    features.sort();
    features.dedup();
    features
}
