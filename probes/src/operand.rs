//! Where a program has a value at one of its places: in a register, in memory, or nowhere because it is a constant.
//!
//! USDT probes write it as the assembler does that the compiler wrote for: AT&T's for x86-64, `4@-20(%rbp)`, and for
//! arm64 `4@[sp, 12]` (Systemtap's "User Space Probe Implementation").

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A value: `struct user_argument` of bpf/uprobes.bpf.c.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable,
)]
#[repr(C)]
pub struct Operand {
    value: i64,
    base: u16,
    index: u16,
    kind: u8,
    size: u8,
    is_signed: u8,
    shift: u8,
}

/// `enum user_kind` of bpf/uprobes.bpf.c.
mod kind {
    pub(super) const CONSTANT: u8 = 1;
    pub(super) const REGISTER: u8 = 2;
    pub(super) const MEMORY: u8 = 3;
}

/// Registers of x86-64 by their names at 8, 4, 2 and 1 bytes, with their offset in `struct pt_regs`
/// (arch/x86/include/asm/ptrace.h): it is that of ptrace(2), and doesn't change.
const X86: [([&str; 4], u16); 16] = [
    (["r15", "r15d", "r15w", "r15b"], 0),
    (["r14", "r14d", "r14w", "r14b"], 8),
    (["r13", "r13d", "r13w", "r13b"], 16),
    (["r12", "r12d", "r12w", "r12b"], 24),
    (["rbp", "ebp", "bp", "bpl"], 32),
    (["rbx", "ebx", "bx", "bl"], 40),
    (["r11", "r11d", "r11w", "r11b"], 48),
    (["r10", "r10d", "r10w", "r10b"], 56),
    (["r9", "r9d", "r9w", "r9b"], 64),
    (["r8", "r8d", "r8w", "r8b"], 72),
    (["rax", "eax", "ax", "al"], 80),
    (["rcx", "ecx", "cx", "cl"], 88),
    (["rdx", "edx", "dx", "dl"], 96),
    (["rsi", "esi", "si", "sil"], 104),
    (["rdi", "edi", "di", "dil"], 112),
    (["rsp", "esp", "sp", "spl"], 152),
];

/// The offset of the stack pointer.
const X86_STACK: u16 = 152;

/// The arguments of a function, by the System V calling convention for x86-64.
const X86_ARGUMENTS: [u16; 6] = [112, 104, 96, 88, 72, 64];

/// Registers of arm64, `x0` to `x30`, and the stack pointer's place behind them.
const ARM_REGISTERS: u16 = 31;

/// Machines whose registers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64
    X86,
    /// arm64
    Arm,
}

/// What has a value that a program may give another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldIn {
    /// Memory.
    Memory,
    /// A register.
    Register,
}

// === impl Machine ===

impl Machine {
    /// The one that this runs on.
    pub const HERE: Self = if cfg!(target_arch = "aarch64") { Self::Arm } else { Self::X86 };

    /// Where a function has its first six arguments when it is entered, if they are numbers or addresses.
    pub fn arguments(self) -> [Operand; 6] {
        let offsets = match self {
            Self::X86 => X86_ARGUMENTS,
            Self::Arm => [0, 8, 16, 24, 32, 40],
        };
        offsets.map(|base| Operand { base, kind: kind::REGISTER, size: 8, ..Operand::default() })
    }

    /// The offset of the register that has what a function returns.
    pub(crate) fn returned(self) -> u16 {
        match self {
            Self::X86 => 80,
            Self::Arm => 0,
        }
    }

    fn register(self, name: &str) -> Option<u16> {
        match self {
            Self::X86 => {
                let name = name.strip_prefix('%')?;
                X86.iter().find(|(names, _)| names.contains(&name)).map(|(_, offset)| *offset)
            }
            Self::Arm if name == "sp" => Some(8 * ARM_REGISTERS),
            Self::Arm => {
                let number: u16 = name.strip_prefix(['x', 'w'])?.parse().ok()?;
                (number < ARM_REGISTERS).then_some(8 * number)
            }
        }
    }
}

// === impl Operand ===

impl Operand {
    /// Reads `SIZE@OPERAND`; none where it is something that isn't read here, such as what is relative to the
    /// instruction, or a number with a fraction.
    pub fn parse(text: &str, machine: Machine) -> Option<Self> {
        let (size, place) = text.split_once('@')?;
        let (is_signed, size) = match size.strip_prefix('-') {
            Some(size) => (1, size),
            None => (0, size),
        };
        let size = match size {
            "1" => 1,
            "2" => 2,
            "4" => 4,
            "8" => 8,
            _ => return None,
        };
        let place = match machine {
            Machine::X86 => Self::of_x86(place)?,
            Machine::Arm => Self::of_arm(place)?,
        };
        Some(Self { size, is_signed, ..place })
    }

