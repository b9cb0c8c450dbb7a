//! What a hooked function does to a file, by its name.

use super::HookKind;

/// What a call does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operation {
    Open,
    Read,
    Write,
    Close,
    Create,
    Delete,
    Rename,
    Link,
    Truncate,
    Chmod,
    Chown,
    /// Any attribute: owner, permissions, times, size.
    SetAttributes,
    SetExtendedAttributes,
    /// Map into memory.
    Map,
}

// === impl Operation ===

impl Operation {
    /// OTLP's name of the event.
    pub fn event_name(self) -> &'static str {
        match self {
            Self::Open => "file.open",
            Self::Read => "file.read",
            Self::Write => "file.write",
            Self::Close => "file.close",
            Self::Create => "file.create",
            Self::Delete => "file.delete",
            Self::Rename => "file.rename",
            Self::Link => "file.link",
            Self::Truncate => "file.truncate",
            Self::Chmod => "file.chmod",
            Self::Chown => "file.chown",
            Self::SetAttributes => "file.setattr",
            Self::SetExtendedAttributes => "file.setxattr",
            Self::Map => "file.map",
        }
    }

    /// What the function at this hook does; none where that is nothing to a file, or its arguments say it.
    pub(super) fn of(kind: &HookKind) -> Option<Self> {
        match kind {
            HookKind::Kprobe { function } => match syscall(function) {
                Some(name) => Self::of_syscall(name),
                None => Self::of_function(function),
            },
            HookKind::Tracepoint { subsystem, event } if &**subsystem == "syscalls" => event
                .strip_prefix("sys_enter_")
                .or_else(|| event.strip_prefix("sys_exit_"))
                .and_then(Self::of_syscall),
            HookKind::Tracepoint { .. } | HookKind::Uprobe { .. } | HookKind::Usdt { .. } => None,
            HookKind::Lsm { hook } => Self::of_function(&format!("security_{hook}")),
        }
    }

    fn of_syscall(name: &str) -> Option<Self> {
        Some(match name {
            "open" | "openat" | "openat2" | "creat" | "open_by_handle_at" => Self::Open,
            "read" | "pread64" | "readv" | "preadv" | "preadv2" => Self::Read,
            "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => Self::Write,
            "close" => Self::Close,
            "mkdir" | "mkdirat" | "mknod" | "mknodat" => Self::Create,
            "unlink" | "unlinkat" | "rmdir" => Self::Delete,
            "rename" | "renameat" | "renameat2" => Self::Rename,
            "link" | "linkat" | "symlink" | "symlinkat" => Self::Link,
            "truncate" | "ftruncate" | "truncate64" | "ftruncate64" => Self::Truncate,
            "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => Self::Chmod,
            "chown" | "fchown" | "lchown" | "fchownat" => Self::Chown,
            "utime" | "utimes" | "futimesat" | "utimensat" => Self::SetAttributes,
            "setxattr" | "lsetxattr" | "fsetxattr" | "removexattr" | "lremovexattr" | "fremovexattr" => {
                Self::SetExtendedAttributes
            }
            "mmap" => Self::Map,
            _ => return None,
        })
    }

    fn of_function(name: &str) -> Option<Self> {
        // Hooks of the security modules come as functions that ask them, and do about the same as the functions of
        // the file systems' common layer.
        let action = ["security_inode_", "security_path_", "vfs_"];
        if let Some(action) = action.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            return Some(match action {
                "open" => Self::Open,
                "read" | "readv" => Self::Read,
                "write" | "writev" => Self::Write,
                "create" | "mkdir" | "mknod" => Self::Create,
                "unlink" | "rmdir" => Self::Delete,
                "rename" => Self::Rename,
                "link" | "symlink" => Self::Link,
                "truncate" => Self::Truncate,
                "chmod" => Self::Chmod,
                "chown" => Self::Chown,
                "setattr" => Self::SetAttributes,
                "setxattr" | "removexattr" => Self::SetExtendedAttributes,
                _ => return None,
            });
        }
        Some(match name {
            "fd_install" | "security_file_open" | "do_filp_open" | "do_sys_openat2" => Self::Open,
            "ksys_read" => Self::Read,
            "ksys_write" => Self::Write,
            "filp_close" => Self::Close,
            "do_unlinkat" | "do_rmdir" => Self::Delete,
            "do_renameat2" => Self::Rename,
            "do_linkat" | "do_symlinkat" => Self::Link,
            "security_file_truncate" | "do_truncate" => Self::Truncate,
            "chmod_common" => Self::Chmod,
            "chown_common" => Self::Chown,
            "notify_change" => Self::SetAttributes,
            "security_mmap_file" => Self::Map,
            _ => return None,
        })
    }
}

