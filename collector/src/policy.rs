//! Tracing policies, in the language that Tetragon reads: from a file to a checked [`Policy`], or to everything that
//! keeps it from being one.
//!
//! `yaml` makes a tree of the text, `read` a policy of the tree, and `check` knows which operators and values fit which
//! argument. What Trigon doesn't support yet is refused by its name.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub mod check;
pub mod compile;
pub mod engine;
pub mod explain;
mod expression;
pub mod fault;
pub mod limits;
pub mod manager;
pub mod matches;
pub mod model;
pub mod outbound;
pub mod placements;
mod read;
pub mod resolve;
pub(crate) mod words;
mod yaml;

use fault::{Class, Fault, Faults};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use model::{Policy, Position};

#[cfg(test)]
mod tests;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Its policies. Empty if there is one fault that is more than a warning: a file is taken whole or not at all.
    pub policies: Vec<Policy>,
    /// What is wrong, by place; at most [`limits::FAULTS`].
    pub faults: Vec<Fault>,
    /// Faults beyond these.
    pub hidden: usize,
    /// How many of all of them are more than a warning.
    pub errors: usize,
}

// === impl Rules ===

impl Rules {
    /// Everything is allowed: for those who only look at policies.
    pub const ALL: Self = Self { outbound: true };

    /// Reads the policies in a text.
    pub fn check_text(self, text: &str) -> Checked {
        let faults = Faults::default();
        if text.len() > limits::FILE_BYTES {
            return too_long();
        }
        let documents = yaml::parse(text, &faults);
        let mut policies: Vec<Policy> = Vec::new();
        for document in &documents {
            let root = read::Item::root(document, &faults, self);
            let Some(policy) = read::policy::read(&root) else { continue };
            if policies.iter().any(|other| other.key() == policy.key()) {
                root.invalid(format_args!("two policies of this file are called {}", policy.key()));
            }
            policies.push(policy);
        }
        if documents.is_empty() && faults.fatal() == 0 {
            faults.push(whole(Class::Invalid, "there is no policy in it".to_owned(), None));
        }
        let errors = faults.fatal();
        if errors > 0 {
            policies.clear();
        }
        let (faults, hidden) = faults.finish();
        Checked { policies, faults, hidden, errors }
    }

    /// Reads the policies in a file.
    ///
    /// # Errors
    /// Fails if the file can't be read. What is wrong in the file is part of the result.
    pub fn check_file(self, path: &Path) -> Result<Checked, FileError> {
        Ok(self.check_bytes(&read_file(path)?))
    }

    /// Reads the policies in what should be a text.
    pub fn check_bytes(self, bytes: &[u8]) -> Checked {
        if bytes.len() > limits::FILE_BYTES {
            return too_long();
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.check_text(text),
            Err(error) => {
                let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
                let mut fault = whole(Class::Syntax, "this isn't UTF-8".to_owned(), None);
                fault.at.line = u32::try_from(line).unwrap_or(u32::MAX);
                refuse(fault)
            }
        }
    }
}

// === impl Checked ===

impl Checked {
    /// The first thing that keeps it from being used, without its place, and how many there are beside it.
    pub fn first_error(&self) -> Option<String> {
        let more = self.errors.checked_sub(1)?;
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        // Beyond the limit of faults they are only counted: warnings may have taken all the room.
        let first = self.faults.iter().find(|fault| fault.class.is_error());
        let first = first.map_or_else(|| "it has faults".to_owned(), |first| first.unplaced().to_string());
        Some(format!("{first}{more}"))
    }
}

/// What policies may have beyond what all may: the configuration decides. By default it is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Actions by which the agent calls out, `GetUrl` and `DnsLookup`: `policy.allow_outbound_actions`.
    pub outbound: bool,
}

/// A file or directory that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses it.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a device, a pipe or a socket.
    #[error("cannot read {}: a policy is a file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// A directory has no files that end in .yaml or .yml.
    #[error("{} has no file that ends in .yaml or .yml", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// A directory has too many files.
    #[error("{} has more than {} policy files", path.display(), limits::FILES)]
    TooMany {
        /// Which.
        path: PathBuf,
    },
}

/// Reads the policies in a text, by the rules of an agent that allows nothing beyond what all may.
pub fn check_text(text: &str) -> Checked {
    Rules::default().check_text(text)
}

/// The schema of a policy's `spec`, for the API server.
pub fn schema(namespaced: bool) -> JSONSchemaProps {
    read::policy::schema::spec(namespaced)
}

/// Reads the policies in a file, as [`check_text`].
///
/// # Errors
/// Fails if the file can't be read. What is wrong in the file is part of the result.
pub fn check_file(path: &Path) -> Result<Checked, FileError> {
    Rules::default().check_file(path)
}

/// Reads a policy file; of one that is too long, no more than shows that it is.
///
/// # Errors
/// Fails if it can't be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    let refused = |source| FileError::Read { path: path.to_owned(), source };
    // Asked before it is opened: to open a pipe is to wait for its writer.
    if !path.metadata().map_err(refused)?.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let most = limits::FILE_BYTES as u64 + 1;
    File::open(path).map_err(refused)?.take(most).read_to_end(&mut bytes).map_err(refused)?;
    Ok(bytes)
}

/// Reads the policies in what should be a text, as [`check_text`].
pub fn check_bytes(bytes: &[u8]) -> Checked {
    Rules::default().check_bytes(bytes)
}

/// The policy files that a path stands for: itself, or what a directory has of .yaml and .yml, by name.
///
/// # Errors
/// Fails if the directory can't be read, has none or too many.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let refused = |source| FileError::Read { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(refused)? {
        let file = entry.map_err(refused)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let policy = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if hidden || !policy || file.is_dir() {
            continue;
        }
        if files.len() == limits::FILES {
            return Err(FileError::TooMany { path: path.to_owned() });
        }
        files.push(file);
    }
    if files.is_empty() {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    files.sort();
    Ok(files)
}

fn whole(class: Class, message: String, allowed: Option<String>) -> Fault {
    Fault { class, at: Position::START, path: String::new(), message, allowed }
}

fn refuse(fault: Fault) -> Checked {
    Checked { faults: vec![fault], errors: 1, ..Checked::default() }
}

fn too_long() -> Checked {
    let message = "this is too long for a policy file".to_owned();
    refuse(whole(Class::Limit, message, Some(format!("at most {} bytes", limits::FILE_BYTES))))
}
