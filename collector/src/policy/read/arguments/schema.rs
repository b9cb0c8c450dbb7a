//! The schema of `args` and `returnArg`.

use super::{
    super::{
        super::limits,
        schema::{Build as _, Schema, boolean, integer, list, never, object, one_of, text, unknown, word},
    },
    ARGUMENT, Place, TYPES,
};

/// `args`
pub fn arguments(place: Place) -> Schema {
    let last = place.last_index();
    // What a program doesn't tell has to be said.
    let required: &[&str] = if place == Place::Program { &["index", "type"] } else { &["index"] };
    let argument = object(&ARGUMENT, required, |key| match key {
        "index" => integer(0..=last).about("Which argument, or field of the record, from 0."),
        "sizeArgIndex" => {
            integer(0..=last + 1).about("Which argument, from 1, tells how many bytes there are.")
        }
        "returnCopy" if !place.returns() => never().about("It doesn't return."),
        "returnCopy" => boolean().about("Read it when the function returns."),
        "maxData" => boolean().about("Up to 327360 bytes rather than 4096."),
        other => common(other, place),
    });
    list(limits::ARGUMENTS, argument).about("What is read of a call.")
}

/// `returnArg`
pub fn return_value(place: Place) -> Schema {
    let required: &[&str] = if place == Place::Program { &["type"] } else { &[] };
    object(&ARGUMENT, required, |key| match key {
        "index" => integer(0..=i64::from(u32::MAX)),
        "sizeArgIndex" => integer(0..=limits::FUNCTION_INDEX + 1),
        "returnCopy" | "maxData" => boolean(),
        other => common(other, place),
    })
    .about("What the function returns.")
}

fn common(key: &str, place: Place) -> Schema {
    match key {
        "type" if matches!(place, Place::Program | Place::Usdt) => {
            one_of(place.type_names()).about("What it is: a number, or what is in the program's memory.")
        }
        "type" => word(&TYPES).about("What it is. The kernel's own types say, where there is none."),
        "label" => text(limits::LABEL_CHARS).about("Its name in events."),
        _ => unknown(),
    }
}
