//! Compiles the BPF objects with clang; they are embedded in the library.

#![expect(clippy::expect_used, clippy::panic, reason = "how a build script fails")]

use std::{env, path::Path, process::Command};

const OBJECTS: [&str; 11] = [
    "lifecycle",
    "tasks",
    "processes",
    "syscalls",
    "trampolines",
    "kprobes",
    "tracepoints",
    "releases",
    "sockets",
    "denials",
    "uprobes",
];

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    for object in OBJECTS {
        let source = format!("bpf/{object}.bpf.c");
        let target = Path::new(&out).join(format!("{object}.o"));
        let status = Command::new(&clang)
            .args(["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Werror"])
            // <linux/types.h> needs <asm/types.h>, which Debian keeps apart for each architecture.
            .arg(format!("-I/usr/include/{arch}-linux-gnu"))
            .arg("-c")
            .arg(&source)
            .arg("-o")
            .arg(&target)
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("{clang} could not compile {source}: {status}"),
            Err(error) => panic!("{clang} could not be started ({error}): `make` installs it, or set CLANG"),
        }
    }
}
