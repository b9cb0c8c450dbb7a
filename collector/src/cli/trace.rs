//! `trigon trace`

use std::{collections::HashMap, io, process::ExitCode, time::Duration};

use clap::Args;
use jiff::Timestamp;

use super::{
    agent::{Agent, failed},
    output::{Output, between, columns, cut, length, write},
};
use crate::api::{
    processes::How,
    traces::{SpanStatus, TraceStatus},
};

/// Arguments of `trigon trace`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The trace, or an execution or a process of it.
    #[arg(value_name = "EXEC_ID|TRACE_ID|PID")]
    id: String,
    #[command(flatten)]
    agent: Agent,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A trace as a waterfall.
struct Waterfall<'a> {
    trace: &'a TraceStatus,
    begin: Timestamp,
    length: Duration,
    columns: Option<usize>,
}

/// Columns of the bars.
const BAR: usize = 24;
/// What policies saw is shown so many times a span.
const MARKS: usize = 20;

/// Shows a trace, as far as the agent that runs here still knows it.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { id, agent, output } = arguments;
    agent.ask(async |client| match client.trace(&id).await {
        Ok(trace) => {
            let text = |out: &mut dyn io::Write| Waterfall::new(&trace, columns()).write(out);
            write(output, &trace, text, ExitCode::SUCCESS)
        }
        Err(error) => failed(&error),
    })
}

// === impl Waterfall ===

