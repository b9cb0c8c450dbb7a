//! What a policy's author has to say of an event, with what is known of it in places that are left open:
//! `{process.binary} opened {args.0}`.

use std::{borrow::Cow, fmt::Write as _};

use super::{Event, Hook};
use crate::{
    display::harmless,
    filter::fields::View,
    text::{Arguments, Shown, ending},
};

/// A text with open places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Place(Place),
}

/// What stands in an open place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    ProcessBinary,
    ProcessArguments,
    ProcessCwd,
    ProcessPid,
    ProcessUid,
    ParentBinary,
    ParentPid,
    PodName,
    Namespace,
    Workload,
    ContainerId,
    ContainerName,
    Policy,
    Function,
    Action,
    Return,
    Argument(usize),
}

/// The words for what is known of every event, and the path at which JSON has it.
const PLACES: [(&str, Place, &str); 15] = [
    ("process.binary", Place::ProcessBinary, "process.binary"),
    ("process.arguments", Place::ProcessArguments, "process.arguments"),
    ("process.cwd", Place::ProcessCwd, "process.cwd"),
    ("process.pid", Place::ProcessPid, "process.pid"),
    ("process.uid", Place::ProcessUid, "process.uid"),
    ("parent.binary", Place::ParentBinary, "parent.binary"),
    ("parent.pid", Place::ParentPid, "parent.pid"),
    ("pod.name", Place::PodName, "process.pod.name"),
    ("namespace", Place::Namespace, "process.pod.namespace"),
    ("workload", Place::Workload, "process.pod.workload"),
    ("container.id", Place::ContainerId, "process.docker"),
    ("container.name", Place::ContainerName, "process.pod.container.name"),
    ("policy", Place::Policy, "policy_name"),
    ("function", Place::Function, "function_name"),
    ("action", Place::Action, "action"),
];

/// Bytes of what stands in one place, and of the whole text.
const PLACE_BYTES: usize = 256;
const BYTES: usize = 1024;

/// What stands for what isn't known, and for an argument that could not be read.
const UNKNOWN: &str = "-";
const UNREAD: &str = "?";

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its other half.
    #[error("a single {0} stands for nothing: write it twice")]
    Brace(char),
    /// Nothing is known by that name.
    #[error("nothing is known by the name {0}")]
    Unknown(String),
    /// The hook has no such argument.
    #[error("the hook has no argument {0} in its args: its label, or its place there from 0")]
    Argument(String),
    /// The hook doesn't wait for the return.
    #[error("the hook doesn't wait for the return: add return: true and returnArg")]
    Return,
}

// === impl Template ===

impl Template {
    /// Reads a template. `argument` is the place among an event's arguments of one that has a label, or a place in the
    /// policy's list; `returns` says whether events have what the function returned.
    ///
    /// # Errors
    /// Says the first thing that is wrong with it.
    pub fn parse(
        text: &str,
        argument: impl Fn(&str) -> Option<usize>,
        returns: bool,
    ) -> Result<Self, TemplateError> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::Brace('}'));
            }
            let (name, after) = after.split_once('}').ok_or(TemplateError::Brace('{'))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Place(place(name, &argument, returns)?));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self(parts.into()))
    }

    /// All names that a place can have.
    pub fn names() -> String {
        let all = PLACES.iter().map(|(name, ..)| *name).chain(["return", "args.LABEL", "args.N"]);
        all.collect::<Vec<_>>().join(", ")
    }

    /// Whether all that it tells is shown.
    fn is_shown(&self, view: &View) -> bool {
        self.0.iter().all(|part| match part {
            Part::Text(_) => true,
            Part::Place(place) => view.shows(place.path()),
        })
    }

    /// Appends the text for an event, on one line, harmless to a terminal, and of bounded length.
    fn write(&self, event: &Event, hook: &Hook, out: &mut String) {
        let start = out.len();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place(place) => place.write(event, hook, out),
            }
            if out.len() - start > BYTES {
                out.truncate(out.floor_char_boundary(start + BYTES));
                out.push('…');
                break;
            }
        }
    }
}

fn place(
    name: &str,
    argument: impl Fn(&str) -> Option<usize>,
    returns: bool,
) -> Result<Place, TemplateError> {
    if let Some((_, place, _)) = PLACES.iter().find(|(known, ..)| *known == name) {
        return Ok(*place);
    }
    if name == "return" {
        return if returns { Ok(Place::Return) } else { Err(TemplateError::Return) };
    }
    let label = name.strip_prefix("args.").ok_or_else(|| TemplateError::Unknown(format!("{name:?}")))?;
    let found = argument(label).map(Place::Argument);
    found.ok_or_else(|| TemplateError::Argument(format!("{label:?}")))
}

// === impl Place ===

