//! Names looked up as the system does it: `/etc/hosts`, and the servers of `/etc/resolv.conf`.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    thread,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};

/// Looks names up by getaddrinfo(3), which can't be given up: each look-up has a thread of its own, that nobody waits for
/// at the agent's end, and there are only so many.
#[derive(Clone, Debug)]
pub(super) struct Resolver(Arc<Semaphore>);

// === impl Resolver ===

impl Resolver {
    /// For so many look-ups at once. Others wait, and it is for whoever waits to give up.
    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// The addresses of a name, with port 0.
    pub(super) async fn addresses(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let (done, found) = oneshot::channel();
        thread::Builder::new().name("trigon-lookup".to_owned()).spawn(move || {
            let found = (name.as_str(), 0).to_socket_addrs().map(Iterator::collect);
            drop(turn);
            // Whoever asked may have given up.
            let _ = done.send(found);
        })?;
        found.await.map_err(io::Error::other)?
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.addresses(name.as_str().to_owned()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_looked_up_one_after_the_other_where_there_is_one_turn() {
        let resolver = Resolver::new(1);
        let (one, other) = tokio::join!(
            resolver.addresses("localhost".to_owned()),
            resolver.addresses("127.0.0.1".to_owned())
        );
        assert!(one.unwrap().iter().all(|address| address.ip().is_loopback()));
        assert_eq!(other.unwrap(), ["127.0.0.1:0".parse().unwrap()]);
    }
}
