//! A container runtime that answers what the agent asks it, on a Unix socket, over gRPC.

use std::{
    collections::HashMap,
    convert::Infallible,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use trigon::kubernetes::cri::messages::{
    Container, LIST_CONTAINERS, LIST_SANDBOXES, ListContainersRequest, ListContainersResponse,
    ListSandboxesRequest, ListSandboxesResponse, Sandbox,
};

/// A runtime, until it is dropped.
#[derive(Debug)]
pub struct Cri {
    folder: TempDir,
    known: Known,
    stop: CancellationToken,
    _runtime: Runtime,
}

#[derive(Clone, Debug, Default)]
struct Known(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    containers: HashMap<String, Container>,
    sandboxes: HashMap<String, Sandbox>,
    asked: usize,
}

// === impl Cri ===

impl Cri {
    /// Begins to listen. It knows nothing yet.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("trigon-cri-").expect("make a folder");
        let runtime = Runtime::new().expect("start a runtime");
        let (known, stop) = (Known::default(), CancellationToken::new());
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(folder.path().join("cri.sock")).expect("bind a socket")
        };
        let incoming = futures_util::stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let server = Server::builder().add_service(known.clone());
        runtime
            .spawn(server.serve_with_incoming_shutdown(Box::pin(incoming), stop.clone().cancelled_owned()));
        Self { folder, known, stop, _runtime: runtime }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        Path::new(self.folder.path()).join("cri.sock")
    }

    /// Lets it know a sandbox, and the containers in it.
    pub fn knows(&self, sandbox: Sandbox, containers: impl IntoIterator<Item = Container>) {
        let mut tables = self.known.tables();
        tables.sandboxes.insert(sandbox.id.clone(), sandbox);
        tables.containers.extend(containers.into_iter().map(|container| (container.id.clone(), container)));
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.known.tables().asked
    }
}

impl Drop for Cri {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Known ===

impl Known {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NamedService for Known {
    const NAME: &'static str = "runtime.v1.RuntimeService";
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

impl UnaryService<ListContainersRequest> for Known {
    type Response = ListContainersResponse;
    type Future = Answer<Response<Self::Response>>;

    fn call(&mut self, request: Request<ListContainersRequest>) -> Self::Future {
        let id = request.into_inner().filter.unwrap_or_default().id;
        let mut tables = self.tables();
        tables.asked += 1;
        let containers = tables.containers.get(&id).cloned().into_iter().collect();
        Box::pin(std::future::ready(Ok(Response::new(ListContainersResponse { containers }))))
    }
}

impl UnaryService<ListSandboxesRequest> for Known {
    type Response = ListSandboxesResponse;
    type Future = Answer<Response<Self::Response>>;

    fn call(&mut self, request: Request<ListSandboxesRequest>) -> Self::Future {
        let id = request.into_inner().filter.unwrap_or_default().id;
        let items = self.tables().sandboxes.get(&id).cloned().into_iter().collect();
        Box::pin(std::future::ready(Ok(Response::new(ListSandboxesResponse { items }))))
    }
}

impl Service<http::Request<Body>> for Known {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let known = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                LIST_CONTAINERS => {
                    let codec = ProstCodec::<ListContainersResponse, ListContainersRequest>::default();
                    Grpc::new(codec).unary(known, request).await
                }
                LIST_SANDBOXES => {
                    let codec = ProstCodec::<ListSandboxesResponse, ListSandboxesRequest>::default();
                    Grpc::new(codec).unary(known, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}
