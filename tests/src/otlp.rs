//! A real OTLP receiver: gRPC and HTTP/protobuf on one port, gzip or not. What it answers is set while it runs.

mod door;
mod received;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpSocket, runtime::Runtime};

pub use self::received::{Attributes, Log, Origin, Protocol, Received, Request, Signal, Span, hex};
use crate::wait;

/// What the receiver answers.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// Takes everything.
    #[default]
    Accept,
    /// Takes everything, after a while.
    Slow(Duration),
    /// Asks to try again: `UNAVAILABLE` with `RetryInfo`, or 503 with `Retry-After` (whole seconds), where a delay
    /// is given.
    Unavailable(Option<Duration>),
    /// Refuses for good: `INVALID_ARGUMENT`, or 400.
    Refuse,
    /// Takes the request and says that it rejected some of its records.
    Partial {
        /// How many.
        rejected: i64,
        /// Why.
        message: String,
    },
}

/// A receiver. Its port stays the same while it is closed and opened again.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    /// A runtime of its own for each time it is open: dropped, it takes every connection with it.
    open: Option<Runtime>,
}

/// What the connections share.
#[derive(Debug, Default)]
struct State {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Received>,
}

// === impl Receiver ===

impl Receiver {
    /// Opens a receiver on a free port of 127.0.0.1.
    pub fn open() -> Self {
        let mut receiver =
            Self { address: (Ipv4Addr::LOCALHOST, 0).into(), state: Arc::default(), open: None };
        receiver.reopen();
        receiver
    }

    /// Closes the listener and cuts every connection.
    pub fn close(&mut self) {
        if let Some(runtime) = self.open.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }

    /// Opens a closed receiver again, on the port that it had.
    pub fn reopen(&mut self) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("make a runtime");
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("make a socket");
            socket.set_reuseaddr(true).expect("allow the port to be taken again");
            socket.bind(self.address).unwrap_or_else(|error| panic!("bind {}: {error}", self.address));
            socket.listen(128).expect("listen")
        });
        self.address = listener.local_addr().expect("read the address of a listener");
        let router = door::router(Arc::clone(&self.state));
        runtime.spawn(async move { axum::serve(listener, router).await });
        self.open = Some(runtime);
    }

    /// The endpoint, for either protocol.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets what it answers from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.state.behaviour) = behaviour;
    }

    /// What it has received.
    pub fn received(&self) -> Received {
        lock(&self.state.received).clone()
    }

    /// Waits until what it has received satisfies `probe`.
    pub fn until<T>(&self, what: &str, mut probe: impl FnMut(&Received) -> Option<T>) -> T {
        wait::until(what, || probe(&lock(&self.state.received)), || lock(&self.state.received).summary())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
