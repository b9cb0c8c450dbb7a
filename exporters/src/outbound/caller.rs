//! A call that is made.

use std::time::Duration;

use reqwest::{Client, redirect, retry};

use super::{
    call::{DnsName, HttpUrl, OutboundCall},
    resolver::Resolver,
};
use crate::otlp::chain;

/// Makes one call, again and again.
#[derive(Debug)]
pub(super) enum Caller {
    Get { client: Client, url: HttpUrl },
    Lookup { resolver: Resolver, name: DnsName },
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no answer in time.
    Timeout,
    /// This happened.
    Failed(String),
}

/// How long an answer is waited for: an answer of HTTP up to the end of its head.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const USER_AGENT: &str = concat!("trigon/", env!("CARGO_PKG_VERSION"));

// === impl Caller ===

impl Caller {
    /// Prepares the call and doesn't make it yet.
    pub(super) fn new(call: &OutboundCall, resolver: &Resolver) -> Result<Self, String> {
        let resolver = resolver.clone();
        Ok(match call {
            OutboundCall::Get(url) => Self::Get { client: client(url, resolver)?, url: url.clone() },
            OutboundCall::Lookup(name) => Self::Lookup { resolver, name: name.clone() },
        })
    }

    /// Makes the call, and waits for its answer no longer than `patience`.
    pub(super) async fn call(&self, patience: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(patience, self.attempt()).await {
            Ok(came) => came.map_err(Failure::Failed),
            Err(_) => Err(Failure::Timeout),
        }
    }

    async fn attempt(&self) -> Result<(), String> {
        match self {
            Self::Get { client, url } => {
                let answer = client.get(url.url().clone()).send().await;
                let status = answer.map_err(|error| chain(&error.without_url()))?.status();
                // The body is left where it is, and the connection goes with it.
                match status.is_client_error() || status.is_server_error() {
                    true => Err(format!("the server answered {status}")),
                    false => Ok(()),
                }
            }
            Self::Lookup { resolver, name } => match resolver.addresses(name.absolute()).await {
                Ok(found) if found.is_empty() => Err("it has no address".to_owned()),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// One that goes straight to the URL's server, and nowhere from there: no proxy, no redirect, no second try.
fn client(url: &HttpUrl, resolver: Resolver) -> Result<Client, String> {
    // Another part of the process may have chosen a provider before: then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(0)
        .dns_resolver(resolver);
    let builder = match url.url().scheme() {
        "https" => builder,
        // Without encryption a machine without certificates will do.
        _ => builder.tls_certs_only([]),
    };
    builder.build().map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;

    /// A server that answers one request with this, or not at all where it is empty; what it was asked.
    async fn server(answer: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token?a=b", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            if answer.is_empty() {
                // Until the other side gives up.
                let _ = stream.read_u8().await;
            }
            // A body that never ends, for as long as somebody takes it.
            let body = if answer.contains("chunked") { "5\r\nhello\r\n" } else { "" };
            let mut written = stream.write_all(answer.as_bytes()).await;
            while written.is_ok() && !body.is_empty() {
                written = stream.write_all(body.as_bytes()).await;
            }
            String::from_utf8(request).unwrap()
        });
        (url, asked)
    }

    async fn call(url: &str, patience: Duration) -> Result<(), Failure> {
        let call = OutboundCall::Get(HttpUrl::parse(url).unwrap());
        Caller::new(&call, &Resolver::new(1)).unwrap().call(patience).await
    }

    #[tokio::test]
    async fn a_url_is_asked_for_and_nothing_is_told() {
        let (url, asked) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(call(&url, PATIENCE).await, Ok(()));
        let asked = asked.await.unwrap();
        let host = url.split('/').nth(2).unwrap();
        let expected = format!(
            "GET /token?a=b HTTP/1.1\r\naccept: */*\r\nuser-agent: trigon/{}\r\nhost: {host}\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn a_body_without_end_is_not_read() {
        let (url, asked) = server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        assert_eq!(call(&url, PATIENCE).await, Ok(()));
        // The server's writing ends, since the connection does.
        asked.await.unwrap();
    }

    #[tokio::test]
    async fn errors_and_silence_are_failures() {
        let (url, _asked) = server("HTTP/1.1 404 Not Found\r\n\r\n").await;
        let Err(Failure::Failed(why)) = call(&url, PATIENCE).await else { panic!("it answered an error") };
        assert_eq!(why, "the server answered 404 Not Found");
        let (url, _asked) = server("").await;
        assert_eq!(call(&url, Duration::from_millis(100)).await, Err(Failure::Timeout));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let Err(Failure::Failed(why)) = call(&format!("http://{free}/secret"), PATIENCE).await else {
            panic!("nobody listens")
        };
        assert!(!why.contains("secret"), "{why}");
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_a_failure() {
        let caller = |name: &str| {
            Caller::new(&OutboundCall::Lookup(DnsName::parse(name).unwrap()), &Resolver::new(1)).unwrap()
        };
        // RFC 6761: it never exists, whether there are servers to ask or not.
        let came = caller("canary.invalid").call(Duration::from_secs(60)).await;
        assert!(matches!(came, Err(Failure::Failed(_))), "{came:?}");
    }
}
