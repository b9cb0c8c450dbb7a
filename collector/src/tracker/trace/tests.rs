use super::*;

#[test]
fn a_valid_traceparent_names_a_span() {
    let outer = parse_traceparent(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    assert_eq!(outer.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(outer.span.to_string(), "b7ad6b7169203331");
    // A version that is still to come may have more to say.
    assert!(parse_traceparent(b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what").is_some());
}

#[test]
fn what_is_not_exactly_right_is_none() {
    for value in [
        "",
        "-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(parse_traceparent(value.as_bytes()), None, "{value:?}");
    }
    assert_eq!(parse_traceparent(b"00-\xff"), None);
}
