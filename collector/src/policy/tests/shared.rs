//! Policies that people use, from outside of the project: accepted, or refused for what isn't supported yet.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{
    super::{
        Rules, check_file,
        fault::{Class, Fault, Feature},
        files,
    },
    unsupported,
};

/// Where they are: `TRIGON_POLICIES`, else `shared/policies` beside the checkout.
pub(super) fn directory() -> Option<PathBuf> {
    let given = env::var_os("TRIGON_POLICIES").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/policies");
    let directory = given.unwrap_or_else(beside);
    directory.is_dir().then_some(directory)
}

#[test]
fn real_policies_are_accepted_or_refused_by_the_name_of_what_is_missing() {
    let Some(directory) = directory() else {
        eprintln!("SKIPPED: there are no policies; set TRIGON_POLICIES to a directory of them");
        return;
    };
    let files = files(&directory).unwrap();
    let (mut accepted, mut hooks, mut refused) = (0, 0, 0);
    let mut forbidden = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy();
        let checked = Rules::ALL.check_file(file).unwrap();
        // What is refused by default is so for that alone.
        let by_default = check_file(file).unwrap();
        let is_error = |fault: &&Fault| fault.class.is_error();
        let forbids = |fault: &Fault| matches!(fault.class, Class::Forbidden(Feature { of: "action", .. }));
        if checked.errors == 0 && by_default.errors > 0 {
            assert!(
                by_default.faults.iter().filter(is_error).all(forbids),
                "{name}: {:?}",
                by_default.faults
            );
            forbidden.push(name.clone().into_owned());
        }
        for fault in &checked.faults {
            assert!(
                matches!(fault.class, Class::Unsupported(_) | Class::Warning | Class::Note),
                "{name}:{fault}"
            );
        }
        if checked.errors > 0 {
            refused += 1;
            eprintln!("refused  {name}: {}", unsupported(&checked).join(", "));
            continue;
        }
        accepted += 1;
        let found: usize = checked.policies.iter().map(|policy| policy.hooks.len()).sum();
        let loads = checked.policies.iter().any(|policy| policy.loader);
        assert!(found > 0 || loads, "{name} has no hooks");
        hooks += found;
        eprintln!("accepted {name}: {found} hooks");
    }
    eprintln!("{} policies: {accepted} accepted with {hooks} hooks, {refused} refused", files.len());
    assert_eq!(accepted + refused, files.len());
    eprintln!("refused by default, since they call out: {}", forbidden.join(", "));
    assert!(accepted >= 39, "{accepted} are accepted");
}