impl<'a> Waterfall<'a> {
    fn new(trace: &'a TraceStatus, columns: Option<usize>) -> Self {
        let begin = trace.spans.iter().map(SpanStatus::start).min().unwrap_or(trace.now);
        let end = trace.spans.iter().map(|span| span.end().unwrap_or(trace.now)).max().unwrap_or(trace.now);
        Self { trace, begin, length: between(begin, end), columns }
    }

    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let TraceStatus { trace_id, since, spans, .. } = self.trace;
        writeln!(out, "trace {trace_id}: {} spans in {}", spans.len(), length(self.length))?;
        if let Some(since) = since.filter(|since| *since > self.begin) {
            writeln!(out, "what ended before {since:.0} may be missing")?;
        }
        writeln!(out, "{:>8}  {:>8}  {:BAR$}  SPAN", "START", "TOOK", "")?;
        let known: HashMap<&str, usize> =
            spans.iter().enumerate().map(|(index, span)| (&*span.span_id, index)).collect();
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut pending = Vec::new();
        for (index, span) in spans.iter().enumerate() {
            match span.parent_span_id.as_deref().and_then(|parent| known.get(parent)) {
                // One that says it is its own child, or a later one's, would never be shown.
                Some(parent) if *parent < index => children.entry(*parent).or_default().push(index),
                _ => pending.push((index, 0, None)),
            }
        }
        pending.reverse();
        while let Some((index, depth, above)) = pending.pop() {
            let span = &spans[index];
            self.span(span, depth, above, out)?;
            let below = children.get(&index).map_or(&[][..], Vec::as_slice);
            pending.extend(below.iter().rev().map(|child| (*child, depth + 1, Some(span))));
        }
        Ok(())
    }

    fn span(
        &self,
        span: &SpanStatus,
        depth: usize,
        above: Option<&SpanStatus>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let (start, end) = (span.start(), span.end());
        let took = between(start, end.unwrap_or(self.trace.now));
        let mut line = format!("{:>8}  {:>8}  {}  ", self.offset(start), length(took), self.bar(start, end));
        let indent = "  ".repeat(depth);
        line += &indent;
        match &span.file {
            Some(file) => {
                line += &format!("📄 {}", file.path);
                for (verb, bytes) in [("read", file.bytes_read), ("wrote", file.bytes_written)] {
                    if bytes > 0 {
                        line += &format!("  {verb} {bytes} bytes");
                    }
                }
            }
            None => {
                line += &format!("{} {}", span.process.pid, span.process.command);
                if let Some(place) = span.process.place(above.map(|above| &above.process)) {
                    line += &format!("  [{place}]");
                }
                line += &match span.process.end.as_ref().map(|end| &end.how) {
                    None => "  (runs)".to_owned(),
                    Some(How::ExitCode(0)) => String::new(),
                    Some(How::ExitCode(code)) => format!("  (exit {code})"),
                    Some(How::Signal(name)) => format!("  ({name})"),
                    Some(How::Exec) => "  (became another)".to_owned(),
                };
            }
        }
        writeln!(out, "{}", cut(&line, self.columns))?;
        for mark in span.marks.iter().take(MARKS) {
            let blank = " ".repeat(8 + 2 + BAR);
            let line = format!(
                "{:>8}  {blank}  {indent}  • {}  [{}]",
                self.offset(mark.time),
                mark.text,
                mark.policy
            );
            writeln!(out, "{}", cut(&line, self.columns))?;
        }
        match span.marks.len().saturating_sub(MARKS) {
            0 => Ok(()),
            more => writeln!(
                out,
                "{:>8}  {indent:>width$}  • … and {more} more",
                "",
                width = 8 + 2 + BAR + indent.len()
            ),
        }
    }

    fn offset(&self, time: Timestamp) -> String {
        match between(self.begin, time) {
            Duration::ZERO => "0".to_owned(),
            offset => format!("+{}", length(offset)),
        }
    }

    /// A bar where the span lies in the trace, at least one column wide.
    fn bar(&self, start: Timestamp, end: Option<Timestamp>) -> String {
        let place = |time| {
            let share = between(self.begin, time).as_secs_f64() / self.length.as_secs_f64().max(1e-9);
            ((share * BAR as f64) as usize).min(BAR)
        };
        let from = place(start).min(BAR - 1);
        let to = end.map_or(BAR, place).clamp(from + 1, BAR);
        let open = if end.is_none() { "▶" } else { "█" };
        format!("{}{}{open}{}", " ".repeat(from), "█".repeat(to - from - 1), " ".repeat(BAR - to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        processes::{EndStatus, PodStatus, ProcessStatus},
        traces::{FileStatus, Mark},
    };

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn span(
        id: &str,
        parent: Option<&str>,
        start: i64,
        end: Option<(i64, How)>,
        command: &str,
    ) -> SpanStatus {
        SpanStatus {
            span_id: id.to_owned(),
            parent_span_id: parent.map(str::to_owned),
            file: None,
            process: ProcessStatus {
                exec_id: id.to_owned(),
                parent_exec_id: None,
                pid: 7,
                uid: 0,
                command: command.to_owned(),
                start: at(start),
                trace_id: String::new(),
                span_id: id.to_owned(),
                container: None,
                pod: None,
                kernel_thread: false,
                forked: false,
                end: end.map(|(end, how)| EndStatus { at: at(end), how }),
            },
            marks: Vec::new(),
        }
    }

    #[test]
    fn a_waterfall_shows_when_and_how() {
        let mut curl = span("b", Some("a"), 2_000, Some((4_000, How::ExitCode(6))), "/usr/bin/curl http://x");
        let mark =
            |time| Mark { time: at(time), text: "read /etc/shadow".to_owned(), policy: "shadow".to_owned() };
        curl.marks = (0..22).map(|index| mark(2_500 + index)).collect();
        let mut file = span("c", Some("b"), 2_400, None, "");
        let path = "/etc/shadow".to_owned();
        file.file = Some(FileStatus {
            path,
            opened: at(2_400),
            closed: at(2_600),
            bytes_read: 120,
            bytes_written: 0,
        });
        let place = |container: &str| PodStatus {
            namespace: "shop".to_owned(),
            name: "web-1".to_owned(),
            container: Some(container.to_owned()),
        };
        let mut entered = span("e", Some("a"), 6_000, None, "/bin/sh");
        entered.process.pod = Some(place("nginx"));
        let mut below = span("f", Some("e"), 6_500, Some((6_600, How::ExitCode(0))), "/bin/ls");
        below.process.pod = Some(place("nginx"));
        let trace = TraceStatus {
            trace_id: "0123456789abcdef0123456789abcdef".to_owned(),
            now: at(8_000),
            since: Some(at(1_000)),
            spans: vec![
                span("a", Some("unknown"), 0, None, "/bin/bash"),
                curl,
                file,
                span("d", Some("a"), 5_000, Some((5_001, How::Signal("SIGKILL".to_owned()))), "/bin/sleep 9"),
                entered,
                below,
            ],
        };
        let mut out = Vec::new();
        Waterfall::new(&trace, None).write(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
