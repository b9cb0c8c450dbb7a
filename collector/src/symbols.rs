//! Names for return addresses: the kernel's functions, and those of programs and libraries, as far as their files tell.
//!
//! All of it is looked up when a record is taken, while the process is likely to be there still. What can't be named
//! keeps its module and its offset there; of a process that is gone not even those are known.

use trigon_exporters::event::{Frame, Process, Stacks};
use trigon_probes::record::{self, arg_flags, stack_type};

mod kernel;
mod user;

use kernel::KernelSymbols;
use user::UserSymbols;

/// What is known of symbols.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Addresses are told too.
    expose_addresses: bool,
    kernel: KernelSymbols,
    user: UserSymbols,
}

// === impl Symbols ===

impl Symbols {
    /// Nothing is known yet. Addresses are told only where that is asked for: they say where the kernel, or a program,
    /// was put by chance, which is what keeps attacks from working.
    pub fn new(expose_addresses: bool) -> Self {
        Self { expose_addresses, ..Self::default() }
    }

    /// The stack traces of a record; none where it has none.
    pub fn stacks(&mut self, record: &record::Hook<'_>, process: &Process) -> Option<Box<Stacks>> {
        let mut stacks = Stacks::default();
        for arg in record.args() {
            let addresses: Vec<u64> = match arg.fixed.flags & arg_flags::ABSENT {
                0 => addresses(arg.data).collect(),
                _ => Vec::new(),
            };
            match arg.fixed.kind {
                stack_type::KERNEL => stacks.kernel = Some(self.kernel.name(&addresses)),
                stack_type::USER => stacks.user = Some(self.user.name(process, &addresses)),
                _ => {}
            }
        }
        if !self.expose_addresses {
            let frames =
                stacks.kernel.iter_mut().chain(&mut stacks.user).flat_map(|frames| frames.iter_mut());
            frames.for_each(|frame: &mut Frame| frame.address = 0);
        }
        (stacks.kernel.is_some() || stacks.user.is_some()).then(|| Box::new(stacks))
    }

    /// Forgets what is known of processes and files that are asked for no longer.
    pub fn keep_house(&mut self) {
        self.user.keep_house();
    }
}

fn addresses(data: &[u8]) -> impl Iterator<Item = u64> {
    data.chunks_exact(8).map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap_or_default()))
}

/// What is looked up for an address: but for the innermost, a frame's is where its call returns to, which may be behind
/// the end of the function.
fn looked_up(index: usize, address: u64) -> u64 {
    if index == 0 { address } else { address.wrapping_sub(1) }
}
