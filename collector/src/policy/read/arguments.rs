//! `args` and `returnArg`.

use super::{
    super::{
        fault::Quoted,
        limits,
        model::{
            arguments::{Argument, ArgumentSlot, ArgumentType, Integer, MemberPath, ObjectType, Source},
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
    /// At a function, where there are no registers to be seen.
    Fentry,
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
#[derive(Default)]
pub struct Arguments {
    /// Those that could be read.
    pub found: Vec<Argument>,
    /// They are a tracepoint's.
    pub are_fields: bool,
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
    known: &[
        "index",
        "type",
        "label",
        "sizeArgIndex",
        "returnCopy",
        "maxData",
        "resolve",
        "source",
        "btfType",
        "btfTypeModule",
    ],
    later: &[],
};

/// Without a way through the kernel's structs: `returnArg`.
const PLAIN: Keys = Keys {
    known: &["index", "type", "label", "sizeArgIndex", "returnCopy", "maxData"],
    later: &["resolve", "source", "btfType", "btfTypeModule"],
};

const SOURCES: Words<Source> = Words {
    what: "source",
    any_case: false,
    words: &[("current_task", Word::Is(Source::CurrentTask)), ("pt_regs", Word::Is(Source::Registers))],
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
        ("skb", Word::Is(ArgumentType::Object(ObjectType::Skb))),
        ("sock", Word::Is(ArgumentType::Object(ObjectType::Sock))),
        ("socket", Word::Is(ArgumentType::Object(ObjectType::Socket))),
        ("sockaddr", Word::Is(ArgumentType::Object(ObjectType::Sockaddr))),
        ("sockaddr_un", Word::Is(ArgumentType::Object(ObjectType::SockaddrUn))),
        ("cred", Word::Is(ArgumentType::Object(ObjectType::Cred))),
        ("user_namespace", Word::Is(ArgumentType::Object(ObjectType::UserNamespace))),
        ("capability", Word::Is(ArgumentType::Object(ObjectType::Capability))),
        ("kernel_cap_t", Word::Is(ArgumentType::Object(ObjectType::KernelCap))),
        ("cap_inheritable", Word::Is(ArgumentType::Object(ObjectType::CapInheritable))),
        ("cap_permitted", Word::Is(ArgumentType::Object(ObjectType::CapPermitted))),
        ("cap_effective", Word::Is(ArgumentType::Object(ObjectType::CapEffective))),
        ("load_info", Word::Is(ArgumentType::Object(ObjectType::LoadInfo))),
        ("module", Word::Is(ArgumentType::Object(ObjectType::Module))),
        ("bpf_attr", Word::Is(ArgumentType::Object(ObjectType::BpfAttr))),
        ("bpf_prog", Word::Is(ArgumentType::Object(ObjectType::BpfProg))),
        ("bpf_map", Word::Is(ArgumentType::Object(ObjectType::BpfMap))),
        ("bpf_cmd", Word::Is(ArgumentType::Object(ObjectType::BpfCmd))),
        ("perf_event", Word::Is(ArgumentType::Object(ObjectType::PerfEvent))),
        ("syscall64", Word::Is(ArgumentType::Object(ObjectType::Syscall64))),
        ("net_device", Word::Is(ArgumentType::Object(ObjectType::NetDevice))),
        ("iov_iter", Word::Is(ArgumentType::Object(ObjectType::IovIter))),
        ("kiocb", Word::Is(ArgumentType::Kiocb)),
        ("linux_binprm", Word::Is(ArgumentType::LinuxBinprm)),
        ("data_loc", Word::Is(ArgumentType::DataLoc)),
    ],
};

/// The first arguments of what a process is started with, which nobody has to name: `argv[0]` and on.
pub fn of_execution(item: &Item<'_>) -> Arguments {
    let argument = |index| Argument {
        at: item.at(),
        index,
        kind: ArgumentType::String,
        label: None,
        size_from: None,
        copy_at_return: false,
        max_data: false,
        source: Source::Call,
        path: None,
    };
    let found: Vec<_> = (0..limits::ARGUMENTS as u8).map(argument).collect();
    let written = found.iter().map(|one| (Some(one.index), Some(ArgumentSlot(one.index)))).collect();
    Arguments { found, are_fields: false, written }
}

/// Reads `args`, or `data`, which is read beside them.
pub fn list(fields: &Fields<'_>, key: &'static str, place: Place) -> Arguments {
    let are_fields = matches!(place, Place::Tracepoint | Place::RawTracepoint);
    let mut arguments = Arguments { are_fields, ..Arguments::default() };
    let Some(list) = fields.get(key) else { return arguments };
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
    let fields = item.fields(&PLAIN)?;
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
    let kind = kind(&fields, place, Source::Call);
    let label = fields.text("label", limits::LABEL_CHARS);
    Some(ReturnValue { at: item.at(), kind: kind?, label, action: None })
}

fn kind(fields: &Fields<'_>, place: Place, source: Source) -> Option<ArgumentType> {
    let item = fields.get("type");
    let kind = match &item {
        Some(item) => item.word(&TYPES)?,
        None => ArgumentType::Auto,
    };
    let at = item.as_ref().unwrap_or(fields.item);
    // Of a program's memory, the kernel knows no types; and what its registers have is no address of the kernel's.
    let of_program = place.is_in_program() && source != Source::CurrentTask;
    match (kind, place) {
        (ArgumentType::Auto, Place::Program) if source == Source::Call => {
            at.expected("a program doesn't tell what its functions take: say the type", place.types());
            return None;
        }
        (ArgumentType::Auto, Place::Usdt) if source == Source::Call => {
            at.note("the file tells the type when the policy is loaded")
        }
        (ArgumentType::Auto, _) => at.note("the kernel tells the type when the policy is loaded"),
        (kind, place) if of_program && !kind.is_of_program() => {
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
    let (source, path) = origin(&fields, place);
    // What doesn't come from the call has no place among its arguments.
    let index = match fields.get("index") {
        None if source.is_some_and(|source| source != Source::Call) => Some(0),
        _ => fields.need("index").and_then(|item| item.integer(0..=last)).map(|index| index as u8),
    };
    let kind = source.and_then(|source| kind(&fields, place, source));
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
            let set = [("sizeArgIndex", size_from.is_some() && !kind.has_size()), ("maxData", max_data)];
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
    if kind == Some(ArgumentType::DataLoc) && place != Place::Tracepoint {
        item.invalid("data_loc: only the record of a tracepoint has such fields");
    }
    let argument = index.zip(kind).zip(source.zip(path)).map(|((index, kind), (source, path))| Argument {
        at: item.at(),
        index,
        kind,
        label,
        size_from,
        copy_at_return,
        max_data,
        source,
        path,
    });
    (index, argument)
}

/// Where an argument comes from, and the way from there; none for what is wrong.
fn origin(fields: &Fields<'_>, place: Place) -> (Option<Source>, Option<Option<MemberPath>>) {
    let source = match fields.get("source") {
        Some(item) => item.word(&SOURCES).inspect(|source| {
            if *source == Source::Registers && place != Place::Function && !place.is_in_program() {
                item.expected("only a kprobe sees registers", "current_task; or a hook of kprobes");
            }
        }),
        None => Some(Source::Call),
    };
    let name = |key| fields.get(key).map(|item| name(&item)).transpose();
    let (start, module) = (name("btfType"), name("btfTypeModule"));
    let path = fields.get("resolve").map(|item| member_path(&item)).transpose();
    if place.is_in_program()
        && source == Some(Source::Call)
        && let Some(item) = fields.get("resolve")
    {
        item.expected("the types of programs are not read", "source: current_task, or pt_regs");
        return (source, None);
    }
    let (Ok(start), Ok(module), Ok(text)) = (start, module, path) else { return (source, None) };
    let Some(text) = text else {
        for key in ["btfType", "btfTypeModule"] {
            if let Some(item) = fields.get(key) {
                item.warn(format_args!("{key} has no effect without resolve"));
            }
        }
        if source == Some(Source::Registers) {
            fields.item.expected("the register is missing", "resolve with the name of a register, as rip");
            return (source, None);
        }
        return (source, Some(None));
    };
    (source, Some(Some(MemberPath { text, start, module, chain: None })))
}

/// What has been noted already.
struct Noted;

/// The name of a struct, or of a module.
fn name(item: &Item<'_>) -> Result<String, Noted> {
    let text = item.text(limits::SYMBOL_BYTES).ok_or(Noted)?;
    let bare = ["struct ", "union "].iter().find_map(|sort| text.strip_prefix(sort)).unwrap_or(text);
    // It becomes the name of a file, too.
    if !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Ok(bare.to_owned());
    }
    item.expected(
        format_args!("{} is no name of the kernel's", Quoted(text)),
        "letters, digits, '_' and '-'",
    );
    Err(Noted)
}

fn member_path(item: &Item<'_>) -> Result<String, Noted> {
    let text = item.text(limits::MEMBER_PATH_CHARS).ok_or(Noted)?;
    let is_member = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '[' | ']');
    if text.split('.').all(|member| !member.is_empty() && member.chars().all(is_member)) {
        return Ok(text.to_owned());
    }
    let allowed = "names with dots between, as mm.owner.comm";
    item.expected(format_args!("{} is no path of members", Quoted(text)), allowed);
    Err(Noted)
}

// === impl Place ===

impl Place {
    /// The last argument that there can be.
    fn last_index(self) -> i64 {
        match self {
            Self::Function | Self::Fentry | Self::Program | Self::Lsm => limits::FUNCTION_INDEX,
            Self::Tracepoint => limits::TRACEPOINT_INDEX,
            Self::RawTracepoint => limits::RAW_TRACEPOINT_INDEX,
            Self::Usdt => limits::USDT_INDEX,
        }
    }

    fn is_in_program(self) -> bool {
        matches!(self, Self::Program | Self::Usdt)
    }

    fn returns(self) -> bool {
        matches!(self, Self::Function | Self::Fentry | Self::Program)
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
