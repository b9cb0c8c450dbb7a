//! Policies that people use, from outside of the project: what `trigon policy check` says of each, and by which
//! mechanisms the accepted ones attach to this kernel.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use serde_json::Value;
use trigon_tests::{
    agent::Agent,
    place,
    suite::{self, Need},
    wait,
};

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test(
            "each_is_accepted_or_refused_by_name",
            &[Need::Policies],
            each_is_accepted_or_refused_by_name,
        );
        // A test each: one that hangs a kernel is named, and the others have their own time.
        for file in files() {
            let test = format!("attaches::{}", name(&file));
            suite.test(&test, &[Need::Policies, Need::Kernel], move || attaches_where_accepted(&file));
        }
    })
}

/// The files of the folder, in order; none where there is no folder, which the first test says.
fn files() -> Vec<PathBuf> {
    let Some(folder) = place::policies() else {
        return Vec::new();
    };
    let folder = fs::read_dir(folder).expect("read the folder");
    let is_policy = |path: &PathBuf| path.extension().is_some_and(|of| of == "yaml" || of == "yml");
    let mut files: Vec<_> =
        folder.map(|entry| entry.expect("read the folder").path()).filter(is_policy).collect();
    files.sort();
    files
}

/// What an agent allows that lets policies have it call out.
const OUTBOUND: &[&str] = &["--allow-outbound-actions"];

/// What `trigon policy check -o json` says of a file.
fn check(file: &Path, flags: &[&str]) -> Value {
    let mut command = Command::new(place::agent());
    let output = command.args(["policy", "check", "-o", "json"]).args(flags).arg(file).output();
    let output = output.expect("run trigon");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {}", file.display(), String::from_utf8_lossy(&output.stderr))
    });
    assert_eq!(report["ok"], output.status.success(), "its status says the same");
    report["files"][0].clone()
}

fn name(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).expect("a plain name")
}

fn each_is_accepted_or_refused_by_name() {
    let (mut accepted, mut refused, mut forbidden) = (0, 0, 0);
    let mut table = String::new();
    for file in files() {
        let report = check(&file, OUTBOUND);
        let faults = report["faults"].as_array().expect("faults").iter();
        let mut missing: Vec<_> = faults
            .filter(|fault| fault["class"] != "warning")
            .map(|fault| {
                // A policy that people use is not wrong: what is refused of it isn't supported yet.
                assert_eq!(fault["class"], "unsupported", "{}: {fault}", file.display());
                fault["message"].as_str().unwrap_or_default().to_owned()
            })
            .collect();
        missing.sort();
        missing.dedup();
        let ok = report["ok"] == true;
        // Without the option it is refused for that alone.
        let by_default = check(&file, &[]);
        if ok && by_default["ok"] != true {
            let faults = by_default["faults"].as_array().expect("faults").iter();
            let classes =
                faults.map(|fault| &fault["class"]).filter(|class| *class != "warning" && *class != "note");
            assert!(classes.into_iter().all(|class| class == "forbidden"), "{by_default}");
            forbidden += 1;
            writeln!(table, "{:60} refused by default: policy.allow_outbound_actions", name(&file))
                .expect("write");
        }
        assert_eq!(ok, missing.is_empty(), "{report}");
        if ok {
            accepted += 1
        } else {
            refused += 1
        }
        let verdict = if ok { "accepted".to_owned() } else { format!("refused: {}", missing.join("; ")) };
        writeln!(table, "{:60} {verdict}", name(&file)).expect("write");
    }
    eprintln!(
        "{table}{accepted} accepted, {forbidden} of them where calling out is allowed, {refused} refused for what isn't \
         supported, 0 invalid"
    );
    assert!(accepted >= 40, "{accepted} are accepted");
}

/// Of system calls alone, which every kernel can serve.
const EVERYWHERE: [&str; 2] = ["sys_setuid.yaml", "sys_write_follow_fd_prefix.yaml"];

/// Says by which mechanism each of its hooks attaches here, or why the kernel doesn't take it.
fn attaches_where_accepted(file: &Path) {
    // Those that call out are not loaded: somebody would be called whom nobody asked.
    if check(file, &[])["ok"] != true {
        eprintln!("{:50} not loaded: it calls out", name(file));
        return;
    }
    let agent = Agent::new().argument("--policy").argument(file.to_str().expect("a plain path")).spawn();
    // It is ready, or it ended and said why.
    let loaded = wait::until(
        "a policy loaded, or refused",
        || {
            let log = agent.log();
            let ready = trigon_tests::http::get(&format!("http://{}/readyz", agent.metrics_address()), &[]);
            (ready.is_ok() || log.contains("ERROR trigon: ")).then_some(ready.is_ok())
        },
        || agent.log(),
    );
    if !loaded {
        let ended = agent.wait();
        assert_eq!(ended.status.code(), Some(7), "{}", ended.log);
        assert!(!EVERYWHERE.contains(&name(file)), "{}", ended.log);
        let reason = ended.log.lines().rfind(|line| line.contains("ERROR trigon: ")).unwrap_or_default();
        eprintln!("{:50} {}", name(file), reason.chars().take(300).collect::<String>());
        return;
    }
    let log = agent.stop().log;
    let hooks: Vec<_> = log.lines().filter(|line| line.contains("policy loaded")).collect();
    if hooks.is_empty() {
        // One may ask for nothing but what is loaded; it is loaded all the same.
        assert_eq!(check(file, &[])["policies"][0]["hooks"], 0, "{log}");
        eprintln!("{:50} no hook", name(file));
    }
    for line in hooks {
        let field = |key: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(key)).unwrap_or("?");
            value.trim_matches('"').to_owned()
        };
        eprintln!("{:50} {:30} {}", name(file), field("hook="), field("mechanism="));
    }
}
