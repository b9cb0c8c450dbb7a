//! The directory that the agent watches.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use trigon_tests::{agent::Agent, suite::Suite};

use crate::{
    KERNEL,
    rig::{Rig, opens_of, policy},
};

pub fn tests(suite: &mut Suite) {
    suite.test(
        "files_of_the_directory_are_what_is_loaded",
        KERNEL,
        files_of_the_directory_are_what_is_loaded,
    );
    suite.test("a_policy_is_replaced_without_a_gap", KERNEL, a_policy_is_replaced_without_a_gap);
    suite.test("what_is_replaced_leaves_its_marks", KERNEL, what_is_replaced_leaves_its_marks);
    suite.test("a_broken_file_leaves_the_old_policy", KERNEL, a_broken_file_leaves_the_old_policy);
    suite.test("a_mounted_config_map_is_followed", KERNEL, a_mounted_config_map_is_followed);
    suite.test("a_directory_may_come_late", KERNEL, a_directory_may_come_late);
    suite.test("a_name_belongs_to_whoever_has_it", KERNEL, a_name_belongs_to_whoever_has_it);
}

/// An agent that watches a directory, with these files in it at the start.
fn rig(files: &[(&str, &str)]) -> Rig {
    Rig::with(|folder| {
        let directory = folder.join("policies");
        fs::create_dir(&directory).expect("make a directory");
        for (name, text) in files {
            fs::write(directory.join(name), text.replace("FOLDER", folder.to_str().expect("a plain path")))
                .expect("write a policy");
        }
        watching(&directory)
    })
}

fn watching(directory: &Path) -> Agent {
    Agent::new().config(&format!("[policy]\ndir = \"{}\"\n", directory.display()))
}

/// Puts a file in place by renaming one, as editors and deployment tools do.
fn rename_over(rig: &Rig, name: &str, text: &str) {
    let beside = rig.write("policies/.new", text);
    fs::rename(beside, rig.path("policies").join(name)).expect("rename a file");
}

fn files_of_the_directory_are_what_is_loaded() {
    let rig = rig(&[("one.yaml", &opens_of("one", Path::new("FOLDER/one")))]);
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 0), "at the start");
    let listed = rig.listed("one");
    assert_eq!(listed["from"]["kind"], "directory", "{listed}");
    assert_eq!(listed["from"]["path"].as_str(), rig.path("policies/one.yaml").to_str());
    // In place, by renaming, and not at all.
    rig.write("policies/two.yml", &opens_of("two", &rig.path("two")));
    rig.write("policies/three.txt", &opens_of("three", &rig.path("two")));
    rig.until_state("two", "enabled");
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 1));
    rename_over(&rig, "two.yml", &opens_of("other", &rig.path("two")));
    rig.until_state("other", "enabled");
    rig.until_state("two", "");
    assert_eq!(rig.opened("two"), 1);
    fs::remove_file(rig.path("policies/one.yaml")).expect("remove a file");
    rig.until_state("one", "");
    assert_eq!((rig.opened("one"), rig.opened("two")), (0, 1));
    assert_eq!(rig.list().len(), 1);
    rig.agent.stop();
}

fn a_policy_is_replaced_without_a_gap() {
    let rig = rig(&[("one.yaml", &opens_of("one", Path::new("FOLDER/one")))]);
    let path = rig.path("one");
    let (done, opens) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::read(&path).expect("read a file");
                opens.fetch_add(1, Ordering::Relaxed);
                thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        for round in 0..6 {
            let before = rig.listed("one")["since"].clone();
            // A file more each time, so that each is another policy.
            let text = opens_of("one", &path).replace("values: [", &format!("values: [\"/{round}\", "));
            rename_over(&rig, "one.yaml", &text);
            let replaced = || (rig.listed("one")["since"] != before).then_some(());
            trigon_tests::wait::until("the replacement", replaced, || rig.agent.log());
            assert_eq!(rig.state("one"), "enabled");
        }
        done.store(true, Ordering::Relaxed);
    });
    rig.fence();
    assert_eq!(rig.told(&path), opens.load(Ordering::Relaxed), "each open was told, once");
    rig.agent.stop();
}

fn what_is_replaced_leaves_its_marks() {
    // A process is told once; the mark's name is not the first any more in the second version.
    let policy = |more: &str| {
        let once =
            "matchMarks: [{operator: NotIn, values: [told]}], matchActions: [{action: Mark, mark: told}]";
        let file = "matchArgs: [{index: 1, operator: Equal, values: [FOLDER/one]}]";
        let hook = format!(
            "  - call: sys_openat\n    args: [{{index: 1, type: string}}]\n    selectors: [{{{file}, {once}}}{more}]\n"
        );
        policy("marks", &hook).replace("cilium.io", "trigon.io")
    };
    let rig = rig(&[("marks.yaml", &policy(""))]);
    assert_eq!((rig.opened("one"), rig.opened("one")), (1, 0));
    let before = rig.listed("marks")["since"].clone();
    let other =
        policy(", {matchMarks: [{operator: In, values: [a]}], matchActions: [{action: Mark, mark: a}]}");
    rename_over(
        &rig,
        "marks.yaml",
        &other.replace("FOLDER", rig.folder.path().to_str().expect("a plain path")),
    );
    let replaced = || (rig.listed("marks")["since"] != before).then_some(());
    trigon_tests::wait::until("the replacement", replaced, || rig.agent.log());
    assert_eq!((rig.state("marks"), rig.opened("one")), ("enabled".into(), 0));
    // What goes out of force takes its marks along.
    rig.done(&["disable", "marks"]);
    rig.done(&["enable", "marks"]);
    assert_eq!((rig.opened("one"), rig.opened("one")), (1, 0));
    rig.agent.stop();
}

