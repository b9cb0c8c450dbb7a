//! What a line tells, whoever told it: an [`Event`], or a line of JSON.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use serde_json::Value as Json;

use super::hook;
use crate::{
    event::{Event, Hook, HookKind, Image, Kind, Place, Stacks},
    filter::fields::View,
    names::{self, CAP_SYS_ADMIN},
    text::{moment, split_arguments},
};

/// One line.
pub(super) struct Told<'a> {
    pub(super) time: Time<'a>,
    pub(super) head: Head<'a>,
    pub(super) source: Source<'a>,
    /// Path of what the process executes; none where the event is about no process.
    pub(super) binary: Option<&'a str>,
    pub(super) rest: Rest<'a>,
    pub(super) status: Option<Status<'a>>,
    /// What the policy's author has to say of this event.
    pub(super) message: Option<Cow<'a, str>>,
    /// The process has CAP_SYS_ADMIN.
    pub(super) is_admin: bool,
    /// What led to a call.
    pub(super) stacks: Option<Cow<'a, Stacks>>,
}

/// When it happened.
pub(super) enum Time<'a> {
    Known(jiff::Timestamp),
    /// As somebody wrote it.
    Text(&'a str),
}

/// What a line begins with: a sign and a word of at least seven columns.
pub(super) struct Head<'a> {
    pub(super) sign: &'static str,
    pub(super) word: Cow<'a, str>,
    /// Access that a mapping asks for, as `rwx`.
    pub(super) access: Option<i64>,
}

/// Where it happened.
pub(super) enum Source<'a> {
    Node(&'a str),
    Pod { namespace: &'a str, name: &'a str },
}

/// What is told of it.
pub(super) enum Rest<'a> {
    /// The arguments of the process.
    Arguments(&'a Image),
    /// The same as one text.
    ArgumentsText(&'a str),
    /// A call, by its function or tracepoint.
    Call(Call<'a>),
    /// A few words.
    Words([Option<Cow<'a, str>>; 3]),
}

/// A call, and those of its arguments that are no [`Value`](crate::event::Value).
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) hook: &'a Hook,
    pub(super) objects: &'a [Option<Object<'a>>],
}

/// An argument as JSON has it.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    /// `sock_arg`
    pub(super) kind: &'a str,
    pub(super) value: &'a Json,
}

/// How a process ended.
pub(super) enum Status<'a> {
    Code(u64),
    Signal(Cow<'a, str>),
}

const PROT_READ: i64 = 1;
const PROT_WRITE: i64 = 2;
const PROT_EXEC: i64 = 4;

// === impl Told ===

impl<'a> Told<'a> {
    /// What an event's line tells; none for a descriptor, whose opening and closing are events of their own.
    pub(super) fn of(event: &'a Event, place: Option<&'a Place>, node: &'a str) -> Option<Self> {
        let process = &event.process;
        let arguments = Rest::Arguments(&process.image);
        let (head, rest, status) = match &event.kind {
            Kind::Exec(_) => (Head::EXEC, arguments, None),
            Kind::Exit(exit) => {
                let status = match exit.signal {
                    0 => Status::Code(exit.code.into()),
                    signal => Status::Signal(names::signal(signal)),
                };
                (Head::EXIT, arguments, Some(status))
            }
            Kind::Hook(hook) => {
                let call = Call { hook, objects: &[] };
                (hook::head(call), hook_rest(call), None)
            }
            Kind::Loader(loader) => {
                (Head::LOADER, Rest::loader(build_id(&loader.build_id), &loader.path), None)
            }
            Kind::RateLimit(dropped) => (Head::RATE_LIMIT, Rest::dropped(dropped.to_string()), None),
            Kind::Descriptor(_) | Kind::Replaced => return None,
        };
        let is_of_process = !matches!(event.kind, Kind::RateLimit(_));
        Some(Self {
            time: Time::Known(moment(event.time)),
            head,
            source: match place {
                Some(Place { pod, .. }) => Source::Pod { namespace: &pod.namespace, name: &pod.name },
                None => Source::Node(node),
            },
            binary: is_of_process.then(|| process.image.binary()),
            rest,
            status,
            message: None,
            stacks: match &event.kind {
                Kind::Hook(hook) => hook.stacks.as_deref().map(Cow::Borrowed),
                _ => None,
            },
            is_admin: is_of_process && process.credentials.effective & CAP_SYS_ADMIN != 0,
        })
    }

    /// Adds what the policy's author has to say of this event, not of all of its hook's.
    pub(super) fn say(&mut self, event: &'a Event, view: Option<&View>) {
        if let Kind::Hook(hook) = &event.kind
            && hook.source.template.is_some()
        {
            self.message = hook.message(event, view);
        }
    }

