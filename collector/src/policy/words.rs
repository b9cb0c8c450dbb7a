//! Closed sets of words.

use std::fmt;

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
}

// === impl Words ===

impl<T: Copy> Words<T> {
    /// What `text` stands for; none where it is no word of the language.
    pub fn get(&self, text: &str) -> Option<T> {
        let same = |word: &str| word == text || self.any_case && word.eq_ignore_ascii_case(text);
        let (_, Word::Is(value) | Word::Also(value)) = self.words.iter().find(|(word, _)| same(word))?;
        Some(*value)
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
