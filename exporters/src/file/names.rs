//! What rotated files are called: `events-2026-11-24T12-00-00.123.json`, `….json.gz`, so that names sort by time.

use std::path::Path;

use jiff::Timestamp;

use crate::compression::Compression;

/// The names that belong to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// `events-`
    prefix: String,
    /// `.json`; empty where the file has no extension.
    suffix: String,
}

/// A rotated file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rotated {
    /// `2026-11-24T12-00-00.123`: sorts by time.
    time: String,
    /// The whole name.
    pub(super) name: String,
    /// What it is.
    pub(super) state: State,
}

/// What has become of a rotated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// As it was written.
    Plain,
    /// Compressed.
    Compressed,
    /// What was left of a compression that didn't come to its end.
    Unfinished,
}

/// The time in a name, in UTC. A colon would be in the way on other systems.
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";
const TIME_SHAPE: &str = "0000-00-00T00-00-00.000";

/// What a compression that goes on is called, beyond the name it will have.
const UNFINISHED: &str = ".tmp";

// === impl Names ===

impl Names {
    /// The names that belong to the file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let part = |part: Option<&std::ffi::OsStr>| {
            part.and_then(|part| part.to_str()).unwrap_or_default().to_owned()
        };
        let suffix = match part(path.extension()) {
            extension if extension.is_empty() => extension,
            extension => format!(".{extension}"),
        };
        Self { prefix: part(path.file_stem()) + "-", suffix }
    }

    /// What a file is called that is rotated at this time, to a millisecond.
    pub(super) fn at(&self, time: Timestamp) -> String {
        format!("{}{}{}", self.prefix, time.strftime(TIME), self.suffix)
    }

    /// Reads a name; none for one that is not ours.
    pub(super) fn parse(&self, name: &str) -> Option<Rotated> {
        let rest = name.strip_prefix(&self.prefix)?;
        let (time, rest) = rest.split_at_checked(TIME_SHAPE.len())?;
        let fits =
            |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        if !time.bytes().zip(TIME_SHAPE.bytes()).all(fits) {
            return None;
        }
        let rest = rest.strip_prefix(&self.suffix)?;
        let (rest, unfinished) = rest.strip_suffix(UNFINISHED).map_or((rest, false), |rest| (rest, true));
        let compressed = [Compression::Gzip, Compression::Zstd].iter().any(|by| rest == by.suffix());
        let state = match (compressed, unfinished) {
            (true, false) => State::Compressed,
            (true, true) => State::Unfinished,
            (false, false) if rest.is_empty() => State::Plain,
            _ => return None,
        };
        Some(Rotated { time: time.to_owned(), name: name.to_owned(), state })
    }
}

// === impl Rotated ===

impl Rotated {
    /// What it is called once it is compressed, and until that is done.
    pub(super) fn compressed(&self, by: Compression) -> (String, String) {
        let name = format!("{}{}", self.name, by.suffix());
        let unfinished = format!("{name}{UNFINISHED}");
        (name, unfinished)
    }

    /// Whether `other` has the same lines.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.time == other.time
    }
}

// === impl Compression ===

impl Compression {
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_are_known_again() {
        let names = Names::of(Path::new("/var/log/trigon/events.json"));
        let times = ["2026-11-24T12:00:00.123456Z", "2026-11-24T12:00:00.124Z", "2027-01-01T00:00:00Z"];
        let written = times.map(|time| names.at(time.parse().unwrap()));
        assert_eq!(written[0], "events-2026-11-24T12-00-00.123.json");
        assert_eq!(written[2], "events-2027-01-01T00-00-00.000.json");
        assert!(written.is_sorted());
        for name in &written {
            let rotated = names.parse(name).unwrap();
            assert_eq!(rotated.state, State::Plain);
            let (compressed, unfinished) = rotated.compressed(Compression::Zstd);
            assert_eq!(names.parse(&compressed).unwrap().state, State::Compressed);
            assert_eq!(names.parse(&unfinished).unwrap().state, State::Unfinished);
            assert!(names.parse(&compressed).unwrap().is_same(&rotated));
        }
        let bare = Names::of(Path::new("events"));
        assert_eq!(bare.at("2026-11-24T12:00:00Z".parse().unwrap()), "events-2026-11-24T12-00-00.000");
    }

    #[test]
    fn other_names_are_left_alone() {
        let names = Names::of(Path::new("events.json"));
        for other in [
            "events.json",
            "events.json.1",
            "events.json-20261124.gz",
            "events-.json",
            "events-2026-11-24T12-00-00.123.jso",
            "events-2026-11-24T12-00-00.123.json.bak",
            "events-2026-11-24T12-00-00.123.json.tmp",
            "events-2026-11-24T12:00:00.123.json",
            "events-audit-2026-11-24T12-00-00.123.json",
            "events-2026-11-24T12-00-00.12é",
            "xevents-2026-11-24T12-00-00.123.json",
        ] {
            assert_eq!(names.parse(other), None, "{other}");
        }
    }
}
