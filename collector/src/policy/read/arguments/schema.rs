//! The schema of `args` and `returnArg`.

use super::{
    super::{
        super::limits,
        schema::{Build as _, Schema, boolean, integer, list, never, object, text, unknown, word},
    },
    ARGUMENT, Place, TYPES,
};

/// `args`
pub fn arguments(place: Place) -> Schema {
    let last = match place {
        Place::Function | Place::Lsm => limits::FUNCTION_INDEX,
        Place::Tracepoint => limits::TRACEPOINT_INDEX,
        Place::RawTracepoint => limits::RAW_TRACEPOINT_INDEX,
    };
    let argument = object(&ARGUMENT, &["index"], |key| match key {
        "index" => integer(0..=last).about("Which argument, or field of the record, from 0."),
        "sizeArgIndex" => {
            integer(0..=last + 1).about("Which argument, from 1, tells how many bytes there are.")
        }
        "returnCopy" if place != Place::Function => never().about("Nothing returns here."),
        "returnCopy" => boolean().about("Read it when the function returns."),
        "maxData" => boolean().about("Up to 327360 bytes rather than 4096."),
        other => common(other),
    });
    list(limits::ARGUMENTS, argument).about("What is read of a call.")
}

/// `returnArg`
pub fn return_value() -> Schema {
    object(&ARGUMENT, &[], |key| match key {
        "index" => integer(0..=i64::from(u32::MAX)),
        "sizeArgIndex" => integer(0..=limits::FUNCTION_INDEX + 1),
        "returnCopy" | "maxData" => boolean(),
        other => common(other),
    })
    .about("What the function returns.")
}

fn common(key: &str) -> Schema {
    match key {
        "type" => word(&TYPES).about("What it is. The kernel's own types say, where there is none."),
        "label" => text(limits::LABEL_CHARS).about("Its name in events."),
        _ => unknown(),
    }
}
