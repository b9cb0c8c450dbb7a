//! Selectors of labels, as Kubernetes writes them.
//!
//! Source: `LabelSelector` in <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/>.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool;

use super::{Build as _, Keys, Schema, list, object, one_of, text, typed};

const SELECTOR: Keys = Keys { known: &["matchLabels", "matchExpressions"], later: &[] };
const EXPRESSION: Keys = Keys { known: &["key", "operator", "values"], later: &[] };

/// Requirements of one selector.
const REQUIREMENTS: usize = 64;
/// Values of one requirement.
const VALUES: usize = 64;
/// Characters of a label's name: a prefix of 253, `/`, and 63.
const NAME: usize = 317;
/// Characters of a label's value.
const VALUE: usize = 63;

/// A selector of labels.
pub fn selector() -> Schema {
    object(&SELECTOR, &[], |key| match key {
        "matchLabels" => Schema {
            additional_properties: Some(JSONSchemaPropsOrBool::Schema(Box::new(text(VALUE)))),
            max_properties: Some(REQUIREMENTS as i64),
            ..typed("object")
        }
        .about("Labels that must be there with these values."),
        _ => list(REQUIREMENTS, expression()).about("Requirements, all of which must hold."),
    })
}

/// Everything, and nothing else: `{}`.
pub fn everything() -> Schema {
    Schema { max_properties: Some(0), ..typed("object") }
}

fn expression() -> Schema {
    let expression = object(&EXPRESSION, &["key", "operator"], |key| match key {
        "key" => text(NAME),
        "operator" => one_of(["In", "NotIn", "Exists", "DoesNotExist"].into_iter()),
        _ => list(VALUES, text(VALUE)),
    });
    expression.rule(
        "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        "In and NotIn need values, Exists and DoesNotExist have none",
    )
}
