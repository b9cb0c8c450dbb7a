//! `uprobes` and `usdts`.

use std::sync::Arc;

use super::{
    super::{
        super::{
            fault::Quoted,
            limits,
            model::{
                Located,
                hooks::{BinaryDigest, CodePlace, DigestKind, Hook, Point, Program, ProgramPlace, Usdt},
                selectors::Selector,
            },
        },
        Fields, Item, Keys,
        arguments::{self, Place},
    },
    Read, hook, return_value, selectors,
    selectors::Overrides,
};
use crate::policy::fault::Class;

pub mod schema;

const UPROBE: Keys = Keys {
    known: &[
        "path",
        "symbols",
        "offsets",
        "addrs",
        "refCtrOffsets",
        "binaryDigests",
        "ignore",
        "args",
        "data",
        "return",
        "returnArg",
        "selectors",
        "message",
        "messageTemplate",
        "severity",
        "tags",
    ],
    later: &["btfPath"],
};

const IGNORE: Keys = Keys { known: &["digestVerificationFailure"], later: &[] };

const USDT: Keys = Keys {
    known: &[
        "path",
        "provider",
        "name",
        "args",
        "data",
        "selectors",
        "message",
        "messageTemplate",
        "severity",
        "tags",
    ],
    later: &["btfPath"],
};

/// Reads an item of `uprobes`.
pub fn uprobe(item: &Item<'_>) -> Option<Hook> {
    let fields = item.fields(&UPROBE)?;
    let path = fields.need("path").and_then(|item| path(&item));
    let places = places(&fields);
    let digests = fields.list("binaryDigests", limits::DIGESTS, |item| Some(item.locate(digest(item)?)));
    let ignore = fields.get("ignore");
    let ignore = ignore.as_ref().and_then(|item| item.fields(&IGNORE));
    let ignore_digests = ignore.is_some_and(|ignore| ignore.flag("digestVerificationFailure", false));
    let at_return = fields.flag("return", false);
    let arguments = arguments::list(&fields, "args", Place::Program);
    let return_value = return_value(&fields, at_return, Place::Program);
    let data = arguments::list(&fields, "data", Place::Program);
    let overrides = if fields.get("symbols").is_some() { Overrides::Function } else { Overrides::Place };
    let selectors = selectors(&fields, &arguments, &data, return_value.as_ref(), overrides);
    refuse_actions(&fields, &selectors);
    let point = path.zip(places).map(|(path, places)| {
        Point::Program(Program { path, places, digests, ignore_digests, found: Vec::new() })
    });
    hook(item, &fields, point, Read { arguments, data, return_value }, selectors)
}

/// Reads an item of `usdts`.
pub fn usdt(item: &Item<'_>) -> Option<Hook> {
    let fields = item.fields(&USDT)?;
    let path = fields.need("path").and_then(|item| path(&item));
    let name = |key| fields.need(key).and_then(|item| name(&item));
    let (provider, name) = (name("provider"), name("name"));
    let arguments = arguments::list(&fields, "args", Place::Usdt);
    let data = arguments::list(&fields, "data", Place::Usdt);
    let selectors = selectors(&fields, &arguments, &data, None, Overrides::Argument);
    refuse_actions(&fields, &selectors);
    let point = path
        .zip(provider.zip(name))
        .map(|(path, (provider, name))| Point::Usdt(Usdt { path, provider, name, found: Vec::new() }));
    hook(item, &fields, point, Read { arguments, data, return_value: None }, selectors)
}

/// The places that are named, by one of three keys.
fn places(fields: &Fields<'_>) -> Option<Vec<Located<ProgramPlace>>> {
    let given: Vec<_> =
        ["symbols", "offsets", "addrs"].into_iter().filter_map(|key| Some((key, fields.get(key)?))).collect();
    let [(key, list)] = given.as_slice() else {
        let message = match given.as_slice() {
            [] => "this says nowhere where to look",
            _ => "this says in more than one way where to look",
        };
        fields.item.expected(message, "one of symbols, offsets, addrs");
        return None;
    };
    let place = |item: &Item<'_>| {
        let number = || item.integer(0..=i64::MAX).map(i64::cast_unsigned);
        let place = match *key {
            "symbols" => CodePlace::Symbol(name(item)?),
            "offsets" => CodePlace::Offset(number()?),
            _ => CodePlace::Address(number()?),
        };
        Some(item.locate(ProgramPlace { place, counter: 0 }))
    };
    let mut places = fields.list(key, limits::PROGRAM_PLACES, place);
    let count = list.items(limits::PROGRAM_PLACES).count();
    if count == 0 {
        list.invalid("this list is empty");
    }
    let counters = fields.list("refCtrOffsets", limits::PROGRAM_PLACES, |item| {
        item.integer(0..=i64::MAX).map(i64::cast_unsigned)
    });
    if let Some(item) = fields.get("refCtrOffsets")
        && item.items(limits::PROGRAM_PLACES).count() != count
    {
        item.expected(format_args!("this must have as many items as {key}"), count);
    }
    // Where one of the places or counters could not be read there is a fault already.
    places.iter_mut().zip(counters).for_each(|(place, counter)| place.value.counter = counter);
    (!places.is_empty()).then_some(places)
}

/// The path of a program, as the agent sees it.
fn path(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.text(limits::PROGRAM_PATH_BYTES)?;
    if text.starts_with('/') && !text.contains('\0') {
        return Some(text.into());
    }
    item.expected(format_args!("{} is no path of a file", Quoted(text)), "a path that begins with /");
    None
}

/// The name of a function, or of a probe: C++ and Rust have names with anything in them but blanks.
fn name(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.text(limits::SYMBOL_BYTES)?;
    if !text.is_empty() && text.chars().all(|character| !character.is_whitespace() && !character.is_control())
    {
        return Some(text.into());
    }
    item.expected(format_args!("{} is no name", Quoted(text)), "letters and signs without a blank");
    None
}

/// `sha256:HEX`
fn digest(item: &Item<'_>) -> Option<BinaryDigest> {
    let text = item.text(limits::DIGEST_CHARS)?;
    let parsed = text.split_once(':').and_then(|(kind, digits)| {
        let kind = DigestKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        let bytes = bytes(digits)?;
        let fits = kind.bytes().is_none_or(|count| count == bytes.len()) && !bytes.is_empty();
        fits.then_some(BinaryDigest { kind, bytes })
    });
    if parsed.is_none() {
        let allowed =
            "sha1:, sha256:, sha384:, sha512: or build-id:, and as many hexadecimal digits as belong to it";
        item.expected(format_args!("{} is no digest", Quoted(text)), allowed);
    }
    parsed
}

fn bytes(digits: &str) -> Option<Box<[u8]>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let [high, low] = pair else { return None };
        u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
    });
    pairs.collect()
}

/// What only files of the kernel can be done with.
fn refuse_actions(fields: &Fields<'_>, selectors: &[Selector]) {
    let actions =
        selectors.iter().flat_map(|selector| selector.actions.iter().chain(&selector.return_actions));
    for action in actions.filter(|action| !action.works_in_program()) {
        let message = "this action can't be done where a program is hooked";
        let allowed = Some(
            "Post, NoPost, Sigkill, Signal, Override (uprobes), Set (usdts), GetUrl, DnsLookup".to_owned(),
        );
        fields.item.fault_at(action.at, &fields.item.path, Class::Invalid, message, allowed);
    }
}
