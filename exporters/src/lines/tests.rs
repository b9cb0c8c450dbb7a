//! Lines on a stream that fails in every way it can: standard output, since that is the simplest.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use super::*;
use crate::{
    event::EventType,
    metrics::Registry,
    samples::{self, HOST, NODE},
    sink::{QueueSender, queue},
    stdout::run,
};

/// A stream that does what its script says, one step a write, and then takes everything.
#[derive(Clone, Default)]
struct Scripted {
    steps: Arc<Mutex<Vec<Step>>>,
    out: Arc<Mutex<Vec<u8>>>,
}

#[derive(Clone, Copy)]
enum Step {
    Take(usize),
    Fail(io::ErrorKind),
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut steps = self.steps.lock().unwrap();
        let step = if steps.is_empty() { Step::Take(usize::MAX) } else { steps.remove(0) };
        let count = match step {
            Step::Take(count) => count.min(bytes.len()),
            Step::Fail(kind) => return Err(kind.into()),
        };
        self.out.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Scripted {
    fn new(steps: &[Step]) -> Self {
        Self { steps: Arc::new(Mutex::new(steps.to_vec())), ..Self::default() }
    }

    fn text(&self) -> String {
        String::from_utf8(self.out.lock().unwrap().clone()).unwrap()
    }
}

struct Bench {
    loss: Loss,
    exported: IntCounter,
    health: Health,
    sender: QueueSender,
    writer: JoinHandle<()>,
}

const PLAIN: Format = Format::Compact { color: false, timestamps: false };

fn start(format: Format, out: impl Write + Send + 'static) -> Bench {
    let registry = Registry::new();
    let loss = Loss::register(&registry).unwrap();
    let metrics = ExportMetrics::register(&registry).unwrap();
    let (sender, receiver) = queue(10_000, loss.counter("queue", "full", "stdout"), |_| true);
    let balance = Balance::stdout(&loss, &metrics);
    let health = Health::default();
    let context = Context { node: NODE.into(), host_namespaces: HOST };
    let reported = health.clone();
    let writer = thread::spawn(move || run(receiver, format, context, out, balance, reported));
    Bench { loss, exported: metrics.records("stdout"), health, sender, writer }
}

/// Starts of as many processes, numbered by their argument.
pub(crate) fn chunk(len: usize) -> Chunk {
    (0..len)
        .map(|n| {
            let n = n.to_string();
            samples::exec(samples::process(7, samples::image("/bin/echo", &["echo", &n])))
        })
        .collect()
}

impl Bench {
    fn lost(&self, reason: &str) -> u64 {
        self.loss.untyped("export", reason, "PROCESS_EXEC").get()
    }

    /// Ends the router and waits for the writer.
    fn finish(self) -> Loss {
        self.balance().1
    }

    /// The same, with how many lines were exported.
    fn balance(self) -> (u64, Loss) {
        drop(self.sender);
        self.writer.join().unwrap();
        (self.exported.get(), self.loss)
    }
}

fn lost(loss: &Loss, reason: &str) -> u64 {
    loss.counter("export", reason, "stdout").of(EventType::ProcessExec)
}

#[test]
fn all_that_was_queued_is_written_in_order_before_the_end() {
    let out = Scripted::new(&[Step::Take(3), Step::Fail(io::ErrorKind::Interrupted), Step::Take(1)]);
    let bench = start(Format::Json, out.clone());
    (0..30).for_each(|_| bench.sender.send(&chunk(10)));
    let loss = bench.finish();
    let text = out.text();
    let arguments: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["process_exec"]["process"]["arguments"].as_str().unwrap().parse::<usize>().unwrap())
        .collect();
    assert_eq!(arguments, (0..300).map(|n| n % 10).collect::<Vec<_>>());
    assert_eq!((lost(&loss, "closed"), lost(&loss, "write")), (0, 0));
}

