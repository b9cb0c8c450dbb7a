//! `tetragon.StackTraceEntry`

use serde::{Serialize, Serializer};

use super::{is_default, scalar::Int64};
use crate::event::{Frame, Hook};

/// A stack trace; none where there is none to tell.
pub(super) struct Frames<'a>(Option<&'a [Frame]>);

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    address: Int64,
    #[serde(skip_serializing_if = "is_zero")]
    offset: Int64,
    #[serde(skip_serializing_if = "str::is_empty")]
    symbol: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    module: &'a str,
}

fn is_zero(number: &Int64) -> bool {
    is_default(&number.0)
}

// === impl Frames ===

impl<'a> Frames<'a> {
    pub(super) fn kernel(hook: &'a Hook) -> Self {
        Self(hook.stacks.as_ref().and_then(|stacks| stacks.kernel.as_deref()))
    }

    pub(super) fn user(hook: &'a Hook) -> Self {
        Self(hook.stacks.as_ref().and_then(|stacks| stacks.user.as_deref()))
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Serialize for Frames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.unwrap_or_default().iter().map(|frame| Entry {
            address: Int64(frame.address),
            offset: Int64(frame.offset),
            symbol: &frame.symbol,
            module: &frame.module,
        }))
    }
}
