//! Lists that the kernel fills: all its system calls, or the functions that ftrace can trace and a pattern takes.

use std::sync::Arc;

use regex::Regex;
use trigon_probes::{
    ProbeError,
    symbols::{self, Listed},
};

use super::super::{
    fault::{Class, Fault, Quoted},
    limits,
    model::{
        Policy,
        hooks::{Abi, Function, Functions, Generated, Point},
    },
};

/// What tells which functions there are.
pub(in crate::policy) trait Source {
    /// All system calls, by their functions without prefix.
    fn system_calls(&self) -> Result<Vec<String>, ProbeError>;
    /// Functions that can be traced and that are wanted, `most` at most.
    fn traceable(&self, wanted: &dyn Fn(&str) -> bool, most: usize) -> Result<Listed, ProbeError>;
}

/// The running kernel.
pub(super) struct Kernel;

/// Fills the generated lists of a policy that a hook names, and the hooks.
pub(in crate::policy) fn fill(policy: &mut Policy, source: &dyn Source, faults: &mut Vec<Fault>) {
    let before = faults.len();
    for (index, list) in policy.lists.iter_mut().enumerate() {
        let Some(generated) = &list.generated else { continue };
        let is_named =
            |point: &Point| matches!(point, Point::Functions(Functions { list, .. }) if *list == Some(index));
        if !policy.hooks.iter().any(|hook| is_named(&hook.point)) {
            continue;
        }
        let mut refuse = |message: String, allowed: Option<String>| {
            let path = format!("spec.lists[{index}]");
            faults.push(Fault { class: Class::Invalid, at: list.at, path, message, allowed });
        };
        let functions: Arc<[Function]> = match functions(generated, source) {
            Ok(functions) => functions.into(),
            Err((message, allowed)) => {
                refuse(message, allowed);
                continue;
            }
        };
        for hook in &mut policy.hooks {
            if let Point::Functions(point) = &mut hook.point
                && point.list == Some(index)
            {
                point.functions = Arc::clone(&functions);
            }
        }
        list.functions = functions;
    }
    let count: usize = policy.hooks.iter().map(|hook| hook.point.count()).sum();
    if count > limits::FUNCTIONS && faults.len() == before {
        faults.push(Fault {
            class: Class::Limit,
            at: policy.at,
            path: "spec".to_owned(),
            message: format!("with what this kernel has, its hooks are on {count} functions"),
            allowed: Some(format!("at most {}", limits::FUNCTIONS)),
        });
    }
}

fn functions(generated: &Generated, source: &dyn Source) -> Result<Vec<Function>, (String, Option<String>)> {
    let said = |error: ProbeError| (error.to_string(), Some("a list with values".to_owned()));
    match generated {
        Generated::Syscalls => {
            let calls = source.system_calls().map_err(said)?;
            Ok(calls.into_iter().map(|name| Function::Syscall { name, abi: Abi::Native }).collect())
        }
        Generated::Ftrace(pattern) => {
            // The reader took it already.
            let regex = Regex::new(pattern).map_err(|error| (error.to_string(), None))?;
            let listed =
                source.traceable(&|name| regex.is_match(name), limits::LIST_FUNCTIONS).map_err(said)?;
            let quoted = Quoted(pattern);
            if listed.count > limits::LIST_FUNCTIONS {
                let message = format!("{} functions of this kernel match {quoted}", listed.count);
                return Err((message, Some(format!("at most {}", limits::LIST_FUNCTIONS))));
            }
            if listed.count == 0 {
                return Err((format!("no function that this kernel can trace matches {quoted}"), None));
            }
            Ok(listed.found.into_iter().map(Function::Symbol).collect())
        }
    }
}

// === impl Kernel ===

impl Source for Kernel {
    fn system_calls(&self) -> Result<Vec<String>, ProbeError> {
        symbols::system_calls()
    }

    fn traceable(&self, wanted: &dyn Fn(&str) -> bool, most: usize) -> Result<Listed, ProbeError> {
        symbols::traceable(wanted, most)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::check_text, *};

    struct Known(&'static [&'static str]);

    impl Source for Known {
        fn system_calls(&self) -> Result<Vec<String>, ProbeError> {
            Ok(self.0.iter().map(|name| (*name).to_owned()).collect())
        }

        fn traceable(&self, wanted: &dyn Fn(&str) -> bool, most: usize) -> Result<Listed, ProbeError> {
            let all: Vec<_> = self.0.iter().filter(|name| wanted(name)).collect();
            let found = all.iter().take(most).map(|name| (**name).to_owned()).collect();
            Ok(Listed { found, count: all.len() })
        }
    }

    fn filled(
        lists: &str,
        calls: &[&str],
        known: &'static [&'static str],
    ) -> Result<Vec<Vec<String>>, String> {
        let hooks: String = calls.iter().map(|call| format!("  - {{call: \"list:{call}\"}}\n")).collect();
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: x}}\nspec:\n  lists: {lists}\n  kprobes:\n{hooks}"
        );
        let mut checked = check_text(&text);
        assert_eq!(checked.errors, 0, "{:?}", checked.faults);
        let mut policy = checked.policies.remove(0);
        let mut faults = Vec::new();
        fill(&mut policy, &Known(known), &mut faults);
        if let Some(fault) = faults.first() {
            return Err(fault.to_string());
        }
        let functions = |point: &Point| match point {
            Point::Functions(point) => point.functions.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Ok(policy.hooks.iter().map(|hook| functions(&hook.point)).collect())
    }

    #[test]
    fn lists_have_what_the_kernel_has() {
        let lists =
            "[{name: all, type: generated_syscalls}, {name: k, type: generated_ftrace, pattern: \"^ksys_\"}]";
        let known = &["ksys_read", "openat", "ksys_write", "vfs_read"];
        let all = filled(lists, &["all", "k", "k"], known).unwrap();
        assert_eq!(all[0], ["sys_ksys_read", "sys_openat", "sys_ksys_write", "sys_vfs_read"]);
        assert_eq!(all[1], ["ksys_read", "ksys_write"]);
        assert_eq!(all[1], all[2]);
    }

    #[test]
    fn patterns_that_match_nothing_or_too_much_are_refused() {
        let list = "[{name: f, type: generated_ftrace, pattern: \"_x$\"}]";
        assert_eq!(
            filled(list, &["f"], &["a"]).unwrap_err(),
            "5:11: error: spec.lists[0]: no function that this kernel can trace matches \"_x$\""
        );
        static MANY: std::sync::LazyLock<Vec<&str>> =
            std::sync::LazyLock::new(|| vec!["a_x"; limits::LIST_FUNCTIONS + 1]);
        assert_eq!(
            filled(list, &["f"], &MANY).unwrap_err(),
            "5:11: error: spec.lists[0]: 1025 functions of this kernel match \"_x$\"; allowed: at most 1024"
        );
        // What no hook names is not asked for.
        assert_eq!(
            filled("[{name: f, type: generated_ftrace, pattern: b}, {name: g, values: [c]}]", &["g"], &["a"])
                .unwrap(),
            [["c"]]
        );
    }
}
