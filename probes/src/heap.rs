//! Giving memory back. Here, since it takes `unsafe`.

/// Gives freed memory back to the system, wherever in the heap it lies.
///
/// Loading the programs takes some 20 MiB for the kernel's type information. The C library gives back by itself only
/// what lies at the end of a heap, and something small always comes to lie behind it.
pub fn release_freed() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "a function of the C library")]
    // SAFETY: it takes no pointers, and the C library locks its heaps while it works.
    unsafe {
        libc::malloc_trim(0);
    }
}
