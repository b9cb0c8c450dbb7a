//! What processes map to execute.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use trigon_probes::elf::Elf;
use trigon_tests::{json::Line, suite::Suite};

use crate::{KERNEL, Rig};

pub(super) fn tests(suite: &mut Suite) {
    suite.test("mappings_with_build_ids", KERNEL, mappings);
}

fn mappings() {
    let rig = Rig::new("  loader: true\n");
    let library = rig.hooked.library().to_str().expect("a plain path").to_owned();
    let agent = rig.agent().start();
    let (pid, status) = rig.hooked.run(&["map", &library]);
    assert!(status.success());
    let lines = trigon_tests::wait::until(
        "both mappings",
        || {
            let lines = agent.lines_with("{\"process_loader\"");
            let own: Vec<Line> = lines.into_iter().filter(|line| line.pid() == pid).collect();
            (own.len() >= 2).then_some(own)
        },
        || agent.log(),
    );
    let told: Vec<_> = lines.iter().map(|line| (line.text("/path"), line.text("/buildid"))).collect();
    let id = |path: &str| {
        let elf = Elf::open(path.as_ref()).expect("read it");
        BASE64_STANDARD.encode(elf.build_id().expect("read its notes").expect("it has one"))
    };
    let program = rig.program();
    assert_eq!(told, [(program.as_str(), id(&program).as_str()), (library.as_str(), id(&library).as_str())]);
    // Also what is mapped before the new image is known belongs to it.
    assert!(lines.iter().all(|line| line.text("/process/binary") == program), "{lines:?}");
    agent.stop();
}
