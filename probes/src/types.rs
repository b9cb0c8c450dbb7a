//! What hooks are given: prototypes of functions, system calls and tracepoints, as the running kernel tells them.

use std::collections::HashMap;

use crate::{
    ProbeError,
    btf::Btf,
    hooks::{Target, lsm},
    modules::Owners,
    tracefs,
};

pub use crate::btf::way::{End, Way, WayError};

/// What the kernel tells of its types; for as long as it is asked.
pub struct Types {
    btf: Btf,
    /// With what a module adds, by its name.
    modules: HashMap<String, Btf>,
    owners: Owners,
}

/// What a hook's target takes and returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Its arguments; of a tracepoint, the fields of its record.
    pub parameters: Vec<Parameter>,
    /// None: it doesn't return, or the kernel doesn't tell.
    pub returned: Option<CType>,
}

/// An argument or a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the kernel's source.
    pub name: String,
    /// What it is.
    pub ctype: CType,
    /// The kernel keeps it from programs.
    pub hidden: bool,
}

/// A type of C's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CType {
    /// As C writes it: `const struct path *`.
    pub text: String,
    /// What its values are.
    pub shape: Shape,
}

/// What values of a type are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Void,
    /// A number, an enumeration or a truth value.
    Integer {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// It has a sign.
        signed: bool,
    },
    /// `char *`
    Text,
    /// A pointer to a struct of this name, or, without a name, to anything else.
    Pointer(String),
    /// An array in a tracepoint's record.
    Array {
        /// Of characters.
        text: bool,
    },
    /// Anything else.
    Other,
}

// === impl Types ===

impl Types {
    /// Reads the kernel's type information: some megabytes, some milliseconds.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn read() -> Result<Self, ProbeError> {
        Btf::of_kernel().map(|btf| Self { btf, modules: HashMap::new(), owners: Owners::default() })
    }

    /// What a target takes and returns.
    ///
    /// # Errors
    /// The kernel has no such target, or doesn't tell.
    pub fn of(&self, target: &Target) -> Result<Prototype, ProbeError> {
        let unknown = || ProbeError::NoPrototype(target.to_string());
        match target {
            Target::Function(name) => {
                self.btf.function(name).or_else(|| self.of_module(name)).ok_or_else(unknown)
            }
            Target::Execution => Err(unknown()),
            Target::Lsm(hook) => self.btf.function(&lsm::symbol(hook)).ok_or_else(unknown),
            Target::RawTracepoint { event, .. } => self.btf.raw_tracepoint(event).ok_or_else(unknown),
            Target::Tracepoint { subsystem, event } => {
                let event = tracefs::Event::read(subsystem, event)?;
                let fields = event.fields.into_iter();
                let parameters = fields.map(|field| self.parameter(field)).collect();
                Ok(Prototype { parameters, returned: None })
            }
            // Programs tell nothing of the types of their functions here.
            Target::User(_) => Err(unknown()),
            Target::Syscall(name) | Target::CompatSyscall(name) => {
                let prototype = self.syscall(name).ok_or_else(unknown)?;
                let long =
                    CType { text: "long".to_owned(), shape: Shape::Integer { bytes: 8, signed: true } };
                Ok(Prototype { returned: Some(long), ..prototype })
            }
        }
    }

    /// The way from a pointer to a struct or union along a path of its members: [`Way`]. `module` is whose types are
    /// looked at, too.
    ///
    /// # Errors
    /// There is no such struct or member; or the module's types can't be read.
    pub fn way(
        &mut self,
        start: &str,
        module: Option<&str>,
        path: &str,
    ) -> Result<Result<Way, WayError>, ProbeError> {
        let Some(module) = module else { return Ok(self.btf.way(start, path)) };
        if !self.modules.contains_key(module) {
            let with = self.btf.with_module(module)?;
            self.modules.insert(module.to_owned(), with);
        }
        let btf = self.modules.get(module).unwrap_or(&self.btf);
        Ok(btf.way(start, path))
    }

    fn of_module(&self, function: &str) -> Option<Prototype> {
        let module = self.owners.of(function)?;
        self.btf.with_module(module).ok()?.function(function)
    }

    /// The function behind a system call is there where the compiler left it; its tracepoint on most kernels.
    fn syscall(&self, name: &str) -> Option<Prototype> {
        if let Some(prototype) = self.btf.function(&format!("__do_sys_{name}")) {
            return Some(prototype);
        }
        let event = tracefs::Event::read("syscalls", &format!("sys_enter_{name}")).ok()?;
        // The number of the call comes before its arguments.
        let fields = event.fields.into_iter().filter(|field| !field.common).skip(1);
        Some(Prototype { parameters: fields.map(|field| self.parameter(field)).collect(), returned: None })
    }

    fn parameter(&self, field: tracefs::Field) -> Parameter {
        let shape = self.shape(&field);
        let mut text = field.ctype;
        if matches!(shape, Shape::Array { .. }) && !text.ends_with("[]") {
            text.push_str("[]");
        }
        Parameter { name: field.name, ctype: CType { text, shape }, hidden: field.common }
    }

    fn shape(&self, field: &tracefs::Field) -> Shape {
        let text = field.ctype.as_str();
        let words = text.split_whitespace().filter(|word| !matches!(*word, "const" | "volatile" | "__user"));
        let words: Vec<&str> = words.collect();
        if field.is_array() {
            return Shape::Array { text: matches!(words.as_slice(), ["char" | "char[]"]) };
        }
        let by_size = || match u8::try_from(field.size) {
            Ok(bytes @ (1 | 2 | 4 | 8)) => Shape::Integer { bytes, signed: field.signed },
            _ => Shape::Other,
        };
        match words.as_slice() {
            ["char", "*"] => Shape::Text,
            ["struct" | "union", name, "*"] => Shape::Pointer((*name).to_owned()),
            _ if text.contains('*') => Shape::Pointer(String::new()),
            // A system call's fields are as wide as its registers, whatever its arguments are.
            words => match plain(words).or_else(|| self.typedef(words)) {
                Some(Shape::Integer { bytes, signed }) if u16::from(bytes) <= field.size => {
                    Shape::Integer { bytes, signed }
                }
                _ => by_size(),
            },
        }
    }

    fn typedef(&self, words: &[&str]) -> Option<Shape> {
        if let [name] = words { self.btf.typedef(name) } else { None }
    }
}

/// A number of C's own.
fn plain(words: &[&str]) -> Option<Shape> {
    let known = |word: &&str| matches!(*word, "unsigned" | "signed" | "char" | "short" | "int" | "long");
    if words.is_empty() || !words.iter().all(known) {
        return None;
    }
    let bytes = if words.contains(&"long") {
        8
    } else if words.contains(&"short") {
        2
    } else if words.contains(&"char") {
        1
    } else {
        4
    };
    Some(Shape::Integer { bytes, signed: !words.contains(&"unsigned") })
}
