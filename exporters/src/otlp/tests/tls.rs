//! Encrypted connections: trusted by the system's certificates, and by nothing else.

use std::{path::Path, process::Command, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    delivery::{Exporter, PROTOCOLS, config, lost},
    receiver::{Closed, Receiver},
    sample,
};
use crate::otlp::{OtlpConfig, Signal, config::Protocol};

/// Where the second process, which trusts the certificate, finds it.
const DIRECTORY: &str = "TRIGON_TEST_TLS";

/// The system's certificates are chosen by an environment variable, which must not change under other tests: this
/// test runs itself again in a process of its own.
#[test]
fn an_endpoint_is_trusted_by_the_systems_certificates_only() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return block_on(delivers(Path::new(&directory), true));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let certificate = directory.path().join("cert.pem");
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).expect("a file");

    block_on(delivers(directory.path(), false));

    let (_, module) = module_path!().split_once("::").expect("a crate's name");
    let name = format!("{module}::an_endpoint_is_trusted_by_the_systems_certificates_only");
    let again = Command::new(std::env::current_exe().expect("this test's binary"))
        .args(["--exact", &name])
        .env(DIRECTORY, directory.path())
        .env("SSL_CERT_FILE", &certificate)
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

async fn delivers(directory: &Path, trusted: bool) {
    for protocol in PROTOCOLS {
        let (receiver, plain, outside) = (Receiver::default(), Closed::new(), Closed::new());
        let endpoint = format!("https://{}", outside.address);
        let exporter = Exporter::start(Signal::Logs, &OtlpConfig { endpoint, ..config(protocol, &outside) });
        tokio::spawn(terminate(outside.listen(), acceptor(directory, protocol), plain.address));
        receiver.serve(protocol, plain);
        exporter.send(sample::lifecycles(5));
        if !trusted {
            exporter.reaches("trigon_export_retries_total", 2.0).await;
            exporter.give_up.cancel();
        }
        let registry = exporter.finish().await;
        let expected = if trusted { (10, 0.0) } else { (0, 10.0) };
        assert_eq!(
            (receiver.see(|received| received.logs.len()), lost(&registry, "")),
            expected,
            "{protocol:?}"
        );
    }
}

fn acceptor(directory: &Path, protocol: Protocol) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(directory.join("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a matching key");
    let spoken = if protocol == Protocol::Grpc { "h2" } else { "http/1.1" };
    config.alpn_protocols = vec![spoken.into()];
    TlsAcceptor::from(Arc::new(config))
}

/// Takes encrypted connections and passes what they carry on in plain.
async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, to: std::net::SocketAddr) {
    while let Ok((connection, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that doesn't trust the certificate ends here.
            let Ok(mut encrypted) = acceptor.accept(connection).await else { return };
            let mut plain = TcpStream::connect(to).await.expect("the receiver");
            let _ = tokio::io::copy_bidirectional(&mut encrypted, &mut plain).await;
        });
    }
}
