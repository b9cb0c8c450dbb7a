//! Mounts of real hosts.

use super::*;

const UNIFIED: &str = "\
24 29 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
33 24 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";
const UNIFIED_OWN: &str = "0::/user.slice/user-0.slice/session-3.scope\n";

const LEGACY: &str = "\
25 22 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
28 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
31 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
32 25 0:30 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,pids
36 25 0:34 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:20 - cgroup cgroup rw,memory
";
const LEGACY_OWN: &str = "\
9:memory:/system.slice/trigon.service
5:pids:/system.slice/trigon.service
3:cpu,cpuacct:/
1:name=systemd:/system.slice/trigon.service
";

/// As systemd makes it on a hybrid host: the unified hierarchy has no controllers.
const HYBRID: &str = "\
25 22 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
28 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
32 25 0:30 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,pids
36 25 0:34 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:20 - cgroup cgroup rw,memory
";
const HYBRID_OWN: &str = "12:pids:/\n7:memory:/\n1:name=systemd:/\n0::/\n";

/// An agent in a container that has the host's hierarchy mounted beside its own.
const IN_A_POD: &str = "\
1301 1290 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
1305 1290 0:27 /../../.. /host/sys/fs/c\\040group rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

fn found(mountinfo: &str, own: &str, with_containers: &[&str]) -> (Source, i32, Option<String>) {
    let has = |path: &Path| with_containers.iter().any(|one| path == Path::new(one));
    let Cgroups { source, hierarchy, mount } = Cgroups::of(mountinfo, own, has);
    (source, hierarchy, mount.map(|path| path.to_str().unwrap().to_owned()))
}

#[test]
fn hosts_of_each_kind() {
    let table = [
        (UNIFIED, UNIFIED_OWN, &["/sys/fs/cgroup"][..], Source::Unified, 0, Some("/sys/fs/cgroup")),
        // Before there is a container.
        (UNIFIED, UNIFIED_OWN, &[], Source::Unified, 0, Some("/sys/fs/cgroup")),
        (LEGACY, LEGACY_OWN, &["/sys/fs/cgroup/memory"], Source::Memory, 9, Some("/sys/fs/cgroup/memory")),
        (LEGACY, LEGACY_OWN, &[], Source::Memory, 9, Some("/sys/fs/cgroup/memory")),
        (LEGACY, LEGACY_OWN, &["/sys/fs/cgroup/pids"], Source::Pids, 5, Some("/sys/fs/cgroup/pids")),
        // systemd makes the cgroups of containers, in all hierarchies.
        (
            HYBRID,
            HYBRID_OWN,
            &["/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"],
            Source::Unified,
            0,
            Some("/sys/fs/cgroup/unified"),
        ),
        // The runtime makes them, in those of controllers.
        (
            HYBRID,
            HYBRID_OWN,
            &["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"],
            Source::Memory,
            7,
            Some("/sys/fs/cgroup/memory"),
        ),
        (HYBRID, HYBRID_OWN, &[], Source::Auto, 0, Some("/sys/fs/cgroup/unified")),
        (IN_A_POD, "0::/\n", &["/host/sys/fs/c group"], Source::Unified, 0, Some("/host/sys/fs/c group")),
        ("", "", &[], Source::Auto, 0, None),
        // What is no mountinfo.
        (
            "x - cgroup2\n1 2 3 4 - cgroup2 a b\n\\ - \\ \\",
            "4:memory\n:::\nx:memory:/",
            &[],
            Source::Auto,
            0,
            None,
        ),
    ];
    for (mountinfo, own, with_containers, source, hierarchy, mount) in table {
        let expected = (source, hierarchy, mount.map(str::to_owned));
        assert_eq!(found(mountinfo, own, with_containers), expected, "{mountinfo} {with_containers:?}");
    }
}

#[test]
fn directories_of_containers_are_known_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert!(!has_containers(root));
    assert!(!has_containers(&root.join("missing")));
    for other in ["user.slice", "system.slice/docker.service", "machine.slice"] {
        fs::create_dir_all(root.join(other)).unwrap();
    }
    fs::write(root.join("kubepods"), "").unwrap();
    assert!(!has_containers(root));
    for name in ["kubepods.slice", "docker", "kubelet.slice", "system.slice/cri-containerd-1.scope"] {
        fs::create_dir_all(root.join(name)).unwrap_or_default();
        assert!(has_containers(root), "{name}");
        fs::remove_dir(root.join(name)).unwrap();
    }
}

#[test]
fn paths_are_unescaped() {
    for (text, path) in
        [("/a\\040b", "/a b"), ("/a\\134", "/a\\"), ("/a\\9", "/a\\9"), ("\\", "\\"), ("/\\777", "/\\777")]
    {
        assert_eq!(unescaped(text), path);
    }
}
