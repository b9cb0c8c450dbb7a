//! `kprobes`, `fentries`, `tracepoints`, `lsmhooks` and `enforcers`.

use std::sync::Arc;

use trigon_exporters::event::{Severity, Template, TemplateError};

use super::{
    super::{
        fault::Quoted,
        limits,
        model::{
            actions::{Action, ReturnAction},
            arguments::{Argument, ArgumentType},
            hooks::{Abi, Function, FunctionSection, Functions, Hook, Point, ReturnValue, Tracepoint},
            selectors::Selector,
        },
        words::{Word, Words},
    },
    Fields, Item, Keys,
    arguments::{self, Place},
    lists,
    selectors::{self, Overrides, Scope},
};

pub mod programs;
pub mod schema;

/// What a hook reads of a call.
struct Read {
    arguments: arguments::Arguments,
    data: arguments::Arguments,
    return_value: Option<ReturnValue>,
}

const FUNCTION: Keys = Keys {
    known: &[
        "call",
        "syscall",
        "return",
        "args",
        "returnArg",
        "returnArgAction",
        "data",
        "selectors",
        "message",
        "messageTemplate",
        "severity",
        "tags",
        "ignore",
    ],
    later: &[],
};

const IGNORE: Keys = Keys { known: &["callNotFound"], later: &[] };

const TRACEPOINT: Keys = Keys {
    known: &[
        "subsystem",
        "event",
        "raw",
        "args",
        "selectors",
        "message",
        "messageTemplate",
        "severity",
        "tags",
    ],
    later: &[],
};

/// Keys of a hook that are of `trigon.io` alone.
pub const OURS: [&str; 2] = ["messageTemplate", "severity"];

const SEVERITIES: Words<Severity> = Words {
    what: "severity",
    any_case: false,
    words: &[
        ("TRACE", Word::Is(Severity::Trace)),
        ("DEBUG", Word::Is(Severity::Debug)),
        ("INFO", Word::Is(Severity::Info)),
        ("WARN", Word::Is(Severity::Warn)),
        ("ERROR", Word::Is(Severity::Error)),
        ("FATAL", Word::Is(Severity::Fatal)),
    ],
};

const LSM: Keys = Keys {
    known: &["hook", "args", "selectors", "message", "messageTemplate", "severity", "tags"],
    later: &[],
};

const ENFORCER: Keys = Keys { known: &["calls"], later: &[] };

const RETURN_ACTIONS: Words<Option<ReturnAction>> = Words {
    what: "action",
    any_case: true,
    words: &[
        // What Tetragon once took for what happens anyway.
        ("Post", Word::Is(None)),
        ("TrackSock", Word::Is(Some(ReturnAction::TrackSock))),
        ("UntrackSock", Word::Is(Some(ReturnAction::UntrackSock))),
    ],
};

/// Reads an item of `kprobes` or `fentries`.
pub fn function(item: &Item<'_>, section: FunctionSection) -> Option<Hook> {
    let fields = item.fields(&FUNCTION)?;
    let syscall = fields.flag("syscall", true);
    let called = fields.need("call").and_then(|call| called(&call, syscall));
    let at_return = fields.flag("return", false);
    let place = match section {
        FunctionSection::Kprobes | FunctionSection::Enforcers => Place::Function,
        FunctionSection::Fentries => Place::Fentry,
    };
    let arguments = arguments::list(&fields, "args", place);
    let data = arguments::list(&fields, "data", place);
    let mut return_value = return_value(&fields, at_return, place);
    return_action(&fields, return_value.as_mut());
    let ignore = fields.get("ignore");
    let ignore = ignore.as_ref().and_then(|item| item.fields(&IGNORE));
    let ignore_missing = ignore.is_some_and(|ignore| ignore.flag("callNotFound", false));
    let selectors = selectors(&fields, &arguments, &data, return_value.as_ref(), Overrides::Any);
    let overrides = |action: &Action| matches!(action, Action::Override { .. });
    if arguments.found.iter().any(|argument| argument.copy_at_return)
        && selectors.iter().any(|selector| selector.all_actions().any(overrides))
    {
        fields
            .item
            .invalid("Override decides before the function is entered: no argument can have returnCopy");
    }
    let point = called
        .map(|(list, functions)| Point::Functions(Functions { section, list, functions, ignore_missing }));
    hook(item, &fields, point, Read { arguments, data, return_value }, selectors)
}

