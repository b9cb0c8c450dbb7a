use super::*;

fn none(_: &str) -> Option<String> {
    None
}

fn error_of(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let error = match Config::read(&path).map(|config| config.apply(&none, &Overrides::default())) {
        Ok(Err(error)) | Err(error) => error,
        Ok(Ok(_)) => panic!("accepted: {text}"),
    };
    error.to_string()
}

/// Every key of a table and its sub-tables, as a path.
fn keys(value: &toml::Value, path: &str, out: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                keys(value, &format!("{path}.{key}"), out);
            }
        }
        _ => out.push(path.to_owned()),
    }
}

/// The file at the root of the project is the reference: it has every key, at its default.
#[test]
fn the_reference_equals_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.toml");
    assert_eq!(Config::read(&path).unwrap(), Config::default());

    let (mut written, mut known) = (Vec::new(), Vec::new());
    let text = std::fs::read_to_string(&path).unwrap();
    // A file without a path is none: its table shows the defaults all the same.
    let file = text.parse::<toml::Table>().unwrap()["file"][0].clone();
    assert_eq!(file, toml::Value::try_from(FileConfig::default()).unwrap());
    keys(&text.parse::<toml::Table>().unwrap().into(), "", &mut written);
    keys(&toml::Value::try_from(Config::default()).unwrap(), "", &mut known);
    written.sort();
    known.sort();
    assert_eq!(written, known);
}

#[test]
fn an_error_names_file_line_key_and_what_is_allowed() {
    let unknown = error_of("[metrics]\naddr = \"127.0.0.1:1\"\nadress = \"x\"\n");
    for part in ["config.toml", "line 3", "adress", "expected one of", "max_series"] {
        assert!(unknown.contains(part), "{part:?} is missing in: {unknown}");
    }
    let table = error_of("[procss_table]\n");
    assert!(table.contains("procss_table") && table.contains("process_table"), "{table}");
    let value = error_of("[otlp]\nprotocol = \"udp\"\n");
    for part in ["line 2", "protocol", "`grpc`", "`http/protobuf`"] {
        assert!(value.contains(part), "{part:?} is missing in: {value}");
    }
    assert!(error_of("[limits]\nshutdown_timeout = \"soon\"\n").contains("line 2"));
    assert!(error_of("[env]\ncollect = [\"A=B\"]\n").contains("env.collect = \"A=B\""));
    assert!(
        error_of("[redaction]\nfilters = [{ redact = ['(a'] }]\n").contains("redaction.filters[0].redact[0]")
    );
    assert!(error_of("[limits]\nargs = -1\n").contains("line 2"));
    assert!(error_of("[otlp.batch]\nmax_records = 0\n").contains("otlp.batch.max_records"));
    assert!(error_of("[otlp]\nendpoint = \"nowhere\"\n").contains("otlp.endpoint"));
}

#[test]
fn values_of_no_use_are_refused() {
    for (text, key) in [
        ("[limits]\nring_buffer_bytes = 100000\n", "limits.ring_buffer_bytes"),
        ("[limits]\nring_buffer_bytes = 4096\n", "limits.ring_buffer_bytes"),
        ("[limits]\nargs_bytes = 16385\n", "limits.args_bytes"),
        ("[limits]\nstdout_queue_events = 0\n", "limits.stdout_queue_events"),
        ("[process_table]\ncapacity = 0\n", "process_table.capacity"),
        ("[metrics]\nstale_after = \"999ms\"\n", "metrics.stale_after"),
    ] {
        let error = error_of(text);
        assert!(error.contains(key) && error.contains("allowed"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::read(Path::new("/nowhere/config.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/config.toml"), "{error}");
}

/// Flag before environment before file before default.
#[test]
fn order_of_precedence() {
    let mut config = Config::default();
    config.otlp.0[0].endpoint = "http://file:1".to_owned();
    let variable = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://env:2".to_owned());
    let endpoint = |environment: Environment<'_>, flag: Option<&str>| {
        let overrides = Overrides { otlp_endpoint: flag.map(str::to_owned), ..Overrides::default() };
        let effective = config.clone().apply(environment, &overrides).unwrap();
        effective.otlp[0].settings.endpoint.host_str().unwrap().to_owned()
    };
    assert_eq!(endpoint(&none, None), "file");
    assert_eq!(endpoint(&variable, None), "env");
    assert_eq!(endpoint(&variable, Some("http://flag:3")), "flag");
    assert!(Config::default().apply(&none, &Overrides::default()).unwrap().otlp.is_empty());

    let addr = "127.0.0.1:9".parse().ok();
    let overrides = Overrides { metrics_addr: addr, ..Overrides::default() };
    assert_eq!(Config::default().apply(&none, &overrides).unwrap().config.metrics.addr, addr.unwrap());
}

#[test]
fn the_node_has_a_name() {
    let named = |config: &str, variables: &'static [(&str, &str)]| {
        let config = Config { node: NodeConfig { name: config.to_owned() }, ..Config::default() };
        let environment =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let effective = config.apply(&environment, &Overrides::default()).unwrap();
        (effective.node, effective.kubernetes)
    };
    assert_eq!(named("", &[]), (host_name(), false));
    assert_eq!(named("file", &[("NODE_NAME", "")]), ("file".to_owned(), false));
    assert_eq!(named("file", &[("NODE_NAME", "env")]), ("env".to_owned(), false));
    assert_eq!(
        named("", &[("NODE_NAME", "worker-1"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")]),
        ("worker-1".to_owned(), true)
    );
}

#[test]
fn a_likely_word_is_suggested() {
    let unknown = error_of("[metrics]\nadress = \"x\"\nadd = 1\n");
    assert!(unknown.contains("line 2") && unknown.contains("unknown field `adress`"), "{unknown}");
    let table = error_of("[procss_table]\n");
    assert!(table.ends_with("did you mean `process_table`?"), "{table}");
    let word = error_of("[otlp]\ncompression = \"gzipp\"\n");
    assert!(word.ends_with("did you mean `gzip`?"), "{word}");
    let far = error_of("[metrics]\nnothing_like_it = 1\n");
    assert!(!far.contains("did you mean"), "{far}");
}
