//! `matchActions` and `matchReturnActions`.

use std::{cell::Cell, time::Duration};

use trigon_exporters::outbound::{DnsName, HttpUrl, OutboundCall};

use super::{
    super::{
        fault::{Feature, Quoted},
        limits,
        model::{
            Located,
            actions::{Action, Post, RateLimit, RateLimitScope},
            arguments::{ArgumentSlot, ArgumentType},
        },
        words::{Word, Words},
    },
    Fields, Item, Keys,
    arguments::Named,
    marks,
    selectors::{Overrides, Scope},
};

pub mod schema;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Name {
    Post,
    NoPost,
    Sigkill,
    Signal,
    FollowFd,
    UnfollowFd,
    CopyFd,
    Override,
    Set,
    TrackSock,
    UntrackSock,
    Mark,
    Unmark,
    NotifyEnforcer,
    CleanupEnforcerNotification,
    GetUrl,
    DnsLookup,
}

const NAMES: Words<Name> = Words {
    what: "action",
    any_case: true,
    words: &[
        ("Post", Word::Is(Name::Post)),
        ("NoPost", Word::Is(Name::NoPost)),
        ("Sigkill", Word::Is(Name::Sigkill)),
        ("Signal", Word::Is(Name::Signal)),
        ("FollowFD", Word::Is(Name::FollowFd)),
        ("UnfollowFD", Word::Is(Name::UnfollowFd)),
        ("CopyFD", Word::Is(Name::CopyFd)),
        ("Override", Word::Is(Name::Override)),
        ("GetUrl", Word::Is(Name::GetUrl)),
        ("DnsLookup", Word::Is(Name::DnsLookup)),
        ("TrackSock", Word::Is(Name::TrackSock)),
        ("UntrackSock", Word::Is(Name::UntrackSock)),
        ("Mark", Word::Is(Name::Mark)),
        ("Unmark", Word::Is(Name::Unmark)),
        ("NotifyEnforcer", Word::Is(Name::NotifyEnforcer)),
        ("CleanupEnforcerNotification", Word::Is(Name::CleanupEnforcerNotification)),
        ("Set", Word::Is(Name::Set)),
    ],
};

const SCOPES: Words<RateLimitScope> = Words {
    what: "scope",
    any_case: true,
    words: &[
        ("thread", Word::Is(RateLimitScope::Thread)),
        ("process", Word::Is(RateLimitScope::Process)),
        ("global", Word::Is(RateLimitScope::Global)),
    ],
};

const KEYS: Keys = Keys {
    known: &[
        "action",
        "rateLimit",
        "rateLimitScope",
        "argSig",
        "argFd",
        "argName",
        "argError",
        "argUrl",
        "argFqdn",
        "argSock",
        "mark",
        "argIndex",
        "argValue",
        // Of Post, of which the last is refused by name where it is true.
        "kernelStackTrace",
        "userStackTrace",
        "imaHash",
    ],
    // Other ways to override a function of a program.
    later: &["argRegs", "argNewSymbol", "argNewAddr", "argNewOffset"],
};

/// Of `Post`: which stack traces it tells.
const STACKS: [&str; 2] = ["kernelStackTrace", "userStackTrace"];

/// Reads a list of actions.
pub fn list(fields: &Fields<'_>, key: &str, scope: &Scope<'_>) -> Vec<Located<Action>> {
    let hashes = Cell::new(None);
    let mut actions =
        fields.list(key, limits::ACTIONS, |item| Some(item.locate(read(item, scope, &hashes)?)));
    actions.extend(hashes.take());
    let posts = actions.iter().any(|action| matches!(action.value, Action::Post(_)));
    let overrides = |action: &Located<Action>| matches!(action.value, Action::Override { .. });
    if key == "matchReturnActions"
        && actions.iter().any(overrides)
        && let Some(item) = fields.get(key)
    {
        item.invalid("Override decides before the function is entered: it belongs to matchActions");
    }
    let hides = actions.iter().any(|action| action.value == Action::NoPost);
    if posts
        && hides
        && let Some(item) = fields.get(key)
    {
        item.invalid("Post and NoPost contradict each other");
    }
    actions
}

