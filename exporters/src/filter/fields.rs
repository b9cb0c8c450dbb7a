//! Which fields of an event are shown.

use std::collections::BTreeMap;

use super::{
    FilterError,
    config::{FieldAction, FieldRule},
    rule::event_types,
};
use crate::event::EventType;

mod paths;

/// What is shown of each type of event.
#[derive(Clone, Debug)]
pub struct Fields([Option<View>; EventType::ALL.len()]);

/// What is shown of one type of event.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Only this, where there is any.
    pub(crate) include: Option<Node>,
    /// Not this.
    pub(crate) exclude: Node,
}

/// Paths, as a tree of names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// Everything from here on is meant.
    pub(crate) whole: bool,
    pub(crate) below: BTreeMap<Box<str>, Node>,
}

// === impl Fields ===

impl Fields {
    /// None where all is shown.
    ///
    /// # Errors
    /// Names the type or the path that there is not.
    pub(super) fn new(name: &str, rules: &[FieldRule]) -> Result<Option<Self>, FilterError> {
        let mut views = EventType::ALL.map(|_| None::<View>);
        for (place, rule) in rules.iter().enumerate() {
            let name = format!("{name}[{place}]");
            event_types(&format!("{name}.event_set"), &rule.event_set)?;
            paths::check(&format!("{name}.fields"), &rule.fields.0)?;
            let concerns = |event: &EventType| {
                let listed = rule.event_set.iter().any(|listed| listed == event.as_str());
                rule.event_set.is_empty() || listed != rule.invert_event_set
            };
            for event in EventType::ALL.into_iter().filter(concerns) {
                let view = views[event.index()].get_or_insert_default();
                let node = match rule.action {
                    FieldAction::Include => view.include.get_or_insert_default(),
                    FieldAction::Exclude => &mut view.exclude,
                };
                rule.fields.0.iter().for_each(|path| node.add(path));
            }
        }
        Ok(views.iter().any(Option::is_some).then_some(Self(views)))
    }

    /// What is shown of this type; none where that is all.
    pub fn of(&self, event: EventType) -> Option<&View> {
        self.0[event.index()].as_ref()
    }
}

// === impl View ===

impl View {
    /// Whether what is at the path of an event's JSON is shown.
    pub fn shows(&self, path: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.holds(path)) && !self.exclude.holds(path)
    }

    /// Whether only what is named is shown, and thus nothing that has no path.
    pub(crate) fn is_closed(&self) -> bool {
        self.include.is_some()
    }
}

// === impl Node ===

impl Node {
    fn add(&mut self, path: &str) {
        let mut node = self;
        for part in path.split('.') {
            node = node.below.entry(part.into()).or_default();
        }
        node.whole = true;
    }

    /// Whether the path, or one that leads to it, is here.
    fn holds(&self, path: &str) -> bool {
        let mut node = self;
        path.split('.').any(|part| {
            static NOTHING: Node = Node { whole: false, below: BTreeMap::new() };
            node = node.below.get(part).unwrap_or(&NOTHING);
            node.whole
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Filter, FilterConfig, Source};

    fn fields(text: &str) -> Result<Option<std::sync::Arc<Fields>>, FilterError> {
        let config: FilterConfig = toml::from_str(text).unwrap();
        Filter::new("x", &config, Source::Agent).map(|filter| filter.fields())
    }

    #[test]
    fn what_is_included_is_shown_unless_excluded() {
        let fields = fields(
            "[[fields]]
            event_set = ['PROCESS_EXEC']
            fields = 'process.binary, process.ns,parent'
            [[fields]]
            event_set = ['PROCESS_EXEC']
            fields = ['status']
            [[fields]]
            action = 'EXCLUDE'
            fields = ['process.ns.pid', 'parent.arguments']
            [[fields]]
            event_set = ['PROCESS_EXIT', 'PROCESS_EXEC']
            invert_event_set = true
            action = 'EXCLUDE'
            fields = ['args']",
        );
        let fields = fields.unwrap().unwrap();
        let shows = |event, path: &str| fields.of(event).is_none_or(|view| view.shows(path));
        for (path, shown) in [
            ("process.binary", true),
            ("process.arguments", false),
            ("process.ns.net", true),
            ("process.ns.net.inum", true),
            ("process.ns.pid", false),
            ("process.ns.pid.inum", false),
            ("parent.pid", true),
            ("parent.arguments", false),
            ("status", true),
            ("process", false),
            ("args", false),
        ] {
            assert_eq!(shows(EventType::ProcessExec, path), shown, "{path}");
        }
        assert!(shows(EventType::ProcessExit, "args") && shows(EventType::ProcessExit, "process.arguments"));
        assert!(!shows(EventType::ProcessKprobe, "args") && !shows(EventType::ProcessExit, "process.ns.pid"));
    }

    #[test]
    fn no_rules_show_all() {
        assert!(fields("").unwrap().is_none());
    }

    #[test]
    fn paths_and_types_that_there_are_not_are_named() {
        let error = |text: &str| fields(&format!("[[fields]]\n{text}")).unwrap_err().to_string();
        let path = error("fields = 'process.binary,process.argments'");
        assert!(
            path.contains("x.fields[0].fields[1]") && path.contains("did you mean process.arguments?"),
            "{path}"
        );
        assert!(error("fields = 'process.exec_id.x'").contains("mean process.exec_id?"));
        assert!(error("fields = ''").contains("fields[0]"));
        assert!(error("").contains("x.fields[0].fields"));
        assert!(error("event_set = ['PROCESS_EXE']\nfields = 'args'").contains("PROCESS_EXEC"));
    }
}
