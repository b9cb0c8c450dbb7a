//! Policies from file to event: filters and actions in the kernel, by whatever mechanism it has.

use std::{
    fs,
    io::{Read as _, Seek as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

use trigon_tests::{
    agent::Agent,
    json::Line,
    policed::{Rig, matches, names, short, told},
    policies::{FOLLOW, NOT_OF_INIT},
    suite::{self, Need},
    wait,
};

const KERNEL: &[Need] = &[Need::Kernel];

const KILL: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: kill
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    message: a forbidden file was opened
    args:
    - {index: 1, type: string}
    selectors:
    - matchArgs:
      - {index: 1, operator: Equal, values: ["FOLDER/forbidden"]}
      matchActions:
      - action: Sigkill
"#;

const LIMITED: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: limited
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    return: true
    returnArg: {index: 0, type: int}
    args:
    - {index: 1, type: string}
    selectors:
    - matchArgs:
      - {index: 1, operator: Postfix, values: ["/one", "/two"]}
      matchReturnArgs:
      - {index: 0, operator: GreaterThan, values: ["-1"]}
      matchActions:
      - {action: Post, rateLimit: 1h}
"#;

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("followed_file_from_open_to_close", KERNEL, followed_file_from_open_to_close);
        suite.test(
            "a_copy_is_followed_until_the_last_close",
            KERNEL,
            a_copy_is_followed_until_the_last_close,
        );
        suite.test(
            "who_enters_a_namespace_is_not_of_its_init",
            KERNEL,
            who_enters_a_namespace_is_not_of_its_init,
        );
        suite.test(
            "sigkill_ends_who_opens_a_forbidden_file",
            KERNEL,
            sigkill_ends_who_opens_a_forbidden_file,
        );
        suite.test("returns_filter_and_rates_limit", KERNEL, returns_filter_and_rates_limit);
        suite.test("a_broken_policy_stops_the_start", KERNEL, a_broken_policy_stops_the_start);
    })
}

fn followed_file_from_open_to_close() {
    let rig = Rig::new(&FOLLOW.replace("PIDS", ""));
    let (wanted, other) = (rig.path("wanted"), tempfile::NamedTempFile::new().expect("make a file"));
    let ended = rig.around(|| {
        let mut text = String::new();
        fs::File::open(other.path()).and_then(|mut file| file.read_to_string(&mut text)).expect("read");
        let mut file = fs::File::options().read(true).write(true).open(&wanted).expect("open");
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes).expect("read");
        file.write_all(b"abc").expect("write");
        drop(file);
    });
    let lines = matches(&ended);
    let told = told(&lines, Some(std::process::id()));
    assert_eq!(names(&told, &wanted), ["fd_install", "read", "write", "close"], "{told:?}");
    assert_eq!(told.len(), 4, "nothing is told of other files: {told:?}");
    let size = |name: &str| {
        let line = lines.iter().find(|line| short(line.text("/function_name")) == name).expect("an event");
        line.at("/args/2/size_arg").as_str().map(str::to_owned)
    };
    assert_eq!((size("read").as_deref(), size("write").as_deref()), (Some("4"), Some("3")));
    assert!(lines.iter().all(|line| line.text("/policy_name") == "follow"));
    // What was read and written.
    let text = |name: &str| {
        let line = lines.iter().find(|line| short(line.text("/function_name")) == name).expect("an event");
        line.text("/args/1/bytes_arg").to_owned()
    };
    assert_eq!((text("read").as_str(), text("write").as_str()), ("MDEyMw==", "YWJj"));
}

fn a_copy_is_followed_until_the_last_close() {
    let rig = Rig::new(&FOLLOW.replace("PIDS", ""));
    let wanted = rig.path("wanted");
    let ended = rig.around(|| {
        let first = fs::File::open(&wanted).expect("open");
        let mut copy = first.try_clone().expect("copy the descriptor");
        drop(first);
        let mut bytes = [0; 2];
        copy.read_exact(&mut bytes).expect("read");
        copy.rewind().expect("seek");
        // A child has it too. A shell reads by read(2); some cats don't.
        let child = Command::new("sh").args(["-c", "read line; true"]).stdin(copy).status().expect("run sh");
        assert!(child.success());
    });
    let told = told(&matches(&ended), None);
    let names = names(&told, &wanted);
    // The copy is an installation too, where the function itself is hooked.
    assert!(names.starts_with(&["fd_install"]), "{told:?}");
    assert!(
        names.iter().filter(|name| **name == "read").count() >= 2,
        "of this process and of the shell: {told:?}"
    );
    assert!(names.contains(&"close"), "{told:?}");
}

