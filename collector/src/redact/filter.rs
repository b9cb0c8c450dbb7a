//! A filter of the configuration, compiled.

use regex::{Regex, RegexBuilder};

use super::{FilterConfig, RedactionError, Spans, config::Fault};

/// Bytes that one regular expression may take when compiled, and what it may keep while it runs.
const REGEX_BYTES: usize = 1 << 20;

/// A filter, compiled.
#[derive(Debug)]
pub(super) struct Filter {
    redact: Vec<Regex>,
    binaries: Vec<Regex>,
}

// === impl Filter ===

impl Filter {
    pub(super) fn new(filter: usize, config: &FilterConfig) -> Result<Self, RedactionError> {
        let error = |list, index: usize, regex: &str, fault| RedactionError {
            filter,
            list,
            index,
            regex: regex.to_owned(),
            fault,
        };
        let compile = |list, (index, text): (usize, &String)| {
            let built = RegexBuilder::new(text).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build();
            built.map_err(|fault| error(list, index, text, Fault::Regex(Box::new(fault))))
        };
        if config.redact.is_empty() {
            return Err(error("redact", 0, "", Fault::Empty));
        }
        let redact = config.redact.iter().enumerate().map(|entry| {
            let regex = compile("redact", entry)?;
            match regex.captures_len() {
                1 => Err(error("redact", entry.0, entry.1, Fault::NoGroup)),
                _ => Ok(regex),
            }
        });
        let redact = redact.collect::<Result<_, _>>()?;
        let binaries = config.binary_regex.iter().enumerate().map(|entry| compile("binary_regex", entry));
        Ok(Self { redact, binaries: binaries.collect::<Result<_, _>>()? })
    }

    /// Whether it is for executions of this binary.
    pub(super) fn is_for(&self, binary: &str) -> bool {
        self.binaries.is_empty() || self.binaries.iter().any(|regex| regex.is_match(binary))
    }

    /// Adds what is captured in `text`, which begins at `offset`.
    pub(super) fn find(&self, text: &str, offset: usize, spans: &mut Spans) {
        for regex in &self.redact {
            for captures in regex.captures_iter(text) {
                let groups = captures.iter().skip(1).flatten();
                spans.extend(groups.map(|group| offset + group.start()..offset + group.end()));
            }
        }
    }
}