impl Place {
    fn path(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::Argument(_) => "args",
            known => PLACES.iter().find(|(_, place, _)| *place == known).map_or("", |(.., path)| path),
        }
    }

    fn write(self, event: &Event, hook: &Hook, out: &mut String) {
        let (process, start) = (&*event.process, out.len());
        let place = process.place();
        let pod = place.as_deref().map(|place| &place.pod);
        let container = place.as_deref().and_then(|place| place.container.as_deref());
        let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or(UNKNOWN).to_owned();
        // Paths are told from their end, where the names are.
        let path = |path: Option<&str>| ending(&known(path), PLACE_BYTES).into_owned();
        let parent = event.parent.as_deref();
        // Writing to a String can't fail.
        let _ = match self {
            Self::ProcessBinary => write!(out, "{}", path(Some(process.image.binary()))),
            Self::ProcessArguments => write!(out, "{}", Arguments(&process.image)),
            Self::ProcessCwd => write!(out, "{}", path(Some(process.image.cwd()))),
            Self::ProcessPid => write!(out, "{}", process.pid()),
            Self::ProcessUid => write!(out, "{}", process.credentials.euid),
            Self::ParentBinary => write!(out, "{}", path(parent.map(|parent| parent.image.binary()))),
            Self::ParentPid => match parent {
                Some(parent) => write!(out, "{}", parent.pid()),
                None => write!(out, "{UNKNOWN}"),
            },
            Self::PodName => write!(out, "{}", known(pod.map(|pod| &*pod.name))),
            Self::Namespace => write!(out, "{}", known(pod.map(|pod| &*pod.namespace))),
            Self::Workload => {
                write!(out, "{}", known(pod.and_then(|pod| pod.workload.as_ref()).map(|one| &*one.name)))
            }
            Self::ContainerId => write!(out, "{}", known(process.container().map(|one| &*one.id))),
            Self::ContainerName => write!(out, "{}", known(container.map(|one| &*one.name))),
            Self::Policy => write!(out, "{}", hook.source.policy.name),
            Self::Function => write!(out, "{}", hook.source.kind().function()),
            Self::Action => write!(out, "{}", hook.action.word()),
            Self::Return => match &hook.returned {
                Some(value) => write!(out, "{}", Shown(value)),
                None => write!(out, "{UNREAD}"),
            },
            Self::Argument(index) => match hook.arg(index) {
                Some(value) => write!(out, "{}", Shown(value)),
                None => write!(out, "{UNREAD}"),
            },
        };
        let written = out.split_off(start);
        let end = written.floor_char_boundary(PLACE_BYTES);
        harmless(out, |out| out.push_str(&written[..end]));
        out.push_str(if end < written.len() { "…" } else { "" });
    }
}

// === impl Hook ===

impl Hook {
    /// What the policy's author has to say of an event of this call: the message, or what a template makes of the event.
    /// Where a template tells something that is not shown, there is none.
    pub fn message(&self, event: &Event, view: Option<&View>) -> Option<Cow<'_, str>> {
        let Some(template) = &self.source.template else {
            return self.source.message.as_deref().map(Cow::Borrowed);
        };
        view.is_none_or(|view| template.is_shown(view)).then(|| {
            let mut text = String::new();
            template.write(event, self, &mut text);
            Cow::Owned(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Action, HookKind, HookSource, Image, Kind, Policy, Process, Timestamp, Value};

    fn template(text: &str) -> Result<Template, TemplateError> {
        let argument = |label: &str| match label {
            "0" | "path" => Some(0),
            "1" => Some(1),
            _ => None,
        };
        Template::parse(text, argument, true)
    }

    fn event(text: &str, arg: &str) -> Event {
        let policy = Arc::new(Policy { name: "p".into(), namespace: None });
        let mut source = HookSource::new(policy, HookKind::Kprobe { function: "vfs_read".into() });
        source.template = Some(template(text).unwrap());
        let hook = Hook {
            source: Arc::new(source),
            args: Box::new([Some(Value::Text { text: arg.into(), truncated: false }), None]),
            returned: Some(Value::Int(-2)),
            action: Action::Post,
            return_action: None,
            selector: 0,
            data: Box::default(),
            monitored: false,
            socket_owner: false,
            ima_hash: None,
            stacks: None,
            descriptor: None,
            request: None,
        };
        let image = Arc::new(Image::new("/usr/bin/cat", "", "/root", "cat\0two words\0x\0", None));
        Event {
            time: Timestamp(1),
            observed: Timestamp(2),
            process: Arc::new(Process { image, ..Process::default() }),
            parent: None,
            kind: Kind::Hook(hook),
        }
    }

    fn told(text: &str, arg: &str) -> String {
        let event = event(text, arg);
        let Kind::Hook(hook) = &event.kind else { unreachable!() };
        hook.message(&event, None).unwrap().into_owned()
    }

    #[test]
    fn places_are_filled() {
        assert_eq!(
            told("{process.binary} {process.arguments} opened {args.path} ({args.1}): {return}", "/etc/x"),
            "/usr/bin/cat \"two words\" x opened /etc/x (?): -2"
        );
        assert_eq!(told("{{{policy}}} {pod.name}/{parent.binary}", ""), "{p} -/-");
        assert_eq!(told("", ""), "");
        assert_eq!(told("é{function}é", ""), "évfs_readé");
    }

    #[test]
    fn what_is_long_or_harmful_is_neither_when_told() {
        let long = told("{args.0}", &"é".repeat(3000));
        assert!(long.len() <= PLACE_BYTES + 3 && long.ends_with('…'), "{}", long.len());
        let many = told(&"{args.0}".repeat(40), &"x".repeat(250));
        assert!(many.len() <= BYTES + 3 && many.ends_with('…'), "{}", many.len());
        assert_eq!(told("{args.0}", "a\n\u{1b}[31m"), "a\\n\\u{1b}[31m");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let error = |text: &str| template(text).unwrap_err().to_string();
        assert_eq!(error("a } b"), "a single } stands for nothing: write it twice");
        assert_eq!(error("{process.binary"), "a single { stands for nothing: write it twice");
        assert_eq!(error("{process.name}"), "nothing is known by the name \"process.name\"");
        assert_eq!(
            error("{args.2}"),
            "the hook has no argument \"2\" in its args: its label, or its place there from 0"
        );
        assert_eq!(error("{}"), "nothing is known by the name \"\"");
        let error = Template::parse("{return}", |_| None, false).unwrap_err().to_string();
        assert_eq!(error, TemplateError::Return.to_string());
    }
}
