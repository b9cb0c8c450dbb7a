//! Drawing policies and deeds: the same from the same seed.

use trigon_tests::reference::{Event, Process, Value};

/// Numbers that follow from a seed: SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(u64);

/// Where the hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// At the system call, and its return.
    Syscall,
    /// At the tracepoint of its entry.
    Tracepoint,
}

/// What all policies of a table have in common.
#[derive(Clone, Debug)]
pub struct Draft {
    shape: Shape,
    /// Of the first argument and the third.
    types: [Integer; 2],
    /// The hook tells what is returned.
    returns: bool,
}

/// A type of whole numbers.
#[derive(Clone, Copy, Debug)]
struct Integer {
    name: &'static str,
    bits: u32,
    signed: bool,
}

/// A call of faccessat(2) that fails.
#[derive(Clone, Debug)]
pub struct Deed {
    folder: i64,
    /// None: an address that leads nowhere.
    path: Option<String>,
    mode: i64,
}

const TYPES: [Integer; 8] = [
    Integer { name: "int8", bits: 8, signed: true },
    Integer { name: "uint8", bits: 8, signed: false },
    Integer { name: "int16", bits: 16, signed: true },
    Integer { name: "uint16", bits: 16, signed: false },
    Integer { name: "int", bits: 32, signed: true },
    Integer { name: "uint32", bits: 32, signed: false },
    Integer { name: "int64", bits: 64, signed: true },
    Integer { name: "uint64", bits: 64, signed: false },
];

