//! What the kernel's programs write, read as records: bytes of any kind, all texts and arguments looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trigon_probes::record::{Record, decode_first};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((record, after)) = decode_first(rest) {
        assert!(after.len() < rest.len(), "each record takes bytes");
        rest = after;
        match record {
            Record::Hook(hook) => {
                let read: usize = hook.args().map(|arg| arg.data.len()).sum();
                assert!(read <= bytes.len());
            }
            Record::Exec(exec) => {
                let mut path = Vec::new();
                exec.binary.write(true, &mut path);
                exec.cwd.write(true, &mut path);
                exec.cgroup.write(false, &mut path);
            }
            _ => {}
        }
    }
});
