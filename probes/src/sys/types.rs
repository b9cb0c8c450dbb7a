//! Type information in the kernel: ours, and that of its modules.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use super::{Attr, command};

/// Loads type information.
///
/// # Errors
/// The kernel refuses it.
pub fn load_btf(btf: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.set_pointer(0, btf.as_ptr());
    attr.set(16, btf.len() as u32);
    // SAFETY: `btf` outlives the call, which only reads it.
    unsafe { attr.call(command::BTF_LOAD) }
}

/// That of a module that is loaded, by its name.
///
/// # Errors
/// There is none, or the kernel doesn't hand it out: that takes CAP_SYS_ADMIN.
pub fn module_btf(module: &str) -> io::Result<OwnedFd> {
    let mut id = 0;
    loop {
        id = next_btf(id)?;
        let mut attr = Attr::new();
        attr.set(0, id);
        // SAFETY: there are no pointers.
        let btf = match unsafe { attr.call(command::BTF_GET_FD_BY_ID) } {
            // Gone since its number was told.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        if name_of_kernels(&btf)?.is_some_and(|name| name.as_bytes() == module.as_bytes()) {
            return Ok(btf);
        }
    }
}

/// The number of the next type information after that of a number.
fn next_btf(after: u32) -> io::Result<u32> {
    let mut attr = Attr::new();
    attr.set(0, after);
    let attr = &mut attr;
    // SAFETY: there are no pointers; it writes but the attribute's result, and returns no descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command::BTF_GET_NEXT_ID, std::ptr::from_mut(attr), size_of::<Attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(attr.0[1]) }
}

/// The name of the kernel's own, or of a module's; none of what a program brought.
fn name_of_kernels(btf: &OwnedFd) -> io::Result<Option<CString>> {
    /// Those of modules have 55 at most.
    const NAME: usize = 64;
    let mut name = [0_u8; NAME];
    // `struct bpf_btf_info`: btf, btf_size, id, name, name_len, kernel_btf.
    let mut info = [0_u32; 8];
    let place = name.as_mut_ptr() as u64;
    (info[4], info[5], info[6]) = (place as u32, (place >> 32) as u32, NAME as u32);
    let mut attr = Attr::new();
    attr.set(0, btf.as_raw_fd() as u32);
    attr.set(4, size_of_val(&info) as u32);
    attr.set_pointer(8, info.as_mut_ptr());
    // SAFETY: the kernel writes no more to `info` and `name` than their sizes, and returns no descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command::OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<Attr>())
    };
    // A program's name that doesn't fit is none of a module's.
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOSPC) { Ok(None) } else { Err(error) };
    }
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_owned();
    Ok((info[7] != 0).then_some(name))
}
