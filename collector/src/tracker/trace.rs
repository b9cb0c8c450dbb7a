//! Which trace an execution belongs to: DESIGN's rules, as a pure function of kernel facts.

use trigon_exporters::{
    event::Cgroup,
    identity::{ExecId, SpanId, SpanRef, Trace, TraceId, from_hex},
};

use super::table::Entry;

/// The `[trace]` settings that the rules depend on.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Continue the trace that a valid TRACEPARENT in the environment names.
    pub join_env: bool,
    /// A process that is started from a trace older than this begins one of its own; nanoseconds, 0 for never.
    pub max_age_ns: u64,
}

/// What the rules ask about an execution.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The execution.
    pub id: ExecId,
    /// It leads its session.
    pub leads_session: bool,
    /// Where it runs.
    pub cgroup: &'a Cgroup,
    /// When it began, on the boot clock in nanoseconds.
    pub began: u64,
    /// The span that TRACEPARENT in its environment names.
    pub joined: Option<SpanRef>,
}

/// The trace of an execution, and when that trace began on the boot clock in nanoseconds.
pub fn place(rules: Rules, node: &str, subject: Subject<'_>, parent: Option<&Entry>) -> (Trace, u64) {
    let span = subject.id.span_id(node);
    // What was inherited unchanged has been followed by the first process that carried it.
    let inherited = parent.and_then(|parent| parent.joined);
    if let Some(outer) = subject.joined
        && rules.join_env
        && inherited != Some(outer)
    {
        return (Trace { id: outer.trace, span, parent: Some(outer.span), link: None }, subject.began);
    }
    let Some(parent) = parent else {
        return (Trace { id: subject.id.trace_id(node), span, parent: None, link: None }, subject.began);
    };
    let above = parent.process.trace;
    if is_root(rules, subject, parent) {
        let link = Some(SpanRef { trace: above.id, span: above.span });
        return (Trace { id: subject.id.trace_id(node), span, parent: None, link }, subject.began);
    }
    (Trace { id: above.id, span, parent: Some(above.span), link: None }, parent.trace_began)
}

fn is_root(rules: Rules, subject: Subject<'_>, parent: &Entry) -> bool {
    let container = subject.cgroup.container.as_ref();
    let entered = container.is_some() && container != parent.process.container();
    let old = rules.max_age_ns > 0 && subject.began.saturating_sub(parent.trace_began) > rules.max_age_ns;
    entered || subject.leads_session || old
}

/// Reads a W3C `traceparent` (Trace Context level 1, section 3.2). Anybody can set it: what isn't exactly right is
/// as if it weren't there.
pub fn parse_traceparent(value: &[u8]) -> Option<SpanRef> {
    let value = std::str::from_utf8(value).ok()?;
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Version 00 has four parts; later ones may have more, and 255 is forbidden.
    let more = parts.next().is_some();
    let [version] = from_hex::<1>(version)?;
    let [_] = from_hex::<1>(flags)?;
    if version == 0xff || (version == 0 && more) {
        return None;
    }
    Some(SpanRef { trace: TraceId::parse(trace)?, span: SpanId::parse(span)? })
}

#[cfg(test)]
mod tests;
