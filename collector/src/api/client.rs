//! The client: what `trigon policy` asks the agent on this machine.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use axum::body::{self, Body};
use futures_util::TryStreamExt as _;
use http::{
    Method, Request, StatusCode,
    header::{HOST, SERVER},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::{io::AsyncRead, net::UnixStream, task::JoinHandle};
use tokio_util::io::StreamReader;
use tracing::warn;

use super::{
    Added, PolicyList, PolicyStatus, Problem, VERSION, events::EventsQuery, processes::ProcessList,
    status::Status, traces::TraceStatus, tries::TryReport,
};
use crate::policy::model::Mode;

/// Asks the agent that listens on a socket. Each question is a connection.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// There is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no agent runs here: cannot connect to {}: {source}. Start one (trigon run), or say where it listens with --socket",
        socket.display()
    )]
    NotRunning {
        /// Where.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket isn't open to this user.
    #[error("not permitted to use {}: {reason}. Run this as root, or as the agent's own user", socket.display())]
    NotPermitted {
        /// Where.
        socket: PathBuf,
        /// What the system, or the agent, said.
        reason: String,
    },
    /// The agent ends, or is no agent.
    #[error("the agent on {} gave no answer: {reason}", socket.display())]
    NoAnswer {
        /// Where.
        socket: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The agent refuses it.
    #[error("{}", problem.error)]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Why.
        problem: Box<Problem>,
    },
}

/// Bytes of an answer that are read: statuses of far more policies than there can be.
const ANSWER_BYTES: usize = 64 << 20;

// === impl Client ===

impl Client {
    /// Of the agent that listens on `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// How it stands with all policies.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn policies(&self) -> Result<PolicyList, ClientError> {
        self.ask(Method::GET, "/v1/policies", Vec::new()).await
    }

    /// How the agent does.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/v1/status", Vec::new()).await
    }

    /// The process table.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn processes(&self) -> Result<ProcessList, ClientError> {
        self.ask(Method::GET, "/v1/processes", Vec::new()).await
    }

    /// A trace, by its id or by that of an execution or a process.
    ///
    /// # Errors
    /// There is no answer, or nothing is known of such a trace.
    pub async fn trace(&self, id: &str) -> Result<TraceStatus, ClientError> {
        let path = format!("/v1/traces/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        self.ask(Method::GET, &path, Vec::new()).await
    }

    /// Events as they come, a line of JSON each. The agent's end ends them.
    ///
    /// # Errors
    /// There is no answer, or the filter means nothing.
    pub async fn events(&self, query: &EventsQuery) -> Result<impl AsyncRead + Send + use<>, ClientError> {
        let EventsQuery { since_start, filter } = query;
        let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
        let path = format!("/v1/events?since_start={since_start}&filter={filter}");
        let (body, _) = self.request(Method::GET, &path, Vec::new()).await?;
        let pieces = body.into_data_stream().map_err(io::Error::other);
        Ok(StreamReader::new(Box::pin(pieces)))
    }

    /// Loads the policies in a text, in a mode of their own or in this one.
    ///
    /// # Errors
    /// There is no answer, or the text is wrong.
    pub async fn add(&self, text: Vec<u8>, mode: Option<Mode>) -> Result<Added, ClientError> {
        let query = mode.map(|mode| format!("?mode={}", mode.as_str())).unwrap_or_default();
        self.ask(Method::POST, &format!("/v1/policies{query}"), text).await
    }

    /// Has a policy do what it says, or only tell what it would have done.
    ///
    /// # Errors
    /// There is no answer, or no such policy, or nothing that it could do.
    pub async fn set_mode(&self, name: &str, mode: Mode) -> Result<PolicyStatus, ClientError> {
        self.ask(Method::POST, &path(name, &format!("/{}", mode.as_str())), Vec::new()).await
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// There is no answer, or no such policy.
    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        self.send(Method::DELETE, &path(name, ""), Vec::new()).await.map(|_| ())
    }

    /// Puts a policy in force or out of it.
    ///
    /// # Errors
    /// There is no answer, or no such policy, or the kernel refuses it.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<PolicyStatus, ClientError> {
        let action = if enabled { "/enable" } else { "/disable" };
        self.ask(Method::POST, &path(name, action), Vec::new()).await
    }

    /// Has policies counted for a time what they would do, and nothing done.
    ///
    /// # Errors
    /// There is no answer, or the text is wrong, or the kernel refuses it.
    pub async fn try_policies(&self, text: Vec<u8>, time: Duration) -> Result<TryReport, ClientError> {
        self.ask(Method::POST, &format!("/v1/tries?milliseconds={}", time.as_millis()), text).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let answer = self.send(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|error| self.no_answer(&error))
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<body::Bytes, ClientError> {
        let (answer, connection) = self.request(method, path, body).await?;
        let bytes = body::to_bytes(answer, ANSWER_BYTES).await.map_err(|error| self.no_answer(&error))?;
        connection.abort();
        Ok(bytes)
    }

    /// The body of an answer that is no problem, and the task that carries it.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(Body, JoinHandle<hyper::Result<()>>), ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| self.not_connected(source))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.no_answer(&error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(HOST, "trigon");
        let request = request.body(Body::from(body)).map_err(|error| self.no_answer(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| self.no_answer(&error))?;
        let version = answer.headers().get(SERVER).and_then(|server| server.to_str().ok());
        if let Some(other) = version.and_then(|server| server.strip_prefix("trigon/"))
            && other != VERSION
        {
            warn!("the agent is of version {other}, this is {VERSION}");
        }
        let status = answer.status();
        let body = Body::new(answer.into_body());
        if status.is_success() {
            return Ok((body, connection));
        }
        let bytes = body::to_bytes(body, ANSWER_BYTES).await.map_err(|error| self.no_answer(&error))?;
        let problem: Problem = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Problem::new(format_args!("it answered {status}")));
        if status == StatusCode::FORBIDDEN {
            return Err(ClientError::NotPermitted { socket: self.socket.clone(), reason: problem.error });
        }
        Err(ClientError::Refused { status, problem: Box::new(problem) })
    }

    fn not_connected(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::PermissionDenied => {
                ClientError::NotPermitted { socket, reason: source.to_string() }
            }
            _ => ClientError::NotRunning { socket, source },
        }
    }

    fn no_answer(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::NoAnswer { socket: self.socket.clone(), reason: error.to_string() }
    }
}

fn path(name: &str, action: &str) -> String {
    format!("/v1/policies/{}{action}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

// === impl ClientError ===

impl ClientError {
    /// The program's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NotRunning { .. } | Self::NoAnswer { .. } => 8,
            Self::NotPermitted { .. } => 4,
            Self::Refused { status, .. } if *status == StatusCode::UNPROCESSABLE_ENTITY => 3,
            Self::Refused { status, .. } if *status == StatusCode::PAYLOAD_TOO_LARGE => 3,
            Self::Refused { status, .. } if *status == StatusCode::INTERNAL_SERVER_ERROR => 7,
            Self::Refused { .. } => 1,
        })
    }
}
