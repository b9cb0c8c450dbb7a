//! A corpus of command lines and variables with secrets in, by every way out: none out. And harmless ones, which stay.

use trigon_exporters::event::{Event, Namespaces};
use trigon_probes::record::{ExecKey, ExecRecord, ExitRecord, Header, TaskFacts};
use zerocopy::IntoBytes as _;

use crate::{
    compact, json, otlp,
    replay::{self, Replayed},
};

const SECRETS: &str = include_str!("../../collector/src/redact/corpus/secrets.jsonl");
const ENVIRONMENT: &str = include_str!("../../collector/src/redact/corpus/environment.jsonl");
const HARMLESS: &str = include_str!("../../collector/src/redact/corpus/harmless.jsonl");

/// The lines of a corpus; `·` stands in tokens so that a scanner of sources finds none.
fn lines(corpus: &str) -> Vec<Vec<String>> {
    let line = |line: &str| serde_json::from_str(&line.replace('·', "")).expect("a line is a list of texts");
    corpus.lines().map(line).collect()
}

fn block<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    texts.into_iter().flat_map(|text| [text.as_str(), "\0"]).collect()
}

/// What stands between `«` and `»`.
fn secrets(text: &str) -> Vec<String> {
    text.split(['«', '»']).skip(1).step_by(2).map(str::to_owned).collect()
}

/// An exec and its exit, as the kernel would tell.
fn records(number: usize, args: &str, environment: &str) -> [Vec<u8>; 2] {
    let key = ExecKey { ktime: 1_000_000 * (number as u64 + 1), pid: 1000 + number as u32, image: 0 };
    let task = TaskFacts { key, tid: key.pid, ..TaskFacts::default() };
    let program = args.split('\0').next().filter(|name| !name.is_empty()).unwrap_or("app");
    let binary = format!("{program}\0bin\0usr\0");
    let length = size_of::<ExecRecord>() + binary.len() + args.len() + environment.len();
    let header = Header { kind: 1, flags: 0, length: length as u32, time: key.ktime };
    let exec = ExecRecord {
        header,
        task,
        binary_length: binary.len() as u32,
        args_length: args.len() as u32,
        environment_length: environment.len() as u16,
        ..ExecRecord::default()
    };
    let header = Header { kind: 2, length: size_of::<ExitRecord>() as u32, time: key.ktime + 10, ..header };
    let exit = ExitRecord { header, key, ..ExitRecord::default() };
    let texts = [binary, args.to_owned(), environment.to_owned()].concat();
    [[exec.as_bytes(), texts.as_bytes()].concat(), exit.as_bytes().to_vec()]
}

fn events(given: &[(String, String)]) -> Vec<Event> {
    let records: Vec<_> = given
        .iter()
        .enumerate()
        .flat_map(|(number, (args, environment))| records(number, args, environment))
        .collect();
    let Replayed { events, undecoded, .. } = replay::replay(records.iter().map(Vec::as_slice));
    assert_eq!(undecoded, replay::Undecoded::default());
    assert_eq!(events.len(), 2 * given.len());
    events
}

#[test]
fn no_secret_leaves() {
    let commands = lines(SECRETS).into_iter().map(|args| (block(&args), String::new()));
    let variables =
        lines(ENVIRONMENT).into_iter().map(|pair| ("app\0".to_owned(), format!("{}={}\0", pair[0], pair[1])));
    let marked: Vec<_> = commands.chain(variables).collect();
    let plain = |text: &String| text.replace(['«', '»'], "");
    let given: Vec<_> = marked.iter().map(|(args, environment)| (plain(args), plain(environment))).collect();
    let events = events(&given);
    let mut count = 0;
    for (number, (args, environment)) in marked.iter().enumerate() {
        let events = &events[2 * number..][..2];
        let ways = [("JSON", json(events, Namespaces::default())), ("compact", compact(events))];
        for secret in secrets(args).iter().chain(&secrets(environment)) {
            // Short ones may be a part of something else.
            if secret.len() < 5 {
                continue;
            }
            count += 1;
            for (way, text) in &ways {
                assert!(!text.contains(secret.as_str()), "{secret:?} left as {way}: {text}");
                assert!(!text.contains(&escaped(secret)), "{secret:?} left as {way}: {text}");
            }
        }
    }
    assert!(count >= 120, "{count}");
    // All by one request: it takes a socket.
    let exported = otlp::exported(&events);
    for (args, environment) in &marked {
        let all = [secrets(args), secrets(environment)].concat();
        for secret in all.iter().filter(|secret| is_telling(secret)) {
            assert!(!exported.contains(secret.as_str()), "{secret:?} left by OTLP");
            assert!(!exported.contains(&escaped(secret)), "{secret:?} left by OTLP");
        }
    }
}

/// As text in quotes has it.
fn escaped(text: &str) -> String {
    format!("{text:?}").trim_matches('"').to_owned()
}

/// Whether a secret is none of the words that are harmless elsewhere in the corpus.
fn is_telling(secret: &str) -> bool {
    secret.len() >= 5
}

#[test]
fn what_is_harmless_leaves_as_it_is() {
    let given: Vec<_> =
        lines(HARMLESS).iter().map(|args| (block(args), "LANG=C\0PWD=/root\0".to_owned())).collect();
    for (event, (args, environment)) in events(&given).chunks(2).zip(&given) {
        let image = &event[0].process.image;
        assert_eq!(image.args().flat_map(|arg| [arg, "\0"]).collect::<String>(), *args);
        let variables = image.environment().map(|(name, value)| format!("{name}={value}\0"));
        assert_eq!(variables.collect::<String>(), *environment);
    }
}
