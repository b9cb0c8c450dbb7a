use proptest::{collection::vec, prelude::*, sample::select};
use trigon_exporters::event::{HookKind, HookSource, Policy};

use super::*;

/// Command lines and variables with secrets between `«` and `»`. No secret is real, and `·` keeps those of a known
/// shape from being whole here, where a scanner of sources would find them.
const SECRETS: &str = include_str!("corpus/secrets.jsonl");
const ENVIRONMENT: &str = include_str!("corpus/environment.jsonl");
const HARMLESS: &str = include_str!("corpus/harmless.jsonl");

fn lines(corpus: &str) -> impl Iterator<Item = Vec<String>> {
    corpus.lines().map(|line| serde_json::from_str(&line.replace('·', "")).unwrap())
}

fn block(args: &[String]) -> String {
    args.iter().flat_map(|arg| [arg, "\0"]).collect()
}

/// A text without its marks, and as it has to leave.
fn marked(text: &str) -> (String, String) {
    let mut masked = String::new();
    for (index, part) in text.split(['«', '»']).enumerate() {
        masked.push_str(if index % 2 == 1 { MASK } else { part });
    }
    (text.replace(['«', '»'], ""), masked)
}

fn redactor(config: &str) -> Redactor {
    Redactor::new(Redaction::new(&toml::from_str(config).unwrap()).unwrap())
}

fn arguments(redactor: &mut Redactor, text: &str) -> String {
    let binary = format!("/usr/bin/{}", text.split('\0').next().unwrap_or_default());
    let mut masked = text.to_owned();
    redactor.arguments(&binary, &mut masked, false);
    masked
}

fn readable(args: &str) -> String {
    args.replace('\0', " | ")
}

