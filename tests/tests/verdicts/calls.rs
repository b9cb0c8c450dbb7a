//! Calls of faccessat(2) that fail, with numbers and texts of all kinds.

use trigon_probes::hooks::Target;
use trigon_tests::reference::{Event, Value};

use crate::{
    numbers::{Integer, SETS, TYPES, number},
    process::{Before, Script},
    random::{Filter, Random, policy},
    rig::{Game, Round},
};

/// Calls that a process makes.
const DEEDS: usize = 40;

/// Where the hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// At the system call, and its return.
    Syscall,
    /// At the tracepoint of its entry.
    Tracepoint,
}

struct Calls {
    shape: Shape,
    /// Of the first argument, of the third, and of the further datum.
    types: [Integer; 3],
    /// The hook tells what is returned.
    returns: bool,
    deeds: Vec<Deed>,
}

/// A call that fails.
#[derive(Clone, Debug)]
struct Deed {
    folder: i64,
    /// None: an address that leads nowhere.
    path: Option<String>,
    mode: i64,
    /// How far the thread's timers may be late, which is found in its task. Not 0, which means something else.
    slack: i64,
}

/// Nothing is there, whatever comes after it.
const NOWHERE: &str = "/no-such-folder/";

const EINVAL: i128 = -22;
const EFAULT: i128 = -14;
const ENOENT: i128 = -2;

/// At the system call.
pub fn at_syscall() -> Game {
    let target = Target::Syscall("faccessat".into());
    Game::new(target, true, 6, |random| Calls::draw(Shape::Syscall, random))
}

/// At the tracepoint of its entry.
pub fn at_tracepoint() -> Game {
    let target = Target::Tracepoint { subsystem: "syscalls".into(), event: "sys_enter_faccessat".into() };
    Game::new(target, false, 6, |random| Calls::draw(Shape::Tracepoint, random))
}

// === impl Calls ===

impl Calls {
    fn draw(shape: Shape, random: &mut Random) -> Self {
        let types = match random.one_in(3) {
            true => [*random.of(&SETS), *random.of(&SETS), *random.of(&TYPES)],
            false => [*random.of(&TYPES), *random.of(&TYPES), *random.of(&TYPES)],
        };
        let returns = shape == Shape::Syscall && random.one_in(2);
        Self { shape, types, returns, deeds: (0..DEEDS).map(|_| Deed::draw(random)).collect() }
    }

    /// The places of the arguments.
    fn indices(&self) -> [usize; 3] {
        match self.shape {
            Shape::Syscall => [0, 1, 2],
            Shape::Tracepoint => [5, 6, 7],
        }
    }

    fn filter(&self, random: &mut Random) -> Filter {
        let indices = self.indices();
        match random.below(18) {
            0..=3 => {
                let place = random.below(2);
                let condition = self.condition(random, place);
                ("matchArgs", format!("{{index: {}, {condition}}}", indices[2 * place]))
            }
            4..=7 => {
                let paths: Vec<_> =
                    self.deeds.iter().map(|deed| deed.path.as_deref().unwrap_or(NOWHERE)).collect();
                ("matchArgs", format!("{{index: {}, {}}}", indices[1], random.on_text(&paths)))
            }
            8 => ("matchArgs", self.expression(random)),
            9 if self.returns => {
                let operator = *random.of(&["Equal", "NotEqual", "GT", "LT"]);
                let number = *random.of(&[ENOENT, EINVAL, EFAULT, 0]);
                ("matchReturnArgs", format!("{{index: 0, operator: {operator}, values: [\"{number}\"]}}"))
            }
            10 | 11 => {
                let condition = self.condition(random, 2);
                match self.shape {
                    Shape::Syscall => ("matchData", format!("{{index: 0, {condition}}}")),
                    Shape::Tracepoint => ("matchArgs", format!("{{args: [3], {condition}}}")),
                }
            }
            12 | 13 if self.types[0].set => ("matchArgs", gained(random)),
            _ => random.on_process(),
        }
    }

    /// A value that one of the deeds has, or that is close to it.
    fn value(&self, random: &mut Random, place: usize) -> i128 {
        let deed = random.of(&self.deeds);
        let raw = [deed.folder, deed.mode, deed.slack][place];
        let raw = if random.one_in(3) { number(random) } else { raw };
        let near = if random.one_in(3) { raw.wrapping_add(random.below(5) as i64 - 2) } else { raw };
        self.types[place].of(near)
    }

    fn condition(&self, random: &mut Random, place: usize) -> String {
        random.on_number(|random| self.value(random, place))
    }