fn a_broken_file_leaves_the_old_policy() {
    let rig = rig(&[
        ("one.yaml", &opens_of("one", Path::new("FOLDER/one"))),
        ("broken.yaml", "kind: TracingPolicy\n"),
    ]);
    // At the start it is none at all.
    let broken = rig.list().into_iter().find(|policy| policy["name"].is_null()).expect("it is listed");
    assert_eq!(broken["state"], "load_error");
    assert!(broken["error"].as_str().is_some_and(|error| error.contains("broken.yaml:1:")), "{broken}");
    assert!(rig.agent.log().contains("broken.yaml:1:"), "{}", rig.agent.log());
    let text = opens_of("one", &rig.path("one"));
    rename_over(&rig, "one.yaml", &text.replace("Equal", "Equals"));
    rig.until_state("one", "error");
    let error = rig.listed("one")["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("one.yaml:10:40: error: "), "{error}");
    assert!(rig.agent.log().contains(&error), "{}", rig.agent.log());
    assert_eq!(rig.opened("one"), 1, "the old one is in force");
    assert_eq!(rig.agent.metrics().sum("trigon_policies", &[("state", "error")]), 1.0);
    // One that the kernel can't do leaves it too.
    rename_over(&rig, "one.yaml", &policy("one", "  - call: no_such_function_at_all\n    syscall: false\n"));
    let other =
        || rig.listed("one")["error"].as_str().filter(|error| error.contains("no_such_function")).map(|_| ());
    trigon_tests::wait::until("the other error", other, || format!("{:?}", rig.list()));
    assert_eq!((rig.state("one"), rig.opened("one")), ("error".into(), 1));
    // Mended, with another name in it.
    rename_over(&rig, "one.yaml", &opens_of("mended", &rig.path("one")));
    rig.until_state("mended", "enabled");
    rig.until_state("one", "");
    assert_eq!(rig.opened("one"), 1);
    fs::remove_file(rig.path("policies/broken.yaml")).expect("remove a file");
    let gone = || (rig.list().len() == 1).then_some(());
    trigon_tests::wait::until("the broken file to go", gone, || format!("{:?}", rig.list()));
    rig.agent.stop();
}

fn a_mounted_config_map_is_followed() {
    let rig = Rig::with(|folder| {
        let directory = folder.join("policies");
        fs::create_dir_all(directory.join("..v1")).expect("make directories");
        fs::write(directory.join("..v1/a.yaml"), opens_of("a", &folder.join("one"))).expect("write a policy");
        symlink("..v1", directory.join("..data")).expect("make a link");
        symlink("..data/a.yaml", directory.join("a.yaml")).expect("make a link");
        watching(&directory)
    });
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 0));
    let directory = rig.path("policies");
    fs::create_dir(directory.join("..v2")).expect("make a directory");
    rig.write("policies/..v2/a.yaml", &opens_of("a2", &rig.path("two")));
    symlink("..v2", directory.join("..data_tmp")).expect("make a link");
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("swap the link");
    fs::remove_dir_all(directory.join("..v1")).expect("remove what was");
    rig.until_state("a2", "enabled");
    rig.until_state("a", "");
    assert_eq!((rig.opened("one"), rig.opened("two")), (0, 1));
    rig.agent.stop();
}

fn a_directory_may_come_late() {
    let rig = Rig::with(|folder| watching(&folder.join("policies")));
    let missing = rig.list();
    assert_eq!((missing.len(), &missing[0]["state"]), (1, &"load_error".into()), "{missing:?}");
    fs::create_dir(rig.path("policies")).expect("make the directory");
    rig.write("policies/one.yaml", &opens_of("one", &rig.path("one")));
    rig.until_state("one", "enabled");
    // Another one in its place.
    fs::rename(rig.path("policies"), rig.path("before")).expect("rename the directory");
    fs::create_dir(rig.path("policies")).expect("make the directory");
    rig.write("policies/two.yaml", &opens_of("two", &rig.path("two")));
    rig.until_state("two", "enabled");
    rig.until_state("one", "");
    assert_eq!((rig.opened("one"), rig.opened("two")), (0, 1));
    rig.agent.stop();
}

fn a_name_belongs_to_whoever_has_it() {
    let rig = rig(&[]);
    let own = rig.write("own.yaml", &opens_of("one", &rig.path("one")));
    rig.done(&["add", &own]);
    rig.write("policies/one.yaml", &opens_of("one", &rig.path("two")));
    let skipped = || rig.list().into_iter().find(|policy| policy["state"] == "skipped");
    let skipped = trigon_tests::wait::until("it to be skipped", skipped, || format!("{:?}", rig.list()));
    assert!(skipped["error"].as_str().is_some_and(|error| error.contains("from api")), "{skipped}");
    assert_eq!((rig.opened("one"), rig.opened("two")), (1, 0));
    rig.done(&["delete", "one"]);
    assert_eq!((rig.opened("one"), rig.opened("two")), (0, 1), "the file's turn");
    rig.agent.stop();
}
