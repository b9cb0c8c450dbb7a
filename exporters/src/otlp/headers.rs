//! Headers that go with each request: from the configuration, from the environment, from files.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{
    config::Headers,
    files::{Access, Contents, FileError},
};

/// Where the headers of a connection come from. Files are read when it is prepared and again when they change.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderSources {
    named: Vec<(HeaderName, Vec<Part>)>,
    /// More headers, a line each; they beat those of the same name.
    file: Option<PathBuf>,
}

/// A part of a value.
#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `${file:…}`
    File(PathBuf),
}

/// A header that can't be used; its value stays untold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadHeader {
    /// Empty where none was found.
    pub(super) name: String,
    pub(super) allowed: &'static str,
}

const LIST: &str = "a list such as name=value,other=value, values percent-encoded,";
const HEADER: &str = "a header's name and value";
const PLACEHOLDER: &str = "text with ${file:/path} or ${env:NAME} in it, and $${ for ${ itself,";
const VARIABLE: &str = "text with ${env:NAME} of a variable that is set";

/// Looks an environment variable up.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl HeaderSources ===

impl HeaderSources {
    /// The headers of the configuration.
    pub(super) fn configured(
        headers: &Headers,
        file: &Path,
        environment: Environment<'_>,
    ) -> Result<Self, BadHeader> {
        let mut sources = Self { file: set(file), ..Self::default() };
        for (name, value) in &headers.0 {
            let bad = |allowed| BadHeader { name: name.clone(), allowed };
            let parts = parts(value, environment).map_err(bad)?;
            sources.named.push((checked(name, &parts).ok_or_else(|| bad(HEADER))?, parts));
        }
        Ok(sources)
    }

    /// The headers of an environment variable, as W3C Baggage writes its members.
    pub(super) fn listed(list: &str) -> Result<Self, BadHeader> {
        let mut sources = Self::default();
        for member in list.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let bad = |name: &str| BadHeader { name: name.to_owned(), allowed: LIST };
            let (name, value) = member.split_once('=').ok_or_else(|| bad(""))?;
            let name = name.trim();
            let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| bad(name))?;
            let parts = vec![Part::Text(value.into_owned())];
            sources.named.push((checked(name, &parts).ok_or_else(|| bad(name))?, parts));
        }
        Ok(sources)
    }

    /// The files that values stand in.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Access)> {
        let inside = self.named.iter().flat_map(|(_, parts)| parts).filter_map(Part::file);
        inside.chain(self.file.as_deref()).map(|path| (path, Access::Secret))
    }

    /// The headers, their values marked as secret.
    pub(super) fn resolve(&self, contents: &Contents) -> Result<HeaderMap, FileError> {
        let mut headers = HeaderMap::new();
        for (name, parts) in &self.named {
            let mut value = String::new();
            for part in parts {
                value.push_str(match part {
                    Part::Text(text) => text,
                    Part::File(path) => contents.text(path)?,
                });
            }
            let value = secret(&value).ok_or_else(|| {
                // Text was looked at before: it is a file's.
                let path = parts.iter().find_map(Part::file).unwrap_or(Path::new(""));
                FileError::content(path, format!("what it holds is no value for the header {name}"))
            })?;
            headers.insert(name, value);
        }
        if let Some(path) = &self.file {
            for (number, line) in contents.text(path)?.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let (name, value) = read_line(line).ok_or_else(|| {
                    let number = number + 1;
                    FileError::content(path, format!("line {number} is not `name: value` or `name=value`"))
                })?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }
}

// === impl Part ===

impl Part {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text(_) => None,
        }
    }
}

/// Names only.
impl fmt::Debug for HeaderSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.named.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HeaderSources").field("named", &names).field("file", &self.file).finish()
    }
}

