//! Closed sets of words, and what was meant by a word that is in none.

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

/// The word that is most like `text`, if one is so like it that it may have been meant.
pub fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    /// The longest word of the language has 29 letters; a longer text isn't compared.
    const COMPARED: usize = 40;
    /// Below it, the two have no more in common than two words of the language.
    const LIKE: f64 = 0.8;
    if text.len() > COMPARED {
        return None;
    }
    let text = text.to_ascii_lowercase();
    words
        .map(|word| (strsim::normalized_damerau_levenshtein(&text, &word.to_ascii_lowercase()), word))
        .map(|(like, word)| {
            let part = text.len() > 3 && word.to_ascii_lowercase().starts_with(&text);
            (if part { like.max(LIKE) } else { like }, word)
        })
        .filter(|(like, word)| *like >= LIKE || word.len() <= 6 && *like >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likely_word_is_suggested_and_an_unlikely_one_is_not() {
        let words = ["selectors", "matchArgs", "matchPIDs", "args", "index", "SubStringIgnCase", "type"];
        let suggested = |text| nearest(text, words.into_iter());
        assert_eq!(suggested("selector"), Some("selectors"));
        assert_eq!(suggested("matchargs"), Some("matchArgs"));
        assert_eq!(suggested("matchPids"), Some("matchPIDs"));
        assert_eq!(suggested("arg"), Some("args"));
        assert_eq!(suggested("indx"), Some("index"));
        assert_eq!(suggested("SubStringIgnoreCase"), Some("SubStringIgnCase"));
        assert_eq!(suggested("colour"), None);
        assert_eq!(suggested(""), None);
        assert_eq!(suggested(&"index".repeat(100)), None);
    }
}
