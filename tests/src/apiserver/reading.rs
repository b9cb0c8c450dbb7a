//! The verbs that read objects.

use std::{ops::Bound, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    request::Asked,
    resource::{Resource, Shape, Version},
    selector::Selector,
    status::Status,
    store::{Key, Store},
    table::Look,
};

/// Which objects a client wants, and how it wants to see them.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) resource: Arc<Resource>,
    pub(super) version: Version,
    namespace: String,
    selector: Selector,
    look: Look,
}

// === impl Wanted ===

impl Wanted {
    pub(super) fn new(
        resource: &Arc<Resource>,
        version: &Version,
        asked: &Asked,
        accept: &str,
    ) -> Result<Self, Status> {
        let mut selector =
            Selector::read(asked.parameter("labelSelector"), asked.parameter("fieldSelector"))?;
        if !asked.name.is_empty() && asked.verb == "watch" {
            selector = Selector::read("", &format!("metadata.name={}", asked.name))?;
        }
        Ok(Self {
            resource: Arc::clone(resource),
            version: version.clone(),
            namespace: if resource.namespaced { asked.namespace.clone() } else { String::new() },
            selector,
            look: Look::read(accept),
        })
    }

    pub(super) fn takes(&self, key: &Key, object: &Value) -> bool {
        (self.namespace.is_empty() || self.namespace == key.namespace) && self.selector.takes(object)
    }

    /// An object as the client wants to see it.
    pub(super) fn shown(&self, object: &Value) -> Value {
        self.look.one(&self.resource, &self.version, self.spoken(object))
    }

    fn spoken(&self, object: &Value) -> Value {
        let mut object = object.clone();
        object["apiVersion"] = self.resource.api_version(&self.version.name).into();
        object
    }

    /// A list, or a page of it.
    pub(super) fn list(&self, store: &Store, asked: &Asked) -> Result<Value, Status> {
        let limit = asked.number("limit")?.filter(|limit| *limit > 0);
        let version = asked.number("resourceVersion")?;
        let (at, after) = match asked.parameter("continue") {
            "" => (version.filter(|_| asked.parameter("resourceVersionMatch") == "Exact"), None),
            token => {
                let (at, key) = bookmark(token)?;
                (Some(at), Some(key))
            }
        };
        let now = store.revision();
        if version.is_some_and(|version| version > now) {
            let why = format!("Too large resource version: {}, current: {now}", version.unwrap_or_default());
            return Err(Status::new(504, "Timeout", why).with("retryAfterSeconds", 1));
        }
        let (revision, objects) = store.list(&self.resource.id, at).map_err(|status| match after {
            Some(_) => Status {
                message: "The provided continue parameter is too old to display a consistent list result. \
                          You can start a new list without the continue parameter."
                    .into(),
                ..status
            },
            None => status,
        })?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found =
            objects.range((start, Bound::Unbounded)).filter(|(key, object)| self.takes(key, object));
        let mut meta = json!({"resourceVersion": revision.to_string()});
        let mut items = Vec::new();
        for (key, object) in found.by_ref() {
            let mut item = self.spoken(object);
            // Items of Kubernetes' own lists don't say what they are.
            if let (Shape::Typed(_), Look::Whole, Value::Object(fields)) =
                (&self.version.shape, self.look, &mut item)
            {
                fields.remove("apiVersion");
                fields.remove("kind");
            }
            items.push(item);
            if limit.is_some_and(|limit| items.len() as u64 == limit) {
                let rest = found.count();
                if rest > 0 {
                    meta["continue"] = token(revision, key).into();
                    meta["remainingItemCount"] = rest.into();
                }
                break;
            }
        }
        Ok(self.look.list(&self.resource, &self.version, &items, &meta))
    }
}

/// Where the next page begins.
fn token(revision: u64, key: &Key) -> String {
    URL_SAFE_NO_PAD.encode(json!([revision, key.namespace, key.name]).to_string())
}

fn bookmark(token: &str) -> Result<(u64, Key), Status> {
    let read = || -> Option<(u64, String, String)> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
    };
    let (revision, namespace, name) = read()
        .ok_or_else(|| Status::bad_request("continue key is not valid: it isn't one of this server's"))?;
    Ok((revision, Key { namespace, name }))
}
