use proptest::prelude::*;

use super::{
    tests::of_kernel,
    way::{End, WayError},
    *,
};

/// Names, each once, and where each begins.
struct Names(Vec<u8>);

impl Names {
    fn add(&mut self, name: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(name.bytes().chain([0]));
        at
    }
}

/// Types of a program of nobody's:
///
/// ```c
/// struct leaf { char text[16]; char *name; unsigned low : 3; int high : 5; };
/// struct root { struct leaf *leaf; union { int number; struct leaf *other; }; struct leaf leaves[4]; struct root *next; };
/// ```
fn made() -> Vec<u8> {
    let mut names = Names(vec![0]);
    let (int, unsigned, char) = (names.add("int"), names.add("unsigned int"), names.add("char"));
    let (leaf, root, opaque) = (names.add("leaf"), names.add("root"), names.add("opaque"));
    let [text, name, low, high] = ["text", "name", "low", "high"].map(|name| names.add(name));
    let [number, other, leaves, next] = ["number", "other", "leaves", "next"].map(|name| names.add(name));
    let info = |kind: u32, count: u32, flag: u32| flag << 31 | kind << 24 | count;
    let types: Vec<u32> = [
        // 1: int, 2: unsigned, 3: char
        vec![int, info(kind::INT, 0, 0), 4, 1 << 24 | 32],
        vec![unsigned, info(kind::INT, 0, 0), 4, 32],
        vec![char, info(kind::INT, 0, 0), 1, 1 << 24 | 8],
        // 4: char[16], 5: char *
        vec![0, info(kind::ARRAY, 0, 0), 0, 3, 2, 16],
        vec![0, info(kind::PTR, 0, 0), 3],
        // 6: struct leaf, of 32 bytes
        vec![
            leaf,
            info(kind::STRUCT, 4, 1),
            32,
            text,
            4,
            0,
            name,
            5,
            128,
            low,
            2,
            3 << 24 | 192,
            high,
            1,
            5 << 24 | 195,
        ],
        // 7: struct leaf *, 8: the union, 9: struct leaf[4]
        vec![0, info(kind::PTR, 0, 0), 6],
        vec![0, info(kind::UNION, 2, 0), 8, number, 1, 0, other, 7, 0],
        vec![0, info(kind::ARRAY, 0, 0), 0, 6, 2, 4],
        // 10: struct root, 11: struct root *
        vec![root, info(kind::STRUCT, 4, 0), 152, leaf, 7, 0, 0, 8, 64, leaves, 9, 128, next, 11, 1152],
        vec![0, info(kind::PTR, 0, 0), 10],
        vec![opaque, info(kind::FWD, 0, 0), 0],
    ]
    .concat();
    let size = 4 * types.len() as u32;
    let words = [24, 0, size, size, names.0.len() as u32];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    bytes.extend(words.iter().chain(&types).flat_map(|word| word.to_le_bytes()));
    bytes.extend(names.0);
    bytes
}

fn offsets(btf: &Btf, path: &str) -> (Vec<u32>, u8) {
    let way = btf.way("root", path).unwrap();
    (way.chain.offset[..usize::from(way.chain.steps)].to_vec(), way.chain.width)
}

