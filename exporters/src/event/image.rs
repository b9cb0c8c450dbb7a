//! What a process executes.

use bitflags::bitflags;

/// What a process executes. Shared by the processes that were forked from it.
///
/// Texts are held end to end in one allocation; a host has tens of thousands of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    text: Box<str>,
    ends: [u32; 4],
    /// Facts about the file, where the exec was seen.
    pub file: Option<FileFacts>,
}

/// What a file that was executed looked like to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Inode number.
    pub inode: u64,
    /// Number of names it has; 0 for a file that was unlinked or never had a name (memfd).
    pub links: u32,
    /// File type and permissions (`i_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Privileges that the exec gained by the file.
    pub gained: Gains,
}

bitflags! {
    /// Privileges that an exec gained by its file.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Gains: u8 {
        /// The effective user became the file's owner.
        const SETUID = 1 << 0;
        /// The effective group became the file's group.
        const SETGID = 1 << 1;
        /// Capabilities came from the file.
        const FILE_CAPS = 1 << 2;
    }
}

// === impl Image ===

impl Image {
    /// An image of `binary`, run in `cwd`, with `args` (each argument followed by a NUL, the first being `argv[0]`).
    ///
    /// `script` is the path of the script where `binary` is its interpreter, else empty.
    pub fn new(binary: &str, script: &str, cwd: &str, args: &str, file: Option<FileFacts>) -> Self {
        let mut text = String::with_capacity(binary.len() + script.len() + cwd.len() + args.len());
        let mut ends = [0; 4];
        for (end, part) in ends.iter_mut().zip([binary, script, cwd, args]) {
            text.push_str(part);
            *end = text.len() as u32;
        }
        Self { text: text.into_boxed_str(), ends, file }
    }

    /// The image with variables of its environment, `NAME=value`, each followed by a NUL.
    pub fn with_environment(mut self, variables: &str) -> Self {
        if !variables.is_empty() {
            let mut text = String::with_capacity(self.ends[3] as usize + variables.len());
            text.push_str(&self.text[..self.ends[3] as usize]);
            text.push_str(variables);
            self.text = text.into_boxed_str();
        }
        self
    }

    fn part(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let end = self.ends.get(index).map_or(self.text.len(), |end| *end as usize);
        &self.text[start..end]
    }

    /// Full path of the file that runs, as the kernel resolved it; of the interpreter, for a script.
    pub fn binary(&self) -> &str {
        self.part(0)
    }

    /// Last component of [`Self::binary`].
    pub fn name(&self) -> &str {
        let binary = self.binary();
        binary.rsplit('/').next().unwrap_or(binary)
    }

    /// Path of the script as it was given to exec; none where a binary was executed.
    pub fn script(&self) -> Option<&str> {
        Some(self.part(1)).filter(|script| !script.is_empty())
    }

    /// Full path of the working directory; empty where it is not known.
    pub fn cwd(&self) -> &str {
        self.part(2)
    }

    /// The arguments, `argv[0]` first.
    pub fn args(&self) -> impl Iterator<Item = &str> {
        self.part(3).split_terminator('\0')
    }

    /// The variables of its environment that were collected: name and value.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.part(4).split_terminator('\0').filter_map(|variable| variable.split_once('='))
    }
}
