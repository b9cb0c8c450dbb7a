//! From C's types to those of policies.

use trigon_probes::{
    hooks::Target,
    types::{CType, Parameter, Prototype, Shape},
};

use super::super::model::arguments::{Argument, ArgumentType, Integer, ObjectType};

/// Why something has no type, and what could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) allowed: Option<String>,
}

/// Structs that are read, behind a pointer.
const STRUCTS: [(&str, ArgumentType); 6] = [
    ("file", ArgumentType::File),
    ("path", ArgumentType::Path),
    ("dentry", ArgumentType::Dentry),
    ("filename", ArgumentType::Filename),
    ("kiocb", ArgumentType::Kiocb),
    ("linux_binprm", ArgumentType::LinuxBinprm),
];

/// The type of an argument of a function, a system call or a raw tracepoint.
pub(super) fn parameter(
    parameter: &Parameter,
    number: u8,
    of_syscall: bool,
) -> Result<ArgumentType, Refused> {
    let Parameter { name, ctype, .. } = parameter;
    let kind = value(ctype).ok_or_else(|| {
        let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
        refused(&format!("argument {number}{name}"), ctype)
    })?;
    // A descriptor is a number that only a system call takes for a file of its caller.
    let is_descriptor = of_syscall && name == "fd" && kind == ArgumentType::Integer(Integer::U32);
    Ok(if is_descriptor { ArgumentType::Fd } else { kind })
}

/// The type of what a function returns.
pub(super) fn returned(prototype: &Prototype) -> Result<ArgumentType, Refused> {
    match &prototype.returned {
        Some(ctype) => value(ctype).ok_or_else(|| refused("what it returns", ctype)),
        None => Err(Refused { message: "auto: it doesn't return".to_owned(), allowed: None }),
    }
}

/// The type of a tracepoint's field; where the policy gives one, whether it can be read so.
pub(super) fn field(field: &Parameter, argument: &Argument) -> Result<ArgumentType, Refused> {
    use ArgumentType::{Auto, CharBuf, CharIovec, ConstBuf, DataLoc, Nop, String as Text};
    let (asked, ctype) = (argument.kind, &field.ctype);
    let array = match &ctype.shape {
        Shape::Array { text } => Some(*text),
        _ => None,
    };
    let misread = |allowed: &str| {
        let (name, text, asked) = (&field.name, &ctype.text, asked.as_str());
        let what = if array.is_some() { "an array of " } else { "" };
        let text = text.trim_end_matches("[]");
        let message = format!("the field {name} is {what}`{text}`, and can't be read as {asked}");
        Err(Refused { message, allowed: Some(allowed.to_owned()) })
    };
    let is_pointer = matches!(ctype.shape, Shape::Text | Shape::Pointer(_) | Shape::Integer { bytes: 8, .. });
    match (asked, array) {
        (Nop, _) => Ok(Nop),
        (Auto, Some(true)) => Ok(Text),
        (Auto, Some(false)) => Ok(ConstBuf),
        (Auto, None) => value(ctype).ok_or_else(|| refused(&format!("the field {}", field.name), ctype)),
        (Text | DataLoc, Some(true)) | (ConstBuf, Some(_)) => Ok(asked),
        (_, Some(true)) => misread("string, const_buf, nop"),
        (_, Some(false)) => misread("const_buf, nop"),
        (ConstBuf, None) if argument.size_from.is_none() => {
            misread("a type of numbers; or sizeArgIndex as well")
        }
        (DataLoc, None) => misread("string; a type of numbers"),
        (ArgumentType::Integer(_) | ArgumentType::Fd, None) => Ok(asked),
        (ArgumentType::Object(object), None) if object.is_number() || object.is_capabilities() => Ok(asked),
        (Text | CharBuf | CharIovec | ConstBuf, None) if is_pointer => Ok(asked),
        (_, None) if is_pointer => Ok(asked),
        _ => misread("int, uint32 or another type of numbers, nop"),
    }
}

