use prometheus::{IntCounter, IntCounterVec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::serve::MAX_HEAD;

/// Against hangs only.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    addr: SocketAddr,
    counter: IntCounter,
    series: IntCounterVec,
    readiness: Arc<Readiness>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn start(limits: Limits) -> Server {
    let registry = Registry::new();
    let counter = registry.counter("trigon_test_total", "For the test.").unwrap();
    let series = registry.counters("trigon_test_series_total", "For the test.", &["n"]).unwrap();
    let readiness = Arc::new(Readiness::waiting("reading /proc"));
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let pages = Pages { registry, readiness: Arc::clone(&readiness) };
    let shutdown = async { stopped.await.unwrap_or_default() };
    let served = tokio::spawn(serve_within(limits, listener, pages, shutdown));
    Server { addr, counter, series, readiness, stop, served }
}

/// Sends bytes and reads until the server closes.
async fn send(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is an end as good as any.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

async fn get_page(addr: SocketAddr, path: &str) -> String {
    send(addr, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = start(LIMITS).await;
    server.counter.inc_by(3);
    let answer = get_page(server.addr, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let expected =
        "# HELP trigon_test_total For the test.\n# TYPE trigon_test_total counter\ntrigon_test_total 3\n";
    assert_eq!(body, expected);
}

#[tokio::test]
async fn readiness_is_told_with_its_reason() {
    let server = start(LIMITS).await;
    let answer = get_page(server.addr, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nreading /proc\n"), "{answer}");
    assert!(get_page(server.addr, "/healthz").await.starts_with("HTTP/1.1 200 "));
    server.readiness.set_ready();
    assert!(get_page(server.addr, "/readyz").await.starts_with("HTTP/1.1 200 "));
    server.readiness.set_waiting(String::from("stopping"));
    assert!(get_page(server.addr, "/readyz").await.ends_with("stopping\n"));
}

#[tokio::test]
async fn the_index_leads_to_the_pages_and_nothing_else_is_there() {
    let server = start(LIMITS).await;
    let index = get_page(server.addr, "/").await;
    for page in ["metrics", "healthz", "readyz"] {
        assert!(index.contains(&format!("href=\"{page}\"")), "{index}");
    }
    assert!(get_page(server.addr, "/etc/passwd").await.starts_with("HTTP/1.1 404 "));
    assert!(
        send(server.addr, "POST /metrics HTTP/1.1\r\nHost: t\r\n\r\n").await.starts_with("HTTP/1.1 405 ")
    );
    assert!(send(server.addr, "\x16\x03\x01 nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = start(LIMITS).await;
    let head = format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(3 * MAX_HEAD));
    let answer = send(server.addr, &head).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_slow_client_is_dropped_and_others_get_its_place() {
    let limits = Limits { connections: 1, head_time: Duration::from_millis(50), ..LIMITS };
    let server = start(limits).await;
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").await.unwrap();
    // Waits in the kernel until the one place is free.
    assert!(get_page(server.addr, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(!rest(&mut slow).await.contains("200 OK"));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off() {
    let limits = Limits { request_time: Duration::from_millis(200), connections: 1, ..LIMITS };
    let server = start(limits).await;
    let _silent = TcpStream::connect(server.addr).await.unwrap();
    assert!(get_page(server.addr, "/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let limits = Limits { request_time: Duration::from_secs(2), connections: 1, ..LIMITS };
    let server = start(limits).await;
    // More than the buffers of both ends hold.
    for n in 0..20_000 {
        server.series.with_label_values(&[&format!("{n:01000}")]).inc();
    }
    let mut deaf = TcpStream::connect(server.addr).await.unwrap();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    // Some of the answer is here: the one place is taken.
    deaf.readable().await.unwrap();
    assert!(get_page(server.addr, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let length = rest(&mut deaf).await.len();
    assert!(length < 20_000_000, "the answer was cut, not sent whole: {length}");
}

#[tokio::test]
async fn the_server_stops_when_told_although_a_client_holds_on() {
    let server = start(LIMITS).await;
    let _silent = TcpStream::connect(server.addr).await.unwrap();
    server.stop.send(()).unwrap();
    timeout(PATIENCE, server.served).await.expect("the server stops").unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_mend() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = taken.local_addr().unwrap();
    let error = bind(addr).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot serve metrics on {addr}: ")), "{error}");
    assert!(error.ends_with("set another address with metrics.addr or --metrics-addr"), "{error}");
}
