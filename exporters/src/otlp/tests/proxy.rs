//! Proxies, by the usual environment variables.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    child,
    delivery::{Exporter, PROTOCOLS, config, lost},
    receiver::{Closed, Receiver},
    sample, tls,
};
use crate::otlp::Signal;

/// The heads of the requests that a proxy got.
type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy that tunnels and forwards, for those who say who they are.
async fn proxy(listener: TcpListener, heads: Heads) {
    while let Ok((client, _)) = listener.accept().await {
        let heads = Arc::clone(&heads);
        tokio::spawn(async move {
            let _ = carry(client, heads).await;
        });
    }
}

async fn carry(mut client: TcpStream, heads: Heads) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8(head).expect("text");
    heads.lock().expect("no panic").push(text.clone());
    // me:secret
    if !text.to_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0\r\n") {
        return client.write_all(b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n").await;
    }
    let (method, rest) = text.split_once(' ').expect("a request");
    let target = rest.split(' ').next().expect("a target");
    let mut server =
        TcpStream::connect(target.trim_start_matches("http://").split('/').next().expect("a host")).await?;
    match method {
        "CONNECT" => client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?,
        // Servers take the whole URL too.
        _ => server.write_all(text.as_bytes()).await?,
    }
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// A proxy's port and what it got.
fn start(runtime: &tokio::runtime::Runtime) -> (u16, Heads) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let (port, heads) = (listener.local_addr().expect("an address").port(), Heads::default());
    runtime.spawn(proxy(listener, Arc::clone(&heads)));
    (port, heads)
}

/// Runs a test in a process with these variables, in which `@` stands for the proxy's address. Returns the first lines
/// of what the proxy got.
fn with(test: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (port, heads) = start(&runtime);
    let directory = tempfile::tempdir().expect("a directory");
    tls::certificate(directory.path());
    child::run(module_path!(), test, directory.path(), |process| {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            process.env_remove(name).env_remove(name.to_lowercase());
        }
        for (name, value) in variables {
            process.env(name, value.replace('@', &format!("@127.0.0.1:{port}")));
        }
    });
    let heads = heads.lock().expect("no panic");
    heads.iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect()
}

const PROXY: &str = "http://me:secret@";

/// In the second process: sends by both protocols, and everything arrives.
fn delivers(tls: Option<&Path>) {
    child::block_on(async {
        for protocol in PROTOCOLS {
            let (receiver, closed) = (Receiver::default(), Closed::new());
            let mut config = config(protocol, &closed);
            match tls {
                Some(directory) => {
                    config.endpoint = format!("https://{}", closed.address);
                    config.tls.ca_file = directory.join("cert.pem");
                    tls::serve(protocol, directory, &receiver, closed);
                }
                None => receiver.serve(protocol, closed),
            }
            let exporter = Exporter::start(Signal::Logs, &config);
            exporter.send(sample::lifecycles(5));
            assert_eq!(lost(&exporter.finish().await, ""), 0.0);
            assert_eq!(receiver.see(|received| received.logs.len()), 10);
        }
    });
}

#[test]
fn plain_requests_go_through_a_proxy() {
    if child::directory().is_some() {
        return delivers(None);
    }
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        let lines = with("plain_requests_go_through_a_proxy", &[(name, PROXY)]);
        assert!(lines.iter().any(|line| line.starts_with("CONNECT 127.0.0.1:")), "gRPC: {lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("POST http://127.0.0.1:")), "HTTP: {lines:?}");
    }
}

#[test]
fn encrypted_requests_go_through_a_tunnel() {
    if let Some(directory) = child::directory() {
        return delivers(Some(&directory));
    }
    let variables = [("HTTPS_PROXY", PROXY), ("http_proxy", "http://nowhere.invalid")];
    let lines = with("encrypted_requests_go_through_a_tunnel", &variables);
    assert!(lines.len() >= 2 && lines.iter().all(|line| line.starts_with("CONNECT 127.0.0.1:")), "{lines:?}");
}

#[test]
fn no_proxy_names_hosts_without_one() {
    if child::directory().is_some() {
        return delivers(None);
    }
    let variables = [("ALL_PROXY", PROXY), ("NO_PROXY", "example.com,127.0.0.0/8")];
    assert_eq!(with("no_proxy_names_hosts_without_one", &variables), [""; 0]);
}

#[test]
fn a_proxy_that_refuses_is_told_of() {
    if child::directory().is_none() {
        let lines = with("a_proxy_that_refuses_is_told_of", &[("ALL_PROXY", "http://me:wrong@")]);
        return assert!(lines.len() >= 2, "{lines:?}");
    }
    child::block_on(async {
        for (protocol, reason) in PROTOCOLS.into_iter().zip(["proxy authorization required", "407"]) {
            let (receiver, closed) = (Receiver::default(), Closed::new());
            let exporter = Exporter::start(Signal::Logs, &config(protocol, &closed));
            receiver.serve(protocol, closed);
            exporter.send(sample::lifecycles(5));
            exporter.becomes(|state| state.failing).await;
            let why = exporter.health.state().last_failure.expect("a reason").why;
            assert!(why.contains(reason) && !why.contains("wrong") && !why.contains("Basic"), "{why}");
            exporter.give_up.cancel();
            assert_eq!(lost(&exporter.finish().await, ""), 10.0);
            assert_eq!(receiver.see(|received| received.requests), 0);
        }
    });
}
