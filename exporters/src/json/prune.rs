//! A line without the fields that are not shown.
//!
//! What is shown is copied as it was written; only the objects that lose something are taken apart.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::filter::fields::{Node, View};

/// The members of an object, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// What of a value is shown.
#[derive(Clone, Copy)]
struct Shown<'a> {
    /// Only this; none for all.
    include: Option<&'a Node>,
    /// Not this; none for nothing.
    exclude: Option<&'a Node>,
}

/// Appends what is shown of a line; nothing for what is no line of ours.
pub(super) fn line(line: &[u8], view: &View, out: &mut Vec<u8>) {
    let Ok(Members(members)) = serde_json::from_slice(line) else { return };
    let shown = Shown { include: view.include.as_ref(), exclude: Some(&view.exclude) };
    let members = members.into_iter().enumerate().map(|(place, (key, value))| {
        // The event's own object is the first member; the others say of what node and time it is.
        (key, value, if place == 0 { shown } else { Shown { include: None, exclude: None } })
    });
    object(members, out);
}

fn object<'a>(members: impl Iterator<Item = (String, &'a RawValue, Shown<'a>)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (key, value, shown)) in members.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.push(b'"');
        // Names of fields have nothing to escape.
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        shown.write(value, out);
    }
    out.push(b'}');
}

// === impl Shown ===

impl<'a> Shown<'a> {
    /// What of a member is shown, if anything.
    fn of(self, key: &str) -> Option<Self> {
        let include = match self.include {
            None => None,
            Some(node) => Some(node.below.get(key)?).filter(|node| !node.whole),
        };
        let exclude = self.exclude.and_then(|node| node.below.get(key));
        exclude.is_none_or(|node| !node.whole).then_some(Self { include, exclude })
    }

    fn write(self, value: &'a RawValue, out: &mut Vec<u8>) {
        let text = value.get();
        let all = self.include.is_none() && self.exclude.is_none_or(|node| node.below.is_empty());
        if !all && let Ok(Members(members)) = serde_json::from_str(text) {
            let shown = members.into_iter().filter_map(|(key, value)| {
                let shown = self.of(&key)?;
                Some((key, value, shown))
            });
            return object(shown, out);
        }
        if !all && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) {
            out.push(b'[');
            for (place, item) in items.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                self.write(item, out);
            }
            return out.push(b']');
        }
        out.extend_from_slice(text.as_bytes());
    }
}

// === impl Members ===

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        filter::{Filter, FilterConfig, Source},
        json::JsonWriter,
        samples::{self, HOST, NODE},
    };

    fn written(rules: &str, sample: &str) -> (String, Value) {
        let config: FilterConfig = toml::from_str(rules).unwrap();
        let fields = Filter::new("x", &config, Source::Agent).unwrap().fields();
        let event = samples::table().into_iter().find(|(name, _)| *name == sample).unwrap().1;
        let mut out = Vec::new();
        JsonWriter::new(NODE, HOST).showing(fields).write(&event, &mut out);
        let line = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&line).unwrap();
        (line, value)
    }

    #[test]
    fn what_is_excluded_is_not_there_and_the_rest_is_as_it_was() {
        let rules = "[[fields]]
            action = 'EXCLUDE'
            fields = 'process.arguments,process.ns,process.cap.effective,parent,trigon.cgroup,time'";
        for (sample, event) in samples::table() {
            let (_, without) = written(rules, sample);
            let mut expected = written("", sample).1;
            for object in expected.as_object_mut().unwrap().values_mut().filter_map(Value::as_object_mut) {
                object.remove("parent");
                object.remove("time");
                if let Some(trigon) = object.get_mut("trigon") {
                    trigon.as_object_mut().unwrap().remove("cgroup");
                }
                let Some(process) = object.get_mut("process").and_then(Value::as_object_mut) else {
                    continue;
                };
                process.remove("arguments");
                process.remove("ns");
                process["cap"].as_object_mut().unwrap().remove("effective");
            }
            assert_eq!(without, expected, "{sample}: {event:?}");
        }
    }

    #[test]
    fn what_is_included_is_all_there_is() {
        let rules = "[[fields]]
            event_set = ['PROCESS_EXEC']
            fields = ['process.binary', 'process.ns.net.inum', 'parent.pid', 'status']";
        let (line, value) = written(rules, "container");
        let event = json!({
            "process": {"binary": "/usr/sbin/nginx", "ns": {"net": {"inum": 4026532204_u32}}},
            "parent": {"pid": 1},
        });
        let time = "2026-08-17T12:00:00.123456789Z";
        assert_eq!(value, json!({"process_exec": event, "node_name": NODE, "time": time}), "{line}");
        assert_eq!(written(rules, "exit_status"), written("", "exit_status"), "another type");
        let none = written("[[fields]]\nfields = 'status'", "no_arguments").1;
        assert_eq!(none["process_exec"], json!({}));
    }

    #[test]
    fn a_pod_loses_what_is_excluded_and_keeps_odd_labels() {
        let rules = "[[fields]]\naction = 'EXCLUDE'\nfields = 'process.pod.pod_annotations,process.pod.container.image'";
        let (whole, without) = (written("", "hostile_pod").1, written(rules, "hostile_pod").1);
        let [mut pod, without] = [whole, without].map(|line| line["process_exec"]["process"]["pod"].clone());
        assert!(pod.as_object_mut().unwrap().remove("pod_annotations").is_some());
        assert!(pod["container"].as_object_mut().unwrap().remove("image").is_some());
        assert_eq!(pod, without);
        let only = written("[[fields]]\nfields = 'process.pod.pod_labels'", "hostile_pod").1;
        assert_eq!(only["process_exec"], json!({"process": {"pod": {"pod_labels": without["pod_labels"]}}}));
    }

    #[test]
    fn text_stays_escaped_and_fields_in_their_order() {
        let rules = "[[fields]]\naction = 'EXCLUDE'\nfields = 'process.tid'";
        let (whole, without) = (written("", "hostile").0, written(rules, "hostile").0);
        assert_eq!(without, whole.replace("\"tid\":107,", ""));
    }
}
