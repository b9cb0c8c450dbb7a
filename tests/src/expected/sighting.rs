//! One event as the agent told it, whether as an OTLP log record or as a JSON line.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use trigon_exporters::identity::ExecId;

use super::hex;
use crate::{
    json::Line,
    otlp::{Attributes as _, Log},
    workload::End,
};

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What happened.
    pub what: What,
    /// The node, from the exec id.
    pub node: String,
    /// The execution.
    pub id: ExecId,
    /// The execution that started it.
    pub parent: Option<ExecId>,
    /// Its trace, in hexadecimal digits.
    pub trace: String,
    /// Its span, in hexadecimal digits.
    pub span: String,
    /// When it happened, in nanoseconds since the epoch.
    pub time: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An execution began.
    Exec,
    /// A process ended.
    Exit(End),
}

// === impl Sighting ===

impl From<&Log> for Sighting {
    fn from(log: &Log) -> Self {
        let record = &log.record;
        let what = match record.event_name.as_str() {
            "process.exec" => What::Exec,
            "process.exit" => What::Exit(match log.text("trigon.exit.signal") {
                Some(signal) => {
                    assert_eq!(log.int("process.exit.code"), None, "a signal gives no code: {record:?}");
                    let core = log.attribute("trigon.exit.core_dumped");
                    let core = core.unwrap_or_else(|| panic!("no core_dumped: {record:?}"));
                    End::Signal { number: signal_number(signal), core: *core == OtlpValue::BoolValue(true) }
                }
                None => End::Exit(log.int("process.exit.code").expect("an exit has a code") as u8),
            }),
            other => panic!("event {other:?}: {record:?}"),
        };
        let (node, id) = exec_id(log.text("trigon.exec_id").expect("a log record has an exec id"));
        assert_eq!(log.int("process.pid"), Some(i64::from(id.pid)), "{record:?}");
        Self {
            what,
            node,
            id,
            parent: log.text("trigon.parent_exec_id").map(|parent| exec_id(parent).1),
            trace: hex(&record.trace_id),
            span: hex(&record.span_id),
            time: record.time_unix_nano,
        }
    }
}

impl From<&Line> for Sighting {
    fn from(line: &Line) -> Self {
        let what = match line.kind.as_str() {
            "process_exec" => What::Exec,
            "process_exit" => What::Exit(match line.text("/signal") {
                "" => End::Exit(line.at("/status").as_u64().unwrap_or_default() as u8),
                signal => End::Signal {
                    number: signal_number(signal),
                    core: line.at("/trigon/core_dumped").as_bool().unwrap_or_default(),
                },
            }),
            other => panic!("event {other:?}: {line:?}"),
        };
        let (node, id) = exec_id(line.text("/process/exec_id"));
        assert_eq!(line.pid(), id.pid, "{line:?}");
        assert_eq!(line.whole["node_name"], *node, "{line:?}");
        let time: jiff::Timestamp =
            line.whole["time"].as_str().and_then(|time| time.parse().ok()).expect("a time");
        Self {
            what,
            node,
            id,
            parent: Some(line.text("/process/parent_exec_id"))
                .filter(|id| !id.is_empty())
                .map(|id| exec_id(id).1),
            trace: line.text("/trigon/trace_id").to_owned(),
            span: line.text("/trigon/span_id").to_owned(),
            time: u64::try_from(time.as_nanosecond()).expect("after 1970"),
        }
    }
}

/// Takes an exported exec id apart: base64 of `<node>:<ktime>:<pid>`.
///
/// # Panics
/// Where it isn't one.
pub fn exec_id(text: &str) -> (String, ExecId) {
    let plain = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = plain.as_deref().map(|plain| plain.rsplitn(3, ':').collect::<Vec<_>>());
    match parts.as_deref() {
        Some([pid, ktime, node]) => {
            let id = ExecId { ktime: ktime.parse().expect("a time"), pid: pid.parse().expect("a pid") };
            ((*node).to_owned(), id)
        }
        _ => panic!("not an exec id: {text:?}"),
    }
}

/// `SIGKILL` for 9.
pub(super) fn signal_name(number: u8) -> String {
    Signal::try_from(i32::from(number)).expect("a signal's number").to_string()
}

fn signal_number(name: &str) -> u8 {
    name.parse::<Signal>().unwrap_or_else(|error| panic!("signal {name:?}: {error}")) as i32 as u8
}