/// Reads an item of `tracepoints`.
pub fn tracepoint(item: &Item<'_>) -> Option<Hook> {
    let fields = item.fields(&TRACEPOINT)?;
    let name = |key| fields.need(key).and_then(|item| symbol(&item));
    let (subsystem, event) = (name("subsystem"), name("event"));
    let raw = fields.flag("raw", false);
    let place = if raw { Place::RawTracepoint } else { Place::Tracepoint };
    let arguments = arguments::list(&fields, "args", place);
    let data = arguments::Arguments::default();
    let selectors = selectors(&fields, &arguments, &data, None, Overrides::Never);
    let tracepoint = subsystem.zip(event).map(|(subsystem, event)| Tracepoint { subsystem, event });
    let point = tracepoint.map(if raw { Point::RawTracepoint } else { Point::Tracepoint });
    hook(item, &fields, point, Read { arguments, data, return_value: None }, selectors)
}

/// Reads an item of `lsmhooks`.
pub fn lsm(item: &Item<'_>) -> Option<Hook> {
    let fields = item.fields(&LSM)?;
    let name = fields.need("hook").and_then(|item| symbol(&item));
    let arguments = arguments::list(&fields, "args", Place::Lsm);
    let data = arguments::Arguments::default();
    let selectors = selectors(&fields, &arguments, &data, None, Overrides::Errors);
    hook(item, &fields, name.map(Point::Lsm), Read { arguments, data, return_value: None }, selectors)
}

/// Reads an item of `enforcers`: a hook on each of its calls, which tells nothing.
pub fn enforcer(item: &Item<'_>) -> Option<Vec<Hook>> {
    let fields = item.fields(&ENFORCER)?;
    let hook = |call: &Item<'_>| {
        let (list, functions) = called(call, true)?;
        let section = FunctionSection::Enforcers;
        let functions = Functions { section, list, functions, ignore_missing: false };
        let act = [Action::NoPost, Action::Enforce].map(|action| call.locate(action));
        let selectors = vec![Selector::of_actions(call.at(), act.into())];
        Some(Hook {
            at: call.at(),
            point: Point::Functions(functions),
            message: None,
            template: None,
            severity: None,
            tags: Vec::new(),
            arguments: Vec::new(),
            data: Vec::new(),
            return_value: None,
            selectors,
        })
    };
    if fields.need("calls").is_some_and(|calls| calls.items(usize::MAX).next().is_none()) {
        item.invalid("this enforcer is on no call");
    }
    Some(fields.list("calls", limits::LIST_FUNCTIONS, hook))
}

fn hook(
    item: &Item<'_>,
    fields: &Fields<'_>,
    point: Option<Point>,
    read: Read,
    selectors: Vec<Selector>,
) -> Option<Hook> {
    let message = fields.text("message", limits::MESSAGE_CHARS);
    let tag = |item: &Item<'_>| item.text(limits::LABEL_CHARS).map(str::to_owned);
    let tags = fields.list("tags", limits::TAGS, tag);
    let Read { arguments, data, return_value } = read;
    let (arguments, data) = (arguments.found, data.found);
    let severity = fields.get("severity").and_then(|item| item.word(&SEVERITIES));
    let template = template(fields, &arguments, return_value.is_some());
    if let Some(item) = fields.get("messageTemplate")
        && message.is_some()
    {
        item.invalid("a hook has message or messageTemplate, not both");
    }
    Some(Hook {
        at: item.at(),
        point: point?,
        message,
        template,
        severity,
        tags,
        arguments,
        data,
        return_value,
        selectors,
    })
}

