//! Selectors of labels, as Kubernetes writes them.
//!
//! Source: "Label selectors" in <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>.

/// What labels must be: all requirements must hold.
#[derive(Clone, Debug)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    /// It must hold, or must not.
    positive: bool,
    /// One of which the label must have; none where it must only be there.
    values: Option<Vec<String>>,
}

const ALLOWED: &str = "a selector such as `app=web,tier in (front, back),env!=test,!canary` is allowed";

// === impl Selector ===

impl Selector {
    /// # Errors
    /// Says what is allowed.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut requirements = Vec::new();
        let mut rest = text;
        loop {
            // A comma within parentheses is of a list.
            let open = rest.find('(').unwrap_or(rest.len());
            let comma = rest.find(',').filter(|comma| *comma < open);
            let end = comma.or_else(|| {
                let close = open + rest[open..].find(')')?;
                rest[close..].find(',').map(|comma| close + comma)
            });
            let (one, more) = end.map_or((rest, None), |end| (&rest[..end], Some(&rest[end + 1..])));
            requirements.push(Requirement::parse(one.trim()).ok_or(ALLOWED)?);
            match more {
                Some(more) => rest = more,
                None => return Ok(Self(requirements)),
            }
        }
    }

    /// Whether the labels fit; `label` gives the value of one, where there is it.
    pub(super) fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|Requirement { key, positive, values }| {
            let fits = label(key).is_some_and(|label| {
                values.as_ref().is_none_or(|values| values.iter().any(|value| value == label))
            });
            fits == *positive
        })
    }
}

// === impl Requirement ===

impl Requirement {
    fn parse(text: &str) -> Option<Self> {
        let new = |key: &str, positive, values: Option<Vec<&str>>| {
            let values = values.map(|values| values.into_iter().map(str::trim).collect::<Vec<_>>());
            let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
            let fine = !key.is_empty() && plain(key) && values.iter().flatten().all(|value| plain(value));
            let values = values.map(|values| values.into_iter().map(str::to_owned).collect());
            fine.then(|| Self { key: key.to_owned(), positive, values })
        };
        if let Some(list) = text.strip_suffix(')') {
            let (head, list) = list.split_once('(')?;
            let mut words = head.split_whitespace();
            let (key, operator) = (words.next()?, words.next()?);
            let positive = match operator {
                "in" => true,
                "notin" => false,
                _ => return None,
            };
            return words.next().is_none().then(|| new(key, positive, Some(list.split(',').collect())))?;
        }
        if let Some(key) = text.strip_prefix('!') {
            return new(key.trim(), false, None);
        }
        if let Some((key, value)) = text.split_once("!=") {
            return new(key.trim(), false, Some(vec![value]));
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return new(key.trim(), true, Some(vec![value]));
        }
        new(text, true, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let label = |key: &str| labels.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        Selector::parse(selector).unwrap().matches(label)
    }

    #[test]
    fn selectors_are_those_of_kubernetes() {
        let labels = [("app", "web"), ("app.kubernetes.io/name", "shop"), ("empty", "")];
        for selector in [
            "app=web",
            "app == web",
            "app",
            "!canary",
            "canary!=yes",
            "app in (db, web)",
            "canary notin (yes)",
            "app.kubernetes.io/name=shop,app in (web,db) , !x",
            "empty=",
            "app in (web),empty in ()",
        ] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in ["app=db", "!app", "app!=web", "app notin (web,db)", "x", "app=web,x=1", "x in (a)"] {
            assert!(!matches(selector, &labels), "{selector}");
        }
        for broken in
            ["", ",", "a,", "a in", "a in (", "a on (b)", "in (b)", "a b", "a=b=c", "a in (b) c", "ä=b"]
        {
            assert!(Selector::parse(broken).is_err(), "{broken}");
        }
    }
}
