//! Broken records: counted by reason and skipped, whatever stands around them.

use std::mem::offset_of;

use trigon_probes::record::{ExecRecord, ForkRecord, Header};

use crate::{
    json,
    replay::{self, Replayed, Undecoded},
};

/// Puts broken copies of every record before it: what comes out is the same, and each copy was counted.
pub fn harm_no_neighbour(recorded: &[u8]) {
    let records = replay::split(recorded);
    let whole = replay::replay(records.iter().copied());
    let copies: Vec<_> = records.iter().map(|record| Copies::of(record)).collect();
    let stream = records.iter().zip(&copies).flat_map(|(record, copies)| copies.bytes().chain([*record]));
    let among_broken = replay::replay(stream);
    assert_eq!(output(&among_broken), output(&whole));
    assert_eq!(among_broken.missed_starts, whole.missed_starts);
    let mut expected = Undecoded::default();
    for Copies(copies) in &copies {
        copies.iter().for_each(|(reason, _)| *reason(&mut expected) += 1);
    }
    assert_eq!(among_broken.undecoded, expected);
}

/// Cuts the last record at every byte: one record is missing, and counted.
pub fn cut_is_counted_and_skipped(recorded: &[u8]) {
    let records = replay::split(recorded);
    let (last, before) = records.split_last().expect("a recording is not empty");
    let without = output(&replay::replay(before.iter().copied()));
    for length in 0..last.len() {
        let cut = replay::replay(before.iter().copied().chain([&last[..length]]));
        assert_eq!(output(&cut), without, "cut to {length} bytes");
        let Undecoded { short, length: other, text, unknown_type } = cut.undecoded;
        assert_eq!((short + other, text + unknown_type), (1, 0), "cut to {length} bytes");
    }
}

fn output(Replayed { events, .. }: &Replayed) -> String {
    json(events, events.first().map(|event| event.process.namespaces).unwrap_or_default())
}

/// Where a reason is counted.
type Reason = fn(&mut Undecoded) -> &mut usize;

/// A record, broken in every way, with the reason that each copy is skipped for.
struct Copies(Vec<(Reason, Vec<u8>)>);

// === impl Copies ===

impl Copies {
    fn of(record: &[u8]) -> Self {
        let mut copies = Self(Vec::new());
        let kind = u16::from_ne_bytes([record[0], record[1]]);
        let fixed = match kind {
            1 => size_of::<ExecRecord>(),
            3 => size_of::<ForkRecord>(),
            _ => record.len(),
        };
        let length = record.len();
        for cut in 0..length {
            let short = &record[..cut];
            copies.add(if cut < size_of::<Header>() { |n| &mut n.short } else { |n| &mut n.length }, short);
            // Cut, and the header knows.
            if cut >= size_of::<Header>() {
                let reason: Reason = if cut < fixed { |n| &mut n.short } else { |n| &mut n.text };
                copies.patched(reason, short, offset_of!(Header, length), &(cut as u32).to_ne_bytes());
            }
        }
        for says in [0, 1, length as u32 - 1, length as u32 + 1, u32::MAX] {
            copies.patched(|n| &mut n.length, record, offset_of!(Header, length), &says.to_ne_bytes());
        }
        for unknown in [0, 0xff, 0x0100, u16::MAX] {
            copies.patched(|n| &mut n.unknown_type, record, offset_of!(Header, kind), &unknown.to_ne_bytes());
        }
        let texts: &[usize] = match kind {
            1 => &[
                offset_of!(ExecRecord, binary_length),
                offset_of!(ExecRecord, cwd_length),
                offset_of!(ExecRecord, cgroup_length),
                offset_of!(ExecRecord, script_length),
                offset_of!(ExecRecord, traceparent_length),
                offset_of!(ExecRecord, args_length),
            ],
            3 => &[offset_of!(ForkRecord, cgroup_length)],
            _ => &[],
        };
        for offset in texts {
            for lie in [length as u32, i32::MAX as u32, u32::MAX] {
                copies.patched(|n| &mut n.text, record, *offset, &lie.to_ne_bytes());
            }
        }
        copies
    }

    fn add(&mut self, reason: Reason, bytes: &[u8]) {
        self.0.push((reason, bytes.to_vec()));
    }

    fn patched(&mut self, reason: Reason, record: &[u8], offset: usize, value: &[u8]) {
        let mut bytes = record.to_vec();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        self.0.push((reason, bytes));
    }

    fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|(_, bytes)| bytes.as_slice())
    }
}
