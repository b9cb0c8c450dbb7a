use super::*;
use crate::otlp::{
    config::{Headers, TlsConfig},
    files::Contents,
};

const URL: &str = "http://collector:4318";

fn settings(
    signal: Signal,
    config: &OtlpConfig,
    environment: &[(&str, &str)],
    flag: Option<&str>,
) -> Result<Option<Settings>, SettingsError> {
    let prefixed: Vec<_> =
        environment.iter().map(|(name, value)| (format!("OTEL_EXPORTER_OTLP_{name}"), *value)).collect();
    let get =
        |name: &str| prefixed.iter().find(|(known, _)| known == name).map(|(_, value)| (*value).to_owned());
    let table = Table { config, path: "otlp" };
    let names = table.names(signal);
    let environment = Environment { get: &get, signal: names.environment, applies: true };
    Settings::new(&table, &names, &environment, flag)
}

fn headers(settings: &Settings) -> Vec<(String, String)> {
    let headers = settings.headers.resolve(&Contents::default()).expect("no files");
    let text = |value: &reqwest::header::HeaderValue| value.to_str().expect("text").to_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn found(signal: Signal, environment: &[(&str, &str)]) -> Settings {
    settings(signal, &OtlpConfig::default(), environment, None).expect("usable").expect("an endpoint")
}

fn refused(environment: &[(&str, &str)]) -> String {
    let config = OtlpConfig { endpoint: URL.to_owned(), ..OtlpConfig::default() };
    settings(Signal::Logs, &config, environment, None).expect_err("not usable").to_string()
}

#[test]
fn nothing_is_exported_unless_somebody_says_where() {
    for environment in [&[][..], &[("ENDPOINT", "")], &[("PROTOCOL", "grpc")], &[("TRACES_ENDPOINT", URL)]] {
        assert_eq!(
            settings(Signal::Logs, &OtlpConfig::default(), environment, None),
            Ok(None),
            "{environment:?}"
        );
    }
    assert_eq!(settings(Signal::Logs, &OtlpConfig::default(), &[("ENDPOINT", URL)], Some("")), Ok(None));
}

#[test]
fn the_signals_path_is_appended_to_a_base_only() {
    use Signal::{Logs, Spans};
    for (signal, environment, expected) in [
        (Logs, &[("ENDPOINT", "http://c:4318")][..], "http://c:4318/v1/logs"),
        (Spans, &[("ENDPOINT", "http://c:4318/")], "http://c:4318/v1/traces"),
        (Spans, &[("ENDPOINT", "https://c/otlp/")], "https://c/otlp/v1/traces"),
        (Logs, &[("LOGS_ENDPOINT", "http://c:4318")], "http://c:4318/"),
        (Logs, &[("LOGS_ENDPOINT", "http://c/a"), ("ENDPOINT", "http://other")], "http://c/a"),
        (Spans, &[("LOGS_ENDPOINT", "http://c/a"), ("ENDPOINT", "http://other")], "http://other/v1/traces"),
        (Spans, &[("TRACES_ENDPOINT", "http://c/t?tenant=1")], "http://c/t?tenant=1"),
        (Logs, &[("ENDPOINT", "http://c:4317"), ("PROTOCOL", "grpc")], "http://c:4317/"),
    ] {
        assert_eq!(found(signal, environment).endpoint.as_str(), expected, "{environment:?}");
    }
}

#[test]
fn flag_beats_environment_beats_configuration() {
    let config = OtlpConfig { endpoint: "http://file".to_owned(), ..OtlpConfig::default() };
    let host = |environment: &[(&str, &str)], flag| {
        let settings =
            settings(Signal::Logs, &config, environment, flag).expect("usable").expect("an endpoint");
        settings.endpoint.to_string()
    };
    let both = [("ENDPOINT", "http://general"), ("LOGS_ENDPOINT", "http://own")];
    assert_eq!(host(&[], None), "http://file/v1/logs");
    assert_eq!(host(&both[..1], None), "http://general/v1/logs");
    assert_eq!(host(&both, None), "http://own/");
    assert_eq!(host(&both, Some("http://flag")), "http://flag/v1/logs");
}

#[test]
fn the_environment_sets_the_rest() {
    let settings = found(
        Signal::Logs,
        &[
            ("ENDPOINT", URL),
            ("PROTOCOL", "http/protobuf"),
            ("LOGS_PROTOCOL", "grpc"),
            ("TIMEOUT", "2500"),
            ("LOGS_COMPRESSION", " gzip "),
            ("TRACES_COMPRESSION", "none"),
            ("HEADERS", "api-key=a%20b%3D%2C, X-Tenant = 7 ,,empty="),
        ],
    );
    assert_eq!((settings.protocol, settings.compression), (Protocol::Grpc, Compression::Gzip));
    assert_eq!(settings.timeout, Duration::from_millis(2500));
    let expected = [("api-key", "a b=,"), ("x-tenant", "7"), ("empty", "")];
    assert_eq!(headers(&settings), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(!format!("{settings:?}").contains("a b"), "values are secrets");
}

#[test]
fn headers_of_the_environment_replace_the_configured() {
    let configured = Headers([("a".to_owned(), "1".to_owned())].into());
    let config = OtlpConfig { endpoint: URL.to_owned(), headers: configured, ..OtlpConfig::default() };
    let names = |environment: &[(&str, &str)]| -> Vec<String> {
        let settings =
            settings(Signal::Logs, &config, environment, None).expect("usable").expect("an endpoint");
        headers(&settings).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&[]), ["a"]);
    assert_eq!(names(&[("HEADERS", "b=2")]), ["b"]);
    assert_eq!(names(&[("HEADERS", "b=2"), ("LOGS_HEADERS", "c=3")]), ["c"]);
}

#[test]
fn an_endpoint_without_a_scheme_is_encrypted_unless_told_otherwise() {
    for (environment, expected) in [
        (&[("ENDPOINT", "c:4317"), ("PROTOCOL", "grpc")][..], "https://c:4317/"),
        (&[("ENDPOINT", "c:4317"), ("PROTOCOL", "grpc"), ("INSECURE", "TRUE")], "http://c:4317/"),
        (&[("LOGS_ENDPOINT", "c:4317"), ("PROTOCOL", "grpc"), ("LOGS_INSECURE", "true")], "http://c:4317/"),
        (&[("ENDPOINT", "https://c:4317"), ("PROTOCOL", "grpc"), ("INSECURE", "true")], "https://c:4317/"),
        (&[("ENDPOINT", "http://c:4317"), ("PROTOCOL", "grpc"), ("INSECURE", "false")], "http://c:4317/"),
    ] {
        assert_eq!(found(Signal::Logs, environment).endpoint.as_str(), expected, "{environment:?}");
    }
    assert!(refused(&[("ENDPOINT", "c:4318"), ("INSECURE", "true")]).contains("can't be used"));
}

#[test]
fn files_come_from_the_environment_too() {
    let tls = TlsConfig {
        ca_file: "/ca".into(),
        cert_file: "/cert".into(),
        key_file: "/key".into(),
        insecure: false,
    };
    let config = OtlpConfig { endpoint: URL.to_owned(), tls, ..OtlpConfig::default() };
    let files = |environment: &[(&str, &str)]| {
        let settings = settings(Signal::Logs, &config, environment, None).expect("usable").expect("some");
        let tls = settings.tls;
        let client = tls.client.expect("a client's certificate");
        [tls.ca.expect("authorities"), client.certificate, client.key].map(|path| path.display().to_string())
    };
    assert_eq!(files(&[]), ["/ca", "/cert", "/key"]);
    let general = [("CERTIFICATE", "/a"), ("CLIENT_CERTIFICATE", "/b"), ("CLIENT_KEY", "/c")];
    assert_eq!(files(&general), ["/a", "/b", "/c"]);
    let own = [("LOGS_CERTIFICATE", "/d"), ("CERTIFICATE", "/a"), ("TRACES_CERTIFICATE", "/e")];
    assert_eq!(files(&own), ["/d", "/cert", "/key"]);
}

#[test]
fn a_key_in_the_query_is_not_shown() {
    let settings = found(Signal::Logs, &[("LOGS_ENDPOINT", "https://c/v1?key=secret#secret")]);
    assert_eq!(settings.endpoint.to_string(), "https://c/v1");
    assert!(!format!("{settings:?}").contains("secret"));
    assert_eq!(settings.endpoint.query(), Some("key=secret"));
}

#[test]
fn what_cannot_be_used_is_named() {
    for (name, value, shown, allowed) in [
        ("ENDPOINT", "localhost:4318", "localhost:4318", "http://127.0.0.1:4318"),
        ("LOGS_ENDPOINT", "ftp://c", "ftp://c", "http://127.0.0.1:4318"),
        ("ENDPOINT", "http://me:secret@c", "…@c", "without a user name"),
        ("PROTOCOL", "http/json", "http/json", "grpc or http/protobuf"),
        ("ENDPOINT", "me:secret@c/?key=secret", "…@c/?…", "without a user name"),
        ("LOGS_COMPRESSION", "brotli", "brotli", "none, gzip or zstd"),
        ("INSECURE", "yes", "yes", "true or false"),
        ("TIMEOUT", "10s", "10s", "milliseconds"),
        ("TIMEOUT", "0", "0", "milliseconds"),
        ("HEADERS", "no-value", "…", "name=value"),
        ("HEADERS", "a=%00secret", "a=…", "name=value"),
        ("LOGS_HEADERS", "b d=secret", "b d=…", "name=value"),
    ] {
        let message = refused(&[(name, value)]);
        assert!(
            message.starts_with(&format!("OTEL_EXPORTER_OTLP_{name} = \"{shown}\" can't be used")),
            "{message}"
        );
        assert!(message.contains(allowed) && !message.contains("secret"), "{message}");
    }
    for (name, key) in [("CLIENT_KEY", "otlp.tls.cert_file"), ("CLIENT_CERTIFICATE", "otlp.tls.key_file")] {
        let message = refused(&[(name, "/file")]);
        assert!(message.starts_with(&format!("{key} = \"\" can't be used")), "{message}");
    }
    let flag = settings(Signal::Spans, &OtlpConfig::default(), &[], Some("nowhere")).expect_err("not usable");
    assert_eq!((flag.name.as_str(), flag.value.as_str()), ("--otlp-endpoint", "nowhere"));
}

#[test]
fn the_configuration_is_read_and_checked() {
    let text = r#"
        endpoint = "https://c"
        protocol = "grpc"
        headers = { api-key = "secret" }
        timeout = "2s 500ms"
        compression = "zstd"
        name = "edge"
        headers_file = "/headers"
        tls = { ca_file = "/ca", cert_file = "/cert", key_file = "/key", insecure = true }
        logs.enabled = false
        spans.endpoint = "https://spans"
        batch = { max_records = 10, max_bytes = 1_000, max_age = "250ms" }
        queue = { max_events = 20, max_bytes = 30 }
        retry = { initial = "10ms", max = "1m", max_elapsed = "1h" }
    "#;
    let config: OtlpConfig = toml::from_str(text).expect("a configuration");
    assert_eq!((config.timeout, config.retry.max), (Duration::from_millis(2500), Duration::from_secs(60)));
    assert_eq!(config.batch.max_age, Duration::from_millis(250));
    assert!(!format!("{config:?}").contains("secret"));
    let written = toml::to_string(&config).expect("a text");
    assert!(!written.contains("secret"), "{written}");
    let read: OtlpConfig = toml::from_str(&written).expect("a configuration");
    assert_eq!(OtlpConfig { headers: config.headers.clone(), ..read }, config);
    assert_eq!(toml::from_str::<OtlpConfig>("").expect("a configuration"), OtlpConfig::default());
    for unknown in
        ["colour = 1", "[batch]\nrecords = 1", "protocol = \"http\"", "timeout = 10", "timeout = \"-1s\""]
    {
        assert!(toml::from_str::<OtlpConfig>(unknown).is_err(), "{unknown}");
    }
    for (useless, key) in [
        ("timeout = \"0s\"", "otlp.timeout"),
        ("batch.max_records = 0", "otlp.batch.max_records"),
        ("queue.max_bytes = 0", "otlp.queue.max_bytes"),
        ("retry.max = \"1ms\"", "otlp.retry.max"),
    ] {
        let config: OtlpConfig = toml::from_str(useless).expect("a configuration");
        assert_eq!(settings(Signal::Logs, &config, &[], None).expect_err("of no use").name, key);
    }
}
