//! The agent: how the stages are put together, how they start, and how they stop.
//!
//! ```text
//! ring buffer ─► reader (decode, track, enrich) ─► router ─┬─► otlp logs  ─► endpoint
//!   kernel       a thread of its own                       ├─► otlp spans ─► endpoint
//!                                                          ├─► standard output, a thread of its own
//!                                                          └─► counters ◄── GET /metrics
//! ```
//!
//! It stops in the same direction: the reader takes what the ring buffer still holds, the queues end, and each way
//! out sends what it has until `limits.shutdown_timeout` is over.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use prometheus::Registry;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trigon_exporters::{
    health::Health,
    metrics::{AgentMetrics, EventMetrics, Loss, PolicyMetrics, Readiness, agent::register_queues, http},
    node::Node,
    otlp::ExportMetrics,
    sink::{self, QueueSender},
    stdout::{self, Format},
};
use trigon_probes::{
    lifecycle::{self, Kernel, Lifecycle, Options},
    ring::Stop,
};

use crate::{
    api::{
        server,
        socket::{Socket, SocketFile},
    },
    config::Effective,
    policy::{
        compile::Host,
        engine::Types,
        manager::{Handle, Manager, Parts, watch},
        model::Policy,
    },
    router::Router,
    tracker::{Tracker, bootstrap, clock::Clock},
};

mod error;
mod kernel_loss;
mod reader;

pub use error::AgentError;

/// What is done for the ways out, so that it can be waited for.
#[derive(Debug, Default)]
struct WaysOut {
    queues: Vec<QueueSender>,
    depths: Vec<(String, sink::Depth)>,
    tasks: Vec<(String, JoinHandle<()>)>,
}

/// Runs the agent until SIGTERM or SIGINT; `format` is that of standard output, none for silence. The policies are
/// loaded at the start, each from its file.
///
/// # Errors
/// Says what stopped it, and what to do.
pub fn run(
    settings: &Effective,
    format: Option<Format>,
    policies: Vec<(PathBuf, Policy)>,
) -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("trigon-io")
        .enable_all()
        .build()
        .map_err(|source| AgentError::System { what: "start the runtime", source })?;
    // From here on a signal is heard: one that comes while the agent starts stops it as soon as it has.
    let signals = Signals::listen(&runtime)?;
    // First what a person gets wrong most easily, then what takes time.
    let listener = runtime.block_on(http::bind(settings.config.metrics.addr))?;
    let agent = Agent::start(&runtime, settings, format, listener, policies)?;
    runtime.block_on(agent.until_stopped(settings.config.limits.shutdown_timeout, signals))
}

/// What tells the agent to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    fn listen(runtime: &Runtime) -> Result<Self, AgentError> {
        let _inside = runtime.enter();
        let on =
            |kind| signal(kind).map_err(|source| AgentError::System { what: "listen for signals", source });
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }
}

/// An agent that runs.
struct Agent {
    reader: reader::Thread,
    stop: Stop,
    reader_ended: tokio::sync::oneshot::Receiver<()>,
    ways_out: Vec<(String, JoinHandle<()>)>,
    self_metrics: Option<JoinHandle<()>>,
    give_up: CancellationToken,
    readiness: Arc<Readiness>,
    policies: Handle,
    no_requests: CancellationToken,
    _socket: Option<SocketFile>,
}

// === impl Agent ===