    fn of_x86(text: &str) -> Option<Self> {
        const HERE: Machine = Machine::X86;
        if let Some(number) = text.strip_prefix('$') {
            return Some(Self { value: number_of(number)?, kind: kind::CONSTANT, ..Self::default() });
        }
        let Some((value, inside)) = text.split_once('(') else {
            return Some(Self { base: HERE.register(text)?, kind: kind::REGISTER, ..Self::default() });
        };
        let value = if value.is_empty() { 0 } else { number_of(value)? };
        let mut parts = inside.strip_suffix(')')?.split(',').map(str::trim);
        let base = HERE.register(parts.next()?)?;
        let index = parts.next().map(|name| HERE.register(name)).map_or(Some(0), |index| Some(index? + 1))?;
        let shift = match parts.next() {
            None | Some("1") => 0,
            Some("2") => 1,
            Some("4") => 2,
            Some("8") => 3,
            Some(_) => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        Some(Self { value, base, index, shift, kind: kind::MEMORY, ..Self::default() })
    }

    fn of_arm(text: &str) -> Option<Self> {
        const HERE: Machine = Machine::Arm;
        if let Some(inside) = text.strip_prefix('[') {
            let mut parts = inside.strip_suffix(']')?.split(',').map(str::trim);
            let base = HERE.register(parts.next()?)?;
            let value = parts.next().map_or(Some(0), |number| number_of(number.trim_start_matches('#')))?;
            if parts.next().is_some() {
                return None;
            }
            return Some(Self { value, base, kind: kind::MEMORY, ..Self::default() });
        }
        if let Some(base) = HERE.register(text) {
            return Some(Self { base, kind: kind::REGISTER, ..Self::default() });
        }
        Some(Self { value: number_of(text)?, kind: kind::CONSTANT, ..Self::default() })
    }

    /// What has to be changed for it to get another value; none where nothing can be: a constant, or the register by which
    /// the program finds its stack.
    pub fn held_in(self) -> Option<HeldIn> {
        match (self.kind, Machine::HERE) {
            (kind::MEMORY, _) => Some(HeldIn::Memory),
            (kind::REGISTER, Machine::X86) if self.base != X86_STACK => Some(HeldIn::Register),
            _ => None,
        }
    }

    /// Bytes, and whether there is a sign.
    pub fn number(self) -> (u8, bool) {
        (self.size, self.is_signed != 0)
    }
}

/// A number, decimal or with `0x`; of 64 bits, with or without a sign.
fn number_of(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    // As the assembler has it: modulo 2^64.
    let number = number.ok()?.cast_signed();
    Some(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn x86(text: &str) -> Option<Operand> {
        Operand::parse(text, Machine::X86)
    }

    #[test]
    fn operands_of_x86() {
        let register =
            |base, size, is_signed| Operand { base, kind: 2, size, is_signed, ..Operand::default() };
        assert_eq!(x86("-4@%edi"), Some(register(112, 4, 1)));
        assert_eq!(x86("8@%rax"), Some(register(80, 8, 0)));
        assert_eq!(x86("1@%r10b"), Some(register(56, 1, 0)));
        let constant =
            |value, size, is_signed| Operand { value, kind: 1, size, is_signed, ..Operand::default() };
        assert_eq!(x86("4@$5"), Some(constant(5, 4, 0)));
        assert_eq!(x86("-8@$-1"), Some(constant(-1, 8, 1)));
        assert_eq!(x86("8@$0xffffffffffffffff"), Some(constant(-1, 8, 0)));
        let memory = Operand { value: -24, base: 32, kind: 3, size: 8, ..Operand::default() };
        assert_eq!(x86("8@-24(%rbp)"), Some(memory));
        let scaled = Operand { base: 80, index: 41, shift: 3, kind: 3, size: 8, ..Operand::default() };
        assert_eq!(x86("8@(%rax,%rbx,8)"), Some(scaled));
        for text in [
            "8@sym(%rip)",
            "8@sym+8(%rip)",
            "8@4(%rip)",
            "4f@%xmm0",
            "8@%xmm0",
            "3@%rax",
            "%rax",
            "8@",
            "@%rax",
            "",
            "8@(%rax,%rbx,3)",
            "8@(%rax,%rbx,8,1)",
            "8@(%rax",
            "8@()",
            "8@$",
            "8@--5(%rax)",
            "1@%ah",
            "8@%rax)",
        ] {
            assert_eq!(x86(text), None, "{text}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_can_be_set() {
        let held_in = |text| x86(text).unwrap().held_in();
        assert_eq!(held_in("-4@-24(%rbp)"), Some(HeldIn::Memory));
        assert_eq!(held_in("8@(%rsp)"), Some(HeldIn::Memory));
        assert_eq!(held_in("-4@%edi"), Some(HeldIn::Register));
        assert_eq!(held_in("8@%rsp"), None);
        assert_eq!(held_in("4@$5"), None);
    }

    #[test]
    fn operands_of_arm64() {
        let arm = |text| Operand::parse(text, Machine::Arm);
        let register = Operand { base: 24, kind: 2, size: 4, is_signed: 1, ..Operand::default() };
        assert_eq!(arm("-4@w3"), Some(register));
        let memory = |value, base| Operand { value, base, kind: 3, size: 8, ..Operand::default() };
        assert_eq!(arm("8@[sp, 16]"), Some(memory(16, 248)));
        assert_eq!(arm("8@[x29,-8]"), Some(memory(-8, 232)));
        assert_eq!(arm("8@[x0]"), Some(memory(0, 0)));
        assert_eq!(arm("4@7"), Some(Operand { value: 7, kind: 1, size: 4, ..Operand::default() }));
        for text in ["8@x31", "8@[x0, x1, lsl 3]", "8@[x0", "8@q0", "8@[]", "8@[x0, 1, 2]"] {
            assert_eq!(arm(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(text in "[-@$%()\\[\\], 0-9a-zx]{0,40}") {
            let _ = Operand::parse(&text, Machine::X86);
            let _ = Operand::parse(&text, Machine::Arm);
        }
    }
}
