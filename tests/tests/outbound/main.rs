//! Policies that have the agent call out, `GetUrl` and `DnsLookup`: refused by default; where they are allowed, called is
//! what the policy says and nobody else, as often as the rate allows, and no event waits for an answer.

use std::{
    fs,
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tempfile::TempDir;
use trigon_tests::{
    agent::{Agent, Running},
    apiserver::ApiServer,
    command::said,
    exposition::Exposition,
    json::Line,
    place,
    policed::Rig,
    suite::{self, Need},
    wait,
    workload::Workload,
};

mod servers;

use servers::{Answer, NameServer, WebServer};

const KERNEL: &[Need] = &[Need::Kernel];

const ALLOWED: &str = "[policy]\nallow_outbound_actions = true\n";

/// What outcomes there are.
const OUTCOMES: [&str; 6] = ["ok", "failed", "timeout", "rate_limit", "queue_full", "own_deed"];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("check_takes_them_by_a_flag", &[], check_takes_them_by_a_flag);
        suite.test("refused_by_default", KERNEL, refused_by_default);
        suite.test("a_match_is_called_for", KERNEL, a_match_is_called_for);
        suite.test("a_monitoring_policy_calls_too", KERNEL, a_monitoring_policy_calls_too);
        suite.test("a_flood_is_held_back_and_counted", KERNEL, a_flood_is_held_back_and_counted);
        suite.test("a_server_that_hangs_costs_no_event", KERNEL, a_server_that_hangs_costs_no_event);
        suite.test("nobody_else_is_called", KERNEL, nobody_else_is_called);
        suite.test("an_encrypted_server_has_to_be_trusted", KERNEL, an_encrypted_server_has_to_be_trusted);
        suite.test("names_are_looked_up_as_they_are", KERNEL, names_are_looked_up_as_they_are);
        suite.test(
            "what_the_agent_does_itself_calls_nobody",
            KERNEL,
            what_the_agent_does_itself_calls_nobody,
        );
        suite.test("a_trial_calls_nobody", KERNEL, a_trial_calls_nobody);
    })
}

/// A policy of opened files, each with its actions.
fn policy(name: &str, options: &str, files: &[(&str, &str)]) -> String {
    let selector = |(file, actions): &(&str, &str)| {
        format!(
            "    - matchArgs: [{{index: 1, operator: Equal, values: [{file}]}}]\n      matchActions: [{actions}]\n"
        )
    };
    let selectors: String = files.iter().map(selector).collect();
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{options}  kprobes:\n  \
         - call: sys_openat\n    syscall: true\n    args: [{{index: 1, type: string}}]\n    selectors:\n{selectors}"
    )
}

fn get(url: &str) -> String {
    format!("{{action: GetUrl, argUrl: '{url}'}}")
}

fn lookup(name: &str) -> String {
    format!("{{action: DnsLookup, argFqdn: {name}}}")
}

/// How many calls of a policy's had an outcome.
fn count(metrics: &Exposition, policy: &str, outcome: &str) -> f64 {
    metrics.sum("trigon_outbound_actions_total", &[("policy", policy), ("outcome", outcome)])
}

/// Waits until a policy's calls have had so many outcomes; each, in order.
fn until_outcomes(agent: &Running, policy: &str, calls: usize) -> [usize; OUTCOMES.len()] {
    agent.until_metrics(&format!("{calls} outcomes"), |metrics| {
        let counts = OUTCOMES.map(|outcome| count(metrics, policy, outcome) as usize);
        (counts.iter().sum::<usize>() >= calls).then_some(counts)
    })
}

/// Events of a policy, so far.
fn told(agent: &Running, policy: &str) -> Vec<Line> {
    let lines = agent.lines_with("process_kprobe").into_iter();
    lines.filter(|line| line.text("/policy_name") == policy).collect()
}

fn until_told(agent: &Running, policy: &str, events: usize) -> Vec<Line> {
    let enough = || Some(told(agent, policy)).filter(|told| told.len() >= events);
    wait::until(&format!("{events} events of {policy}"), enough, || agent.log())
}

