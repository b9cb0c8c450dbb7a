use super::*;
use crate::policy::model::{arguments::ObjectType, conditions::Comparison};

const AT: Position = Position::START;

fn check(kind: ArgumentType, operator: Operator, values: &[&str]) -> Result<Condition, Vec<Wrong>> {
    let values: Vec<_> = values.iter().map(|value| Located { at: AT, value: (*value).to_owned() }).collect();
    condition(kind, &Located { at: AT, value: operator }, &values)
}

const INT: ArgumentType = ArgumentType::Integer(Integer::I32);
const U8: ArgumentType = ArgumentType::Integer(Integer::U8);
const U64: ArgumentType = ArgumentType::Integer(Integer::U64);

#[test]
fn numbers_are_read_in_all_bases() {
    let expected = [
        ("0", Some(0)),
        ("42", Some(42)),
        ("-42", Some(-42)),
        ("+7", Some(7)),
        ("0x1F", Some(31)),
        ("0X1f", Some(31)),
        ("-0x10", Some(-16)),
        ("0644", Some(0o644)),
        ("0o644", Some(0o644)),
        ("0b101", Some(5)),
        ("18446744073709551615", Some(u64::MAX.into())),
        ("", None),
        ("-", None),
        ("--1", None),
        ("0x", None),
        ("0x-1", None),
        ("08", None),
        ("1 ", None),
        ("1e3", None),
        ("é1", None),
    ];
    for (text, number) in expected {
        assert_eq!(integer(text), number, "{text}");
    }
    assert_eq!(integer(&"9".repeat(1000)), None);
}

#[test]
fn a_number_lies_in_its_types_bounds() {
    let number = |value| Ok(Condition::Compare(Comparison::Equal, vec![Number(value)]));
    assert_eq!(check(INT, Operator::Equal, &["-2147483648"]), number(-(1 << 31)));
    assert_eq!(check(U64, Operator::Equal, &["0xffffffffffffffff"]), number(u64::MAX.into()));
    for (kind, value, allowed) in [
        (INT, "2147483648", "-2147483648 to 2147483647"),
        (U8, "-1", "0 to 255"),
        (U8, "256", "0 to 255"),
        (U64, "18446744073709551616", "0 to 18446744073709551615"),
        (U64, "AF_INET", "0 to 18446744073709551615"),
    ] {
        let wrong = check(kind, Operator::Equal, &["1", value]).unwrap_err();
        assert_eq!(wrong.len(), 1);
        assert_eq!((wrong[0].value, wrong[0].allowed.as_deref()), (Some(1), Some(allowed)));
    }
    assert_eq!(Number(-1).bits(), u64::MAX);
    assert_eq!(Number(u64::MAX.into()).bits(), u64::MAX);
}

#[test]
fn ranges_have_a_first_and_a_last() {
    let ranges = |negated, ranges: &[(i128, i128)]| {
        let range = |(first, last): &(i128, i128)| NumberRange { first: Number(*first), last: Number(*last) };
        Ok(Condition::Within { negated, ranges: ranges.iter().map(range).collect() })
    };
    assert_eq!(check(INT, Operator::InRange, &["1:10", "-3:-3"]), ranges(false, &[(1, 10), (-3, -3)]));
    assert_eq!(check(INT, Operator::NotInMap, &["5", "0x10:0x20"]), ranges(true, &[(5, 5), (16, 32)]));
    for (operator, value) in [
        (Operator::InRange, "5"),
        (Operator::InRange, "5:4"),
        (Operator::InRange, ":"),
        (Operator::InRange, "1:2:3"),
        (Operator::InMap, "5:4"),
        (Operator::InMap, "x"),
    ] {
        assert_eq!(check(INT, operator, &[value]).unwrap_err().len(), 1, "{value}");
    }
}

#[test]
fn text_is_bytes_without_the_end_that_c_gives_it() {
    let text = |operator, value: &[u8]| Ok(Condition::Text(operator, vec![value.into()]));
    assert_eq!(
        check(ArgumentType::String, Operator::Equal, &["security.capability\0"]),
        text(TextOperator::Equal, b"security.capability")
    );
    assert_eq!(
        check(ArgumentType::Fd, Operator::NotPostfix, &["é"]),
        text(TextOperator::NotPostfix, "é".as_bytes())
    );
    assert!(check(ArgumentType::String, Operator::Equal, &["a\0b"]).is_err());
    let long = "/".repeat(limits::POSTFIX_BYTES + 1);
    assert!(check(ArgumentType::File, Operator::Postfix, &[&long]).is_err());
    assert!(check(ArgumentType::File, Operator::Prefix, &[&long]).is_ok());
}

