//! The schema of hooks and lists.

use std::collections::BTreeMap;

use super::{
    super::{
        super::{limits, model::hooks::Abi},
        arguments::{self, Place},
        lists::{LIST, LIST_TYPES},
        schema::{Build as _, Schema, boolean, has, list, object, one_of, text, unknown, word},
        selectors,
    },
    ENFORCER, FUNCTION, IGNORE, LSM, RETURN_ACTIONS, SEVERITIES, TRACEPOINT,
};

/// Names of the kernel's: as `symbol` reads them.
const SYMBOL: &str = "^[A-Za-z0-9_.$-]+$";
/// What `call` may be.
const CALL: &str = "^(list:.+|[A-Za-z0-9_.$-]+)$";

/// An item of `kprobes` or `fentries`.
pub fn function(place: Place) -> Schema {
    let prefixes = ["list:"].into_iter().chain(ABIS.map(Abi::prefix));
    let begins = prefixes.map(|prefix| format!("self.call.startsWith('{prefix}')")).collect::<Vec<_>>();
    object(&FUNCTION, &["call"], |key| match key {
        "call" => text(limits::SYMBOL_BYTES).pattern(CALL).about("The function, or list:NAME."),
        "syscall" => boolean().about("Whether it is a system call. It is, unless this says false."),
        "return" => boolean().about("Wait for the return, and tell what it returns."),
        "args" => arguments::schema::arguments(place),
        "data" => arguments::schema::data(place),
        "returnArg" => arguments::schema::return_value(place),
        "returnArgAction" => word(&RETURN_ACTIONS),
        "ignore" => object(&IGNORE, &[], |_| boolean().about("Do without it where the kernel has no such function.")),
        other => common(other),
    })
    .rule(
        &format!("(has(self.syscall) && !self.syscall) || {}", begins.join(" || ")),
        "call is no system call: those begin with sys_. For any other function, add syscall: false",
    )
    // `return` is a word of CEL: Kubernetes escapes it so.
    .rule(
        "!has(self.__return__) || !self.__return__ || has(self.returnArg)",
        "return: true needs returnArg: it says what the function returns",
    )
    .rule(
        "(has(self.__return__) && self.__return__) || !has(self.selectors) || !self.selectors.exists(selector, has(selector.matchReturnActions) || (has(selector.matchReturnArgs) && size(selector.matchReturnArgs) > 0))",
        "the hook doesn't wait for the return: add return: true and returnArg",
    )
}

/// An item of `tracepoints`.
pub fn tracepoint() -> Schema {
    let name = || text(limits::SYMBOL_BYTES).pattern(SYMBOL);
    object(&TRACEPOINT, &["subsystem", "event"], |key| match key {
        "subsystem" => name().about("Its group: sched."),
        "event" => name().about("Its name: sched_process_exec."),
        "raw" => boolean().about("Take the arguments that the kernel passes, not the fields of its record."),
        "args" => arguments::schema::arguments(Place::Tracepoint),
        other => common(other),
    })
    .rule(
        &format!(
            "!has(self.raw) || !self.raw || !has(self.args) || self.args.all(arg, !has(arg.index) || arg.index <= {})",
            limits::RAW_TRACEPOINT_INDEX
        ),
        &format!("a raw tracepoint has no argument after {}", limits::RAW_TRACEPOINT_INDEX),
    )
    .rule(
        "!has(self.selectors) || !self.selectors.exists(selector, has(selector.matchReturnActions) || (has(selector.matchReturnArgs) && size(selector.matchReturnArgs) > 0))",
        "a tracepoint doesn't return",
    )
}

/// An item of `lsmhooks`.
pub fn lsm() -> Schema {
    object(&LSM, &["hook"], |key| match key {
        "hook" => text(limits::SYMBOL_BYTES)
            .pattern(SYMBOL)
            .about("Its name in the kernel (include/linux/lsm_hook_defs.h): file_open."),
        "args" => arguments::schema::arguments(Place::Lsm),
        other => common(other),
    })
    .rule(
        "!has(self.selectors) || !self.selectors.exists(selector, has(selector.matchReturnActions) || (has(selector.matchReturnArgs) && size(selector.matchReturnArgs) > 0))",
        "what a hook of the security modules is asked about has not been done: there is no return",
    )
}

/// An item of `enforcers`.
pub fn enforcer() -> Schema {
    let call = text(limits::SYMBOL_BYTES).pattern(CALL);
    object(&ENFORCER, &["calls"], |_| {
        list(limits::LIST_FUNCTIONS, call.clone()).at_least(1).about("System calls, or list:NAME.")
    })
}

/// An item of `lists`.
pub fn function_list() -> Schema {
    let names = text(limits::SYMBOL_BYTES).pattern(SYMBOL);
    // Names of system calls, where the list has the type that says so.
    let prefixes = ABIS.map(Abi::prefix).join("|");
    let calls = Schema::default().pattern(&format!("^({prefixes})"));
    let values = Schema { type_: None, max_items: None, ..list(0, calls) };
    let part = |key: &str, schema| Schema {
        properties: Some(BTreeMap::from([(key.to_owned(), schema)])),
        ..Schema::default()
    };
    let generated = Schema { type_: None, ..one_of(["generated_syscalls", "generated_ftrace"].into_iter()) };
    object(&LIST, &["name"], |key| match key {
        "name" => text(limits::LABEL_CHARS),
        "type" => word(&LIST_TYPES).about("Whose names they are: functions', where there is none."),
        "values" => list(limits::LIST_FUNCTIONS, names.clone()),
        "pattern" => text(limits::PATTERN_BYTES)
            .about("Of a list generated_ftrace: a regular expression that a function's name has to match."),
        "validated" => boolean(),
        _ => unknown(),
    })
    .any(vec![Schema::default().not(has("type")), part("type", generated), part("values", values)])
    .rule(
        "(has(self.type) && self.type.startsWith('generated_')) == (!has(self.values) || size(self.values) == 0)",
        "a list has values, and a generated one has none",
    )
    .rule(
        "!has(self.type) || self.type != 'generated_ftrace' || has(self.pattern)",
        "a list generated_ftrace needs a pattern",
    )
}

const ABIS: [Abi; 4] = [Abi::Native, Abi::X64, Abi::Ia32, Abi::Arm64];

/// What all hooks have.
pub(super) fn common(key: &str) -> Schema {
    match key {
        "message" => text(limits::MESSAGE_CHARS).about("What events say of it."),
        "messageTemplate" => text(limits::TEMPLATE_CHARS)
            .about("The same, with places for what is known of each: {process.binary} opened {args.0}."),
        "severity" => word(&SEVERITIES).about("How grave they are, by OpenTelemetry's names."),
        "tags" => list(limits::TAGS, text(limits::LABEL_CHARS)),
        "selectors" => list(limits::SELECTORS, selectors::schema::selector())
            .about("Which calls it takes: the first that matches decides."),
        _ => unknown(),
    }
}
