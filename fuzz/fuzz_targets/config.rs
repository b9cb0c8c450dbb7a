//! A configuration file, from text to what is in effect.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use trigon::config::{Config, Overrides};

fuzz_target!(|text: &str| {
    let path = Path::new("config.toml");
    match Config::parse(path, text) {
        Ok(config) => {
            let _ = config.apply(&|_| None, &Overrides::default());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
