//! The server's certificate, and the files by which clients find it.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// An authority, and the certificate that it gave the server.
pub(super) struct Identity {
    /// The authority's certificate, PEM.
    pub(super) authority: String,
    pub(super) acceptor: TlsAcceptor,
}

// === impl Identity ===

impl Identity {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "trigon-apiserver");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
        let certificate = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&key, &authority))
            .expect("a certificate");
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("the key");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the certificate fits the key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { authority: authority.pem(), acceptor: Arc::new(config).into() }
    }
}

/// A kubeconfig. The token is in it, or in a file that may change.
pub(super) fn kubeconfig(url: &str, authority: Option<&str>, user: &Value) -> Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut cluster = json!({"server": url});
    if let Some(authority) = authority {
        cluster["certificate-authority-data"] = STANDARD.encode(authority).into();
    }
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}],
    })
}

/// The files that a pod finds in `/var/run/secrets/kubernetes.io/serviceaccount`, and its environment.
pub(super) fn service_account(
    folder: &Path,
    token: &str,
    authority: Option<&str>,
    address: SocketAddr,
) -> Vec<(&'static str, String)> {
    fs::create_dir_all(folder).expect("make a folder");
    let files = [("token", token), ("ca.crt", authority.unwrap_or_default()), ("namespace", "default")];
    files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("write a file"));
    vec![
        ("KUBERNETES_SERVICE_HOST", address.ip().to_string()),
        ("KUBERNETES_SERVICE_PORT", address.port().to_string()),
    ]
}
