//! The kernel's functions: /proc/kallsyms.

use std::{
    fs,
    time::{Duration, Instant},
};

use tracing::warn;
use trigon_exporters::event::Frame;

use super::looked_up;

/// The kernel's functions by address, as they were when they were read last.
#[derive(Debug, Default)]
pub(super) struct KernelSymbols {
    sorted: Vec<(u64, u32)>,
    /// `name` or `name\tmodule`, each ended by a line break.
    names: String,
    read: Option<Instant>,
}

/// Not read again sooner: it takes some ten milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// No function of the kernel is longer: what is further from the last symbol is of what was loaded since.
const LONGEST: u64 = 1 << 20;

// === impl KernelSymbols ===

impl KernelSymbols {
    /// Frames from the innermost out, without those of what took them.
    pub(super) fn name(&mut self, addresses: &[u64]) -> Box<[Frame]> {
        let missing = |symbols: &Self| addresses.iter().any(|address| symbols.at(*address).is_none());
        if self.read.is_none_or(|read| read.elapsed() >= PATIENCE) && missing(self) {
            self.read();
        }
        let frames: Vec<_> =
            addresses.iter().enumerate().map(|(index, address)| self.frame(index, *address)).collect();
        // Innermost are the program's own frames, and those of what started it.
        let own = frames.iter().rposition(is_of_programs).map_or(0, |last| last + 1);
        frames.into_iter().skip(own).collect()
    }

    fn frame(&self, index: usize, address: u64) -> Frame {
        let Some((symbol, module, offset)) = self.at(looked_up(index, address)) else {
            return Frame { address, ..Frame::default() };
        };
        let offset = offset + address.wrapping_sub(looked_up(index, address));
        Frame { address, offset, symbol: symbol.into(), module: module.into() }
    }

    fn at(&self, address: u64) -> Option<(&str, &str, u64)> {
        let after = self.sorted.partition_point(|(start, _)| *start <= address);
        let (start, name) = *self.sorted.get(after.checked_sub(1)?)?;
        let offset = address - start;
        let name = self.names.get(name as usize..)?.split('\n').next()?;
        let (symbol, module) = name.split_once('\t').unwrap_or((name, ""));
        (offset < LONGEST).then_some((symbol, module, offset))
    }

    fn read(&mut self) {
        self.read = Some(Instant::now());
        match fs::read_to_string("/proc/kallsyms") {
            Ok(text) => self.parse(&text),
            Err(error) => warn!("cannot read /proc/kallsyms, the names of the kernel's functions: {error}"),
        }
    }

    /// Lines are `ADDRESS TYPE NAME`, and a tab and `[MODULE]` where it is a module's. All addresses are 0 for those who
    /// may not see them (kptr_restrict).
    fn parse(&mut self, text: &str) {
        self.sorted.clear();
        self.names.clear();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(address @ 1..) = u64::from_str_radix(address, 16) else { continue };
            if !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let Ok(at) = u32::try_from(self.names.len()) else { break };
            let (name, module) = name.split_once('\t').unwrap_or((name, ""));
            self.names.push_str(name.trim_end());
            if !module.is_empty() {
                self.names.push('\t');
                self.names.push_str(module.trim_matches(['[', ']', ' ']));
            }
            self.names.push('\n');
            self.sorted.push((address, at));
        }
        self.sorted.sort_by_key(|(address, _)| *address);
        // Of several names of one function the first.
        self.sorted.dedup_by_key(|(address, _)| *address);
    }
}

/// eBPF programs, and the kernel's functions that are theirs.
fn is_of_programs(frame: &Frame) -> bool {
    let symbol = frame.symbol.trim_start_matches('_');
    &*frame.module == "bpf" || symbol.starts_with("bpf_") || symbol.starts_with("trace_call_bpf")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ffffffff81000000 T _stext\nffffffff81000100 t do_sys_open\nffffffff81000100 t alias\n\
        ffffffff81000200 T __x64_sys_openat\nffffffff82000000 D data\n0000000000000000 T hidden\n\
        ffffffffc0000000 t inside\t[ext4]\nffffffff81000080 T bpf_loop\nffffffff81000180 T vfs_open\n\
        ffffffffc0100000 t bpf_prog_1_x\t[bpf]\nnonsense\n";

    #[test]
    fn functions_are_named() {
        let mut symbols = KernelSymbols { read: Some(Instant::now()), ..KernelSymbols::default() };
        symbols.parse(TEXT);
        let addresses = [
            0xffff_ffff_c010_0010,
            0xffff_ffff_8100_0090,
            0xffff_ffff_8100_0105,
            0xffff_ffff_8100_0200,
            0xffff_ffff_c000_0007,
            1,
        ];
        let frames = symbols.name(&addresses);
        let told: Vec<_> =
            frames.iter().map(|frame| (&*frame.symbol, frame.offset, &*frame.module)).collect();
        // What returns to the start of a function was called at the end of the one before.
        assert_eq!(
            told,
            [("do_sys_open", 5, ""), ("vfs_open", 0x80, ""), ("inside", 7, "ext4"), ("", 0, "")]
        );
    }
}
