//! Encrypted connections: what is trusted, what is not and why, who the agent says it is, and files that are replaced
//! while it runs.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    child,
    delivery::{Exporter, PROTOCOLS, config, lost},
    receiver::{Closed, Receiver},
    sample,
};
use crate::{
    compression::Compression,
    otlp::{
        Destination, OtlpConfig, Signal,
        config::{Headers, Protocol, TlsConfig},
    },
};

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// The agent's files.
struct Files(tempfile::TempDir);

/// What takes encrypted connections and passes what they carry on in plain.
#[derive(Clone)]
struct Terminator(Arc<Mutex<Arc<ServerConfig>>>);

/// A receiver behind a terminator.
struct Server {
    receiver: Receiver,
    terminator: Terminator,
    config: OtlpConfig,
    protocol: Protocol,
}

// === impl Authority ===

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        // Its own name: of two of the same name the wrong one would be tried.
        params.distinguished_name.push(DnType::CommonName, format!("{:?}", key.public_key_raw()));
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        Arc::new(roots)
    }
}

// === impl Pair ===

impl Pair {
    fn read(directory: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(directory.join(name)).expect("a file");
        Self { certificate: read("cert.pem"), key: read("key.pem") }
    }
}

// === impl Files ===

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces the file in one step, as whoever renews certificates does.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let new = self.path("new");
        fs::write(&new, content).expect("a file");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::rename(new, self.path(name)).expect("another name");
        self.path(name)
    }

    fn trust(&self, authority: &Authority) -> TlsConfig {
        TlsConfig { ca_file: self.write("ca.pem", &authority.0.pem()), ..TlsConfig::default() }
    }

    fn show(&self, tls: TlsConfig, pair: &Pair) -> TlsConfig {
        let cert_file = self.write("cert.pem", &pair.certificate);
        TlsConfig { cert_file, key_file: self.write("key.pem", &pair.key), ..tls }
    }
}

// === impl Terminator ===

impl Terminator {
    fn new(protocol: Protocol, pair: &Pair, clients: Option<&Authority>) -> Self {
        Self(Arc::new(Mutex::new(server_config(protocol, pair, clients))))
    }

    fn serve(&self, protocol: Protocol, receiver: &Receiver, outside: Closed) {
        let plain = Closed::new();
        tokio::spawn(self.clone().run(outside.listen(), plain.address));
        receiver.serve(protocol, plain);
    }

    async fn run(self, listener: TcpListener, to: SocketAddr) {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&self.0.lock().expect("no panic")));
            tokio::spawn(async move {
                // A client that doesn't trust the certificate, or isn't trusted, ends here.
                let Ok(mut encrypted) = acceptor.accept(connection).await else { return };
                let mut plain = TcpStream::connect(to).await.expect("the receiver");
                let _ = tokio::io::copy_bidirectional(&mut encrypted, &mut plain).await;
            });
        }
    }
}

fn server_config(protocol: Protocol, pair: &Pair, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build().expect("roots"),
        ),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![certificate], key).expect("a matching key");
    let spoken = if protocol == Protocol::Grpc { "h2" } else { "http/1.1" };
    config.alpn_protocols = vec![spoken.into()];
    Arc::new(config)
}

// === impl Server ===

impl Server {
    fn start(protocol: Protocol, pair: &Pair, clients: Option<&Authority>, tls: TlsConfig) -> Self {
        let (receiver, outside) = (Receiver::default(), Closed::new());
        let endpoint = format!("https://{}", outside.address);
        let config = OtlpConfig { endpoint, tls, ..config(protocol, &outside) };
        let terminator = Terminator::new(protocol, pair, clients);
        terminator.serve(protocol, &receiver, outside);
        Self { receiver, terminator, config, protocol }
    }

    /// From the next connection on.
    fn change(&self, pair: &Pair, clients: Option<&Authority>) {
        *self.terminator.0.lock().expect("no panic") = server_config(self.protocol, pair, clients);
    }

