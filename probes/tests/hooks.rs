//! Hooks on the kernel that runs this: needs root and BTF.

use std::{fs, time::Duration};

use trigon_probes::{
    hooks::{
        Hooks, Target, TablePlan,
        plan::{Dimension, Mask, PostArg, Selector, Table, ValueSpec, class, selector_flags, source, value_type},
    },
    lifecycle::{Kernel, Lifecycle, Mechanism, Options},
    record::{Record, decode},
};

#[test]
fn trial() {
    let kernel = Kernel::read().unwrap();
    let options = Options { ring_bytes: 1 << 20, args_bytes: 1024, join_env: true, mechanism: Mechanism::Best };
    let (lifecycle, mut ring) = Lifecycle::attach(&options, &kernel).unwrap();
    let mut hooks = Hooks::new(&lifecycle, &kernel).unwrap();
    let target = Target::Function("security_file_open".into());
    let (id, how) = hooks.attach(&kernel, &target, false, None).unwrap();
    println!("{id:?} {how:?}");
    let mut table = Table { selectors: Mask::of([0]), values: 1, dimensions: 1, ..Table::default() };
    table.value[0] = ValueSpec { source: source::ARG, index: 0, kind: value_type::FILE, ..ValueSpec::default() };
    table.dimension[0] = Dimension { value: 0, class: class::PREFIX, ..Dimension::default() };
    let mut selector = Selector { policy_hook: 7, next: 1, flags: selector_flags::POST, args: 1, ..Selector::default() };
    selector.arg[0] = PostArg { value: 0, ..PostArg::default() };
    let plan = TablePlan {
        table,
        prefixes: vec![(0, b"/etc/host".to_vec(), Mask::of([0]))],
        selectors: vec![selector],
        ..TablePlan::default()
    };
    hooks.set_table(&target, &plan).unwrap();
    let _ = fs::read("/etc/hostname");
    let _ = fs::read("/etc/passwd");
    std::thread::sleep(Duration::from_millis(100));
    let mut seen = Vec::new();
    ring.drain(10_000, |bytes| {
        if let Ok(Record::Hook(hook)) = decode(bytes) {
            seen.push((hook.fixed, hook.args().map(|arg| String::from_utf8_lossy(arg.data).into_owned()).collect::<Vec<_>>()));
        }
    });
    println!("{seen:?}");
    assert!(seen.iter().any(|(_, args)| args[0] == "/etc/hostname"));
    assert!(!seen.iter().any(|(_, args)| args[0] == "/etc/passwd"));
}
