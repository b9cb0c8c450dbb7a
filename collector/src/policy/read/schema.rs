//! The language as a schema: what the API server refuses of a policy before an agent sees it.
//!
//! Each reader's own `schema` module makes its part from the tables that the reader reads by. What a schema can't say
//! remains with the reader.
//!
//! Source of its rules: "Specifying a structural schema" in
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>.

use std::ops::RangeInclusive;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

use super::{super::words::Words, Keys};

pub mod labels;

/// A schema, or a part of one.
pub type Schema = JSONSchemaProps;

/// A mapping with these keys, each as `schema` says.
///
/// A key that isn't supported yet is there too: a field that a schema doesn't know is dropped in silence, and a policy
/// without one of its filters is another policy.
pub fn object(keys: &Keys, required: &[&str], schema: impl Fn(&str) -> Schema) -> Schema {
    let known = keys.known.iter().map(|key| ((*key).to_owned(), schema(key)));
    let later = keys.later.iter().map(|key| ((*key).to_owned(), later()));
    Schema {
        properties: Some(known.chain(later).collect()),
        required: (!required.is_empty()).then(|| required.iter().map(|key| (*key).to_owned()).collect()),
        ..typed("object")
    }
}

/// One of these words, as it is written in their table.
pub fn word<T: Copy>(words: &Words<T>) -> Schema {
    one_of(words.all())
}

/// One of some words.
pub fn one_of(words: impl Iterator<Item = &'static str>) -> Schema {
    Schema { enum_: Some(words.map(|word| JSON(word.into())).collect()), ..typed("string") }
}

/// A list of at most `max`.
pub fn list(max: usize, item: Schema) -> Schema {
    Schema {
        items: Some(JSONSchemaPropsOrArray::Schema(Box::new(item))),
        max_items: i64::try_from(max).ok(),
        ..typed("array")
    }
}

/// A mapping of at most `max` keys, whatever they are.
pub fn map(max: usize, value: Schema) -> Schema {
    Schema {
        additional_properties: Some(JSONSchemaPropsOrBool::Schema(Box::new(value))),
        max_properties: i64::try_from(max).ok(),
        ..typed("object")
    }
}

/// Text of at most `max` characters.
pub fn text(max: usize) -> Schema {
    Schema { max_length: i64::try_from(max).ok(), ..typed("string") }
}

/// Text, or a number that stands for its digits.
pub fn text_or_number(max: usize) -> Schema {
    Schema {
        x_kubernetes_int_or_string: Some(true),
        max_length: i64::try_from(max).ok(),
        ..Schema::default()
    }
}

/// `true` or `false`.
pub fn boolean() -> Schema {
    typed("boolean")
}

/// A key whose truth isn't supported.
pub fn never() -> Schema {
    Schema { enum_: Some(vec![JSON(false.into())]), ..boolean() }.about("Not supported yet.")
}

/// A whole number within bounds.
pub fn integer(bounds: RangeInclusive<i64>) -> Schema {
    // Every bound of the language is far below 2⁵³, and so exact.
    let bound = |bound: i64| Some(bound as f64);
    Schema {
        format: Some("int64".to_owned()),
        minimum: bound(*bounds.start()),
        maximum: bound(*bounds.end()),
        ..typed("integer")
    }
}

/// Nothing but an empty list, which says no more than a key that isn't there.
fn later() -> Schema {
    list(0, text(0)).about("Not supported yet.")
}

/// A key that its reader has and its schema doesn't: a test sees to it that there is none.
pub fn unknown() -> Schema {
    Schema { x_kubernetes_preserve_unknown_fields: Some(true), ..Schema::default() }
}

fn typed(name: &str) -> Schema {
    Schema { type_: Some(name.to_owned()), ..Schema::default() }
}

/// A key that must be there, as part of a condition.
pub fn has(key: &str) -> Schema {
    Schema { required: Some(vec![key.to_owned()]), ..Schema::default() }
}

/// What a schema may have besides.
pub trait Build: Sized {
    /// What it is, as `kubectl explain` shows it.
    fn about(self, text: &str) -> Self;
    /// A regular expression (RE2).
    fn pattern(self, pattern: &str) -> Self;
    /// How many items there must be at least.
    fn at_least(self, items: i64) -> Self;
    /// It must not be as `other` says.
    fn not(self, other: Schema) -> Self;
    /// It must be as one of these say.
    fn any(self, others: Vec<Schema>) -> Self;
    /// A rule in CEL, and what is said where it doesn't hold.
    fn rule(self, rule: &str, message: &str) -> Self;
    /// No two items of the list have the same `key`.
    fn by(self, key: &str) -> Self;
}

// === impl Schema ===

impl Build for Schema {
    fn about(self, text: &str) -> Self {
        Self { description: Some(text.to_owned()), ..self }
    }

    fn pattern(self, pattern: &str) -> Self {
        Self { pattern: Some(pattern.to_owned()), ..self }
    }

    fn at_least(self, items: i64) -> Self {
        Self { min_items: Some(items), ..self }
    }

    fn not(self, other: Schema) -> Self {
        Self { not: Some(Box::new(other)), ..self }
    }

    fn any(self, others: Vec<Schema>) -> Self {
        Self { any_of: Some(others), ..self }
    }

    fn rule(mut self, rule: &str, message: &str) -> Self {
        let rule = ValidationRule {
            rule: rule.to_owned(),
            message: Some(message.to_owned()),
            ..ValidationRule::default()
        };
        self.x_kubernetes_validations.get_or_insert_default().push(rule);
        self
    }

    fn by(self, key: &str) -> Self {
        Self {
            x_kubernetes_list_type: Some("map".to_owned()),
            x_kubernetes_list_map_keys: Some(vec![key.to_owned()]),
            ..self
        }
    }
}
