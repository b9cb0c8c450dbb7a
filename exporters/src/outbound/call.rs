//! What can be called, checked when a policy is read.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use reqwest::Url;

use crate::event::Action;

/// What is called out to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboundCall {
    /// `GetUrl`: this is asked for.
    Get(HttpUrl),
    /// `DnsLookup`: addresses of this name.
    Lookup(DnsName),
}

/// An absolute URL of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(Arc<Url>);

/// A full name of the DNS, without the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName(Arc<str>);

// === impl OutboundCall ===

impl OutboundCall {
    /// The action that calls so.
    pub fn action(&self) -> Action {
        match self {
            Self::Get(_) => Action::GetUrl,
            Self::Lookup(_) => Action::DnsLookup,
        }
    }
}

impl Display for OutboundCall {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(url) => url.fmt(f),
            Self::Lookup(name) => name.fmt(f),
        }
    }
}

// === impl HttpUrl ===

impl HttpUrl {
    /// Bytes that one may have.
    pub const BYTES: usize = 2048;

    /// What is allowed.
    pub const ALLOWED: &str = "http://HOST/… or https://HOST/…, without a user, in ASCII, at most 2048 bytes";

    /// Reads an absolute URL.
    ///
    /// # Errors
    /// Says why it is none, or none that is allowed ([`Self::ALLOWED`]).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > Self::BYTES {
            return Err("this is too long for a URL");
        }
        // What readers of URLs take out or turn round without a word is refused instead.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err("this has characters that no URL has");
        }
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let Some(rest) = rest else { return Err("this is no absolute URL of HTTP") };
        match rest.split(['/', '?', '#']).next() {
            None | Some("") => return Err("this URL has no host"),
            Some(authority) if authority.contains('@') => return Err("this URL names a user"),
            Some(_) => {}
        }
        let url = Url::parse(text).map_err(|_| "this is no URL")?;
        if url.fragment().is_some() {
            return Err("this URL has a fragment (#), which is sent to nobody");
        }
        Ok(Self(Arc::new(url)))
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl Display for HttpUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

// === impl DnsName ===

impl DnsName {
    /// Bytes that one may have, with a dot at its end.
    pub const BYTES: usize = 254;

    /// What is allowed.
    pub const ALLOWED: &str = "a full name of the DNS: labels of letters, digits, - and _, at most 63 bytes each and 253 \
                               together, as canary.example.com";

    /// Reads a full name, with or without a dot at its end.
    ///
    /// # Errors
    /// Says why it is none ([`Self::ALLOWED`]).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=63).contains(&label.len())
                && label.bytes().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() >= Self::BYTES || !name.split('.').all(is_label) {
            return Err("this is no name of the DNS");
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("this is an address, or looks like one, and nothing to look up");
        }
        Ok(Self(name.into()))
    }

    /// With the dot at its end: no domain of the machine's is tried behind it.
    pub(super) fn absolute(&self) -> String {
        format!("{}.", self.0)
    }
}

impl Display for DnsName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_absolute_and_of_http() {
        for (text, url) in [
            ("http://canary.example.com", "http://canary.example.com/"),
            ("https://canary.example.com:8443/a?b=c", "https://canary.example.com:8443/a?b=c"),
            ("http://[::1]:80/token", "http://[::1]/token"),
            ("http://host/a@b", "http://host/a@b"),
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().to_string(), url);
        }
        for text in [
            "",
            "x",
            "/token",
            "//host/token",
            "http:",
            "http:host",
            "http://",
            "http:///token",
            "http://?a",
            "ftp://host/",
            "file:///etc/passwd",
            "HTTP://host/",
            "http://user@host/",
            "http://user:word@host/",
            "http://:word@host/",
            "http://@host/",
            "http://host/#part",
            "http://ho st/",
            "http://host/\ta",
            "http://host\\a",
            "http://h\u{f6}st/",
            "http://host:99999/",
            "http://[::1/",
        ] {
            assert!(HttpUrl::parse(text).is_err(), "{text:?}");
        }
        let long = |bytes: usize| format!("http://h/{}", "a".repeat(bytes - "http://h/".len()));
        assert!(HttpUrl::parse(&long(HttpUrl::BYTES)).is_ok());
        assert!(HttpUrl::parse(&long(HttpUrl::BYTES + 1)).is_err());
    }

    #[test]
    fn names_are_of_the_dns() {
        for (text, name) in [
            ("ebpf.io", "ebpf.io."),
            ("canary.example.com.", "canary.example.com."),
            ("_token.a-b.Example.com", "_token.a-b.Example.com."),
            ("localhost", "localhost."),
            ("1.2.3.4.example", "1.2.3.4.example."),
        ] {
            assert_eq!(DnsName::parse(text).unwrap().absolute(), name);
        }
        for text in
            ["", ".", "a..b", ".a", "a..", "-a.b", "a-.b", "a b", "a/b", "1.2.3.4", "::1", "a.7", "\u{f6}.de"]
        {
            assert!(DnsName::parse(text).is_err(), "{text:?}");
        }
        let label = |bytes| format!("{}.com", "a".repeat(bytes));
        assert!(DnsName::parse(&label(63)).is_ok() && DnsName::parse(&label(64)).is_err());
        let name = |bytes: usize| {
            let name = "a.".repeat(bytes / 2) + "a";
            name[name.len() - bytes..].to_owned()
        };
        assert!(DnsName::parse(&name(253)).is_ok() && DnsName::parse(&name(255)).is_err());
        assert!(DnsName::parse(&format!("{}.", name(253))).is_ok());
    }
}
