//! The `[[file]]` tables of the configuration.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        Error as _, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::{compression::Compression, filter::FilterConfig, lines};

/// A file that events are written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// The file. Its directory is made where it is missing. Empty: nothing is written.
    pub path: PathBuf,
    /// Tells files apart in metrics and in `trigon status`: lower-case letters, digits, `_`. Needed from the second on.
    pub name: String,
    /// How events are written.
    pub format: FileFormat,
    /// Bytes after which the file is rotated; 0: never for its size.
    pub max_bytes: u64,
    /// Age after which the file is rotated; 0: never for its age.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// How rotated files are compressed.
    pub compress: Compression,
    /// Rotated files that are kept; 0: all.
    pub max_files: usize,
    /// Permissions of the file and of rotated ones.
    pub mode: FileMode,
    /// Events that wait to be written.
    pub queue_events: usize,
    /// What is written; where it is left out, what the general filter lets through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterConfig>,
}

/// How events are written to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// JSON lines in Tetragon's shape.
    #[default]
    Json,
    /// Lines for people, with the time.
    Compact,
}

/// Permissions, an octal number in a string: `"600"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("file.{key} = {value} of the file {} can't be used: {allowed}", path.display())]
pub struct FileConfigError {
    path: PathBuf,
    key: &'static str,
    value: String,
    allowed: &'static str,
}

/// Smaller files would be rotated with every batch of lines.
const MIN_BYTES: u64 = 64 * 1024;
const MIN_AGE: Duration = Duration::from_secs(1);

/// Reads any number of `[[file]]` tables, or one `[file]`. One without a path is left out.
///
/// # Errors
/// As the deserializer's, for the table that is wrong.
pub fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<FileConfig>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<FileConfig>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table [file], or tables [[file]]")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            FileConfig::deserialize(MapAccessDeserializer::new(map)).map(|file| vec![file])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(tables))
        }
    }

    let mut files = deserializer.deserialize_any(OneOrMore)?;
    files.retain(|file| !file.path.as_os_str().is_empty());
    Ok(files)
}

/// Checks all files, each for itself and against the others.
///
/// # Errors
/// Names the first setting that can't be used and what is allowed.
pub fn check(files: &[FileConfig]) -> Result<(), FileConfigError> {
    for (index, file) in files.iter().enumerate() {
        file.check()?;
        let before = &files[..index];
        if before.iter().any(|other| other.path == file.path) {
            return Err(file.error("path", file.path.display(), "each file is written by one table"));
        }
        if before.iter().any(|other| other.name == file.name) {
            let allowed = "several files need a name each, all different";
            return Err(file.error("name", format_args!("{:?}", file.name), allowed));
        }
    }
    Ok(())
}

// === impl FileConfig ===

impl FileConfig {
    /// Name of this way out in metrics.
    pub fn exporter(&self) -> String {
        match self.name.as_str() {
            "" => "file".to_owned(),
            name => format!("file_{name}"),
        }
    }

    /// How lines are encoded.
    pub fn format(&self) -> lines::Format {
        match self.format {
            FileFormat::Json => lines::Format::Json,
            FileFormat::Compact => lines::Format::Compact { color: false, timestamps: true },
        }
    }

    fn check(&self) -> Result<(), FileConfigError> {
        if self.path.file_name().and_then(|name| name.to_str()).is_none() {
            return Err(self.error("path", self.path.display(), "the path of a file is allowed"));
        }
        if !self.name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            let allowed = "lower-case letters, digits and _ are allowed";
            return Err(self.error("name", format_args!("{:?}", self.name), allowed));
        }
        if self.max_bytes != 0 && self.max_bytes < MIN_BYTES {
            return Err(self.error("max_bytes", self.max_bytes, "0, or a number from 65536 is allowed"));
        }
        if !self.max_age.is_zero() && self.max_age < MIN_AGE {
            let age = format_args!("{:?}", self.max_age);
            return Err(self.error("max_age", age, "\"0s\", or a duration from \"1s\" is allowed"));
        }
        if self.queue_events == 0 {
            return Err(self.error("queue_events", 0, "a number above 0 is allowed"));
        }
        Ok(())
    }

    fn error(&self, key: &'static str, value: impl fmt::Display, allowed: &'static str) -> FileConfigError {
        FileConfigError { path: self.path.clone(), key, value: value.to_string(), allowed }
    }

    /// The directory that the file is in.
    pub(super) fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            name: String::new(),
            format: FileFormat::default(),
            max_bytes: 64 << 20,
            max_age: Duration::ZERO,
            compress: Compression::default(),
            max_files: 5,
            mode: FileMode::default(),
            queue_events: 16_384,
            filter: None,
        }
    }
}

