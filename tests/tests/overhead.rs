//! What hooks cost, as the agent tells it: by which mechanism they are entered is all the same.

use std::{fs, process::ExitCode};

use trigon_tests::{
    agent::{Agent, Running},
    command::said,
    exposition::Exposition,
    policed::Rig,
    suite::{self, Need},
};

const KERNEL: &[Need] = &[Need::Kernel];

const OPENS: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: opens}
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    return: true
    returnArg: {index: 0, type: int}
    args: [{index: 1, type: string}]
    selectors:
    - matchArgs: [{index: 1, operator: Equal, values: ["FOLDER/wanted"]}]
"#;

/// How often the hooked call is made.
const CALLS: u32 = 200;

const MEASURED: [&str; 2] = ["trigon_hook_runs_total", "trigon_hook_seconds_total"];
const MISSED: &str = "trigon_hook_missed_total";

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test(
            "runs_are_measured_and_outlive_their_policy",
            KERNEL,
            runs_are_measured_and_outlive_their_policy,
        );
        suite.test("what_is_not_measured_is_not_told", KERNEL, what_is_not_measured_is_not_told);
    })
}

/// What the hooks of the policy cost together, joined by their labels.
fn of_policy(metrics: &Exposition, family: &str) -> f64 {
    hooks(metrics).iter().map(|hook| cost(metrics, family, hook)).sum()
}

/// Hook and mechanism of each hook that the policy has.
fn hooks(metrics: &Exposition) -> Vec<(String, String)> {
    let infos = metrics.labels("trigon_policy_hook_info", &[("policy", "opens"), ("policy_namespace", "")]);
    infos.iter().map(|info| (info["hook"].clone(), info["mechanism"].clone())).collect()
}

fn cost(metrics: &Exposition, family: &str, (hook, mechanism): &(String, String)) -> f64 {
    metrics.sum(family, &[("hook", hook), ("mechanism", mechanism)])
}

fn open(rig: &Rig) {
    (0..CALLS).for_each(|_| drop(fs::read(rig.path("wanted")).expect("read a file")));
}

fn done(agent: &Running, arguments: &[&str]) {
    let said = said(&mut agent.command(arguments));
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}; the agent's log:\n{}", agent.log());
}

fn runs_are_measured_and_outlive_their_policy() {
    let rig = Rig::new(OPENS);
    let policy = rig.policy.to_str().expect("a plain path");
    let agent = Agent::new().config("[metrics]\nbpf_stats = true").start();
    let idle = agent.metrics();
    assert_eq!(hooks(&idle), [], "{idle}");

    done(&agent, &["policy", "add", policy]);
    let before = agent.metrics();
    open(&rig);
    let after = agent.until_metrics("the policy's events", |metrics| {
        let events = metrics.sum("trigon_policy_events_total", &[("policy", "opens")]);
        (events >= f64::from(CALLS)).then(|| metrics.clone())
    });
    let hooks = hooks(&after);
    assert!(!hooks.is_empty(), "{after}");
    let events = after.labels("trigon_policy_events_total", &[("policy", "opens")]);
    assert!(events.iter().all(|event| hooks.iter().any(|(hook, _)| *hook == event["hook"])), "{after}");
    let [runs, seconds] = MEASURED.map(|family| of_policy(&after, family) - of_policy(&before, family));
    assert!(runs >= f64::from(CALLS), "{runs} runs:\n{after}");
    assert!(seconds > 0.0, "{after}");
    assert!(hooks.iter().all(|hook| cost(&after, MISSED, hook) == 0.0), "{after}");
    // The lifecycle's programs are told of, too: this process started others.
    let exec = [("hook", "sched_process_exec")];
    assert!(after.sum("trigon_hook_runs_total", &exec) >= 1.0, "{after}");
    let memory = |metrics: &Exposition, part| metrics.sum("trigon_kernel_memory_bytes", &[("part", part)]);
    for part in ["lifecycle", "ring_buffer", "placements", "hooks"] {
        assert!(memory(&after, part) > 0.0, "{part}:\n{after}");
    }
    assert_eq!(memory(&idle, "hooks"), 0.0, "{idle}");

    // A counter never falls: not when its programs go, nor when others take their place.
    done(&agent, &["policy", "delete", "opens"]);
    let gone = agent.metrics();
    assert!(!gone.has("trigon_policy_hook_info"), "{gone}");
    done(&agent, &["policy", "add", policy]);
    open(&rig);
    let again = agent.metrics();
    for hook in &hooks {
        for family in MEASURED {
            let [first, second, third] = [&after, &gone, &again].map(|metrics| cost(metrics, family, hook));
            assert!(first <= second && second <= third, "{family} {hook:?}: {first}, {second}, {third}");
        }
    }
    let new =
        of_policy(&again, MEASURED[0]) - hooks.iter().map(|hook| cost(&gone, MEASURED[0], hook)).sum::<f64>();
    assert!(new >= f64::from(CALLS), "{new} runs:\n{again}");
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
}

fn what_is_not_measured_is_not_told() {
    let rig = Rig::new(OPENS);
    let agent = rig.agent().start();
    open(&rig);
    let metrics = agent.metrics();
    assert!(MEASURED.iter().all(|family| !metrics.has(family)), "{metrics}");
    let hooks = hooks(&metrics);
    assert!(!hooks.is_empty() && metrics.has(MISSED), "{metrics}");
    assert!(hooks.iter().all(|hook| cost(&metrics, MISSED, hook) == 0.0), "{metrics}");
}