fn open(rig: &Rig, name: &str, times: usize) {
    for _ in 0..times {
        fs::read(rig.path(name)).expect("read a file");
    }
}

fn check_takes_them_by_a_flag() {
    let rig = Rig::new(&policy("canary", "", &[("/a", &get("http://127.0.0.1/")), ("/b", &lookup("a.b"))]));
    let check = |flags: &[&str]| {
        let mut command = Command::new(place::agent());
        said(command.args(["policy", "check"]).args(flags).arg(&rig.policy))
    };
    let refused = check(&[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for place in ["policy.yaml:11:31: error: ", "policy.yaml:13:31: error: "] {
        let line = refused.out.lines().find(|line| line.contains(place)).expect("it is refused");
        assert!(line.contains("policy.allow_outbound_actions = true"), "{line}");
    }
    let taken = check(&["--allow-outbound-actions"]);
    assert_eq!((taken.code, taken.out.contains("ok canary: 1 hook")), (Some(0), true), "{taken:?}");
    // What is wrong is so with the flag, too.
    let wrong =
        Rig::new(&policy("canary", "", &[("/a", &get("http://me@127.0.0.1/")), ("/b", &lookup("a-.b"))]));
    let mut command = Command::new(place::agent());
    let said = said(command.args(["policy", "check", "--allow-outbound-actions"]).arg(&wrong.policy));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("policy.yaml:11:") && said.out.contains("policy.yaml:13:"), "{said:?}");
}

fn refused_by_default() {
    let server = WebServer::start(Answer::Empty);
    let rig = Rig::new(&policy("canary", "", &[("FOLDER/wanted", &get(&server.url("/")))]));
    let ended = rig.agent().spawn().wait();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.log);
    assert!(
        ended.log.contains("policy.yaml:11:") && ended.log.contains("allow_outbound_actions"),
        "{}",
        ended.log
    );
    // Neither by command, nor from the directory.
    let folder = TempDir::with_prefix("trigon-policies-").expect("make a folder");
    fs::copy(&rig.policy, folder.path().join("canary.yaml")).expect("copy the policy");
    let agent = Agent::new().config(&format!("policy.dir = {:?}", folder.path())).start();
    let file = rig.policy.to_str().expect("a plain path");
    let added = said(&mut agent.command(&["policy", "add", file]));
    assert_eq!(added.code, Some(3), "{added:?}");
    assert!(format!("{}{}", added.out, added.err).contains("allow_outbound_actions"), "{added:?}");
    let listed = said(&mut agent.command(&["policy", "list"])).out;
    assert!(listed.contains("load_error") && listed.contains("allow_outbound_actions"), "{listed}");
    open(&rig, "wanted", 3);
    // It is for the next start.
    let config = fs::read_to_string(agent.config()).expect("read the configuration");
    fs::write(agent.config(), format!("{config}policy.allow_outbound_actions = true\n")).expect("write it");
    agent.reload();
    let told = || agent.log().contains("after a restart: policy.allow_outbound_actions").then_some(());
    wait::until("that it takes a restart", told, || agent.log());
    agent.stop();
    assert_eq!(server.asked(), [""; 0]);
}

