//! The recent past: the last events, for those who ask about what has just happened.

use std::{collections::VecDeque, sync::Arc};

use trigon_exporters::{
    event::{Event, Kind, Process, Timestamp, Value},
    sink::Chunk,
};

/// The last events, as many as fit into a number of bytes.
#[derive(Debug)]
pub struct Recent {
    /// Oldest first, each with its bytes.
    chunks: VecDeque<(Chunk, usize)>,
    bytes: usize,
    max_bytes: usize,
}

// === impl Recent ===

impl Recent {
    /// Nothing yet; 0 bytes keep nothing ever.
    pub fn new(max_bytes: usize) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, max_bytes }
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
            && let Some((_, bytes)) = self.chunks.pop_front()
        {
            self.bytes -= bytes;
        }
    }
}

/// When the first of these events happened.
pub fn oldest(chunks: &[Chunk]) -> Option<Timestamp> {
    chunks.iter().flat_map(|chunk| chunk.iter()).map(|event| event.time).min()
}

/// Bytes that an event holds. A process, which several share, counts at its exec.
fn weight(event: &Event) -> usize {
    let process = |process: &Process| {
        let image = &process.image;
        let args: usize = image.args().map(|arg| arg.len() + 1).sum();
        size_of::<Process>() + image.binary().len() + image.cwd().len() + args
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
