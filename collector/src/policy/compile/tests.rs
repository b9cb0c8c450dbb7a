use std::net::IpAddr;

use trigon_probes::hooks::{
    Address,
    plan::{Mask, selector_flags, source},
};

use super::{
    condition::{self, Networks, Numbers, Texts, Turn},
    *,
};
use crate::policy::model::conditions::{Comparison, Network, Number, NumberRange, TextOperator};

/// What the programs answer for a number: that of the longest entry which covers it, or the miss.
fn look_up(miss: Mask, entries: &[(u64, u32, Mask)], number: u64) -> Mask {
    let turned = |bits: u64| bits ^ (1 << 63);
    let covers = |first: u64, bits: u32| bits == 0 || (turned(first) ^ turned(number)) >> (64 - bits) == 0;
    let hit =
        entries.iter().filter(|(first, bits, _)| covers(*first, *bits)).max_by_key(|(_, bits, _)| *bits);
    hit.map_or(miss, |(.., mask)| *mask)
}

type Holds = fn(&i128, &i128) -> bool;

fn sample() -> Vec<i128> {
    let edges = [i128::from(i64::MIN), -300, -1, 0, 1, 7, 8, 255, 256, 65_535, i128::from(i64::MAX)];
    edges.into_iter().flat_map(|edge| [edge - 1, edge, edge + 1]).collect()
}

