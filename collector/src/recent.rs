//! The recent past: the last events, for those who ask about what has just happened.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;
use trigon_exporters::{
    event::{Cgroup, Event, Kind, Place, Process, Timestamp, Value},
    sink::Chunk,
};

/// The last events, as many as fit into a number of bytes.
#[derive(Debug)]
pub struct Recent {
    /// Oldest first, each with its bytes.
    chunks: VecDeque<(Chunk, usize)>,
    /// The cgroups of executions that are kept, with their pods: of one that is gone nobody else knows any more.
    cgroups: FxHashMap<u64, Shared>,
    bytes: usize,
    max_bytes: usize,
}

/// What several executions hold together.
#[derive(Debug)]
struct Shared {
    executions: usize,
    bytes: usize,
}

// === impl Recent ===

impl Recent {
    /// Nothing yet; 0 bytes keep nothing ever.
    pub fn new(max_bytes: usize) -> Self {
        Self { chunks: VecDeque::new(), cgroups: FxHashMap::default(), bytes: 0, max_bytes }
    }

    /// Whether anything is ever kept.
    pub fn keeps(&self) -> bool {
        self.max_bytes > 0
    }

    /// Takes what was read together, and lets go of the oldest that there is no room for.
    pub fn push(&mut self, chunk: &Chunk) {
        if !self.keeps() {
            return;
        }
        let bytes = chunk.iter().map(weight).sum();
        self.chunks.push_back((Arc::clone(chunk), bytes));
        self.bytes += bytes;
        for cgroup in cgroups(chunk) {
            let shared = self.cgroups.entry(cgroup.id).or_insert_with(|| {
                let bytes = weight_of_cgroup(cgroup);
                self.bytes += bytes;
                Shared { executions: 0, bytes }
            });
            shared.executions += 1;
        }
        self.trim();
    }

    /// Keeps so many bytes from now on.
    pub fn limit(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
        self.trim();
    }

    /// What is kept, oldest first.
    pub fn chunks(&self) -> Vec<Chunk> {
        self.chunks.iter().map(|(chunk, _)| Arc::clone(chunk)).collect()
    }

    fn trim(&mut self) {
        while self.bytes > self.max_bytes
            && let Some((chunk, bytes)) = self.chunks.pop_front()
        {
            self.bytes -= bytes;
            for cgroup in cgroups(&chunk) {
                let Some(shared) = self.cgroups.get_mut(&cgroup.id) else { continue };
                shared.executions -= 1;
                if shared.executions == 0 {
                    self.bytes -= shared.bytes;
                    self.cgroups.remove(&cgroup.id);
                }
            }
        }
    }
}

/// When the first of these events happened.
pub fn oldest(chunks: &[Chunk]) -> Option<Timestamp> {
    chunks.iter().flat_map(|chunk| chunk.iter()).map(|event| event.time).min()
}

/// The cgroup of each execution that began.
fn cgroups(chunk: &Chunk) -> impl Iterator<Item = &Arc<Cgroup>> {
    let began = |event: &&Event| matches!(event.kind, Kind::Exec(_));
    chunk.iter().filter(began).map(|event| &event.process.cgroup)
}

/// Bytes that a cgroup holds, and what is known of its pod.
fn weight_of_cgroup(cgroup: &Cgroup) -> usize {
    let container =
        cgroup.container.as_ref().map_or(0, |container| size_of_val(&**container) + container.id.len());
    let place = cgroup.place.get();
    size_of::<Cgroup>() + cgroup.path.len() + container + place.as_deref().map_or(0, weight_of_place)
}

fn weight_of_place(place: &Place) -> usize {
    let pair = |(key, value): (&String, &String)| 2 * size_of::<String>() + key.len() + value.len();
    let pod = &place.pod;
    let named = pod.labels.iter().chain(&pod.annotations).map(|(key, value)| pair((key, value)));
    let workload = pod.workload.as_ref().map_or(0, |workload| workload.kind.len() + workload.name.len());
    let container = place.container.as_ref().map_or(0, |container| {
        let texts =
            [&container.name, &container.id, &container.runtime, &container.image, &container.image_id];
        size_of_val(&**container) + texts.map(String::len).iter().sum::<usize>()
    });
    let texts = [&pod.namespace, &pod.name, &pod.uid].map(String::len).iter().sum::<usize>();
    let labels = pod.all_labels.iter().map(pair).chain(named).sum::<usize>();
    size_of_val(place) + size_of_val(&**pod) + texts + workload + labels + container
}

/// Bytes that an event holds. A process, which several share, counts at its exec.
fn weight(event: &Event) -> usize {
    let process = |process: &Process| {
        let image = &process.image;
        let args: usize = image.args().map(|arg| arg.len() + 1).sum();
        size_of::<Process>() + size_of_val(&**image) + image.binary().len() + image.cwd().len() + args
    };
    let value = |value: &Value| {
        size_of::<Value>()
            + match value {
                Value::Text { text, .. } => text.len(),
                Value::Bytes { data, .. } => data.len(),
                Value::File(file) => file.path.len(),
                Value::Path { path, .. } => path.len(),
                Value::Object(object) => size_of_val(&**object) + object.text_bytes(),
                Value::Int(_) | Value::UInt(_) | Value::Long(_) | Value::Size(_) => 0,
            }
    };
    size_of::<Event>()
        + match &event.kind {
            Kind::Exec(_) => process(&event.process),
            Kind::Exit(_) | Kind::Replaced | Kind::RateLimit(_) => 0,
            Kind::Hook(hook) => {
                let read = hook.args.iter().chain(&hook.data).chain([&hook.returned]);
                let values = read.flatten().map(value);
                values.sum::<usize>() + hook.stacks.as_ref().map_or(0, |stacks| stacks.bytes())
            }
            Kind::Loader(loader) => size_of_val(&**loader) + loader.path.len() + loader.build_id.len(),
            Kind::Descriptor(descriptor) => size_of_val(&**descriptor) + descriptor.file.path.len(),
        }
}

#[cfg(test)]
mod tests {
    use trigon_exporters::event::{Exec, Pod};

    use super::*;

    fn exec(cgroup: &Arc<Cgroup>) -> Chunk {
        let process = Arc::new(Process { cgroup: Arc::clone(cgroup), ..Process::default() });
        let kind = Kind::Exec(Exec::default());
        Arc::new([Event { time: Timestamp(1), observed: Timestamp(1), process, parent: None, kind }])
    }

    #[test]
    fn a_pod_counts_once_for_all_its_executions() {
        let cgroup = Arc::new(Cgroup { id: 7, ..Cgroup::default() });
        let pod = Pod { name: "w".repeat(1000), ..Pod::default() };
        cgroup.place.set(Some(Arc::new(Place { pod: Arc::new(pod), container: None })));
        let mut recent = Recent::new(usize::MAX);
        recent.push(&exec(&cgroup));
        let with_pod = recent.bytes;
        assert!(with_pod > 1000);
        recent.push(&exec(&cgroup));
        let execution = recent.bytes - with_pod;
        assert!(execution < 1000);
        // The pod stays as long as there is one of its executions.
        recent.limit(with_pod);
        assert_eq!((recent.bytes, recent.chunks().len()), (with_pod, 1));
        recent.limit(execution);
        assert_eq!((recent.bytes, recent.chunks().len(), recent.cgroups.len()), (0, 0, 0));
    }
}
