//! Flags that beat the configuration, of each command that reads it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    ArgMatches, Args, Command, FromArgMatches,
    builder::{OsStringValueParser, TypedValueParser as _},
    parser::ValueSource,
};

use crate::config::{
    Overrides,
    layers::{Override, Source},
};

/// The flags, and who set each.
#[derive(Clone, Debug)]
pub struct Flags {
    values: Values,
    set: Vec<Override>,
}

#[derive(Args, Clone, Debug)]
struct Values {
    /// Where to send log records and spans, such as http://127.0.0.1:4318; empty for nowhere.
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    otlp_endpoint: Option<String>,
    /// Where to serve /metrics, such as 127.0.0.1:2112.
    #[arg(long, value_name = "ADDRESS", env = "TRIGON_METRICS_ADDR", help_heading = HEADING)]
    metrics_addr: Option<SocketAddr>,
    /// The Unix socket of the local API; empty for none.
    #[arg(long, value_name = "PATH", env = "TRIGON_SOCKET", value_parser = OsStringValueParser::new().map(PathBuf::from), help_heading = HEADING)]
    socket: Option<PathBuf>,
}

/// Under which `--help` lists them.
const HEADING: &str = "Overrides of the configuration";

/// The key that each flag beats.
const KEYS: [(&str, &str); 3] =
    [("otlp_endpoint", "otlp.endpoint"), ("metrics_addr", "metrics.addr"), ("socket", "api.socket")];

// === impl Flags ===

impl Flags {
    /// In the form that the configuration takes.
    pub fn overrides(&self) -> Overrides {
        let Values { otlp_endpoint, metrics_addr, socket } = self.values.clone();
        Overrides { otlp_endpoint, metrics_addr, socket }
    }

    /// Those that are set, and by whom.
    pub fn set(&self) -> &[Override] {
        &self.set
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        Values::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Values::augment_args_for_update(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let command = Values::augment_args(Command::new(""));
        let set = KEYS.into_iter().filter_map(|(id, key)| {
            let argument = command.get_arguments().find(|argument| argument.get_id() == id)?;
            let value = matches.get_raw(id)?.next_back()?.to_string_lossy().into_owned();
            let source = match matches.value_source(id)? {
                ValueSource::EnvVariable => {
                    Source::Environment(argument.get_env()?.to_string_lossy().into_owned())
                }
                _ => Source::Flag(format!("--{}", argument.get_long()?)),
            };
            Some(Override { key, value, source })
        });
        Ok(Self { values: Values::from_arg_matches(matches)?, set: set.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn every_flag_beats_a_key() {
        let command = Values::augment_args(Command::new(""));
        let ids: Vec<_> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
        assert_eq!(ids, KEYS.map(|(id, _)| id));
    }

    #[test]
    fn who_set_a_flag_is_known() {
        let line = Line::try_parse_from(["trigon", "--otlp-endpoint", "http://x:1"]).unwrap();
        let set = line.flags.set().iter().find(|one| one.key == "otlp.endpoint").unwrap();
        assert_eq!(
            (set.value.as_str(), &set.source),
            ("http://x:1", &Source::Flag("--otlp-endpoint".to_owned()))
        );
        assert_eq!(line.flags.overrides().otlp_endpoint.as_deref(), Some("http://x:1"));
    }
}