/// Every comparison, on every pair of edges, with and without a sign: the tables say what arithmetic says.
#[test]
fn numbers_compare_as_numbers_do() {
    for turn in [Turn::Signed, Turn::Unsigned] {
        let (least, greatest) = match turn {
            Turn::Signed => (i128::from(i64::MIN), i128::from(i64::MAX)),
            Turn::Unsigned => (0, i128::from(u64::MAX)),
        };
        let mut edges = sample();
        edges.extend([i128::from(u64::MAX) - 1, i128::from(u64::MAX)]);
        let edges: Vec<_> = edges.into_iter().filter(|edge| (least..=greatest).contains(edge)).collect();
        for operand in &edges {
            let operators: [(Comparison, Holds); 4] = [
                (Comparison::Equal, |a, b| a == b),
                (Comparison::NotEqual, |a, b| a != b),
                (Comparison::GreaterThan, |a, b| a > b),
                (Comparison::LessThan, |a, b| a < b),
            ];
            let conditions: Vec<_> = operators
                .iter()
                .enumerate()
                .map(|(bit, (comparison, _))| {
                    (bit, Numbers::compared(*comparison, &[Number(*operand)], turn))
                })
                .collect();
            let (miss, entries) = condition::numbers(&conditions, operators.len());
            for number in &edges {
                let found = look_up(miss, &entries, *number as u64);
                for (bit, (comparison, holds)) in operators.iter().enumerate() {
                    assert_eq!(
                        found.has(bit),
                        holds(number, operand),
                        "{number} {comparison:?} {operand} {turn:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn ranges_may_overlap_and_selectors_without_a_condition_are_satisfied() {
    let range = |first, last| NumberRange { first: Number(first), last: Number(last) };
    let conditions = [
        (0, Numbers::within(&[range(5, 10), range(8, 20)], false, Turn::Unsigned)),
        (1, Numbers::within(&[range(9, 9)], true, Turn::Unsigned)),
        // A second condition on the same value: both have to hold.
        (1, Numbers::compared(Comparison::GreaterThan, &[Number(3)], Turn::Unsigned)),
    ];
    let (miss, entries) = condition::numbers(&conditions, 3);
    for number in 0..30_u64 {
        let found = look_up(miss, &entries, number);
        assert_eq!(found.has(0), (5..=20).contains(&number), "{number}");
        assert_eq!(found.has(1), number > 3 && number != 9, "{number}");
        assert!(found.has(2));
    }
}

#[test]
fn a_whole_range_is_one_block() {
    let range = NumberRange { first: Number(i128::from(i64::MIN)), last: Number(i128::from(i64::MAX)) };
    let (_, entries) = condition::numbers(&[(0, Numbers::within(&[range], false, Turn::Signed))], 1);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].1, 0);
}

fn text(operator: TextOperator, texts: &[&str]) -> Texts {
    let texts: Vec<Box<[u8]>> = texts.iter().map(|text| text.as_bytes().into()).collect();
    Texts::new(operator, &texts).unwrap()
}

#[test]
fn texts_compare_as_texts_do() {
    let conditions = [
        (0, text(TextOperator::Prefix, &["/etc/", "/etc/ssh/"])),
        (1, text(TextOperator::Equal, &["/etc/passwd", "/"])),
        (2, text(TextOperator::NotPrefix, &["/etc/ssh/"])),
        (3, text(TextOperator::NotEqual, &["/etc/passwd"])),
    ];
    let (miss, entries) = condition::texts(&conditions, 5);
    for path in ["/", "/etc", "/etc/", "/etc/passwd", "/etc/passwd2", "/etc/ssh/key", "/etc/ss", ""] {
        let with_nul = [path.as_bytes(), b"\0"].concat();
        let hit =
            entries.iter().filter(|(key, _)| with_nul.starts_with(key)).max_by_key(|(key, _)| key.len());
        let found = hit.map_or(miss, |(_, mask)| *mask);
        assert_eq!(found.has(0), path.starts_with("/etc/"), "{path}");
        assert_eq!(found.has(1), path == "/etc/passwd" || path == "/", "{path}");
        assert_eq!(found.has(2), !path.starts_with("/etc/ssh/"), "{path}");
        assert_eq!(found.has(3), path != "/etc/passwd", "{path}");
        assert!(found.has(4));
    }
}

#[test]
fn bits_turn_the_answer_of_none() {
    let conditions = [(0, 0b110, false), (1, 0b100, true)];
    let (miss, entries) = condition::bits(&conditions, 3);
    for value in 0..8_u64 {
        let mut answer = miss;
        let mut asked = Mask::default();
        for (bit, mask) in &entries {
            if value >> bit & 1 == 1 {
                asked = asked | *mask;
            }
        }
        answer.words.iter_mut().zip(asked.words).for_each(|(word, asked)| *word ^= asked);
        assert_eq!(answer.has(0), value & 0b110 != 0);
        assert_eq!(answer.has(1), value & 0b100 == 0);
        assert!(answer.has(2));
    }
}

#[test]
fn what_the_kernel_cannot_compare_is_refused() {
    let long = "x".repeat(300);
    let error = Texts::new(TextOperator::Equal, &[long.as_bytes().into()]).unwrap_err();
    assert!(matches!(error, CompileError::TooLong { length: 300, limit: 251 }));
    let error = Texts::new(TextOperator::Prefix, &[long.as_bytes().into()]).unwrap_err();
    assert!(matches!(error, CompileError::TooLong { length: 300, limit: 252 }));
}

/// A hook's part in the table of its target.
fn part(hook: &Hook) -> Part<'_> {
    Part {
        policy: 1,
        policy_hook: 1,
        follows: false,
        alone: false,
        denies: false,
        method: None,
        hook,
        marks: &[],
        scopes: &[],
        trial: false,
    }
}

/// The table of a tracepoint that these policies' hooks share.
fn of_tracepoints(hooks: &[&str]) -> Result<TablePlan, CompileError> {
    let items: String =
        hooks.iter().map(|args| format!("  - {{subsystem: s, event: e, args: {args}}}\n")).collect();
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: a}}\nspec:\n  tracepoints:\n{items}"
    );
    let checked = crate::policy::check_text(&text);
    assert_eq!(checked.errors, 0, "{:?}", checked.faults);
    let hooks = &checked.policies[0].hooks;
    let parts: Vec<_> = hooks.iter().map(part).collect();
    table(&parts, Host::default(), &mut Lineages::default())
}

#[test]
fn a_tracepoints_fields_have_places_of_their_own() {
    let plan = of_tracepoints(&[
        "[{index: 30, type: int}, {index: 4, type: string}]",
        "[{index: 4, type: string}, {index: 5, type: const_buf}, {index: 6, type: char_buf, sizeArgIndex: 31}]",
    ])
    .unwrap();
    let fields: Vec<_> = plan.fields.iter().map(|field| (field.number, field.is_size)).collect();
    assert_eq!(fields, [(30, false), (4, false), (5, false), (5, true), (6, false)]);
    let values = &plan.table.value[..usize::from(plan.table.values)];
    let places: Vec<_> = values.iter().map(|spec| (spec.index, spec.size_arg)).collect();
    assert_eq!(places, [(0, 0), (1, 0), (2, 4), (4, 1)]);
}

