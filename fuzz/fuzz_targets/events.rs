//! Lines that `trigon events` reads: JSON, or what claims to be. What is shown could not act on a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trigon::cli::events::{Options, Output, show};
use trigon_exporters::filter::Filter;

fuzz_target!(|bytes: &[u8]| {
    for output in [Output::Compact, Output::Json] {
        let options = Options { output, color: false, timestamps: true, filter: Filter::default() };
        let mut out = Vec::new();
        let mut damaged = 0;
        let outcome =
            show(bytes, &options, &mut out, |_, _| damaged += 1).expect("memory can be read and written");
        assert_eq!(outcome.damaged, damaged);
        assert!(outcome.shown <= outcome.events);
        let text = String::from_utf8(out).expect("what is shown is UTF-8");
        assert!(text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{text:?}");
    }
});
