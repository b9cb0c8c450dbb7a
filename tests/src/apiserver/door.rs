//! The port: HTTP/1.1 and HTTP/2, within TLS or without, and connections that can be cut.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

use super::{Shared, answer};

/// Listens there; takes a port that was in use until now.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Serves whoever comes.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&shared), tls.clone()))),
            // Out of descriptors, likely: they come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let Ok(stream) = stream.into_std() else { return };
    // To reset it while somebody else has it.
    let (Ok(handle), Ok(stream)) = (stream.try_clone(), TcpStream::from_std(stream)) else { return };
    let _ = stream.set_nodelay(true);
    let cut = Arc::new(Notify::new());
    let mut all = shared.cut.subscribe();
    let served = {
        let cut = Arc::clone(&cut);
        async move {
            match tls {
                None => talk(stream, shared, cut).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        talk(stream, shared, cut).await;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = served => return,
        () = cut.notified() => {}
        _ = all.changed() => {}
    }
    // With nothing to linger for, closing is a reset.
    let _ = rustix::net::sockopt::set_socket_linger(&handle, Some(Duration::ZERO));
}

async fn talk<S>(stream: S, shared: Arc<Shared>, cut: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = answer::answer(Arc::clone(&shared), request.map(Body::new), Arc::clone(&cut));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // How a client leaves is its own affair.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