/// A path that is set.
pub(super) fn set(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

/// `name: value` or `name=value`: neither sign can be in a name.
fn read_line(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once([':', '='])?;
    Some((HeaderName::try_from(name.trim()).ok()?, secret(value.trim())?))
}

/// The name, where it and the text of the value are usable.
fn checked(name: &str, parts: &[Part]) -> Option<HeaderName> {
    for part in parts {
        if let Part::Text(text) = part {
            secret(text)?;
        }
    }
    HeaderName::try_from(name).ok()
}

fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes a value apart: `${file:/path}`, `${env:NAME}`, `$${` for a plain `${`.
fn parts(mut value: &str, environment: Environment<'_>) -> Result<Vec<Part>, &'static str> {
    let (mut parts, mut text) = (Vec::new(), String::new());
    while let Some(at) = value.find("${") {
        if value[..at].ends_with('$') {
            text.push_str(&value[..at]);
            text.push('{');
            value = &value[at + 2..];
            continue;
        }
        text.push_str(&value[..at]);
        let (inside, rest) = value[at + 2..].split_once('}').ok_or(PLACEHOLDER)?;
        match inside.split_once(':') {
            Some(("file", path)) if !path.is_empty() => {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::File(path.into()));
            }
            Some(("env", name)) => text.push_str(&environment(name).ok_or(VARIABLE)?),
            _ => return Err(PLACEHOLDER),
        }
        value = rest;
    }
    text.push_str(value);
    parts.push(Part::Text(text));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "t${x}k".to_owned())
    }

    fn configured(value: &str, file: &Path) -> Result<HeaderSources, BadHeader> {
        let headers = Headers(BTreeMap::from([("a".to_owned(), value.to_owned())]));
        HeaderSources::configured(&headers, file, &environment)
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn resolve(sources: &HeaderSources) -> Result<Vec<(String, String)>, FileError> {
        let headers = sources.resolve(&Contents::read(sources.files())?)?;
        let pair = |(name, value): (&HeaderName, &HeaderValue)| {
            assert!(value.is_sensitive());
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        Ok(headers.iter().map(pair).collect())
    }

    #[test]
    fn a_value_is_put_together() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, "secret\r\n");
        let inside = format!("${{file:{}}}", path.display());
        for (value, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("$5 $$5 {} $", "$5 $$5 {} $"),
            (&inside, "secret"),
            (&format!("Bearer {inside}!{inside}"), "Bearer secret!secret"),
            ("x${env:TOKEN}y", "xt${x}ky"),
            ("$${file:/x} $$${env:TOKEN}", "${file:/x} $${env:TOKEN}"),
        ] {
            let sources = configured(value, Path::new("")).unwrap();
            assert_eq!(resolve(&sources).unwrap(), [("a".to_owned(), expected.to_owned())], "{value}");
            assert!(!format!("{sources:?}").contains("plain"));
        }
        for (value, allowed) in [
            ("${file:}", PLACEHOLDER),
            ("${file:/x", PLACEHOLDER),
            ("${x}", PLACEHOLDER),
            ("${env:OTHER}", VARIABLE),
            ("a\nb", HEADER),
        ] {
            assert_eq!(configured(value, Path::new("")).unwrap_err().allowed, allowed, "{value}");
        }
    }

    #[test]
    fn a_file_has_a_header_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("headers");
        let sources = configured("1", &path).unwrap();
        write(&path, "# comment\n\nX-Key: b=c: d \nb = 2\nA=3\n");
        let expected = [("a", "3"), ("x-key", "b=c: d"), ("b", "2")];
        assert_eq!(resolve(&sources).unwrap(), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        for (text, line) in
            [("a=1\nsecret", "line 2"), ("b c: secret", "line 1"), ("a: \u{1}secret", "line 1")]
        {
            write(&path, text);
            let reason = resolve(&sources).unwrap_err().to_string();
            assert!(reason.contains(line) && !reason.contains("secret"), "{reason}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(resolve(&sources).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_file_that_holds_no_value_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, "secret\nsecond\n");
        let sources = configured(&format!("${{file:{}}}", path.display()), Path::new("")).unwrap();
        let reason = resolve(&sources).unwrap_err().to_string();
        assert!(reason.contains("token") && !reason.contains("secret"), "{reason}");
    }
}