impl Agent {
    fn start(
        runtime: &Runtime,
        settings: &Effective,
        format: Option<Format>,
        listener: TcpListener,
        policies: Vec<(PathBuf, Policy)>,
    ) -> Result<Self, AgentError> {
        let kernel = Kernel::read()?;
        let limits = &settings.config.limits;
        let registry = Registry::new();
        let metrics = AgentMetrics::register(&registry, env!("CARGO_PKG_VERSION"))?;
        let loss = Loss::register(&registry)?;
        let readiness = Arc::new(Readiness::waiting("attaching to the kernel"));
        let give_up = CancellationToken::new();
        serve(runtime, listener, registry.clone(), Arc::clone(&readiness), give_up.clone());

        let options = Options {
            ring_bytes: limits.ring_buffer(),
            args_bytes: limits.args_bytes,
            join_env: settings.config.trace.join_env,
            mechanism: lifecycle::Mechanism::Best,
        };
        // Attached first, read then: what happens meanwhile waits in the ring buffer.
        let (lifecycle, ring) = Lifecycle::attach(&options, &kernel)?;
        for attached in lifecycle.attached() {
            info!(hook = attached.hook, mechanism = attached.mechanism, "attached");
        }
        let socket = &settings.config.api.socket;
        let socket = match socket.as_os_str().is_empty() {
            true => None,
            false => Some(runtime.block_on(Socket::bind(socket))?),
        };
        let mut tracker = Tracker::new(settings.tracker(), Clock::new());
        let state_file = &settings.config.process_table.state_file;
        if !state_file.as_os_str().is_empty() {
            match tracker.take_over(state_file) {
                Ok(known) => info!(processes = known, "took over what an agent before this one knew"),
                Err(error) => warn!("{error}"),
            }
        }
        let found = bootstrap::run(&mut tracker, &kernel, limits.args_bytes as usize)
            .map_err(|source| AgentError::Bootstrap(Box::new(source)))?;
        info!(processes = found.found, inexact = found.inexact, gone = found.gone, "read what runs already");

        let host = Host { namespaces: found.host };
        let parts = Parts { shared: lifecycle.shared(), host, sources: tracker.sources() };
        let manager = Manager::new(parts, Types::from(kernel), PolicyMetrics::register(&registry)?);
        let directory = &settings.config.policy.dir;
        let policies = load(manager, policies, directory)?;
        let declared = settings.resource.clone();
        let node = Node { declared, ..Node::detect(settings.node.clone(), settings.kubernetes) };
        let node = Arc::new(node);
        let self_metrics = match &settings.self_metrics {
            Some(push) => {
                let _inside = runtime.enter();
                let (series, stop) = (settings.config.metrics.max_series, give_up.clone());
                Some(push.start(registry.clone(), series, &node, Health::default(), stop)?)
            }
            None => None,
        };
        let mut ways_out = WaysOut::default();
        ways_out.add_otlp(runtime, settings, &node, &registry, &loss, &give_up)?;
        if let Some(format) = format {
            let context = stdout::Context { node: settings.node.clone(), host_namespaces: found.host };
            ways_out.add_stdout(runtime, format, context, limits.stdout_queue_events, &loss)?;
        }
        register_queues(&registry, ways_out.depths)?;
        let router =
            Router::new(EventMetrics::register(&registry, &settings.config.metrics)?, ways_out.queues);

        metrics.ring_capacity.set(i64::from(limits.ring_buffer()));
        metrics.table_capacity.set(i64::try_from(settings.config.process_table.capacity).unwrap_or(i64::MAX));
        let stop = ring.stop();
        let reader = reader::Reader::new(ring, lifecycle, tracker, router, metrics, &loss, state_file);
        let (reader, reader_ended) = reader.spawn()?;
        runtime.spawn(policies.clone().keep_house());
        let no_requests = CancellationToken::new();
        if !directory.as_os_str().is_empty() {
            watch::spawn(directory.clone(), policies.clone())
                .map_err(|source| AgentError::System { what: "start a thread", source })?;
        }
        let socket = socket.map(|Socket { listener, file }| {
            let stop = no_requests.clone().cancelled_owned();
            runtime.spawn(server::serve(listener, policies.clone(), stop));
            file
        });
        readiness.set_ready();
        Ok(Self {
            reader,
            stop,
            reader_ended,
            ways_out: ways_out.tasks,
            self_metrics,
            give_up,
            readiness,
            policies,
            no_requests,
            _socket: socket,
        })
    }

