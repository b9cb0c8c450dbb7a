//! Selectors of labels, as Kubernetes writes them.
//!
//! Source: `LabelSelector` in <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/>.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSON, JSONSchemaPropsOrBool};

use super::{
    super::{
        super::limits,
        workloads::{EXPRESSION, LABEL_SELECTOR, OPERATORS, WORKLOADS},
    },
    Build as _, Schema, list, object, text, typed, word,
};

/// A selector of an object's labels.
pub fn selector() -> Schema {
    by_labels(limits::LABEL_VALUE_BYTES)
}

/// A selector of containers: `name` and `repo`.
pub fn containers() -> Schema {
    by_labels(limits::IMAGE_BYTES)
}

fn by_labels(value: usize) -> Schema {
    object(&LABEL_SELECTOR, &[], |key| match key {
        "matchLabels" => Schema {
            additional_properties: Some(JSONSchemaPropsOrBool::Schema(Box::new(text(value)))),
            max_properties: Some(limits::REQUIREMENTS as i64),
            ..typed("object")
        }
        .about("Labels that must be there with these values."),
        _ => list(limits::REQUIREMENTS, expression(value)).about("Requirements, all of which must hold."),
    })
}

/// `matchWorkloads`.
pub fn workloads() -> Schema {
    object(&WORKLOADS, &[], |key| match key {
        "hostSelector" => everything(),
        "containerSelector" => containers(),
        _ => selector(),
    })
}

/// Everything, and nothing else: `{}`.
pub fn everything() -> Schema {
    Schema { max_properties: Some(0), ..typed("object") }
}

fn expression(value: usize) -> Schema {
    let expression = object(&EXPRESSION, &["key", "operator"], |key| match key {
        "key" => text(limits::LABEL_KEY_BYTES),
        "operator" => word(&OPERATORS),
        _ => list(limits::LABEL_VALUES, text(value)),
    });
    // A rule in CEL would say it with a better message, and cost too much in so many places.
    expression.any(vec![
        operators(&["In", "NotIn"], 1, limits::LABEL_VALUES),
        operators(&["Exists", "DoesNotExist"], 0, 0),
    ])
}

/// One of these operators, with so many values.
fn operators(words: &[&'static str], least: usize, most: usize) -> Schema {
    let operator =
        Schema { enum_: Some(words.iter().map(|word| JSON((*word).into())).collect()), ..Schema::default() };
    let values = Schema {
        min_items: i64::try_from(least).ok(),
        max_items: i64::try_from(most).ok(),
        ..Schema::default()
    };
    let properties = [("operator".to_owned(), operator), ("values".to_owned(), values)];
    Schema {
        properties: Some(properties.into()),
        required: (least > 0).then(|| vec!["values".to_owned()]),
        ..Schema::default()
    }
}
