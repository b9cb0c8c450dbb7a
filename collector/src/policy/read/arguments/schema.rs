//! The schema of `args` and `returnArg`.

use super::{
    super::{
        super::limits,
        schema::{Build as _, Schema, boolean, integer, list, never, object, one_of, text, unknown, word},
    },
    ARGUMENT, PLAIN, Place, SOURCES, TYPES,
};

/// As `member_path` and `name` read them.
const MEMBERS: &str = r"^[A-Za-z0-9_\[\]]+([.][A-Za-z0-9_\[\]]+)*$";
const NAME: &str = "^((struct|union) )?[A-Za-z0-9_-]+$";

/// `args`
pub fn arguments(place: Place) -> Schema {
    list(limits::ARGUMENTS, argument(place)).about("What is read of a call.")
}

/// `data`
pub fn data(place: Place) -> Schema {
    list(limits::ARGUMENTS, argument(place)).about("What is read beside the arguments.")
}

fn argument(place: Place) -> Schema {
    let last = place.last_index();
    let schema = object(&ARGUMENT, &[], |key| match key {
        "index" => integer(0..=last).about("Which argument, or field of the record, from 0."),
        "sizeArgIndex" => {
            integer(0..=last + 1).about("Which argument, from 1, tells how many bytes there are.")
        }
        "returnCopy" if !place.returns() => never().about("It doesn't return."),
        "returnCopy" => boolean().about("Read it when the function returns."),
        "maxData" => boolean().about("Up to 327360 bytes rather than 4096."),
        "resolve" => text(limits::MEMBER_PATH_CHARS)
            .pattern(MEMBERS)
            .about("Members of the kernel's structs that lead to what is read: mm.owner.comm."),
        "source" => word(&SOURCES).about("Where it comes from, if not from the call."),
        "btfType" => text(limits::SYMBOL_BYTES).pattern(NAME).about("The struct at which resolve begins."),
        "btfTypeModule" => {
            text(limits::SYMBOL_BYTES).pattern(NAME).about("The module whose types resolve is of.")
        }
        "type" if place.is_in_program() => word(&TYPES).about(
            "What it is. Without one, the kernel's types say of a source, a probe's note of the rest.",
        ),
        other => common(other, place),
    });
    let schema = if place.is_in_program() { of_program(schema, place) } else { schema };
    schema.rule("has(self.index) || has(self.source)", "the key index is missing").rule(
        "!has(self.source) || self.source != 'pt_regs' || has(self.resolve)",
        "the register is missing: resolve with the name of a register, as rip",
    )
}

/// What a program doesn't tell has to be said; of its thread and the registers the kernel tells.
fn of_program(schema: Schema, place: Place) -> Schema {
    let types = place.type_names().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let schema = schema
        .rule("!has(self.resolve) || has(self.source)", "resolve needs a source: the types of programs are not read")
        .rule(
            &format!(
                "!has(self.type) || self.type in [{types}] || (has(self.source) && (self.source == 'current_task' || self.type == 'auto'))"
            ),
            "no program has that: it is the kernel's",
        );
    match place {
        Place::Program => schema.rule(
            "has(self.type) || has(self.source)",
            "the key type is missing: a program doesn't tell what its functions take",
        ),
        _ => schema,
    }
}

/// `returnArg`
pub fn return_value(place: Place) -> Schema {
    let required: &[&str] = if place == Place::Program { &["type"] } else { &[] };
    object(&PLAIN, required, |key| match key {
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
