//! Files of all types: opened, read and written, looked at, held.

use tempfile::TempDir;
use trigon::policy::model::conditions::FileType;
use trigon_probes::hooks::Target;
use trigon_tests::reference::{Event, Value};

use crate::{
    process::{Before, Script},
    random::{Filter, Random, policy},
    rig::{Game, Round},
};

/// What a process does with files.
const DEEDS: usize = 40;

/// Devices that nobody opens by the way.
const DEVICES: [&str; 2] = ["/dev/full", "/dev/zero"];

/// Types of files: the words of policies.
const WORDS: [&str; 7] = ["reg", "dir", "fifo", "chr", "lnk", "blk", "sock"];

// Flags of open(2).
const O_RDONLY: u32 = 0;
const O_WRONLY: u32 = 1;
const O_RDWR: u32 = 2;
const O_NONBLOCK: u32 = 0x800;
const O_NOFOLLOW: u32 = 0x2_0000;
const O_PATH: u32 = 0x20_0000;

// `MAY_*` of the kernel's include/linux/fs.h.
const MAY_WRITE: i128 = 2;
const MAY_READ: i128 = 4;

/// Where the hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Where a file is opened.
    Open,
    /// Where an open file is read or written.
    Use,
    /// Where its path has been found, to tell what is there.
    Look,
    /// At some system call, while a file is open under a number: its path.
    Hold,
}

/// How a hook of the security modules is named in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the function that asks them.
    Function,
    /// By itself.
    Module,
}

struct Files {
    shape: Shape,
    way: Way,
    folder: TempDir,
    files: Vec<(String, FileType)>,
    deeds: Vec<Deed>,
}

struct Deed {
    /// Which file.
    file: usize,
    /// It is reached by a symbolic link.
    linked: bool,
    /// To read, to write, both, or only to find it.
    open: u32,
    writes: bool,
}

pub fn opened(way: Way) -> Game {
    way.game("file_open", Shape::Open)
}

pub fn used(way: Way) -> Game {
    way.game("file_permission", Shape::Use)
}

pub fn looked_at(way: Way) -> Game {
    way.game("inode_getattr", Shape::Look)
}

pub fn held() -> Game {
    let target = Target::Syscall("umask".into());
    Game::new(target, false, 3, |random| Files::draw(Shape::Hold, Way::Function, random))
}

// === impl Way ===

impl Way {
    fn game(self, hook: &str, shape: Shape) -> Game {
        let target = match self {
            Self::Function => Target::Function(format!("security_{hook}")),
            Self::Module => Target::Lsm(hook.into()),
        };
        Game::new(target, false, 3, move |random| Files::draw(shape, self, random))
    }

    fn policy(self, hook: &str, args: &str) -> String {
        match self {
            Self::Function => {
                format!("  kprobes:\n  - call: security_{hook}\n    syscall: false\n    args: {args}\n")
            }
            Self::Module => format!("  lsmhooks:\n  - hook: {hook}\n    args: {args}\n"),
        }
    }
}

// === impl Files ===

impl Files {
    fn draw(shape: Shape, way: Way, random: &mut Random) -> Self {
        use FileType::{Block, Character, Directory, Fifo, Regular, Socket, Symlink};
        let folder = tempfile::Builder::new().prefix("trigon-verdicts-").tempdir().expect("make a folder");
        let within = folder.path().to_str().expect("a plain path");
        // Not all can be opened, or may be where they lie.
        let kinds: &[FileType] = match shape {
            Shape::Open | Shape::Use => &[Regular, Directory, Fifo],
            Shape::Look | Shape::Hold => &[Regular, Directory, Fifo, Character, Symlink, Block, Socket],
        };
        let mut files: Vec<_> = DEVICES.iter().map(|path| ((*path).to_owned(), Character)).collect();
        for kind in kinds.iter().cycle().take(14) {
            let name = *random.of(&["a", "ab", "secret", "Secret", "x.conf"]);
            // The number makes it another's.
            files.push((format!("{within}/{name}{}", files.len()), *kind));
        }
        let deed = |random: &mut Random| {
            let file = random.below(files.len());
            let ways: &[u32] = match (shape, files[file].1) {
                (Shape::Look | Shape::Hold, _) => &[O_PATH | O_NOFOLLOW],
                (_, Directory) => &[O_RDONLY, O_PATH],
                // To write alone it can't be opened before somebody reads.
                (_, Fifo) => &[O_RDONLY, O_RDWR, O_PATH],
                _ => &[O_RDONLY, O_WRONLY, O_RDWR, O_PATH],
            };
            // A link that leads nowhere is seen itself, and so is one to it.
            let linked = matches!(shape, Shape::Open | Shape::Use | Shape::Look)
                && files[file].1 != Symlink
                && random.one_in(3);
            Deed { file, linked, open: *random.of(ways), writes: random.one_in(2) }
        };
        let deeds = (0..DEEDS).map(|_| deed(random)).collect();
        Self { shape, way, folder, files, deeds }
    }