/// Where something happens to numbers, or close to it.
const NUMBERS: [i64; 16] = [
    0,
    1,
    2,
    7,
    8,
    100,
    127,
    128,
    255,
    256,
    32_768,
    65_535,
    i32::MAX as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

/// Nothing is there, whatever comes after it.
const NOWHERE: &str = "/no-such-folder/";

const EINVAL: i128 = -22;
const EFAULT: i128 = -14;
const ENOENT: i128 = -2;

// === impl Random ===

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn number(&mut self) -> i64 {
        let near = self.below(5) as i64 - 2;
        let number = self.of(&NUMBERS).wrapping_add(near);
        if self.one_in(4) { number.wrapping_neg() } else { number }
    }

    pub fn draft(&mut self, shape: Shape) -> Draft {
        Draft {
            shape,
            types: [*self.of(&TYPES), *self.of(&TYPES)],
            returns: shape == Shape::Syscall && self.one_in(2),
        }
    }

    pub fn deed(&mut self) -> Deed {
        let mode = if self.one_in(2) { self.below(8) as i64 } else { self.number() };
        let path = (!self.one_in(10)).then(|| {
            // Around the lengths where keys end.
            let long =
                if self.one_in(3) { *self.of(&[126, 127, 128, 129, 250, 251, 252, 253, 300]) } else { 0 };
            let mut path = NOWHERE.to_owned();
            while path.len() < long {
                path.push(if path.len().is_multiple_of(50) { '/' } else { 'x' });
            }
            for _ in 0..self.below(5) {
                path.push_str(self.of::<&str>(&["a", "b", "ab", "aab", "AB", "Ab", "/", "secret", "Secret"]));
            }
            path
        });
        Deed { folder: self.number(), path, mode }
    }

    /// The text of a policy of one selector.
    pub fn policy(&mut self, number: usize, draft: &Draft, deeds: &[Deed], parent: u32) -> String {
        let [first, third] = draft.types.map(|kind| kind.name);
        let indices = match draft.shape {
            Shape::Syscall => [0, 1, 2],
            Shape::Tracepoint => [5, 6, 7],
        };
        let hook = match draft.shape {
            Shape::Syscall => "  kprobes:\n  - call: sys_faccessat\n",
            Shape::Tracepoint => "  tracepoints:\n  - subsystem: syscalls\n    event: sys_enter_faccessat\n",
        };
        let returns =
            if draft.returns { "    return: true\n    returnArg: {index: 0, type: int}\n" } else { "" };
        let [one, two, three] = indices;
        let mut text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p{number}}}\nspec:\n{hook}{returns}    args:\n    - {{index: {one}, type: {first}}}\n    - {{index: {two}, type: string}}\n    - {{index: {three}, type: {third}}}\n    selectors:\n    -"
        );
        let mut sections: Vec<(&str, Vec<String>)> = Vec::new();
        for _ in 0..=self.below(3) {
            let (section, item) = self.filter(draft, indices, deeds, parent);
            match sections.iter_mut().find(|(known, _)| *known == section) {
                Some((_, items)) if section == "matchBinaries" || section == "matchParentBinaries" => {
                    *items = vec![item];
                }
                Some((_, items)) => items.push(item),
                None => sections.push((section, vec![item])),
            }
        }
        for (place, (section, items)) in sections.iter().enumerate() {
            let gap = if place == 0 { " " } else { "      " };
            text.push_str(&format!("{gap}{section}:\n"));
            items.iter().for_each(|item| text.push_str(&format!("      - {item}\n")));
        }
        text
    }

    fn filter(
        &mut self,
        draft: &Draft,
        indices: [usize; 3],
        deeds: &[Deed],
        parent: u32,
    ) -> (&'static str, String) {
        match self.below(16) {
            0..=3 => {
                let place = self.below(2);
                let condition = self.condition(draft.types[place], deeds, place);
                ("matchArgs", format!("{{index: {}, {condition}}}", indices[2 * place]))
            }
            4..=7 => ("matchArgs", format!("{{index: {}, {}}}", indices[1], self.on_text(deeds))),
            8 => ("matchArgs", self.expression(draft, deeds)),
            9 if draft.returns => {
                let operator = *self.of(&["Equal", "NotEqual", "GT", "LT"]);
                let number = *self.of(&[ENOENT, EINVAL, EFAULT, 0]);
                ("matchReturnArgs", format!("{{index: 0, operator: {operator}, values: [\"{number}\"]}}"))
            }
            9 | 10 => {
                let operator = *self.of(&["In", "NotIn"]);
                let fork = self.one_in(2);
                let pid = if self.one_in(2) { parent } else { 1 };
                let namespaced = !fork && self.one_in(2);
                let rest = format!("followForks: {fork}, isNamespacePID: {namespaced}");
                ("matchPIDs", format!("{{operator: {operator}, values: [{pid}], {rest}}}"))
            }
            11 => {
                let (operator, value) = match self.below(6) {
                    0 => ("Postfix", "/trigon-workload"),
                    1 => ("NotPostfix", "-workload"),
                    2 => ("Prefix", "/"),
                    3 => ("NotPrefix", "/no"),
                    4 => ("In", "/bin/no"),
                    _ => ("NotIn", "/bin/no"),
                };
                let section = *self.of(&["matchBinaries", "matchParentBinaries"]);
                (section, format!("{{operator: {operator}, values: [\"{value}\"]}}"))
            }
            12 => {
                let operator = *self.of(&["In", "NotIn"]);
                let kind = *self.of(&["Uts", "Net", "Pid", "Mnt", "User"]);
                let value = *self.of(&["host_ns", "4026531999"]);
                ("matchNamespaces", format!("{{namespace: {kind}, operator: {operator}, values: [{value}]}}"))
            }
            13 => {
                let operator = *self.of(&["In", "NotIn"]);
                let kinds = *self.of(&["Uts", "Net", "Uts, Mnt", "Pid, Ipc, User"]);
                ("matchNamespaceChanges", format!("{{operator: {operator}, values: [{kinds}]}}"))
            }
            other => {
                let section = if other == 14 { "matchCapabilities" } else { "matchCapabilityChanges" };
                let operator = *self.of(&["In", "NotIn"]);
                let set = *self.of(&["Effective", "Inheritable", "Permitted"]);
                let names = *self.of(&["CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL", "CAP_CHOWN, CAP_KILL"]);
                (section, format!("{{type: {set}, operator: {operator}, values: [{names}]}}"))
            }
        }
    }

    /// A value that one of the deeds has, or that is close to it.
    fn value(&mut self, kind: Integer, deeds: &[Deed], place: usize) -> i128 {
        let deed = self.of(deeds);
        let raw = if place == 0 { deed.folder } else { deed.mode };
        let raw = if self.one_in(3) { self.number() } else { raw };
        let near = if self.one_in(3) { raw.wrapping_add(self.below(5) as i64 - 2) } else { raw };
        kind.of(near)
    }

    fn condition(&mut self, kind: Integer, deeds: &[Deed], place: usize) -> String {
        let single = |number: i128| format!("\"{number}\"");
        let count = 1 + self.below(3);
        let mut values = Vec::new();
        let operator = *self.of(&[
            "Equal",
            "NotEqual",
            "GT",
            "LT",
            "Mask",
            "InMap",
            "NotInMap",
            "InRange",
            "NotInRange",
        ]);
        for _ in 0..count {
            let value = self.value(kind, deeds, place);
            values.push(match operator {
                "InMap" | "NotInMap" | "InRange" | "NotInRange" => {
                    let other = self.value(kind, deeds, place);
                    format!("\"{}:{}\"", value.min(other), value.max(other))
                }
                _ => single(value),
            });
        }
        format!("operator: {operator}, values: [{}]", values.join(", "))
    }

    fn on_text(&mut self, deeds: &[Deed]) -> String {
        let operator = *self.of(&[
            "Equal",
            "NotEqual",
            "Prefix",
            "NotPrefix",
            "Postfix",
            "NotPostfix",
            "SubString",
            "SubStringIgnCase",
        ]);
        let values: Vec<String> =
            (0..=self.below(3)).map(|_| format!("\"{}\"", self.part(operator, deeds))).collect();
        format!("operator: {operator}, values: [{}]", values.join(", "))
    }

    /// A part of some deed's path, often the one that the operator asks for, sometimes with a letter changed.
    fn part(&mut self, operator: &str, deeds: &[Deed]) -> String {
        let path = self.of(deeds).path.clone().unwrap_or_else(|| NOWHERE.to_owned());
        let most = match operator {
            "Prefix" | "NotPrefix" | "SubString" | "SubStringIgnCase" => 256,
            "Postfix" | "NotPostfix" => 128,
            _ => 4096,
        };
        let length = 1 + self.below(path.len().min(most));
        let mut part = match operator {
            "Equal" | "NotEqual" => path,
            "Prefix" | "NotPrefix" => path[..length].to_owned(),
            "Postfix" | "NotPostfix" => path[path.len() - length..].to_owned(),
            _ => {
                let length = length.min(1 + self.below(12));
                let start = self.below(path.len() - length + 1);
                path[start..start + length].to_owned()
            }
        };
        if self.one_in(4) {
            let at = self.below(part.len());
            part.replace_range(at..=at, self.of::<&str>(&["a", "A", "b", "x"]));
        }
        if self.one_in(8) { part.to_uppercase() } else { part }
    }

    fn expression(&mut self, draft: &Draft, deeds: &[Deed]) -> String {
        let comparison = |random: &mut Self| {
            let place = random.below(2);
            let kind = draft.types[place];
            let (wide, suffix, unsigned) =
                (kind.bits == 64, if kind.signed { "" } else { "u" }, !kind.signed);
            let number = random.value(kind, deeds, place);
            let constant = match (wide, unsigned) {
                (true, _) => format!("{number}{suffix}"),
                (false, true) => format!("uint32({number}u)"),
                (false, false) => format!("int32({number})"),
            };
            let left = match random.below(6) {
                0 => format!("arg{place} + arg{place}"),
                1 => format!("arg{place} - {constant}"),
                2 => format!("and(arg{place}, {constant})"),
                3 => format!("xor(arg{place}, not({constant}))"),
                4 => format!("or({constant}, arg{place})"),
                _ => format!("arg{place}"),
            };
            let operator = *random.of(&["==", "!=", "<", "<=", ">", ">="]);
            let not = if random.one_in(4) { "!" } else { "" };
            format!("{not}({left} {operator} {constant})")
        };
        let mut text = comparison(self);
        if self.one_in(2) {
            let and = *self.of(&["&&", "||", "=="]);
            text = format!("{text} {and} {}", comparison(self));
        }
        format!("{{args: [0, 2], operator: CelExpr, values: [\"{text}\"]}}")
    }
}

