//! What is wrong with a policy, where, and what would be right.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::Serialize;

use super::{limits, model::Position};

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What sort of fault it is.
    #[serde(flatten)]
    pub class: Class,
    /// Where it stands.
    #[serde(flatten)]
    pub at: Position,
    /// The field: `spec.kprobes[1].selectors[0].matchArgs[2].operator`. Empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed there, if that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

/// What sort of fault it is. All but warnings and notes keep the policy from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "class", content = "feature", rename_all = "lowercase")]
pub enum Class {
    /// It isn't YAML.
    Syntax,
    /// It is more than a policy may be.
    Limit,
    /// The language knows no such thing.
    Invalid,
    /// It is part of the language, and not yet of Trigon.
    Unsupported(Feature),
    /// It is part of the language, and the configuration doesn't allow it.
    Forbidden(Feature),
    /// It has no effect where it stands.
    Warning,
    /// Nothing is wrong with it; what it means shows later.
    Note,
}

/// A part of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Feature {
    /// What it is one of: `operator`. Empty for a key.
    pub of: &'static str,
    /// Its name, as in the file.
    pub name: &'static str,
}

/// Faults of one file, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Faults {
    found: RefCell<Vec<Fault>>,
    /// Kept apart: they take no fault's place.
    notes: RefCell<Vec<Fault>>,
    fatal: Cell<usize>,
    hidden: Cell<usize>,
}

/// The path of a field: a list that lies on the stack, last step first.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    before: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

/// Text from a file as it may be shown on a terminal: quoted, escaped, and no more than 64 characters.
pub struct Quoted<'a>(pub &'a str);

// === impl Fault ===

impl Fault {
    /// What is wrong, without the place in a file: `path: message; allowed: …`
    pub fn unplaced(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|formatter| {
            if !self.path.is_empty() {
                write!(formatter, "{}: ", self.path)?;
            }
            formatter.write_str(&self.message)?;
            self.allowed.iter().try_for_each(|allowed| write!(formatter, "; allowed: {allowed}"))
        })
    }
}

impl fmt::Display for Fault {
    /// `line:column: error: path: message; allowed: …`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sort = match self.class {
            Class::Warning => "warning",
            Class::Note => "note",
            _ => "error",
        };
        write!(formatter, "{}: {sort}: {}", self.at, self.unplaced())
    }
}

// === impl Class ===

impl Class {
    /// Whether it keeps the policy from being used.
    pub fn is_error(self) -> bool {
        !matches!(self, Self::Warning | Self::Note)
    }
}

// === impl Feature ===

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            "" => formatter.write_str(self.name),
            of => write!(formatter, "{of} {}", self.name),
        }
    }
}

impl Serialize for Feature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Faults ===

impl Faults {
    /// Takes note of one. Beyond [`limits::FAULTS`] they are only counted.
    pub fn push(&self, fault: Fault) {
        // A macro is read once for each selector that uses it.
        if !self.is_full() && self.found.borrow().contains(&fault) {
            return;
        }
        if fault.class.is_error() {
            self.fatal.set(self.fatal.get() + 1);
        }
        let kept = if fault.class == Class::Note { &self.notes } else { &self.found };
        let mut found = kept.borrow_mut();
        if found.len() < limits::FAULTS {
            found.push(fault);
        } else {
            self.hidden.set(self.hidden.get() + 1);
        }
    }

    /// Whether a further one is only counted: what it says doesn't matter any more.
    pub fn is_full(&self) -> bool {
        self.found.borrow().len() >= limits::FAULTS
    }

    /// How many there were that keep a policy from being used.
    pub fn fatal(&self) -> usize {
        self.fatal.get()
    }

    /// The faults by their place in the file, and how many there are beside them.
    pub fn finish(self) -> (Vec<Fault>, usize) {
        let (mut found, mut notes) = (self.found.into_inner(), self.notes.into_inner());
        let room = limits::FAULTS - found.len();
        let hidden = self.hidden.get() + notes.len().saturating_sub(room);
        notes.truncate(room);
        found.append(&mut notes);
        found.sort_by_key(|fault| fault.at);
        (found, hidden)
    }
}

// === impl Path ===

impl<'a> Path<'a> {
    /// Of the document.
    pub const ROOT: Path<'static> = Path { before: None, step: Step::Root };

    /// Of a key's value.
    pub fn key(&'a self, key: &'a str) -> Self {
        Self { before: Some(self), step: Step::Key(key) }
    }

    /// Of a list's item.
    pub fn index(&'a self, index: usize) -> Self {
        Self { before: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = self.before {
            before.fmt(formatter)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(formatter, "[{index}]"),
            Step::Key(key) => {
                if self.before.is_some_and(|before| !matches!(before.step, Step::Root)) {
                    formatter.write_str(".")?;
                }
                let plain = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
                if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
                    formatter.write_str(key)
                } else {
                    Quoted(key).fmt(formatter)
                }
            }
        }
    }
}

// === impl Quoted ===

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let end = self.0.char_indices().nth(SHOWN).map_or(self.0.len(), |(at, _)| at);
        let (shown, rest) = self.0.split_at(end);
        write!(formatter, "{shown:?}")?;
        if rest.is_empty() { Ok(()) } else { write!(formatter, " and {} bytes more", rest.len()) }
    }
}
