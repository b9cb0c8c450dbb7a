//! Drawing: the same from the same seed; and what any policy may ask.

/// Numbers that follow from a seed: SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(u64);

/// A filter: the section of its selector, and its text.
pub type Filter = (&'static str, String);

/// The text of a policy of one selector.
pub fn policy(number: usize, hook: &str, filters: Vec<Filter>) -> String {
    let mut text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p{number}}}\nspec:\n{hook}    selectors:\n    -"
    );
    let mut sections: Vec<(&str, Vec<String>)> = Vec::new();
    for (section, item) in filters {
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

// === impl Random ===

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// One to three of them, in quotation marks, as a list of values.
    pub fn values(&mut self, mut one: impl FnMut(&mut Self) -> String) -> String {
        let values: Vec<String> = (0..=self.below(3)).map(|_| format!("\"{}\"", one(self))).collect();
        format!("[{}]", values.join(", "))
    }

    /// Of the process that makes the call.
    pub fn on_process(&mut self) -> Filter {
        let membership = *self.of(&["In", "NotIn"]);
        match self.below(8) {
            0 | 1 => {
                let fork = self.one_in(2);
                let pid = if self.one_in(2) { std::process::id() } else { 1 };
                let namespaced = !fork && self.one_in(2);
                let rest = format!("followForks: {fork}, isNamespacePID: {namespaced}");
                ("matchPIDs", format!("{{operator: {membership}, values: [{pid}], {rest}}}"))
            }
            2 | 3 => {
                let (operator, value) = *self.of(&[
                    ("Postfix", "/trigon-workload"),
                    ("Postfix", "/hooked"),
                    ("NotPostfix", "-workload"),
                    ("Prefix", "/"),
                    ("NotPrefix", "/no"),
                    ("In", "/bin/no"),
                    ("NotIn", "/bin/no"),
                ]);
                let section = *self.of(&["matchBinaries", "matchParentBinaries"]);
                (section, format!("{{operator: {operator}, values: [\"{value}\"]}}"))
            }
            4 => {
                let kind = *self.of(&["Uts", "Net", "Pid", "Mnt", "User"]);
                let value = *self.of(&["host_ns", "4026531999"]);
                (
                    "matchNamespaces",
                    format!("{{namespace: {kind}, operator: {membership}, values: [{value}]}}"),
                )
            }
            5 => {
                let kinds = *self.of(&["Uts", "Net", "Uts, Mnt", "Pid, Ipc, User"]);
                ("matchNamespaceChanges", format!("{{operator: {membership}, values: [{kinds}]}}"))
            }
            other => {
                let section = if other == 6 { "matchCapabilities" } else { "matchCapabilityChanges" };
                let set = *self.of(&["Effective", "Inheritable", "Permitted"]);
                let names = *self.of(&["CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL", "CAP_CHOWN, CAP_KILL"]);
                (section, format!("{{type: {set}, operator: {membership}, values: [{names}]}}"))
            }
        }
    }

    /// An operator on numbers, and values that are drawn for it.
    pub fn on_number(&mut self, mut value: impl FnMut(&mut Self) -> i128) -> String {
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
        let is_range = matches!(operator, "InMap" | "NotInMap" | "InRange" | "NotInRange");
        let values = self.values(|random| {
            let one = value(random);
            if !is_range {
                return one.to_string();
            }
            let other = value(random);
            format!("{}:{}", one.min(other), one.max(other))
        });
        format!("operator: {operator}, values: {values}")
    }

    /// An operator on text, and values that are parts of these texts.
    pub fn on_text(&mut self, texts: &[&str]) -> String {
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
        let values = self.values(|random| random.part(operator, texts));
        format!("operator: {operator}, values: {values}")
    }

    /// A part of some text, often the one that the operator asks for, sometimes with a letter changed.
    fn part(&mut self, operator: &str, texts: &[&str]) -> String {
        let text = *self.of(texts);
        let most = match operator {
            "Prefix" | "NotPrefix" => 252,
            "SubString" | "SubStringIgnCase" => 256,
            "Postfix" | "NotPostfix" => 128,
            _ => 251,
        };
        let length = 1 + self.below(text.len().min(most));
        let mut part = match operator {
            "Equal" | "NotEqual" => text[..text.len().min(most)].to_owned(),
            "Prefix" | "NotPrefix" => text[..length].to_owned(),
            "Postfix" | "NotPostfix" => text[text.len() - length..].to_owned(),
            _ => {
                let length = length.min(1 + self.below(12));
                let start = self.below(text.len() - length + 1);
                text[start..start + length].to_owned()
            }
        };
        if self.one_in(4) {
            let at = self.below(part.len());
            part.replace_range(at..=at, self.of::<&str>(&["a", "A", "b", "x"]));
        }
        if self.one_in(8) { part.to_uppercase() } else { part }
    }
}
