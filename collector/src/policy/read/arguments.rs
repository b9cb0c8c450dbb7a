//! `args` and `returnArg`.

use super::{
    super::{
        limits,
        model::{
            arguments::{Argument, ArgumentSlot, ArgumentType, Integer},
            hooks::ReturnValue,
        },
        words::{Word, Words},
    },
    Fields, Item, Keys,
};

pub mod schema;

/// Where arguments are taken.
#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    /// At a function.
    Function,
    /// At a tracepoint, from its record.
    Tracepoint,
    /// At a tracepoint, as the kernel passes them.
    RawTracepoint,
    /// At a hook of the security modules.
    Lsm,
    /// At a place in a program: where a function has its arguments.
    Program,
    /// At a USDT probe.
    Usdt,
}

/// The arguments of a hook.
pub struct Arguments {
    /// Those that could be read.
    pub found: Vec<Argument>,
    /// For each in the file, its index and its place in `found`, if it could be read.
    written: Vec<(Option<u8>, Option<ArgumentSlot>)>,
}

/// An argument that a filter or an action names.
#[derive(Clone, Copy)]
pub enum Named<'a> {
    /// This one.
    Found(ArgumentSlot, &'a Argument),
    /// One that couldn't be read, which its own fault says.
    Unread,
    /// None.
    Missing,
}

const ARGUMENT: Keys = Keys {
    known: &["index", "type", "label", "sizeArgIndex", "returnCopy", "maxData"],
    later: &["resolve", "source", "btfType", "btfTypeModule"],
};

const TYPES: Words<ArgumentType> = Words {
    what: "type",
    any_case: false,
    words: &[
        ("auto", Word::Is(ArgumentType::Auto)),
        ("int", Word::Is(ArgumentType::Integer(Integer::I32))),
        ("sint8", Word::Is(ArgumentType::Integer(Integer::I8))),
        ("int8", Word::Is(ArgumentType::Integer(Integer::I8))),
        ("uint8", Word::Is(ArgumentType::Integer(Integer::U8))),
        ("sint16", Word::Is(ArgumentType::Integer(Integer::I16))),
        ("int16", Word::Is(ArgumentType::Integer(Integer::I16))),
        ("uint16", Word::Is(ArgumentType::Integer(Integer::U16))),
        ("sint32", Word::Is(ArgumentType::Integer(Integer::I32))),
        ("int32", Word::Is(ArgumentType::Integer(Integer::I32))),
        ("uint32", Word::Is(ArgumentType::Integer(Integer::U32))),
        ("long", Word::Is(ArgumentType::Integer(Integer::I64))),
        ("sint64", Word::Is(ArgumentType::Integer(Integer::I64))),
        ("int64", Word::Is(ArgumentType::Integer(Integer::I64))),
        ("ulong", Word::Is(ArgumentType::Integer(Integer::U64))),
        ("uint64", Word::Is(ArgumentType::Integer(Integer::U64))),
        ("size_t", Word::Is(ArgumentType::Integer(Integer::Size))),
        ("string", Word::Is(ArgumentType::String)),
        ("filename", Word::Is(ArgumentType::Filename)),
        ("char_buf", Word::Is(ArgumentType::CharBuf)),
        ("char_iovec", Word::Is(ArgumentType::CharIovec)),
        ("const_buf", Word::Is(ArgumentType::ConstBuf)),
        ("fd", Word::Is(ArgumentType::Fd)),
        ("file", Word::Is(ArgumentType::File)),
        ("path", Word::Is(ArgumentType::Path)),
        ("dentry", Word::Is(ArgumentType::Dentry)),
        ("nop", Word::Is(ArgumentType::Nop)),
        ("skb", Word::Later),
        ("sock", Word::Later),
        ("sockaddr", Word::Later),
        ("socket", Word::Later),
        ("sockaddr_un", Word::Later),
        ("bpf_attr", Word::Later),
        ("perf_event", Word::Later),
        ("bpf_map", Word::Later),
        ("user_namespace", Word::Later),
        ("capability", Word::Later),
        ("kiocb", Word::Later),
        ("iov_iter", Word::Later),
        ("cred", Word::Later),
        ("load_info", Word::Later),
        ("module", Word::Later),
        ("syscall64", Word::Later),
        ("kernel_cap_t", Word::Later),
        ("cap_inheritable", Word::Later),
        ("cap_permitted", Word::Later),
        ("cap_effective", Word::Later),
        ("linux_binprm", Word::Later),
        ("data_loc", Word::Later),
        ("net_device", Word::Later),
        ("bpf_cmd", Word::Later),
        ("bpf_prog", Word::Later),
    ],
};

/// Reads `args`.
pub fn list(fields: &Fields<'_>, place: Place) -> Arguments {
    let mut arguments = Arguments { found: Vec::new(), written: Vec::new() };
    let Some(list) = fields.get("args") else { return arguments };
    for item in list.items(limits::ARGUMENTS) {
        let (index, argument) = argument(&item, place);
        let slot = argument.map(|argument| {
            arguments.found.push(argument);
            ArgumentSlot(arguments.found.len() as u8 - 1)
        });
        arguments.written.push((index, slot));
    }
    arguments
}

