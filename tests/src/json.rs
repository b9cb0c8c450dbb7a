//! The agent's JSON lines, as far as a test asks.

use serde_json::Value;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The event's name: `process_exec`, `process_exit`.
    pub kind: String,
    /// The event.
    pub event: Value,
    /// The whole object.
    pub whole: Value,
}

// === impl Line ===

impl Line {
    /// Reads a line.
    ///
    /// # Panics
    /// Where it isn't an object with one event.
    pub fn parse(line: &str) -> Self {
        let whole: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {line:?}: {error}"));
        let event =
            whole.as_object().and_then(|object| object.iter().find(|(key, _)| key.starts_with("process_")));
        let (kind, event) = event.unwrap_or_else(|| panic!("no event: {line:?}"));
        let (kind, event) = (kind.clone(), event.clone());
        Self { kind, event, whole }
    }

    /// A value of the event by its path (`/process/pid`); null where it is absent.
    pub fn at(&self, pointer: &str) -> &Value {
        self.event.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A text of the event by its path; empty where it is absent.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// The process id that the event is about.
    pub fn pid(&self) -> u32 {
        self.at("/process/pid").as_u64().unwrap_or_default() as u32
    }
}