/// Ends with its test, whatever becomes of that.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn who_enters_a_namespace_is_not_of_its_init() {
    let rig = Rig::new(&FOLLOW.replace("PIDS", NOT_OF_INIT));
    let (wanted, other) = (rig.path("wanted"), rig.path("one"));
    let read = |path: &Path| format!("read line < {}; true", path.display());
    let inside = format!("while :; do {}; sleep 0.2; done", read(&other));
    let ended = rig.around(|| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-p", "-f", "sh", "-c", &inside]);
        let container = Held(unshare.spawn().expect("run unshare"));
        // The first process of the namespace is the child of unshare.
        let children = format!("/proc/{0}/task/{0}/children", container.0.id());
        let init = wait::until(
            "the namespace's first process",
            || fs::read_to_string(&children).ok()?.split_whitespace().next().map(str::to_owned),
            || children.clone(),
        );
        // It and what it forks read a file all the while; so does this process, which is of the host's own init.
        fs::read(&other).expect("read");
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &init, "-p", "sh", "-c", &read(&wanted)]);
        assert!(enter.status().expect("run nsenter").success());
        std::thread::sleep(std::time::Duration::from_millis(500));
        // Its children end with it.
        let _ = Command::new("kill").args(["-9", &init]).status();
    });
    let told = told(&matches(&ended), None);
    assert_eq!(
        names(&told, &other),
        [""; 0],
        "of a namespace's init and what it forks nothing is told: {told:?}"
    );
    let of_wanted = names(&told, &wanted);
    assert!(of_wanted.starts_with(&["fd_install"]) && of_wanted.contains(&"read"), "{told:?}");
}

fn sigkill_ends_who_opens_a_forbidden_file() {
    let rig = Rig::new(KILL);
    let forbidden = rig.path("forbidden");
    let ended = rig.around(|| {
        let allowed = Command::new("cat").arg(rig.path("wanted")).stdout(Stdio::null()).status();
        assert!(allowed.expect("run cat").success());
        let killed = Command::new("cat").arg(&forbidden).stdout(Stdio::null()).status();
        assert_eq!(killed.expect("run cat").signal(), Some(9));
    });
    let lines = matches(&ended);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].text("/action"), "KPROBE_ACTION_SIGKILL");
    assert_eq!(lines[0].text("/message"), "a forbidden file was opened");
    let exit = ended
        .lines
        .iter()
        .map(|line| Line::parse(line))
        .find(|line| line.kind == "process_exit" && line.pid() == lines[0].pid());
    assert_eq!(exit.expect("its exit").text("/signal"), "SIGKILL");
}

fn returns_filter_and_rates_limit() {
    let rig = Rig::new(LIMITED);
    let ended = rig.around(|| {
        for _ in 0..20 {
            fs::read(rig.path("one")).expect("read");
        }
        fs::read(rig.path("two")).expect("read");
        fs::read(rig.folder.path().join("missing/one")).expect_err("there is no such file");
    });
    let told = told(&matches(&ended), Some(std::process::id()));
    assert_eq!(names(&told, &rig.path("one")).len(), 1, "{told:?}");
    assert_eq!(names(&told, &rig.path("two")).len(), 1, "{told:?}");
    assert_eq!(told.len(), 2, "an open that failed is none: {told:?}");
}

fn a_broken_policy_stops_the_start() {
    let rig = Rig::new(&KILL.replace("operator: Equal", "operator: Equals"));
    let policy = rig.policy.to_str().expect("a plain path");
    let ended = Agent::new().argument("--policy").argument(policy).spawn().wait();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
    assert!(ended.log.contains("policy.yaml:15:30"), "{}", ended.log);
}