/// `messageTemplate`: events have the hook's arguments without those that are not read.
fn template(fields: &Fields<'_>, arguments: &[Argument], returns: bool) -> Option<Template> {
    let item = fields.get("messageTemplate")?;
    let text = item.text(limits::TEMPLATE_CHARS)?;
    let posted = |argument: &&Argument| argument.kind != ArgumentType::Nop;
    let argument = |name: &str| {
        let labelled = arguments.iter().position(|argument| argument.label.as_deref() == Some(name));
        let place = labelled.or_else(|| name.parse().ok())?;
        arguments.get(place).filter(posted)?;
        Some(arguments.iter().take(place).filter(posted).count())
    };
    match Template::parse(text, argument, returns) {
        Ok(template) => Some(template),
        Err(error @ TemplateError::Unknown(_)) => {
            item.expected(error, Template::names());
            None
        }
        Err(error) => {
            item.invalid(error);
            None
        }
    }
}

fn selectors(
    fields: &Fields<'_>,
    arguments: &arguments::Arguments,
    data: &arguments::Arguments,
    return_value: Option<&ReturnValue>,
    overrides: Overrides,
) -> Vec<Selector> {
    let scope = Scope { arguments, data, return_value, overrides };
    fields.list("selectors", limits::SELECTORS, |item| selectors::read(item, &scope))
}

/// `returnArg`, where `return` asks for it.
fn return_value(fields: &Fields<'_>, at_return: bool, place: Place) -> Option<ReturnValue> {
    match (fields.get("returnArg"), at_return) {
        (Some(item), true) => arguments::return_value(&item, place),
        (Some(item), false) => {
            item.warn("returnArg has no effect without return: true");
            arguments::return_value(&item, place);
            None
        }
        (None, true) => {
            fields.item.invalid("return: true needs returnArg: it says what the function returns");
            None
        }
        (None, false) => None,
    }
}

/// `returnArgAction`, which is about a socket that the function returns.
fn return_action(fields: &Fields<'_>, value: Option<&mut ReturnValue>) {
    let Some(item) = fields.get("returnArgAction") else { return };
    let Some(Some(action)) = item.word(&RETURN_ACTIONS) else { return };
    match value {
        Some(value) if value.kind.is_socket() => value.action = Some(action),
        Some(value) => item.expected(
            format_args!("what the function returns is of type {}, and no socket", value.kind.as_str()),
            "a returnArg of type sock, socket or skb",
        ),
        None if fields.get("returnArg").is_none() || !fields.flag("return", false) => {
            item.invalid("nothing waits for what the function returns: add return: true and returnArg");
        }
        // It could not be read, which is a fault of its own.
        None => {}
    }
}

/// The functions that `call` stands for, and the list that it names.
fn called(item: &Item<'_>, syscall: bool) -> Option<(Option<usize>, Arc<[Function]>)> {
    let text = item.text(limits::SYMBOL_BYTES)?;
    if let Some(name) = text.strip_prefix("list:") {
        let (index, list) = lists::find(item, name)?;
        return Some((Some(index), Arc::clone(&list.functions)));
    }
    let symbol = symbol(item)?;
    let Some(function) = resolve(&symbol, syscall) else {
        let message = format!(
            "{symbol} is no system call: those begin with sys_. For any other function, add syscall: false"
        );
        item.invalid(message);
        return None;
    };
    Some((None, Arc::from([function])))
}

/// The function that a name stands for. None if it must be a system call and isn't.
pub(super) fn resolve(name: &str, syscall: bool) -> Option<Function> {
    if !syscall {
        return Some(Function::Symbol(name.to_owned()));
    }
    let call = |abi: Abi| Some((name.strip_prefix(abi.prefix())?, abi));
    let (name, abi) = [Abi::X64, Abi::Ia32, Abi::Arm64, Abi::Native].into_iter().find_map(call)?;
    Some(Function::Syscall { name: name.to_owned(), abi })
}

/// The name of a function, of a tracepoint or of its group.
pub(super) fn symbol(item: &Item<'_>) -> Option<String> {
    let text = item.text(limits::SYMBOL_BYTES)?;
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.$-".contains(character);
    if !text.is_empty() && text.chars().all(allowed) {
        return Some(text.to_owned());
    }
    item.expected(
        format_args!("{} is no name of the kernel's", Quoted(text)),
        "letters, digits, '_', '.', '$' and '-'",
    );
    None
}
