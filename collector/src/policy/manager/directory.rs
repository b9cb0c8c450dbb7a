//! The directory that is watched: what it has is what is loaded.
//!
//! All its files are read at each change, which takes no memory of what they were, and holds for symbolic links that
//! are swapped (Kubernetes mounts a ConfigMap so) as for files that an editor renames.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use tracing::{info, warn};

use super::Manager;
use crate::{
    api::{Origin, PolicyStatus, State},
    policy::{self, Checked, FileError, Rules, model::Policy},
};

/// Files of the directory: the policies of each, or what is wrong with it.
type Files = Vec<(PathBuf, Result<Vec<Policy>, String>)>;

// === impl Manager ===

impl Manager {
    /// Loads the policies of a directory, and whatever [`Self::scan`] finds there from now on.
    pub fn follow_directory(&mut self, directory: PathBuf) {
        self.directory = Some(directory);
        self.scan();
    }

    /// Loads what the directory has now: new policies, changed ones in the place of those that they were, and those
    /// that are gone go. What can't be read or loaded leaves what was there.
    pub fn scan(&mut self) {
        let Some(directory) = self.directory.clone() else { return };
        let mut left_out = Vec::new();
        match read(&directory, self.rules()) {
            Ok(files) => self.take(files, &mut left_out),
            Err(error) => left_out.push(refused(None, State::LoadError, directory, error.to_string())),
        }
        for new in &mut left_out {
            let same = |old: &&PolicyStatus| {
                (old.key(), &old.from, &old.error) == (new.key(), &new.from, &new.error)
            };
            match self.left_out.iter().find(same) {
                Some(old) => new.since = old.since,
                None => {
                    let error = new.error.as_deref().unwrap_or_default();
                    warn!(from = %new.from, state = new.state.as_str(), "a policy file is left out: {error}");
                }
            }
        }
        self.left_out = left_out;
    }

    fn take(&mut self, files: Files, left_out: &mut Vec<PolicyStatus>) {
        // The first file that has a name has it.
        let mut owners: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (file, policies) in &files {
            for policy in policies.iter().flatten() {
                owners.entry(policy.key()).or_insert_with(|| file.clone());
            }
        }
        let mut broken = BTreeMap::new();
        let mut failing = BTreeSet::new();
        for (file, policies) in files {
            let policies = match policies {
                Ok(policies) => policies,
                Err(error) => {
                    broken.insert(file, error);
                    continue;
                }
            };
            for policy in policies {
                let name = policy.key();
                let other = match (owners.get(&name), self.entries.get(&name).map(|entry| &entry.from)) {
                    (Some(owner), _) if *owner != file => Some(owner.display().to_string()),
                    (_, Some(from @ (Origin::File(_) | Origin::Api | Origin::Kubernetes(_)))) => {
                        Some(from.to_string())
                    }
                    _ => None,
                };
                if let Some(other) = other {
                    let error = format!("a policy of that name is there, from {other}");
                    left_out.push(refused(Some(&policy), State::Skipped, file.clone(), error));
                    continue;
                }
                if !self.has(&policy, &file) {
                    self.load(policy, Origin::Directory(file.clone()));
                }
                if self.entries.get(&name).is_some_and(|entry| entry.error.is_some()) {
                    failing.insert(file.clone());
                }
            }
        }
        let owned = |(name, entry): (&String, &super::Entry)| match &entry.from {
            Origin::Directory(file) if !owners.contains_key(name) => Some((name.clone(), file.clone())),
            _ => None,
        };
        for (name, file) in self.entries.iter().filter_map(owned).collect::<Vec<_>>() {
            let error = match broken.get(&file) {
                Some(error) => error.clone(),
                None if failing.contains(&file) => {
                    format!("{} has it no longer, and what it has can't be loaded", file.display())
                }
                None => {
                    if let Err(error) = self.remove(&name) {
                        warn!(policy = name, %error, "a policy whose file is gone stays");
                    }
                    continue;
                }
            };
            self.keep(&name, error);
        }
        for (file, error) in broken {
            let kept = self.entries.values().any(|entry| entry.from == Origin::Directory(file.clone()));
            if !kept {
                left_out.push(refused(None, State::LoadError, file, error));
            }
        }
    }

    /// Whether a file's policy is the one that is there. What was wrong with its file is mended then.
    fn has(&mut self, policy: &Policy, file: &Path) -> bool {
        let Some(entry) = self.entries.get_mut(&policy.key()) else { return false };
        let loaded = self.engine.as_ref().and_then(|engine| engine.policy(&policy.key()));
        let same = entry.waiting.as_deref().or(loaded) == Some(policy)
            && matches!(&entry.from, Origin::Directory(known) if known == file);
        if same && entry.waiting.is_none() && entry.error.take().is_some() {
            entry.since = Timestamp::now();
            info!(policy = policy.key(), "its file is again what is loaded");
        }
        same
    }

    /// A policy stays, although its file says something else.
    pub(super) fn keep(&mut self, name: &str, error: String) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if entry.error.as_ref() != Some(&error) {
            warn!(policy = name, from = %entry.from, "the policy stays as it was: {error}");
            entry.error = Some(error);
            entry.since = Timestamp::now();
        }
    }
}

fn read(directory: &Path, rules: Rules) -> Result<Files, FileError> {
    let files = match policy::files(directory) {
        Err(FileError::Empty { .. }) => Vec::new(),
        // A file by that name, or nothing.
        Ok(files) if files == [directory] => {
            let source =
                directory.metadata().err().unwrap_or_else(|| std::io::ErrorKind::NotADirectory.into());
            return Err(FileError::Read { path: directory.to_owned(), source });
        }
        files => files?,
    };
    let content = |file: PathBuf| {
        let policies = match rules.check_file(&file) {
            Ok(Checked { policies, errors: 0, .. }) => Ok(policies),
            Ok(Checked { faults, errors, .. }) => {
                let first = faults.iter().find(|fault| fault.class.is_error());
                let first = first.map(ToString::to_string).unwrap_or_default();
                let more = if errors > 1 { format!(" (and {} more)", errors - 1) } else { String::new() };
                Err(format!("{}:{first}{more}", file.display()))
            }
            Err(error) => Err(error.to_string()),
        };
        (file, policies)
    };
    Ok(files.into_iter().map(content).collect())
}

fn refused(policy: Option<&Policy>, state: State, file: PathBuf, error: String) -> PolicyStatus {
    PolicyStatus {
        name: policy.map(|policy| policy.name.clone()),
        namespace: policy.and_then(|policy| policy.namespace.clone()),
        state,
        mode: None,
        since: Timestamp::now(),
        from: Origin::Directory(file),
        hooks: Vec::new(),
        kernel_memory_bytes: 0,
        error: Some(error),
    }
}