fn read(item: &Item<'_>, scope: &Scope<'_>, hashes: &Cell<Option<Located<Action>>>) -> Option<Action> {
    let fields = item.fields(&KEYS)?;
    if let Some(hash) = fields.get("imaHash")
        && hash.boolean() == Some(true)
    {
        match scope.overrides {
            Overrides::Errors => hashes.set(Some(hash.locate(Action::ImaHash))),
            _ => hash.invalid("only a program of a security module can have a file hashed (lsmhooks)"),
        }
    }
    let name = fields.need("action")?.word(&NAMES)?;
    warn_unused(&fields, name);
    match name {
        Name::Post => rate_limit(&fields).map(|limit| {
            let [kernel_stack, user_stack] = STACKS.map(|key| fields.flag(key, false));
            Action::Post(Post { limit, kernel_stack, user_stack })
        }),
        Name::NoPost => Some(Action::NoPost),
        Name::Sigkill => Some(Action::Sigkill),
        Name::Signal => {
            let number = fields.need("argSig")?.integer(1..=64)?;
            u8::try_from(number).ok().map(Action::Signal)
        }
        Name::FollowFd => {
            let fd = descriptor(&fields, "argFd", scope);
            let file = slot(&fields, "argName", scope, ArgumentType::names_file, FILES);
            Some(Action::FollowFd { fd: fd?, name: file? })
        }
        Name::UnfollowFd => descriptor(&fields, "argFd", scope).map(|fd| Action::UnfollowFd { fd }),
        Name::CopyFd => {
            let (from, to) = (descriptor(&fields, "argFd", scope), descriptor(&fields, "argName", scope));
            Some(Action::CopyFd { from: from?, to: to? })
        }
        Name::Set => setting(item, &fields, scope),
        Name::Override => overriding(item, &fields, scope),
        Name::TrackSock => socket(&fields, scope).map(|socket| Action::TrackSock { socket }),
        Name::UntrackSock => socket(&fields, scope).map(|socket| Action::UntrackSock { socket }),
        Name::Mark => marks::name(&fields.need("mark")?).map(|mark| Action::Mark { mark }),
        Name::Unmark => marks::name(&fields.need("mark")?).map(|mark| Action::Unmark { mark }),
        Name::NotifyEnforcer => {
            let bounds = -limits::ERRNO..=-1;
            let error = fields.get("argError").map(|error| error.integer(bounds)).unwrap_or(Some(0))?;
            let signal = fields.get("argSig").map(|signal| signal.integer(1..=64)).unwrap_or(Some(0))?;
            let error = i16::try_from(error).ok().filter(|error| *error != 0);
            let signal = u8::try_from(signal).ok().filter(|signal| *signal != 0);
            if error.is_none() && signal.is_none() {
                item.invalid("NotifyEnforcer needs argError, argSig or both: what the enforcer is to do");
                return None;
            }
            Some(Action::NotifyEnforcer { error, signal })
        }
        Name::CleanupEnforcerNotification => Some(Action::CleanupEnforcerNotification),
        Name::GetUrl => {
            let allowed = is_allowed(&fields, "GetUrl");
            let url = parsed(&fields.need("argUrl")?, HttpUrl::BYTES, HttpUrl::parse, HttpUrl::ALLOWED)?;
            allowed.then_some(Action::CallOut(OutboundCall::Get(url)))
        }
        Name::DnsLookup => {
            let allowed = is_allowed(&fields, "DnsLookup");
            let name = parsed(&fields.need("argFqdn")?, DnsName::BYTES, DnsName::parse, DnsName::ALLOWED)?;
            allowed.then_some(Action::CallOut(OutboundCall::Lookup(name)))
        }
    }
}

/// Whether the agent may call out; where it may not, that is said at the action's name.
fn is_allowed(fields: &Fields<'_>, name: &'static str) -> bool {
    let allowed = fields.item.rules().outbound;
    if !allowed && let Some(item) = fields.get("action") {
        item.forbidden(
            Feature { of: "action", name },
            "is refused unless the agent's configuration has policy.allow_outbound_actions = true: by it, whoever can \
             do what the policy matches has the agent call out",
        );
    }
    allowed
}

/// What a text of at most `bytes` says.
fn parsed<T>(
    item: &Item<'_>,
    bytes: usize,
    parse: fn(&str) -> Result<T, &'static str>,
    allowed: &str,
) -> Option<T> {
    let text = item.text(bytes)?;
    // It is not told: there may be a secret in it.
    parse(text).map_err(|wrong| item.expected(wrong, allowed)).ok()
}

fn setting(item: &Item<'_>, fields: &Fields<'_>, scope: &Scope<'_>) -> Option<Action> {
    if scope.overrides != Overrides::Argument {
        item.invalid("Set: only an argument of a probe (usdts) can be given another value");
        return None;
    }
    let argument = slot(fields, "argIndex", scope, ArgumentType::is_number, NUMBERS);
    let value = fields.need("argValue")?.integer(limits::SET_VALUE)?;
    Some(Action::Set { argument: argument?, value })
}

