//! Functions and probes of a program that the tests bring.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use trigon::policy::{check_text, resolve};
use trigon_probes::hooks::Target;
use trigon_tests::{
    hooked::Hooked,
    reference::{Event, Value},
};

use crate::{
    numbers::{Integer, TYPES, number},
    process::{Before, Script},
    random::{Filter, Random, policy},
    rig::{Game, Known, Round},
};

/// Deeds of a process.
const DEEDS: usize = 40;

/// What is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A function of two numbers.
    Added,
    /// One of a text and its length.
    Said,
    /// A USDT probe: a number in a register, the next in a wider one, a thousand times it in memory, a constant, a text.
    Probed,
}

struct Programs {
    shape: Shape,
    hooked: Rc<Hooked>,
    program: PathBuf,
    /// Of the numbers that the policies name, by their places; none where the program says it.
    types: Vec<Integer>,
    deeds: Vec<Deed>,
}

struct Deed {
    numbers: [i64; 2],
    text: String,
}

const INT: Integer = TYPES[4];
const INT64: Integer = TYPES[6];
const UINT64: Integer = TYPES[7];

/// What the probe says of its text.
const TEXT: &str = "a text";

/// Functions.
pub fn functions() -> Vec<Game> {
    vec![Shape::Added.game(), Shape::Said.game()]
}

/// A USDT probe.
pub fn probes() -> Vec<Game> {
    vec![Shape::Probed.game()]
}

// === impl Shape ===

impl Shape {
    fn game(self) -> Game {
        let hooked = Rc::new(Hooked::new());
        // Where it is: as the agent finds it.
        let text = policy(
            0,
            &self.hook(&hooked, &self.types()),
            vec![("matchPIDs", "{operator: In, values: [1]}".into())],
        );
        let checked = check_text(&text);
        let [one] = checked.policies.as_slice() else { panic!("{text}\n{:?}", checked.faults) };
        let one = resolve::resolve(one.clone(), &mut Known::read()).expect("find the place");
        let target = Target::User(one.hooks[0].point.found()[0].clone());
        Game::new(target, false, 4, move |random| Programs::draw(self, Rc::clone(&hooked), random))
    }

    /// Types of the numbers that are always told so.
    fn types(self) -> Vec<Integer> {
        match self {
            Self::Added => vec![INT, INT64],
            Self::Said => vec![UINT64],
            // The last one: an immediate without a sign.
            Self::Probed => vec![INT, UINT64, INT64, TYPES[5]],
        }
    }

    fn hook(self, hooked: &Hooked, types: &[Integer]) -> String {
        let path = hooked.program().display().to_string();
        let number =
            |(place, kind): (usize, &Integer)| format!("    - {{index: {place}, type: {}}}\n", kind.name);
        let numbers = |from: usize| {
            types.iter().enumerate().map(|(place, kind)| number((place + from, kind))).collect::<String>()
        };
        match self {
            Self::Added => {
                format!("  uprobes:\n  - path: {path}\n    symbols: [added]\n    args:\n{}", numbers(0))
            }
            Self::Said => format!(
                "  uprobes:\n  - path: {path}\n    symbols: [said]\n    args:\n    - {{index: 0, type: string}}\n{}",
                numbers(1)
            ),
            Self::Probed => format!(
                "  usdts:\n  - path: {path}\n    provider: trigon\n    name: plain\n    args:\n{}    - {{index: 4, type: string}}\n",
                numbers(0)
            ),
        }
    }
}

// === impl Programs ===

impl Programs {
    fn draw(shape: Shape, hooked: Rc<Hooked>, random: &mut Random) -> Self {
        let mut types = shape.types();
        if shape == Shape::Added {
            // Of a narrow argument nothing but its own bits is sure.
            types = vec![*random.of(&TYPES[..6]), *random.of(&TYPES)];
        }
        let deeds = (0..DEEDS).map(|_| Deed::draw(random)).collect();
        Self { shape, program: hooked.program(), hooked, types, deeds }
    }

