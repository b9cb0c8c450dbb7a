//! `process`, of `trigon.io`: which executions are told at all.

use super::{
    super::{
        limits,
        model::{
            actions::{Action, Post},
            hooks::{Hook, Point},
        },
    },
    Item, Keys,
    arguments::{self, Arguments},
    selectors::{self, Overrides, Scope},
};

pub mod schema;

const PROCESS: Keys = Keys { known: &["selectors"], later: &[] };

/// Reads the section.
pub fn read(item: &Item<'_>) -> Option<Hook> {
    let fields = item.fields(&PROCESS)?;
    let arguments = arguments::of_execution(item);
    let scope = Scope {
        arguments: &arguments,
        data: &Arguments::default(),
        return_value: None,
        overrides: Overrides::Never,
    };
    let list = fields.need("selectors")?;
    let selectors: Vec<_> = list
        .items(limits::SELECTORS)
        .filter_map(|item| {
            let selector = selectors::read(&item, &scope)?;
            let plain = Post::default();
            let fits = |action: &Action| match action {
                Action::Post(how) => *how == plain,
                action => *action == Action::NoPost,
            };
            if !selector.all_actions().all(fits) {
                item.expected(
                    "an execution is told or not, and nothing else is done about it",
                    "Post, NoPost",
                );
            }
            Some(selector)
        })
        .collect();
    if selectors.is_empty() {
        list.expected("without selectors this says nothing", "one at least");
    }
    Some(Hook {
        at: item.at(),
        point: Point::Process,
        message: None,
        template: None,
        severity: None,
        tags: Vec::new(),
        arguments: arguments.found,
        data: Vec::new(),
        return_value: None,
        selectors,
    })
}