fn value(ctype: &CType) -> Option<ArgumentType> {
    Some(match &ctype.shape {
        Shape::Integer { bytes, signed } => ArgumentType::Integer(integer(&ctype.text, *bytes, *signed)?),
        Shape::Text => ArgumentType::String,
        Shape::Pointer(name) => of_struct(name)?,
        Shape::Void | Shape::Array { .. } | Shape::Other => return None,
    })
}

/// What is read behind a pointer to a struct.
pub(super) fn of_struct(name: &str) -> Option<ArgumentType> {
    let known = STRUCTS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    known.or_else(|| ObjectType::of_struct(name).map(ArgumentType::Object))
}

pub(super) fn integer(text: &str, bytes: u8, signed: bool) -> Option<Integer> {
    Some(match (bytes, signed) {
        (1, true) => Integer::I8,
        (1, false) => Integer::U8,
        (2, true) => Integer::I16,
        (2, false) => Integer::U16,
        (4, true) => Integer::I32,
        (4, false) => Integer::U32,
        (8, true) => Integer::I64,
        (8, false) if text == "size_t" => Integer::Size,
        (8, false) => Integer::U64,
        _ => return None,
    })
}

fn refused(what: &str, ctype: &CType) -> Refused {
    let message = format!("auto: {what} is `{}`, which no type here reads", ctype.text);
    let allowed = match &ctype.shape {
        Shape::Pointer(name) if name == "iovec" => "char_iovec; uint64 for the address; nop",
        Shape::Pointer(name) if name.is_empty() => {
            "char_buf or const_buf with sizeArgIndex; uint64 for the address; nop"
        }
        Shape::Pointer(_) => "resolve with the path to one of its members; uint64 for the address; nop",
        Shape::Void => return Refused { message: format!("auto: {what} is nothing"), allowed: None },
        _ => "nop",
    };
    Refused { message, allowed: Some(allowed.to_owned()) }
}

/// What an argument is at a target.
pub(super) fn kind_of(
    target: &Target,
    prototype: &Prototype,
    argument: &Argument,
) -> Result<ArgumentType, Refused> {
    let number = argument.index;
    let asked = argument.kind;
    if asked != ArgumentType::Auto
        && matches!(target, Target::Function(_) | Target::Syscall(_) | Target::Lsm(_))
    {
        return Ok(asked);
    }
    let of_record = matches!(target, Target::Tracepoint { .. });
    let known = prototype.parameters.get(usize::from(number)).filter(|one| !one.hidden);
    let Some(known) = known else {
        let what = if of_record { "field" } else { "argument" };
        let message = format!("{target} has no {what} {number} that programs can see");
        return Err(Refused { message, allowed: Some(those_of(prototype)) });
    };
    if of_record {
        field(known, argument)
    } else if asked == ArgumentType::Auto {
        parameter(known, number, matches!(target, Target::Syscall(_)))
    } else {
        Ok(asked)
    }
}

/// The arguments that there are, to be read.
fn those_of(prototype: &Prototype) -> String {
    let visible = prototype.parameters.iter().enumerate().filter(|(_, one)| !one.hidden);
    let list: Vec<_> = visible
        .map(|(index, Parameter { name, ctype, .. })| {
            let gap = if name.is_empty() { "" } else { " " };
            format!("{index} ({}{gap}{name})", ctype.text)
        })
        .collect();
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

/// What all targets of a hook say.
pub(super) fn agreed<'a>(
    mut kinds: impl Iterator<Item = (&'a Target, Result<ArgumentType, Refused>)>,
) -> Result<ArgumentType, Refused> {
    let Some((first, kind)) = kinds.next() else { return Ok(ArgumentType::Auto) };
    let kind = kind?;
    for (target, other) in kinds {
        let other = other?;
        if other != kind {
            let (one, other) = (kind.as_str(), other.as_str());
            let message = format!("auto: the functions differ: {one} of {first}, {other} of {target}");
            return Err(Refused {
                message,
                allowed: Some("one type for all, or a hook for each".to_owned()),
            });
        }
    }
    Ok(kind)
}
