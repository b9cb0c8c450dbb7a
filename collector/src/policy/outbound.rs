//! By which lines the selectors of a hook call out, for whoever reads records.

use std::{fs, os::unix::fs::MetadataExt as _, sync::Arc, time::Instant};

use trigon_exporters::{
    event::Policy,
    outbound::{Line, Outbound},
};

use super::{engine::LoadError, model::actions::Action, model::hooks::Hook};

/// What a hook calls out to.
#[derive(Debug)]
pub struct CallsOut(Vec<Selector>);

#[derive(Debug, Default)]
struct Selector {
    lines: Vec<Line>,
    /// Nothing else is done: `NoPost`.
    silent: bool,
}

// === impl CallsOut ===

impl CallsOut {
    /// The lines of a hook; none where it doesn't call out.
    ///
    /// # Errors
    /// Calling out isn't allowed, or a call can't be prepared.
    pub(super) fn of(
        hook: &Hook,
        policy: &Policy,
        outbound: Option<&Outbound>,
    ) -> Result<Option<Arc<Self>>, LoadError> {
        let mut selectors = Vec::with_capacity(hook.selectors.len());
        for selector in &hook.selectors {
            let mut lines = Vec::new();
            for call in selector.all_actions().filter_map(Action::calls_out) {
                lines.push(outbound.ok_or(LoadError::OutboundRefused)?.line(policy, call)?);
            }
            let silent = !lines.is_empty() && selector.all_actions().any(|action| *action == Action::NoPost);
            selectors.push(Selector { lines, silent });
        }
        let calls = selectors.iter().any(|selector| !selector.lines.is_empty());
        Ok(calls.then(|| Arc::new(Self(selectors))))
    }

    /// The same without its lines: what is in force no longer calls nobody, and has still nothing told that it hid.
    pub(super) fn cut(&self) -> Self {
        let cut = |selector: &Selector| Selector { lines: Vec::new(), silent: selector.silent };
        Self(self.0.iter().map(cut).collect())
    }

    /// Calls out for a match of a selector, unless the agent itself made the call that was matched: what it does to call
    /// out would have it call out again, and so on. Returns whether there is an event to tell of.
    pub fn matched(&self, selector: u16, own: bool) -> bool {
        let Some(selector) = self.0.get(usize::from(selector)) else { return true };
        let now = Instant::now();
        for line in &selector.lines {
            if own { line.pass_over() } else { line.call(now) }
        }
        !selector.silent
    }
}

/// The agent's process id as the kernel has it; none in a namespace of its own, where it has another one.
pub fn own_pid() -> Option<u32> {
    /// Of the first namespace: include/linux/proc_ns.h.
    const PROC_PID_INIT_INO: u64 = 0xeffffffc;
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?;
    (namespace.ino() == PROC_PID_INIT_INO).then(std::process::id)
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Runtime;
    use trigon_exporters::metrics::{OutboundMetrics, OutboundOutcome, Registry};

    use super::*;
    use crate::policy::{Rules, tests::policy};

    const SPEC: &str = "  kprobes:\n  - call: sys_read\n    selectors:\n    \
        - matchPIDs: [{operator: In, values: [1]}]\n    \
        - matchActions: [{action: DnsLookup, argFqdn: canary.invalid}]\n    \
        - matchActions: [{action: GetUrl, argUrl: 'http://127.0.0.1:9/'}, {action: NoPost}]\n";

    #[test]
    fn selectors_call_out_by_their_own_lines() {
        let runtime = Runtime::new().unwrap();
        let metrics = OutboundMetrics::register(&Registry::new()).unwrap();
        let outbound = Outbound::new(runtime.handle().clone(), metrics.clone());
        let checked = Rules::ALL.check_text(&policy(SPEC));
        let hook = &checked.policies[0].hooks[0];
        let name = Policy { name: "test".into(), namespace: None };
        let refused = CallsOut::of(hook, &name, None);
        assert!(matches!(refused, Err(LoadError::OutboundRefused)), "{refused:?}");
        let calls = CallsOut::of(hook, &name, Some(&outbound)).unwrap().unwrap();
        let [lookups, gets] = ["DnsLookup", "GetUrl"].map(|action| metrics.counts("test", "", action));
        let own = |counts: &trigon_exporters::metrics::OutboundCounts| counts.get(OutboundOutcome::OwnDeed);
        assert!(calls.matched(0, true) && calls.matched(7, true));
        assert_eq!((own(&lookups), own(&gets)), (0, 0));
        assert!(calls.matched(1, true));
        assert!(!calls.matched(2, true), "it is told nowhere");
        assert_eq!((own(&lookups), own(&gets)), (1, 1));
        let cut = calls.cut();
        assert!(cut.matched(1, true) && !cut.matched(2, true));
        assert_eq!((own(&lookups), own(&gets)), (1, 1));
        let plain = crate::policy::tests::sound(&policy("  kprobes: [{call: sys_read}]\n"));
        assert!(CallsOut::of(&plain.hooks[0], &name, None).unwrap().is_none());
    }
}
