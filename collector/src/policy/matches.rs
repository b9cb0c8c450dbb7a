//! From a hook's record to its event.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, PoisonError, RwLock},
};

use trigon_exporters::{
    event::{Action, File, Hook, HookSource, Value},
    identity::{SpanId, SpanRef, TraceId},
};
use trigon_probes::{
    hooks::plan::value_type,
    record::{self, arg_flags, hook_flags, stack_type},
};

use super::outbound::CallsOut;
use crate::text::escaped;

mod objects;

/// The hooks that records name by number. A number is given once.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<RwLock<Numbered>>);

/// A hook that records name.
#[derive(Clone, Debug)]
pub struct Source {
    /// What its events say of where they come from.
    pub hook: Arc<HookSource>,
    /// What it calls out to; none where it doesn't.
    pub calls_out: Option<Arc<CallsOut>>,
}

#[derive(Debug, Default)]
struct Numbered {
    hooks: HashMap<u32, Source>,
    /// Those of the last policies that went: records of them may still be under way.
    retired: Vec<u32>,
    last: u32,
}

// === impl Sources ===

impl Sources {
    /// Adds a hook; its number.
    pub(crate) fn learn(&self, hook: HookSource, calls_out: Option<Arc<CallsOut>>) -> u32 {
        let mut numbered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        numbered.last += 1;
        let number = numbered.last;
        numbered.hooks.insert(number, Source { hook: Arc::new(hook), calls_out });
        number
    }

    /// Says that hooks are out of the kernel. They are forgotten when the next ones are, and call out no more.
    pub(super) fn retire(&self, numbers: Vec<u32>) {
        let mut numbered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for number in &numbers {
            if let Some(source) = numbered.hooks.get_mut(number) {
                source.calls_out = source.calls_out.as_deref().map(|calls| Arc::new(calls.cut()));
            }
        }
        for number in std::mem::replace(&mut numbered.retired, numbers) {
            numbered.hooks.remove(&number);
        }
    }

    /// The hook of that number.
    pub fn get(&self, number: u32) -> Option<Source> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).hooks.get(&number).cloned()
    }
}

/// What a record says.
pub fn hook_of(record: &record::Hook<'_>, source: Arc<HookSource>) -> Hook {
    let fixed = &record.fixed;
    let mut returned = (fixed.has_return != 0).then(|| returned_value(&source, fixed.returned));
    let (mut args, mut data) = (Vec::new(), Vec::new());
    for arg in record.args().filter(|arg| !is_hash(arg) && !is_stack(arg)) {
        let value = value_of(&arg);
        match arg.fixed.flags & (arg_flags::DATA | arg_flags::RETURNED) {
            0 => args.push(value),
            arg_flags::DATA => data.push(value),
            _ => returned = value.or(returned),
        }
    }
    Hook {
        args: args.into(),
        data: data.into(),
        returned,
        action: Action::from_number(fixed.action),
        return_action: (fixed.return_action != 0).then(|| Action::from_number(fixed.return_action)),
        selector: fixed.selector,
        monitored: fixed.hook_flags & hook_flags::MONITORED != 0,
        socket_owner: fixed.hook_flags & hook_flags::OWNER != 0,
        ima_hash: record.args().find(is_hash).map(|arg| hash_of(&arg)),
        stacks: None,
        descriptor: None,
        request: request_of(&fixed.request),
        source,
    }
}

fn request_of(span: &record::RequestSpan) -> Option<Box<SpanRef>> {
    // An id of zeros is none: W3C Trace Context, section 3.2.2.
    let known = span.trace_id != [0; 16] && span.span_id != [0; 8];
    known.then(|| Box::new(SpanRef { trace: TraceId(span.trace_id), span: SpanId(span.span_id) }))
}

fn is_hash(arg: &record::Arg<'_>) -> bool {
    arg.fixed.kind == value_type::FILE_HASH
}

/// As Tetragon writes it: `sha256:` and the digest; empty where there is none.
fn hash_of(arg: &record::Arg<'_>) -> Box<str> {
    /// Of the kernel's `enum hash_algo` (include/uapi/linux/hash_info.h): name and bytes.
    const ALGORITHMS: [(u64, &str, usize); 6] = [
        (1, "md5", 16),
        (2, "sha1", 20),
        (4, "sha256", 32),
        (5, "sha384", 48),
        (6, "sha512", 64),
        (7, "sha224", 28),
    ];
    let known = ALGORITHMS.iter().find(|(number, ..)| *number == arg.fixed.value);
    let digest = known.and_then(|(_, name, bytes)| Some((name, arg.data.get(..*bytes)?)));
    let Some((name, digest)) = digest else { return Box::default() };
    let mut text = format!("{name}:");
    digest.iter().for_each(|byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    });
    text.into()
}

/// Whether it is none of the policy's arguments, but a stack trace.
fn is_stack(arg: &record::Arg<'_>) -> bool {
    matches!(arg.fixed.kind, stack_type::KERNEL | stack_type::USER)
}

/// A return value, read as its type says.
fn returned_value(source: &HookSource, bits: u64) -> Value {
    match &*source.returned.kind {
        "int" | "sint32" | "int32" | "sint16" | "int16" | "sint8" | "int8" | "fd" => Value::Int(bits as i32),
        "uint32" | "uint16" | "uint8" => Value::UInt(bits as u32),
        "ulong" | "uint64" | "size_t" => Value::Size(bits),
        _ => Value::Long(bits as i64),
    }
}

fn value_of(arg: &record::Arg<'_>) -> Option<Value> {
    let fixed = &arg.fixed;
    let is = |flag| fixed.flags & flag != 0;
    let truncated = is(arg_flags::TRUNCATED);
    Some(match fixed.kind {
        _ if is(arg_flags::ABSENT) => return None,
        value_type::S8 | value_type::S16 | value_type::S32 => Value::Int(fixed.value as i32),
        value_type::U8 | value_type::U16 | value_type::U32 => Value::UInt(fixed.value as u32),
        value_type::S64 => Value::Long(fixed.value as i64),
        value_type::U64 => Value::Size(fixed.value),
        value_type::STRING | value_type::FILENAME => Value::Text { text: escaped(arg.data), truncated },
        value_type::BYTES | value_type::IOVEC | value_type::IOV_ITER => {
            Value::Bytes { data: arg.data.into(), size: fixed.value }
        }
        value_type::FD | value_type::FILE | value_type::FOLLOWED | value_type::KIOCB => {
            Value::File(file_of(arg))
        }
        value_type::PATH | value_type::DENTRY => {
            Value::Path { path: escaped(arg.data), truncated, deleted: is(arg_flags::DELETED) }
        }
        _ => Value::Object(Box::new(objects::decode(arg)?)),
    })
}

fn file_of(arg: &record::Arg<'_>) -> File {
    let fixed = &arg.fixed;
    File {
        path: escaped(arg.data),
        flags: fixed.value as u32,
        mode: fixed.mode,
        truncated: fixed.flags & arg_flags::TRUNCATED != 0,
        deleted: fixed.flags & arg_flags::DELETED != 0,
    }
}
