//! The ways out that run: each with its queue, its task, and what is known of how it does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use prometheus::IntGauge;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trigon_exporters::{
    event::Namespaces,
    file::{FileConfig, FileOutput, Reopen},
    filter::{Filter, Gate},
    health::Health,
    lines::{self, Format},
    metrics::{Loss, Registry},
    node::Node,
    otlp::{Destination, ExportMetrics, Signal, push::Push},
    sink::{self, Depth, QueueSender},
    stdout,
};

use super::AgentError;
use crate::{config::Effective, pipeline};

/// A way out that is to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// A signal to an OTLP endpoint.
    Otlp(Box<Destination>),
    /// Lines to a file.
    File {
        /// Which, and how.
        config: Box<FileConfig>,
        /// What is written.
        filter: Filter,
    },
    /// Lines to standard output.
    Stdout {
        /// Their format.
        format: Format,
        /// Events that wait.
        queue_events: usize,
        /// What is written.
        filter: Filter,
    },
}

/// What all ways out are made with.
pub struct Parts {
    /// Whose events they are.
    pub node: Arc<Node>,
    /// Namespaces of the node's first process.
    pub host_namespaces: Namespaces,
    /// Where they count what they lose.
    pub loss: Loss,
    /// What exporters count.
    pub metrics: ExportMetrics,
    /// Where those that are open are listed.
    pub open: Open,
    /// Ends them with what they have.
    pub give_up: CancellationToken,
}

/// The ways out that run.
pub struct WaysOut {
    parts: Parts,
    running: Vec<Running>,
    /// They get no more, and send what they have.
    closing: Vec<(Arc<str>, JoinHandle<()>)>,
    /// The push of the agent's own metrics, which outlives the others.
    pushing: Option<JoinHandle<()>>,
    reopen: Vec<(Arc<str>, Reopen)>,
    turns: HashMap<Arc<str>, Turn>,
}

/// Held by the one that writes lines under a name: one that takes over from it waits, or lines would run into each other.
type Turn = Arc<Mutex<()>>;

struct Running {
    way: Way,
    name: Arc<str>,
    task: JoinHandle<()>,
}

/// The ways out that are open now, for those who ask.
#[derive(Clone, Debug, Default)]
pub struct Open(Arc<Mutex<Vec<Export>>>);

/// A way out, for those who ask.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its name in metrics.
    pub name: Arc<str>,
    /// What kind it is: `otlp logs`, `stdout`.
    pub kind: &'static str,
    /// Where it leads.
    pub target: String,
    /// Events that wait for it, as they came from the router.
    pub depth: Depth,
    /// Events in encoded batches that wait.
    encoded: Option<IntGauge>,
    /// How it does.
    pub health: Health,
}

// === impl Way ===

impl Way {
    /// The ways out that a configuration asks for; `format` is that of standard output.
    pub fn all_of(settings: &Effective, format: Option<Format>) -> Vec<Self> {
        let otlp = settings.otlp.iter().map(|destination| Self::Otlp(Box::new(destination.clone())));
        let queue_events = settings.config.limits.stdout_queue_events;
        let stdout = format.map(|format| Self::Stdout {
            format,
            queue_events,
            filter: settings.stdout_filter.clone(),
        });
        let file = |(config, filter): &(FileConfig, Filter)| Self::File {
            config: Box::new(config.clone()),
            filter: filter.clone(),
        };
        otlp.chain(settings.files.iter().map(file)).chain(stdout).collect()
    }