    /// Waits for a signal, or for the reader's end, and stops everything in order.
    async fn until_stopped(self, patience: Duration, mut signals: Signals) -> Result<(), AgentError> {
        let mut reader_ended = self.reader_ended;
        tokio::select! {
            _ = signals.terminate.recv() => info!("told to stop by SIGTERM"),
            _ = signals.interrupt.recv() => info!("told to stop by SIGINT"),
            _ = &mut reader_ended => warn!("the reader ended by itself"),
        }
        self.readiness.set_waiting("stopping");
        self.no_requests.cancel();
        // First the hooks: under a flood of them the reader would come to no end.
        if timeout(patience, self.policies.stop()).await.is_err() {
            warn!("a policy is being loaded; its hooks go with the agent");
        }
        self.stop.stop();
        let drained = async {
            // It drops the queues, and with that the ways out come to their end.
            let _ = reader_ended.await;
            for (name, task) in self.ways_out {
                if let Err(error) = task.await {
                    warn!(exporter = name, %error, "a way out ended early");
                }
            }
        };
        let mut drained = std::pin::pin!(drained);
        if timeout(patience, &mut drained).await.is_err() {
            warn!(?patience, "limits.shutdown_timeout is over; what was not sent by now is lost and counted");
            self.give_up.cancel();
            // They count what is left, and that takes no time.
            let _ = timeout(Duration::from_secs(2), drained).await;
        }
        self.give_up.cancel();
        if let Some(pushing) = self.self_metrics {
            // Once more, with what was counted at the end.
            let _ = timeout(Duration::from_secs(2), pushing).await;
        }
        match self.reader.join() {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(AgentError::Panic),
        }
    }
}

/// Loads the policies that there are at the start: one of the command line that can't be loaded stops it, one of the
/// directory doesn't.
fn load(
    mut manager: Manager,
    policies: Vec<(PathBuf, Policy)>,
    directory: &Path,
) -> Result<Handle, AgentError> {
    for (file, policy) in policies {
        let name = policy.name.clone();
        let loaded = manager.start_with(policy, file);
        loaded.map_err(|source| AgentError::PolicyLoad { policy: name, source: Box::new(source) })?;
    }
    if !directory.as_os_str().is_empty() {
        manager.follow_directory(directory.to_owned());
    }
    manager.spawn().map_err(|source| AgentError::System { what: "start a thread", source })
}

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    registry: Registry,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) {
    if let Ok(addr) = listener.local_addr() {
        info!("metrics: http://{addr}/metrics");
    }
    runtime.spawn(http::serve(listener, registry, readiness, async move { stop.cancelled().await }));
}

// === impl WaysOut ===

impl WaysOut {
    fn add_otlp(
        &mut self,
        runtime: &Runtime,
        settings: &Effective,
        node: &Arc<Node>,
        registry: &Registry,
        loss: &Loss,
        give_up: &CancellationToken,
    ) -> Result<(), AgentError> {
        let metrics = ExportMetrics::register(registry)?;
        let _inside = runtime.enter();
        for destination in &settings.otlp {
            let (name, settings) = (destination.exporter(), &destination.settings);
            info!(exporter = name, endpoint = %settings.endpoint, protocol = ?settings.protocol, "exporting by OTLP");
            let (sender, receiver) = destination.queue(loss);
            let (node, health) = (Arc::clone(node), Health::default());
            let task = destination.start(node, receiver, loss, &metrics, health, give_up.clone())?;
            self.depths.push((name.clone(), sender.depth()));
            self.queues.push(sender);
            self.tasks.push((name, task));
        }
        Ok(())
    }

    fn add_stdout(
        &mut self,
        runtime: &Runtime,
        format: Format,
        context: stdout::Context,
        capacity: usize,
        loss: &Loss,
    ) -> Result<(), AgentError> {
        let out =
            stdout::stdout().map_err(|source| AgentError::System { what: "use standard output", source })?;
        let (sender, receiver) =
            sink::queue(capacity, loss.counter("queue", "stdout_full"), stdout::has_line);
        let lost = stdout::Lost::new(loss);
        let (done, ended) = tokio::sync::oneshot::channel();
        thread::Builder::new()
            .name("trigon-stdout".to_owned())
            .spawn(move || {
                stdout::run(receiver, format, context, out, lost);
                let _ = done.send(());
            })
            .map_err(|source| AgentError::System { what: "start a thread", source })?;
        self.depths.push(("stdout".to_owned(), sender.depth()));
        self.queues.push(sender);
        let wait = runtime.spawn(async move {
            let _ = ended.await;
        });
        self.tasks.push(("stdout".to_owned(), wait));
        Ok(())
    }
}
