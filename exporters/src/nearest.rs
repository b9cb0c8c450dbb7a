//! What may have been meant by a word that is none.

/// The longest name of Trigon's has fewer letters; a longer text isn't compared.
const COMPARED: usize = 60;
/// Below it, two words have no more in common than two of the same language.
const LIKE: f64 = 0.8;

/// The word that is most like `text`, if one is so like it that it may have been meant.
pub fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    if text.len() > COMPARED {
        return None;
    }
    let text = text.to_ascii_lowercase();
    words
        .into_iter()
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
        let suggested = |text| nearest(text, words);
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
