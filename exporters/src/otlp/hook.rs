//! Attributes of what policies ask for: the policy, the call, the file.
//!
//! Keys of the `file` and `security_rule` namespaces are OpenTelemetry's semantic conventions.

use std::fmt::Write as _;

use super::attributes::{Attributes, Scratch};
use crate::{
    event::{
        ArgumentSpec, Descriptor, Ends, File, Hook, HookKind, Loader, Object, Operation, PathRef, Policy,
        Value,
    },
    names,
    text::{Shown, ending},
};

/// Bytes of a path that are exported: what a path can have in the kernel. Escapes can make one longer.
const PATH_LIMIT: usize = 4096;

/// Bits of `i_mode` that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All, for a record of its own.
    Full,
    /// The main things, for one of many events of a span.
    Main,
}

// === impl Attributes ===

impl Attributes<'_> {
    /// What a policy's hook saw; in full, the arguments are those that [`Scratch::record_uid`] left.
    pub(super) fn hook(&mut self, hook: &Hook, detail: Detail, scratch: &mut Scratch) {
        let source = &*hook.source;
        self.string("trigon.policy.name", &source.policy.name);
        match source.kind() {
            HookKind::Kprobe { function } | HookKind::Lsm { hook: function } => {
                self.string("trigon.hook.function", function);
            }
            HookKind::Tracepoint { subsystem, event } => {
                self.string("trigon.hook.subsystem", subsystem);
                self.string("trigon.hook.event", event);
            }
            HookKind::Uprobe { path, symbol, offset, .. } => {
                self.string("trigon.hook.path", &ending(path, PATH_LIMIT));
                if symbol.is_empty() {
                    self.integer("trigon.hook.offset", i64::try_from(*offset).unwrap_or(i64::MAX));
                } else {
                    self.string("trigon.hook.symbol", symbol);
                }
            }
            HookKind::Usdt { path, provider, name } => {
                self.string("trigon.hook.path", &ending(path, PATH_LIMIT));
                self.string("trigon.hook.provider", provider);
                self.string("trigon.hook.probe", name);
            }
        }
        self.string("trigon.action", hook.action.word());
        if hook.monitored {
            self.string("trigon.policy.mode", "monitor");
        }
        if hook.socket_owner {
            self.boolean("trigon.socket.owner", true);
        }
        if let Some(action) = hook.return_action {
            self.string("trigon.return_action", action.word());
        }
        let mut paths = hook.paths();
        if let Some(path) = paths.next() {
            self.path(path, detail, scratch);
        }
        if let Some(Operation::Rename | Operation::Link) = hook.operation()
            && let Some(PathRef { path, .. }) = paths.next()
        {
            self.string("trigon.file.new_path", &ending(path, PATH_LIMIT));
        }
        if let Some(object) = hook.object() {
            self.network(object);
        }
        if let Some(bytes) = hook.bytes() {
            self.integer("trigon.file.bytes", i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        if let Some(value) = &hook.returned {
            match value.number() {
                Some(number) => self.integer("trigon.return", number),
                None => self.string("trigon.return", &Shown(value).to_string()),
            }
        }
        if let Some(request) = &hook.request {
            self.string("trigon.request.trace_id", &request.trace.to_string());
            self.string("trigon.request.span_id", &request.span.to_string());
        }
        if detail == Detail::Main {
            return;
        }
        self.policy(&source.policy);
        self.optional("security_rule.category", source.tags.first().map(|tag| &**tag));
        self.optional("security_rule.description", source.message.as_deref());
        if !source.tags.is_empty() {
            self.strings("trigon.policy.tags", source.tags.iter().map(|tag| &**tag));
        }
        self.integer("trigon.selector", hook.selector);
        self.optional("trigon.file.ima_hash", hook.ima_hash.as_deref().filter(|hash| !hash.is_empty()));
        if !hook.args.is_empty() {
            self.strings("trigon.args", scratch.parts());
        }
        if !hook.data.is_empty() {
            scratch.values(&hook.data, &source.data);
            self.strings("trigon.data", scratch.parts());
        }
        if let Some(stacks) = &hook.stacks {
            for (key, frames) in
                [("trigon.kernel.stacktrace", &stacks.kernel), ("code.stacktrace", &stacks.user)]
            {
                let Some(frames) = frames else { continue };
                scratch.text.clear();
                for frame in frames {
                    let _ = writeln!(scratch.text, "{frame}");
                }
                self.string(key, scratch.text.trim_end());
            }
        }
        if let Some(span) = hook.descriptor {
            self.string("trigon.descriptor.span_id", &span.to_string());
        }
    }

    /// What a process mapped to execute.
    pub(super) fn loader(&mut self, loader: &Loader) {
        self.string("trigon.loader.path", &ending(&loader.path, PATH_LIMIT));
        let id = loader.build_id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        self.optional("trigon.loader.build_id", Some(id.as_str()).filter(|id| !id.is_empty()));
    }

    /// What a followed descriptor was, and what went through it.
    pub(super) fn descriptor(&mut self, descriptor: &Descriptor, scratch: &mut Scratch) {
        let Descriptor { file, policy, .. } = descriptor;
        self.string("trigon.policy.name", &policy.name);
        self.policy(policy);
        self.path(
            PathRef { path: &file.path, file: Some(file), truncated: file.truncated, deleted: file.deleted },
            Detail::Full,
            scratch,
        );
        if let Some(fd) = descriptor.fd {
            self.integer("trigon.file.descriptor", fd);
        }
        for (key, number) in [
            ("trigon.file.reads", descriptor.reads),
            ("trigon.file.writes", descriptor.writes),
            ("trigon.file.bytes_read", descriptor.bytes_read),
            ("trigon.file.bytes_written", descriptor.bytes_written),
        ] {
            self.integer(key, i64::try_from(number).unwrap_or(i64::MAX));
        }
        self.string("trigon.descriptor.end", descriptor.end.as_str());
    }

    /// The ends of a connection or a packet, by the conventions of the `network` namespace; of a packet its sender is
    /// the local end, whichever way it goes. An address alone is that of who is talked to.
    fn network(&mut self, object: &Object) {
        let (local, peer, transport) = match object {
            Object::Address(address) => (None, address.address.map(|of| (of, address.port)), None),
            object => {
                let Some(ends) = object.ends() else { return };
                let Ends { source, source_port, destination, destination_port, .. } = *ends;
                let local = source.map(|of| (of, source_port));
                (local, destination.map(|of| (of, destination_port)), ends.transport())
            }
        };
        self.optional("network.transport", transport);
        let kind = local.or(peer).map(|(address, _)| if address.is_ipv4() { "ipv4" } else { "ipv6" });
        self.optional("network.type", kind);
        for (end, address, port) in [
            (local, "network.local.address", "network.local.port"),
            (peer, "network.peer.address", "network.peer.port"),
        ] {
            let Some((ip, number)) = end else { continue };
            self.string(address, &ip.to_string());
            if number != 0 {
                self.integer(port, number);
            }
        }
    }

    fn policy(&mut self, policy: &Policy) {
        self.string("security_rule.name", &policy.name);
        self.optional("trigon.policy.namespace", policy.namespace.as_deref());
    }

    fn path(&mut self, path: PathRef<'_>, detail: Detail, scratch: &mut Scratch) {
        let text = ending(path.path, PATH_LIMIT);
        self.optional("file.path", Some(&text));
        if let Some(File { mode: mode @ 1.., .. }) = path.file {
            scratch.text.clear();
            let _ = write!(scratch.text, "{:04o}", mode & PERMISSIONS);
            self.string("file.mode", &scratch.text);
        }
        if path.truncated {
            self.boolean("trigon.file.truncated", true);
        }
        if path.deleted {
            self.boolean("trigon.file.deleted", true);
        }
        if detail == Detail::Main {
            return;
        }
        let (directory, name) = split(&text);
        self.optional("file.name", Some(name));
        self.optional("file.directory", Some(directory));
        // A name that begins with its only dot is hidden, and has no extension.
        let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty());
        self.optional("file.extension", extension.map(|(_, extension)| extension));
        if let Some(file) = path.file {
            self.strings("trigon.file.flags", names::open_flags(file.flags));
        }
    }
}

/// The directory and the name of a path.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => ("", path),
    }
}

// === impl Scratch ===

impl Scratch {
    /// Makes parts of the arguments, as `label=value`.
    pub(super) fn args(&mut self, hook: &Hook) {
        self.values(&hook.args, &hook.source.args);
    }

    fn values(&mut self, values: &[Option<Value>], specs: &[ArgumentSpec]) {
        self.clear_parts();
        for (index, value) in values.iter().enumerate() {
            let name = specs.get(index).map_or("", |spec| spec.name());
            let equals = if name.is_empty() { "" } else { "=" };
            self.part(|text| {
                let _ = match value {
                    Some(value) => write!(text, "{name}{equals}{}", Shown(value)),
                    None => write!(text, "{name}{equals}?"),
                };
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split() {
        for (path, directory, name) in [
            ("/etc/passwd", "/etc", "passwd"),
            ("/x", "/", "x"),
            ("/", "/", ""),
            ("x", "", "x"),
            ("", "", ""),
            ("a/b/", "a/b", ""),
        ] {
            assert_eq!(split(path), (directory, name), "{path}");
        }
    }
}
