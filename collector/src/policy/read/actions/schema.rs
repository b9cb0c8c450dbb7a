//! The schema of `matchActions` and `matchReturnActions`.

use std::collections::BTreeMap;

use trigon_exporters::outbound::{DnsName, HttpUrl};

use super::{
    super::{
        super::limits,
        schema::{Build as _, Schema, boolean, has, integer, list, object, one_of, text, unknown, word},
    },
    KEYS, NAMES, SCOPES,
};

/// A list of actions.
pub fn actions() -> Schema {
    list(limits::ACTIONS, action())
}

/// The name of a mark.
pub fn mark() -> Schema {
    text(limits::LABEL_VALUE_BYTES)
        .pattern("^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")
        .about("The name of a mark that processes have: of this policy, and of trigon.io.")
}

fn action() -> Schema {
    let argument = || integer(0..=limits::TRACEPOINT_INDEX).about("The index of an argument of the hook.");
    // A signal without its number is none, nor is an override without what it returns, or a call to nobody.
    let is = |names: &[&'static str]| {
        let action = Schema { type_: None, ..one_of(names.iter().copied()) };
        Schema { properties: Some(BTreeMap::from([("action".to_owned(), action)])), ..Schema::default() }
    };
    let with = |name: &'static str, key: &str| Schema { required: has(key).required, ..is(&[name]) };
    object(&KEYS, &["action"], |key| match key {
        "action" => word(&NAMES),
        "rateLimit" => text(limits::LABEL_CHARS)
            .pattern("^[0-9]+[smh]?$")
            .about("One event of the same within so many seconds, or 5m, 1h."),
        "rateLimitScope" => word(&SCOPES).about("Whose events are the same."),
        "argError" => integer(-limits::ERRNO..=limits::ERRNO)
            .about("What the function returns in place of doing anything: -1 is EPERM."),
        "argSig" => integer(1..=64).about("The signal's number."),
        "argFd" | "argName" | "argSock" => argument(),
        "kernelStackTrace" => boolean().about("Of Post: tell what led to it in the kernel."),
        "userStackTrace" => boolean().about("Of Post: tell what led to it in the program."),
        "imaHash" => boolean().about("Tell the hash of the file that a hook of lsmhooks is about."),
        "argUrl" => text(HttpUrl::BYTES)
            .pattern("^https?://[^/?#@]+([/?][^#]*)?$")
            .about("Of GetUrl: what the agent asks for. Agents refuse it unless policy.allow_outbound_actions is set."),
        "argFqdn" => text(DnsName::BYTES)
            .pattern("^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
            .about("Of DnsLookup: the name that the agent looks up. Agents refuse it likewise."),
        "mark" => mark(),
        "argIndex" => argument().about("Of Set: the index of the argument of a probe that is set."),
        "argValue" => integer(limits::SET_VALUE).about("Of Set: what it is set to."),
        _ => unknown(),
    })
    .any(vec![
        Schema::default().not(is(&["Signal", "Override", "Set", "Mark", "Unmark", "GetUrl", "DnsLookup"])),
        with("Signal", "argSig"),
        with("Override", "argError"),
        with("Set", "argValue"),
        with("Mark", "mark"),
        with("Unmark", "mark"),
        with("GetUrl", "argUrl"),
        with("DnsLookup", "argFqdn"),
    ])
}
