//! The connection to an endpoint, over either protocol, and what came of a request.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;

use super::{
    Signal,
    config::Protocol,
    files::{Access, Contents},
    grpc::GrpcClient,
    http::{self, HttpClient},
    settings::Settings,
};

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The protocol's word for it: an HTTP status, a gRPC code, `connect` or `timeout`.
    pub(super) code: String,
    pub(super) outcome: Outcome,
}

/// What a reply means for the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The endpoint has it, less `rejected` records, which must not be sent again.
    Accepted {
        /// As the endpoint says; not to be trusted.
        rejected: u64,
        /// Why, or a warning.
        message: String,
    },
    /// The same request may succeed later.
    Retry {
        /// How long the endpoint asks to wait.
        after: Option<Duration>,
        /// What went wrong.
        why: String,
    },
    /// The same request will never succeed.
    Permanent {
        /// What went wrong.
        reason: String,
    },
}

/// A connection that is made when it is needed, and made again when it was lost or a file that it was made with has
/// changed.
#[derive(Debug)]
pub(super) struct Client {
    method: &'static str,
    settings: Settings,
    connection: Connection,
    /// What the files of the settings held when the connection was prepared.
    contents: Contents,
    /// Why what they hold now can't be used.
    stale: Option<String>,
}

#[derive(Debug)]
enum Connection {
    Grpc(GrpcClient),
    Http(HttpClient),
}

/// A connection could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the OTLP connection to {endpoint}: {reason}")]
pub struct ClientError {
    /// The endpoint's URL.
    pub endpoint: String,
    /// What is wrong, such as that the system's certificates can't be read, or a file that the settings name.
    pub reason: String,
}

/// Bytes of a reply that are read: room for a message about every record of a batch, and no more.
pub(super) const MAX_REPLY: usize = 1 << 20;

/// Characters of a message from an endpoint that are kept.
const MAX_MESSAGE: usize = 300;

/// What requests say they come from.
pub(super) const USER_AGENT: &str = concat!("Trigon/", env!("CARGO_PKG_VERSION"));

// === impl Client ===

impl Client {
    /// Prepares a connection and doesn't make it yet.
    pub(super) fn new(signal: Signal, settings: &Settings) -> Result<Self, ClientError> {
        let failed = |reason| ClientError { endpoint: settings.endpoint.to_string(), reason };
        let contents = read(settings).map_err(failed)?;
        Self::with(signal.grpc_method(), settings, &contents).map_err(failed)
    }

    /// Prepares a connection for a method of gRPC, with what its files hold. Over HTTP the settings' URL says it all.
    pub(super) fn with(
        method: &'static str,
        settings: &Settings,
        contents: &Contents,
    ) -> Result<Self, String> {
        let connection = Connection::new(method, settings, contents)?;
        Ok(Self { method, settings: settings.clone(), connection, contents: contents.clone(), stale: None })
    }

    /// What is sent for a batch's body, made once however often it is sent.
    pub(super) fn prepare(&self, body: &Bytes) -> io::Result<Bytes> {
        match self.connection {
            // gRPC compresses a message where it frames it.
            Connection::Grpc(_) => Ok(body.clone()),
            Connection::Http(_) => http::compress(self.settings.compression, body),
        }
    }

    /// Prepares another connection where a file has changed. One that can't be used leaves everything as it was.
    pub(super) fn refresh(&mut self, exporter: &str) {
        let prepared = match read(&self.settings) {
            Ok(contents) if contents == self.contents => {
                self.stale = None;
                return;
            }
            Ok(contents) => Connection::new(self.method, &self.settings, &contents)
                .map(|connection| (connection, contents)),
            Err(why) => Err(why),
        };
        match prepared {
            Ok((connection, contents)) => {
                (self.connection, self.contents, self.stale) = (connection, contents, None);
                tracing::info!(exporter, "a file of the OTLP connection has changed: connecting anew");
            }
            Err(why) => {
                if self.stale.as_ref() != Some(&why) {
                    tracing::warn!(
                        exporter,
                        why,
                        "a changed file can't be used: the OTLP connection keeps what it had"
                    );
                }
                self.stale = Some(why);
            }
        }
    }

    /// Why the files can't be used that the connection is to be made with.
    pub(super) fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }

    /// Sends a prepared body and waits for the reply, no longer than the configured time.
    pub(super) async fn send(&self, prepared: &Bytes) -> Reply {
        match &self.connection {
            Connection::Grpc(client) => client.send(prepared).await,
            Connection::Http(client) => client.send(prepared).await,
        }
    }
}

/// Reads the files that the connection is made with: every time, since they are few and small, and the times and sizes
/// of files don't tell all changes.
pub(super) fn read(settings: &Settings) -> Result<Contents, String> {
    let encrypted = settings.endpoint.scheme() == "https";
    let tls = settings.tls.files().filter(|_| encrypted);
    let files: Vec<(&Path, Access)> = settings.headers.files().chain(tls).collect();
    Contents::read(files.into_iter()).map_err(|error| chain(&error))
}

// === impl Connection ===

impl Connection {
    fn new(method: &'static str, settings: &Settings, contents: &Contents) -> Result<Self, String> {
        match settings.protocol {
            Protocol::Grpc => GrpcClient::new(method, settings, contents).map(Self::Grpc),
            Protocol::HttpProtobuf => HttpClient::new(settings, contents).map(Self::Http),
        }
    }
}

// === impl Reply ===

impl Reply {
    pub(super) fn accepted(code: &str, rejected: i64, message: &str) -> Self {
        let rejected = u64::try_from(rejected).unwrap_or(0);
        Self { code: code.to_owned(), outcome: Outcome::Accepted { rejected, message: readable(message) } }
    }

    pub(super) fn retry(code: &str, after: Option<Duration>, why: &str) -> Self {
        Self { code: code.to_owned(), outcome: Outcome::Retry { after, why: readable(why) } }
    }

    pub(super) fn permanent(code: &str, reason: &str) -> Self {
        Self { code: code.to_owned(), outcome: Outcome::Permanent { reason: readable(reason) } }
    }
}

/// A message from the other side, cut and with control characters escaped: it goes to a log.
fn readable(message: &str) -> String {
    let escape = |character: char| match character.is_control() {
        true => character.escape_default().collect::<String>(),
        false => character.to_string(),
    };
    message.chars().take(MAX_MESSAGE).map(escape).collect()
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    // Many errors repeat their cause.
    texts.dedup_by(|cause, error| error.contains(cause.as_str()));
    texts.join(": ")
}
