//! What encrypted connections trust, and what they prove who they are with.

use std::path::{Path, PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::files::{Access, Contents, FileError};

/// Files in PEM, read when a connection is prepared and again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that the endpoint is trusted by, in place of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that the agent shows, with those between it and an authority, and its private key.
    pub client: Option<ClientFiles>,
}

/// The agent's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate, its own first.
    pub certificate: PathBuf,
    /// The private key; refused where others can read it.
    pub key: PathBuf,
}

/// What the files hold, checked and still in PEM.
pub(super) struct Credentials<'a> {
    ca: Option<&'a [u8]>,
    /// Certificate and key.
    client: Option<(&'a [u8], &'a [u8])>,
}

// === impl TlsFiles ===

impl TlsFiles {
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Access)> {
        let ca = self.ca.iter().map(|ca| (&**ca, Access::Public));
        ca.chain(
            self.client
                .iter()
                .flat_map(|client| [(&*client.certificate, Access::Public), (&*client.key, Access::Secret)]),
        )
    }

    /// Finds what is wrong with the files before a connection does, whose words for it are fewer.
    pub(super) fn credentials<'a>(&self, contents: &'a Contents) -> Result<Credentials<'a>, FileError> {
        let ca = self.ca.as_deref().map(|path| authorities(path, contents.of(path))).transpose()?;
        let client = self.client.as_ref().map(|files| client(files, contents)).transpose()?;
        Ok(Credentials { ca, client })
    }
}

fn authorities<'a>(path: &Path, pem: &'a [u8]) -> Result<&'a [u8], FileError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        store.add(certificate).map_err(|error| FileError::content(path, error.to_string()))?;
    }
    Ok(pem)
}

fn client<'a>(files: &ClientFiles, contents: &'a Contents) -> Result<(&'a [u8], &'a [u8]), FileError> {
    let ClientFiles { certificate, key } = files;
    let (chain, secret) = (contents.of(certificate), contents.of(key));
    let parsed = PrivateKeyDer::from_pem_slice(secret)
        .map_err(|_| FileError::content(key, "it has no private key in PEM, or an encrypted one"))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(certificates(certificate, chain)?, parsed, &provider).map_err(|error| {
        FileError::content(key, format!("it is not the key of {}: {error}", certificate.display()))
    })?;
    Ok((chain, secret))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(FileError::content(path, "it has no certificate in PEM, or a damaged one")),
    }
}

// === impl Credentials ===

impl Credentials<'_> {
    /// For gRPC.
    pub(super) fn tonic(&self) -> ClientTlsConfig {
        let config = match self.ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match self.client {
            Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
            None => config,
        }
    }

    /// For HTTP.
    pub(super) fn reqwest(
        &self,
        mut builder: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        if let Some(ca) = self.ca {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(ca)?);
        }
        if let Some((certificate, key)) = self.client {
            builder = builder.identity(reqwest::Identity::from_pem(&[certificate, b"\n", key].concat())?);
        }
        Ok(builder)
    }
}
