//! `[redaction]`: what a configuration adds to the built-in rules, and what can be wrong with it.

use serde::{Deserialize, Serialize};

/// `[redaction]`: what is kept from leaving the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionConfig {
    /// Whether anything is masked.
    pub enabled: bool,
    /// What is masked beside what the built-in rules find.
    pub filters: Vec<FilterConfig>,
}

/// Tetragon's redaction filter: what its regular expressions capture is masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterConfig {
    /// Regular expressions with capture groups, for the arguments joined by spaces and for each variable.
    pub redact: Vec<String>,
    /// For which programs, by path; none for all.
    pub binary_regex: Vec<String>,
}

/// A filter that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("redaction.filters[{filter}].{list}[{index}] = {regex:?} can't be used: {fault}")]
pub struct RedactionError {
    /// The filter's number, from 0.
    pub filter: usize,
    /// Which of its lists.
    pub list: &'static str,
    /// Number in the list, from 0.
    pub index: usize,
    /// The regular expression.
    pub regex: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a regular expression.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is none, or too big.
    #[error(transparent)]
    Regex(Box<regex::Error>),
    /// Nothing says what is to be masked.
    #[error("it captures nothing; put what is to be masked in parentheses")]
    NoGroup,
    /// The list is empty, and the filter does nothing.
    #[error("the list is empty; name what is to be masked by a regular expression with a capture group")]
    Empty,
}

// === impl RedactionConfig ===

impl Default for RedactionConfig {
    fn default() -> Self {
        Self { enabled: true, filters: Vec::new() }
    }
}