/// A symbol without what it begins with for one architecture: `sys_read` for `__x64_sys_read`.
pub(crate) fn without_architecture(symbol: &str) -> &str {
    let prefixes = ["__x64_", "__arm64_", "__ia32_", "__arm64_compat_", "__ia32_compat_"];
    let rest = prefixes.iter().filter_map(|prefix| symbol.strip_prefix(prefix));
    rest.filter(|rest| rest.starts_with("sys_")).min_by_key(|rest| rest.len()).unwrap_or(symbol)
}

/// The name of a system call, `read`, where a symbol is its function.
pub(crate) fn syscall(symbol: &str) -> Option<&str> {
    without_architecture(symbol).strip_prefix("sys_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kprobe(function: &str) -> Option<&'static str> {
        Operation::of(&HookKind::Kprobe { function: function.into() }).map(Operation::event_name)
    }

    #[test]
    fn symbols_of_every_architecture_are_one_call() {
        for symbol in [
            "sys_read",
            "__x64_sys_read",
            "__arm64_sys_read",
            "__ia32_sys_read",
            "__ia32_compat_sys_read",
            "__arm64_compat_sys_read",
        ] {
            assert_eq!(syscall(symbol), Some("read"), "{symbol}");
            assert_eq!(kprobe(symbol), Some("file.read"), "{symbol}");
        }
        for symbol in ["ksys_read", "__x64_read", "read", ""] {
            assert_eq!(syscall(symbol), None, "{symbol}");
        }
    }

    #[test]
    fn functions_are_what_they_do() {
        for (function, name) in [
            ("fd_install", "file.open"),
            ("security_file_open", "file.open"),
            ("__x64_sys_openat", "file.open"),
            ("vfs_write", "file.write"),
            ("__x64_sys_close", "file.close"),
            ("security_inode_unlink", "file.delete"),
            ("security_path_unlink", "file.delete"),
            ("security_inode_rename", "file.rename"),
            ("security_inode_symlink", "file.link"),
            ("security_path_truncate", "file.truncate"),
            ("security_path_chmod", "file.chmod"),
            ("chown_common", "file.chown"),
            ("security_inode_mkdir", "file.create"),
            ("security_inode_setxattr", "file.setxattr"),
            ("security_mmap_file", "file.map"),
        ] {
            assert_eq!(kprobe(function), Some(name), "{function}");
        }
        for function in ["tcp_connect", "security_bprm_check", "sys_setuid", "vfs_", ""] {
            assert_eq!(kprobe(function), None, "{function}");
        }
    }

    #[test]
    fn hooks_of_security_modules_are_what_they_are_asked_about() {
        let of = |hook: &str| Operation::of(&HookKind::Lsm { hook: hook.into() });
        assert_eq!(of("file_open"), Some(Operation::Open));
        assert_eq!(of("inode_unlink"), Some(Operation::Delete));
        assert_eq!(of("bprm_check_security"), None);
    }

    #[test]
    fn tracepoints_of_system_calls_are_what_these_do() {
        let of = |subsystem: &str, event: &str| {
            Operation::of(&HookKind::Tracepoint { subsystem: subsystem.into(), event: event.into() })
        };
        assert_eq!(of("syscalls", "sys_enter_openat"), Some(Operation::Open));
        assert_eq!(of("syscalls", "sys_exit_unlinkat"), Some(Operation::Delete));
        assert_eq!(of("raw_syscalls", "sys_enter"), None);
        assert_eq!(of("sched", "sys_enter_openat"), None);
    }
}
