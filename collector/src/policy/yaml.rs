//! YAML as a tree that knows where each part stands.
//!
//! A tree is no deeper than [`limits::DEPTH`] and, aliases counted as often as they stand for something, no bigger than
//! [`limits::EXPANDED_BYTES`]. Aliases share what they stand for.

use std::{borrow::Cow, collections::HashSet, mem, rc::Rc};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag, options};
use rustc_hash::FxHashMap;

use super::{
    fault::{Class, Fault, Faults, Path, Quoted},
    limits,
    model::Position,
};

#[cfg(test)]
mod tests;

/// A value and where it stands: an alias, where its anchor stands.
#[derive(Debug)]
pub struct Node<'t> {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value<'t>,
}

/// A value.
#[derive(Debug)]
pub enum Value<'t> {
    /// Text, a number, true or false, or nothing.
    Scalar {
        /// What stands there, without quotes and escapes.
        text: Cow<'t, str>,
        /// Without quotes: it may be something else than text.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Rc<Node<'t>>>),
    /// Keys, each once, and their values.
    Mapping(Vec<Entry<'t>>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry<'t> {
    /// The key.
    pub key: Cow<'t, str>,
    /// Where the key stands.
    pub key_at: Position,
    /// The value.
    pub value: Rc<Node<'t>>,
}

/// A node and what it adds to a tree.
#[derive(Clone, Debug)]
struct Built<'t> {
    node: Rc<Node<'t>>,
    /// Bytes, with all that its aliases stand for.
    cost: usize,
    /// Levels below it.
    height: usize,
}

/// A list or mapping whose end hasn't come.
struct Open<'t> {
    at: Position,
    anchor: usize,
    cost: usize,
    height: usize,
    content: Content<'t>,
}

enum Content<'t> {
    Sequence(Vec<Rc<Node<'t>>>),
    Mapping { entries: Vec<Entry<'t>>, keys: HashSet<Cow<'t, str>>, key: Option<(Cow<'t, str>, Position)> },
}

struct Builder<'t, 'f> {
    faults: &'f Faults,
    open: Vec<Open<'t>>,
    anchors: FxHashMap<usize, Built<'t>>,
    root: Option<Rc<Node<'t>>>,
    /// What all documents of the file cost so far.
    cost: usize,
}

/// A limit is reached: the rest of the file isn't looked at.
struct Stop;

/// Parses the documents of a file, without the empty ones. One that isn't YAML is left out; so is what follows a limit.
pub fn parse<'t>(text: &'t str, faults: &Faults) -> Vec<Rc<Node<'t>>> {
    let options = options! {
        flow_nesting_limit: limits::DEPTH + 1,
        block_nesting_limit: limits::DEPTH + 1,
        emit_comments: false,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder =
        Builder { faults, open: Vec::new(), anchors: FxHashMap::default(), root: None, cost: 0 };
    let mut documents = Vec::new();
    while let Some(next) = parser.next_event() {
        match next {
            Ok((Event::DocumentEnd, _)) => documents.extend(builder.document()),
            Ok((event, span)) => {
                if builder.event(event, span).is_err() {
                    return documents;
                }
            }
            Err(error) => {
                builder.discard();
                builder.syntax(&error);
                // The next document may be sound.
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    return documents;
                }
            }
        }
        if documents.len() > limits::POLICIES {
            builder.fault(Class::Limit, Position::START, format!("more than {} documents", limits::POLICIES));
            return documents;
        }
    }
    documents.retain(|document| !document.is_null());
    documents
}

// === impl Node ===