    fn expression(&self, random: &mut Random) -> String {
        let comparison = |random: &mut Random| {
            let place = random.below(2);
            let kind = self.types[place];
            let (wide, suffix, unsigned) =
                (kind.bits == 64, if kind.signed { "" } else { "u" }, !kind.signed);
            let number = self.value(random, place);
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
        let mut text = comparison(random);
        if random.one_in(2) {
            let and = *random.of(&["&&", "||", "=="]);
            text = format!("{text} {and} {}", comparison(random));
        }
        format!("{{args: [0, 2], operator: CelExpr, values: [\"{text}\"]}}")
    }
}

impl Round for Calls {
    fn policy(&self, number: usize, random: &mut Random) -> String {
        let [first, third, datum] = self.types.map(|kind| kind.name);
        let [one, two, three] = self.indices();
        let args = format!(
            "    args:\n    - {{index: {one}, type: {first}}}\n    - {{index: {two}, type: string}}\n    - {{index: {three}, type: {third}}}\n"
        );
        let datum = format!("    - {{source: current_task, resolve: timer_slack_ns, type: {datum}}}\n");
        let returns =
            if self.returns { "    return: true\n    returnArg: {index: 0, type: int}\n" } else { "" };
        let hook = match self.shape {
            Shape::Syscall => {
                format!("  kprobes:\n  - call: sys_faccessat\n{returns}{args}    data:\n{datum}")
            }
            // It is one more argument: tracepoints have no further data.
            Shape::Tracepoint => {
                format!(
                    "  tracepoints:\n  - subsystem: syscalls\n    event: sys_enter_faccessat\n{args}{datum}"
                )
            }
        };
        policy(number, &hook, (0..=random.below(3)).map(|_| self.filter(random)).collect())
    }

    fn befores(&self) -> &'static [Before] {
        &[Before::Nothing, Before::NewUts, Before::Drop]
    }

    fn act(&self, script: &mut Script) {
        for Deed { folder, path, mode, slack } in &self.deeds {
            // PR_SET_TIMERSLACK
            script.call(&format!("prctl 29 {slack} 0 0 0"));
            let path = path.as_ref().map_or_else(|| "1".to_owned(), |path| format!("@{path}"));
            script.call(&format!("?faccessat {folder} {path} {mode}"));
        }
    }

    fn events(&self) -> Vec<Event> {
        let [first, third, datum] = self.types;
        let event = |deed: &Deed| {
            let text = deed.path.as_ref().map(|path| Value::Text(path.clone().into_bytes()));
            // The mode is looked at first, and its lower half.
            let returned = match &deed.path {
                _ if deed.mode as u32 & !7 != 0 => EINVAL,
                None => EFAULT,
                Some(_) => ENOENT,
            };
            let mut arguments = vec![first.read(deed.folder), text, third.read(deed.mode)];
            let mut data = vec![datum.read(deed.slack)];
            if self.shape == Shape::Tracepoint {
                arguments.append(&mut data);
            }
            let returned = self.returns.then_some(Value::Number(returned));
            Event { arguments, data, returned, ..Event::default() }
        };
        self.deeds.iter().map(event).collect()
    }
}

/// Of the sets that the first and the third argument are.
fn gained(random: &mut Random) -> String {
    let args = *random.of(&["[0, 2]", "[2, 0]"]);
    let values = *random.of(&[
        "",
        ", values: [CAP_CHOWN]",
        ", values: [CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH]",
        ", values: [CAP_SETGID, CAP_SETUID, CAP_KILL, CAP_SETPCAP]",
        ", values: [CAP_MKNOD, CAP_SYSLOG, CAP_BPF]",
    ]);
    format!("{{args: {args}, operator: CapabilitiesGained{values}}}")
}

// === impl Deed ===

impl Deed {
    fn draw(random: &mut Random) -> Self {
        let mode = if random.one_in(2) { random.below(8) as i64 } else { number(random) };
        let path = (!random.one_in(10)).then(|| {
            // Around the lengths where keys end.
            let long =
                if random.one_in(3) { *random.of(&[126, 127, 128, 129, 250, 251, 252, 253, 300]) } else { 0 };
            let mut path = NOWHERE.to_owned();
            while path.len() < long {
                path.push(if path.len().is_multiple_of(50) { '/' } else { 'x' });
            }
            for _ in 0..random.below(5) {
                path.push_str(
                    random.of::<&str>(&["a", "b", "ab", "aab", "AB", "Ab", "/", "secret", "Secret"]),
                );
            }
            path
        });
        let slack = Some(number(random)).filter(|slack| *slack != 0).unwrap_or(3);
        Self { folder: number(random), path, mode, slack }
    }
}
