//! What an operator may be used on, and what its values mean there.

use trigon_exporters::names;

use super::{
    expression::{self, Named},
    fault::{Class, Quoted},
    limits,
    model::{
        Located, Position,
        arguments::{ArgumentSlot, ArgumentType, Class as ArgumentClass, Integer},
        conditions::{Condition, FileType, Number, NumberRange, Operator, TextOperator},
    },
    words::{Word, Words},
};

mod operator;
mod sockets;
#[cfg(test)]
mod tests;

/// Why a condition can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which value is wrong, by its place. None: the operator is.
    pub value: Option<usize>,
    /// Where that stands.
    pub at: Position,
    /// What sort of fault it is.
    pub class: Class,
    /// What is wrong.
    pub message: String,
    /// What is allowed.
    pub allowed: Option<String>,
}

const NUMBER_OPERATORS: &[Operator] = &[
    Operator::Equal,
    Operator::NotEqual,
    Operator::GreaterThan,
    Operator::LessThan,
    Operator::Mask,
    Operator::InMap,
    Operator::NotInMap,
    Operator::InRange,
    Operator::NotInRange,
    Operator::CelExpr,
];

/// A set of capabilities is a number, too.
const CAPABILITY_OPERATORS: &[Operator] = &[
    Operator::Equal,
    Operator::NotEqual,
    Operator::GreaterThan,
    Operator::LessThan,
    Operator::Mask,
    Operator::InMap,
    Operator::NotInMap,
    Operator::InRange,
    Operator::NotInRange,
    Operator::CelExpr,
    Operator::CapabilitiesGained,
];

const SOCKET_OPERATORS: &[Operator] = &[
    Operator::SAddr,
    Operator::NotSAddr,
    Operator::DAddr,
    Operator::NotDAddr,
    Operator::SPort,
    Operator::NotSPort,
    Operator::SPortPriv,
    Operator::NotSPortPriv,
    Operator::DPort,
    Operator::NotDPort,
    Operator::DPortPriv,
    Operator::NotDPortPriv,
    Operator::Protocol,
    Operator::Family,
    Operator::State,
];

/// A packet has no state.
const PACKET_OPERATORS: &[Operator] = SOCKET_OPERATORS.split_at(SOCKET_OPERATORS.len() - 1).0;

/// An address has one end.
const ADDRESS_OPERATORS: &[Operator] = &[
    Operator::SAddr,
    Operator::NotSAddr,
    Operator::SPort,
    Operator::NotSPort,
    Operator::SPortPriv,
    Operator::NotSPortPriv,
    Operator::Family,
];

const TEXT_OPERATORS: &[Operator] = &[
    Operator::Equal,
    Operator::NotEqual,
    Operator::Prefix,
    Operator::NotPrefix,
    Operator::Postfix,
    Operator::NotPostfix,
    Operator::SubString,
    Operator::SubStringIgnCase,
];

const FILE_OPERATORS: &[Operator] = &[
    Operator::Equal,
    Operator::NotEqual,
    Operator::Prefix,
    Operator::NotPrefix,
    Operator::Postfix,
    Operator::NotPostfix,
    Operator::SubString,
    Operator::SubStringIgnCase,
    Operator::FileType,
    Operator::NotFileType,
];

/// Values of `FileType`.
const FILE_TYPES: Words<FileType> = Words {
    what: "file type",
    any_case: true,
    words: &[
        ("reg", Word::Is(FileType::Regular)),
        ("regular", Word::Also(FileType::Regular)),
        ("dir", Word::Is(FileType::Directory)),
        ("lnk", Word::Is(FileType::Symlink)),
        ("link", Word::Also(FileType::Symlink)),
        ("sock", Word::Is(FileType::Socket)),
        ("socket", Word::Also(FileType::Socket)),
        ("blk", Word::Is(FileType::Block)),
        ("block", Word::Also(FileType::Block)),
        ("chr", Word::Is(FileType::Character)),
        ("char", Word::Also(FileType::Character)),
        ("fifo", Word::Is(FileType::Fifo)),
        ("pipe", Word::Also(FileType::Fifo)),
    ],
};

