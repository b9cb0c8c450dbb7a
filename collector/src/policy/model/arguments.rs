//! What a hook reads of a call.

use trigon_probes::hooks::plan::Chain;

use super::Position;
pub use objects::ObjectType;

mod objects;

/// An item of `args` or `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Where it begins.
    pub at: Position,
    /// Which argument of the function, or field of the tracepoint, from 0.
    pub index: u8,
    /// What it is, and so what is read.
    pub kind: ArgumentType,
    /// `label`
    pub label: Option<String>,
    /// `sizeArgIndex`: the function's argument, from 0 (in the file from 1), that tells how many bytes there are.
    pub size_from: Option<u8>,
    /// `returnCopy`: read when the function returns; a buffer's length is then what it returned.
    pub copy_at_return: bool,
    /// `maxData`: up to 327 360 bytes rather than 4 096.
    pub max_data: bool,
    /// `source`: where it comes from.
    pub source: Source,
    /// `resolve`: the members that lead from there to what is read.
    pub path: Option<MemberPath>,
}

/// Where an argument comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// The call, by the argument's index.
    #[default]
    Call,
    /// `current_task`: the `struct task_struct` of the thread that calls.
    CurrentTask,
    /// `pt_regs`: the registers at the entry of the function, or at its return.
    Registers,
}

/// Members that lead to a value: `mm.owner.comm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPath {
    /// As it is written.
    pub text: String,
    /// `btfType`: the struct at which it begins, where that isn't what the kernel says of the argument.
    pub start: Option<String>,
    /// `btfTypeModule`: the module whose types the path is of.
    pub module: Option<String>,
    /// The way there, once this kernel was asked.
    pub chain: Option<Chain>,
}

/// The place of an argument in its hook's `arguments`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArgumentSlot(pub u8);

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgumentType {
    /// What BTF, or the tracepoint's format, says.
    Auto,
    /// Not read; it keeps a place.
    Nop,
    /// A number.
    Integer(Integer),
    /// `string`: text in the kernel, or in user space for a syscall.
    String,
    /// `filename`: a `struct filename *`.
    Filename,
    /// `char_buf`: bytes in user space.
    CharBuf,
    /// `char_iovec`: bytes of a `struct iovec` in user space.
    CharIovec,
    /// `const_buf`: bytes in the kernel.
    ConstBuf,
    /// `fd`: a descriptor, for its file.
    Fd,
    /// `file`: a `struct file *`.
    File,
    /// `path`: a `struct path *`.
    Path,
    /// `dentry`: a `struct dentry *`; its path ends at its mount.
    Dentry,
    /// `kiocb`: a `struct kiocb *`, for its file.
    Kiocb,
    /// `linux_binprm`: a `struct linux_binprm *`, for the file that is about to be executed.
    LinuxBinprm,
    /// `data_loc`: text elsewhere in a tracepoint's record.
    DataLoc,
    /// An object of the kernel.
    Object(ObjectType),
}

/// How a number lies in its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integer {
    /// `sint8`, `int8`
    I8,
    /// `uint8`
    U8,
    /// `sint16`, `int16`
    I16,
    /// `uint16`
    U16,
    /// `int`, `sint32`, `int32`
    I32,
    /// `uint32`
    U32,
    /// `long`, `sint64`, `int64`
    I64,
    /// `ulong`, `uint64`
    U64,
    /// `size_t`
    Size,
}

/// What operators see in an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It isn't known before the kernel is asked.
    Unknown,
    /// Nothing.
    Nothing,
    /// A number.
    Number(Integer),
    /// Bytes.
    Text,
    /// A path, and a file behind it that is there.
    File,
    /// A path.
    Path,
    /// A struct, of which nothing stands for the whole.
    Object,
    /// Ends of a connection, with protocol, family and state.
    Socket,
    /// Ends of a packet, with protocol and family.
    Packet,
    /// One address with its port and family.
    SocketAddress,
    /// A set of capabilities, as a number.
    Capabilities,
}

// === impl ArgumentType ===

impl ArgumentType {
    /// The word that a policy uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Nop => "nop",
            Self::Integer(integer) => integer.as_str(),
            Self::String => "string",
            Self::Filename => "filename",
            Self::CharBuf => "char_buf",
            Self::CharIovec => "char_iovec",
            Self::ConstBuf => "const_buf",
            Self::Fd => "fd",
            Self::File => "file",
            Self::Path => "path",
            Self::Dentry => "dentry",
            Self::Kiocb => "kiocb",
            Self::LinuxBinprm => "linux_binprm",
            Self::DataLoc => "data_loc",
            Self::Object(object) => object.as_str(),
        }
    }

    /// What operators see in it.
    pub fn class(self) -> Class {
        match self {
            Self::Auto => Class::Unknown,
            Self::Nop => Class::Nothing,
            Self::Integer(integer) => Class::Number(integer),
            Self::String
            | Self::Filename
            | Self::CharBuf
            | Self::CharIovec
            | Self::ConstBuf
            | Self::DataLoc => Class::Text,
            Self::File | Self::Path | Self::Kiocb | Self::LinuxBinprm => Class::File,
            Self::Object(object) => object.class(),
            Self::Fd | Self::Dentry => Class::Path,
        }
    }

    /// Whether it is bytes whose number something else tells.
    pub fn is_buffer(self) -> bool {
        matches!(self, Self::CharBuf | Self::CharIovec | Self::ConstBuf)
    }

    /// Whether another argument may tell how many bytes it has.
    pub fn has_size(self) -> bool {
        self.is_buffer() || self == Self::Object(ObjectType::SockaddrUn)
    }

    /// Whether it can be read of a program: a number, or what is in the program's own memory.
    pub fn is_of_program(self) -> bool {
        matches!(
            self,
            Self::Auto
                | Self::Nop
                | Self::Integer(_)
                | Self::String
                | Self::CharBuf
                | Self::CharIovec
                | Self::Fd
        )
    }

    /// Whether it can be a descriptor's number.
    pub fn is_descriptor(self) -> bool {
        match self {
            Self::Auto | Self::Fd => true,
            Self::Integer(integer) => integer.width() >= 4,
            _ => false,
        }
    }

    /// Whether it is a number, whatever that stands for.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Auto | Self::Fd | Self::Integer(_))
    }

    /// Whether it is a socket, or something that is of one.
    pub fn is_socket(self) -> bool {
        use ObjectType::{Skb, Sock, Socket};
        matches!(self, Self::Auto | Self::Object(Sock | Socket | Skb))
    }

    /// Whether it names a file.
    pub fn names_file(self) -> bool {
        matches!(
            self,
            Self::Auto
                | Self::File
                | Self::Kiocb
                | Self::LinuxBinprm
                | Self::Path
                | Self::Dentry
                | Self::String
                | Self::Filename
        )
    }
}

// === impl Integer ===

impl Integer {
    /// The word that a policy uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::Size => "size_t",
        }
    }

    /// Whether it has a sign.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// Bytes.
    pub fn width(self) -> u8 {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 => 4,
            Self::I64 | Self::U64 | Self::Size => 8,
        }
    }

    /// The least and the greatest.
    pub fn bounds(self) -> (i128, i128) {
        let bits = u32::from(self.width()) * 8;
        if self.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
    }
}
