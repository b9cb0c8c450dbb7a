//! Redaction: what looks like a secret is replaced by [`MASK`] before it is part of any event.
//!
//! It happens once, where the tracker makes events of records, so that no way out sees a secret. Arguments are
//! looked at as the kernel has them: one text, each argument ended by NUL. Rules find where a secret begins, `Text`
//! says where it ends, and all that was found is masked at once. Text without a secret is not copied.
//!
//! Paths that the kernel resolved (binary, working directory, files) are names, not values, and stay.

use std::{ops::Range, sync::Arc};

use trigon_exporters::event::{Hook, Value};

mod config;
mod filter;
mod keys;
mod rules;
#[cfg(test)]
mod tests;
mod text;
mod tools;

pub use config::{FilterConfig, RedactionConfig, RedactionError};
use filter::Filter;
use text::Text;

/// What stands in a secret's place, as in Tetragon.
pub const MASK: &str = "*****";

/// What is redacted: the built-in rules, and a configuration's filters. Shared, and cheap to copy.
#[derive(Clone, Debug)]
pub struct Redaction {
    enabled: bool,
    filters: Arc<[Filter]>,
}

/// Masks secrets, and counts them.
#[derive(Debug)]
pub struct Redactor {
    redaction: Redaction,
    masked: u64,
    spans: Spans,
    joined: String,
    text: String,
}

/// Where secrets are.
type Spans = Vec<Range<usize>>;

// === impl Redaction ===

impl Redaction {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// Names the filter and the regular expression that can't be used, and what is wrong with it.
    pub fn new(config: &RedactionConfig) -> Result<Self, RedactionError> {
        let filters = config.filters.iter().enumerate();
        let filters = filters.map(|(index, filter)| Filter::new(index, filter)).collect::<Result<_, _>>()?;
        Ok(Self { enabled: config.enabled, filters })
    }
}

impl Default for Redaction {
    /// The built-in rules alone.
    fn default() -> Self {
        Self { enabled: true, filters: Arc::default() }
    }
}

// === impl Redactor ===

impl Redactor {
    /// A redactor that has masked nothing yet.
    pub fn new(redaction: Redaction) -> Self {
        Self { redaction, masked: 0, spans: Spans::new(), joined: String::new(), text: String::new() }
    }

    /// Redacts by other rules from now on.
    pub fn follow(&mut self, redaction: Redaction) {
        self.redaction = redaction;
    }

    /// How many values were masked so far.
    pub fn masked(&self) -> u64 {
        self.masked
    }

    /// Masks the secrets in the arguments of an execution of `binary` (its path), each argument ended by NUL. `cut`
    /// says that the end of the last one may be missing.
    pub fn arguments(&mut self, binary: &str, args: &mut String, cut: bool) {
        if !self.redaction.enabled {
            return;
        }
        self.spans.clear();
        rules::find(&Text::arguments(args.as_bytes(), cut), Some(binary), &mut self.spans);
        self.filter_arguments(binary, args);
        self.mask(args);
    }

    /// Masks the secrets in a block of environment variables, `NAME=value`, each ended by NUL.
    pub fn environment(&mut self, binary: &str, variables: &mut String, cut: bool) {
        if !self.redaction.enabled {
            return;
        }
        self.spans.clear();
        rules::find(&Text::variables(variables.as_bytes(), cut), None, &mut self.spans);
        for filter in self.redaction.filters.iter().filter(|filter| filter.is_for(binary)) {
            let mut at = 0;
            for variable in variables.split_terminator('\0') {
                let value = at + variable.find('=').map_or(variable.len(), |equals| equals + 1);
                let first = self.spans.len();
                filter.find(variable, at, &mut self.spans);
                // A name is no secret.
                for span in &mut self.spans[first..] {
                    span.start = span.start.max(value).min(span.end);
                }
                at += variable.len() + 1;
            }
        }
        self.mask(variables);
    }

    /// Masks the secrets in the texts and bytes of a policy's event.
    pub fn hook(&mut self, hook: &mut Hook) {
        if !self.redaction.enabled {
            return;
        }
        for value in hook.args.iter_mut().chain(&mut hook.data).flatten() {
            match value {
                Value::Text { text, truncated } => {
                    self.find_prose(text.as_bytes(), *truncated);
                    if !self.spans.is_empty() {
                        let mut masked = String::from(std::mem::take(text));
                        self.mask(&mut masked);
                        *text = masked.into();
                    }
                }
                Value::Bytes { data, size } => {
                    self.find_prose(data, *size > data.len() as u64);
                    self.mask_bytes(data);
                }
                _ => {}
            }
        }
    }

    fn find_prose(&mut self, text: &[u8], cut: bool) {
        self.spans.clear();
        rules::find(&Text::prose(text, cut), None, &mut self.spans);
    }

    /// As Tetragon does: all arguments but the first, with spaces between them.
    fn filter_arguments(&mut self, binary: &str, args: &str) {
        let mut filters = self.redaction.filters.iter().filter(|filter| filter.is_for(binary)).peekable();
        let Some(first) = args.find('\0').filter(|_| filters.peek().is_some()) else { return };
        self.joined.clear();
        self.joined.extend(args[first + 1..].chars().map(|c| if c == '\0' { ' ' } else { c }));
        // The last argument's NUL is no part of any.
        let end = if args.ends_with('\0') { self.joined.len().saturating_sub(1) } else { self.joined.len() };
        for filter in filters {
            filter.find(&self.joined[..end], first + 1, &mut self.spans);
        }
    }

    /// Puts the mask in place of what was found.
    fn mask(&mut self, text: &mut String) {
        settle(&mut self.spans, text.as_bytes());
        if self.spans.is_empty() {
            return;
        }
        self.masked += self.spans.len() as u64;
        self.text.clear();
        let mut done = 0;
        for span in &self.spans {
            // Rules end at ASCII characters; where a regular expression of somebody's doesn't, more is masked.
            let (start, end) = (text.floor_char_boundary(span.start), text.ceil_char_boundary(span.end));
            self.text.push_str(text.get(done..start).unwrap_or_default());
            self.text.push_str(MASK);
            done = end;
        }
        self.text.push_str(text.get(done..).unwrap_or_default());
        std::mem::swap(text, &mut self.text);
    }

    fn mask_bytes(&mut self, data: &mut Box<[u8]>) {
        settle(&mut self.spans, data);
        if self.spans.is_empty() {
            return;
        }
        self.masked += self.spans.len() as u64;
        let mut masked = Vec::with_capacity(data.len());
        let mut done = 0;
        for span in &self.spans {
            masked.extend_from_slice(&data[done..span.start]);
            masked.extend_from_slice(MASK.as_bytes());
            done = span.end;
        }
        masked.extend_from_slice(&data[done..]);
        *data = masked.into();
    }
}

/// Brings spans in order: none is empty, masked already, or overlaps another.
fn settle(spans: &mut Spans, text: &[u8]) {
    spans.retain(|span| span.start < span.end);
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    spans.dedup_by(|next, kept| {
        let overlaps = next.start <= kept.end;
        if overlaps {
            kept.end = kept.end.max(next.end);
        }
        overlaps
    });
    spans.retain(|span| text.get(span.clone()) != Some(MASK.as_bytes()));
}