    /// Leaves out what is not to be shown.
    pub(super) fn keep(&mut self, view: &View, node: &'a str) {
        if !["process.pod.namespace", "process.pod.name"].into_iter().all(|path| view.shows(path)) {
            self.source = Source::Node(node);
        }
        let rest = match &self.rest {
            Rest::Arguments(_) | Rest::ArgumentsText(_) => "process.arguments",
            Rest::Call(_) => "args",
            // The name of a tracepoint, and what a rate limit dropped, are what the event is.
            Rest::Words(_) => "",
        };
        let status = match &self.status {
            Some(Status::Signal(_)) => "signal",
            _ => "status",
        };
        if !view.shows("process.binary") {
            self.binary = None;
        }
        if !rest.is_empty() && !view.shows(rest) {
            self.rest = Rest::Words([const { None }; 3]);
        }
        if !view.shows(status) {
            self.status = None;
        }
        if let Some(stacks) = &mut self.stacks {
            if !view.shows("kernel_stack_trace") {
                stacks.to_mut().kernel = None;
            }
            if !view.shows("user_stack_trace") {
                stacks.to_mut().user = None;
            }
        }
        self.is_admin &= view.shows("process.cap.effective");
    }
}

/// What is told of a call.
pub(super) fn hook_rest(call: Call<'_>) -> Rest<'_> {
    match call.hook.source.kind() {
        HookKind::Tracepoint { subsystem, event } if !hook::is_raw_syscall(call.hook.source.kind()) => {
            Rest::words([&**subsystem, &**event])
        }
        HookKind::Lsm { hook } => Rest::words([&**hook]),
        HookKind::Uprobe { path, symbol, .. } => {
            Rest::words([&**path, &**symbol].into_iter().filter(|word| !word.is_empty()))
        }
        HookKind::Usdt { path, provider, name } => Rest::words([&**path, &**provider, &**name]),
        _ => Rest::Call(call),
    }
}

/// A build-id as tools print it; none where there is none.
pub(super) fn build_id(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

// === impl Rest ===

impl<'a> Rest<'a> {
    /// What a rate limit dropped.
    pub(super) fn dropped(number: impl Into<Cow<'a, str>>) -> Self {
        Self::Words([Some(number.into()), Some("events".into()), Some("dropped".into())])
    }

    /// A file's build-id, where it has one, and its path.
    pub(super) fn loader(build_id: Option<String>, path: &'a str) -> Self {
        Self::Words([build_id.map(Cow::Owned), Some(Cow::Borrowed(path)), None])
    }

    /// Three words at most.
    pub(super) fn words(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = [const { None }; 3];
        let texts = texts.into_iter().map(Cow::Borrowed);
        words.iter_mut().zip(texts).for_each(|(word, text)| *word = Some(text));
        Self::Words(words)
    }

    /// Calls `each` with every argument of the process.
    pub(super) fn arguments(&self, mut each: impl FnMut(&str)) {
        match self {
            Self::Arguments(image) => image.args().skip(1).for_each(each),
            Self::ArgumentsText(text) => split_arguments(text).for_each(&mut each),
            Self::Call(_) | Self::Words(_) => {}
        }
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    pub(super) fn object(self, index: usize) -> Option<Object<'a>> {
        self.objects.get(index).copied().flatten()
    }
}

// === impl Head ===

impl<'a> Head<'a> {
    pub(super) const EXEC: Self = Self::new("🚀", "process");
    pub(super) const EXIT: Self = Self::new("💥", "exit");
    pub(super) const TRACEPOINT: Self = Self::new("⁉️", "tracepoint");
    pub(super) const RAW_SYSCALL: Self = Self::new("☎ ", "syscall");
    pub(super) const LSM: Self = Self::new("🔒", "LSM");
    pub(super) const UPROBE: Self = Self::new("🕵️", "uprobe");
    pub(super) const USDT: Self = Self::new("🕵️", "usdt");
    pub(super) const LOADER: Self = Self::new("🧬", "loader");
    pub(super) const THROTTLE: Self = Self::new("🧬", "throttle");
    pub(super) const RATE_LIMIT: Self = Self::new("⏱", "rate_limit");

    pub(super) const LOST: Self = Self::new("⚠", "lost");

    pub(super) const fn new(sign: &'static str, word: &'a str) -> Self {
        Self { sign, word: Cow::Borrowed(word), access: None }
    }
}

impl Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sign, word, access } = self;
        let Some(access) = access else { return write!(f, "{sign} {word:7}") };
        write!(f, "{sign} {word}")?;
        let letters = [(PROT_READ, "r"), (PROT_WRITE, "w"), (PROT_EXEC, "x")];
        let mut width = word.len();
        for (_, letter) in letters.iter().filter(|(bit, _)| access & bit != 0) {
            f.write_str(letter)?;
            width += 1;
        }
        let pad = 7_usize.saturating_sub(width);
        write!(f, "{:pad$}", "")
    }
}