    /// Everything arrives.
    async fn takes(&self) {
        let exporter = Exporter::start(Signal::Logs, &self.config);
        exporter.send(sample::lifecycles(5));
        let (health, registry) = (exporter.health.clone(), exporter.finish().await);
        assert_eq!((self.arrived(), lost(&registry, "")), (10, 0.0), "{:?}", self.protocol);
        assert!(!health.state().failing);
    }

    /// Nothing arrives, and it is known why.
    async fn refuses(&self, reasons: &[&str]) {
        let exporter = Exporter::start(Signal::Logs, &self.config);
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_retries_total", 2.0).await;
        let state = exporter.health.state();
        let why = state.last_failure.expect("a failure").why;
        assert!(reasons.iter().any(|reason| why.contains(reason)), "{:?}: {why}", self.protocol);
        assert!(state.failing && state.last_success.is_none());
        exporter.give_up.cancel();
        let registry = exporter.finish().await;
        assert_eq!((self.arrived(), lost(&registry, "spool shutdown otlp_logs")), (0, 10.0));
    }

    fn arrived(&self) -> usize {
        self.receiver.see(|received| received.logs.len())
    }
}

/// The system's certificates are chosen by an environment variable, which must not change under other tests.
#[test]
fn an_endpoint_is_trusted_by_the_systems_certificates_only() {
    let name = "an_endpoint_is_trusted_by_the_systems_certificates_only";
    if let Some(directory) = child::directory() {
        return child::block_on(delivers(&directory, true));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let certificate = certificate(directory.path());
    child::block_on(delivers(directory.path(), false));
    child::run(module_path!(), name, directory.path(), |process: &mut Command| {
        process.env("SSL_CERT_FILE", &certificate);
    });
}

/// Serves with the certificate and the key in a directory.
pub(super) fn serve(protocol: Protocol, directory: &Path, receiver: &Receiver, outside: Closed) {
    Terminator::new(protocol, &Pair::read(directory), None).serve(protocol, receiver, outside);
}

/// Puts a self-signed certificate and its key in a directory.
pub(super) fn certificate(directory: &Path) -> PathBuf {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let certificate = directory.join("cert.pem");
    fs::write(&certificate, made.cert.pem()).expect("a file");
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
    certificate
}

async fn delivers(directory: &Path, trusted: bool) {
    for protocol in PROTOCOLS {
        let server = Server::start(protocol, &Pair::read(directory), None, TlsConfig::default());
        match trusted {
            true => server.takes().await,
            false => server.refuses(&["UnknownIssuer"]).await,
        }
    }
}

#[tokio::test]
async fn an_authority_is_trusted_and_no_other() {
    let (authority, other, files) = (Authority::new(), Authority::new(), Files::new());
    let tls = files.trust(&authority);
    for protocol in PROTOCOLS {
        let good = authority.issue(|_| ());
        Server::start(protocol, &good, None, tls.clone()).takes().await;
        let of_another = other.issue(|_| ());
        Server::start(protocol, &of_another, None, tls.clone()).refuses(&["UnknownIssuer"]).await;
    }
}

#[tokio::test]
async fn a_certificate_that_expired_or_has_another_name_is_refused() {
    let (authority, files) = (Authority::new(), Files::new());
    let tls = files.trust(&authority);
    for protocol in PROTOCOLS {
        let expired = authority.issue(|params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        });
        Server::start(protocol, &expired, None, tls.clone()).refuses(&["expired"]).await;
        let named = authority.issue(|params| {
            *params = CertificateParams::new(["collector.example".to_owned()]).expect("parameters");
        });
        Server::start(protocol, &named, None, tls.clone()).refuses(&["collector.example"]).await;
    }
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let (authority, other, files) = (Authority::new(), Authority::new(), Files::new());
    let server = authority.issue(|_| ());
    let (own, foreign) = (authority.issue(|_| ()), other.issue(|_| ()));
    for protocol in PROTOCOLS {
        let tls = files.trust(&authority);
        let start = |tls| Server::start(protocol, &server, Some(&authority), tls);
        start(tls.clone()).refuses(&["CertificateRequired"]).await;
        start(files.show(tls.clone(), &own)).takes().await;
        start(files.show(tls, &foreign)).refuses(&["UnknownCA", "DecryptError"]).await;
    }
}

