//! The dashboards and rules that ship: whatever they ask is answered, by a real Prometheus that scrapes a real agent,
//! and names what the agent really emits.

use std::process::{Command, ExitCode};

use trigon_tests::{
    place,
    suite::{self, Need},
};

mod answers;
mod names;

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("made_from_their_source_and_sound", &[Need::Grafana], sound);
        answers::tests(suite);
    })
}

/// What their own check says: made by the source, of Grafana's types, with units, descriptions and empty states.
fn sound() {
    let output =
        Command::new(place::workspace("scripts/dashboards")).arg("--check").output().expect("run bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