// === impl Integer ===

impl Integer {
    /// What a register says where this is looked for.
    fn of(self, register: i64) -> i128 {
        let bits = i128::from(register as u64) & ((1 << self.bits) - 1);
        if self.signed && bits >> (self.bits - 1) == 1 { bits - (1 << self.bits) } else { bits }
    }
}

// === impl Deed ===

impl Deed {
    /// As `trigon-workload calls` takes it.
    pub fn words(&self) -> Vec<String> {
        let path = self.path.as_ref().map_or_else(|| "1".to_owned(), |path| format!("@{path}"));
        vec!["?faccessat".into(), self.folder.to_string(), path, self.mode.to_string(), ";".into()]
    }

    /// What a hook is to see of it.
    pub fn event(&self, draft: &Draft, process: Process) -> Event {
        let [first, third] = draft.types;
        let text = self.path.as_ref().map(|path| Value::Text(path.clone().into_bytes()));
        // The mode is looked at first, and its lower half.
        let returned = match &self.path {
            _ if self.mode as u32 & !7 != 0 => EINVAL,
            None => EFAULT,
            Some(_) => ENOENT,
        };
        Event {
            arguments: vec![
                Some(Value::Number(first.of(self.folder))),
                text,
                Some(Value::Number(third.of(self.mode))),
            ],
            returned: draft.returns.then_some(Value::Number(returned)),
            process,
        }
    }
}