    fn name(&self) -> Arc<str> {
        match self {
            Self::Otlp(destination) => destination.exporter().into(),
            Self::File { config, .. } => config.exporter().into(),
            Self::Stdout { .. } => "stdout".into(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Otlp(destination) => match destination.signal {
                Signal::Logs => "otlp logs",
                Signal::Spans => "otlp spans",
            },
            Self::File { .. } => "file",
            Self::Stdout { .. } => "stdout",
        }
    }

    fn target(&self) -> String {
        match self {
            Self::Otlp(destination) => destination.settings.endpoint.to_string(),
            Self::File { config, .. } => config.path.display().to_string(),
            Self::Stdout { .. } => String::new(),
        }
    }
}

// === impl WaysOut ===

impl WaysOut {
    /// None yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            running: Vec::new(),
            closing: Vec::new(),
            pushing: None,
            reopen: Vec::new(),
            turns: HashMap::new(),
        }
    }

    /// Starts a way out, on the current tokio runtime. Whoever has the queue feeds it.
    ///
    /// # Errors
    /// What it needs can't be prepared.
    pub fn start(&mut self, way: Way) -> Result<(Arc<str>, QueueSender), AgentError> {
        let name = way.name();
        let health = Health::default();
        let (queue, task) = match &way {
            Way::Otlp(destination) => self.otlp(&name, destination, health.clone())?,
            Way::File { config, filter } => self.file(&name, config, filter, health.clone())?,
            Way::Stdout { format, queue_events, filter } => {
                self.stdout(*format, *queue_events, filter, health.clone())?
            }
        };
        self.parts.open.add(Export {
            name: Arc::clone(&name),
            kind: way.kind(),
            target: way.target(),
            depth: queue.depth(),
            encoded: matches!(way, Way::Otlp(_)).then(|| self.parts.metrics.waiting(&name)),
            health,
        });
        self.running.push(Running { way, name: Arc::clone(&name), task });
        Ok((name, queue))
    }

    /// Starts to push the agent's own metrics, on the current tokio runtime, until it is time to give up.
    ///
    /// # Errors
    /// What it needs can't be prepared.
    pub fn push_metrics(&mut self, push: &Push, registry: &Registry) -> Result<(), AgentError> {
        let Parts { node, give_up, .. } = &self.parts;
        let health = Health::default();
        let task = push.start(registry.clone(), node, health.clone(), give_up.clone())?;
        let name: Arc<str> = "self_metrics".into();
        self.pushing = Some(task);
        self.parts.open.add(Export {
            name,
            kind: "otlp metrics",
            target: push.settings.endpoint.to_string(),
            depth: Depth::default(),
            encoded: None,
            health,
        });
        Ok(())
    }

    /// Starts those that are wanted and don't run, and closes those that run and aren't wanted, at one moment: no event
    /// falls between. One that can't be started leaves the one of its name as it was; what kept them is returned.
    pub async fn replace(&mut self, wanted: Vec<Way>, pipeline: &pipeline::Handle) -> Vec<String> {
        let (kept, mut gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(|running| wanted.contains(&running.way));
        self.running = kept;
        let (mut opened, mut failures) = (Vec::new(), Vec::new());
        for way in wanted {
            if self.running.iter().any(|running| running.way == way) {
                continue;
            }
            let name = way.name();
            match self.start(way) {
                Ok(new) => opened.push(new),
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    let before = gone.iter().position(|running| running.name == name);
                    self.running.extend(before.map(|index| gone.remove(index)));
                }
            }
        }
        let closed: Vec<_> = gone.iter().map(|running| Arc::clone(&running.name)).collect();
        // An agent that stops closes them all.
        let _ = pipeline
            .call(move |pipeline| {
                closed.iter().for_each(|name| pipeline.router.close(name));
                opened.into_iter().for_each(|(name, queue)| pipeline.router.open(name, queue));
            })
            .await;
        for Running { name, task, .. } in gone {
            self.parts.open.remove_oldest(&name);
            if let Some(index) = self.reopen.iter().position(|(file, _)| *file == name) {
                self.reopen.remove(index);
            }
            info!(exporter = &*name, "the way out is closed: the configuration changed");
            self.closing.push((name, task));
        }
        self.closing.retain(|(_, task)| !task.is_finished());
        failures
    }

    /// Has files opened anew that something has moved away.
    pub fn reopen(&self) {
        self.reopen.iter().for_each(|(_, reopen)| reopen.reopen());
    }

    /// Waits until all have sent what they have. Their queues must have ended.
    pub async fn drained(&mut self) {
        let running = self.running.drain(..).map(|running| (running.name, running.task));
        for (name, task) in running.chain(self.closing.drain(..)) {
            if let Err(error) = task.await {
                warn!(exporter = &*name, %error, "a way out ended early");
            }
        }
    }

    /// The push of the agent's own metrics, to be waited for when it was told to give up: it pushes once more, with
    /// what was counted at the end.
    pub fn pushing(&mut self) -> Option<JoinHandle<()>> {
        self.pushing.take()
    }

    fn otlp(
        &self,
        name: &str,
        destination: &Destination,
        health: Health,
    ) -> Result<(QueueSender, JoinHandle<()>), AgentError> {
        let Parts { node, loss, metrics, give_up, .. } = &self.parts;
        let settings = &destination.settings;
        info!(exporter = name, endpoint = %settings.endpoint, protocol = ?settings.protocol, "exporting by OTLP");
        let (sender, receiver) = destination.queue(loss);
        let task = destination.start(Arc::clone(node), receiver, loss, metrics, health, give_up.clone())?;
        Ok((sender, task))
    }

    fn stdout(
        &mut self,
        format: Format,
        capacity: usize,
        filter: &Filter,
        health: Health,
    ) -> Result<(QueueSender, JoinHandle<()>), AgentError> {
        let turn = self.turn("stdout");
        let Parts { loss, metrics, .. } = &self.parts;
        let out =
            stdout::stdout().map_err(|source| AgentError::System { what: "use standard output", source })?;
        let gate = Gate::new(filter, "stdout", loss);
        let (sender, receiver) =
            sink::gated(capacity, loss.counter("queue", "full", "stdout"), lines::has_line, gate);
        let (context, balance) = (self.context(), lines::Balance::stdout(loss, metrics));
        let task =
            thread("stdout", turn, move || stdout::run(receiver, format, context, out, balance, health))?;
        Ok((sender, task))
    }

    fn file(
        &mut self,
        name: &str,
        config: &FileConfig,
        filter: &Filter,
        health: Health,
    ) -> Result<(QueueSender, JoinHandle<()>), AgentError> {
        let output = FileOutput::open(config)?;
        let turn = self.turn(name);
        self.reopen.push((name.into(), output.reopen()));
        info!(exporter = name, path = %config.path.display(), "exporting to a file");
        let Parts { loss, metrics, .. } = &self.parts;
        let gate = Gate::new(filter, name, loss);
        let full = loss.counter("queue", "full", name);
        let (sender, receiver) = sink::gated(config.queue_events, full, lines::has_line, gate);
        let (context, balance) = (self.context(), lines::Balance::file(loss, metrics, name));
        let task = thread(name, turn, move || output.run(receiver, context, balance, health))?;
        Ok((sender, task))
    }

    fn turn(&mut self, name: &str) -> Turn {
        Arc::clone(self.turns.entry(name.into()).or_default())
    }

    fn context(&self) -> lines::Context {
        let Parts { node, host_namespaces, .. } = &self.parts;
        lines::Context { node: node.name.clone(), host_namespaces: *host_namespaces }
    }
}

/// Runs a way out that waits for what it writes to, and thus has a thread of its own.
fn thread(
    name: &str,
    turn: Turn,
    write: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, AgentError> {
    let (done, ended) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name(format!("trigon-{name}"))
        .spawn(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            write();
            let _ = done.send(());
        })
        .map_err(|source| AgentError::System { what: "start a thread", source })?;
    Ok(tokio::spawn(async move {
        let _ = ended.await;
    }))
}

// === impl Export ===

impl Export {
    /// All events that wait for it.
    pub fn waiting(&self) -> usize {
        let encoded = self.encoded.as_ref().map_or(0, IntGauge::get);
        self.depth.get() + usize::try_from(encoded).unwrap_or(0)
    }
}

// === impl Open ===

impl Open {
    /// Those that are open now.
    pub fn list(&self) -> Vec<Export> {
        self.lock().clone()
    }

    fn add(&self, export: Export) {
        self.lock().push(export);
    }

    /// Removes the one of a name that was there first: the one after it has taken over.
    fn remove_oldest(&self, name: &str) {
        let mut open = self.lock();
        if let Some(index) = open.iter().position(|export| *export.name == *name) {
            open.remove(index);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Export>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