// === impl FileMode ===

impl Default for FileMode {
    fn default() -> Self {
        Self(0o600)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:03o}", self.0))
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mode = u32::from_str_radix(&text, 8).ok();
        // The owner has to be able to read and write it; nobody executes it.
        let usable = mode.filter(|mode| mode & !0o666 == 0 && mode & 0o600 == 0o600);
        usable.map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "mode = {text:?} can't be used: an octal number is allowed that lets the owner read and write \
                 and nobody execute, such as \"600\" or \"640\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Config {
        #[serde(default, deserialize_with = "one_or_more")]
        file: Vec<FileConfig>,
    }

    fn read(toml: &str) -> Result<Vec<FileConfig>, String> {
        toml::from_str::<Config>(toml).map(|config| config.file).map_err(|error| error.to_string())
    }

    fn refused(toml: &str) -> String {
        check(&read(toml).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn tables_may_be_none_one_or_many() {
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("[file]\nname = \"without_a_path\"").unwrap(), []);
        let one = read("[file]\npath = \"/a\"\nmode = \"0640\"\nmax_age = \"1h\"").unwrap();
        assert_eq!((one[0].mode, one[0].max_age), (FileMode(0o640), Duration::from_secs(3600)));
        let two = read("[[file]]\npath = \"/a\"\n[[file]]\npath = \"/b\"\nname = \"b\"\ncompress = \"zstd\"");
        let two = two.unwrap();
        check(&two).unwrap();
        assert_eq!((two[0].exporter().as_str(), two[1].exporter().as_str()), ("file", "file_b"));
        for file in [one, two].concat() {
            let written = toml::to_string(&file).unwrap();
            assert_eq!(toml::from_str::<FileConfig>(&written).unwrap(), file, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (toml, text) in [
            ("[[file]]\nsize = 1", "unknown field `size`"),
            ("[file]\nsize = 1", "unknown field `size`"),
            ("file = 7", "a table [file], or tables [[file]]"),
            ("[file]\nmode = \"700\"", "such as \"600\" or \"640\""),
            ("[file]\nmode = \"060\"", "such as \"600\" or \"640\""),
            ("[file]\nmode = 600", "expected a string"),
            ("[file]\ncompress = \"xz\"", "`gzip`"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.contains(text), "{toml}: {error}");
        }
        for (toml, text) in [
            ("[file]\npath = \"/\"", "file.path = / of the file / can't be used"),
            ("[file]\npath = \"/a\"\nname = \"A b\"", "file.name = \"A b\" of the file /a can't be used"),
            ("[file]\npath = \"/a\"\nmax_bytes = 5", "0, or a number from 65536"),
            ("[file]\npath = \"/a\"\nmax_age = \"5ms\"", "from \"1s\""),
            ("[file]\npath = \"/a\"\nqueue_events = 0", "file.queue_events = 0"),
            ("[[file]]\npath = \"/a\"\n[[file]]\npath = \"/b\"", "several files need a name each"),
            ("[[file]]\npath = \"/a\"\n[[file]]\npath = \"/a\"\nname = \"b\"", "by one table"),
        ] {
            let error = refused(toml);
            assert!(error.contains(text), "{toml}: {error}");
        }
    }
}
