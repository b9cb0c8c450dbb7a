//! The kernel's type information, which takes more memory than all the rest of the agent: read when it is needed.

use trigon_probes::{ProbeError, heap, lifecycle::Kernel};

/// The kernel's type information, read or not.
#[derive(Debug, Default)]
pub struct Types(Option<Kernel>);

// === impl Types ===

impl Types {
    /// Reads it, if that was not done.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn get(&mut self) -> Result<&Kernel, ProbeError> {
        match &mut self.0 {
            Some(kernel) => Ok(kernel),
            none => Ok(none.insert(Kernel::read()?)),
        }
    }

    /// Gives its memory back, if it was read.
    pub fn release(&mut self) {
        if self.0.take().is_some() {
            heap::release_freed();
        }
    }
}

impl From<Kernel> for Types {
    fn from(kernel: Kernel) -> Self {
        Self(Some(kernel))
    }
}