#[tokio::test]
async fn files_that_are_replaced_take_effect_while_the_agent_runs() {
    for protocol in PROTOCOLS {
        let (old, new, files) = (Authority::new(), Authority::new(), Files::new());
        let tls = files.show(files.trust(&old), &old.issue(|_| ()));
        let server = Server::start(protocol, &new.issue(|_| ()), Some(&new), tls);
        let exporter = Exporter::start(Signal::Logs, &server.config);
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_retries_total", 2.0).await;
        assert!(exporter.health.state().last_failure.expect("a failure").why.contains("UnknownIssuer"));

        // One after another: between the steps certificate and key don't belong together.
        let pair = new.issue(|_| ());
        files.trust(&new);
        files.write("cert.pem", &pair.certificate);
        exporter.reaches("trigon_export_retries_total", 4.0).await;
        files.write("key.pem", &pair.key);
        exporter.reaches("trigon_export_records_total", 10.0).await;
        assert!(!exporter.health.state().failing);
        assert_eq!((lost(&exporter.finish().await, ""), server.arrived()), (0.0, 10));
    }
}

#[tokio::test]
async fn a_broken_file_leaves_the_connection_as_it_was_and_is_told_of() {
    for protocol in PROTOCOLS {
        let (authority, files) = (Authority::new(), Files::new());
        let server = Server::start(protocol, &authority.issue(|_| ()), None, files.trust(&authority));
        let exporter = Exporter::start(Signal::Logs, &server.config);
        files.write("ca.pem", "not a certificate");
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_records_total", 10.0).await;
        exporter.becomes(|state| state.failing).await;
        let state = exporter.health.state();
        let why = state.last_failure.expect("a failure").why;
        assert!(why.contains("ca.pem") && why.contains("no certificate"), "{why}");
        assert!(state.last_success.is_some());

        files.trust(&authority);
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_records_total", 20.0).await;
        exporter.becomes(|state| !state.failing).await;
        assert_eq!((lost(&exporter.finish().await, ""), server.arrived()), (0.0, 20));
    }
}

#[tokio::test]
async fn a_server_that_gets_another_authority_is_followed() {
    for protocol in PROTOCOLS {
        let (old, new, files) = (Authority::new(), Authority::new(), Files::new());
        let server = Server::start(protocol, &old.issue(|_| ()), None, files.trust(&old));
        let exporter = Exporter::start(Signal::Spans, &server.config);
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_records_total", 5.0).await;
        server.change(&new.issue(|_| ()), None);
        files.trust(&new);
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_records_total", 10.0).await;
        assert_eq!(lost(&exporter.finish().await, ""), 0.0);
    }
}

/// The endpoint says whether it is encrypted; a gRPC endpoint that doesn't is, unless told otherwise.
#[tokio::test]
async fn insecure_is_for_grpc_without_a_scheme() {
    let (receiver, closed) = (Receiver::default(), Closed::new());
    let tls = TlsConfig { insecure: true, ca_file: "/nowhere".into(), ..TlsConfig::default() };
    let endpoint = closed.address.to_string();
    let config = OtlpConfig { endpoint, tls, ..config(Protocol::Grpc, &closed) };
    let exporter = Exporter::start(Signal::Logs, &config);
    receiver.serve(Protocol::Grpc, closed);
    exporter.send(sample::lifecycles(5));
    assert_eq!(lost(&exporter.finish().await, ""), 0.0);
    assert_eq!(receiver.see(|received| received.logs.len()), 10);
}

