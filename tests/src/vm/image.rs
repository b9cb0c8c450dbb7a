//! The guest's initramfs: busybox, the programs under test, the suites, kernel modules and an init that runs them.

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    io::{Error, Read as _, Result, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The kernel's parameter that says with which suite to begin.
pub const FROM: &str = "trigon.from";
/// The one that names the suites that are run, with commas between; all without it.
pub const ONLY: &str = "trigon.only";

/// The first process. The second serial line carries results; see [`super`].
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /etc /root
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
hostname trigon-vm
echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
stty -F /dev/ttyS1 raw
export TRIGON_BIN=/bin/trigon TRIGON_WORKLOAD=/bin/trigon-workload TRIGON_REQUIRE=kernel,compat
export TRIGON_POLICIES=/policies
[ -d "/lib/modules/$(uname -r)" ] && TRIGON_REQUIRE=$TRIGON_REQUIRE,module
from= only=
for word in $(cat /proc/cmdline); do
    case $word in
        trigon.from=*) from=${word#*=} ;;
        trigon.only=*) only=,${word#*=}, ;;
    esac
done
for suite in /suites/*; do
    [ -n "$from" ] && [ "${suite##*/}" != "$from" ] && continue
    from=
    case ${only:-,${suite##*/},} in *,${suite##*/},*) ;; *) continue ;; esac
    echo "@ begin ${suite##*/}" > /dev/ttyS1
    "$suite" --test-threads=1 --color=never < /dev/null > /dev/ttyS1 2> /dev/console
    echo "@ end ${suite##*/} $?" > /dev/ttyS1
done
echo "@ done" > /dev/ttyS1
poweroff -f
"#;

/// A file of the guest's.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Path in the guest, without a leading slash.
    pub guest: String,
    /// The file on this machine.
    pub host: PathBuf,
}

/// Writes the initramfs in `folder`, unless it is there with the same contents.
///
/// It isn't compressed: unpacking under emulation takes longer than reading more.
///
/// # Errors
/// Fails where a file can't be read or written, or where `strip` or `cpio` is missing or fails.
pub fn build(folder: &Path, entries: &[Entry]) -> Result<PathBuf> {
    let image = folder.join("initramfs");
    let manifest_path = folder.join("initramfs.manifest");
    let manifest = manifest(entries)?;
    if image.exists() && fs::read_to_string(&manifest_path).is_ok_and(|written| written == manifest) {
        return Ok(image);
    }
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for entry in entries {
        let target = root.join(&entry.guest);
        fs::create_dir_all(target.parent().unwrap_or(&root))?;
        if !is_program(&entry.host)? {
            fs::copy(&entry.host, &target)?;
            continue;
        }
        // Without symbols they take a fraction of the guest's memory.
        let stripped = Command::new("strip").arg("-o").arg(&target).arg(&entry.host).status()?;
        if !stripped.success() {
            return Err(Error::other(format!("strip {}: {stripped}", entry.host.display())));
        }
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), Permissions::from_mode(0o755))?;
    archive(&root, &image)?;
    fs::write(manifest_path, manifest)?;
    Ok(image)
}

/// Whether it is an ELF file that is executed or mapped. A kernel module is none: its types and its signature must stay.
fn is_program(file: &Path) -> Result<bool> {
    /// `ET_REL`
    const OBJECT: u8 = 1;
    let mut head = Vec::new();
    File::open(file)?.take(18).read_to_end(&mut head)?;
    Ok(head.starts_with(b"\x7fELF") && head.get(16) != Some(&OBJECT))
}

/// What decides whether the contents are the same.
fn manifest(entries: &[Entry]) -> Result<String> {
    let mut manifest = INIT.to_owned();
    for Entry { guest, host } in entries {
        let facts = fs::metadata(host)
            .map_err(|error| Error::new(error.kind(), format!("{}: {error}", host.display())))?;
        let (size, seconds, nanoseconds) = (facts.size(), facts.mtime(), facts.mtime_nsec());
        let _ = writeln!(manifest, "{guest} {} {size} {seconds}.{nanoseconds}", host.display());
    }
    Ok(manifest)
}

fn archive(root: &Path, image: &Path) -> Result<()> {
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(File::create(image)?)
        .spawn()?;
    let mut names = String::new();
    list(root, Path::new(""), &mut names)?;
    // Dropped when written, so that cpio sees the end.
    cpio.stdin
        .take()
        .ok_or_else(|| Error::other("cpio has no standard input"))?
        .write_all(names.as_bytes())?;
    let status = cpio.wait()?;
    if status.success() { Ok(()) } else { Err(Error::other(format!("cpio: {status}"))) }
}

/// The names of everything under `root`, folders first.
fn list(root: &Path, under: &Path, names: &mut String) -> Result<()> {
    for entry in fs::read_dir(root.join(under))? {
        let entry = entry?;
        let name = under.join(entry.file_name());
        let _ = writeln!(names, "{}", name.display());
        if entry.file_type()?.is_dir() {
            list(root, &name, names)?;
        }
    }
    Ok(())
}