/// The condition that `operator` at `at` makes with `values` on an argument of type `kind`.
///
/// # Errors
/// Gives everything that is wrong with it: an operator that such an argument doesn't have, or values that it can't take.
pub fn condition(
    kind: ArgumentType,
    operator: &Located<Operator>,
    values: &[Located<String>],
) -> Result<Condition, Vec<Wrong>> {
    let misplaced = |class, message: String, allowed: Option<String>| {
        Err(vec![Wrong { value: None, at: operator.at, class, message, allowed }])
    };
    let allowed = operators(kind.class());
    if allowed.is_empty() {
        let message = format!("an argument of type {} has no value to compare", kind.as_str());
        return misplaced(Class::Invalid, message, None);
    }
    if !allowed.contains(operator) {
        let names = allowed.iter().map(|operator| operator.name()).collect::<Vec<_>>().join(", ");
        let what = describe(kind.class());
        let message = format!("{} is no operator for {what}", operator.name());
        return misplaced(Class::Invalid, message, Some(names));
    }
    if let Some(wrong) = count(operator, values) {
        return Err(vec![wrong]);
    }
    let class = match kind.class() {
        ArgumentClass::Capabilities => ArgumentClass::Number(Integer::U64),
        class => class,
    };
    match (class, **operator) {
        (ArgumentClass::Unknown, operator) => Ok(Condition::Deferred(operator, values.to_vec())),
        (_, Operator::FileType | Operator::NotFileType) => {
            let negated = **operator == Operator::NotFileType;
            each(values, file_type).map(|types| Condition::FileType { negated, types })
        }
        (ArgumentClass::Socket | ArgumentClass::Packet | ArgumentClass::SocketAddress, operator) => {
            sockets::condition(operator, values)
        }
        (_, Operator::SubString | Operator::SubStringIgnCase) => {
            let any_case = **operator == Operator::SubStringIgnCase;
            each(values, part).map(|texts| Condition::Contains { any_case, texts })
        }
        (ArgumentClass::Number(integer), operator) if operator.takes_ranges() => {
            let negated = matches!(operator, Operator::NotInMap | Operator::NotInRange);
            let single = matches!(operator, Operator::InMap | Operator::NotInMap);
            each(values, |text| range(text, integer, single))
                .map(|ranges| Condition::Within { negated, ranges })
        }
        (ArgumentClass::Number(integer), operator) => {
            let comparison = operator.comparison();
            each(values, |text| number(text, integer)).map(|numbers| Condition::Compare(comparison, numbers))
        }
        (_, operator) => {
            let text = operator.text();
            each(values, |value| bytes(value, text)).map(|values| Condition::Text(text, values))
        }
    }
}

/// The condition that an operator makes that is about several arguments: those that the filter lists.
///
/// # Errors
/// As [`condition`].
pub fn several(
    arguments: &[(ArgumentSlot, ArgumentType)],
    operator: &Located<Operator>,
    values: &[Located<String>],
) -> Result<Condition, Vec<Wrong>> {
    let misplaced = |message: String, allowed: Option<String>| {
        Err(vec![Wrong { value: None, at: operator.at, class: Class::Invalid, message, allowed }])
    };
    if let Some(wrong) = count(operator, values) {
        return Err(vec![wrong]);
    }
    if **operator == Operator::CapabilitiesGained && arguments.len() != 2 {
        let allowed = "args: [BEFORE, AFTER], places in the hook's args".to_owned();
        return misplaced(
            format!("CapabilitiesGained is about two args, and here are {}", arguments.len()),
            Some(allowed),
        );
    }
    if arguments.iter().any(|(_, kind)| kind.class() == ArgumentClass::Unknown) {
        let slots = arguments.iter().map(|(slot, _)| *slot).collect();
        return Ok(Condition::DeferredSeveral {
            operator: **operator,
            arguments: slots,
            values: values.to_vec(),
        });
    }
    if **operator == Operator::CapabilitiesGained {
        let [before, after] = [0, 1].map(|place| arguments[place]);
        if let Some((_, kind)) =
            [before, after].iter().find(|(_, kind)| kind.class() != ArgumentClass::Capabilities)
        {
            let message =
                format!("CapabilitiesGained is about sets of capabilities, and not {}", kind.as_str());
            return misplaced(
                message,
                Some("kernel_cap_t, cap_inheritable, cap_permitted, cap_effective".to_owned()),
            );
        }
        let capabilities =
            each(values, capability)?.into_iter().reduce(|all, one| all | one).unwrap_or(u64::MAX);
        return Ok(Condition::Gained { sets: [before.0, after.0], capabilities });
    }
    let named: Vec<Named> = arguments
        .iter()
        .map(|(slot, kind)| Named {
            slot: *slot,
            integer: match kind.class() {
                ArgumentClass::Number(integer) => Some(integer),
                ArgumentClass::Capabilities => Some(Integer::U64),
                _ => None,
            },
        })
        .collect();
    let read = |text: &str| {
        expression::read(text, &named).map_err(|mistake| (Class::Invalid, mistake.to_string(), None))
    };
    let expression = each(values, read)?.into_iter().next();
    match expression {
        Some(expression) => Ok(Condition::Holds(expression)),
        None => misplaced("CelExpr needs an expression".to_owned(), None),
    }
}

