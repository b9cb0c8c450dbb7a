use super::*;

const NONE: &dyn Fn(&str) -> Option<String> = &|_| None;

fn tables(text: &str) -> Vec<OtlpConfig> {
    #[derive(serde::Deserialize)]
    struct Config {
        otlp: Vec<OtlpConfig>,
    }
    toml::from_str::<Config>(text).expect("a configuration").otlp
}

fn seen(destinations: &[Destination]) -> Vec<(String, String)> {
    let pair = |one: &Destination| (one.exporter(), one.settings.endpoint.to_string());
    destinations.iter().map(pair).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect()
}

#[test]
fn each_table_and_signal_has_an_exporter() {
    let tables = tables(
        r#"
        [[otlp]]
        endpoint = "http://a"
        [[otlp]]
        name = "edge"
        endpoint = "http://b"
        logs.enabled = false
        [[otlp]]
        name = "lake-2"
        protocol = "grpc"
        logs.endpoint = "http://c"
        "#,
    );
    let expected = [
        ("otlp_logs", "http://a/v1/logs"),
        ("otlp_spans", "http://a/v1/traces"),
        ("otlp_spans_edge", "http://b/v1/traces"),
        ("otlp_logs_lake-2", "http://c/"),
    ];
    let found = Destination::all(&tables, NONE, None).expect("usable");
    assert_eq!(seen(&found), pairs(&expected));
    assert_eq!(found.iter().map(|one| one.table).collect::<Vec<_>>(), [0, 0, 1, 2]);
}

#[test]
fn the_environment_and_the_flag_are_for_the_first() {
    let tables = tables("[[otlp]]\n[[otlp]]\nname = \"b\"\nendpoint = \"http://b\"\n");
    let environment = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://env".to_owned()),
        "OTEL_TRACES_EXPORTER" => Some(" None".to_owned()),
        "OTEL_LOGS_EXPORTER" => Some("otlp".to_owned()),
        _ => None,
    };
    let b = [("otlp_logs_b", "http://b/v1/logs"), ("otlp_spans_b", "http://b/v1/traces")];
    for (flag, first) in [(None, "http://env/v1/logs"), (Some("http://flag"), "http://flag/v1/logs")] {
        let found = Destination::all(&tables, &environment, flag).expect("usable");
        assert_eq!(seen(&found), pairs(&[("otlp_logs", first), b[0], b[1]]));
    }
    let found = Destination::all(&[], &environment, Some("http://flag")).expect("usable");
    assert_eq!(seen(&found), pairs(&[("otlp_logs", "http://flag/v1/logs")]));
    assert_eq!(Destination::all(&tables, &environment, Some("")).expect("usable").len(), 2);
}

#[test]
fn what_cannot_be_used_is_named_with_its_table() {
    for (text, key) in [
        ("[[otlp]]\ntimeout = \"0s\"\n", "otlp.timeout"),
        ("[[otlp]]\n[[otlp]]\n", "otlp[1].name"),
        ("[[otlp]]\nname = \"a\"\n[[otlp]]\nname = \"a\"\n", "otlp[\"a\"].name"),
        ("[[otlp]]\nname = \"A b\"\n", "otlp.name"),
        ("[[otlp]]\nname = \"a\"\n[[otlp]]\nendpoint = \"nowhere\"\n", "otlp[1].endpoint"),
        ("[[otlp]]\n[[otlp]]\nname = \"b\"\nspans.endpoint = \"x\"\n", "otlp[\"b\"].spans.endpoint"),
        ("[[otlp]]\nendpoint = \"http://a\"\ntls.key_file = \"/k\"\n", "otlp.tls.cert_file"),
        ("[[otlp]]\nendpoint = \"http://a\"\nheaders.a = \"${x}\"\n", "otlp.headers"),
    ] {
        let error = Destination::all(&tables(text), NONE, None).expect_err("not usable");
        assert_eq!(error.name, key);
    }
}
