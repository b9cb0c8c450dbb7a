//! A policy file: from its bytes to the model, or to faults. Whatever they are, it ends, and says where each fault is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trigon::policy;

fuzz_target!(|bytes: &[u8]| {
    let checked = policy::Rules::ALL.check_bytes(bytes);
    assert_eq!(checked.errors == 0, checked.first_error().is_none());
    assert!(checked.errors == 0 || checked.policies.is_empty(), "a broken file is taken whole or not at all");
    for fault in &checked.faults {
        assert!(fault.at.line > 0 && fault.at.column > 0, "{fault}");
        let text = fault.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?} could act on a terminal");
    }
});