impl Node<'_> {
    /// Whether it is nothing: empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        let Value::Scalar { text, plain: true } = &self.value else { return false };
        matches!(&**text, "" | "~" | "null" | "Null" | "NULL")
    }

    /// What it is, for a message.
    pub fn describe(&self) -> String {
        match &self.value {
            _ if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => Quoted(text).to_string(),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

// === impl Position ===

impl Position {
    /// The beginning of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<&Marker> for Position {
    fn from(marker: &Marker) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
    }
}

// === impl Builder ===

impl<'t> Builder<'t, '_> {
    fn event(&mut self, event: Event<'t>, span: Span) -> Result<(), Stop> {
        let at = Position::from(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.tagged_text(tag.as_deref(), at);
                let cost = text.len() + limits::NODE_COST;
                let node = Rc::new(Node { at, value: Value::Scalar { text, plain } });
                self.add(Built { node, cost, height: 0 }, anchor, at)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tagged_text(tag.as_deref(), at);
                self.enter(at, anchor, Content::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tagged_text(tag.as_deref(), at);
                let content = Content::Mapping { entries: Vec::new(), keys: HashSet::new(), key: None };
                self.enter(at, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(built) => self.add(built.clone(), 0, at),
                None => {
                    self.fault(Class::Syntax, at, "an alias within what it stands for".to_owned());
                    let value = Value::Scalar { text: Cow::Borrowed(""), plain: true };
                    let node = Rc::new(Node { at, value });
                    self.add(Built { node, cost: limits::NODE_COST, height: 0 }, 0, at)
                }
            },
            _ => Ok(()),
        }
    }

    /// Whether a tag says that this is text. Any that isn't YAML's own is a fault.
    fn tagged_text(&mut self, tag: Option<&Tag>, at: Position) -> bool {
        let Some(tag) = tag else { return false };
        if !tag.is_yaml_core_schema() {
            let name = tag.original();
            self.fault(Class::Invalid, at, format!("a policy has no tags, such as {}", Quoted(&name)));
        }
        tag.is_yaml_core_schema_tag("str")
    }

    fn enter(&mut self, at: Position, anchor: usize, content: Content<'t>) -> Result<(), Stop> {
        self.check_depth(0, at)?;
        self.open.push(Open { at, anchor, cost: limits::NODE_COST, height: 0, content });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Stop> {
        let Some(Open { at, anchor, cost, height, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { entries, keys, .. } => Value::Mapping(merge(entries, &keys)),
        };
        // Its parts are counted: this is the rest.
        self.cost -= cost - limits::NODE_COST;
        self.add(Built { node: Rc::new(Node { at, value }), cost, height: height + 1 }, anchor, at)
    }

    /// Adds a node to what is open, or makes it the document.
    fn add(&mut self, built: Built<'t>, anchor: usize, at: Position) -> Result<(), Stop> {
        self.cost = self.cost.saturating_add(built.cost);
        if self.cost > limits::EXPANDED_BYTES {
            let message = format!("with its aliases, this is more than {} bytes", limits::EXPANDED_BYTES);
            self.fault(Class::Limit, at, message);
            return Err(Stop);
        }
        self.check_depth(built.height, at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        open.cost = open.cost.saturating_add(built.cost);
        open.height = open.height.max(built.height);
        let problem = match &mut open.content {
            Content::Sequence(items) => {
                items.push(built.node);
                None
            }
            Content::Mapping { entries, keys, key } => match key.take() {
                Some((key, key_at)) => {
                    entries.push(Entry { key, key_at, value: built.node });
                    None
                }
                None => match &built.node.value {
                    Value::Scalar { text, .. } => {
                        *key = Some((text.clone(), at));
                        (!keys.insert(text.clone()))
                            .then(|| format!("the key {} is there already", Quoted(text)))
                    }
                    _ => {
                        *key = Some((Cow::Borrowed(""), at));
                        Some("a key that is a list or a mapping".to_owned())
                    }
                },
            },
        };
        problem.into_iter().for_each(|message| self.fault(Class::Syntax, at, message));
        Ok(())
    }

    fn check_depth(&self, height: usize, at: Position) -> Result<(), Stop> {
        if self.open.len() + height < limits::DEPTH {
            return Ok(());
        }
        self.too_deep(at);
        Err(Stop)
    }

    fn too_deep(&self, at: Position) {
        self.fault(Class::Limit, at, format!("nested more than {} deep", limits::DEPTH));
    }

    fn document(&mut self) -> Option<Rc<Node<'t>>> {
        self.anchors.clear();
        self.root.take()
    }

    fn discard(&mut self) {
        self.open.clear();
        self.document();
    }

    fn syntax(&self, error: &ScanError) {
        let at = error.marker().into();
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return self.too_deep(at);
        }
        self.fault(Class::Syntax, at, format!("this isn't YAML: {}", error.info()));
    }

    fn fault(&self, class: Class, at: Position, message: String) {
        let path = Path::ROOT.to_string();
        self.faults.push(Fault { class, at, path, message, allowed: None });
    }
}

/// Resolves `<<`: what it holds is there, unless a key of its own says otherwise.
fn merge<'t>(mut entries: Vec<Entry<'t>>, keys: &HashSet<Cow<'t, str>>) -> Vec<Entry<'t>> {
    if !keys.contains("<<") {
        return entries;
    }
    let mut seen: HashSet<Cow<'t, str>> = keys.clone();
    let (sources, own): (Vec<_>, Vec<_>) =
        mem::take(&mut entries).into_iter().partition(|entry| entry.key == "<<");
    let mut merged = own;
    for source in sources {
        let parts = match &source.value.value {
            Value::Sequence(items) => items.clone(),
            _ => vec![Rc::clone(&source.value)],
        };
        for part in parts {
            match &part.value {
                Value::Mapping(more) => {
                    merged.extend(more.iter().filter(|entry| seen.insert(entry.key.clone())).cloned());
                }
                // Kept, for it to be refused as an unknown key.
                _ => merged.push(source.clone()),
            }
        }
    }
    merged
}
