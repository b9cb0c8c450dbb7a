//! An eBPF object of which each program serves many targets: relocated once, loaded once for each target.
//!
//! aya loads a program for one target. Here the object's maps are made, or taken from an object that was loaded
//! before, and what is left is code that only lacks its target.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::Arc,
};

use aya::maps::{Map, MapData, MapError};
use aya_obj::{Function, generated::bpf_insn};

use crate::{
    ProbeError,
    lifecycle::Kernel,
    modules::ModuleTypes,
    objects,
    sys::{self, ProgramSpec, attach_type},
};

/// Maps by name, shared between objects.
pub type Maps = HashMap<String, Arc<OwnedFd>>;

/// A relocated object.
pub struct Object {
    functions: HashMap<String, Function>,
    btf: OwnedFd,
}

/// The type of what a program is attached to; number 0 for none.
#[derive(Clone, Debug)]
pub struct TargetType {
    number: u32,
    /// The types of the module that it is a number in; none for the kernel's own.
    module: Option<Arc<ModuleTypes>>,
}

/// The code of an instruction that loads 64 bits, its upper half in the next one: `BPF_LD | BPF_IMM | BPF_DW`.
const LOAD_64: u8 = 0x18;
/// What stands where a hook's number belongs: `patched_hook` of bpf/tracepoints.bpf.c.
const HOOK_LOW: i32 = 0x484f_4f4b;
const HOOK_HIGH: i32 = 0x5452_474e;

// === impl Object ===

impl Object {
    /// Relocates the object of that name. Maps that `maps` has by name are used, the others made and added.
    ///
    /// # Errors
    /// The object can't be relocated to this kernel, or the kernel refuses a map.
    pub fn load(name: &'static str, kernel: &Kernel, maps: &mut Maps) -> Result<Self, ProbeError> {
        let failed = |what: String| ProbeError::Relocate { object: name, what };
        let mut object =
            aya_obj::Object::parse(objects::bytes(name)?).map_err(|error| failed(error.to_string()))?;
        let features = aya::features();
        let btf = match features.btf() {
            Some(features) => {
                let btf =
                    object.fixup_and_sanitize_btf(features).map_err(|error| failed(error.to_string()))?;
                btf.map(aya_obj::btf::Btf::to_bytes)
            }
            None => None,
        };
        let btf = btf.ok_or_else(|| failed("the kernel takes no type information".to_owned()))?;
        let btf =
            sys::load_btf(&btf).map_err(|source| ProbeError::Io { what: "load type information", source })?;
        object.relocate_btf(&kernel.types.layouts).map_err(|error| failed(chain(&error)))?;
        for (map_name, map) in &object.maps {
            if !maps.contains_key(map_name) {
                let refused = |error: MapError| failed(format!("map {map_name}: {}", chain(&error)));
                // An array of maps is made with one that says what they are.
                let made = match map.inner() {
                    None => MapData::create(map.clone(), map_name, Some(btf.as_fd())).map_err(refused)?,
                    Some(inner) => {
                        let inner = MapData::create(inner, "inner", Some(btf.as_fd())).map_err(refused)?;
                        let made = sys::create_map_of_maps(map, inner.fd().as_fd());
                        let made = made.map_err(|error| failed(format!("map {map_name}: {error}")))?;
                        maps.insert(map_name.clone(), Arc::new(made));
                        continue;
                    }
                };
                let fd = made.fd().as_fd().try_clone_to_owned();
                let fd = fd.map_err(|source| ProbeError::Io { what: "keep a map", source })?;
                maps.insert(map_name.clone(), Arc::new(fd));
            }
        }
        let texts: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let definitions = object.maps.clone();
        let placed = definitions.iter().filter_map(|(name, map)| {
            let fd = maps.get(name)?;
            Some((name.as_str(), fd.as_raw_fd(), map))
        });
        object.relocate_maps(placed, &texts).map_err(|error| failed(chain(&error)))?;
        object.relocate_calls(&texts).map_err(|error| failed(chain(&error)))?;
        object.sanitize_functions(features);
        let functions = object
            .programs
            .iter()
            .filter_map(|(name, program)| {
                Some((name.clone(), object.functions.get(&program.function_key())?.clone()))
            })
            .collect();
        Ok(Self { functions, btf })
    }

