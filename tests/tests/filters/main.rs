//! What selectors let through, and what they hold back; what arguments are read as; what actions do.

mod acts;
mod buffers;
mod compat;
mod entries;
mod marks;
mod processes;
mod values;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use trigon_tests::{
    policed::{Rig, Told, told_of},
    suite::{self, Need},
    workload::Workload,
};

const KERNEL: &[Need] = &[Need::Kernel];
const COMPAT: &[Need] = &[Need::Kernel, Need::Compat];

/// Policies, and who does what they are about.
struct Case {
    rig: Rig,
    workload: Workload,
}

fn main() -> ExitCode {
    suite::run(|suite| {
        let tests: [(&str, fn()); 29] = [
            ("pids_of_the_host", processes::pids_of_the_host),
            ("pids_of_a_namespace", processes::pids_of_a_namespace),
            ("binaries", processes::binaries),
            ("binaries_and_what_they_start", processes::binaries_and_what_they_start),
            ("binaries_of_parents", processes::binaries_of_parents),
            ("binaries_of_parents_and_what_they_start", processes::binaries_of_parents_and_what_they_start),
            ("namespaces", processes::namespaces),
            ("capabilities", processes::capabilities),
            ("capabilities_of_a_namespace", processes::capabilities_of_a_namespace),
            ("marks", marks::marks),
            ("integers_of_each_type", values::integers_of_each_type),
            ("a_map_of_a_thousand_values", values::a_map_of_a_thousand_values),
            ("texts", values::texts),
            ("types_of_files", values::types_of_files),
            ("buffers", buffers::buffers),
            ("contents_of_buffers", buffers::contents_of_buffers),
            ("a_path_that_is_overwritten_meanwhile", entries::a_path_that_is_overwritten_meanwhile),
            ("a_buffer_that_is_written", entries::a_buffer_that_is_written),
            ("a_descriptor_that_is_closed_meanwhile", entries::a_descriptor_that_is_closed_meanwhile),
            ("two_long_paths", entries::two_long_paths),
            ("returned_values", values::returned_values),
            ("descriptors_of_who_follows_none", values::descriptors_of_who_follows_none),
            ("rates_by_scope", acts::rates_by_scope),
            ("a_rate_is_over_after_its_interval", acts::a_rate_is_over_after_its_interval),
            ("a_signal_that_is_handled", acts::a_signal_that_is_handled),
            ("first_selector_that_matches_wins", acts::first_selector_that_matches_wins),
            ("each_policy_has_its_event", acts::each_policy_has_its_event),
            ("copies_of_followed_descriptors", acts::copies_of_followed_descriptors),
            ("what_is_not_followed_posts_nothing", acts::what_is_not_followed_posts_nothing),
        ];
        tests.into_iter().for_each(|(name, test)| suite.test(name, KERNEL, test));
        let compat: [(&str, fn()); 5] = [
            ("opens_by_32_bit_calls", compat::opens_by_32_bit_calls),
            ("numbers_that_mean_something_else", compat::numbers_that_mean_something_else),
            ("files_that_32_bit_calls_open", compat::files_that_32_bit_calls_open),
            ("vectors_of_32_bit_calls", compat::vectors_of_32_bit_calls),
            ("a_32_bit_call_that_is_killed", compat::a_32_bit_call_that_is_killed),
        ];
        compat.into_iter().for_each(|(name, test)| suite.test(name, COMPAT, test));
    })
}

// === impl Case ===

impl Case {
    /// `FOLDER` in the policies is the rig's folder, `WORK` the workload's.
    fn of(policies: &[String]) -> Self {
        let case = Self { rig: Rig::new(""), workload: Workload::new() };
        case.write(policies);
        case
    }

    fn write(&self, policies: &[String]) {
        std::fs::write(&self.rig.policy, self.placed(&policies.join("---\n"))).expect("write the policies");
    }

    fn placed(&self, text: &str) -> String {
        let plain = |path: &Path| path.to_str().expect("a plain path").to_owned();
        text.replace("FOLDER", &plain(self.rig.folder.path())).replace("WORK", &plain(self.workload.folder()))
    }

    /// Another name of the workload's program.
    fn alias(&self, name: &str) -> PathBuf {
        let path = self.workload.folder().join(name);
        std::fs::hard_link(self.workload.program(), &path).expect("name the workload");
        path
    }

    /// Makes system calls in a process of the workload; `FOLDER` and `WORK` as in policies.
    fn calls(&self, calls: &str) {
        let status = self.workload.command(self.words(calls)).status().expect("run the workload");
        assert!(status.success(), "{calls}: {status}");
    }

    fn words(&self, calls: &str) -> Vec<String> {
        ["calls"].into_iter().chain(self.placed(calls).split_whitespace()).map(str::to_owned).collect()
    }

    /// What was told of the workload's processes meanwhile.
    fn told(&self, deed: impl FnOnce()) -> Vec<Told> {
        told_of(&self.rig.around(deed), self.workload.tag())
    }
}

/// A policy of one hook.
fn policy(name: &str, hook: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec: {{kprobes: [{hook}]}}\n"
    )
}

/// A policy on `openat` of files in the folder whose selector has one more filter.
fn opens(name: &str, filter: &str) -> String {
    let folder = "matchArgs: [{index: 1, operator: Prefix, values: [FOLDER/]}]";
    let hook = "call: sys_openat, syscall: true, args: [{index: 1, type: string}]";
    policy(name, &format!("{{{hook}, selectors: [{{{folder}, {filter}}}]}}"))
}

/// The names of the files that a policy told of, of each event the argument `index`.
fn files_of(told: &[Told], policy: &str, index: usize) -> Vec<String> {
    let of = told.iter().filter(|told| told.policy == policy);
    of.map(|told| told.args[index].rsplit('/').next().unwrap_or_default().to_owned()).collect()
}
