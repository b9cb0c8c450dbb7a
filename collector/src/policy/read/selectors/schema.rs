//! The schema of `selectors`.

use trigon_exporters::names;

use super::{
    super::{
        super::limits,
        actions,
        filters::{ARGUMENT, OPERATORS},
        marks::MARKS,
        schema::{
            Build as _, Schema, boolean, integer, labels, list, object, one_of, text, text_or_number,
            unknown, word,
        },
    },
    BINARIES, BINARY_OPERATORS, CAPABILITIES, CAPABILITY_SETS, MEMBERSHIP, NAMESPACE_CHANGES,
    NAMESPACE_NAMES, NAMESPACES, PIDS, SELECTOR,
};

/// An item of `selectors`.
pub fn selector() -> Schema {
    object(&SELECTOR, &[], |key| match key {
        "label" => text(limits::LABEL_CHARS).about("Its name in states and metrics."),
        "matchPIDs" => list(limits::FILTERS, pids()),
        "matchBinaries" => list(1, binaries()).about("The program's path."),
        "matchParentBinaries" => list(1, binaries()).about("The parent's program."),
        "matchArgs" => list(limits::FILTERS, argument()).about("Values of arguments."),
        "matchData" => {
            list(limits::FILTERS, argument()).about("Values of data; args are places in that list.")
        }
        "matchReturnArgs" => list(limits::FILTERS, condition()).about("The value that is returned."),
        "matchNamespaces" => list(limits::FILTERS, namespaces()),
        "matchCapabilities" => list(limits::FILTERS, capabilities()),
        "matchNamespaceChanges" => list(limits::FILTERS, namespace_changes())
            .about("Namespaces that are not those in which the program was executed."),
        "matchCapabilityChanges" => list(limits::FILTERS, capabilities()).about(
            "Capabilities that the process has and hadn't when the program was executed, or the reverse.",
        ),
        "matchMarks" => list(limits::FILTERS, marks())
            .about("Marks that actions of the policy left on the process. Of trigon.io."),
        "matchWorkloads" => {
            labels::workloads().about("Pods, containers and the host, beside the policy's own.")
        }
        "matchActions" => actions::schema::actions().about("What is done, beside posting the event."),
        "matchReturnActions" => actions::schema::actions().about("What is done at the return."),
        "macros" => list(limits::MACROS, text(limits::LABEL_CHARS))
            .about("Names of selectorsMacros whose sections it has, too."),
        _ => unknown(),
    })
}

fn pids() -> Schema {
    object(&PIDS, &["operator", "values"], |key| match key {
        "operator" => word(&MEMBERSHIP),
        "values" => list(limits::PIDS, integer(0..=limits::PID)).at_least(1),
        "isNamespacePID" => boolean().about("They are those of the process's own PID namespace."),
        "followForks" => boolean().about("Whoever descends from one of them counts as one of them."),
        _ => unknown(),
    })
}

fn binaries() -> Schema {
    let path = || Schema { min_length: Some(1), ..text(limits::EQUAL_BYTES) };
    object(&BINARIES, &["operator", "values"], |key| match key {
        "operator" => word(&BINARY_OPERATORS),
        "values" => list(limits::BINARIES, path()).at_least(1),
        "followChildren" => boolean().about("Whoever descends from such a process counts as one."),
        _ => unknown(),
    })
    .rule(
        "!has(self.followChildren) || !self.followChildren || self.operator in ['In', 'NotIn']",
        "followChildren needs whole paths, with the operators In and NotIn",
    )
}

fn namespaces() -> Schema {
    object(&NAMESPACES, &["namespace", "operator", "values"], |key| match key {
        "namespace" => word(&NAMESPACE_NAMES),
        "operator" => word(&MEMBERSHIP),
        "values" => list(limits::NAMESPACES, text_or_number(limits::LABEL_CHARS))
            .at_least(1)
            .about("host_ns, or the numbers that /proc/PID/ns shows."),
        _ => unknown(),
    })
}

fn namespace_changes() -> Schema {
    object(&NAMESPACE_CHANGES, &["operator", "values"], |key| match key {
        "operator" => word(&MEMBERSHIP),
        "values" => list(limits::NAMESPACES, word(&NAMESPACE_NAMES)).at_least(1),
        _ => unknown(),
    })
}

fn capabilities() -> Schema {
    let names = || (0..u64::BITS).filter_map(names::capability);
    object(&CAPABILITIES, &["operator", "values"], |key| match key {
        "type" => word(&CAPABILITY_SETS),
        "operator" => word(&MEMBERSHIP),
        "isNamespaceCapability" => boolean(),
        "values" => list(u64::BITS as usize, one_of(names())).at_least(1),
        _ => unknown(),
    })
}

fn marks() -> Schema {
    object(&MARKS, &["operator", "values"], |key| match key {
        "operator" => word(&MEMBERSHIP),
        "values" => list(limits::MARKS, actions::schema::mark()).at_least(1),
        _ => unknown(),
    })
}

fn argument() -> Schema {
    let both = Schema { required: Some(vec!["index".to_owned(), "args".to_owned()]), ..Schema::default() };
    condition().not(both)
}

fn condition() -> Schema {
    let place = || integer(0..=limits::ARGUMENTS as i64 - 1);
    object(&ARGUMENT, &["operator"], |key| match key {
        "index" => integer(0..=limits::TRACEPOINT_INDEX).about("The argument's index."),
        "args" => list(limits::ARGUMENTS, place())
            .at_least(1)
            .about("Its place in the hook's args, instead; of CelExpr and CapabilitiesGained several."),
        "operator" => word(&OPERATORS),
        "values" => list(limits::MAP_VALUES, text_or_number(limits::EQUAL_BYTES)).at_least(1),
        _ => unknown(),
    })
}
