//! A trace as a tree, by nothing but what is in the spans.

use std::fmt;

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use trigon_tests::otlp::{Attributes as _, Received, Span, hex};

/// Columns: the tree, and behind it how long a span took.
const TREE: usize = 70;
const DURATION: usize = 10;

/// The spans of one trace.
#[derive(Debug)]
pub struct Trace<'a> {
    root: &'a Span,
    /// In the order of their starts.
    spans: Vec<&'a Span>,
    /// The span of another trace that the root has a link to.
    before: Option<&'a Span>,
}

// === impl Trace ===

impl<'a> Trace<'a> {
    /// The trace with this root.
    pub fn new(received: &'a Received, root: &'a Span) -> Self {
        let of_trace = |span: &&Span| span.record.trace_id == root.record.trace_id;
        let mut spans: Vec<_> = received.spans.iter().filter(of_trace).collect();
        spans.sort_by_key(|span| span.record.start_time_unix_nano);
        let link = root.record.links.first();
        let before =
            link.and_then(|link| received.spans.iter().find(|span| span.record.span_id == link.span_id));
        Self { root, spans, before }
    }

    /// There is a span of a process whose command line begins so, below the root, and it ended so.
    pub fn has(&self, command: &str, end: &str) -> bool {
        let named = |span: &&&Span| self::command(span).starts_with(command) && self::end(span) == end;
        self.spans.iter().filter(named).any(|span| self.is_below_root(span))
    }

    /// A span has an event of the policy.
    pub fn has_match(&self, policy: &str) -> bool {
        let mut events = self.spans.iter().flat_map(|span| &span.record.events);
        events.any(|event| event.text("trigon.policy.name") == Some(policy))
    }

    fn is_below_root(&self, span: &'a Span) -> bool {
        let parent =
            |span: &&'a Span| self.spans.iter().find(|of| of.record.span_id == span.record.parent_span_id);
        // No longer than the trace: ids from outside may be a ring.
        let line = std::iter::successors(Some(span), |span| parent(span).copied()).take(self.spans.len());
        line.into_iter().any(|span| span.record.span_id == self.root.record.span_id)
    }

    /// A span, and those below it. `first` is what stands before its own line, `others` before all others.
    fn branch(&self, f: &mut fmt::Formatter<'_>, span: &Span, first: &str, others: &str) -> fmt::Result {
        let label = cut(format!("{first}{}", command(span)), TREE);
        let record = &span.record;
        let took = record.end_time_unix_nano.saturating_sub(record.start_time_unix_nano) as f64 / 1e6;
        let is_error = record.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        let end = format!("{:<8}{}", end(span), if is_error { " Error" } else { "" });
        writeln!(f, "{label:<TREE$}{took:>DURATION$.1} ms  {}", end.trim_end())?;
        let mut below = self.spans.iter().filter(|of| of.record.parent_span_id == record.span_id).peekable();
        for event in &record.events {
            let line = if below.peek().is_some() { "│" } else { " " };
            let policy = event.text("trigon.policy.name").unwrap_or_default();
            let what =
                event.text("file.path").or_else(|| event.text("trigon.hook.function")).unwrap_or_default();
            writeln!(f, "{others}{line}  ! {policy}: {} {what}", event.name)?;
        }
        while let Some(next) = below.next() {
            let (branch, line) =
                if below.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
            self.branch(f, next, &format!("{others}{branch}"), &format!("{others}{line}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trace        {}, {} spans", hex(&self.root.record.trace_id), self.spans.len())?;
        for key in ["service.name", "host.name", "container.id"] {
            if let Some(value) = self.root.origin.text(key) {
                writeln!(f, "{key:<12} {value}")?;
            }
        }
        if let Some(before) = self.before {
            writeln!(f, "linked to    {} ({} on the host)", hex(&before.record.span_id), before.record.name)?;
        }
        writeln!(f)?;
        self.branch(f, self.root, "", "")
    }
}

/// The command line of a span's process.
fn command(span: &Span) -> String {
    span.texts("process.command_args").map_or_else(|| span.record.name.clone(), |args| args.join(" "))
}

/// How it ended.
fn end(span: &Span) -> String {
    match (span.text("trigon.exit.signal"), span.int("process.exit.code")) {
        (Some(signal), _) => signal.to_owned(),
        (None, Some(code)) => format!("exit {code}"),
        (None, None) => String::new(),
    }
}

/// Text of so many characters at most.
fn cut(text: String, width: usize) -> String {
    if text.chars().count() <= width { text } else { text.chars().take(width - 1).chain(['…']).collect() }
}
