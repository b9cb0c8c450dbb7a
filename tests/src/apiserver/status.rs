//! How Kubernetes says no: the kind `Status`.

use serde_json::{Map, Value, json};

/// A refusal.
#[derive(Clone, Debug)]
pub struct Status {
    /// The HTTP status.
    pub code: u16,
    /// The word that programs look at: `NotFound`, `Conflict`.
    pub reason: &'static str,
    /// What people read.
    pub message: String,
    /// What it is about, and each cause.
    pub details: Map<String, Value>,
}

// === impl Status ===

impl Status {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Map::new() }
    }

    /// 400: what was sent makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: nobody known.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 404 for a path that isn't served.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 404 for an object.
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(group, plural)))
            .about(group, plural, name)
    }

    /// 409: the name is taken.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(group, plural)))
            .about(group, plural, name)
    }

    /// 409: somebody else was quicker, or owns it.
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(group, plural));
        Self::new(409, "Conflict", message).about(group, plural, name)
    }

    /// 410: the history that was asked for is forgotten.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 422: each cause is the field and what is wrong with it.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[(String, String)]) -> Self {
        let list: Vec<_> = causes.iter().map(|(field, why)| format!("{field}: {why}")).collect();
        let message = format!("{} {name:?} is invalid: {}", qualified(group, kind), list.join(", "));
        let mut status = Self::new(422, "Invalid", message).about(group, kind, name);
        let causes: Vec<_> = causes
            .iter()
            .map(|(field, why)| json!({"reason": "FieldValueInvalid", "message": why, "field": field}))
            .collect();
        status.details.insert("causes".into(), causes.into());
        status
    }

    /// The same, and which object it is about.
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.details.insert("kind".into(), kind.into());
        if !group.is_empty() {
            self.details.insert("group".into(), group.into());
        }
        if !name.is_empty() {
            self.details.insert("name".into(), name.into());
        }
        self
    }

    /// The same with a detail: `retryAfterSeconds`, `uid`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    /// It as an object.
    pub fn object(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details, "code": self.code,
        })
    }
}

/// `plural.group`, as people write it.
fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}
