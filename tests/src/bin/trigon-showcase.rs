//! Plays an hour of a node in a while, for pictures: a real agent, pods that do things, a real Prometheus.
//!
//! `trigon-showcase SECONDS COMMAND…` plays so long, then runs the command with `PROMETHEUS_URL` in its environment.

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use trigon_tests::showcase::Showcase;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let seconds = arguments.next().and_then(|text| text.to_str()?.parse().ok());
    let (Some(seconds), Some(program)) = (seconds, arguments.next()) else {
        eprintln!("usage: trigon-showcase SECONDS COMMAND…");
        return ExitCode::from(2);
    };
    let mut show = Showcase::start();
    show.play(Duration::from_secs(seconds));
    let status = Command::new(&program).args(arguments).env("PROMETHEUS_URL", show.prometheus.url()).status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("{}: {status}", program.display());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cannot run {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}