    fn texts(&self) -> Vec<&str> {
        match self.shape {
            Shape::Probed => vec![TEXT],
            _ => self.deeds.iter().map(|deed| deed.text.as_str()).collect(),
        }
    }

    /// The numbers of a deed, as registers have them.
    fn numbers(&self, deed: &Deed) -> Vec<i64> {
        let [first, second] = deed.numbers;
        let narrow = i64::from(first as i32);
        match self.shape {
            Shape::Added => vec![first, second],
            Shape::Said => vec![deed.text.len() as i64],
            Shape::Probed => vec![narrow, narrow + 1, narrow * 1000, 5],
        }
    }

    fn filter(&self, random: &mut Random) -> Filter {
        let first = usize::from(self.shape == Shape::Said);
        match random.below(6) {
            0 => random.on_process(),
            1 | 2 if self.shape != Shape::Added => {
                let index = if self.shape == Shape::Said { 0 } else { 4 };
                ("matchArgs", format!("{{index: {index}, {}}}", random.on_text(&self.texts())))
            }
            _ => {
                let place = random.below(self.types.len());
                let condition = random.on_number(|random| {
                    let deed = random.of(&self.deeds);
                    let raw = if random.one_in(3) { number(random) } else { self.numbers(deed)[place] };
                    self.types[place].of(raw.wrapping_add(random.below(3) as i64 - 1))
                });
                ("matchArgs", format!("{{index: {}, {condition}}}", first + place))
            }
        }
    }
}

impl Round for Programs {
    fn policy(&self, number: usize, random: &mut Random) -> String {
        let filters = (0..=random.below(2)).map(|_| self.filter(random)).collect();
        policy(number, &self.shape.hook(&self.hooked, &self.types), filters)
    }

    fn befores(&self) -> &'static [Before] {
        // What a process changes before it executes the program is no change of the program's.
        &[Before::Nothing]
    }

    fn act(&self, script: &mut Script) {
        let mut words = vec!["@hooked".to_owned()];
        match self.shape {
            Shape::Added => words.push("@add".into()),
            Shape::Said => words.push("@say".into()),
            Shape::Probed => words.push("@probe".into()),
        }
        for Deed { numbers: [first, second], text } in &self.deeds {
            match self.shape {
                Shape::Added => words.extend([format!("@{first}"), format!("@{second}")]),
                Shape::Said => words.push(format!("@{text}")),
                Shape::Probed => words.push(format!("@{first}")),
            }
        }
        script.call(&format!("execve @{} [{},0] [0]", self.hooked.program().display(), words.join(",")));
    }

    fn events(&self) -> Vec<Event> {
        let event = |deed: &Deed| {
            let numbers = self.types.iter().zip(self.numbers(deed));
            let mut arguments: Vec<_> = numbers.map(|(kind, raw)| kind.read(raw)).collect();
            let text = |text: &str| Some(Value::Text(text.as_bytes().to_vec()));
            match self.shape {
                Shape::Added => {}
                Shape::Said => arguments.insert(0, text(&deed.text)),
                Shape::Probed => arguments.push(text(TEXT)),
            }
            Event { arguments, ..Event::default() }
        };
        self.deeds.iter().map(event).collect()
    }

    fn program(&self) -> Option<&Path> {
        Some(&self.program)
    }
}

// === impl Deed ===

impl Deed {
    fn draw(random: &mut Random) -> Self {
        // The program reads a number without its sign, and so not the lowest.
        let numbers = [(); 2].map(|()| number(random).max(i64::MIN + 1));
        let text = (0..=random.below(6))
            .map(|_| {
                *random.of::<&str>(&[
                    "a",
                    "b",
                    "ab",
                    "AB",
                    "Ab",
                    "/",
                    "secret",
                    "Secret",
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxx",
                ])
            })
            .collect();
        Self { numbers, text }
    }
}