    /// Loads one of its programs for a target: `kind`, `attach` and `target` as in [`ProgramSpec`].
    ///
    /// # Errors
    /// The kernel refuses it: the message has what the verifier said.
    pub fn program(
        &self,
        name: &'static str,
        kind: u32,
        attach: u32,
        target: impl Into<TargetType>,
    ) -> Result<OwnedFd, ProbeError> {
        let function = self.functions.get(name).ok_or(ProbeError::Missing(name))?;
        self.load_function(name, kind, attach, &target.into(), function, &function.instructions, false)
    }

    /// The same of one that may sleep.
    ///
    /// # Errors
    /// The kernel refuses it: the message has what the verifier said.
    pub fn sleeping_program(
        &self,
        name: &'static str,
        kind: u32,
        attach: u32,
        target: u32,
    ) -> Result<OwnedFd, ProbeError> {
        let function = self.functions.get(name).ok_or(ProbeError::Missing(name))?;
        self.load_function(name, kind, attach, &target.into(), function, &function.instructions, true)
    }

    /// Loads one of its programs for a hook whose number it is told by its code.
    ///
    /// # Errors
    /// The kernel refuses it: the message has what the verifier said.
    pub fn program_of_hook(&self, name: &'static str, kind: u32, hook: u32) -> Result<OwnedFd, ProbeError> {
        let function = self.functions.get(name).ok_or(ProbeError::Missing(name))?;
        let mut instructions = function.instructions.clone();
        let mut places = 0;
        for at in 1..instructions.len() {
            let [first, second] = [&instructions[at - 1], &instructions[at]].map(|one| (one.code, one.imm));
            if first == (LOAD_64, HOOK_LOW) && second == (0, HOOK_HIGH) {
                (instructions[at - 1].imm, instructions[at].imm) = (hook as i32, 0);
                places += 1;
            }
        }
        if places != 1 {
            return Err(ProbeError::Missing("place of the hook's number"));
        }
        self.load_function(name, kind, attach_type::NONE, &0.into(), function, &instructions, false)
    }

    #[expect(clippy::too_many_arguments, reason = "what a program is loaded with")]
    fn load_function(
        &self,
        name: &'static str,
        kind: u32,
        attach: u32,
        target: &TargetType,
        function: &Function,
        instructions: &[bpf_insn],
        sleeps: bool,
    ) -> Result<OwnedFd, ProbeError> {
        let functions = function.func_info.func_info_bytes();
        let spec = ProgramSpec {
            name,
            kind,
            attach,
            target: target.number,
            module: target.module.as_ref().map(|module| module.btf.as_fd()),
            instructions,
            functions: (&functions, function.func_info_rec_size),
            btf: Some(self.btf.as_fd()),
            sleeps,
        };
        sys::load_program(&spec).map_err(|(source, log)| ProbeError::Refused { program: name, source, log })
    }
}

// === impl TargetType ===

impl From<u32> for TargetType {
    /// In the kernel's own types.
    fn from(number: u32) -> Self {
        Self { number, module: None }
    }
}

impl From<(u32, Arc<ModuleTypes>)> for TargetType {
    fn from((number, module): (u32, Arc<ModuleTypes>)) -> Self {
        Self { number, module: Some(module) }
    }
}

/// A handle of its own on a map that objects share.
pub(crate) fn open(maps: &Maps, name: &'static str) -> Result<Map, ProbeError> {
    let failed = |source| ProbeError::Map { map: name, source };
    let fd = maps.get(name).ok_or(ProbeError::Missing(name))?;
    let fd = fd.as_fd().try_clone_to_owned();
    let fd = fd.map_err(|source| ProbeError::Io { what: "open a map", source })?;
    MapData::from_fd(fd).and_then(Map::from_map_data).map_err(failed)
}

/// The same, typed.
pub(crate) fn typed<T: TryFrom<Map, Error = MapError>>(
    maps: &Maps,
    name: &'static str,
) -> Result<T, ProbeError> {
    T::try_from(open(maps, name)?).map_err(|source| ProbeError::Map { map: name, source })
}

/// An error and all its causes: the innermost says what it was.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