#[test]
fn sockets_that_are_tracked_are_bits_of_values() {
    let spec = |hook: &str| {
        let policy = crate::policy::tests::sound(&crate::policy::tests::policy(hook));
        assert!(policy.tracks());
        let part = part(&policy.hooks[0]);
        table(&[part], Host::default(), &mut Lineages::default()).unwrap()
    };
    let plan = spec(
        "  kprobes:\n  - call: tcp_connect\n    syscall: false\n    args: [{index: 1, type: int}, {index: 0, type: sock}]\n    selectors:\n    - matchActions: [{action: TrackSock, argSock: 0}]\n    - matchActions: [{action: UntrackSock, argSock: 0}, {action: NoPost}]\n",
    );
    let kinds = plan.table.value.map(|value| value.kind);
    let [track, untrack] = plan.selectors.as_slice() else { panic!("two selectors") };
    assert_eq!(kinds[track.track.trailing_zeros() as usize], value_type::SOCK);
    assert_eq!((track.track, track.untrack), (untrack.untrack, untrack.track));
    assert_eq!((track.action, untrack.action), (11, 12));
    assert_eq!(track.flags & untrack.flags & selector_flags::SOCKETS, selector_flags::SOCKETS);
    assert_eq!(untrack.flags & selector_flags::POST, 0);

    let plan = spec(
        "  kprobes:\n  - call: tcp_create_openreq_child\n    syscall: false\n    return: true\n    args: [{index: 0, type: sock}]\n    returnArg: {index: 0, type: sock}\n    returnArgAction: TrackSock\n    selectors:\n    - matchActions: [{action: UntrackSock, argSock: 0}]\n",
    );
    let [selector] = plan.selectors.as_slice() else { panic!("one selector") };
    let values =
        [selector.track, selector.untrack].map(|bits| &plan.table.value[bits.trailing_zeros() as usize]);
    assert_eq!(values.map(|value| value.source), [source::RETURN, source::ARG]);
    assert_eq!((selector.action, selector.return_action), (12, 11));
    // At the return it is the socket that was passed: its memory may be another's.
    assert_ne!(plan.table.captures & selector.untrack, 0);
}

#[test]
fn marks_are_bits_in_the_order_of_the_policys() {
    let text = crate::policy::tests::policy(
        "  kprobes:\n  - call: sys_read\n    selectors:\n    - matchMarks: [{operator: In, values: [a, c]}, {operator: NotIn, values: [b]}]\n      matchActions: [{action: Mark, mark: b}, {action: Mark, mark: a}, {action: Unmark, mark: c}]\n    - matchActions: [{action: Mark, mark: c}]\n",
    );
    let policy = crate::policy::tests::sound(&text.replace("cilium.io", "trigon.io"));
    let compiled = |marks: &[Arc<str>]| {
        let part = Part { policy: 7, marks, ..part(&policy.hooks[0]) };
        table(&[part], Host::default(), &mut Lineages::default())
    };
    assert_eq!(policy.marks().iter().map(|mark| &**mark).collect::<Vec<_>>(), ["a", "b", "c"]);
    // As where another policy had the name before.
    let plan = compiled(&["b".into(), "x".into(), "c".into(), "a".into()]).unwrap();
    let done: Vec<_> = plan.selectors.iter().map(|one| (one.mark, one.unmark, one.action)).collect();
    assert_eq!(done, [(0b1001, 0b100, 1), (0b100, 0, 1)]);
    let [value] = &plan.table.value[..usize::from(plan.table.values)] else { panic!("one value") };
    assert_eq!((value.source, value.most), (source::MARKS, 7));
    // A dimension of bits has one condition of each selector.
    assert_eq!(plan.table.dimensions, 2);
    assert!(matches!(compiled(&["a".into()]), Err(CompileError::Full { what: "marks", .. })));
}

#[test]
fn what_is_set_is_told_by_selector_and_raw_value() {
    let policy = crate::policy::tests::sound(&crate::policy::tests::policy(
        "  usdts:\n  - path: /bin/sh\n    provider: a\n    name: b\n    args: [{index: 3, type: int}, {index: 1, type: int}]\n    selectors:\n    - matchActions: [{action: Post}]\n    - matchActions: [{action: Set, argIndex: 1, argValue: -1}, {action: Set, argIndex: 3, argValue: 7}]\n",
    ));
    let part = part(&policy.hooks[0]);
    let plan = table(&[part], Host::default(), &mut Lineages::default()).unwrap();
    let [(selector, setting)] = plan.settings.as_slice() else { panic!("one selector sets") };
    assert_eq!((*selector, setting.mask.count_ones()), (1, 2));
    for (slot, field) in plan.fields.iter().enumerate() {
        assert_eq!(setting.value[slot], if field.number == 3 { 7 } else { -1 });
    }
    let flags: Vec<_> = plan.selectors.iter().map(|selector| selector.flags & selector_flags::SET).collect();
    assert_eq!(flags, [0, selector_flags::SET]);
    assert_eq!(plan.selectors[1].action, 15);
}