fn overriding(item: &Item<'_>, fields: &Fields<'_>, scope: &Scope<'_>) -> Option<Action> {
    let bounds = match scope.overrides {
        Overrides::Never | Overrides::Argument => {
            item.invalid("Override: here is no function whose return could be decided");
            return None;
        }
        Overrides::Function => {
            let number = fields.need("argError")?.integer(-limits::ERRNO..=limits::ERRNO)?;
            return i16::try_from(number).ok().map(|error| Action::Override { error });
        }
        Overrides::Place => {
            item.invalid("Override: only what is named by symbols is sure to be the start of a function");
            return None;
        }
        // Some functions have other returns than errors, the security modules' hooks none.
        Overrides::Any => -limits::ERRNO..=limits::ERRNO,
        Overrides::Errors => -limits::ERRNO..=-1,
    };
    let error = fields.need("argError")?;
    let number = error.integer(bounds)?;
    if number == 0 {
        error.expected("argError: 0 lets the function do what it does", "-4095 to -1, or what it may return");
        return None;
    }
    i16::try_from(number).ok().map(|error| Action::Override { error })
}

const DESCRIPTORS: &str = "an argument of type int or fd";
const FILES: &str = "an argument of type file, path, dentry, string or filename";
const NUMBERS: &str = "an argument that is a number";
/// What can be tracked.
pub const SOCKETS: &str = "an argument of type sock, socket or skb";

/// Warns of what belongs to other actions.
fn warn_unused(fields: &Fields<'_>, name: Name) {
    let used: &[&str] = match name {
        Name::Post => &["rateLimit", "rateLimitScope", "kernelStackTrace", "userStackTrace", "imaHash"],
        Name::NoPost | Name::Sigkill => &[],
        Name::Signal => &["argSig"],
        Name::Override => &["argError"],
        Name::Set => &["argIndex", "argValue"],
        Name::TrackSock | Name::UntrackSock => &["argSock"],
        Name::Mark | Name::Unmark => &["mark"],
        Name::NotifyEnforcer => &["argError", "argSig"],
        Name::CleanupEnforcerNotification => &[],
        Name::GetUrl => &["argUrl"],
        Name::DnsLookup => &["argFqdn"],
        // Policies give both to UnfollowFD, for its schema once asked for both.
        Name::FollowFd | Name::UnfollowFd | Name::CopyFd => &["argFd", "argName"],
    };
    for key in KEYS.known.iter().filter(|key| **key != "action" && !used.contains(key)) {
        if let Some(item) = fields.get(key) {
            item.warn(format_args!("{key} has no effect on this action"));
        }
    }
}

/// `rateLimit` and `rateLimitScope`. None where one is wrong; `Some(None)` where there is none.
fn rate_limit(fields: &Fields<'_>) -> Option<Option<RateLimit>> {
    let scope = fields.get("rateLimitScope");
    let parsed = match &scope {
        Some(item) => item.word(&SCOPES),
        None => Some(RateLimitScope::default()),
    };
    let Some(item) = fields.get("rateLimit") else {
        scope.iter().for_each(|item| item.warn("rateLimitScope has no effect without rateLimit"));
        return parsed.map(|_| None);
    };
    let text = item.text(limits::LABEL_CHARS)?;
    let (digits, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = digits.and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(unit));
    match seconds.filter(|seconds| (1..=limits::RATE_LIMIT_SECONDS).contains(seconds)) {
        Some(seconds) => Some(Some(RateLimit { interval: Duration::from_secs(seconds), scope: parsed? })),
        None => {
            let allowed = "a number of seconds, or with a unit: 5s, 5m, 1h; from 1 second to 168 hours";
            item.expected(format_args!("{} is no interval", Quoted(text)), allowed);
            None
        }
    }
}

fn descriptor(fields: &Fields<'_>, key: &'static str, scope: &Scope<'_>) -> Option<ArgumentSlot> {
    slot(fields, key, scope, ArgumentType::is_descriptor, DESCRIPTORS)
}

fn socket(fields: &Fields<'_>, scope: &Scope<'_>) -> Option<ArgumentSlot> {
    slot(fields, "argSock", scope, ArgumentType::is_socket, SOCKETS)
}

/// The argument that an action names by its index, 0 where it names none.
fn slot(
    fields: &Fields<'_>,
    key: &'static str,
    scope: &Scope<'_>,
    fits: fn(ArgumentType) -> bool,
    allowed: &str,
) -> Option<ArgumentSlot> {
    let item = fields.get(key);
    let index = match &item {
        Some(item) => item.integer(0..=limits::TRACEPOINT_INDEX)?,
        None => 0,
    };
    let (at, before) = match &item {
        Some(item) => (item, String::new()),
        None => (fields.item, format!("{key}: ")),
    };
    match scope.arguments.by_index(index) {
        Named::Found(slot, argument) if fits(argument.kind) => return Some(slot),
        Named::Found(..) => {
            at.expected(format_args!("{before}the argument with index {index} is of another type"), allowed);
        }
        Named::Unread => {}
        Named::Missing => at.expected(
            format_args!("{before}the hook has no argument with index {index} in its args"),
            scope.arguments.indices(),
        ),
    }
    None
}
