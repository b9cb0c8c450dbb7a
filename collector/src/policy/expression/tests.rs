use super::*;

/// `arg0` is an int32, `arg1` a uint64, `arg2` an int64, `arg3` a uint8, and `arg4` no number.
fn arguments() -> Vec<Named> {
    let integers = [Some(Integer::I32), Some(Integer::U64), Some(Integer::I64), Some(Integer::U8), None];
    integers.into_iter().zip(0..).map(|(integer, slot)| Named { slot: ArgumentSlot(slot), integer }).collect()
}

fn wrong(text: &str) -> String {
    read(text, &arguments()).expect_err(text).to_string()
}

#[test]
fn what_tetragon_takes_is_taken() {
    for text in [
        "!(10 == 5) && arg0 == int32(-1)",
        "arg1 == 0xaaaaaaaaaaaaaaaau",
        "arg0 - int32(10) == int32(2) + arg0",
        "int32(2147483647) + int32(1) == int32(-2147483648) || arg2 == 1",
        "arg2 + arg2 == -9223372036854775808",
        "(arg0 == arg0) == (arg1 >= 18446744073709551615u)",
        "arg3 == uint32(6u) && and(arg1, 4u) != 0u && xor(arg2, not(arg2)) == -1 && or(arg0, arg0) <= arg0",
    ] {
        read(text, &arguments()).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
    }
}

#[test]
fn a_whole_number_takes_the_type_of_the_other_side() {
    for text in ["arg0 == -5", "5 < arg1", "arg3 + 1 == 256", "and(arg1, 7) == 1"] {
        read(text, &arguments()).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
    }
    let Node::Binary(Binary::Equal, left, right) = read("arg0 == -5", &arguments()).unwrap().root else {
        panic!("no comparison")
    };
    assert_eq!(*left, Node::Argument(ArgumentSlot(0), Type::I32));
    assert_eq!(*right, Node::Constant(Type::I32, -5));
}

#[test]
fn operators_bind_as_in_cel() {
    let same = |one: &str, other: &str| {
        assert_eq!(read(one, &arguments()).unwrap(), read(other, &arguments()).unwrap(), "{one}");
    };
    same("arg0 == 1 || arg0 == 2 && arg0 != 3", "(arg0 == 1) || ((arg0 == 2) && (arg0 != 3))");
    same("arg2 - 1 - 2 < 3 + arg2", "((arg2 - 1) - 2) < (3 + arg2)");
    same("!(arg0 == 1) == true", "(!(arg0 == 1)) == true");
}

#[test]
fn mistakes_have_columns() {
    let texts = [
        "",
        "arg0",
        "arg0 == ",
        "arg0 == arg1",
        "arg0 = 1",
        "arg0 == 1 1",
        "arg5 == 1",
        "arg4 == 1",
        "argument == 1",
        "arg0 == 4294967296",
        "arg1 == -1",
        "(arg0 == 1",
        "arg0 && arg1",
        "!arg0",
        "-arg1 == 1",
        "int32(arg1) == 1",
        "and(arg0) == 1",
        "xor(arg0, 1, 2) == 1",
        "18446744073709551616u == arg1",
        "9223372036854775808 == arg2",
        "arg0 == 1 ä",
        "arg0 == 0x",
        "true < false",
        "1 == 1",
    ];
    let table: String = texts.iter().map(|text| format!("{text:?}\n    {}\n", wrong(text))).collect();
    insta::assert_snapshot!(table);
    let deep = format!("{}arg0 == 1{}", "(".repeat(40), ")".repeat(40));
    assert!(wrong(&deep).contains("nests more than 32 levels"), "{}", wrong(&deep));
    let long = vec!["arg0 == 1"; 30].join(" || ");
    assert!(wrong(&long).contains("more than 32 operations"), "{}", wrong(&long));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-a-z0-9 ()!=<>&|+,.\"ä]{0,60}") {
        let _ = read(&text, &arguments());
    }

    #[test]
    fn no_words_make_it_panic(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "arg0", "arg1", "arg2", "1", "2u", "(", ")", "!", "-", "+", "==", "<", "&&", "||", "int32(",
                "and(", ",", "not(", "true",
            ]),
            0..30,
        ),
    ) {
        let _ = read(&words.join(" "), &arguments());
    }
}
