//! Protobuf's wire format, written straight into one buffer.
//!
//! Only what OTLP's messages need. Events are borrowed and nothing is allocated once the buffer has grown, which
//! message types can't offer. Source of the format: <https://protobuf.dev/programming-guides/encoding/>.

/// A buffer that protobuf fields are appended to.
#[derive(Debug, Default)]
pub(crate) struct Wire(Vec<u8>);

/// A field of a message that was written here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    /// Its value; without the length, where it has one.
    pub(crate) content: &'a [u8],
    /// All of it.
    pub(crate) whole: &'a [u8],
}

/// How a field's value is laid out.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

// === impl Wire ===

impl Wire {
    /// What was written.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Number of bytes that were written.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Number of bytes that there is memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Forgets what was written and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets what was written from there on.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Makes room for `bytes` more.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.0.reserve_exact(bytes);
    }

    /// Gives the bytes away.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Appends fields that were encoded elsewhere.
    pub(crate) fn append(&mut self, fields: &[u8]) {
        self.0.extend_from_slice(fields);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, kind: WireType) {
        self.varint(u64::from(field) << 3 | kind as u64);
    }

    /// An `int64`, `uint64`, `uint32`, `bool` or enum; negative numbers as their two's complement.
    pub(crate) fn integer(&mut self, field: u32, value: i64) {
        self.tag(field, WireType::Varint);
        self.varint(value as u64);
    }

    /// A `fixed64`, or the bits of a `double`.
    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, WireType::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A `fixed32`.
    pub(crate) fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, WireType::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A `string`.
    pub(crate) fn string(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A `bytes`.
    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.length(field, value.len());
        self.0.extend_from_slice(value);
    }

    /// The head of a length-delimited field whose `length` bytes the caller appends next.
    pub(crate) fn length(&mut self, field: u32, length: usize) {
        self.tag(field, WireType::Length);
        self.varint(length as u64);
    }

    /// A message, whose fields `write` appends.
    ///
    /// Its length is not known before: one byte is kept for it, and a longer length moves the message up.
    /// Most messages here are attributes of less than 128 bytes, which never move.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, WireType::Length);
        let head = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - head - 1;
        let more = varint_size(length) - 1;
        if more > 0 {
            self.0.resize(self.0.len() + more, 0);
            self.0.copy_within(head + 1..head + 1 + length, head + 1 + more);
        }
        let mut rest = length;
        for byte in &mut self.0[head..head + more] {
            *byte = rest as u8 | 0x80;
            rest >>= 7;
        }
        self.0[head + more] = rest as u8;
    }
}

/// The fields of a message, in their order; ends where it is none.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let (tag, value) = varint(rest)?;
        let head = match tag & 7 {
            kind if kind == WireType::Varint as u64 => (value.len() - varint(value)?.1.len(), value),
            kind if kind == WireType::Fixed64 as u64 => (8, value),
            kind if kind == WireType::Fixed32 as u64 => (4, value),
            kind if kind == WireType::Length as u64 => {
                let (length, content) = varint(value)?;
                (usize::try_from(length).ok()?, content)
            }
            _ => return None,
        };
        let (content, after) = head.1.split_at_checked(head.0)?;
        let whole = &rest[..rest.len() - after.len()];
        rest = after;
        Some(Field { number: u32::try_from(tag >> 3).ok()?, content, whole })
    })
}

/// A varint, and what comes after it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, &bytes[end + 1..]))
}

/// Bytes that a varint of this value takes.
fn varint_size(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Bytes that a length-delimited field of this length takes, its head included. `field` is below 16.
pub(crate) fn delimited_size(length: usize) -> usize {
    1 + varint_size(length) + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_patched_at_every_size() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
            let content = vec![b'x'; length];
            let mut expected = Vec::new();
            prost::encoding::bytes::encode(1, &content, &mut expected);
            let mut wire = Wire::default();
            wire.message(1, |inner| inner.append(&content));
            assert_eq!(wire.as_slice(), expected, "{length}");
            assert_eq!(wire.len(), delimited_size(length), "{length}");
        }
    }

    #[test]
    fn fields_are_found_again() {
        let mut wire = Wire::default();
        wire.integer(3, -1);
        wire.fixed64(1, 7);
        wire.message(16, |inner| inner.bytes(2, &[9; 300]));
        wire.fixed32(5, 8);
        let found: Vec<Field<'_>> = fields(wire.as_slice()).collect();
        assert_eq!(found.iter().map(|field| field.number).collect::<Vec<_>>(), [3, 1, 16, 5]);
        assert_eq!(found.iter().map(|field| field.content.len()).collect::<Vec<_>>(), [10, 8, 303, 4]);
        assert_eq!(found.iter().flat_map(|field| field.whole).copied().collect::<Vec<_>>(), wire.as_slice());
        assert_eq!(fields(found[2].content).next().unwrap().content, [9; 300]);
        for broken in [&[0x80][..], &[0x0a, 5, 1], &[0x0b], &[0x09, 1], &[0xff; 11]] {
            assert_eq!(fields(broken).count(), 0, "{broken:?}");
        }
    }

    #[test]
    fn integers_are_as_prost_writes_them() {
        for value in [0, 1, 127, 128, 300, i64::MAX, -1, i64::MIN] {
            let mut expected = Vec::new();
            prost::encoding::int64::encode(16, &value, &mut expected);
            let mut wire = Wire::default();
            wire.integer(16, value);
            assert_eq!(wire.as_slice(), expected, "{value}");
        }
    }
}