#[test]
fn ways_are_offsets_and_pointers() {
    let btf = Btf::parse(made()).unwrap();
    assert_eq!(offsets(&btf, "number"), (vec![8], 4));
    assert_eq!(offsets(&btf, "leaf"), (vec![0], 8));
    assert_eq!(offsets(&btf, "leaf.text"), (vec![0, 0], 0));
    assert_eq!(offsets(&btf, "leaf.name"), (vec![0, 16], 8));
    assert_eq!(offsets(&btf, "other.name"), (vec![8, 16], 8));
    assert_eq!(offsets(&btf, "leaves[2].name"), (vec![16 + 64 + 16], 8));
    assert_eq!(offsets(&btf, "leaf[1].text[3]"), (vec![0, 32 + 3], 1));
    assert_eq!(offsets(&btf, "next.next.leaves[3].text"), (vec![144, 144, 16 + 96], 0));
    let low = btf.way("struct root", "leaf.low").unwrap();
    assert_eq!((low.chain.width, low.chain.shift, low.chain.bits, low.chain.is_signed), (4, 0, 3, 0));
    assert_eq!((low.chain.offset[..2].to_vec(), low.text.as_str()), (vec![0, 24], "unsigned int"));
    let high = btf.way("root", "leaf.high").unwrap();
    assert_eq!((high.chain.shift, high.chain.bits, high.chain.is_signed), (3, 5, 1));
    assert_eq!(btf.way("root", "leaves[0]").unwrap().end, End::Struct { name: "leaf".into(), bytes: 32 });
    assert_eq!(btf.way("root", "next").unwrap().end, End::Pointer("root".into()));
    assert_eq!(btf.way("root", "leaf.text").unwrap().end, End::Text);
    assert_eq!(btf.way("root", "leaves").unwrap().end, End::Other);
}

#[test]
fn a_way_that_leads_nowhere_says_where_it_ends() {
    let btf = Btf::parse(made()).unwrap();
    let told = |path: &str| btf.way("root", path).unwrap_err().to_string();
    assert_eq!(told("leaf.nam"), "struct leaf has no member nam");
    assert_eq!(told("number.x"), "number is `int`, which has no members");
    assert_eq!(told("leaf.text.x"), "text is `array`, which has no members");
    assert_eq!(told("leaves[4].text"), "leaves has 4 items: [4] is none of them");
    assert_eq!(told("number[1]"), "number is `int`, which has no items");
    assert_eq!(told(&["next"; 17].join(".")), "the path follows more pointers than 15");
    assert!(btf.way("root", &["next"; 16].join(".")).is_ok());
    for broken in ["", ".", "leaf.", "a b", "leaf[", "leaf[x]", "leaf[0]x", "[0]", "leaf[99999999999]", "1"] {
        assert!(matches!(btf.way("root", broken), Err(WayError::Component(_))), "{broken}");
    }
    assert_eq!(btf.way("roof", "x").unwrap_err(), WayError::NoStruct("roof".into()));
    assert_eq!(btf.way("opaque", "x").unwrap_err(), WayError::NoStruct("opaque".into()));
    let Err(WayError::NoMember { known, .. }) = btf.way("root", "nothing") else { panic!("no member") };
    assert_eq!(known, ["leaf", "number", "other", "leaves", "next"]);
}

#[test]
fn ways_of_this_kernel() {
    let Some(bytes) = of_kernel() else { return };
    let btf = Btf::parse(bytes).unwrap();
    let comm = btf.way("linux_binprm", "mm.owner.real_parent.comm").unwrap();
    assert_eq!((comm.end, comm.chain.steps, comm.chain.width), (End::Text, 4, 0));
    let uid = btf.way("task_struct", "cred.uid.val").unwrap();
    assert_eq!((uid.end, uid.chain.width), (End::Number { bytes: 4, signed: false }, 4));
    let path = btf.way("file", "f_path").unwrap();
    assert_eq!(path.end, End::Struct { name: "path".into(), bytes: 16 });
    // A member of an anonymous union, and a bit field.
    assert!(btf.way("sock", "__sk_common.skc_daddr").is_ok());
    let jited = btf.way("bpf_prog", "jited").unwrap();
    assert_eq!(jited.chain.bits, 1);
    assert!(matches!(btf.way("task_struct", "command"), Err(WayError::NoMember { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes and the path are, there is a way or an error.
    #[test]
    fn ways_are_total(at in 0_usize..400, value in any::<u8>(), path in "[a-z.\\[\\]0-9]{0,20}") {
        let mut bytes = made();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(btf) = Btf::parse(bytes) {
            for path in [path.as_str(), "leaf.name", "leaves[2].high", "next.next.number"] {
                if let Ok(way) = btf.way("root", path) {
                    prop_assert!(usize::from(way.chain.steps) <= crate::hooks::plan::CHAIN_STEPS);
                }
            }
        }
    }
}
