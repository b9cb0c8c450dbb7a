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
    passed: usize,
    failed: usize,
    ignored: usize,
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
        // A suite that is aborted ends in the midst of a line.
        let line = line.find("@ end ").map_or(line, |at| &line[at..]);
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

    /// The machine broke, and is booted again: what it was at is run again, from the suite that is returned on.
    pub(super) fn begin_again(&mut self, reason: &str, console: &str) -> Option<String> {
        let at = self.at();
        self.say(&format!(
            "{}: {at}: {reason}; it is booted once more. The console's last lines:\n{console}",
            self.kernel
        ));
        let suite = self.suite.take()?;
        self.passed -= suite.passed;
        self.ignored -= suite.ignored;
        self.failed.truncate(self.failed.len() - suite.failed);
        Some(suite.name)
    }

    fn at(&self) -> String {
        match &self.suite {
            Some(Suite { name, running: Some(test), .. }) => format!("{name}::{test}"),
            Some(Suite { name, .. }) => name.clone(),
            None => "boot".into(),
        }
    }

    /// The machine hung or died.
    pub(super) fn broke(&mut self, reason: &str, console: &str) {
        let at = self.at();
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
        let named = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        // What a test prints comes between its name and its result.
        let late = |suite: &mut Suite| suite.running.take_if(|_| ["ok", "FAILED"].contains(&line));
        let found = match named {
            Some((name, result)) => Some((name.trim_end().to_owned(), result)),
            None => late(suite).map(|name| (name, line)),
        };
        if let Some((name, result)) = found {
            let place = format!("test {}: {}::{name} ... {result}", self.kernel, suite.name);
            let word = result.split([' ', ',']).next();
            let is_result = word.is_some_and(|word| ["ok", "ignored", "FAILED"].contains(&word));
            suite.running = (!is_result).then_some(name);
            match word {
                Some("ok") => {
                    suite.passed += 1;
                    self.passed += 1;
                }
                Some("ignored") => {
                    suite.ignored += 1;
                    self.ignored += 1;
                }
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
        Self {
            name: name.into(),
            began: Instant::now(),
            passed: 0,
            failed: 0,
            ignored: 0,
            failures: false,
            running: None,
        }
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
    fn a_result_comes_after_what_a_test_prints() {
        let (report, said) = report(&[
            "@ begin life",
            "test tree ... seed 1",
            "all agree",
            "ok",
            "test burst ... seed 2",
            "FAILED",
            "ok",
            "@ end life 101",
            "@ done",
        ]);
        assert_eq!((report.passed, report.failed.len(), report.ignored), (1, 1, 0), "{said:?}");
        assert!(said.contains(&"test 6.1: life::tree ... ok".to_owned()), "{said:?}");
    }

    #[test]
    fn a_suite_that_dies_is_a_failure() {
        let (report, said) = report(&["@ begin life", "test tree ... ok", "@ end life 139"]);
        assert_eq!((report.passed, report.failed.len(), report.complete), (1, 1, false));
        assert_eq!(
            said.last().map(String::as_str),
            Some("test 6.1: life ... FAILED (the suite ended with status 139)")
        );
        // An abort leaves the line of its test unfinished.
        let (report, _) = self::report(&["@ begin life", "test tree ... @ end life 134", "@ done"]);
        assert_eq!((report.passed, report.failed.len(), report.complete), (0, 1, true));
    }

    #[test]
    fn a_machine_that_is_booted_again_goes_on_with_its_suite() {
        let mut report = Report::new("6.1", |_: &str| ());
        let before = [
            "@ begin first",
            "test a ... ok",
            "@ end first 0",
            "@ begin life",
            "test b ... ok",
            "test c ... FAILED",
        ];
        before.iter().for_each(|line| report.line(line));
        assert_eq!(report.begin_again("silent for 330 s", "").as_deref(), Some("life"));
        ["@ begin life", "test b ... ok", "test c ... ok", "@ end life 0", "@ done"]
            .iter()
            .for_each(|line| report.line(line));
        let report = report.into_counts();
        assert_eq!((report.passed, report.failed.len(), report.complete), (3, 0, true));
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
