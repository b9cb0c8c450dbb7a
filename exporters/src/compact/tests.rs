use unicode_width::UnicodeWidthStr;

use super::{CompactWriter, TRAILER, TRAILER_END};
use crate::{
    event::Event,
    samples::{self, NODE},
    text::is_printable,
};

fn write(event: &Event, color: bool, timestamps: bool) -> String {
    let mut out = Vec::new();
    CompactWriter::new(NODE, color, timestamps).write(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn uncolored(line: &str) -> String {
    let sequences = ["\x1b[31m", "\x1b[32m", "\x1b[35m", "\x1b[36m", "\x1b[0m"];
    sequences.iter().fold(line.to_owned(), |text, sequence| text.replace(sequence, ""))
}

#[test]
fn every_event_is_one_line_for_people() {
    for (name, event) in samples::table() {
        insta::assert_snapshot!(name, write(&event, false, false));
    }
}

#[test]
fn the_time_comes_first() {
    let (_, event) = samples::table().swap_remove(2);
    insta::assert_snapshot!("timestamps", write(&event, false, true));
}

#[test]
fn colors_are_for_what_they_mean() {
    let lines: String = samples::table().iter().map(|(_, event)| write(event, true, false)).collect();
    // As text, so that whoever looks at the snapshot sees the sequences and not their effect.
    insta::assert_snapshot!("colors", lines.replace('\x1b', "␛"));
}

#[test]
fn nothing_reaches_the_terminal_that_it_obeys() {
    for (name, event) in samples::table() {
        let line = write(&event, false, true);
        assert!(line.strip_suffix('\n').unwrap().chars().all(is_printable), "{name}: {line:?}");
        // The sequences of the colours are the only ones.
        let colored = write(&event, true, true);
        assert_eq!(uncolored(&colored), line, "{name}");
    }
}

#[test]
fn the_trailer_ends_at_its_column_whatever_the_width_of_the_text() {
    for argument in ["short", "日本語日本語", "e\u{301}e\u{301}", "🚀🚀"] {
        let process = samples::process(9, samples::image("/bin/echo", &["echo", argument]));
        for color in [false, true] {
            let line = write(&samples::exec(process.clone()), color, false);
            let plain = if color { uncolored(&line) } else { line };
            assert_eq!(plain.trim_end().width(), TRAILER_END, "{plain}");
        }
    }
}

#[test]
fn a_line_that_leaves_no_room_has_the_trailer_after_it() {
    let long = "x".repeat(200);
    let process = samples::process(9, samples::image("/bin/echo", &["echo", &long]));
    let line = write(&samples::exec(process), false, false);
    assert!(line.ends_with(&format!("{long} {TRAILER}\n")), "{line}");
}
