//! Places in programs: what their files have there, and whether they are the files that are meant.

use std::{io::Read as _, path::Path, sync::Arc};

use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use tracing::warn;
use trigon_exporters::nearest::nearest;
use trigon_probes::{
    elf::{Elf, ElfError, Found},
    hooks::{UserCode, UserPlace},
    operand::{Machine, Operand},
    usdt::{self, Site},
};

use super::{
    super::{
        limits,
        model::{
            Located,
            actions::Action,
            arguments::{Argument, ArgumentType, Integer, Source},
            hooks::{BinaryDigest, CodePlace, DigestKind, Hook, Point, Program, ProgramPlace, Usdt},
        },
    },
    Kernel, Refused, Resolver,
};

// === impl Resolver ===

impl Resolver<'_> {
    /// Looks for a hook's places in their file.
    pub(super) fn program(&mut self, hook: &mut Hook, kernel: &mut dyn Kernel) {
        let path = match &hook.point {
            Point::Program(Program { path, .. }) | Point::Usdt(Usdt { path, .. }) => Arc::clone(path),
            _ => return,
        };
        let before = self.faults.len();
        let elf = match Elf::open(Path::new(&*path)) {
            Ok(elf) => elf,
            Err(error) => return self.refuse(hook.at, "path", plain(&error)),
        };
        match &mut hook.point {
            Point::Program(program) => {
                self.digests(&elf, program);
                program.found = self.places(&elf, program);
            }
            Point::Usdt(_) => {
                let found = self.sites(&elf, hook);
                if let Point::Usdt(usdt) = &mut hook.point {
                    usdt.found = found;
                }
            }
            _ => {}
        }
        // The kernel knows of the thread and its registers what it knows in hooks of its own.
        for (key, arguments) in [("args", &mut hook.arguments), ("data", &mut hook.data)] {
            for (place, argument) in
                arguments.iter_mut().enumerate().filter(|(_, one)| one.source != Source::Call)
            {
                let field = format!("{key}[{place}]");
                match argument.path.is_some() {
                    true => self.way(argument, &field, &[], kernel),
                    false => self.pointer(argument, &field),
                }
            }
        }
        if self.faults.len() == before {
            self.filters(hook);
        }
    }

    fn places(&mut self, elf: &Elf, program: &Program) -> Vec<UserPlace> {
        let mut found = Vec::new();
        for (index, place) in program.places.iter().enumerate() {
            match place_of(elf, program, place) {
                Ok(place) => found.push(place),
                Err(message) => {
                    let key = match place.value.place {
                        CodePlace::Symbol(_) => "symbols",
                        CodePlace::Offset(_) => "offsets",
                        CodePlace::Address(_) => "addrs",
                    };
                    self.refuse(place.at, &format!("{key}[{index}]"), plain(&message));
                }
            }
        }
        found
    }

    /// The file must have one of the digests that are named.
    fn digests(&mut self, elf: &Elf, program: &Program) {
        let Some(first) = program.digests.first() else { return };
        let has =
            |digest: &Located<BinaryDigest>| Ok::<_, String>(*digest_of(elf, digest.kind)? == *digest.bytes);
        let mut result = Ok(false);
        for digest in &program.digests {
            result = has(digest);
            if result != Ok(false) {
                break;
            }
        }
        let message = match result {
            Ok(true) => return,
            Ok(false) => format!(
                "{} has none of these digests: it is another file than the one that is meant",
                program.path
            ),
            Err(error) => error,
        };
        if program.ignore_digests {
            warn!(hook = self.path, "{message}; it is hooked all the same, as the policy says");
        } else {
            self.refuse(first.at, "binaryDigests", plain(&message));
        }
    }

    /// The places of a hook's probe. Types that are left to the file are what all of them say.
    fn sites(&mut self, elf: &Elf, hook: &mut Hook) -> Vec<UserPlace> {
        let Point::Usdt(Usdt { path, provider, name, .. }) = &hook.point else { return Vec::new() };
        let all = match usdt::sites(elf) {
            Ok(all) => all,
            Err(error) => {
                self.refuse(hook.at, "path", plain(&error));
                return Vec::new();
            }
        };
        let is_it = |site: &&Site| *site.provider == **provider && *site.name == **name;
        let sites: Vec<_> = all.iter().filter(is_it).collect();
        if sites.is_empty() {
            let message = format!("{path} has no probe {provider}:{name}{}", hint(&all, provider, name));
            self.refuse(hook.at, "name", plain(&message));
            return Vec::new();
        }
        if sites.len() > limits::USDT_SITES {
            let message = format!("{path} has the probe {provider}:{name} in {} places", sites.len());
            let allowed = Some(format!("at most {}", limits::USDT_SITES));
            self.refuse(hook.at, "name", Refused { message, allowed });
            return Vec::new();
        }
        let code = UserCode::Usdt { provider: Arc::clone(provider), name: Arc::clone(name) };
        let place = |site: &&Site| UserPlace {
            path: Arc::clone(path),
            file: elf.id(),
            code: code.clone(),
            offset: site.offset,
            counter: site.counter,
            arguments: site.arguments.iter().map(|(_, operand)| *operand).collect(),
        };
        let found = sites.iter().map(place).collect();
        for (key, arguments) in [("args", &mut hook.arguments), ("data", &mut hook.data)] {
            for (place, argument) in
                arguments.iter_mut().enumerate().filter(|(_, one)| one.source == Source::Call)
            {
                match agreed(argument, &sites) {
                    Ok(kind) => argument.kind = kind,
                    Err(message) => self.refuse(argument.at, &format!("{key}[{place}]"), plain(&message)),
                }
            }
        }
        self.settings(hook, &sites);
        found
    }

    /// What is set must have a place of its own, and room for the value, at each place of the probe.
    fn settings(&mut self, hook: &Hook, sites: &[&Site]) {
        for (number, selector) in hook.selectors.iter().enumerate() {
            for (place, action) in selector.actions.iter().enumerate() {
                let Action::Set { argument, value } = action.value else { continue };
                let Some(argument) = hook.arguments.get(usize::from(argument.0)) else { continue };
                let all = sites.iter().filter_map(|site| site.arguments.get(usize::from(argument.index)));
                let wrong = match argument.source {
                    Source::Call => all.filter_map(|(text, operand)| unset(text, (*operand)?, value)).next(),
                    _ => Some(plain(&"Set: this argument has a source, and is none of the probe's")),
                };
                if let Some(refused) = wrong {
                    let path = format!("selectors[{number}].matchActions[{place}]");
                    self.refuse(action.at, &path, refused);
                }
            }
        }
    }
}

