//! Facts about the machine that the agent runs on, for the resource that its telemetry names.

use std::{fs, path::Path};

use crate::otlp::declared::Declared;

/// Where the host's files are looked for: seen from a container that shares the host's PID namespace, the first
/// process's root is the host's; everywhere else both are the same.
const ROOTS: [&str; 2] = ["/proc/1/root", "/"];

/// The node: its name, and what is known about it. What is not known is left out of the telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The node's name, as in every exec id.
    pub name: String,
    /// The name is that of a Kubernetes node.
    pub kubernetes: bool,
    /// `/etc/machine-id`.
    pub host_id: Option<String>,
    /// Architecture, by OpenTelemetry's names (`amd64`, `arm64`).
    pub arch: Option<String>,
    /// Name of the operating system (`Debian GNU/Linux`).
    pub os_name: Option<String>,
    /// Its version (`12`).
    pub os_version: Option<String>,
    /// Name and version in its maker's words, and the kernel's release.
    pub os_description: Option<String>,
    /// What OpenTelemetry's variables say.
    pub declared: Declared,
}

// === impl Node ===

impl Node {
    /// Reads what the machine says about itself. Never fails: what can't be read is left out.
    pub fn detect(name: String, kubernetes: bool) -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_str().ok().map(str::to_owned);
        let release = read("etc/os-release").or_else(|| read("usr/lib/os-release")).unwrap_or_default();
        let pretty = os_release(&release, "PRETTY_NAME");
        let kernel = text(uname.release()).map(|kernel| format!("Linux {kernel}"));
        Self {
            name,
            kubernetes,
            host_id: read("etc/machine-id").and_then(|content| machine_id(&content)),
            arch: text(uname.machine()).map(|machine| architecture(&machine).to_owned()),
            os_name: os_release(&release, "NAME"),
            os_version: os_release(&release, "VERSION_ID"),
            os_description: match (pretty, kernel) {
                (Some(pretty), Some(kernel)) => Some(format!("{pretty} ({kernel})")),
                (pretty, kernel) => pretty.or(kernel),
            },
            declared: Declared::default(),
        }
    }
}

/// The first of the host's files of this name that can be read.
fn read(path: &str) -> Option<String> {
    ROOTS.iter().find_map(|root| fs::read_to_string(Path::new(root).join(path)).ok())
}

/// The id in a machine-id(5) file; none while the machine has not been given one ("uninitialized").
fn machine_id(content: &str) -> Option<String> {
    let id = content.trim();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// OpenTelemetry's name (`host.arch`) for what uname(2) calls the machine; the kernel's own where it has none.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "ppc64le" => "ppc64",
        arm if arm.starts_with("arm") => "arm32",
        other => other,
    }
}

/// The value of a variable in an os-release(5) file, without the shell's quotes; none where unset or empty.
fn os_release(content: &str, variable: &str) -> Option<String> {
    let assigned = |line: &str| Some(line.trim().strip_prefix(variable)?.strip_prefix('=')?.to_owned());
    let quoted = content.lines().find_map(assigned)?;
    let inner = ['"', '\''].iter().find_map(|quote| quoted.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut characters = inner.unwrap_or(&quoted).chars();
    let mut value = String::new();
    while let Some(character) = characters.next() {
        value.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_their_quotes() {
        let content = "# comment\nNAME=\"A \\\"B\\\" Linux\"\nID=ab\nVERSION_ID='12'\nEMPTY=\"\"\n";
        let value = |variable| os_release(content, variable);
        assert_eq!(value("NAME").as_deref(), Some("A \"B\" Linux"));
        assert_eq!(value("ID").as_deref(), Some("ab"));
        assert_eq!(value("VERSION_ID").as_deref(), Some("12"));
        assert_eq!((value("EMPTY"), value("VERSION")), (None, None));
    }

    #[test]
    fn a_machine_without_id_has_none() {
        assert_eq!(machine_id("0123456789abcdef0123456789ABCDEF\n").map(|id| id.len()), Some(32));
        assert_eq!(machine_id("uninitialized\n"), None);
        assert_eq!(machine_id(""), None);
    }

    #[test]
    fn this_machine_is_described() {
        let node = Node::detect("here".to_owned(), false);
        assert_eq!(node.name, "here");
        assert!(node.arch.is_some_and(|arch| arch != "x86_64" && arch != "aarch64"));
        assert!(node.os_description.is_some_and(|description| description.contains("Linux")));
    }
}
