//! Functions of the kernel's modules that are loaded: whose they are, and their types.
//!
//! What is found is kept for as long as a policy is loaded: modules come and go.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crate::{ProbeError, btf::Btf, symbols, sys};

/// The modules.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    owners: Owners,
    /// Of each that was asked for.
    types: Mutex<HashMap<String, Arc<ModuleTypes>>>,
}

/// Which module has a function: read when it is first asked.
#[derive(Debug, Default)]
pub(crate) struct Owners(OnceLock<HashMap<String, Option<String>>>);

/// The types of a module.
#[derive(Debug)]
pub(crate) struct ModuleTypes {
    /// The numbers of its functions' types, by their names.
    functions: HashMap<String, u32>,
    /// They themselves, in the kernel.
    pub(crate) btf: OwnedFd,
}

// === impl Modules ===

impl Modules {
    /// The number of a function's type, and what it is a number in.
    ///
    /// # Errors
    /// No module has it, or more than one, or its types can't be had.
    pub(crate) fn function(&self, name: &str) -> Result<(u32, Arc<ModuleTypes>), ProbeError> {
        let unknown = || ProbeError::NoFunctionType(name.to_owned());
        let module = self.owners.of(name).ok_or_else(unknown)?;
        let mut known = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let types = match known.get(module) {
            Some(types) => Arc::clone(types),
            None => {
                let types = Arc::new(ModuleTypes::of(module)?);
                known.insert(module.to_owned(), Arc::clone(&types));
                types
            }
        };
        let number = types.functions.get(name).copied().ok_or_else(unknown)?;
        Ok((number, types))
    }
}

// === impl Owners ===

impl Owners {
    /// The module that has a function; none where none has, or several.
    pub(crate) fn of(&self, function: &str) -> Option<&str> {
        // Where the kernel lists no symbols, nobody is known to have any.
        let owners = self.0.get_or_init(|| symbols::of_modules().unwrap_or_default());
        owners.get(function)?.as_deref()
    }
}

// === impl ModuleTypes ===

impl ModuleTypes {
    fn of(module: &str) -> Result<Self, ProbeError> {
        let btf = sys::module_btf(module)
            .map_err(|source| ProbeError::Io { what: "get a module's types from the kernel", source })?;
        Ok(Self { functions: Btf::of_kernel()?.with_module(module)?.numbers_of_functions(), btf })
    }
}
