//! The schema of hooks and lists.

use std::collections::BTreeMap;

use super::{
    super::{
        super::{limits, model::hooks::Abi},
        arguments::{self, Place},
        schema::{Build as _, Schema, boolean, has, list, object, text, unknown, word},
        selectors,
    },
    ENFORCER, FUNCTION, IGNORE, LIST, LIST_TYPES, LSM, RETURN_ACTIONS, TRACEPOINT,
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
    // Names of system calls, where the list has a type: there is but one.
    let prefixes = ABIS.map(Abi::prefix).join("|");
    let calls = Schema::default().pattern(&format!("^({prefixes})"));
    let values = Schema { type_: None, max_items: None, ..list(0, calls) };
    let typed =
        Schema { properties: Some(BTreeMap::from([("values".to_owned(), values)])), ..Schema::default() };
    object(&LIST, &["name", "values"], |key| match key {
        "name" => text(limits::LABEL_CHARS),
        "type" => word(&LIST_TYPES).about("Whose names they are: functions', where there is none."),
        "values" => list(limits::LIST_FUNCTIONS, names.clone()).at_least(1),
        "validated" => boolean(),
        _ => unknown(),
    })
    .any(vec![Schema::default().not(has("type")), typed])
}

const ABIS: [Abi; 4] = [Abi::Native, Abi::X64, Abi::Ia32, Abi::Arm64];

/// What all hooks have.
pub(super) fn common(key: &str) -> Schema {
    match key {
        "message" => text(limits::MESSAGE_CHARS).about("What events say of it."),
        "tags" => list(limits::TAGS, text(limits::LABEL_CHARS)),
        "selectors" => list(limits::SELECTORS, selectors::schema::selector())
            .about("Which calls it takes: the first that matches decides."),
        _ => unknown(),
    }
}
