//! References to container images: `[REGISTRY[:PORT]/]PATH[:TAG][@DIGEST]`.
//!
//! Source of the format: <https://github.com/distribution/reference/blob/main/reference.go>.

/// A reference, taken apart. Anything is one: what can't be told apart is the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// Registry and path.
    pub(super) name: &'a str,
    pub(super) tag: Option<&'a str>,
    /// `sha256:0123…`
    pub(super) digest: Option<&'a str>,
}

/// What Docker's shim puts before the ids of images.
const SCHEMES: [&str; 2] = ["docker-pullable://", "docker://"];

/// How a digest begins that stands alone.
const DIGEST: &str = "sha256:";

// === impl Reference ===

impl<'a> Reference<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let text = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        if text.starts_with(DIGEST) {
            return Self { name: "", tag: None, digest: Some(text) };
        }
        let (text, digest) = text.split_once('@').map_or((text, None), |(text, digest)| (text, Some(digest)));
        // A colon before the last slash is of the registry's port.
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (text, None),
        };
        let given = |part: Option<&'a str>| part.filter(|part| !part.is_empty());
        Self { name, tag: given(tag), digest: given(digest) }
    }

    /// The version that it tells: tag and digest, or one of them.
    pub(super) fn version(self) -> Option<String> {
        match (self.tag, self.digest) {
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    }

    /// Name and digest, by which a registry finds exactly this image.
    pub(super) fn repo_digest(self) -> Option<String> {
        self.digest.filter(|_| !self.name.is_empty()).map(|digest| format!("{}@{digest}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        for (text, name, tag, digest) in [
            ("nginx", "nginx", None, None),
            ("nginx:1.27", "nginx", Some("1.27"), None),
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx", Some("1.27"), None),
            ("localhost:5000/shop/web", "localhost:5000/shop/web", None, None),
            ("localhost:5000/shop/web:v1", "localhost:5000/shop/web", Some("v1"), None),
            ("r.io/web@sha256:ab", "r.io/web", None, Some("sha256:ab")),
            ("r.io:1/web:v1@sha256:ab", "r.io:1/web", Some("v1"), Some("sha256:ab")),
            ("docker-pullable://nginx@sha256:ab", "nginx", None, Some("sha256:ab")),
            ("docker://sha256:ab", "", None, Some("sha256:ab")),
            ("sha256:ab", "", None, Some("sha256:ab")),
            ("", "", None, None),
            (":@", "", None, None),
            ("é:ü@ö@:", "é", Some("ü"), Some("ö@:")),
        ] {
            assert_eq!(Reference::parse(text), Reference { name, tag, digest }, "{text}");
        }
    }

    #[test]
    fn versions_are_tag_and_digest() {
        let version = |text| Reference::parse(text).version();
        assert_eq!(version("a:1@sha256:b").as_deref(), Some("1@sha256:b"));
        assert_eq!(version("a:1").as_deref(), Some("1"));
        assert_eq!(version("a@sha256:b").as_deref(), Some("sha256:b"));
        assert_eq!(version("a"), None);
        assert_eq!(Reference::parse("a:1@sha256:b").repo_digest().as_deref(), Some("a@sha256:b"));
        assert_eq!(Reference::parse("sha256:b").repo_digest(), None);
    }
}