/// Reads `returnArg`.
pub fn return_value(item: &Item<'_>, place: Place) -> Option<ReturnValue> {
    let fields = item.fields(&ARGUMENT)?;
    if let Some(index) = fields.get("index")
        && index.integer(0..=i64::from(u32::MAX)).is_some_and(|index| index != 0)
    {
        index.warn("a function returns one value: its index has no effect");
    }
    for key in ["sizeArgIndex", "returnCopy", "maxData"] {
        if let Some(item) = fields.get(key) {
            item.warn(format_args!("{key} has no effect on what a function returns"));
        }
    }
    let kind = kind(&fields, place);
    let label = fields.text("label", limits::LABEL_CHARS);
    Some(ReturnValue { at: item.at(), kind: kind?, label })
}

fn kind(fields: &Fields<'_>, place: Place) -> Option<ArgumentType> {
    let item = fields.get("type");
    let kind = match &item {
        Some(item) => item.word(&TYPES)?,
        None => ArgumentType::Auto,
    };
    let at = item.as_ref().unwrap_or(fields.item);
    match (kind, place) {
        (ArgumentType::Auto, Place::Program) => {
            at.expected("a program doesn't tell what its functions take: say the type", place.types());
            return None;
        }
        (ArgumentType::Auto, Place::Usdt) => at.note("the file tells the type when the policy is loaded"),
        (ArgumentType::Auto, _) => at.note("the kernel tells the type when the policy is loaded"),
        (kind, Place::Program | Place::Usdt) if !kind.is_of_program() => {
            let message = format_args!("no program has a {}: that is the kernel's", kind.as_str());
            at.expected(message, place.types());
            return None;
        }
        _ => {}
    }
    Some(kind)
}

fn argument(item: &Item<'_>, place: Place) -> (Option<u8>, Option<Argument>) {
    let Some(fields) = item.fields(&ARGUMENT) else { return (None, None) };
    let last = place.last_index();
    let index = fields.need("index").and_then(|item| item.integer(0..=last)).map(|index| index as u8);
    let kind = kind(&fields, place);
    let label = fields.text("label", limits::LABEL_CHARS);
    // In the file it counts from 1, and 0 says that there is none.
    let size = fields.get("sizeArgIndex").and_then(|item| item.integer(0..=last + 1));
    let size_from = size.and_then(|size| u8::try_from(size - 1).ok());
    let copy_at_return = fields.flag("returnCopy", false);
    let max_data = fields.flag("maxData", false);
    if let Some(kind) = kind
        && kind != ArgumentType::Auto
    {
        if !kind.is_buffer() {
            let set = [("sizeArgIndex", size_from.is_some()), ("maxData", max_data)];
            for (key, _) in set.iter().filter(|(_, set)| *set) {
                item.warn(format_args!(
                    "{key} has no effect here: only a char_buf, char_iovec or const_buf has a size"
                ));
            }
        } else if size_from.is_none() && !copy_at_return && kind != ArgumentType::ConstBuf {
            item.warn("nothing says how many bytes to read: add sizeArgIndex, or returnCopy for what the function returns");
        }
    }
    if copy_at_return && !place.returns() {
        let what = match place {
            Place::Usdt => "a USDT probe",
            Place::Lsm => "a hook of the security modules",
            _ => "a tracepoint",
        };
        item.invalid(format_args!("returnCopy: {what} doesn't return"));
    }
    let argument = index.zip(kind).map(|(index, kind)| Argument {
        at: item.at(),
        index,
        kind,
        label,
        size_from,
        copy_at_return,
        max_data,
    });
    (index, argument)
}

// === impl Place ===

impl Place {
    /// The last argument that there can be.
    fn last_index(self) -> i64 {
        match self {
            Self::Function | Self::Program | Self::Lsm => limits::FUNCTION_INDEX,
            Self::Tracepoint => limits::TRACEPOINT_INDEX,
            Self::RawTracepoint => limits::RAW_TRACEPOINT_INDEX,
            Self::Usdt => limits::USDT_INDEX,
        }
    }

    fn returns(self) -> bool {
        matches!(self, Self::Function | Self::Program)
    }

    /// The types that arguments of a program have.
    fn type_names(self) -> impl Iterator<Item = &'static str> {
        let of_program = move |(_, word): &&(&str, Word<ArgumentType>)| match word {
            Word::Is(kind) => kind.is_of_program() && (self == Self::Usdt || *kind != ArgumentType::Auto),
            _ => false,
        };
        TYPES.words.iter().filter(of_program).map(|(name, _)| *name)
    }

    fn types(self) -> String {
        self.type_names().collect::<Vec<_>>().join(", ")
    }
}

// === impl Arguments ===

impl Arguments {
    /// The first argument with this index.
    pub fn by_index(&self, index: i64) -> Named<'_> {
        let same = |(written, _): &&(Option<u8>, _)| written.map(i64::from) == Some(index);
        match self.written.iter().find(same) {
            Some((_, slot)) => self.named(*slot),
            None if self.written.iter().any(|(written, _)| written.is_none()) => Named::Unread,
            None => Named::Missing,
        }
    }

    /// The argument at this place of the list.
    pub fn by_place(&self, place: i64) -> Named<'_> {
        match usize::try_from(place).ok().and_then(|place| self.written.get(place)) {
            Some((_, slot)) => self.named(*slot),
            None => Named::Missing,
        }
    }

    /// The indices there are, as a list to read.
    pub fn indices(&self) -> String {
        let indices = self.written.iter().filter_map(|(index, _)| *index);
        indices.map(|index| index.to_string()).collect::<Vec<_>>().join(", ")
    }

    fn named(&self, slot: Option<ArgumentSlot>) -> Named<'_> {
        let found = slot.and_then(|slot| Some((slot, self.found.get(usize::from(slot.0))?)));
        found.map_or(Named::Unread, |(slot, argument)| Named::Found(slot, argument))
    }
}
