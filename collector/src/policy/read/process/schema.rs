//! The schema of `process`.

use super::{
    super::{
        super::limits,
        schema::{Build as _, Schema, list, object, unknown},
        selectors,
    },
    PROCESS,
};

/// The section.
pub fn process() -> Schema {
    object(&PROCESS, &["selectors"], |key| match key {
        "selectors" => list(limits::SELECTORS, selectors::schema::selector())
            .at_least(1)
            .about("The first that takes an execution says by Post or NoPost whether it is told."),
        _ => unknown(),
    })
}
