//! Tracepoints as tracefs describes them: the kernel's Documentation/trace/events.rst.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::ProbeError;

/// Bytes of a file there; the longest format has some ten thousand.
const BYTES: u64 = 1 << 20;

/// A tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// By which perf events name it.
    pub id: u64,
    /// The fields of its record, those included that all records have: policies count these too.
    pub fields: Vec<Field>,
}

/// A field of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type as C writes it, that of its elements where it is an array.
    pub ctype: String,
    /// Bytes from the record's start.
    pub offset: u16,
    /// Bytes of the field.
    pub size: u16,
    /// It is a number with a sign.
    pub signed: bool,
    /// Where its bytes are.
    pub place: Place,
    /// All records have it, and the kernel puts something else there before programs see it.
    pub common: bool,
}

/// Where the bytes of a field are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// There: a scalar.
    #[default]
    Scalar,
    /// There: an array.
    Array,
    /// Elsewhere in the record, which the field says (`__data_loc`).
    Located,
    /// Likewise, from the field's end (`__rel_loc`).
    Relative,
}

/// A folder of tracefs, mounted where all see it, or for us alone.
struct Root {
    path: PathBuf,
    /// Keeps the mount.
    _mount: Option<OwnedFd>,
}

// === impl Event ===

impl Event {
    /// Reads what the kernel tells of a tracepoint.
    ///
    /// # Errors
    /// The kernel has no such tracepoint, or tracefs can't be read.
    pub fn read(subsystem: &str, event: &str) -> Result<Self, ProbeError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ProbeError::NoFunction(format!("tracepoint {subsystem}/{event}")),
            _ => ProbeError::Io { what: "read the tracepoint's format in tracefs", source },
        };
        let root = Root::open().map_err(|source| ProbeError::Io { what: "mount tracefs", source })?;
        let folder = root.path.join("events").join(subsystem).join(event);
        let id = text(&folder.join("id")).map_err(failed)?;
        let id = id.trim().parse().map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
        Ok(Self { id, fields: parse(&text(&folder.join("format")).map_err(failed)?) })
    }
}

/// Opens a file of tracefs.
pub fn open(name: &str) -> io::Result<File> {
    File::open(Root::open()?.path.join(name))
}

/// The text of a file.
fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The fields that a format lists, in its order.
fn parse(format: &str) -> Vec<Field> {
    format.lines().filter_map(Field::parse).collect()
}

// === impl Field ===

impl Field {
    /// Of a line: `field:char comm[16]; offset:8; size:16; signed:0;`
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim().strip_prefix("field:")?.split(';');
        let declaration = parts.next()?.trim();
        let mut field = Self::default();
        for part in parts {
            match part.trim().split_once(':') {
                Some(("offset", value)) => field.offset = value.parse().ok()?,
                Some(("size", value)) => field.size = value.parse().ok()?,
                Some(("signed", value)) => field.signed = value == "1",
                _ => {}
            }
        }
        let (declaration, place) = match declaration.split_once(' ') {
            Some(("__data_loc", rest)) => (rest, Place::Located),
            Some(("__rel_loc", rest)) => (rest, Place::Relative),
            _ => (declaration, Place::Scalar),
        };
        let name = declaration.rsplit([' ', '*']).next()?;
        field.ctype = declaration.strip_suffix(name)?.trim_end().to_owned();
        field.name = name.split('[').next()?.to_owned();
        field.place = if place == Place::Scalar && name.contains('[') { Place::Array } else { place };
        field.common = field.name.starts_with("common_");
        Some(field)
    }

    /// Whether it is bytes, and not a value.
    pub fn is_array(&self) -> bool {
        self.place != Place::Scalar || !matches!(self.size, 1 | 2 | 4 | 8)
    }
}

// === impl Root ===

impl Root {
    fn open() -> io::Result<Self> {
        let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
        if let Some(path) = roots.iter().map(Path::new).find(|path| path.join("events").is_dir()) {
            return Ok(Self { path: path.to_owned(), _mount: None });
        }
        let system = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&system)?;
        let mount = fsmount(&system, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Ok(Self { path, _mount: Some(mount) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: made_up\nID: 365\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:const char * path;\toffset:16;\tsize:8;\tsigned:0;\n\
        \tfield:struct file *file;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long args[6];\toffset:32;\tsize:48;\tsigned:0;\n\
        \tfield:__rel_loc u8[] data;\toffset:80;\tsize:4;\tsigned:0;\n\
        \tfield:pid_t pid;\toffset:84;\tsize:4;\tsigned:1;\n\n\
        print fmt: \"field:%d\", REC->pid\n";

    #[test]
    fn fields_of_a_format() {
        let fields = parse(FORMAT);
        let seen: Vec<_> = fields
            .iter()
            .map(|field| {
                (
                    &*field.name,
                    &*field.ctype,
                    field.offset,
                    field.size,
                    field.signed,
                    field.place,
                    field.common,
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("common_type", "unsigned short", 0, 2, false, Place::Scalar, true),
                ("common_pid", "int", 4, 4, true, Place::Scalar, true),
                ("filename", "char[]", 8, 4, false, Place::Located, false),
                ("path", "const char *", 16, 8, false, Place::Scalar, false),
                ("file", "struct file *", 24, 8, false, Place::Scalar, false),
                ("args", "unsigned long", 32, 48, false, Place::Array, false),
                ("data", "u8[]", 80, 4, false, Place::Relative, false),
                ("pid", "pid_t", 84, 4, true, Place::Scalar, false),
            ]
        );
    }

    #[test]
    fn what_is_no_field_is_left_out() {
        for line in
            ["", "field:", "field:int;", "field:;offset:1;", "field:int a;offset:70000;", "field: é;size:1;"]
        {
            parse(line);
        }
        assert_eq!(parse("field:int a; offset:70000; size:4; signed:1;"), []);
    }
}
