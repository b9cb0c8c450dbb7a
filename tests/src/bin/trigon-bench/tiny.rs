//! The smallest program: it reads a byte from standard input and exits. Executing it costs little more than the
//! kernel's own work, which makes it the hardest case for whoever watches executions.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

/// read(0, sp, 1); exit(0)
#[cfg(target_arch = "x86_64")]
const CODE: [u8; 23] = [
    0x31, 0xc0, 0x31, 0xff, 0x48, 0x89, 0xe6, 0xba, 1, 0, 0, 0, 0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff,
    0x0f, 0x05,
];

#[cfg(target_arch = "aarch64")]
const CODE: [u8; 32] = [
    0x00, 0x00, 0x80, 0xd2, 0xe1, 0x03, 0x00, 0x91, 0x22, 0x00, 0x80, 0xd2, 0xe8, 0x07, 0x80, 0xd2, 0x01,
    0x00, 0x00, 0xd4, 0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
];

/// `e_machine` of elf(5).
const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
const HEADERS: u64 = 64 + 56;
const ADDRESS: u64 = 0x40_0000;
/// The largest page of either architecture.
const ALIGNMENT: u64 = 0x1_0000;

/// Writes the program.
pub fn write(path: &Path) {
    fs::write(path, elf()).expect("write a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("make it executable");
}

/// The ELF header, one program header, and the code.
fn elf() -> Vec<u8> {
    let mut out = Vec::new();
    let length = HEADERS + CODE.len() as u64;
    // 64-bit, least significant byte first, version 1.
    out.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // An executable; its machine and version.
    out.extend_from_slice(&2_u16.to_le_bytes());
    out.extend_from_slice(&MACHINE.to_le_bytes());
    out.extend_from_slice(&1_u32.to_le_bytes());
    // Entry, program headers, no sections.
    [ADDRESS + HEADERS, 64, 0].iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    out.extend_from_slice(&0_u32.to_le_bytes());
    [64_u16, 56, 1, 0, 0, 0].iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    // PT_LOAD, readable and executable: the whole file.
    [1_u32, 5].iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    let segment = [0, ADDRESS, ADDRESS, length, length, ALIGNMENT];
    segment.iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    out.extend_from_slice(&CODE);
    out
}
