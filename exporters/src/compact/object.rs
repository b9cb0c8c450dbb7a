//! Arguments that only JSON has: sockets, programs of the kernel, and whatever else Tetragon tells.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{
    CYAN, Line,
    json::{scalar, text},
    quote::Quoted,
    told::Object,
};
use crate::text::VALUE_LIMIT;

/// A shown field, and what stands before it.
type Field = (&'static str, &'static str);

/// Fields that stand for the whole, the first that is there.
const TELLING: [&str; 4] = ["name", "path", "Name", "value"];

// === impl Object ===

impl Object<'_> {
    /// `tcp 10.0.0.1:4711 -> 10.0.0.2:80`
    pub(super) fn socket(self, line: &mut Line) {
        let protocol = text(self.value, "protocol");
        let protocol = protocol.strip_prefix("IPPROTO_").unwrap_or(protocol).to_lowercase();
        line.word(CYAN, Quoted(if protocol.is_empty() { "tcp" } else { &protocol }));
        line.word(CYAN, Quoted(&end(self.value, "saddr", "sport")));
        line.word(CYAN, "->");
        line.word(CYAN, Quoted(&end(self.value, "daddr", "dport")));
    }

    /// `BPF_PROG_TYPE_KPROBE name instruction count 7`
    pub(super) fn program(self, line: &mut Line) {
        self.fields(&[("", "ProgType"), ("", "ProgName"), ("instruction count", "InsnCnt")], line);
    }

    /// `PERF_TYPE_KPROBE function`
    pub(super) fn perf_event(self, line: &mut Line) {
        self.fields(&[("", "Type"), ("", "KprobeFunc")], line);
    }

    /// `BPF_MAP_TYPE_HASH name key size 4 value size 8 max entries 16`
    pub(super) fn map(self, line: &mut Line) {
        let sizes: [Field; 3] =
            [("key size", "KeySize"), ("value size", "ValueSize"), ("max entries", "MaxEntries")];
        self.fields(&[("", "MapType"), ("", "MapName")], line);
        self.fields(&sizes, line);
    }

    /// The fields that there are; those that are 0 are left out of JSON, and told with their names.
    fn fields(self, fields: &[Field], line: &mut Line) {
        for (name, key) in fields {
            let value = self.value.get(key).map(scalar);
            let value = value.or_else(|| (!name.is_empty()).then_some(Cow::Borrowed("0")));
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            if !name.is_empty() {
                line.word(CYAN, name);
            }
            line.word(CYAN, Quoted(&value));
        }
    }

    /// In one word.
    pub(super) fn shown(self) -> String {
        let mut text = match self.kind {
            "sock_arg" | "skb_arg" => {
                format!("{} -> {}", end(self.value, "saddr", "sport"), end(self.value, "daddr", "dport"))
            }
            "sockaddr_arg" => end(self.value, "addr", "port"),
            _ => {
                let telling = TELLING.iter().find_map(|key| self.value.get(key));
                scalar(telling.unwrap_or(self.value)).into_owned()
            }
        };
        let limit = text.floor_char_boundary(VALUE_LIMIT);
        if limit < text.len() {
            text.truncate(limit);
            text.push('…');
        }
        text
    }
}

/// One end of a connection.
fn end(socket: &Json, address: &str, port: &str) -> String {
    let address = text(socket, address);
    let port = socket.get(port).map_or(Cow::Borrowed("0"), scalar);
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}
