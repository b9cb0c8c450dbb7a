//! From what the guest says to a result for each test.

use std::time::Instant;

/// Results of the tests in one kernel; while they come, each is handed on as a line.
#[derive(Debug)]
pub struct Report<P = ()> {
    kernel: String,
    print: P,
    /// The suite that runs now.
    suite: Option<Suite>,
    complete: bool,
    /// Tests that passed.
    pub passed: usize,
    /// The lines of tests that failed; a suite or a machine that broke counts as one.
    pub failed: Vec<String>,
    /// Tests that this kernel's machine can't run.
    pub ignored: usize,
}

#[derive(Debug)]
struct Suite {
    name: String,
    began: Instant,
    failed: usize,
    /// The list of failures, with their messages, has begun.
    failures: bool,
    /// A test whose name was printed, but not (yet) its result.
    running: Option<String>,
}

// === impl Report ===

impl<P: FnMut(&str)> Report<P> {
    /// Results of the tests in the kernel of that name.
    pub(super) fn new(kernel: &str, print: P) -> Self {
        Self {
            kernel: kernel.into(),
            print,
            suite: None,
            complete: false,
            passed: 0,
            failed: Vec::new(),
            ignored: 0,
        }
    }

    /// Takes a line of the guest's.
    pub(super) fn line(&mut self, line: &str) {
        match line.strip_prefix("@ ").map(|words| words.split(' ').collect::<Vec<_>>()).as_deref() {
            Some(["begin", name]) => {
                self.suite = Some(Suite::new(name));
            }
            Some(["end", name, status]) => self.end(name, status),
            Some(["done"]) => self.complete = true,
            _ => self.test_line(line),
        }
    }

    /// The guest said that all of its suites have ended.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// The machine hung or died.
    pub(super) fn broke(&mut self, reason: &str, console: &str) {
        let at = match &self.suite {
            Some(Suite { name, running: Some(test), .. }) => format!("{name}::{test}"),
            Some(Suite { name, .. }) => name.clone(),
            None => "boot".into(),
        };
        self.fail(format!(
            "test {}: {at} ... FAILED ({reason}); the console's last lines:\n{console}",
            self.kernel
        ));
    }

    /// The counts alone.
    pub(super) fn into_counts(self) -> Report {
        let Self { kernel, suite, complete, passed, failed, ignored, .. } = self;
        Report { kernel, print: (), suite, complete, passed, failed, ignored }
    }

    fn say(&mut self, line: &str) {
        (self.print)(line);
    }

    fn fail(&mut self, line: String) {
        self.say(&line);
        self.failed.push(line);
    }

    /// A suite that fails without a failed test has died.
    fn end(&mut self, name: &str, status: &str) {
        let suite = self.suite.take();
        let seconds = suite.as_ref().map_or(0.0, |suite| suite.began.elapsed().as_secs_f64());
        self.say(&format!("{}: {name} took {seconds:.1} s", self.kernel));
        let failed = suite.map_or(0, |suite| suite.failed);
        if status != "0" && failed == 0 {
            self.fail(format!(
                "test {}: {name} ... FAILED (the suite ended with status {status})",
                self.kernel
            ));
        }
    }

    fn test_line(&mut self, line: &str) {
        let Some(suite) = &mut self.suite else { return };
        if line == "failures:" {
            suite.failures = true;
        }
        if let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let name = name.trim_end();
            let place = format!("test {}: {}::{name} ... {result}", self.kernel, suite.name);
            suite.running = result.is_empty().then(|| name.to_owned());
            match result.split([' ', ',']).next() {
                Some("ok") => self.passed += 1,
                Some("ignored") => self.ignored += 1,
                Some("FAILED") => {
                    suite.failed += 1;
                    return self.fail(place);
                }
                _ => {}
            }
            self.say(&place);
        } else if suite.failures && !line.is_empty() && !line.starts_with("test result:") {
            let text = format!("{}: {line}", self.kernel);
            self.say(&text);
        }
    }
}

// === impl Suite ===

impl Suite {
    fn new(name: &str) -> Self {
        Self { name: name.into(), began: Instant::now(), failed: 0, failures: false, running: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> (Report, Vec<String>) {
        let mut said = Vec::new();
        let mut report = Report::new("6.1", |line: &str| said.push(line.to_owned()));
        lines.iter().for_each(|line| report.line(line));
        let counts = report.into_counts();
        (counts, said)
    }

    #[test]
    fn a_result_for_each_test() {
        let (report, said) = report(&[
            "@ begin life",
            "running 3 tests",
            "test tree ... ok",
            "test burst ... FAILED",
            "test scrape ... ignored, needs prometheus",
            "failures:",
            "---- burst ----",
            "lost one",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored",
            "@ end life 101",
            "@ done",
        ]);
        assert_eq!((report.passed, report.failed.len(), report.ignored, report.complete), (1, 1, 1, true));
        assert!(said.contains(&"test 6.1: life::tree ... ok".to_owned()), "{said:?}");
        assert!(said.contains(&"6.1: lost one".to_owned()), "{said:?}");
    }

    #[test]
    fn a_suite_that_dies_is_a_failure() {
        let (report, said) = report(&["@ begin life", "test tree ... ok", "@ end life 139"]);
        assert_eq!((report.passed, report.failed.len(), report.complete), (1, 1, false));
        assert_eq!(
            said.last().map(String::as_str),
            Some("test 6.1: life ... FAILED (the suite ended with status 139)")
        );
    }

    #[test]
    fn a_machine_that_breaks_is_a_failure() {
        let mut said = Vec::new();
        let mut report = Report::new("6.12", |line: &str| said.push(line.to_owned()));
        report.line("@ begin life");
        report.broke("silent for 330 s", "Kernel panic");
        assert_eq!(report.into_counts().failed.len(), 1);
        assert_eq!(
            said,
            ["test 6.12: life ... FAILED (silent for 330 s); the console's last lines:\nKernel panic"]
        );
    }
}
