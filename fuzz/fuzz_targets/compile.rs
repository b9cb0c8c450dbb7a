//! Policies that are sound, compiled to the kernel's tables: alone, all of a file together, and explained.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use trigon::policy::{
    self,
    compile::{self, Host, Part, lineage::Lineages},
    explain,
    model::Policy,
};

fn part<'a>(
    policy: &'a Policy,
    number: u32,
    hook: &'a policy::model::hooks::Hook,
    marks: &'a [Arc<str>],
) -> Part<'a> {
    Part {
        policy: number,
        policy_hook: number,
        follows: policy.follows(),
        alone: false,
        denies: policy.denies(hook),
        method: policy.options.override_method,
        hook,
        marks,
        scopes: &[],
        trial: number % 2 == 1,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let policies = policy::Rules::ALL.check_bytes(bytes).policies;
    let mut lineages = Lineages::default();
    let mut parts = Vec::new();
    let marks: Vec<_> = policies.iter().map(Policy::marks).collect();
    for ((policy, number), marks) in policies.iter().zip(1..).zip(&marks) {
        let explanation = explain::explain(policy, &[]);
        assert_eq!(explanation.hooks.len(), policy.hooks.len());
        parts.extend(policy.hooks.iter().map(|hook| part(policy, number, hook, marks)));
    }
    for one in &parts {
        if let Ok(plan) = compile::table(std::slice::from_ref(one), Host::default(), &mut lineages) {
            assert_eq!(plan.selectors.len(), one.hook.selectors.len().max(1));
        }
    }
    let _ = compile::table(&parts, Host::default(), &mut lineages);
});
