//! What a request asks for: its path, verb and parameters in Kubernetes' terms.

use std::collections::BTreeMap;

use axum::http::{Method, Uri};

use super::status::Status;

/// A request for a resource, or for something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the method where it is about no
    /// resource.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural; empty where it is about no resource.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// The namespace; empty for all, and for what has none.
    pub namespace: String,
    /// The name; empty for all.
    pub name: String,
    /// The path.
    pub path: String,
    /// The parameters.
    pub query: BTreeMap<String, String>,
}

// === impl Asked ===

impl Asked {
    /// Reads a request's first line.
    pub fn read(method: &Method, uri: &Uri) -> Self {
        let path = uri.path().to_owned();
        let query = form(uri.query().unwrap_or_default());
        let segments: Vec<_> =
            path.split('/').filter(|part| !part.is_empty()).map(|part| decoded(part, false)).collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match segments[..] {
            ["api", version, ref rest @ ..] => ("", version, rest),
            ["apis", group, version, ref rest @ ..] => (group, version, rest),
            _ => ("", "", &[][..]),
        };
        let (namespace, rest) = match *rest {
            ["namespaces", namespace, plural, ref rest @ ..] if !matches!(plural, "status" | "finalize") => {
                (namespace, [&[plural], rest].concat())
            }
            ref rest => ("", rest.to_vec()),
        };
        let word = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
        let (resource, name, subresource) = (word(0), word(1), word(2));
        // Of a namespace, its own name is the namespace of the request: so are the rules that allow it.
        let namespace = if (group, resource.as_str()) == ("", "namespaces") {
            name.clone()
        } else {
            namespace.to_owned()
        };
        let watches = query.get("watch").is_some_and(|value| value == "true" || value == "1");
        let verb = match *method {
            _ if resource.is_empty() => method.as_str().to_lowercase(),
            Method::GET | Method::HEAD if watches => "watch".into(),
            Method::GET | Method::HEAD if name.is_empty() => "list".into(),
            Method::GET | Method::HEAD => "get".into(),
            Method::POST => "create".into(),
            Method::PUT => "update".into(),
            Method::PATCH => "patch".into(),
            Method::DELETE if name.is_empty() => "deletecollection".into(),
            Method::DELETE => "delete".into(),
            _ => method.as_str().to_lowercase(),
        };
        let (group, version) = (group.to_owned(), version.to_owned());
        Self { verb, group, version, resource, subresource, namespace, name, path, query }
    }

    /// A parameter; empty where it isn't given.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        match self.parameter(name) {
            "" => Ok(None),
            text => {
                let wrong = |_| Status::bad_request(format!("the parameter {name} is no number: {text:?}"));
                text.parse().map(Some).map_err(wrong)
            }
        }
    }

    /// A parameter that is `true`.
    pub fn is(&self, name: &str) -> bool {
        self.parameter(name) == "true"
    }

    /// The name that rules go by: that of the path or, for a list of one, of the field selector.
    pub fn name_or_field(&self) -> String {
        let field = self.parameter("fieldSelector").strip_prefix("metadata.name=");
        if self.name.is_empty() { field.unwrap_or_default().to_owned() } else { self.name.clone() }
    }

    /// Nothing shall be stored.
    pub fn is_dry(&self) -> bool {
        self.parameter("dryRun") == "All"
    }
}

/// The pairs of a query string.
pub(super) fn form(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name, true), decoded(value, true)))
        .collect()
}

fn decoded(text: &str, plus: bool) -> String {
    let text = if plus { text.replace('+', " ") } else { text.to_owned() };
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, uri: &str) -> [String; 6] {
        let asked = Asked::read(method, &uri.parse().unwrap());
        [asked.verb, asked.group, asked.resource, asked.subresource, asked.namespace, asked.name]
    }

    #[test]
    fn paths_are_told_apart() {
        let get = |uri| asked(&Method::GET, uri);
        assert_eq!(get("/api/v1/pods?limit=5"), ["list", "", "pods", "", "", ""]);
        assert_eq!(get("/api/v1/namespaces/a/pods/b"), ["get", "", "pods", "", "a", "b"]);
        assert_eq!(get("/api/v1/namespaces/a"), ["get", "", "namespaces", "", "a", "a"]);
        assert_eq!(get("/api/v1/namespaces/a/status"), ["get", "", "namespaces", "status", "a", "a"]);
        assert_eq!(get("/apis/g.io/v1/things?watch=1"), ["watch", "g.io", "things", "", "", ""]);
        assert_eq!(get("/version"), ["get", "", "", "", "", ""]);
        let patch = asked(&Method::PATCH, "/apis/g.io/v1/namespaces/a/things/x%20y/status");
        assert_eq!(patch, ["patch", "g.io", "things", "status", "a", "x y"]);
        assert_eq!(asked(&Method::DELETE, "/api/v1/nodes"), ["deletecollection", "", "nodes", "", "", ""]);
    }
}