/// Also where there is to be no event. Another file is nobody's.
fn a_match_is_called_for() {
    let server = WebServer::start(Answer::Empty);
    let loud = policy("loud", "", &[("FOLDER/wanted", &get(&server.url("/loud?token=1")))]);
    let silent = get(&server.url("/silent"));
    let silent = policy("silent", "", &[("FOLDER/one", &format!("{silent}, {{action: NoPost}}"))]);
    let rig = Rig::new(&format!("{loud}---\n{silent}"));
    let agent = rig.agent().config(ALLOWED).start();
    open(&rig, "two", 1);
    open(&rig, "one", 1);
    assert_eq!(until_outcomes(&agent, "silent", 1), [1, 0, 0, 0, 0, 0]);
    open(&rig, "wanted", 1);
    assert_eq!(until_outcomes(&agent, "loud", 1), [1, 0, 0, 0, 0, 0]);
    let heads = server.asked();
    let host = server.url("").replace("http://", "");
    let head = |path: &str| {
        let version = env!("CARGO_PKG_VERSION");
        format!("GET {path} HTTP/1.1\r\naccept: */*\r\nuser-agent: trigon/{version}\r\nhost: {host}\r\n\r\n")
    };
    assert_eq!(heads, [head("/silent"), head("/loud?token=1")], "nothing of the event is told");
    let events = until_told(&agent, "loud", 1);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].text("/action"), "KPROBE_ACTION_GETURL");
    let metrics = agent.metrics();
    assert_eq!(metrics.sum("trigon_policy_events_total", &[("action", "GetUrl")]), 1.0, "{metrics}");
    // What is gone calls nobody, and has no numbers.
    let deleted = said(&mut agent.command(&["policy", "delete", "loud"]));
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    open(&rig, "wanted", 1);
    agent.until_metrics("numbers of one policy", |metrics| {
        let of = metrics.labels("trigon_outbound_actions_total", &[("policy", "loud")]);
        of.is_empty().then_some(())
    });
    let ended = agent.stop();
    assert_eq!(server.asked().len(), 2);
    assert!(!ended.lines.iter().any(|line| line.contains(r#""policy_name":"silent""#)), "it is told nowhere");
}

/// It denies nobody anything: that is all that the mode holds back.
fn a_monitoring_policy_calls_too() {
    let (server, workload) = (WebServer::start(Answer::Empty), Workload::new());
    let actions = format!("{{action: Sigkill}}, {}", get(&server.url("/")));
    let monitor = "  options: [{name: policy-mode, value: monitor}]\n";
    let rig = Rig::new(&policy("watch", monitor, &[("FOLDER/forbidden", &actions)]));
    let agent = rig.agent().config(ALLOWED).start();
    let file = rig.path("forbidden");
    let mut command = Command::new(workload.program());
    let lives =
        command.arg("calls").args(["openat", "-100"]).arg(format!("@{}", file.display())).arg("0").status();
    assert!(lives.expect("run the workload").success(), "it lives");
    assert_eq!(until_outcomes(&agent, "watch", 1), [1, 0, 0, 0, 0, 0]);
    let events = until_told(&agent, "watch", 1);
    assert_eq!(events[0].text("/action"), "KPROBE_ACTION_SIGKILL");
    agent.stop();
}

fn a_flood_is_held_back_and_counted() {
    const FLOOD: usize = 500;
    let server = WebServer::start(Answer::Empty);
    let rig = Rig::new(&policy("canary", "", &[("FOLDER/wanted", &get(&server.url("/")))]));
    let agent = rig.agent().config(ALLOWED).start();
    let start = Instant::now();
    open(&rig, "wanted", FLOOD);
    let [ok, failed, timeout, rate_limit, queue_full, own_deed] = until_outcomes(&agent, "canary", FLOOD);
    // Ten at once, and one in each six seconds that this took.
    let most = 10 + start.elapsed().as_secs() as usize / 6 + 1;
    assert!(
        (1..=most).contains(&ok) && (1..=most).contains(&(ok + queue_full)),
        "{ok} {queue_full} of {most}"
    );
    assert!(rate_limit >= FLOOD - most, "{rate_limit}");
    assert_eq!((failed, timeout, own_deed), (0, 0, 0));
    assert_eq!(server.asked().len(), ok);
    assert_eq!(until_told(&agent, "canary", FLOOD).len(), FLOOD, "each is told");
    agent.stop();
}

fn a_server_that_hangs_costs_no_event() {
    const EVENTS: usize = 200;
    let server = WebServer::start(Answer::Never);
    let rig = Rig::new(&policy("canary", "", &[("FOLDER/wanted", &get(&server.url("/")))]));
    let agent = rig.agent().config(ALLOWED).start();
    open(&rig, "wanted", EVENTS);
    assert_eq!(until_told(&agent, "canary", EVENTS).len(), EVENTS);
    // One asks, and four wait.
    let [ok, failed, ..] = until_outcomes(&agent, "canary", EVENTS - 5);
    assert_eq!((ok, failed), (0, 0));
    agent.until_metrics("a call given up", |metrics| {
        (count(metrics, "canary", "timeout") >= 1.0).then_some(())
    });
    let metrics = agent.metrics();
    assert!(metrics.labels("trigon_lost_events_total", &[]).is_empty(), "{metrics}");
    assert!(agent.log().contains("no answer within 5s"), "{}", agent.log());
    // It ends, though others wait still.
    agent.stop();
}

fn nobody_else_is_called() {
    let other = WebServer::start(Answer::Empty);
    let server = WebServer::start(Answer::Elsewhere(other.url("/elsewhere")));
    let rig = Rig::new(&policy("canary", "", &[("FOLDER/wanted", &get(&server.url("/")))]));
    let agent = rig.agent().config(ALLOWED);
    let proxy = other.url("/");
    let agent = agent.environment("HTTP_PROXY", &proxy).environment("http_proxy", &proxy);
    let agent = agent.environment("ALL_PROXY", &proxy).start();
    open(&rig, "wanted", 1);
    assert_eq!(until_outcomes(&agent, "canary", 1), [1, 0, 0, 0, 0, 0]);
    agent.stop();
    assert_eq!(server.asked().len(), 1);
    assert_eq!(other.asked(), [""; 0], "no redirect, no proxy");
}

/// By the system's authorities.
fn an_encrypted_server_has_to_be_trusted() {
    let (server, other) = (ApiServer::start(), ApiServer::start());
    let rig =
        Rig::new(&policy("canary", "", &[("FOLDER/wanted", &get(&format!("{}/version", server.url())))]));
    // The server wants a token: what it says to that it says to who has trusted it.
    for (trusted, why) in [(&server, "the server answered 401"), (&other, "invalid peer certificate")] {
        let config = fs::read_to_string(trusted.kubeconfig()).expect("read the kubeconfig");
        let config: Value = serde_json::from_str(&config).expect("JSON");
        let authority = &config["clusters"][0]["cluster"]["certificate-authority-data"];
        let authority = STANDARD.decode(authority.as_str().expect("an authority")).expect("base64");
        let file = rig.path("authority.pem");
        fs::write(&file, authority).expect("write the authority");
        let agent = rig.agent().config(ALLOWED);
        let agent = agent.environment("SSL_CERT_FILE", file.to_str().expect("a plain path")).start();
        open(&rig, "wanted", 1);
        assert_eq!(until_outcomes(&agent, "canary", 1), [0, 1, 0, 0, 0, 0], "{}", agent.log());
        wait::until(why, || agent.log().contains(why).then_some(()), || agent.log());
        agent.stop();
    }
}

/// A folder in the place of `/etc`, for who asks a server for names.
fn etc(server: &NameServer) -> TempDir {
    let folder = TempDir::with_prefix("trigon-etc-").expect("make a folder");
    let resolv = format!("nameserver {}\nsearch invalid.example\noptions ndots:5\n", server.address());
    fs::write(folder.path().join("resolv.conf"), resolv).expect("write resolv.conf");
    fs::write(folder.path().join("nsswitch.conf"), "hosts: files dns\n").expect("write nsswitch.conf");
    folder
}

fn names_are_looked_up_as_they_are() {
    let (names, web) = (NameServer::start(), WebServer::start(Answer::Empty));
    let etc = etc(&names);
    let port = web.url("").rsplit(':').next().expect("a port").to_owned();
    let there = policy("there", "", &[("FOLDER/wanted", &lookup("canary.example.test"))]);
    let nowhere = policy("nowhere", "", &[("FOLDER/one", &lookup("nowhere.example.test."))]);
    let asked = policy("asked", "", &[("FOLDER/two", &get(&format!("http://web.example.test.:{port}/")))]);
    let rig = Rig::new(&[there, nowhere, asked].join("---\n"));
    let agent = rig.agent().config(ALLOWED).etc(etc.path()).start();
    open(&rig, "wanted", 1);
    assert_eq!(until_outcomes(&agent, "there", 1), [1, 0, 0, 0, 0, 0]);
    open(&rig, "one", 1);
    assert_eq!(until_outcomes(&agent, "nowhere", 1), [0, 1, 0, 0, 0, 0]);
    // A URL's name, too.
    open(&rig, "two", 1);
    assert_eq!(until_outcomes(&agent, "asked", 1), [1, 0, 0, 0, 0, 0], "{}", agent.log());
    assert!(web.asked()[0].contains(&format!("host: web.example.test.:{port}")), "{:?}", web.asked());
    let events = until_told(&agent, "there", 1);
    assert_eq!(events[0].text("/action"), "KPROBE_ACTION_DNSLOOKUP");
    agent.stop();
    let mut asked = names.asked();
    asked.dedup();
    // The machine's own domain is tried behind none of them.
    assert_eq!(asked, ["canary.example.test", "nowhere.example.test", "web.example.test"]);
}

/// To look a name up it opens files: a policy of these would have it look up for ever.
fn what_the_agent_does_itself_calls_nobody() {
    let names = NameServer::start();
    let etc = etc(&names);
    // Others of the machine open it, too.
    let test = std::env::current_exe().expect("this program");
    let of = format!(
        "matchBinaries: [{{operator: In, values: [{}, {}]}}]",
        place::agent().display(),
        test.display()
    );
    let lookup = lookup("canary.example.test");
    let policy = policy("resolv", "", &[("/etc/resolv.conf", &lookup)]);
    let rig = Rig::new(&policy.replace("      matchActions:", &format!("      {of}\n      matchActions:")));
    let agent = rig.agent().config(ALLOWED).etc(etc.path()).start();
    // By this name, and with nothing there that needs reading.
    let _ = fs::File::open("/etc/resolv.conf");
    agent
        .until_metrics("its own deed", |metrics| (count(metrics, "resolv", "own_deed") >= 1.0).then_some(()));
    // The same again: a call for each time that somebody else opened it.
    let _ = fs::File::open("/etc/resolv.conf");
    agent.until_metrics("the second call", |metrics| (count(metrics, "resolv", "ok") >= 2.0).then_some(()));
    let metrics = agent.metrics();
    let counts = OUTCOMES.map(|outcome| count(&metrics, "resolv", outcome) as usize);
    assert_eq!(counts[..5], [2, 0, 0, 0, 0], "{metrics}");
    agent.stop();
}

/// Nor does it need the option.
fn a_trial_calls_nobody() {
    let server = WebServer::start(Answer::Empty);
    let loud = get(&server.url("/loud"));
    let silent = format!("{}, {{action: NoPost}}", get(&server.url("/silent")));
    let rig = Rig::new(&policy("canary", "", &[("FOLDER/wanted", &loud), ("FOLDER/one", &silent)]));
    let agent = Agent::new().start();
    let file = rig.policy.to_str().expect("a plain path").to_owned();
    let mut command = agent.command(&["policy", "try", &file, "--for", "3s", "-o", "json"]);
    let trial = thread::spawn(move || said(&mut command));
    let begun = || agent.log().contains("policy is tried: nothing").then_some(());
    wait::until("the trial", begun, || agent.log());
    open(&rig, "wanted", 2);
    open(&rig, "one", 3);
    let trial = trial.join().expect("run trigon");
    assert_eq!(trial.code, Some(0), "{trial:?}");
    let report: Value = serde_json::from_str(&trial.out).expect("JSON");
    let policy = &report["policies"][0];
    let hooks = policy["hooks"].as_array().expect("hooks");
    let selectors: Vec<_> = hooks
        .iter()
        .flat_map(|hook| hook["selectors"].as_array().expect("selectors"))
        .map(|one| (one["actions"][0].as_str(), one["matched"].as_u64(), one["posted"].as_u64()))
        .filter(|(_, matched, _)| *matched > Some(0))
        .collect();
    let call = Some("call out");
    assert_eq!(selectors, [(call, Some(2), Some(2)), (call, Some(3), Some(0))], "{report:#}");
    assert!(policy["notes"].to_string().contains("nobody was called"), "{report:#}");
    agent.stop();
    assert_eq!(server.asked(), [""; 0]);
}
