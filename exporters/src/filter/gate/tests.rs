use std::sync::Arc;

use prometheus::TextEncoder;

use super::*;
use crate::{
    event::{EventType, Exec, Kind, Replaced},
    filter::Source,
    metrics::Registry,
    samples::{self, hooks},
    sink::{QueueReceiver, gated},
};

fn gate(text: &str, exporter: &str, loss: &Loss) -> Gate {
    let config = toml::from_str(text).unwrap();
    Gate::new(&Filter::new("x", &config, Source::Agent).unwrap(), exporter, loss)
}

fn start(pid: u32) -> Event {
    samples::exec(samples::process(pid, samples::image("/bin/true", &["true"])))
}

fn taken(receiver: &mut QueueReceiver) -> Vec<Chunk> {
    std::iter::from_fn(|| receiver.try_recv()).collect()
}

fn pids(chunks: &[Chunk]) -> Vec<u32> {
    chunks.iter().flat_map(|chunk| chunk.iter()).map(|event| event.process.pid()).collect()
}

#[test]
fn only_what_passes_takes_room_and_the_rest_is_counted() {
    let registry = Registry::new();
    let loss = Loss::register(&registry).unwrap();
    let gate = gate("deny = [{ pid = [1, 2] }]", "x", &loss);
    let (sender, mut receiver) =
        gated(12, loss.counter("queue", "full", "x"), |event| !event.is_of_policy(), gate);
    let whole: Chunk = [start(5), start(6)].into();
    sender.send(&whole);
    sender.send(&[start(1), start(2)].into());
    // What doesn't concern the way out is neither asked about nor counted.
    let asked = Event { process: start(1).process, ..hooks::vi(hooks::read()) };
    sender.send(&[start(7), start(1), start(8), asked, start(2)].into());
    assert_eq!(sender.depth().get(), 5);
    let chunks = taken(&mut receiver);
    assert!(Arc::ptr_eq(&chunks[0], &whole), "what passes whole is not copied");
    assert_eq!(chunks.len(), 2);
    assert_eq!(pids(&chunks), [5, 6, 7, 8, 1]);
    assert_eq!(sender.depth().get(), 0);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let filtered = "trigon_filtered_events_total{exporter=\"x\",type=\"PROCESS_EXEC\"} 4\n";
    assert!(text.contains(filtered), "{text}");
    let kprobe = "trigon_filtered_events_total{exporter=\"x\",type=\"PROCESS_KPROBE\"} 0\n";
    assert!(text.contains(kprobe), "{text}");
}

#[test]
fn what_a_rate_limit_drops_is_lost_counted_and_told() {
    let registry = Registry::new();
    let loss = Loss::register(&registry).unwrap();
    let limited = || gate("deny = [{ pid = [9] }]\nrate_limit = '3/h'", "x", &loss);
    let (sender, mut receiver) = gated(100, loss.counter("queue", "full", "x"), |_| true, limited());
    sender.send(&[start(9), start(1), start(2)].into());
    sender.send(&[start(9), start(3), start(4), start(5)].into());
    sender.send(&[start(6)].into());
    // The second in which they are gathered is not over; the last of them are told at the end.
    drop(sender);
    let chunks = taken(&mut receiver);
    let [.., last] = chunks.as_slice() else { panic!("nothing came") };
    assert!(matches!(last[0].kind, Kind::RateLimit(3)), "{last:?}");
    assert_eq!(pids(&chunks[..chunks.len() - 1]), [1, 2, 3]);
    let lost = loss.counter("filter", "rate_limit", "x").of(EventType::ProcessExec);
    assert_eq!(lost, 3);

    // A way out that makes nothing of it gets none.
    let (sender, mut receiver) = gated(
        100,
        loss.counter("queue", "full", "x"),
        |event| matches!(event.kind, Kind::Exec(_)),
        limited(),
    );
    (0..9).for_each(|_| sender.send(&[start(1)].into()));
    drop(sender);
    assert_eq!(pids(&taken(&mut receiver)), [1, 1, 1]);
}

#[test]
fn spans_are_asked_about_by_the_execution_that_ended() {
    let loss = Loss::register(&Registry::new()).unwrap();
    let over = |ended: u32, begun: u32| {
        let process = start(ended).process;
        let replaced = Some(Replaced { process, parent: Some(samples::parent()) });
        Event { kind: Kind::Exec(Exec { replaced, ..Exec::default() }), ..start(begun) }
    };
    for (rules, expected) in [
        ("deny = [{ pid = [1] }]", &[1_u32, 3][..]),
        ("allow = [{ event_set = ['PROCESS_EXIT'] }]", &[2, 1, 3]),
        ("allow = [{ parent_binary_regex = ['systemd'], pid = [2] }]", &[1]),
    ] {
        let gate = gate(rules, "x", &loss).of_spans();
        let (sender, mut receiver) = gated(100, loss.counter("queue", "full", "x"), |_| true, gate);
        sender.send(&[over(1, 2), over(2, 1), over(3, 3)].into());
        assert_eq!(pids(&taken(&mut receiver)), expected, "{rules}");
    }
}

#[test]
fn fields_reach_the_way_out_and_take_nothing_from_the_queue() {
    let loss = Loss::register(&Registry::new()).unwrap();
    let fields = "[[fields]]\naction = 'EXCLUDE'\nfields = 'args'";
    let (sender, mut receiver) =
        gated(1, loss.counter("queue", "full", "x"), |_| true, gate(fields, "x", &loss));
    let whole: Chunk = [start(1)].into();
    sender.send(&whole);
    assert!(Arc::ptr_eq(&taken(&mut receiver)[0], &whole) && receiver.fields().is_some());
}
