//! The agent: how the stages are put together, how they start, and how they stop.
//!
//! ```text
//! ring buffer ─► reader (decode, track, enrich) ─► router ─┬─► otlp logs  ─► endpoint
//!   kernel       a thread of its own                       ├─► otlp spans ─► endpoint
//!                                                          ├─► standard output, files: a thread each
//!                                                          └─► counters ◄── GET /metrics
//! ```
//!
//! It stops in the same direction: the reader takes what the ring buffer still holds, the queues end, and each way
//! out sends what it has until `limits.shutdown_timeout` is over.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trigon_exporters::{
    lines::Format,
    metrics::{OutboundMetrics, Readiness, Registry, http},
    node::Node,
    outbound::Outbound,
};
use trigon_probes::{
    lifecycle::{self, Kernel, Lifecycle, Options},
    placements::PlacementMap,
    ring::Waker,
};

use crate::{
    api::{
        HookStatus, server,
        socket::{Socket, SocketFile},
        status::LossWatch,
    },
    config::{Effective, Given, PolicyConfig},
    jobs, loader,
    pipeline::{self, Pipeline},
    policy::{
        compile::Host,
        engine::Types,
        manager::{self, Handle, Manager, Parts},
        model::Policy,
        placements::Placements,
    },
    recent::Recent,
    router::Router,
    tracker::{Tracker, bootstrap, clock::Clock},
    watch,
};

mod cluster;
mod error;
mod hook_costs;
mod kernel_loss;
pub mod metrics;
pub mod notify;
mod reader;
mod reload;
mod ways_out;

use cluster::Cluster;
pub use error::AgentError;
use metrics::Metrics;
use reload::Reloader;
use ways_out::{Way, WaysOut};
pub use {reload::ConfigState, ways_out::Open};

/// Runs the agent until SIGTERM or SIGINT; `format` is that of standard output, none for silence. The policies are
/// loaded at the start, each from its file.
///
/// # Errors
/// Says what stopped it, and what to do.
pub fn run(
    given: Given,
    settings: Effective,
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
    let patience = settings.config.limits.shutdown_timeout;
    let agent = Agent::start(&runtime, given, settings, format, listener, policies)?;
    runtime.block_on(agent.until_stopped(patience, signals))
}

/// What tells the agent to stop, or to read its configuration again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

// === impl Signals ===

impl Signals {
    fn listen(runtime: &Runtime) -> Result<Self, AgentError> {
        let _inside = runtime.enter();
        let on =
            |kind| signal(kind).map_err(|source| AgentError::System { what: "listen for signals", source });
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }
}

/// An agent that runs.
struct Agent {
    reader: reader::Thread,
    waker: Waker,
    reader_ended: tokio::sync::oneshot::Receiver<()>,
    ways_out: WaysOut,
    give_up: CancellationToken,
    readiness: Arc<Readiness>,
    policies: Handle,
    pipeline: pipeline::Handle,
    reloader: Reloader,
    no_requests: CancellationToken,
    _socket: Option<SocketFile>,
}

// === impl Agent ===

