//! Commands that need neither an agent nor a kernel, by the real program.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "how a test fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_trigon");

fn trigon(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().envs(variables.iter().copied()).output().expect("start trigon")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn the_configuration_that_ships_is_sound() {
    let path = root().join("config.toml");
    let output = trigon(&["config", "check", path.to_str().unwrap()], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("config.toml: ok\n"));
}

#[test]
fn check_names_file_line_key_and_what_is_allowed() {
    for (wrong, parts) in [
        ("[limits]\n\nargs_bytes = 20000\n", ["config.toml:3:", "limits.args_bytes", "16384"]),
        ("[metrics]\nadress = 1\n", ["line 2", "adress", "`addr`"]),
        ("[otlp]\nendpoint = \"ftp://x\"\n", ["config.toml:2:", "otlp.endpoint", "http://"]),
    ] {
        let (_folder, path) = file(wrong);
        let output = trigon(&["config", "check", &path], &[]);
        assert_eq!(output.status.code(), Some(3), "{wrong}");
        let said = text(&output.stderr);
        for part in parts {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        // It is the same for whoever runs the agent.
        assert_eq!(trigon(&["run", "--config", &path], &[]).status.code(), Some(3));
    }
    let output = trigon(&["config", "check", "/nowhere/config.toml"], &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("/nowhere/config.toml"));
    assert_eq!(trigon(&["config", "check", "--no-such-flag"], &[]).status.code(), Some(2));
    // What beats the file is checked as well.
    let output = trigon(&["config", "check"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
}

#[test]
fn show_tells_sources_and_keeps_secrets() {
    let (_folder, path) = file(
        "[otlp]\nendpoint = \"http://file:1\"\n[otlp.headers]\nauthorization = \"Bearer s3cret\"\n[limits]\nargs = 9\n",
    );
    let variables = [
        ("TRIGON_METRICS_ADDR", "127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("TRIGON_CONFIG", path.as_str()),
    ];
    let arguments = ["config", "show", "--otlp-endpoint", "http://flag:3"];
    let shown = trigon(&arguments, &variables);
    let toml = text(&shown.stdout);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    for line in [
        "endpoint = \"http://flag:3\"  # flag --otlp-endpoint",
        "protocol = \"grpc\"  # env OTEL_EXPORTER_OTLP_PROTOCOL",
        "addr = \"127.0.0.1:9\"  # env TRIGON_METRICS_ADDR",
        "authorization = \"<masked>\"  # file, line 4",
        "args = 9  # file, line 6",
        "args_bytes = 16384  # default",
    ] {
        assert!(toml.lines().any(|one| one == line), "{line} is not in:\n{toml}");
    }
    assert!(!toml.contains("s3cret"));
    // It is a configuration, and shown again it says the same.
    let (_folder, again) = file(&toml);
    assert!(trigon(&["config", "check", &again], &[]).status.success());
    let second = text(&trigon(&["config", "show", &again], &[]).stdout);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&toml), values(&second));

    let mut arguments = arguments.to_vec();
    arguments.extend(["-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&trigon(&arguments, &variables).stdout).unwrap();
    let setting = |key: &str| {
        let settings = json["settings"].as_array().unwrap();
        settings.iter().find(|one| one["key"] == key).unwrap().clone()
    };
    let endpoint = serde_json::json!({"key": "otlp.endpoint", "value": "http://flag:3", "source": "flag", "from": "--otlp-endpoint"});
    assert_eq!(setting("otlp.endpoint"), endpoint);
    assert_eq!(setting("limits.args")["line"], 6);
    assert_eq!(json["file"], path.as_str());
    assert!(!json.to_string().contains("s3cret"));
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = trigon(&["completions", shell], &[]);
        let script = text(&output.stdout);
        assert!(output.status.success() && script.contains("doctor"), "{shell}: {script}");
        // bash is there wherever this project is built; of the others, those that are installed.
        let Some(checked) = shell_reads(shell, &script) else { continue };
        assert!(checked.status.success(), "{shell}: {}", text(&checked.stderr));
    }
    assert_eq!(trigon(&["completions", "tcsh"], &[]).status.code(), Some(2));
}

/// The shell's own judgement of a script; none where there is no such shell.
fn shell_reads(shell: &str, script: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    fs::write(&file, script).unwrap();
    let checked = Command::new(shell).arg("-n").arg(&file).output();
    match checked {
        Err(error) if shell == "bash" => panic!("bash: {error}"),
        checked => checked.ok().filter(|_| ["bash", "zsh", "fish"].contains(&shell)),
    }
}

#[test]
fn there_is_a_page_for_every_command() {
    let output = trigon(&["man"], &[]);
    let page = text(&output.stdout);
    assert!(output.status.success() && page.contains(".TH") && page.contains("Exit codes"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    assert!(trigon(&["man", "--dir", dir.to_str().unwrap()], &[]).status.success());
    for name in ["trigon", "trigon-run", "trigon-doctor", "trigon-config-show", "trigon-policy-list"] {
        let path = dir.join(format!("{name}.1"));
        assert!(path.exists(), "{} is missing", path.display());
        // What `man` would show, where the formatter is installed.
        if let Ok(shown) = Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(&path).output() {
            assert!(shown.status.success() && shown.stderr.is_empty(), "{name}: {}", text(&shown.stderr));
        }
    }
    assert_eq!(trigon(&["man", "--dir", "/proc/nowhere"], &[]).status.code(), Some(1));
}

#[test]
fn an_installation_has_everything_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("image");
    let install = || {
        let mut command = Command::new(root().join("scripts/install"));
        command.env("TRIGON_BIN", PROGRAM).env("PREFIX", "/opt/trigon").env("DESTDIR", &destination);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    install();
    let mode = |path: &str| {
        let path = destination.join(path);
        fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
            & 0o777
    };
    for path in [
        "opt/trigon/lib/systemd/system/trigon.service",
        "opt/trigon/share/man/man1/trigon.1",
        "opt/trigon/share/man/man1/trigon-policy-check.1",
        "opt/trigon/share/bash-completion/completions/trigon",
        "opt/trigon/share/zsh/site-functions/_trigon",
        "opt/trigon/share/fish/vendor_completions.d/trigon.fish",
    ] {
        assert_eq!(mode(path), 0o644, "{path}");
    }
    assert_eq!(mode("opt/trigon/bin/trigon"), 0o755);
    assert_eq!(mode("etc/trigon/config.toml"), 0o600);
    let unit = fs::read_to_string(destination.join("opt/trigon/lib/systemd/system/trigon.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/trigon/bin/trigon run"), "{unit}");

    // A configuration that is there stays.
    let config = destination.join("etc/trigon/config.toml");
    fs::write(&config, "[node]\nname = \"mine\"\n").unwrap();
    install();
    assert!(fs::read_to_string(&config).unwrap().contains("mine"));
}
