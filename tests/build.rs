//! Compiles the programs that tests hook; they are embedded, since they have to run where no compiler is.

#![expect(clippy::expect_used, clippy::panic, reason = "how a build script fails")]

use std::{env, path::Path, process::Command};

/// Without a standard library, and what a debugger would need of the frames.
const COMMON: [&str; 8] = [
    "-O1",
    "-fno-omit-frame-pointer",
    "-mno-omit-leaf-frame-pointer",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-nostdlib",
    "-Wl,--build-id=sha1",
];

fn main() {
    println!("cargo::rerun-if-changed=programs");
    println!("cargo::rerun-if-env-changed=CLANG");
    compile("hooked", &["-static", "-fno-pic"]);
    compile("library", &["-shared", "-fPIC"]);
}

fn compile(name: &str, flags: &[&str]) {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let source = format!("programs/{name}.c");
    let target = Path::new(&out).join(name);
    let mut command = Command::new(&clang);
    command.args(COMMON).args(flags).args(["-Wall", "-Werror", "-o"]).arg(&target).arg(&source);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{clang} could not compile {source}: {status}"),
        Err(error) => panic!("{clang} could not be started ({error}): `make` installs it, or set CLANG"),
    }
}