#[test]
fn operators_fit_what_an_argument_is() {
    // Number, text, file, path, nothing, unknown.
    let kinds = [
        INT,
        ArgumentType::CharBuf,
        ArgumentType::File,
        ArgumentType::Dentry,
        ArgumentType::Nop,
        ArgumentType::Auto,
    ];
    let expected = |operator| match operator {
        Operator::Equal | Operator::NotEqual => [true, true, true, true, false, true],
        Operator::Prefix | Operator::NotPrefix | Operator::Postfix | Operator::NotPostfix => {
            [false, true, true, true, false, true]
        }
        Operator::FileType | Operator::NotFileType => [false, false, true, false, false, true],
        Operator::SubString | Operator::SubStringIgnCase => [false, true, true, true, false, true],
        Operator::GreaterThan
        | Operator::LessThan
        | Operator::Mask
        | Operator::InMap
        | Operator::NotInMap
        | Operator::InRange
        | Operator::NotInRange => [true, false, false, false, false, true],
        Operator::CelExpr => [true, false, false, false, false, true],
        // Of sockets, packets and addresses, or of sets.
        _ => [false, false, false, false, false, true],
    };
    for operator in Operator::ALL {
        let value = match operator {
            Operator::FileType | Operator::NotFileType => "reg",
            Operator::InRange | Operator::NotInRange => "1:2",
            _ => "1",
        };
        let takes_none = matches!(
            operator,
            Operator::SPortPriv | Operator::NotSPortPriv | Operator::DPortPriv | Operator::NotDPortPriv
        );
        let values: &[&str] = if takes_none { &[] } else { &[value] };
        let fits = kinds.map(|kind| check(kind, *operator, values).is_ok());
        assert_eq!(fits, expected(*operator), "{}", operator.name());
    }
}

#[test]
fn operators_on_several_arguments_look_at_all_of_them() {
    let caps = ArgumentType::Object(ObjectType::KernelCap);
    let several = |kinds: &[ArgumentType], operator, values: &[&str]| {
        let arguments: Vec<_> =
            kinds.iter().zip(0..).map(|(kind, slot)| (ArgumentSlot(slot), *kind)).collect();
        let located = |value: &&str| Located { at: AT, value: (*value).to_owned() };
        let values: Vec<_> = values.iter().map(located).collect();
        several(&arguments, &Located { at: AT, value: operator }, &values)
    };
    let gained = |capabilities| Ok(Condition::Gained { sets: [0, 1].map(ArgumentSlot), capabilities });
    assert_eq!(several(&[caps, caps], Operator::CapabilitiesGained, &[]), gained(u64::MAX));
    assert_eq!(
        several(&[caps, caps], Operator::CapabilitiesGained, &["CAP_CHOWN", "CAP_KILL"]),
        gained(0b10_0001)
    );
    assert!(several(&[caps, INT], Operator::CapabilitiesGained, &[]).is_err());
    assert!(several(&[caps], Operator::CapabilitiesGained, &[]).is_err());
    assert!(several(&[INT, caps], Operator::CelExpr, &["arg0 == 1 && arg1 == 2u"]).is_ok());
    assert!(several(&[INT, ArgumentType::String], Operator::CelExpr, &["arg0 == arg1"]).is_err());
    assert!(several(&[INT], Operator::CelExpr, &["arg0 == 1", "arg0 == 2"]).is_err());
    let waits = several(&[INT, ArgumentType::Auto], Operator::CelExpr, &["arg0 == arg1"]);
    assert!(matches!(waits, Ok(Condition::DeferredSeveral { .. })), "{waits:?}");
}

#[test]
fn an_unknown_types_condition_waits_for_the_type() {
    let Ok(Condition::Deferred(operator, values)) = check(ArgumentType::Auto, Operator::Equal, &["1"]) else {
        panic!("it didn't wait");
    };
    let operator = Located { at: AT, value: operator };
    let number = Condition::Compare(Comparison::Equal, vec![Number(1)]);
    assert_eq!(condition(INT, &operator, &values), Ok(number));
    let text = Condition::Text(TextOperator::Equal, vec![b"1".as_slice().into()]);
    assert_eq!(condition(ArgumentType::String, &operator, &values), Ok(text));
    assert!(condition(ArgumentType::Nop, &operator, &values).is_err());
}

#[test]
fn file_types_have_two_spellings() {
    let types = ["sock", "SOCKET", "link", "reg", "block", "dir", "char", "pipe"];
    let Ok(Condition::FileType { negated: true, types }) =
        check(ArgumentType::Path, Operator::NotFileType, &types)
    else {
        panic!("they were refused");
    };
    let modes = types.into_iter().map(FileType::mode).collect::<Vec<_>>();
    let (sock, lnk, reg, blk, dir, chr, fifo) = (0o14, 0o12, 0o10, 0o6, 0o4, 0o2, 0o1);
    assert_eq!(modes, [sock, sock, lnk, reg, blk, dir, chr, fifo].map(|kind: u16| kind << 12));
    assert!(check(ArgumentType::Path, Operator::FileType, &["file"]).is_err());
}
