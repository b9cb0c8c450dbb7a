//! A receiver that acknowledges everything and keeps nothing: what the agent costs, and not what a backend does.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use http_body::Frame;
use tokio::net::TcpListener;

/// The largest request, in bytes.
const MAX_REQUEST: usize = 64 << 20;

/// The word on this program's command line that makes it the receiver.
pub const WORD: &str = "receive";

/// Is told of the body of each request over HTTP.
pub type Listen = Arc<dyn Fn(&str, &Bytes) + Send + Sync>;

/// A receiver in a process of its own.
#[derive(Debug)]
pub struct Receiver {
    child: Child,
    /// It ends when this is closed.
    _stdin: Option<ChildStdin>,
    address: SocketAddr,
}

// === impl Receiver ===

impl Receiver {
    /// Starts it, on the core that this thread is pinned to.
    pub fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("read the path of this program"));
        let mut child = command
            .arg(WORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the receiver");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("read where the receiver listens");
        let address = line.trim().parse().expect("the receiver says where it listens");
        Self { _stdin: child.stdin.take(), child, address }
    }

    /// The endpoint, for either protocol.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the receiver's process does, until its standard input ends.
pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    runtime.spawn(async {
        let listener = bind().await;
        println!("{}", listener.local_addr().expect("read the address of a listener"));
        serve(listener, None).await;
    });
    runtime.block_on(async {
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = ended.await;
    });
    std::process::exit(0)
}

/// A free port of this machine's.
pub async fn bind() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a port of 127.0.0.1")
}

/// Acknowledges for ever.
pub async fn serve(listener: TcpListener, listen: Option<Listen>) {
    let router = Router::new().fallback(take).with_state(listen);
    axum::serve(listener, router).await.expect("serve");
}

async fn take(State(listen): State<Option<Listen>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let content = parts.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let grpc = content.starts_with(b"application/grpc");
    let Ok(body) = axum::body::to_bytes(body, MAX_REQUEST).await else { return Response::default() };
    if let Some(listen) = listen {
        listen(parts.uri.path(), &body);
    }
    let answer = if grpc { Body::new(Acknowledgement::Message) } else { Body::empty() };
    let mut response = Response::new(answer);
    let content = if grpc { "application/grpc" } else { "application/x-protobuf" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

/// gRPC's answer: an empty message, uncompressed and of length 0, then the status.
enum Acknowledgement {
    Message,
    Status,
    End,
}

impl http_body::Body for Acknowledgement {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let (frame, next) = match *self {
            Self::Message => (Frame::data(Bytes::from_static(&[0; 5])), Self::Status),
            Self::Status => {
                let status =
                    [("grpc-status".parse().expect("a header's name"), HeaderValue::from_static("0"))];
                (Frame::trailers(HeaderMap::from_iter(status)), Self::End)
            }
            Self::End => return Poll::Ready(None),
        };
        *self = next;
        Poll::Ready(Some(Ok(frame)))
    }
}