/// Why an argument can't be set to a value.
fn unset(text: &str, operand: Operand, value: i64) -> Option<Refused> {
    if operand.held_in().is_none() {
        let message = format!(
            "Set: the argument is {text:?} at a place of the probe: a constant of the program, or a register that can't be set"
        );
        return Some(Refused { message, allowed: Some("an argument in memory or a register".to_owned()) });
    }
    let (bytes, _) = operand.number();
    let bits = 8 * u32::from(bytes);
    let fits = bits >= 32 || (-(1 << (bits - 1))..1 << bits).contains(&value);
    (!fits).then(|| Refused {
        message: format!("Set: the argument has {bits} bits, and {value} more"),
        allowed: Some(format!("{} to {}", -(1_i64 << (bits - 1)), (1_i64 << bits) - 1)),
    })
}

fn plain(message: &dyn ToString) -> Refused {
    Refused { message: message.to_string(), allowed: None }
}

fn place_of(elf: &Elf, program: &Program, place: &ProgramPlace) -> Result<UserPlace, String> {
    let path = &program.path;
    let (offset, code) = match &place.place {
        CodePlace::Offset(offset) => {
            let known = elf.address_of(*offset).map(|_| *offset);
            (known.ok_or_else(|| format!("{path} has no code at offset {offset:#x}"))?, UserCode::Offset)
        }
        CodePlace::Address(address) => {
            let known = elf.offset_of(*address);
            (known.ok_or_else(|| format!("{path} has no code at address {address:#x}"))?, UserCode::Offset)
        }
        CodePlace::Symbol(name) => {
            let offset = match elf.function(name).map_err(|error| error.to_string())? {
                Found::At(offset) => offset,
                Found::ChosenLater => {
                    return Err(format!(
                        "{path} chooses among several functions for {name} when it starts: name one of those"
                    ));
                }
                Found::Elsewhere => {
                    return Err(format!("{path} only uses {name}, which is in a library: name the library"));
                }
                Found::Nothing => {
                    return Err(format!(
                        "{path} has no function {name} in its tables of symbols; where it was stripped of them, give offsets or addrs"
                    ));
                }
            };
            (offset, UserCode::Function(Arc::clone(name)))
        }
    };
    Ok(UserPlace {
        path: Arc::clone(path),
        file: elf.id(),
        code,
        offset,
        counter: place.counter,
        arguments: Machine::HERE.arguments().map(Some).into(),
    })
}

