//! `resolve`: whether this kernel has the members that a path names, and whether what is there is what the policy takes
//! it for.

use trigon_exporters::nearest::nearest;
use trigon_probes::{
    hooks::plan::Chain,
    types::{End, Prototype, Shape, Way, WayError},
};

use super::{
    super::model::arguments::{Argument, ArgumentType, Integer, MemberPath, ObjectType, Source},
    Kernel,
    kinds::{Refused, integer, of_struct},
};

/// The names that programmers have for registers, and those of the kernel's struct.
const REGISTERS: [(&str, &str); 13] = [
    ("rax", "ax"),
    ("rbx", "bx"),
    ("rcx", "cx"),
    ("rdx", "dx"),
    ("rsi", "si"),
    ("rdi", "di"),
    ("rbp", "bp"),
    ("rsp", "sp"),
    ("rip", "ip"),
    ("orig_rax", "orig_ax"),
    ("eflags", "flags"),
    ("rflags", "flags"),
    ("lr", "regs[30]"),
];

/// What a path leads to: its type, and the way there.
pub(super) fn follow(
    argument: &Argument,
    path: &MemberPath,
    prototype: Option<&Prototype>,
    kernel: &mut dyn Kernel,
) -> Result<(ArgumentType, Chain), Refused> {
    let start = start(argument, path, prototype)?;
    let members = match argument.source {
        Source::Registers => register(&path.text),
        Source::Call | Source::CurrentTask => path.text.clone(),
    };
    let way = kernel.way(&start, path.module.as_deref(), &members);
    let way = way.map_err(|error| Refused { message: error.to_string(), allowed: None })?;
    let Way { mut chain, text, end } = way.map_err(|error| nowhere(&error))?;
    let kind = reached(argument.kind, &text, &end, &mut chain)?;
    Ok((kind, chain))
}

/// The struct at which a path begins.
fn start(argument: &Argument, path: &MemberPath, prototype: Option<&Prototype>) -> Result<String, Refused> {
    match (argument.source, &path.start) {
        (Source::Registers, _) => return Ok("pt_regs".to_owned()),
        (_, Some(start)) => return Ok(start.clone()),
        (Source::CurrentTask, None) => return Ok("task_struct".to_owned()),
        (Source::Call, None) => {}
    }
    let known = prototype.and_then(|prototype| prototype.parameters.get(usize::from(argument.index)));
    let known = known.filter(|known| !known.hidden);
    let index = argument.index;
    match known.map(|known| (&known.ctype.shape, &known.ctype.text)) {
        Some((Shape::Pointer(name), _)) if !name.is_empty() => Ok(name.clone()),
        Some((_, text)) => Err(Refused {
            message: format!(
                "argument {index} is `{text}`, and no pointer to a struct whose members could be named"
            ),
            allowed: Some("btfType with the name of a struct".to_owned()),
        }),
        None => Err(Refused {
            message: format!("this kernel doesn't tell what argument {index} is"),
            allowed: Some("btfType with the name of a struct".to_owned()),
        }),
    }
}

/// The member of the kernel's struct that a register is.
fn register(name: &str) -> String {
    if let Some((_, member)) = REGISTERS.iter().find(|(known, _)| *known == name) {
        return (*member).to_owned();
    }
    // Those of arm64.
    match name.strip_prefix('x').and_then(|number| number.parse::<u8>().ok()) {
        Some(number) => format!("regs[{number}]"),
        None => name.to_owned(),
    }
}

fn nowhere(error: &WayError) -> Refused {
    let message = error.to_string();
    let allowed = match error {
        WayError::NoMember { member, known, .. } => {
            let near = nearest(member, known.iter().map(String::as_str));
            Some(near.map_or_else(|| shown(known), |near| format!("did you mean {near}?")))
        }
        _ => None,
    };
    Refused { message, allowed }
}

/// Some of the names.
fn shown(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

/// The type that is read at the end of a way. Small structs, as of a user's id, are numbers where one is asked for.
fn reached(asked: ArgumentType, text: &str, end: &End, chain: &mut Chain) -> Result<ArgumentType, Refused> {
    let whole = match end {
        End::Struct { bytes: bytes @ (1 | 2 | 4 | 8), .. } => Some(*bytes as u8),
        _ => None,
    };
    let misread = |allowed: &str| {
        let message = format!("`{text}` is there, which can't be read as {}", asked.as_str());
        Err(Refused { message, allowed: Some(allowed.to_owned()) })
    };
    let is_number = match asked {
        ArgumentType::Integer(_) | ArgumentType::Fd => true,
        ArgumentType::Object(object) => object.is_number() || object.is_capabilities(),
        _ => false,
    };
    match (asked, end) {
        (ArgumentType::Nop, _) => Ok(asked),
        (ArgumentType::Auto, _) => {
            let kind = told(text, end, whole).ok_or_else(|| Refused {
                message: format!("auto: `{text}` is there, which no type here reads"),
                allowed: Some("a longer path, to one of its members".to_owned()),
            })?;
            if let (Some(bytes), ArgumentType::Integer(_) | ArgumentType::Object(_)) = (whole, kind) {
                chain.width = bytes;
            }
            Ok(kind)
        }
        (_, End::Number { .. } | End::Pointer(_)) if is_number => Ok(asked),
        (_, End::Struct { .. }) if is_number => match whole {
            Some(bytes) => {
                chain.width = bytes;
                Ok(asked)
            }
            None => misread("a longer path, to one of its members"),
        },
        (_, _) if is_number => misread("string; or an item of it, by its index"),
        (_, End::Number { bytes: 8, .. }) => Ok(asked),
        (_, End::Number { .. }) => misread("int, uint32 or another type of numbers"),
        _ => Ok(asked),
    }
}

/// The type that the kernel tells.
fn told(text: &str, end: &End, whole: Option<u8>) -> Option<ArgumentType> {
    match end {
        End::Number { bytes, signed } => integer(text, *bytes, *signed).map(ArgumentType::Integer),
        End::Text => Some(ArgumentType::String),
        End::Pointer(name) => of_struct(name),
        End::Struct { .. } if text == "kernel_cap_t" => Some(ArgumentType::Object(ObjectType::KernelCap)),
        End::Struct { name, .. } => of_struct(name).or_else(|| {
            let number = match whole? {
                1 => Integer::U8,
                2 => Integer::U16,
                4 => Integer::U32,
                _ => Integer::U64,
            };
            Some(ArgumentType::Integer(number))
        }),
        End::Other => None,
    }
}
