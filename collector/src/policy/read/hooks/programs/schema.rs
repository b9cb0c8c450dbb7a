//! The schema of `uprobes` and `usdts`.

use super::{
    super::{
        super::{
            super::{limits, model::hooks::DigestKind},
            arguments::{self, Place},
            schema::{Build as _, Schema, boolean, has, integer, list, object, text},
        },
        schema::common,
    },
    IGNORE, UPROBE, USDT,
};

/// What a path must be: of a file, as the agent sees it.
const PATH: &str = "^/";
/// Names of functions and probes: as `name` reads them.
const NAME: &str = r"^[^\s\x00-\x1f\x7f]+$";

/// An item of `uprobes`.
pub fn uprobe() -> Schema {
    let numbers = || list(limits::PROGRAM_PLACES, integer(0..=i64::MAX)).at_least(1);
    let kinds = DigestKind::ALL.map(DigestKind::as_str).join("|");
    object(&UPROBE, &["path"], |key| match key {
        "path" => path(),
        "symbols" => list(limits::PROGRAM_PLACES, name()).at_least(1).about("Functions by their names."),
        "offsets" => numbers().about("Places by their offsets in the file."),
        "addrs" => numbers().about("Places by the addresses that the file gives them."),
        "refCtrOffsets" => list(limits::PROGRAM_PLACES, integer(0..=i64::MAX))
            .about("Of each place, where in the file the counter is of those who look; 0 for none."),
        "binaryDigests" => list(
            limits::DIGESTS,
            text(limits::DIGEST_CHARS).pattern(&format!("^({kinds}):([0-9a-fA-F]{{2}})+$")),
        )
        .about("The file must have one of these."),
        "ignore" => {
            object(&IGNORE, &[], |_| boolean().about("Hook a file that has none of the digests, and only warn."))
        }
        "return" => boolean().about("Wait for the return, and tell what the function returns."),
        "args" => arguments::schema::arguments(Place::Program),
        "data" => arguments::schema::data(Place::Program),
        "returnArg" => arguments::schema::return_value(Place::Program),
        other => common(other),
    })
    .any(["symbols", "offsets", "addrs"].map(has).into())
    .rule(
        "(has(self.symbols) ? 1 : 0) + (has(self.offsets) ? 1 : 0) + (has(self.addrs) ? 1 : 0) <= 1",
        "only one of symbols, offsets and addrs can say where to look",
    )
    .rule(
        "!has(self.__return__) || !self.__return__ || has(self.returnArg)",
        "return: true needs returnArg: it says what the function returns",
    )
    .rule(
        "(has(self.__return__) && self.__return__) || !has(self.selectors) || !self.selectors.exists(selector, has(selector.matchReturnActions) || (has(selector.matchReturnArgs) && size(selector.matchReturnArgs) > 0))",
        "the hook doesn't wait for the return: add return: true and returnArg",
    )
}

/// An item of `usdts`.
pub fn usdt() -> Schema {
    object(&USDT, &["path", "provider", "name"], |key| match key {
        "path" => path(),
        "provider" => name().about("Whose probe it is: libc."),
        "name" => name().about("Its name: memory_sbrk_more."),
        "args" => arguments::schema::arguments(Place::Usdt),
        "data" => arguments::schema::data(Place::Usdt),
        other => common(other),
    })
    .rule(
        "!has(self.selectors) || !self.selectors.exists(selector, has(selector.matchReturnActions) || (has(selector.matchReturnArgs) && size(selector.matchReturnArgs) > 0))",
        "a USDT probe doesn't return",
    )
}

fn path() -> Schema {
    text(limits::PROGRAM_PATH_BYTES).pattern(PATH).about("The program or library, where the agent sees it.")
}

fn name() -> Schema {
    text(limits::SYMBOL_BYTES).pattern(NAME)
}