    fn within(&self) -> &str {
        self.folder.path().to_str().expect("a plain path")
    }

    fn condition(&self, random: &mut Random) -> String {
        if self.shape == Shape::Use && random.one_in(4) {
            let mask = random.of(&[MAY_READ, MAY_WRITE]);
            return format!("{{index: 1, operator: Equal, values: [{mask}]}}");
        }
        if random.one_in(4) {
            let paths: Vec<_> = self.files.iter().map(|(path, _)| path.as_str()).collect();
            return format!("{{args: [0], {}}}", random.on_text(&paths));
        }
        let operator = *random.of(&["FileType", "NotFileType"]);
        let values = random.values(|random| (*random.of(&WORDS)).to_owned());
        format!("{{args: [0], operator: {operator}, values: {values}}}")
    }
}

impl Round for Files {
    fn policy(&self, number: usize, random: &mut Random) -> String {
        let hook = match self.shape {
            Shape::Open => self.way.policy("file_open", "[{index: 0, type: file}]"),
            Shape::Use => self.way.policy("file_permission", "[{index: 0, type: file}, {index: 1, type: int}]"),
            Shape::Look => self.way.policy("inode_getattr", "[{index: 0, type: path}]"),
            Shape::Hold => {
                "  kprobes:\n  - call: sys_umask\n    args: [{source: current_task, resolve: \"files.fdt.fd[100].f_path\", type: path}]\n".to_owned()
            }
        };
        // Others are found as the program is started.
        let ours: Vec<_> = DEVICES.iter().map(|device| format!("\"{device}\"")).collect();
        let ours = format!("\"{}/\", {}", self.within(), ours.join(", "));
        let mut filters: Vec<Filter> =
            vec![("matchArgs", format!("{{args: [0], operator: Prefix, values: [{ours}]}}"))];
        (0..=random.below(2)).for_each(|_| filters.push(("matchArgs", self.condition(random))));
        if random.one_in(4) {
            filters.push(random.on_process());
        }
        policy(number, &hook, filters)
    }

    fn befores(&self) -> &'static [Before] {
        &[Before::Nothing, Before::Drop]
    }

    fn act(&self, script: &mut Script) {
        let within = self.within();
        for (number, (path, kind)) in self.files.iter().enumerate() {
            // The second process finds them there. Numbers of devices that there are: null, and the first loop.
            let mode = kind.mode() | 0o644;
            script.call(&match kind {
                FileType::Directory => format!("?mkdir @{path} 0x1ed"),
                FileType::Symlink => format!("?symlink @/no-such-file @{path}"),
                FileType::Character => format!("?mknod @{path} {mode} 0x103"),
                FileType::Block => format!("?mknod @{path} {mode} 0x700"),
                FileType::Regular | FileType::Fifo | FileType::Socket => {
                    format!("?mknod @{path} {mode} 0")
                }
            });
            script.call(&format!("?symlink @{path} @{within}/link{number}"));
        }
        for Deed { file, linked, open, writes } in &self.deeds {
            let path = match linked {
                true => format!("{within}/link{file}"),
                false => self.files[*file].0.clone(),
            };
            if self.shape == Shape::Look {
                let follow = if *linked { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
                script.call(&format!("newfstatat -100 @{path} #144 {follow}"));
                continue;
            }
            let opened = script.call(&format!("openat -100 @{path} {}", open | O_NONBLOCK));
            match self.shape {
                Shape::Use if *writes => drop(script.call(&format!("?write {opened} #1 1"))),
                Shape::Use => drop(script.call(&format!("?read {opened} #1 1"))),
                Shape::Hold => {
                    script.call(&format!("dup3 {opened} 100 0"));
                    script.call("umask 18");
                }
                Shape::Open | Shape::Look => {}
            }
            script.call(&format!("close {opened}"));
        }
    }

    fn events(&self) -> Vec<Event> {
        let is_seen = |deed: &&Deed| match self.shape {
            // What is only found is not opened.
            Shape::Open => deed.open != O_PATH,
            Shape::Use if deed.writes => [O_WRONLY, O_RDWR].contains(&deed.open),
            Shape::Use => [O_RDONLY, O_RDWR].contains(&deed.open),
            Shape::Look | Shape::Hold => true,
        };
        let event = |deed: &Deed| {
            let (path, kind) = &self.files[deed.file];
            let mut arguments = vec![Some(Value::File(path.clone().into_bytes(), *kind))];
            if self.shape == Shape::Use {
                arguments.push(Some(Value::Number(if deed.writes { MAY_WRITE } else { MAY_READ })));
            }
            Event { arguments, ..Event::default() }
        };
        self.deeds.iter().filter(is_seen).map(event).collect()
    }
}