#[test]
fn every_secret_is_masked_and_nothing_else() {
    let mut redactor = Redactor::new(Redaction::default());
    let (mut count, mut wrong) = (0, Vec::new());
    for line in lines(SECRETS) {
        let (given, expected) = marked(&block(&line));
        let masked = arguments(&mut redactor, &given);
        count += expected.matches(MASK).count();
        if masked != expected {
            wrong.push(format!("{}\n    has to be {}", readable(&masked), readable(&expected)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 120, "{count}");
    assert_eq!(redactor.masked(), count as u64);
}

#[test]
fn variables_are_masked_by_name_and_by_shape() {
    let mut redactor = Redactor::new(Redaction::default());
    for line in lines(ENVIRONMENT) {
        let (given, expected) = marked(&format!("LANG=C\0{}={}\0TERM=xterm\0", line[0], line[1]));
        let mut masked = given;
        redactor.environment("/bin/sh", &mut masked, false);
        assert_eq!(readable(&masked), readable(&expected));
    }
}

#[test]
fn what_is_harmless_stays() {
    let mut redactor = Redactor::new(Redaction::default());
    let wrong: Vec<_> = lines(HARMLESS)
        .map(|line| block(&line))
        .filter_map(|given| {
            let masked = arguments(&mut redactor, &given);
            (masked != given).then(|| format!("{}\n    was {}", readable(&masked), readable(&given)))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(redactor.masked(), 0);
}

#[test]
fn without_redaction_all_stays() {
    let mut redactor = redactor("enabled = false\nfilters = [{ redact = ['(.*)'] }]");
    let given = "app\0--password=hunter2\0";
    assert_eq!(arguments(&mut redactor, given), given);
    assert_eq!(redactor.masked(), 0);
}

#[test]
fn filters_mask_what_they_capture() {
    let mut redactor = redactor(
        r"filters = [{ redact = ['--door-code[= ](\S+)', 'a(b+)c(d+)'] },
                     { redact = ['(?i)open (\S+) and (\S+)'], binary_regex = ['/door[a-z]*$', '^/opt/'] }]",
    );
    assert_eq!(arguments(&mut redactor, "x\0--door-code\x001234\0b\0"), "x\0--door-code\0*****\0b\0");
    assert_eq!(arguments(&mut redactor, "x\0abbcdde\0"), "x\0a*****c*****e\0");
    // The program's name is no argument, and others are not asked about.
    assert_eq!(arguments(&mut redactor, "abcd\0OPEN\0x\0and\0y\0"), "abcd\0OPEN\0x\0and\0y\0");
    assert_eq!(arguments(&mut redactor, "doorctl\0OPEN\0x\0and\0y\0"), "doorctl\0OPEN\0*****\0and\0*****\0");
    let mut variables = "A=abc abbcd\0--door-code=1\0".to_owned();
    redactor.environment("/bin/x", &mut variables, false);
    assert_eq!(variables, "A=abc a*****c*****\0--door-code=*****\0");
    assert_eq!(redactor.masked(), 8);
}

#[test]
fn a_filter_that_is_wrong_says_where() {
    let error = |config: &str| Redaction::new(&toml::from_str(config).unwrap()).unwrap_err().to_string();
    let broken = error("filters = [{ redact = ['(a)'] }, { redact = ['(a)', '(b'] }]");
    assert!(broken.starts_with(r#"redaction.filters[1].redact[1] = "(b" can't be used: "#), "{broken}");
    assert!(broken.contains("unclosed group"), "{broken}");
    assert!(error("filters = [{ redact = ['abc'] }]").contains("captures nothing"));
    assert!(error("filters = [{ binary_regex = ['abc'] }]").contains("the list is empty"));
    let binary = error("filters = [{ redact = ['(a)'], binary_regex = ['*'] }]");
    assert!(binary.contains("filters[0].binary_regex[0]"), "{binary}");
    assert!(error(r"filters = [{ redact = ['(\w{1000}){1000}'] }]").contains("size limit"));
}

fn hook(args: Vec<Option<Value>>) -> Hook {
    let policy = Arc::new(Policy { name: "p".into(), namespace: None });
    let source = Arc::new(HookSource::new(policy, HookKind::Kprobe { function: "f".into() }));
    Hook {
        source,
        args: args.into(),
        data: Box::default(),
        returned: None,
        action: Default::default(),
        return_action: None,
        monitored: false,
        socket_owner: false,
        ima_hash: None,
        selector: 0,
        stacks: None,
        descriptor: None,
        request: None,
    }
}

#[test]
fn texts_and_bytes_of_hooks_are_masked() {
    let mut redactor = Redactor::new(Redaction::default());
    let text = |text: &str| Some(Value::Text { text: text.into(), truncated: false });
    let bytes = |data: &[u8]| Some(Value::Bytes { data: data.into(), size: 99 });
    let request = b"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\nHost: x\r\n\xff\0";
    let mut event = hook(vec![
        text("/tmp/file"),
        text("https://bob:hunter2@x/"),
        bytes(request),
        bytes(b"\xff\xfe"),
        bytes(b"DB_PASSWORD=hunter2\nLANG=C\n"),
        None,
    ]);
    redactor.hook(&mut event);
    let masked = b"GET / HTTP/1.1\r\nAuthorization: Bearer *****\r\nHost: x\r\n\xff\0";
    let expected = [
        text("/tmp/file"),
        text("https://bob:*****@x/"),
        bytes(masked),
        bytes(b"\xff\xfe"),
        bytes(b"DB_PASSWORD=*****\nLANG=C\n"),
        None,
    ];
    assert_eq!(*event.args, expected);
    assert_eq!(redactor.masked(), 3);
}

/// Of a token whose end was cut off, the beginning is masked.
#[test]
fn what_was_cut_is_masked_where_it_began() {
    let mut redactor = Redactor::new(Redaction::default());
    let token = concat!("app\0gh", "p_FakeFake");
    let mut cut = token.to_owned();
    redactor.arguments("/bin/app", &mut cut, true);
    assert_eq!(cut, "app\0ghp_*****");
    let mut whole = format!("{token}\0");
    redactor.arguments("/bin/app", &mut whole, false);
    assert_eq!(whole, format!("{token}\0"));
    let mut key = "app\0-----BEGIN PRIVATE KEY-----\nMIIFake".to_owned();
    redactor.arguments("/bin/app", &mut key, true);
    assert_eq!(key, "app\0-----BEGIN PRIVATE KEY-----*****");
}

/// Quotes in quotes, with backslashes or without.
#[test]
fn what_is_quoted_ends_with_its_quote() {
    let mut redactor = Redactor::new(Redaction::default());
    for (given, expected) in [
        (r#"x -d '{"password":"a\"b c","d":1}'"#, r#"x -d '{"password":"*****","d":1}'"#),
        (r#"x -d "{\"password\":\"a b\",\"d\":1}""#, r#"x -d "{\"password\":\"*****\",\"d\":1}""#),
        (r#"x --password 'a b' -v"#, "x --password '*****' -v"),
        (r#"env "DB_PASSWORD=a b" x"#, r#"env "DB_PASSWORD=*****" x"#),
        (r"x --password=a\ b -v", "x --password=***** -v"),
        ("TOKEN=a; TOKEN=b && x", "TOKEN=*****; TOKEN=***** && x"),
    ] {
        let masked = arguments(&mut redactor, &format!("sh\0-c\0{given}\0"));
        assert_eq!(masked, format!("sh\0-c\0{expected}\0"));
    }
}

/// What an adversary can make of the rules' own words.
fn hostile() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "\0",
        "\0",
        " ",
        "\"",
        "'",
        "\\",
        "=",
        ":",
        ",",
        ";",
        "&",
        "@",
        "//",
        "-",
        "--",
        "-p",
        "-u",
        "-c",
        "$X",
        "é",
        "日",
        "password",
        "--password",
        "token",
        "pass:",
        "mysql",
        "curl",
        "htpasswd",
        "openssl",
        "enc",
        "-passin",
        "login",
        "docker",
        "vault",
        "aws",
        "set",
        "https://",
        "u:p@h",
        "authorization:",
        "bearer ",
        "cookie:",
        "eyJ",
        "gh",
        "p_",
        "-----BEGIN PRIVATE KEY-----",
        "-----END",
        "*****",
        "AKIA",
        "0123456789abcdefghij",
        "x",
    ];
    let part = prop_oneof![8 => select(PARTS).prop_map(str::to_owned), 1 => ".{0,6}"];
    vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// No panic, the same arguments in the same order but for what was masked, and masking again brings nothing.
    #[test]
    fn whatever_it_is_it_is_masked_once(text in hostile(), cut: bool) {
        let mut redactor = Redactor::new(Redaction::default());
        let mut once = text.clone();
        redactor.arguments("/usr/bin/mysql", &mut once, cut);
        prop_assert_eq!(once.matches('\0').count(), text.matches('\0').count());
        let mut twice = once.clone();
        redactor.arguments("/usr/bin/mysql", &mut twice, cut);
        // What stood beside a secret may look like one now, and go too; nothing comes.
        let mut left = once.chars();
        let kept = twice.replace("*****", "");
        prop_assert!(kept.chars().all(|kept| left.any(|was| was == kept)), "{once:?} became {twice:?}");
        let mut variables = text.clone();
        redactor.environment("/bin/x", &mut variables, cut);
        prop_assert_eq!(variables.matches('\0').count(), text.matches('\0').count());
        let mut event = hook(vec![
            Some(Value::Text { text: text.clone().into(), truncated: cut }),
            Some(Value::Bytes { data: text.as_bytes().into(), size: text.len() as u64 }),
        ]);
        redactor.hook(&mut event);
    }

    #[test]
    fn any_bytes_are_taken(data in vec(any::<u8>(), 0..200)) {
        let mut event = hook(vec![Some(Value::Bytes { data: data.into(), size: 200 })]);
        Redactor::new(Redaction::default()).hook(&mut event);
    }
}