/// What is wrong with how many values there are.
fn count(operator: &Located<Operator>, values: &[Located<String>]) -> Option<Wrong> {
    let wrong = |class, message: String, allowed: Option<String>| {
        Some(Wrong { value: None, at: operator.at, class, message, allowed })
    };
    let (least, most) = match **operator {
        Operator::SPortPriv | Operator::NotSPortPriv | Operator::DPortPriv | Operator::NotDPortPriv => (0, 0),
        Operator::CapabilitiesGained => (0, limits::VALUES),
        Operator::CelExpr => (1, 1),
        other if other.takes_ranges() => (1, limits::MAP_VALUES),
        _ => (1, limits::VALUES),
    };
    let name = operator.name();
    if values.len() < least {
        return wrong(Class::Invalid, format!("{name} needs values"), None);
    }
    if values.len() <= most {
        return None;
    }
    match most {
        0 => wrong(Class::Invalid, format!("{name} takes no values: a port below 1024 is privileged"), None),
        1 => wrong(Class::Invalid, format!("{name} takes one value, and here are {}", values.len()), None),
        _ => wrong(
            Class::Limit,
            format!("{name} has {} values", values.len()),
            Some(format!("at most {most}")),
        ),
    }
}

/// The operators that see something in an argument of this class.
pub fn operators(class: ArgumentClass) -> &'static [Operator] {
    match class {
        ArgumentClass::Unknown => Operator::ALL,
        ArgumentClass::Nothing | ArgumentClass::Object => &[],
        ArgumentClass::Number(_) => NUMBER_OPERATORS,
        ArgumentClass::Text | ArgumentClass::Path => TEXT_OPERATORS,
        ArgumentClass::File => FILE_OPERATORS,
        ArgumentClass::Socket => SOCKET_OPERATORS,
        ArgumentClass::Packet => PACKET_OPERATORS,
        ArgumentClass::SocketAddress => ADDRESS_OPERATORS,
        ArgumentClass::Capabilities => CAPABILITY_OPERATORS,
    }
}

