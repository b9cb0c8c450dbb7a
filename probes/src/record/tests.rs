use zerocopy::IntoBytes as _;

use super::*;

fn exec_bytes(texts: [&[u8]; 7]) -> Vec<u8> {
    let mut record = ExecRecord::default();
    record.header.kind = 1;
    let [binary, cwd, cgroup, script, traceparent, args, environment] = texts.map(|text| text.len() as u32);
    (record.binary_length, record.cwd_length, record.cgroup_length) = (binary, cwd, cgroup);
    (record.script_length, record.args_length) = (script, args);
    (record.traceparent_length, record.environment_length) = (traceparent as u16, environment as u16);
    let length = size_of::<ExecRecord>() + texts.iter().map(|text| text.len()).sum::<usize>();
    record.header.length = length as u32;
    let mut bytes = record.as_bytes().to_vec();
    texts.iter().for_each(|text| bytes.extend_from_slice(text));
    bytes
}

fn path(leaf_first: &[u8], absolute: bool) -> String {
    let mut out = Vec::new();
    LeafFirst(leaf_first).write(absolute, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn layout_equals_the_headers() {
    crate::mirror::check("record.h", LAYOUTS);
}

#[test]
fn an_exec_decodes() {
    let bytes = exec_bytes([
        b"ls\0bin\0usr\0",
        b"",
        b"x.scope\0k.slice\0",
        b"./run",
        b"00-ab",
        b"ls\0-l\0",
        b"LANG=C\0",
    ]);
    let Ok(Record::Exec(exec)) = decode(&bytes) else { panic!("no exec") };
    assert_eq!(path(exec.binary.0, true), "/usr/bin/ls");
    assert_eq!(path(exec.cwd.0, true), "/");
    assert_eq!(path(exec.cgroup.0, false), "k.slice/x.scope");
    assert_eq!((exec.script, exec.traceparent, exec.args), (&b"./run"[..], &b"00-ab"[..], &b"ls\0-l\0"[..]));
    assert_eq!(exec.environment, b"LANG=C\0");
}

/// Every prefix of a record, and every record with any one byte changed, ends in a record or an error.
#[test]
fn decoding_is_total() {
    let bytes = exec_bytes([b"ls\0bin\0", b"tmp\0", b"c\0", b"s", b"t", b"ls\0", b"A=\0"]);
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err());
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 4, 127, 255] {
            let mut broken = bytes.clone();
            broken[at] = value;
            if let Ok(Record::Exec(exec)) = decode(&broken) {
                assert!(exec.args.len() <= bytes.len());
            }
        }
    }
}

#[test]
fn a_release_decodes() {
    let header = Header { kind: 6, length: size_of::<ReleaseRecord>() as u32, ..Header::default() };
    let record = ReleaseRecord { header, opened: 7, group: 2, reason: release_reason::EXIT };
    let bytes = record.as_bytes();
    let Ok(Record::Release(decoded)) = decode(bytes) else { panic!("no release") };
    assert_eq!((decoded.opened, decoded.group, decoded.reason), (7, 2, release_reason::EXIT));
    assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_err()));
}

#[test]
fn a_cgroup_decodes() {
    let path = b"cri-containerd-1.scope\0kubepods.slice\0";
    let length = size_of::<CgroupMadeRecord>() + path.len();
    let header = Header { kind: 7, length: length as u32, ..Header::default() };
    let cgroup_length = path.len() as u32;
    let record =
        CgroupMadeRecord { header, cgroup_id: 9, parent_id: 8, cgroup_length, ..CgroupMadeRecord::default() };
    let mut bytes = [record.as_bytes(), path].concat();
    let Ok(Record::CgroupMade(made)) = decode(&bytes) else { panic!("no cgroup") };
    assert_eq!((made.fixed.cgroup_id, made.fixed.parent_id), (9, 8));
    assert_eq!(self::path(made.cgroup.0, false), "kubepods.slice/cri-containerd-1.scope");
    assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_err()));
    bytes[size_of::<CgroupMadeRecord>() - 8] += 1;
    assert_eq!(decode(&bytes).unwrap_err(), DecodeError::Text { beyond: 1 });

    let header = Header { kind: 8, length: size_of::<CgroupGoneRecord>() as u32, ..Header::default() };
    let record = CgroupGoneRecord { header, cgroup_id: 9 };
    let bytes = record.as_bytes();
    let Ok(Record::CgroupGone(gone)) = decode(bytes) else { panic!("no cgroup") };
    assert_eq!(gone.cgroup_id, 9);
    assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_err()));
}

#[test]
fn errors_say_what_is_wrong() {
    let mut bytes = exec_bytes([b"", b"", b"", b"", b"", b"", b""]);
    bytes[0] = 99;
    assert_eq!(decode(&bytes).unwrap_err(), DecodeError::UnknownType(99));
    assert_eq!(decode(&bytes[..7]).unwrap_err(), DecodeError::Short { have: 7, need: 16 });
    bytes[4] = 1;
    assert!(matches!(decode(&bytes).unwrap_err(), DecodeError::Length { .. }));
    let header = Header { kind: 1, length: size_of::<ExecRecord>() as u32, ..Header::default() };
    let record = ExecRecord { header, args_length: 5, ..ExecRecord::default() };
    assert_eq!(decode(record.as_bytes()).unwrap_err(), DecodeError::Text { beyond: 5 });
}

/// A broken record costs itself, not its neighbour.
#[test]
fn records_end_to_end() {
    let one = exec_bytes([b"a\0", b"", b"", b"", b"", b"a\0", b""]);
    let mut two = one.clone();
    two.extend_from_slice(&one);
    let (_, rest) = decode_first(&two).unwrap();
    assert!(matches!(decode_first(rest), Ok((Record::Exec(_), []))));
}