impl Agent {
    fn start(
        runtime: &Runtime,
        given: Given,
        settings: Effective,
        format: Option<Format>,
        listener: TcpListener,
        policies: Vec<(PathBuf, Policy)>,
    ) -> Result<Self, AgentError> {
        let start = Timestamp::now();
        let kernel = Kernel::read()?;
        let limits = &settings.config.limits;
        let open = Open::default();
        let metrics = Metrics::register(&settings.config.metrics, open.clone())?;
        let Metrics { registry, agent: health, loss, .. } = metrics;
        let readiness = Arc::new(Readiness::waiting("attaching to the kernel"));
        let give_up = CancellationToken::new();
        serve(runtime, listener, registry.clone(), Arc::clone(&readiness), give_up.clone());

        let cluster = Cluster::of(&settings, runtime, &metrics.kubernetes)?;
        let options = Options {
            ring_bytes: limits.ring_buffer(),
            args_bytes: limits.args_bytes,
            join_env: settings.config.trace.join_env,
            variables: settings.config.env.collect.clone(),
            cgroups: settings.kubernetes,
            mechanism: lifecycle::Mechanism::Best,
        };
        let run_times = hook_costs::measure(settings.config.metrics.bpf_stats);
        // Attached first, read then: what happens meanwhile waits in the ring buffer.
        let (lifecycle, ring) = Lifecycle::attach(&options, &kernel)?;
        for attached in lifecycle.attached() {
            info!(hook = attached.hook, mechanism = attached.mechanism, "attached");
        }
        hook_costs::tell(&metrics.hooks, lifecycle.shared(), run_times);
        let mount = kernel.cgroups().mount.clone().filter(|_| options.cgroups);
        let placements = Placements::new(PlacementMap::open(&lifecycle.shared())?, mount);
        placements.walk();
        let attached = lifecycle.attached().iter().map(|attached| HookStatus {
            name: attached.hook.to_owned(),
            mechanism: Some(attached.mechanism.to_owned()),
        });
        let attached = attached.collect();
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

        let waker = ring.waker();
        let (pipeline, jobs) = jobs::channel_to({
            let waker = waker.clone();
            move || waker.wake()
        });
        let host = Host { namespaces: found.host };
        let parts = Parts {
            shared: lifecycle.shared(),
            host,
            sources: tracker.sources(),
            placements: placements.clone(),
            traces_ctx: settings.config.policy.traces_ctx.clone(),
            loader: loader::Source::new(pipeline.clone(), &loss),
            outbound: outbound(runtime, &settings.config.policy, metrics.outbound),
        };
        let manager = Manager::new(parts, Types::from(kernel), metrics.policies);
        let directory = &settings.config.policy.dir;
        let policies = load(manager, policies, directory)?;
        let declared = settings.resource.clone();
        let node = Node { declared, ..Node::detect(settings.node.clone(), settings.kubernetes) };
        let node = Arc::new(node);
        let mut ways_out = WaysOut::new(ways_out::Parts {
            node: Arc::clone(&node),
            host_namespaces: found.host,
            loss: loss.clone(),
            metrics: metrics.export,
            open: open.clone(),
            give_up: give_up.clone(),
        });
        let recent = Recent::new(settings.config.recent.max_bytes);
        let mut router = Router::new(metrics.events, recent);
        let inside = runtime.enter();
        for way in Way::all_of(&settings, format) {
            let (name, queue) = ways_out.start(way)?;
            router.open(name, queue);
        }
        if let Some(push) = &settings.self_metrics {
            ways_out.push_metrics(push, &registry)?;
        }
        drop(inside);

        health.ring_capacity.set(i64::from(limits.ring_buffer()));
        health.table_capacity.set(i64::try_from(settings.config.process_table.capacity).unwrap_or(i64::MAX));
        let stages = Pipeline {
            tracker,
            placements,
            waiting: cluster::waiting(&settings),
            router,
            deleted_linger: settings.config.kubernetes.deleted_linger,
        };
        let counted = reader::Metrics {
            agent: health,
            kubernetes: cluster.as_ref().map(|cluster| cluster.metrics.clone()),
            loss: loss.clone(),
        };
        let reader = reader::Reader::new(ring, lifecycle, stages, jobs, counted, state_file);
        runtime.spawn(notify::watchdog(reader.heartbeat()));
        let (reader, reader_ended) = reader.spawn()?;
        runtime.spawn(manager::keep_house(policies.clone()));
        if let Some(cluster) = cluster {
            runtime.block_on(cluster.join(&pipeline, policies.clone()))?;
        }
        let no_requests = CancellationToken::new();
        if !directory.as_os_str().is_empty() {
            let policies = policies.clone();
            watch::spawn(directory.clone(), move || policies.blocking_give(Manager::scan))
                .map_err(|source| AgentError::System { what: "start a thread", source })?;
        }
        let host_namespaces = found.host;
        let reloader = Reloader::new(given, format, settings, metrics.reload)?;
        let socket = socket.map(|Socket { listener, file }| {
            let losses = LossWatch::new(loss.clone());
            runtime.spawn(losses.clone().run());
            let agent = server::Agent {
                policies: policies.clone(),
                pipeline: pipeline.clone(),
                ways_out: open,
                config: reloader.state(),
                lifecycle: attached,
                node,
                host_namespaces,
                loss,
                losses,
                start,
                followers: Arc::new(Semaphore::new(server::FOLLOWERS)),
            };
            runtime.spawn(server::serve(listener, agent, no_requests.clone().cancelled_owned()));
            file
        });
        readiness.set_ready();
        notify::ready();
        Ok(Self {
            reader,
            waker,
            reader_ended,
            ways_out,
            give_up,
            readiness,
            policies,
            pipeline,
            reloader,
            no_requests,
            _socket: socket,
        })
    }

    /// Waits for a signal, or for the reader's end, and stops everything in order.
    async fn until_stopped(mut self, patience: Duration, mut signals: Signals) -> Result<(), AgentError> {
        let mut reader_ended = self.reader_ended;
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break info!("told to stop by SIGTERM"),
                _ = signals.interrupt.recv() => break info!("told to stop by SIGINT"),
                _ = &mut reader_ended => break warn!("the reader ended by itself"),
                _ = signals.hangup.recv() => {
                    info!("told to read the configuration again by SIGHUP");
                    self.ways_out.reopen();
                }
                () = self.reloader.changed() => info!("the configuration's file changed"),
            }
            notify::reloading();
            self.reloader.reload(&mut self.ways_out, &self.pipeline).await;
            notify::ready();
        }
        self.readiness.set_waiting("stopping");
        notify::stopping();
        self.no_requests.cancel();
        // First the hooks: under a flood of them the reader would come to no end.
        if timeout(patience, self.policies.call(Manager::stop)).await.is_err() {
            warn!("a policy is being loaded; its hooks go with the agent");
        }
        self.waker.stop();
        let pushing = self.ways_out.pushing();
        let drained = async {
            // It drops the queues, and with that the ways out come to their end.
            let _ = reader_ended.await;
            self.ways_out.drained().await;
        };
        let mut drained = std::pin::pin!(drained);
        if timeout(patience, &mut drained).await.is_err() {
            warn!(?patience, "limits.shutdown_timeout is over; what was not sent by now is lost and counted");
            self.give_up.cancel();
            // They count what is left, and that takes no time.
            let _ = timeout(Duration::from_secs(2), drained).await;
        }
        self.give_up.cancel();
        if let Some(pushing) = pushing {
            // Once more, with what was counted at the end.
            let _ = timeout(Duration::from_secs(2), pushing).await;
        }
        match self.reader.join() {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(AgentError::Panic),
        }
    }
}

/// By what policies call out, where they may.
fn outbound(runtime: &Runtime, config: &PolicyConfig, metrics: OutboundMetrics) -> Option<Outbound> {
    config.allow_outbound_actions.then(|| {
        info!("policies may have the agent call out (policy.allow_outbound_actions)");
        Outbound::new(runtime.handle().clone(), metrics)
    })
}

/// Loads the policies that there are at the start: one of the command line that can't be loaded stops it, one of the
/// directory doesn't.
fn load(
    mut manager: Manager,
    policies: Vec<(PathBuf, Policy)>,
    directory: &Path,
) -> Result<Handle, AgentError> {
    for (file, policy) in policies {
        let name = policy.key();
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
