//! The table of shapes by which a secret is known, and the one pass that says which of them a text may have.

use std::{ops::Range, sync::LazyLock};

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::{
    Spans, keys,
    text::{
        Alphabet::{Base64, Capitals, Dotted, Url, Word},
        Text,
    },
    tools,
};

/// A shape: what stands before a secret, and where the secret ends.
struct Rule {
    before: &'static str,
    end: End,
}

/// Where a secret ends that begins where its rule's expression ended.
#[derive(Clone, Copy)]
enum End {
    /// With the last of at least so many bytes of an alphabet.
    Token(usize, super::text::Alphabet),
    /// Likewise, where a digit is among them: the beginning is one of words, too.
    Mixed(usize, super::text::Alphabet),
    /// With the line, or at a quote.
    Line,
    /// At `-----END`.
    Block,
    /// It is what the expression captured.
    Captured,
}
use End::{Block, Captured, Line, Mixed, Token};

/// Short for the table.
const fn rule(before: &'static str, end: End) -> Rule {
    Rule { before, end }
}

/// One shape a line. Expressions are of bytes, and without Unicode's classes: all that they name is ASCII.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    // Tokens that say by their beginning whose they are. It stays: it tells which key is to be replaced.
    rule(r"\b(?:AKIA|ASIA)", Token(16, Capitals)),                            // AWS: id of an access key
    rule(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}[:;,|\s\x00]([A-Za-z0-9/+]{40})", Captured), // AWS: the secret beside it
    rule(r"\bAIza", Token(30, Url)),                                          // Google: API key
    rule(r"\bya29\.", Token(20, Url)),                                        // Google: OAuth access token
    rule(r"\bGOCSPX-", Token(20, Url)),                                       // Google: OAuth client's secret
    rule(r"\bgh[oprsu]_", Token(30, Word)),                                   // GitHub: tokens of all kinds
    rule(r"\bgithub_pat_", Token(22, Word)),                                  // GitHub: fine-grained token
    rule(r"\bgl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-", Token(16, Dotted)), // GitLab
    rule(r"\bxox[a-z]-", Token(10, Url)),                                     // Slack: tokens
    rule(r"\bxapp-", Token(10, Url)),                                         // Slack: app's token
    rule(r"\bhooks\.slack\.com/(?:services|workflows)/", Token(20, Base64)),  // Slack: who has the URL may post
    rule(r"\bdiscord(?:app)?\.com/api/webhooks/[0-9]+/", Token(20, Url)),     // Discord: likewise
    rule(r"\b[rs]k_(?:live|test)_", Token(10, Word)),                         // Stripe: secret and restricted keys
    rule(r"\bwhsec_", Token(16, Base64)),                                     // Stripe, Svix: webhook's secret
    rule(r"\bnpm_", Token(30, Word)),                                         // npm
    rule(r"\bpypi-", Token(30, Url)),                                         // PyPI
    rule(r"\brubygems_", Token(32, Word)),                                    // RubyGems
    rule(r"\bdckr_[po]at_", Token(20, Url)),                                  // Docker Hub
    rule(r"\bdo[opr]_v1_", Token(32, Word)),                                  // DigitalOcean
    rule(r"\bhf_", Token(30, Word)),                                          // Hugging Face
    rule(r"\bhv[brs]\.", Token(20, Url)),                                     // HashiCorp Vault
    rule(r"\bgl(?:sa|c)_", Token(30, Base64)),                                // Grafana
    rule(r"\bsntry[su]_", Token(30, Base64)),                                 // Sentry
    rule(r"\bSG\.", Token(40, Dotted)),                                       // SendGrid
    rule(r"\bshp(?:at|ca|pa|ss)_", Token(30, Word)),                          // Shopify
    rule(r"\blin_api_", Token(30, Word)),                                     // Linear
    rule(r"\bATATT3", Token(40, Base64)),                                     // Atlassian
    rule(r"\bNRAK-", Token(20, Word)),                                        // New Relic
    rule(r"\bdapi", Mixed(32, Word)),                                         // Databricks
    rule(r"\bAGE-SECRET-KEY-1", Token(40, Capitals)),                         // age
    rule(r"\b[0-9]{8,10}:AA", Token(33, Url)),                                // Telegram: bot's token
    rule(r"\bsk-", Mixed(20, Url)),                                           // OpenAI, Anthropic and many like them
    rule(r"\beyJ", Token(20, Base64)),                                        // JSON Web Token: `{"` in base64
    // Keys in PEM, also with `\n` for the ends of lines.
    rule(r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----", Block),
    // Headers of HTTP, and metadata of gRPC. The scheme stays.
    rule(concat!(r#"(?i)\b(?:proxy-)?authorization\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?"#,
        r"(?:(?:bearer|basic|token|digest|negotiate|apikey|ntlm|hawk|aws4-hmac-sha256)\s+)?"), Line),
    rule(r#"(?i)\b(?:set-)?cookie\\?["']?\s{0,4}:\s{0,4}\\?["']?[^\s=;:"'\x00]+="#, Line),
    rule(r#"(?i)\bx-[a-z0-9-]{0,64}(?:token|key|secret|auth|signature|password)\\?["']?\s{0,4}:\s{0,4}\\?["']?"#, Line),
    rule(r"(?i)\b(?:(?:private|job|deploy|access|auth|circle)-token|api-?key|dd-api-key)\s{0,4}:\s{0,4}", Line),
    rule(r"(?i)\bbearer\s+", Mixed(16, Base64)),                              // wherever it stands
    // URLs: what comes before the host, and the parameters that sign or open what the URL names.
    rule(r#"(?i)\b[a-z][a-z0-9+.-]*://[^\s/?#@:"'\x00]*:([^\s/?#"'\x00]+)@"#, Captured),
    rule(r"(?i)\b[a-z][a-z0-9+.-]*://([A-Za-z0-9_-]{20,})@", Captured),       // a token in the user's place
    rule(r#"\b[A-Za-z0-9_.-]+:([^\s@"'\x00]+)@(?:tcp|unix)\("#, Captured),    // Go's data source names
    rule(r#"(?i)[?&](?:sig|signature|x-(?:amz|goog)-signature|auth|pass|pwd)=([^\s&#"'\x00]+)"#, Captured),
];

/// What any of the rules, names and tools can begin with: a text without is clean. Names and tools come last.
static MAY_HAVE: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    let rules = RULES.iter().map(|rule| rule.before);
    RegexSetBuilder::new(rules.chain([keys::PATTERN, tools::pattern()])).unicode(false).build().ok()
});

/// The rules' expressions, one by one.
static EXPRESSIONS: LazyLock<Vec<Option<Regex>>> =
    LazyLock::new(|| RULES.iter().map(|rule| compile(rule.before)).collect());

/// An expression of bytes; none where it is none.
pub(super) fn compile(expression: &str) -> Option<Regex> {
    RegexBuilder::new(expression).unicode(false).build().ok()
}

/// Adds where secrets are in a text; in arguments of an execution of `binary`, its path, also those that only the
/// program's own options tell.
pub(super) fn find(text: &Text<'_>, binary: Option<&str>, spans: &mut Spans) {
    // Compiled once; a test compiles them all.
    let Some(set) = &*MAY_HAVE else { return };
    let may_have = set.matches(text.bytes);
    let tool = binary.and_then(tools::of_binary);
    for index in &may_have {
        match RULES.get(index).zip(EXPRESSIONS.get(index).and_then(Option::as_ref)) {
            Some((rule, expression)) => rule.find(expression, text, spans),
            None if index == RULES.len() => keys::find(text, spans),
            None if binary.is_some() => tools::find(text, spans),
            None => {}
        }
    }
    if let Some(tool) = tool {
        tools::find_of(tool, text, spans);
    }
}

// === impl Rule ===

impl Rule {
    fn find(&self, expression: &Regex, text: &Text<'_>, spans: &mut Spans) {
        let mut at = 0;
        while let Some(found) = expression.find_at(text.bytes, at) {
            let span = self.span(expression, text, found.range());
            at = span.as_ref().map_or(found.end(), |span| span.end.max(found.end()));
            spans.extend(span);
        }
    }

    /// The secret that begins with, or after, what was found.
    fn span(&self, expression: &Regex, text: &Text<'_>, found: Range<usize>) -> Option<Range<usize>> {
        let at = found.end;
        match self.end {
            Token(least, alphabet) => Some(at..text.token(at, least, alphabet)?),
            Mixed(least, alphabet) => {
                let end = text.token(at, least, alphabet)?;
                text.bytes[at..end].iter().any(u8::is_ascii_digit).then_some(at..end)
            }
            Line => Some(at..text.line(found.start, at)),
            Block => {
                let argument = text.argument(at);
                let end = text.bytes[at..argument.end].windows(8).position(|window| window == b"-----END");
                Some(at..end.map_or(argument.end, |length| at + length))
            }
            Captured => expression.captures_at(text.bytes, found.start)?.get(1).map(|group| group.range()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_compiles() {
        assert_eq!(EXPRESSIONS.iter().flatten().count(), RULES.len());
        assert!(MAY_HAVE.is_some());
        // What a rule captures is what it says that it does.
        for (rule, expression) in RULES.iter().zip(EXPRESSIONS.iter().flatten()) {
            assert_eq!(expression.captures_len() == 2, matches!(rule.end, Captured), "{}", rule.before);
        }
    }
}
