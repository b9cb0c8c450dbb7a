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
        suite.test("the_renderer_draws_them", &[Need::Prometheus, Need::Grafana], drawn);
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

/// The tests of what draws them, of which some ask a real Prometheus.
fn drawn() {
    let tests = ["-B", "-m", "unittest", "discover", "-s", "dashboards/src", "-p", "test_render.py"];
    let output =
        Command::new("python3").args(tests).current_dir(place::workspace("")).output().expect("run python3");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    println!("{said}");
}
