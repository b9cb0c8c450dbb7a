//! Programs whose own options and operands take secrets, for these programs alone: `-p` is a port for many others.

use std::{ops::Range, sync::LazyLock};

use regex::bytes::Regex;
use rustc_hash::FxHashSet;

use super::{Spans, keys, rules, text::Text};

/// Where programs take a secret.
pub(super) struct Tool {
    /// The programs, `|` between them.
    names: &'static str,
    /// The operand that must come first, such as `login`; empty for none.
    after: &'static str,
    place: Place,
    part: Part,
}

/// Which of a program's words has a secret.
#[derive(Clone, Copy)]
enum Place {
    /// What stands in one word with an option: `-pSECRET`.
    Joined(&'static str),
    /// What follows an option, or stands in one word with it: `-p SECRET`, `-pSECRET`, `--user=SECRET`.
    Option(&'static str),
    /// As [`Self::Option`], once: what follows is another program's.
    First(&'static str),
    /// The operand of that number, from 1, after `after`.
    Operand(usize),
    /// The last operand.
    Last,
    /// The operand that follows one that is named like a secret.
    Named,
}

/// Which part of the word is the secret.
#[derive(Clone, Copy)]
enum Part {
    All,
    /// All of it, where it is not `name=value`.
    Plain,
    /// What follows the first of this byte; nothing where there is none: `user:SECRET`.
    After(u8),
    /// What follows this: `pass:SECRET`.
    Begins(&'static str),
}
use Part::{After, All, Begins, Plain};
use Place::{First, Joined, Last, Named, Operand, Option as Opt};

/// Short for the table.
const fn tool(names: &'static str, after: &'static str, place: Place, part: Part) -> Tool {
    Tool { names, after, place, part }
}

/// One rule a line.
#[rustfmt::skip]
const TOOLS: &[Tool] = &[
    // Databases.
    tool("mysql|mariadb|mysqldump|mariadb-dump|mysqladmin|mariadb-admin|mysqlimport|mysqlshow|mysqlcheck|mysqlsh|mysqlslap|mysqlbinlog|xtrabackup|mariabackup|mycli",
        "", Joined("-p"), All),                                     // a `-p` that stands alone asks
    tool("mysqladmin|mariadb-admin", "password", Operand(1), All),   // sets a new one
    tool("mongo|mongosh|mongodump|mongorestore|mongoexport|mongoimport|mongostat|mongotop|mongofiles", "", Opt("-p"), All),
    tool("redis-cli|valkey-cli|keydb-cli|redis-benchmark", "", Opt("-a"), All),
    tool("redis-cli|valkey-cli|keydb-cli", "auth", Last, All),       // AUTH [user] SECRET
    tool("redis-cli|valkey-cli|keydb-cli", "set", Named, All),       // CONFIG SET requirepass SECRET
    tool("sqlcmd|bcp|isql|tsql|osql", "", Opt("-P"), All),
    tool("cqlsh", "", Opt("-p"), All),
    tool("influx", "", Opt("-t"), All),
    tool("etcdctl", "", Opt("--user"), After(b':')),
    // Requests.
    tool("curl", "", Opt("-u"), After(b':')),                        // user:SECRET
    tool("curl", "", Opt("-U"), After(b':')),                        // that of a proxy
    tool("curl", "", Opt("--user"), After(b':')),
    tool("curl", "", Opt("--proxy-user"), After(b':')),
    tool("curl", "", Opt("-b"), After(b'=')),                        // cookies; without `=` it is a file
    tool("curl", "", Opt("--cookie"), After(b'=')),
    tool("http|https|xh|xhs", "", Opt("-a"), After(b':')),           // HTTPie and its like
    tool("http|https|xh|xhs", "", Opt("--auth"), After(b':')),
    tool("lftp", "", Opt("-u"), After(b',')),
    tool("ncftp|ncftpget|ncftpput|ncftpls", "", Opt("-p"), All),
    tool("ncat", "", Opt("--proxy-auth"), After(b':')),
    tool("mosquitto_pub|mosquitto_sub|mosquitto_rr", "", Opt("-P"), All),
    // Registries, clouds and clusters.
    tool("docker|podman|nerdctl|buildah|skopeo|crane|oras|helm", "login", Opt("-p"), All),
    tool("az|cf|oc|argocd|rancher", "login", Opt("-p"), All),
    tool("az", "", Opt("-p"), All),
    tool("doctl", "", Opt("-t"), All),
    tool("aws", "set", Named, All),                                  // configure set NAME SECRET
    tool("aws", "put-parameter", Opt("--value"), All),
    tool("kubectl|oc", "secret", Opt("--from-literal"), After(b'=')), // create secret generic
    tool("gh", "secret", Opt("-b"), All),
    tool("gh", "secret", Opt("--body"), All),
    tool("npm|yarn|pnpm|pip|poetry|composer|gcloud|snap|heroku|git", "config", Named, All), // config [set] NAME SECRET
    tool("vault|bao", "login", Operand(1), Plain),
    tool("vault|bao", "unwrap", Operand(1), All),
    tool("vault|bao", "unseal", Operand(1), All),
    // Files that are locked.
    tool("zip|zipcloak|unzip", "", Opt("-P"), All),
    tool("7z|7za|7zr|7zz", "", Joined("-p"), All),
    tool("rar|unrar", "", Joined("-p"), All),
    tool("rar|unrar", "", Joined("-hp"), All),
    tool("openssl", "", Opt("-passin"), Begins("pass:")),
    tool("openssl", "", Opt("-passout"), Begins("pass:")),
    tool("openssl", "enc", Opt("-k"), All),
    tool("openssl", "enc", Opt("-K"), All),
    tool("openssl", "passwd", Last, All),
    tool("ssh-keygen", "", Opt("-N"), All),
    tool("ssh-keygen", "", Opt("-P"), All),
    tool("qpdf", "", Opt("--encrypt"), All),
    tool("rclone", "obscure", Operand(1), All),
    // Accounts.
    tool("sshpass", "", First("-p"), All),
    tool("ldapsearch|ldapmodify|ldapadd|ldapdelete|ldapwhoami|ldapcompare|ldapmodrdn|ldapexop", "", Opt("-w"), All),
    tool("ldappasswd", "", Opt("-w"), All),
    tool("ldappasswd", "", Opt("-s"), All),                          // the new one
    tool("ldappasswd", "", Opt("-a"), All),                          // the old one
    tool("htpasswd", "", Last, All),                                 // -b FILE USER SECRET; see `is_asked`
    tool("useradd|usermod|adduser", "", Opt("-p"), All),
    tool("rabbitmqctl", "add_user", Operand(2), All),
    tool("rabbitmqctl", "change_password", Operand(2), All),
    tool("rabbitmqctl", "authenticate_user", Operand(2), All),
    tool("rabbitmqadmin", "", Opt("-p"), All),
    tool("smbclient|rpcclient|smbget|smbcacls|smbtree|net", "", Opt("-U"), After(b'%')),
    tool("xfreerdp|wlfreerdp|xfreerdp3", "", Joined("/p:"), All),
    tool("rdesktop", "", Opt("-p"), All),
    tool("ipmitool", "", Opt("-P"), All),
    tool("snmpget|snmpwalk|snmpbulkwalk|snmpset|snmpgetnext|snmptrap", "", Opt("-A"), All),
    tool("snmpget|snmpwalk|snmpbulkwalk|snmpset|snmpgetnext|snmptrap", "", Opt("-X"), All),
    tool("snmpget|snmpwalk|snmpbulkwalk|snmpset|snmpgetnext|snmptrap", "", Opt("-c"), All), // the community
    tool("nmcli", "", Named, All),                                   // password SECRET
    tool("wpa_passphrase", "", Operand(2), All),
    tool("keyctl", "add", Operand(3), All),
];

/// Words of a program that are looked at, and programs in a text.
const WORDS: usize = 256;
const PROGRAMS: usize = 64;

static NAMES: LazyLock<FxHashSet<&str>> =
    LazyLock::new(|| TOOLS.iter().flat_map(|tool| tool.names.split('|')).collect());

/// A program's name as a word, and what stands before and after it.
pub(super) fn pattern() -> &'static str {
    static PATTERN: LazyLock<String> = LazyLock::new(|| {
        let mut names: Vec<_> = NAMES.iter().copied().collect();
        names.sort_unstable();
        format!(r#"(?:^|[\x00\s/"'`;|&(=])(?:{})[\x00\s]"#, names.join("|"))
    });
    &PATTERN
}

static EXPRESSION: LazyLock<Option<Regex>> = LazyLock::new(|| rules::compile(pattern()));

/// The program's name, where a binary is one of the table.
pub(super) fn of_binary(binary: &str) -> Option<&str> {
    let name = binary.rsplit('/').next()?;
    NAMES.contains(name).then_some(name)
}

/// Adds what programs of the table, wherever their names stand in a text, are given in secret.
pub(super) fn find(text: &Text<'_>, spans: &mut Spans) {
    let Some(expression) = &*EXPRESSION else { return };
    let mut at = 0;
    for _ in 0..PROGRAMS {
        let Some(found) = expression.find_at(text.bytes, at) else { break };
        // What ends this name may begin the next.
        at = found.end() - 1;
        let argument = text.argument(at.saturating_sub(1));
        let begins =
            text.bytes[..at].iter().rposition(|byte| is_around(*byte)).map_or(0, |before| before + 1);
        let name = &text.bytes[begins..at];
        // A name that is an argument by itself is followed by its own; else both are in a program's text.
        let apart = argument.end == at && !text.is_script(&argument);
        let words = if apart { arguments(text, at + 1) } else { script(text, at, argument.end) };
        look(name, text, &words, !apart, spans);
        if at <= found.start() {
            at = found.end();
        }
    }
}

/// Adds what an execution of this program is given in secret.
pub(super) fn find_of(name: &str, text: &Text<'_>, spans: &mut Spans) {
    let first = text.argument(0);
    look(name.as_bytes(), text, &arguments(text, first.end + 1), false, spans);
}

fn is_around(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(byte, 0 | b'/' | b'"' | b'\'' | b'`' | b';' | b'|' | b'&' | b'(' | b'=')
}

fn arguments(text: &Text<'_>, from: usize) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = from;
    while at < text.bytes.len() && words.len() < WORDS {
        let end = text.end_of(at, |byte| byte == 0);
        words.push(at..end);
        at = end + 1;
    }
    words
}

/// The words of a command in a program's text, without their quotes.
fn script(text: &Text<'_>, from: usize, end: usize) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = from;
    while at < end && words.len() < WORDS {
        match text.bytes[at] {
            b';' | b'|' | b'&' | b')' | b'`' | b'\n' => break,
            byte if byte.is_ascii_whitespace() => at += 1,
            // A quote that began before the program's name ends with it.
            b'"' | b'\'' if text.bytes.get(at + 1).is_none_or(|next| is_around(*next)) => break,
            _ => {
                let word = text.word(at, None);
                let quoted = word.start > at;
                let next = if quoted { word.end + 1 } else { word.end };
                at = next.max(at + 1);
                words.push(joined(text, word, &mut at, end));
            }
        }
    }
    words
}

/// A word whose end is in quotes is one: `-u"user:SECRET"`, `--user='user:SECRET'`.
fn joined(text: &Text<'_>, word: Range<usize>, at: &mut usize, end: usize) -> Range<usize> {
    match text.bytes.get(word.end) {
        Some(b'"' | b'\'') if *at == word.end && *at + 1 < end => {
            let rest = text.word(*at, None);
            *at = (rest.end + 1).max(*at + 1);
            word.start..rest.end
        }
        _ => word,
    }
}

/// Adds the secrets among the words of a program.
fn look(name: &[u8], text: &Text<'_>, words: &[Range<usize>], script: bool, spans: &mut Spans) {
    for tool in TOOLS.iter().filter(|tool| tool.is_of(name)) {
        let is =
            |word: &&Range<usize>| text.bytes[(**word).clone()].eq_ignore_ascii_case(tool.after.as_bytes());
        let words = match words.iter().position(|word| is(&word)) {
            _ if tool.after.is_empty() => words,
            Some(at) => &words[at + 1..],
            None => continue,
        };
        if name == b"htpasswd" && !is_asked(text, words) {
            continue;
        }
        for span in tool.secrets(text, words) {
            let value = &text.bytes[span.clone()];
            // The word may have begun with an option and a quote.
            let quoted = usize::from(matches!(value.first(), Some(b'"' | b'\'')));
            let harmless = keys::is_harmless(value) || (script && keys::is_expansion(&value[quoted..]));
            if !harmless {
                spans.push(span.start + quoted..span.end);
            }
        }
    }
}

/// Whether htpasswd takes the password from its command line: `-b`, alone or with others.
fn is_asked(text: &Text<'_>, words: &[Range<usize>]) -> bool {
    words
        .iter()
        .map(|word| &text.bytes[word.clone()])
        .any(|word| word.first() == Some(&b'-') && word.contains(&b'b'))
}

// === impl Tool ===

impl Tool {
    fn is_of(&self, name: &[u8]) -> bool {
        self.names.split('|').any(|known| known.as_bytes() == name)
    }

    fn secrets(&self, text: &Text<'_>, words: &[Range<usize>]) -> Vec<Range<usize>> {
        let of = |word: &Range<usize>| &text.bytes[word.clone()];
        let is_operand = |word: &&Range<usize>| of(word).first() != Some(&b'-');
        let mut operands = words.iter().filter(is_operand);
        let found: Vec<_> = match self.place {
            Joined(option) => {
                let begins = |word: &Range<usize>| {
                    let rest = of(word).strip_prefix(option.as_bytes())?;
                    (!rest.is_empty()).then(|| word.end - rest.len()..word.end)
                };
                words.iter().filter_map(begins).collect()
            }
            Opt(option) => options(option, text, words),
            First(option) => options(option, text, words).into_iter().take(1).collect(),
            Operand(number) => operands.nth(number - 1).cloned().into_iter().collect(),
            Last => operands.next_back().cloned().into_iter().collect(),
            Named => {
                let next = words.iter().zip(words.iter().skip(1));
                let named = next.filter(|(name, _)| keys::is_secret(of(name)));
                named.map(|(_, value)| value.clone()).collect()
            }
        };
        found.into_iter().filter_map(|word| self.part.of(text, word)).collect()
    }
}

/// The values of an option.
fn options(option: &str, text: &Text<'_>, words: &[Range<usize>]) -> Vec<Range<usize>> {
    let long = option.len() > 2;
    let letter = option.as_bytes().last().copied();
    let mut values = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let bytes = &text.bytes[word.clone()];
        // Several letters in one, the last of which takes a value: `-sSu user:SECRET`.
        let letters = || match bytes {
            [b'-', letters @ ..] => {
                letters.iter().all(u8::is_ascii_alphabetic) && letters.last().copied() == letter
            }
            _ => false,
        };
        match bytes.strip_prefix(option.as_bytes()) {
            Some([]) => values.extend(words.next().cloned()),
            Some([b'=', rest @ ..]) if long => values.push(word.end - rest.len()..word.end),
            Some(rest) if !long => values.push(word.end - rest.len()..word.end),
            _ if !long && bytes.len() <= 6 && letters() => values.extend(words.next().cloned()),
            _ => {}
        }
    }
    values
}

// === impl Part ===

impl Part {
    fn of(self, text: &Text<'_>, word: Range<usize>) -> Option<Range<usize>> {
        let bytes = &text.bytes[word.clone()];
        match self {
            All => Some(word),
            Plain => (!bytes.contains(&b'=')).then_some(word),
            After(parting) => {
                let at = bytes.iter().position(|byte| *byte == parting)?;
                Some(word.start + at + 1..word.end)
            }
            Begins(beginning) => {
                bytes.starts_with(beginning.as_bytes()).then_some(word.start + beginning.len()..word.end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_compiles() {
        assert!(EXPRESSION.is_some());
        assert_eq!(of_binary("/usr/bin/curl"), Some("curl"));
        assert_eq!(of_binary("/usr/bin/ssh"), None);
    }
}
