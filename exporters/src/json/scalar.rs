//! The scalars of protojson that JSON has no type of its own for.

use std::{fmt, time::Duration};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use crate::{
    event::Timestamp,
    identity::ExecId,
    text::{Arguments, moment},
};

/// `google.protobuf.Timestamp`: RFC 3339 in UTC with 0, 3, 6 or 9 digits of the second's fraction.
pub(super) struct Time(pub Timestamp);

/// `google.protobuf.Duration`: seconds with 0, 3, 6 or 9 digits of fraction, and an `s`.
pub(super) struct Seconds(pub Duration);

/// An `exec_id` as it is exported.
pub(super) struct Id<'a> {
    pub id: ExecId,
    pub node: &'a str,
}

/// An integer of 64 bits, as a string: JavaScript's numbers would round it.
pub(super) struct Int64(pub u64);

/// A signed one.
pub(super) struct SInt64(pub i64);

/// What has a form to read, in that form.
pub(super) struct Shown<T>(pub T);

/// Bytes, in base64.
pub(super) struct Bytes<'a>(pub &'a [u8]);

/// As few digits of a fraction of a second as tell it whole, by threes.
fn digits(nanoseconds: u32) -> usize {
    match nanoseconds {
        0 => 0,
        n if n % 1_000_000 == 0 => 3,
        n if n % 1_000 == 0 => 6,
        _ => 9,
    }
}

// === impl Bytes ===

impl Bytes<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Time ===

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = digits((self.0.0 % 1_000_000_000) as u32);
        write!(f, "{:.digits$}", moment(self.0))
    }
}

// === impl Seconds ===

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.subsec_nanos();
        write!(f, "{}", self.0.as_secs())?;
        match digits(nanoseconds) {
            0 => {}
            3 => write!(f, ".{:03}", nanoseconds / 1_000_000)?,
            6 => write!(f, ".{:06}", nanoseconds / 1_000)?,
            _ => write!(f, ".{nanoseconds:09}")?,
        }
        f.write_str("s")
    }
}

// === impl Id ===

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.id.to_base64(self.node))
    }
}

// === Serialize, by what Display writes ===

macro_rules! serialize_as_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

impl fmt::Display for SInt64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(self.0, &STANDARD).fmt(f)
    }
}

impl fmt::Display for Int64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

serialize_as_text!(Time, Seconds, Int64, SInt64, Bytes<'_>, Arguments<'_>);