/// The type of a probe's argument, where all its places say the same.
fn agreed(argument: &Argument, sites: &[&Site]) -> Result<ArgumentType, String> {
    let mut kind = None;
    for site in sites {
        let (text, operand) = site.arguments.get(usize::from(argument.index)).ok_or_else(|| {
            format!(
                "the probe has {} arguments, and none with index {}",
                site.arguments.len(),
                argument.index
            )
        })?;
        let Some(operand) = operand else {
            return Err(format!(
                "argument {} of the probe is {text:?}, which isn't read here",
                argument.index
            ));
        };
        if argument.kind != ArgumentType::Auto {
            continue;
        }
        let own = ArgumentType::Integer(integer(*operand));
        if kind.is_some_and(|kind| kind != own) {
            return Err(format!(
                "auto: the places of the probe differ in argument {}: say the type",
                argument.index
            ));
        }
        kind = Some(own);
    }
    Ok(kind.unwrap_or(argument.kind))
}

fn integer(operand: Operand) -> Integer {
    match operand.number() {
        (1, true) => Integer::I8,
        (1, false) => Integer::U8,
        (2, true) => Integer::I16,
        (2, false) => Integer::U16,
        (4, true) => Integer::I32,
        (4, false) => Integer::U32,
        (_, true) => Integer::I64,
        (_, false) => Integer::U64,
    }
}

/// What may have been meant, or what there is.
fn hint(sites: &[Site], provider: &str, name: &str) -> String {
    /// Probes that are told.
    const TOLD: usize = 10;
    let mut names: Vec<_> = sites.iter().map(|site| format!("{}:{}", site.provider, site.name)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return ", nor any other".to_owned();
    }
    if let Some(meant) = nearest(&format!("{provider}:{name}"), names.iter().map(String::as_str)) {
        return format!(": did you mean {meant}?");
    }
    let more = if names.len() > TOLD { ", …" } else { "" };
    names.truncate(TOLD);
    format!("; it has {}{more}", names.join(", "))
}

fn digest_of(elf: &Elf, kind: DigestKind) -> Result<Vec<u8>, String> {
    let of = |algorithm| {
        sum(elf, algorithm).map_err(|error| format!("cannot read the file to be hooked: {error}"))
    };
    match kind {
        DigestKind::Sha1 => of(&SHA1_FOR_LEGACY_USE_ONLY),
        DigestKind::Sha256 => of(&SHA256),
        DigestKind::Sha384 => of(&SHA384),
        DigestKind::Sha512 => of(&SHA512),
        DigestKind::BuildId => {
            let id = elf.build_id().map_err(|error: ElfError| error.to_string())?;
            Ok(id.unwrap_or_default())
        }
    }
}

fn sum(elf: &Elf, algorithm: &'static Algorithm) -> std::io::Result<Vec<u8>> {
    let mut context = Context::new(algorithm);
    let mut file = elf.file();
    std::io::Seek::rewind(&mut file)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(context.finish().as_ref().to_owned()),
            count => context.update(&buffer[..count]),
        }
    }
}
