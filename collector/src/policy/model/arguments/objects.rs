//! Objects of the kernel that a hook can read whole.

use super::{Class, Integer};

/// An object, by the word that a policy uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// `skb`: a packet: `struct sk_buff *`.
    Skb,
    /// `sock`: a socket: `struct sock *`.
    Sock,
    /// `socket`: a socket: `struct socket *`.
    Socket,
    /// `sockaddr`: an address: `struct sockaddr *`, of the user or the kernel.
    Sockaddr,
    /// `sockaddr_un`: the same of a socket of this machine: `struct sockaddr_un *`.
    SockaddrUn,
    /// `cred`: credentials: `struct cred *`.
    Cred,
    /// `user_namespace`: a user namespace: `struct user_namespace *`.
    UserNamespace,
    /// `capability`: the number of a capability.
    Capability,
    /// `kernel_cap_t`: a set of capabilities, or where it is.
    KernelCap,
    /// `cap_inheritable`: the same, of those that are inherited.
    CapInheritable,
    /// `cap_permitted`: the same, of those that are permitted.
    CapPermitted,
    /// `cap_effective`: the same, of those that are in effect.
    CapEffective,
    /// `load_info`: a module that is being loaded: `struct load_info *`.
    LoadInfo,
    /// `module`: a module: `struct module *`.
    Module,
    /// `bpf_attr`: an eBPF program that is being loaded: `union bpf_attr *`.
    BpfAttr,
    /// `bpf_prog`: an eBPF program: `struct bpf_prog *`.
    BpfProg,
    /// `bpf_map`: an eBPF map: `struct bpf_map *`.
    BpfMap,
    /// `bpf_cmd`: a command of bpf(2).
    BpfCmd,
    /// `perf_event`: a perf event: `struct perf_event *`.
    PerfEvent,
    /// `syscall64`: the number of a system call.
    Syscall64,
    /// `net_device`: a network device: `struct net_device *`.
    NetDevice,
    /// `iov_iter`: bytes in pieces: `struct iov_iter *`.
    IovIter,
}

// === impl ObjectType ===

impl ObjectType {
    /// The word that a policy uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skb => "skb",
            Self::Sock => "sock",
            Self::Socket => "socket",
            Self::Sockaddr => "sockaddr",
            Self::SockaddrUn => "sockaddr_un",
            Self::Cred => "cred",
            Self::UserNamespace => "user_namespace",
            Self::Capability => "capability",
            Self::KernelCap => "kernel_cap_t",
            Self::CapInheritable => "cap_inheritable",
            Self::CapPermitted => "cap_permitted",
            Self::CapEffective => "cap_effective",
            Self::LoadInfo => "load_info",
            Self::Module => "module",
            Self::BpfAttr => "bpf_attr",
            Self::BpfProg => "bpf_prog",
            Self::BpfMap => "bpf_map",
            Self::BpfCmd => "bpf_cmd",
            Self::PerfEvent => "perf_event",
            Self::Syscall64 => "syscall64",
            Self::NetDevice => "net_device",
            Self::IovIter => "iov_iter",
        }
    }

    /// What stands behind a pointer to a struct or union of the kernel's.
    pub fn of_struct(name: &str) -> Option<Self> {
        Some(match name {
            "sk_buff" => Self::Skb,
            "sock" => Self::Sock,
            "socket" => Self::Socket,
            "sockaddr" => Self::Sockaddr,
            "sockaddr_un" => Self::SockaddrUn,
            "cred" => Self::Cred,
            "user_namespace" => Self::UserNamespace,
            "load_info" => Self::LoadInfo,
            "module" => Self::Module,
            "bpf_attr" => Self::BpfAttr,
            "bpf_prog" => Self::BpfProg,
            "bpf_map" => Self::BpfMap,
            "perf_event" => Self::PerfEvent,
            "net_device" => Self::NetDevice,
            "iov_iter" => Self::IovIter,
            _ => return None,
        })
    }

    /// Whether it is a number itself, and no pointer.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Capability | Self::BpfCmd | Self::Syscall64)
    }

    /// Whether it is a set of capabilities.
    pub fn is_capabilities(self) -> bool {
        matches!(self, Self::KernelCap | Self::CapInheritable | Self::CapPermitted | Self::CapEffective)
    }

    /// What operators see in it.
    pub fn class(self) -> Class {
        match self {
            Self::Capability | Self::BpfCmd => Class::Number(Integer::I32),
            Self::UserNamespace => Class::Number(Integer::U32),
            Self::Syscall64 => Class::Number(Integer::U64),
            Self::KernelCap | Self::CapInheritable | Self::CapPermitted | Self::CapEffective => {
                Class::Capabilities
            }
            Self::Sock | Self::Socket => Class::Socket,
            Self::Skb => Class::Packet,
            Self::Sockaddr => Class::SocketAddress,
            Self::SockaddrUn | Self::LoadInfo | Self::Module | Self::NetDevice | Self::IovIter => Class::Text,
            Self::Cred | Self::BpfAttr | Self::BpfProg | Self::BpfMap | Self::PerfEvent => Class::Object,
        }
    }
}