#[test]
fn more_fields_than_a_call_has_room_for_are_refused() {
    let five = |first: u8| {
        let items: Vec<_> =
            (first..first + 5).map(|index| format!("{{index: {index}, type: int}}")).collect();
        format!("[{}]", items.join(", "))
    };
    assert!(of_tracepoints(&[&five(4), &five(7)]).is_ok());
    let full = of_tracepoints(&[&five(4), &five(8)]).unwrap_err();
    assert!(full.to_string().starts_with("different fields or arguments"), "{full}");
}

/// What the programs answer for an address: that of the longest entry that it begins with, or the miss.
fn look_up_address(miss: Mask, entries: &[(Address, u32, Mask)], address: &str) -> Mask {
    let address: IpAddr = address.parse().unwrap();
    let mut key = [0; 17];
    key[0] = if address.to_canonical().is_ipv4() { 4 } else { 6 };
    key[1..].copy_from_slice(&match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    });
    let bit = |bytes: &Address, at: u32| bytes[at as usize / 8] >> (7 - at % 8) & 1;
    let covers = |entry: &&(Address, u32, Mask)| (0..entry.1).all(|at| bit(&entry.0, at) == bit(&key, at));
    entries.iter().filter(covers).max_by_key(|(_, bits, _)| *bits).map_or(miss, |(.., mask)| *mask)
}

#[test]
fn networks_lie_in_networks() {
    let networks = |negated, networks: &[(&str, u8)]| Networks {
        networks: networks
            .iter()
            .map(|(address, bits)| Network { address: address.parse().unwrap(), bits: *bits })
            .collect(),
        negated,
    };
    let conditions = [
        (0, networks(false, &[("10.0.0.0", 8), ("::1", 128)])),
        (1, networks(true, &[("10.1.0.0", 16)])),
        (2, networks(false, &[("0.0.0.0", 0)])),
        (3, networks(false, &[("::", 0)])),
        // A second condition on the same address: both have to hold.
        (0, networks(true, &[("10.1.2.3", 32)])),
    ];
    let (miss, entries) = condition::addresses(&conditions, 5);
    let selectors = |address: &str| {
        let found = look_up_address(miss, &entries, address);
        (0..5).filter(|bit| found.has(*bit)).collect::<Vec<_>>()
    };
    assert_eq!(selectors("10.0.0.1"), [0, 1, 2, 4]);
    assert_eq!(selectors("10.1.0.1"), [0, 2, 4]);
    assert_eq!(selectors("10.1.2.3"), [2, 4]);
    assert_eq!(selectors("::ffff:11.0.0.1"), [1, 2, 4]);
    assert_eq!(selectors("::1"), [0, 1, 3, 4]);
    assert_eq!(selectors("::2"), [1, 3, 4]);
    assert_eq!((0..5).filter(|bit| miss.has(*bit)).collect::<Vec<_>>(), [1, 4]);
}

/// The agent has to hear of it also where it tells nobody. One that is tried only counts what would be told.
#[test]
fn a_match_that_calls_out_is_posted() {
    let text = crate::policy::tests::policy(
        "  kprobes:\n  - call: sys_read\n    selectors:\n    - matchActions: [{action: NoPost}]\n    - matchActions: [{action: NoPost}, {action: DnsLookup, argFqdn: a.b}]\n    - matchActions: [{action: Sigkill}, {action: GetUrl, argUrl: 'http://a/'}]\n    - matchActions: [{action: GetUrl, argUrl: 'http://a/'}]\n",
    );
    let checked = crate::policy::Rules::ALL.check_text(&text);
    let hook = &checked.policies[0].hooks[0];
    let plan = |trial| {
        let part = Part { trial, ..part(hook) };
        let plan = table(&[part], Host::default(), &mut Lineages::default()).unwrap();
        let selectors = plan.selectors.iter();
        selectors.map(|one| (one.flags & selector_flags::POST != 0, one.action)).collect::<Vec<_>>()
    };
    // What is done to the process is told, rather than whom the agent calls.
    assert_eq!(plan(false), [(false, 9), (true, 9), (true, 3), (true, 7)]);
    assert_eq!(plan(true), [(false, 9), (false, 9), (true, 3), (true, 7)]);
}
