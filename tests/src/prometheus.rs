//! A real Prometheus server that scrapes an agent every second.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{http, place, wait};

/// A server that runs.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

/// The program; none where it isn't installed.
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("prometheus")).find(|program| program.is_file())
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts a server that scrapes `target`, and waits until it answers.
    pub fn start(target: SocketAddr) -> Self {
        Self::with_rules(target, &[])
    }

    /// Likewise, with files of rules, which it evaluates every second too.
    pub fn with_rules(target: SocketAddr, rules: &[PathBuf]) -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-prometheus-").tempdir().expect("make a folder");
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: {rules:?}\n\
             scrape_configs: [{{job_name: trigon, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        let config_path = folder.path().join("prometheus.yml");
        std::fs::write(&config_path, config).expect("write the configuration");
        let address = place::free_address();
        let child = Command::new(find().expect("prometheus is installed"))
            .arg(format!("--config.file={}", config_path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).expect("make its log"))
            .spawn()
            .expect("start prometheus");
        let server = Self { child, folder, address };
        let ready = || http::get(&format!("http://{address}/-/ready"), &[]).ok();
        wait::until("prometheus' /-/ready", ready, || server.log());
        server
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What its API answers: the part `data`.
    ///
    /// # Errors
    /// Says why it answers nothing of use: a query may be wrong.
    pub fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let text = http::get(&format!("{}/api/v1/{path}", self.url()), query)?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(text) }
    }

    /// The result of a query now: labels and value of each series.
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let answer = self.ask("query", &[("query", query)]);
        let answer = answer.unwrap_or_else(|error| panic!("query {query}: {error}; {}", self.log()));
        let series = answer["result"].as_array().unwrap_or_else(|| panic!("no vector: {answer}"));
        let sample = |series: &Value| {
            let value = series["value"][1].as_str().and_then(|value| value.parse().ok());
            (series["metric"].clone(), value.unwrap_or_else(|| panic!("no value: {series}")))
        };
        series.iter().map(sample).collect()
    }

    /// Waits until the query has the one `value`.
    pub fn until(&self, query: &str, value: f64) {
        let equal = || matches!(self.query(query).as_slice(), [(_, found)] if *found == value).then_some(());
        wait::until(&format!("{query} = {value}"), equal, || format!("{:?}", self.query(query)));
    }

    fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("(no log: {error})"))
}
