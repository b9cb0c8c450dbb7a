//! An agent with policies around a deed, and what it told.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    agent::{Agent, Ended},
    json::Line,
};

/// A folder of files, and policies.
#[derive(Debug)]
pub struct Rig {
    /// The folder.
    pub folder: TempDir,
    /// The file of policies.
    pub policy: PathBuf,
}

/// An event of a hook, as far as tests ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Process id.
    pub pid: u32,
    /// The policy.
    pub policy: String,
    /// The function without what comes before its name: `openat` for `__x64_sys_openat`.
    pub function: String,
    /// The arguments as text: paths and texts as they are, bytes in base64.
    pub args: Vec<String>,
}

// === impl Rig ===

impl Rig {
    /// Four files of ten bytes, `wanted`, `forbidden`, `one` and `two`; `FOLDER` in the policies is where they are.
    pub fn new(policies: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-policy-").tempdir().expect("make a folder");
        let path = folder.path().to_str().expect("a plain path");
        let file = folder.path().join("policy.yaml");
        fs::write(&file, policies.replace("FOLDER", path)).expect("write the policy");
        for name in ["wanted", "forbidden", "one", "two"] {
            fs::write(folder.path().join(name), "0123456789").expect("write a file");
        }
        Self { policy: file, folder }
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An agent that loads the policies at its start.
    pub fn agent(&self) -> Agent {
        Agent::new().argument("--policy").argument(self.policy.to_str().expect("a plain path"))
    }

    /// Runs an agent with the policies around a deed; what it wrote.
    pub fn around(&self, deed: impl FnOnce()) -> Ended {
        let agent = self.agent().start();
        deed();
        agent.stop()
    }
}

/// The events of hooks.
pub fn matches(ended: &Ended) -> Vec<Line> {
    let lines = ended.lines.iter().filter(|line| line.starts_with(r#"{"process_kprobe""#));
    lines.map(|line| Line::parse(line)).collect()
}

/// The events of hooks in processes whose program's path contains `tag`.
pub fn told_of(ended: &Ended, tag: &str) -> Vec<Told> {
    let lines = matches(ended);
    lines.iter().filter(|line| line.text("/process/binary").contains(tag)).map(Told::from).collect()
}

/// Function and path, or text, of each event of a process.
pub fn told(lines: &[Line], pid: Option<u32>) -> Vec<(String, String)> {
    let of = lines.iter().filter(|line| pid.is_none_or(|pid| line.pid() == pid));
    of.map(|line| {
        let args = line.at("/args").as_array().cloned().unwrap_or_default();
        let path = args.iter().find_map(|arg| path_of(arg).or_else(|| arg.get("string_arg")?.as_str()));
        (short(line.text("/function_name")), path.unwrap_or_default().to_owned())
    })
    .collect()
}

/// A system call's name without what comes before it.
pub fn short(function: &str) -> String {
    function.rsplit("_sys_").next().unwrap_or(function).to_owned()
}

/// The functions of what was told about a path.
pub fn names<'a>(told: &'a [(String, String)], path: &Path) -> Vec<&'a str> {
    let path = path.to_str().expect("a plain path");
    told.iter().filter(|(_, of)| of == path).map(|(name, _)| name.as_str()).collect()
}

fn path_of(arg: &Value) -> Option<&str> {
    ["/file_arg/path", "/path_arg/path"].iter().find_map(|pointer| arg.pointer(pointer)?.as_str())
}

// === impl Told ===

impl From<&Line> for Told {
    fn from(line: &Line) -> Self {
        let args = line.at("/args").as_array().cloned().unwrap_or_default();
        let text = |arg: &Value| {
            let bytes = || arg.pointer("/truncated_bytes_arg/bytes_arg")?.as_str();
            let plain = || {
                let fields = arg.as_object()?;
                let (_, value) = fields.iter().find(|(name, _)| name.ends_with("_arg"))?;
                Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            path_of(arg).or_else(bytes).map(str::to_owned).or_else(plain).unwrap_or_default()
        };
        Self {
            pid: line.pid(),
            policy: line.text("/policy_name").to_owned(),
            function: short(line.text("/function_name")),
            args: args.iter().map(text).collect(),
        }
    }
}