/// At the start a file that can't be used stops the agent, with words that help.
#[tokio::test]
async fn files_of_no_use_are_named_at_the_start() {
    let (authority, files) = (Authority::new(), Files::new());
    let tls = files.show(files.trust(&authority), &authority.issue(|_| ()));
    let token = files.write("token", "secret");
    let inside = Headers([("authorization".to_owned(), format!("${{file:{}}}", token.display()))].into());
    let good = OtlpConfig { endpoint: "https://c".into(), tls, ..OtlpConfig::default() };
    let open = |name: &str| {
        let path = files.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        path
    };
    let other_key = files.write("other.pem", &authority.issue(|_| ()).key);
    let no_pem = files.write("no.pem", "secret");
    for protocol in PROTOCOLS {
        let good = OtlpConfig { protocol, compression: Compression::Zstd, ..good.clone() };
        let check = |change: &dyn Fn(&mut OtlpConfig)| {
            let mut config = good.clone();
            change(&mut config);
            let all = Destination::all(&[config], &|_| None, None).expect("usable");
            all[0].settings.check(Signal::Logs).map_err(|error| error.to_string())
        };
        fs::set_permissions(files.path("key.pem"), fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("a mode");
        assert_eq!(check(&|config| config.headers = inside.clone()), Ok(()));
        let with = |change: &dyn Fn(&mut OtlpConfig), words: [&str; 2]| {
            let error = check(change).expect_err("refused");
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
            assert!(!error.contains("secret") || words.contains(&"holds a secret"), "{error}");
        };
        with(&|config| config.tls.ca_file = "/nowhere".into(), ["/nowhere", "No such file"]);
        with(&|config| config.tls.ca_file = no_pem.clone(), ["no.pem", "no certificate in PEM"]);
        with(&|config| config.tls.cert_file = no_pem.clone(), ["no.pem", "no certificate in PEM"]);
        with(&|config| config.tls.key_file = no_pem.clone(), ["no.pem", "no private key in PEM"]);
        with(&|config| config.tls.key_file = other_key.clone(), ["other.pem", "not the key of"]);
        with(&|config| config.tls.key_file = open("key.pem"), ["chmod 600", "holds a secret"]);
        fs::set_permissions(files.path("key.pem"), fs::Permissions::from_mode(0o600)).expect("a mode");
        open("token");
        with(&|config| config.headers = inside.clone(), ["chmod 600", "holds a secret"]);
        with(&|config| config.headers_file = token.clone(), ["chmod 600", "holds a secret"]);
    }
}

#[tokio::test]
async fn a_token_that_is_replaced_goes_with_the_next_request() {
    for protocol in PROTOCOLS {
        let (receiver, closed, files) = (Receiver::default(), Closed::new(), Files::new());
        let token = files.write("token", "first\n");
        let lines = files.write("headers", "x-tenant: a\n");
        let value = format!("Bearer ${{file:{}}}", token.display());
        let headers = Headers([("authorization".to_owned(), value)].into());
        let config = OtlpConfig { headers, headers_file: lines, ..config(protocol, &closed) };
        let exporter = Exporter::start(Signal::Logs, &config);
        receiver.serve(protocol, closed);
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_records_total", 10.0).await;
        files.write("token", "second\n");
        files.write("headers", "x-tenant: b\n");
        exporter.send(sample::lifecycles(5));
        assert_eq!(lost(&exporter.finish().await, ""), 0.0);
        let seen = receiver.see(|received| {
            let pair = |headers: &http::HeaderMap| {
                ["authorization", "x-tenant"].map(|name| headers[name].to_str().expect("text").to_owned())
            };
            received.headers.iter().map(pair).collect::<Vec<_>>()
        });
        assert_eq!(seen.first().expect("a request"), &["Bearer first", "a"]);
        assert_eq!(seen.last().expect("a request"), &["Bearer second", "b"]);
    }
}
