//! Closed sets of words.

use std::fmt;

use super::fault::Feature;

/// The words that may stand in one place.
#[derive(Clone, Copy, Debug)]
pub struct Words<T: 'static> {
    /// What each of them is: `operator`.
    pub what: &'static str,
    /// Whether upper and lower case are the same.
    pub any_case: bool,
    /// The words.
    pub words: &'static [(&'static str, Word<T>)],
}

/// What a word stands for.
#[derive(Clone, Copy, Debug)]
pub enum Word<T> {
    /// This.
    Is(T),
    /// This, though there is a better word.
    Also(T),
    /// A part of the language that isn't supported yet.
    Later,
}

/// Why a word stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWord {
    /// It isn't supported yet.
    Later(Feature),
    /// It isn't one.
    Unknown,
}

// === impl Words ===

impl<T: Copy> Words<T> {
    /// What `text` stands for.
    ///
    /// # Errors
    /// Says whether it is no word of the language, or only not supported yet.
    pub fn get(&self, text: &str) -> Result<T, NoWord> {
        let same = |word: &str| word == text || self.any_case && word.eq_ignore_ascii_case(text);
        match self.words.iter().find(|(word, _)| same(word)) {
            Some((_, Word::Is(value) | Word::Also(value))) => Ok(*value),
            Some((name, Word::Later)) => Err(NoWord::Later(Feature { of: self.what, name })),
            None => Err(NoWord::Unknown),
        }
    }

    /// All of them, whatever they stand for.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.words.iter().map(|(word, _)| *word)
    }
}

impl<T> fmt::Display for Words<T> {
    /// The supported words, as a list to read.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let supported = self.words.iter().filter(|(_, word)| matches!(word, Word::Is(_)));
        for (index, (name, _)) in supported.enumerate() {
            formatter.write_str(if index == 0 { "" } else { ", " })?;
            formatter.write_str(name)?;
        }
        Ok(())
    }
}
