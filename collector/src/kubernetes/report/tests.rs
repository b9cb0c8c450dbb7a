use jiff::Timestamp;

use super::*;
use crate::api::HookStatus;

fn told(name: &str, state: State, from: Origin) -> Told {
    let status = PolicyStatus {
        name: Some(name.to_owned()),
        namespace: None,
        state,
        mode: None,
        since: Timestamp::UNIX_EPOCH,
        from,
        hooks: Vec::new(),
        kernel_memory_bytes: 4096,
        error: None,
    };
    Told { status, generation: Some(3) }
}

#[test]
fn a_report_counts_and_tells() {
    let cluster = Origin::Kubernetes(PolicyGroup::Trigon);
    let mut failed = told("failed", State::LoadError, cluster.clone());
    failed.status.error = Some("x".repeat(10_000));
    let mut loaded = told("loaded", State::PartiallyEnabled, Origin::Api);
    let hook = |mechanism: Option<&str>| HookStatus {
        name: "sys_read".to_owned(),
        mechanism: mechanism.map(str::to_owned),
    };
    loaded.status.hooks = vec![hook(Some("fentry")), hook(None)];
    let report = ReportFields::of(&[failed, loaded, told("skipped", State::Skipped, cluster)]);
    assert_eq!(report.summary, Summary { policies: 3, loaded: 1, failed: 1, skipped: 1 });
    assert_eq!(report.policies[0].error.as_ref().map(String::len), Some(ERROR_CHARS));
    let loaded = serde_json::to_value(&report.policies[1]).unwrap();
    let expected = serde_json::json!({
        "name": "loaded",
        "from": "api",
        "generation": 3,
        "state": "partially_enabled",
        "since": "1970-01-01T00:00:00Z",
        "hooks": [{"name": "sys_read", "mechanism": "fentry"}, {"name": "sys_read"}],
        "kernelMemoryBytes": 4096,
    });
    assert_eq!(loaded, expected);
    assert_eq!(report.policies[2].group.as_deref(), Some("trigon.io"));
    assert_eq!(report.policies[2].from, None);
}

#[test]
fn the_largest_report_fits_an_object() {
    let all: Vec<_> = (0..2000)
        .map(|number| {
            let name = format!("{number:0>253}");
            let mut told = told(&name, State::Error, Origin::Kubernetes(PolicyGroup::Cilium));
            let hook = HookStatus { name: "f".repeat(40), mechanism: Some("kprobe.multi".to_owned()) };
            told.status.hooks = vec![hook; 4096];
            told.status.error = Some("e".repeat(100_000));
            told
        })
        .collect();
    let report = ReportFields::of(&all);
    assert_eq!((report.policies.len(), report.summary.policies), (POLICIES, 2000));
    let hooks: usize = report.policies.iter().map(|policy| policy.hooks.len()).sum();
    assert_eq!(hooks, ALL_HOOKS);
    assert_eq!(report.policies[0].hooks_left_out, 4096 - HOOKS as i32);
    assert_eq!(report.policies[POLICIES - 1].hooks_left_out, 4096);
    let bytes = serde_json::to_vec(&TracingPolicyReport::new("node", report)).unwrap().len();
    assert!(bytes < 3 << 19, "{bytes} bytes");
}