#[test]
fn a_stream_that_takes_nothing_for_a_while_loses_nothing() {
    let out = Scripted::new(&[Step::Fail(io::ErrorKind::WouldBlock), Step::Fail(io::ErrorKind::WouldBlock)]);
    let bench = start(PLAIN, out.clone());
    bench.sender.send(&chunk(2));
    let loss = bench.finish();
    assert_eq!(out.text().lines().count(), 2);
    assert_eq!(lost(&loss, "write"), 0);
}

#[test]
fn a_failed_write_loses_the_lines_that_did_not_come_out_whole_and_no_other() {
    // One line and a bit of the second come out before the disk is full.
    let bit = samples::exec(samples::process(7, samples::image("/bin/echo", &["echo", "0"])));
    let mut line = Vec::new();
    CompactWriter::new(NODE, false, false).write(&bit, &mut line);
    let full = Step::Fail(io::ErrorKind::StorageFull);
    let out = Scripted::new(&[Step::Take(line.len() + 5), full]);
    let bench = start(PLAIN, out.clone());
    bench.sender.send(&chunk(3));
    while bench.lost("write") < 2 {
        thread::yield_now();
    }
    bench.sender.send(&chunk(2));
    let (exported, loss) = bench.balance();
    assert_eq!((exported, lost(&loss, "write")), (3, 2));
    let text = out.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    let whole = String::from_utf8(line).unwrap();
    assert_eq!([lines[0], lines[2]], [whole.trim_end_matches('\n'); 2]);
    assert!(lines[3].contains("/bin/echo 1"), "{text}");
}

#[test]
fn a_tear_is_mended_once_although_the_mending_fails_at_first() {
    let full = Step::Fail(io::ErrorKind::StorageFull);
    let out = Scripted::new(&[Step::Take(5), full, full]);
    let bench = start(PLAIN, out.clone());
    for lost in 1..=2 {
        bench.sender.send(&chunk(1));
        while bench.lost("write") < lost {
            thread::yield_now();
        }
    }
    bench.sender.send(&chunk(1));
    assert_eq!(lost(&bench.finish(), "write"), 2);
    let text = out.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("🚀 process node-1 /bin/echo 0 "), "{text}");
}

#[test]
fn once_nobody_reads_the_rest_is_counted_as_lost() {
    let (reader, writer) = io::pipe().unwrap();
    let bench = start(Format::Json, writer);
    bench.sender.send(&chunk(1));
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
    drop(reader);
    (0..5).for_each(|_| bench.sender.send(&chunk(20)));
    let (exported, loss) = bench.balance();
    assert_eq!((exported, lost(&loss, "closed"), lost(&loss, "write")), (1, 100, 0));
    assert_eq!(loss.untyped("queue", "full", "PROCESS_EXEC").get(), 0);
}

#[test]
fn a_full_device_loses_and_counts_every_event() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let bench = start(Format::Json, full);
    (0..5).for_each(|_| bench.sender.send(&chunk(20)));
    let health = bench.health.clone();
    let loss = bench.finish();
    assert!(health.state().failing);
    assert!(health.state().last_failure.unwrap().why.contains("No space left"));
    assert_eq!((lost(&loss, "closed"), lost(&loss, "write")), (0, 100));
}

#[test]
fn a_non_blocking_stream_gets_every_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    writer.set_nonblocking(true).unwrap();
    let (mut reader, _) = listener.accept().unwrap();
    let bench = start(Format::Json, writer);
    // More than the socket's buffers hold.
    let (chunks, len) = (90, 100);
    (0..chunks).for_each(|_| bench.sender.send(&chunk(len)));
    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    let loss = bench.finish();
    assert_eq!(read.join().unwrap().lines().count(), chunks * len);
    assert_eq!((lost(&loss, "closed"), lost(&loss, "write")), (0, 0));
}

#[test]
fn a_note_of_what_the_rate_limit_dropped_is_written_and_not_counted() {
    let out = Scripted::new(&[]);
    let bench = start(Format::Json, out.clone());
    bench.sender.send(&chunk(2));
    bench.sender.send(&Arc::from([Event::rate_limit(crate::event::Timestamp(1), 7)]));
    assert_eq!((bench.balance().0, out.text().lines().count()), (2, 3));
}
