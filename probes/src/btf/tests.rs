use super::*;

/// This kernel's own; none where it has none, or it can't be read.
pub(super) fn of_kernel() -> Option<Vec<u8>> {
    let bytes = std::fs::read(PATH);
    bytes.inspect_err(|error| println!("skipped: {PATH}: {error}")).ok()
}

fn text(prototype: &Prototype) -> String {
    let parameters = prototype.parameters.iter();
    let parameters: Vec<_> = parameters.map(|one| format!("{} {}", one.ctype.text, one.name)).collect();
    let returned = prototype.returned.as_ref().map_or("?", |returned| &returned.text);
    format!("{returned} ({})", parameters.join(", "))
}

#[test]
fn prototypes_of_this_kernel() {
    let Some(bytes) = of_kernel() else { return };
    let btf = Btf::parse(bytes).unwrap();
    let shapes = |prototype: Prototype| -> Vec<Shape> {
        prototype.parameters.into_iter().map(|one| one.ctype.shape).collect()
    };
    let pointer = |name: &str| Shape::Pointer(name.to_owned());

    let install = btf.function("fd_install").unwrap();
    assert_eq!(text(&install), "void (unsigned int fd, struct file * file)");
    assert_eq!(shapes(install), [Shape::Integer { bytes: 4, signed: false }, pointer("file")]);

    let mode = btf.function("chmod_common").unwrap();
    assert_eq!(text(&mode), "int (const struct path * path, umode_t mode)");
    assert_eq!(shapes(mode), [pointer("path"), Shape::Integer { bytes: 2, signed: false }]);

    let read = btf.function("vfs_read").unwrap();
    assert_eq!(text(&read), "ssize_t (struct file * file, char * buf, size_t count, loff_t * pos)");
    assert_eq!(
        shapes(read),
        [pointer("file"), Shape::Text, Shape::Integer { bytes: 8, signed: false }, pointer("")]
    );

    // A type of a function has no names for its parameters.
    let exec = btf.raw_tracepoint("sched_process_exec").unwrap();
    assert_eq!(text(&exec), "void (struct task_struct * , pid_t , struct linux_binprm * )");
    assert_eq!(
        shapes(exec),
        [pointer("task_struct"), Shape::Integer { bytes: 4, signed: true }, pointer("linux_binprm")]
    );

    assert_eq!(btf.typedef("umode_t"), Some(Shape::Integer { bytes: 2, signed: false }));
    assert_eq!(btf.typedef("bool"), Some(Shape::Integer { bytes: 1, signed: false }));
    assert_eq!(btf.function("no_such_function"), None);
    assert_eq!(btf.raw_tracepoint("no_such_tracepoint"), None);
}

/// Type information with these types, and names of one letter each: offset 1 is `a`, 3 is `b`.
pub(super) fn made(types: &[u32]) -> Vec<u8> {
    let names = b"\0a\0b\0";
    let size = 4 * types.len() as u32;
    let words = [24, 0, size, size, names.len() as u32];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    bytes.extend(words.iter().chain(types).flat_map(|word| word.to_le_bytes()));
    bytes.extend(names);
    bytes
}

const FUNC: u32 = kind::FUNC << 24;
const TYPEDEF: u32 = kind::TYPEDEF << 24;
const PTR: u32 = kind::PTR << 24;
const PROTO: u32 = kind::FUNC_PROTO << 24;

#[test]
fn types_that_lead_nowhere() {
    // `a` is a typedef of itself, `b` a function of a prototype that takes and returns it.
    let btf = Btf::parse(made(&[1, TYPEDEF, 1, 3, FUNC, 3, 0, PROTO | 1, 1, 0, 1])).unwrap();
    assert_eq!(btf.typedef("a"), Some(Shape::Other));
    assert_eq!(btf.function("b").map(|one| one.parameters.len()), Some(1));
    // A pointer to itself; a function whose prototype is one, or isn't there.
    let btf = Btf::parse(made(&[0, PTR, 1, 1, FUNC, 1, 3, FUNC, 99])).unwrap();
    assert_eq!((btf.function("a"), btf.function("b")), (None, None));
    let CType { text, shape } = btf.describe(1);
    assert_eq!(shape, Shape::Pointer(String::new()));
    assert!(text.len() < 100, "{text}");
    // Names beyond their end are empty.
    let btf = Btf::parse(made(&[7777, TYPEDEF, 0])).unwrap();
    assert_eq!(btf.typedef(""), Some(Shape::Void));
}

#[test]
fn functions_have_numbers() {
    let btf = Btf::parse(made(&[1, TYPEDEF, 1, 3, FUNC, 3, 0, PROTO | 1, 1, 0, 1])).unwrap();
    assert_eq!(btf.numbers_of_functions(), HashMap::from([("b".to_owned(), 2)]));
}

#[test]
fn what_is_no_type_information_is_refused() {
    let malformed = |bytes: &[u8]| Btf::parse(bytes.to_vec()).err();
    assert_eq!(malformed(b""), Some(Malformed::Header));
    assert_eq!(malformed(b"\x7fELF and more, long enough for a header"), Some(Malformed::Header));
    assert_eq!(malformed(&made(&[0, 31 << 24, 0])), Some(Malformed::Kind(31)));
    assert_eq!(malformed(&made(&[0, PROTO | 9, 0])), Some(Malformed::Short));
    assert_eq!(malformed(&made(&[0, PTR])), Some(Malformed::Short));
    let good = made(&[1, TYPEDEF, 1, 3, FUNC, 3, 0, PROTO | 1, 1, 0, 1]);
    for length in 0..good.len() {
        assert!(malformed(&good[..length]).is_some(), "{length} bytes");
    }
}

/// Whatever is changed in it: an answer, no panic, and no walk without an end.
#[test]
fn hostile_bytes() {
    let good = made(&[1, TYPEDEF, 1, 3, FUNC, 3, 0, PROTO | 1, 1, 0, 1, 0, PTR, 3]);
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + next() % 8 {
            let at = next() % bytes.len();
            bytes[at] = next() as u8;
        }
        let Ok(btf) = Btf::parse(bytes) else { continue };
        for name in ["a", "b", ""] {
            let _ = (btf.function(name), btf.typedef(name), btf.raw_tracepoint(name));
        }
        for id in 0..8 {
            let _ = btf.describe(id);
        }
    }
}

/// Of this kernel's, cut short at many places.
#[test]
fn truncated_bytes_of_this_kernel() {
    let Some(bytes) = of_kernel() else { return };
    for part in 0..200 {
        let length = bytes.len() * part / 200;
        assert!(Btf::parse(bytes[..length].to_vec()).is_err(), "{length} bytes");
    }
}