/// A whole number as C and Go write it: decimal, `0x`, `0o` or a leading 0, `0b`.
pub fn integer(text: &str) -> Option<i128> {
    /// More digits than 64 bits have in any base.
    const LONGEST: usize = 70;
    if text.len() > LONGEST {
        return None;
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match (lower.get(..2), lower.as_bytes()) {
        (Some("0x"), _) => (16, &lower[2..]),
        (Some("0o"), _) => (8, &lower[2..]),
        (Some("0b"), _) => (2, &lower[2..]),
        (_, [b'0', _, ..]) => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    if !digits.starts_with(|character: char| character.is_ascii_hexdigit()) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok()?;
    Some(if negative { -number } else { number })
}

type Refused = (Class, String, Option<String>);

/// Parses every value, or tells everything that is wrong with them.
fn each<T>(
    values: &[Located<String>],
    parse: impl Fn(&str) -> Result<T, Refused>,
) -> Result<Vec<T>, Vec<Wrong>> {
    let (mut parsed, mut wrong) = (Vec::with_capacity(values.len()), Vec::new());
    for (index, value) in values.iter().enumerate() {
        match parse(value) {
            Ok(value) => parsed.push(value),
            Err((class, message, allowed)) => {
                wrong.push(Wrong { value: Some(index), at: value.at, class, message, allowed });
            }
        }
    }
    if wrong.is_empty() { Ok(parsed) } else { Err(wrong) }
}

fn number(text: &str, kind: Integer) -> Result<Number, Refused> {
    let (least, greatest) = kind.bounds();
    match integer(text) {
        Some(number) if (least..=greatest).contains(&number) => Ok(Number(number)),
        _ => {
            let message = format!("{} is no number that the argument can have", Quoted(text));
            Err((Class::Invalid, message, Some(format!("{least} to {greatest}"))))
        }
    }
}

fn range(text: &str, kind: Integer, single: bool) -> Result<NumberRange, Refused> {
    let refused = |message: String| {
        let allowed = if single { "a number, or FIRST:LAST" } else { "FIRST:LAST" };
        (Class::Invalid, message, Some(allowed.to_owned()))
    };
    let (first, last) = match text.split_once(':') {
        Some((first, last)) => (number(first, kind)?, number(last, kind)?),
        None if single => number(text, kind).map(|number| (number, number))?,
        None => return Err(refused(format!("{} is no range", Quoted(text)))),
    };
    if last < first {
        return Err(refused(format!("the range {} ends before it begins", Quoted(text))));
    }
    Ok(NumberRange { first, last })
}

fn file_type(text: &str) -> Result<FileType, Refused> {
    let refused =
        || (Class::Invalid, format!("no such file type: {}", Quoted(text)), Some(FILE_TYPES.to_string()));
    FILE_TYPES.get(text).ok_or_else(refused)
}

/// What stands anywhere in a text.
fn part(text: &str) -> Result<Box<[u8]>, Refused> {
    if text.is_empty() {
        return Err((Class::Invalid, "nothing stands everywhere".to_owned(), None));
    }
    bytes_of(text, limits::PART_BYTES)
}

/// A capability, as a bit.
fn capability(text: &str) -> Result<u64, Refused> {
    match names::capability_number(text) {
        Some(number) => Ok(1 << number),
        None => {
            let message = format!("no such capability: {}", Quoted(text));
            Err((Class::Invalid, message, Some("the names of capabilities(7)".to_owned())))
        }
    }
}

fn bytes(text: &str, operator: TextOperator) -> Result<Box<[u8]>, Refused> {
    let most = match operator {
        TextOperator::Equal | TextOperator::NotEqual => limits::EQUAL_TEXT_BYTES,
        TextOperator::Prefix | TextOperator::NotPrefix => limits::PREFIX_BYTES,
        TextOperator::Postfix | TextOperator::NotPostfix => limits::POSTFIX_BYTES,
    };
    bytes_of(text, most)
}

fn bytes_of(text: &str, most: usize) -> Result<Box<[u8]>, Refused> {
    // The kernel's strings end where C's do: some policies write that end.
    let text = text.trim_end_matches('\0');
    if text.len() > most {
        let message = format!("this value has {} bytes", text.len());
        return Err((Class::Limit, message, Some(format!("at most {most}"))));
    }
    if text.contains('\0') {
        return Err((Class::Invalid, "a NUL ends every string of the kernel".to_owned(), None));
    }
    Ok(text.as_bytes().into())
}

fn describe(class: ArgumentClass) -> &'static str {
    match class {
        ArgumentClass::Unknown => "a value of unknown type",
        ArgumentClass::Nothing => "nothing",
        ArgumentClass::Number(_) => "a number",
        ArgumentClass::Text => "text",
        ArgumentClass::File => "a file",
        ArgumentClass::Path => "a path",
        ArgumentClass::Object => "an object",
        ArgumentClass::Socket => "a socket",
        ArgumentClass::Packet => "a packet",
        ArgumentClass::SocketAddress => "an address",
        ArgumentClass::Capabilities => "a set of capabilities",
    }
}
