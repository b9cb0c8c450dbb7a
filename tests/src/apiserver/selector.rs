//! Label and field selectors.

use serde_json::Value;

use super::status::Status;

/// What a list or a watch is limited to.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

// === impl Selector ===

impl Selector {
    /// Reads both parameters.
    pub fn read(labels: &str, fields: &str) -> Result<Self, Status> {
        let unable = |what: &str| Status::bad_request(format!("unable to parse requirement: {what:?}"));
        let labels = split(labels)
            .map(|term| requirement(term).ok_or_else(|| unable(term)))
            .collect::<Result<_, _>>()?;
        let fields = split(fields)
            .map(|term| match requirement(term) {
                Some((name, test @ (Test::In(_) | Test::NotIn(_)))) => Ok((name, test)),
                _ => Err(unable(term)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// The object is one of those.
    pub fn takes(&self, object: &Value) -> bool {
        let label = |name: &str| object["metadata"]["labels"].get(name).and_then(Value::as_str);
        let field = |path: &str| {
            let found = path.split('.').try_fold(object, |value, name| value.get(name));
            Some(match found {
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                _ => String::new(),
            })
        };
        self.labels.iter().all(|(name, test)| test.passes(label(name)))
            && self.fields.iter().all(|(path, test)| test.passes(field(path).as_deref()))
    }
}

// === impl Test ===

impl Test {
    fn passes(&self, value: Option<&str>) -> bool {
        let among = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        match self {
            Self::In(values) => among(values),
            Self::NotIn(values) => !among(values),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

/// The terms between commas that are in no parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    let terms = text.split(move |letter| {
        inside = (inside || letter == '(') && letter != ')';
        letter == ',' && !inside
    });
    terms.map(str::trim).filter(|term| !term.is_empty())
}

fn requirement(term: &str) -> Option<(String, Test)> {
    let one = |(name, value): (&str, &str)| (name.trim().to_owned(), vec![value.trim().to_owned()]);
    let test = if let Some((name, values)) = term.split_once("!=").map(one) {
        (name, Test::NotIn(values))
    } else if let Some((name, values)) = term.split_once("==").or_else(|| term.split_once('=')).map(one) {
        (name, Test::In(values))
    } else if let Some((name, values)) = term.strip_suffix(')').and_then(|term| term.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        match name.trim().rsplit_once(' ')? {
            (name, "in") => (name.trim().to_owned(), Test::In(values)),
            (name, "notin") => (name.trim().to_owned(), Test::NotIn(values)),
            _ => return None,
        }
    } else if let Some(name) = term.strip_prefix('!') {
        (name.trim().to_owned(), Test::Absent)
    } else {
        (term.to_owned(), Test::Exists)
    };
    (!test.0.is_empty() && !test.0.contains(char::is_whitespace)).then_some(test)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select() {
        let object = json!({
            "metadata": {"name": "a", "labels": {"app": "web", "tier": "1"}}, "spec": {"nodeName": "n1"},
        });
        let takes = |labels, fields| Selector::read(labels, fields).unwrap().takes(&object);
        for labels in ["", "app", "app=web", "app==web,tier in (1, 2)", "app!=db,!gone", "app notin (x,y)"] {
            assert!(takes(labels, ""), "{labels}");
        }
        for labels in ["gone", "app=db", "tier in (2,3)", "!app", "app notin (web)"] {
            assert!(!takes(labels, ""), "{labels}");
        }
        assert!(takes("", "spec.nodeName=n1,metadata.name!=b"));
        assert!(!takes("", "spec.nodeName=n2"));
        assert!(takes("", "spec.unset="));
        assert!(Selector::read("a b", "").is_err());
        assert!(Selector::read("", "spec.nodeName").is_err());
    }
}
